"""Moving a room whose hub is gone for good: what root looks at, and signs (protocol.md, 19).

A room goes on from the end of the copy that root chooses. Root's client looks first: what it has
and the copy lacks would come to nothing. It signs nothing that would undo a change of the room.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeVar, cast

from attrs import frozen

from ofcd.client.archive import Kind
from ofcd.client.core import Core, refusal
from ofcd.client.errors import BadInvite, ClientError, NotAllowed
from ofcd.client.events import LoggedEvent, Message
from ofcd.client.moving import relocate
from ofcd.client.turn import Ticket
from ofcd.client.vault import Reader
from ofcd.e2e.controls import make_hub_move
from ofcd.protocol.addresses import is_address
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import Hash32, RelayId, RoomId
from ofcd.protocol.records import Seen
from ofcd.themis.signed import SignedRecord

if TYPE_CHECKING:
    from ofcd.client.client import Client

__all__ = ["Survey", "force_move", "look_at_copy", "make_force", "survey", "try_at"]

T = TypeVar("T")


@frozen
class Survey:
    """A relay's copy of a room, beside what this client has of it."""

    room: RoomId
    url: str
    relay_id: RelayId
    seq: int
    """Where the copy ends."""
    log: Hash32
    """L there."""
    lost: tuple[Message, ...] = ()
    """Messages that are here, and that the copy lacks; one's own among them."""
    changes: tuple[LoggedEvent, ...] = ()
    """Changes of the room that are here, and that the copy lacks."""

    @property
    def own(self) -> int:
        """How many of the messages are one's own: these are sent again."""
        return sum(message.mine for message in self.lost)

    def check(self) -> None:
        """Raises `NotAllowed` (copy_lacks) where the room must not go on from this copy."""
        if self.changes:
            raise NotAllowed("copy_lacks", _LACKS.format(count=len(self.changes)))


def survey(core: Core, records: Reader, url: str, end: tuple[int, Hash32]) -> Survey:
    """What would come to nothing, if the room went on from the copy that ends at `end`.

    Raises `NotAllowed` (fork) for a copy of another log than this client's.
    """
    seq, log = end
    ours = core.checked_hash(records, seq)
    if ours is not None and ours != log:
        raise NotAllowed(Code.FORK.value, "this copy is of another log than what was shown here")
    archive = core.archive
    beyond = list(archive.entries(records, seq + 1))
    lost = tuple(archive.message(entry) for entry in beyond if entry.kind is Kind.MESSAGE)
    controls = (archive.event(records, entry) for entry in beyond if entry.kind is Kind.CONTROL)
    changes = tuple(event for event in controls if event is not None)
    if not changes and core.state.seq > seq:
        raise NotAllowed("copy_lacks", _LACKS.format(count="some"))
    return Survey(core.room, url, core.identity.relay_id, seq, log, lost, changes)


def make_force(core: Core, found: Survey, now: int) -> SignedRecord:
    """HUB_MOVE by force, behind the end of the copy. Raises `NotAllowed`, `Refused`."""
    found.check()
    seen = Seen(found.seq, found.log)
    return make_hub_move(
        core.state,
        core.mine,
        seen,
        now,
        hub=found.relay_id,
        urls=[found.url],
        above=core.state.term,
    )


# -- with the client -----------------------------------------------------------------------------


async def look_at_copy(client: Client, room: RoomId, url: str, relay_id: RelayId | None) -> Survey:
    """See `Room.survey_hub`."""
    if not is_address(url):
        raise BadInvite("a room moves to ws:// or wss://, a host, maybe a port and a path")
    hub = await client.relay_at(url, relay_id)
    core = client._core(room)
    if core.state.root != core.me or core.state.policy.local_only:
        raise refusal(Code.FORBIDDEN.value)
    if core.state.hub == hub:
        raise NotAllowed("already_there", "that relay orders this room already")
    if hub not in core.state.homes.values():
        raise NotAllowed("no_copy", "nobody is at home at that relay: it has no copy of the room")

    async def look() -> Survey:
        end = await _end_of(client, room)
        return survey(client._core(room), client.vault, url, end)

    return await try_at(client, room, url, hub, look, stay=False)


async def force_move(client: Client, room: RoomId, found: Survey) -> None:
    """See `Room.force_hub`."""
    core, ticket = client._core(room), Ticket("move")
    before = core.state.hub
    made = make_force(core, found, client.now())

    async def move() -> None:
        if await _end_of(client, room) != (found.seq, found.log):
            raise NotAllowed("copy_changed", "that copy has changed meanwhile: look again")
        connection = client._connection(room)
        with client._turn(connection) as turn:
            client._machine(room).force(turn, made, ticket)
        await client._settled(ticket, connection)

    await try_at(client, room, found.url, found.relay_id, move)
    await client._live(room, client.patience)
    if client._core(room).state.member(core.me).home == before:
        await client._move_home(room, found.url, found.relay_id)


async def _end_of(client: Client, room: RoomId) -> tuple[int, Hash32]:
    machine = client._machine(room)
    machine.check_open()
    if machine.end is not None:
        return machine.end
    ticket = Ticket("look at the copy")
    machine.await_end(ticket)
    return cast("tuple[int, Hash32]", await client._settled(ticket, client._connection(room)))


async def try_at(
    client: Client,
    room: RoomId,
    url: str,
    relay_id: RelayId,
    work: Callable[[], Awaitable[T]],
    *,
    stay: bool = True,
) -> T:
    """Do this with the room reached at that relay; if it fails, or not to `stay`, go back after."""
    before = client._core(room).identity
    if before.relay_id != relay_id:
        with client._turn(client._connection(room)) as turn:
            relocate(turn, client._core(room), url, relay_id)

    def back() -> None:
        if client._core(room).identity.relay_id == relay_id != before.relay_id:
            with client._turn(client._connection(room)) as turn:
                relocate(turn, client._core(room), before.relay_url, before.relay_id)

    try:
        done = await work()
    except ClientError:
        back()
        raise
    if not stay:
        back()
    return done


_LACKS: Final = (
    "that relay's copy lacks {count} changes of the room that you have seen (an eviction, say): "
    "they would come to nothing, so nothing was done. Take the copy of another relay; if no copy "
    "has them, have the old relay put back from its backup, or found the room anew"
)
