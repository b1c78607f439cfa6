"""The one interface that every network implements, and what the core does for it.

    class Pigeons(Network[PigeonSettings, PigeonPlace]):
        kind = "pigeons"

        async def run(self):                       # connect, keep connected; cancelled to stop
            async for letter in loft():
                verdict = await self.host.take(RemoteMessage(place="roof", id=letter.ring, ...))
                # returns once committed: only now tell the outside that we have it

        async def deliver(self, batch):            # one place, in order
            return [Receipt(one.number, State.CONFIRMED, (ring,)) for one in batch]

The core owns order, journal, retries, expiry, consent, loop guard, limits, identities and the
conversion of replies, edits and files; a network only maps. A network keeps its own facts in its
own tables of the vault (`Host.table`), in transactions of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from attrs import frozen

from bridge.core.journal import Entry
from bridge.core.metrics import Metrics
from bridge.core.model import Author, LocalAuthor, Outgoing, Receipt, Remote, Verdict
from ofcd.client import Transaction, Vault
from ofcd.client.applog import Log
from ofcd.protocol.ids import EventId, MemberId, RoomId

__all__ = ["Finding", "Host", "LocalMember", "Network", "NetworkSettings", "PlaceInfo"]


class NetworkSettings(Protocol):
    """What every network's settings have."""

    @property
    def name(self) -> str:
        """The network's name: badge of its people, and what a [[portal]] refers to."""
        ...


S = TypeVar("S", bound=NetworkSettings)
P = TypeVar("P")


@frozen
class Finding:
    """One line of `ofc-bridge check`."""

    good: bool
    text: str
    """What is well, or what is wrong and what to do."""


@frozen
class LocalMember:
    """A member of a room that a place is joined to."""

    author: LocalAuthor
    is_bot: bool
    is_admin: bool
    """Root or owner."""


@frozen
class PlaceInfo(Generic[P]):
    """A place of this network that some portal names, and what the portals say of it."""

    place: str
    options: P
    """The portal's own section for this network; of several portals, the first's."""
    sends: bool
    """Rooms are copied to it."""
    takes: bool
    """It is copied to rooms."""


class Host(Protocol):
    """What the core does for one network."""

    vault: Vault
    log: Log

    def now(self) -> int:
        """Milliseconds since 1970."""
        ...

    async def take(self, remote: Remote) -> Verdict:
        """Say it in the rooms that are joined to its place; returns once it is on disk.

        Said once, however often the same id is taken, also across a crash. What the rooms have no
        place for is left out, and they are told so.
        """
        ...

    async def take_in(self, remote: Remote, rooms: frozenset[RoomId]) -> dict[RoomId, Verdict]:
        """As `take`, in these rooms alone: what each of them says; one that is closed, nothing.

        What a room takes later is to be brought again, for that room; and so is it to any other
        room of the place that is open now.
        """
        ...

    def settle(self, place: str, event_id: EventId, receipt: Receipt) -> None:
        """What became of something after `deliver` has returned: a proof, or a bounce."""
        ...

    def transaction(self) -> AbstractContextManager[Transaction]:
        """A transaction on the vault for the network's own tables. Do not await inside."""
        ...

    def table(self, name: str, *, large: bool = False) -> str:
        """The name of a table of this network's own.

        `large`: for thousands of records and more; not protected against a record of it being put
        back to an earlier state.
        """
        ...

    def rooms(self, place: str) -> list[RoomId]:
        """The rooms that are joined to a place now, by whatever direction."""
        ...

    def is_over(self, place: str) -> bool:
        """Whether the bridge is in none of the rooms of a place any more, and none is to come."""
        ...

    def room_name(self, room: RoomId) -> str:
        """What a room is called."""
        ...

    def members(self, place: str) -> list[LocalMember]:
        """The members of those rooms, bridges left out, each once; those who are withheld too."""
        ...

    def is_alone(self, place: str, mid: MemberId) -> bool:
        """Whether exactly this member and the bridge itself are in a room of a place.

        Whoever else is there counts, whatever they may do: other bridges too. False: it has none.
        """
        ...

    def consent(self, room: RoomId, mid: MemberId) -> str:
        """What a member lets the bridge copy: `full`, `nick-only` or `withheld`."""
        ...

    def is_ignored(self, place: str, room: RoomId, author: Author) -> bool:
        """Whether a room takes nothing from somebody at a place."""
        ...

    def may_say(self, place: str, room: RoomId, event_id: EventId) -> bool:
        """Whether a message that was said may be said on.

        Not taken back, not edited since it was said there, and its author agrees.
        """
        ...

    def remote_ids(self, place: str, event_id: EventId) -> tuple[str, ...]:
        """What a room's event is called at a place; () where it is not there."""
        ...

    def event_of(self, place: str, remote_id: str) -> EventId | None:
        """The room's event of something outside, whichever way it went; None: not known."""
        ...

    def queued(self, place: str) -> list[Entry]:
        """What waits to be said at a place, in order."""
        ...

    def ready(self, place: str, on: bool, why: str = "") -> None:
        """Whether `deliver` makes sense for a place now; `why` not is shown by `!bridge status`."""
        ...

    async def read_file(self, room: RoomId, event_id: EventId, limit: int) -> bytes:
        """The attachment of a message, fetched and checked, and put on no disk.

        Raises `BadAttachment`, also for one of over `limit` bytes, and `ClientError`.
        """
        ...

    async def link(self, one: Outgoing) -> str | None:
        """A link that opens a message's file, or else all of its text; None: there is none to be.

        The same as long as the message has not been told. Raises `Offline`: the relay is away, and
        the message may wait for it.
        """
        ...

    def end_links(self, tx: Transaction, place: str, room: RoomId) -> None:
        """Nothing of a room's content may be at a place any more: none of its links opens there."""
        ...

    def attach(self, place: str, of: RoomId, by: MemberId, link: str) -> MemberId:
        """Join the room that an invite leads to, and join it to a place of the network's naming.

        The invite was given in the room `of` by a member; returns who made it. Raises `OfcError`
        where it can not be used; where it is refused later, that room is told. Whoever was at the
        place before is not any more. It ends by itself when that member is gone from there, or who
        made the invite from the room that it leads to. The same room again changes nothing.
        """
        ...

    def detach(self, place: str) -> bool:
        """End what `attach` began; whether there was such a place."""
        ...

    def attached(self) -> list[str]:
        """The places of `attach`."""
        ...

    def notice(self, place: str, text: str, *, key: str = "") -> None:
        """Tell the rooms of a place something as the bridge itself.

        With a `key`, at most once a minute for the same key.
        """
        ...

    def declined(self) -> None:
        """Count an invitation that is not taken up, or what was said to the bridge alone."""
        ...

    def operator(self, text: str, **facts: Any) -> None:
        """Tell who runs the bridge (its log, and its metrics). No message text, no secret."""
        ...


class Network(ABC, Generic[S, P]):
    """One network outside. Made from its settings; belongs to one trio run."""

    kind: ClassVar[str]
    """What its sections are called in bridge.toml: `[[irc]]`, and `[portal.irc]`."""
    Settings: ClassVar[type[Any]]
    """Frozen attrs: one `[[kind]]`. Raises ValueError for contradictions. Paths in attributes named
    `*_file` and `*_dir` start at the folder of bridge.toml."""
    PlaceSettings: ClassVar[type[Any]]
    """Frozen attrs with defaults for all: a portal's `[portal.kind]`."""
    holds_edits: ClassVar[bool] = True
    """Whether messages wait for the portal's `hold` so that quick edits merge."""
    reaction_hold: ClassVar[float] = 0.0
    """Seconds that reactions wait, so that those to one message can be told together; messages do
    not wait for them."""
    max_age: ClassVar[int] = 600
    """Seconds that a message may wait for the network, where the portal does not say."""

    def __init__(self, settings: S, places: Sequence[PlaceInfo[P]]) -> None:
        """`settings` are checked; `places` are those that portals name."""
        self.settings = settings
        self.places = {one.place: one for one in places}
        self.host: Host
        """Set before `run`."""

    @property
    def name(self) -> str:
        """The network's name."""
        return self.settings.name

    def same_place(self, place: str) -> str:
        """A place's name in the one form in which it is compared; raises ValueError for none."""
        return place

    @abstractmethod
    async def run(self) -> None:
        """Connect and stay connected, with back-off, until cancelled; never raises for the network.

        Calls `host.ready(place, True)` when a place can be spoken to.
        """

    @abstractmethod
    async def deliver(self, batch: Sequence[Outgoing]) -> Sequence[Receipt]:
        """Say these, all of one place, in this order; a receipt for each.

        Called while the place is ready, for one place at most once at a time; the journal has noted
        that they are being sent. Returns within minutes. If it raises or is cancelled, each is
        handed over again with `again`.
        """

    @abstractmethod
    async def check(self, report: Callable[[Finding], None]) -> None:
        """`ofc-bridge check`: connect as configured, look at each place, and report; no Host."""

    def describe(self, place: str) -> str:
        """A place in a sentence: "#books on libera (irc.libera.chat)"."""
        return f"{place} on {self.name}"

    def title(self, place: str) -> str:
        """A place in a word: as the bridge calls itself in its room."""
        return place

    def is_own(self, author: str) -> bool:
        """Whether an author's id outside (`Author.id`) is one of this bridge's own names there.

        Another bridge that hears this one brings its words in under that.
        """
        return False

    def member_command(self, room: RoomId, mid: MemberId, words: Sequence[str]) -> str | None:
        """As `command`, by any member, for what concerns themselves; None: it is none of these."""
        return None

    def measure(self, metrics: Metrics) -> None:
        """Set what this network counts besides what the core does; called every ten seconds."""

    async def command(self, room: RoomId, words: Sequence[str]) -> str | None:
        """`!bridge <name> …` by an admin of a room: the answer; None: nothing that is known here.

        `words` begin with the network's name. After a crash it may be called again.
        """
        return None
