"""Moving a room whose hub is gone for good: what root looks at, and signs (protocol.md, 19).

A room goes on from the end of the copy that root chooses. Root's client looks first: what it has
and the copy lacks would come to nothing. It signs nothing that would undo a change of the room.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeVar, cast

import trio
from attrs import frozen

from ofcd.client.archive import Kind
from ofcd.client.core import Core, refusal
from ofcd.client.errors import BadInvite, ClientError, NotAllowed, Offline, RelayRefused
from ofcd.client.events import LoggedEvent, Message
from ofcd.client.reaching import move_home, try_at
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

__all__ = [
    "Survey",
    "force_move",
    "look_at_copy",
    "make_force",
    "make_plain_move",
    "survey",
]

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
    done: bool = False
    """That relay orders the room already: all that is left is to be at home there."""

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


def make_plain_move(core: Core, hub: RelayId, url: str, now: int) -> SignedRecord:
    """HUB_MOVE with the consent of the hub so far. Raises `NotAllowed` (`term_signed`), `Refused`.

    One by force that was signed, and whose answer never came, may stand in a log somewhere: it
    would count against this, and take back what comes behind it.
    """
    if core.head.forced_term > core.state.term:
        raise NotAllowed("term_signed", _SIGNED)
    return make_hub_move(core.state, core.mine, core.log.seen, now, hub=hub, urls=[url])


def make_force(core: Core, found: Survey, now: int) -> SignedRecord:
    """HUB_MOVE by force, behind the end of the copy. Raises `NotAllowed`, `Refused`.

    Its term is higher than that of any that this client knows of, or has signed.
    """
    found.check()
    return make_hub_move(
        core.state,
        core.mine,
        Seen(found.seq, found.log),
        now,
        hub=found.relay_id,
        urls=[found.url],
        above=core.head.signed_term,
        force=True,
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
    if core.state.hub != hub and hub not in core.state.homes.values():
        raise NotAllowed("no_copy", _NO_COPY)

    async def look() -> Survey:
        end = await _end_of(client, room)
        core = client._core(room)
        if core.state.hub == hub:
            return Survey(room, url, hub, *end, done=True)
        return survey(core, client.vault, url, end)

    try:
        return await try_at(client, room, url, hub, look, stay=False)
    except Offline:
        if client._core(room).state.hub == core.state.hub:
            raise
        raise NotAllowed("moved_before", _MOVED) from None  # that relay has told so


async def force_move(client: Client, room: RoomId, found: Survey) -> None:
    """See `Room.force_hub`."""
    found.check()
    if not found.done:
        await try_at(client, room, found.url, found.relay_id, lambda: _move(client, room, found))
    await client._live(room, client.patience)
    if _is_home_gone(client._core(room)):
        await move_home(client, room, found.url, found.relay_id)


def _is_home_gone(core: Core) -> bool:
    """Whether this member is at home at a relay that the room was moved from by force."""
    hubs, home = core.state.hubs, core.state.member(core.me).home
    after = [hub for before, hub in pairwise(hubs) if before.relay_id == home != hub.relay_id]
    return home != core.state.hub and bool(after) and after[-1].forced


async def _move(client: Client, room: RoomId, found: Survey) -> None:
    """Sign it, and have that relay take it; until the room is there."""
    for left in reversed(range(_TRIES)):
        end = await _end_of(client, room)
        core = client._core(room)
        if core.state.hub == found.relay_id:
            return  # an answer that was lost: it has been done before
        if end != (found.seq, found.log):
            raise NotAllowed("copy_changed", _CHANGED)
        try:
            await _hand_in(client, room, found)
        except RelayRefused as refused:
            if refused.code != Code.TRY_AGAIN or not left:
                raise _explained(refused) from None
            await trio.sleep(_AGAIN_SECONDS)
        else:
            break
    with trio.move_on_after(client.patience):
        while client._core(room).state.hub != found.relay_id:
            await client._hub.growth(room).wait()
        return
    raise Offline(_UNSEEN)


async def _hand_in(client: Client, room: RoomId, found: Survey) -> None:
    ticket, connection = Ticket("move"), client._connection(room)
    with client._turn(connection) as turn:
        made = make_force(client._core(room), found, turn.now)
        client._machine(room).force(turn, made, ticket)
    try:
        await client._settled(ticket, connection)
    except Offline as offline:
        raise Offline(f"{offline}; {_UNSEEN}") from None


def _explained(refused: RelayRefused) -> ClientError:
    """A refusal of the relay that was to be the hub, as something to go by."""
    if refused.code in _COPY_CHANGED:
        return NotAllowed("copy_changed", _CHANGED)
    why = _WHY.get(refused.code)
    return refused if why is None else RelayRefused(refused.code, why)


async def _end_of(client: Client, room: RoomId) -> tuple[int, Hash32]:
    machine = client._machine(room)
    machine.check_open(reading=True)
    if machine.end is not None:
        return machine.end
    ticket = Ticket("look at the copy")
    machine.await_end(ticket)
    return cast("tuple[int, Hash32]", await client._settled(ticket, client._connection(room)))


_TRIES: Final = 5
_AGAIN_SECONDS: Final = 2.0
_LACKS: Final = (
    "that relay's copy lacks {count} changes of the room that you have seen (an eviction, say): "
    "they would come to nothing, so nothing was done. Take the copy of another relay; if no copy "
    "has them, have the old relay put back from its backup, or found the room anew"
)
_NO_COPY: Final = (
    "nobody is at home at that relay, so it has no copy of the room: name a relay that a member is "
    "at home at"
)
_CHANGED: Final = (
    "that relay's copy has changed since it was looked at, and nothing was done: look again, what "
    "it lacks is another thing now"
)
_UNSEEN: Final = (
    "it may have been done all the same: say it again, and it is finished, or done then, once"
)
_MOVED: Final = (
    "you have moved this room before, to another relay, and this client had not heard of it: it "
    "goes there now. Look whether the room is well there; else say the same once more"
)
_SIGNED: Final = (
    "you have signed a move of this room by force before, and it is not known what became of it: "
    "it would count against this one. Say it by force, too, which counts against that"
)
_COPY_CHANGED: Final = frozenset(
    {Code.SEEN_STALE.value, Code.HUB_BEHIND.value, Code.CONFLICT.value}
)
_WHY: Final = {
    Code.TRY_AGAIN.value: "that relay still hears from the room's relay so far, and has not "
    "caught up with it: nothing was done. Say it again in a minute; or, if that one agrees, "
    "without force",
    Code.WRONG_RELAY.value: "another relay answers there than the one that was looked at: check "
    "the address and its fingerprint. Nothing was done",
    Code.FORK.value: "that relay's copy is of another log than yours: nothing was done. Take the "
    "copy of another relay",
    Code.FORBIDDEN.value: "that relay does not take the room over (its operator may allow it by "
    "access.move_here), or does not know you as its root owner: nothing was done. Ask its "
    "operator, or take another relay",
    Code.QUOTA.value: "the room was moved so often since its key was last renewed that this relay "
    "takes no more of it: nothing was done. Renew the key first, where the room is reached now: "
    "ofc rotate",
}
