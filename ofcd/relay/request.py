"""One request on its way through the core, and what every handler sees of the relay."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from attrs import define, field, frozen

from ofcd.protocol import frames
from ofcd.protocol.codes import Code, Refused
from ofcd.protocol.ids import PublicKey, RelayId, RoomId
from ofcd.protocol.records import Record
from ofcd.protocol.room import Member, RoomState
from ofcd.relay.effects import Decision, Effect, Push, Reply
from ofcd.relay.facts import Fact
from ofcd.relay.links import Link, Links
from ofcd.relay.policy import RelayPolicy
from ofcd.relay.rates import Rate, Rates
from ofcd.relay.room_log import RoomLog
from ofcd.themis.signed import SignedRecord, open_signed

__all__ = [
    "Asked",
    "Command",
    "Core",
    "Examined",
    "Request",
    "Signatures",
    "nothing_to_check",
]

F = TypeVar("F")
R = TypeVar("R")

Signatures = tuple[tuple[PublicKey, bytes], ...]
"""Keys, and the envelopes that each of them must have signed."""


@frozen
class Asked:
    """A frame that its link may send now, and the room it is about."""

    frame: frames.ClientFrame
    room: RoomId | None
    signed: SignedRecord | None = None
    """Its record, not verified; not yet read where the sender has to be attached first."""


@frozen
class Examined:
    """A frame that passed the cheap checks. Decide it only when all its signatures are right."""

    frame: frames.ClientFrame
    room: RoomId | None
    signed: SignedRecord | None
    signatures: Signatures = field(default=(), repr=False)

    def verify(self) -> None:
        """Verify the signatures; raises `Refused` (bad_signature). Pure: for a worker thread."""
        for key, envelope in self.signatures:
            open_signed(key, envelope)


@define
class Core:
    """What the relay has in memory."""

    relay_id: RelayId
    policy: RelayPolicy
    rates: Rates
    room_count: int
    links: Links = field(factory=Links)
    rooms: dict[RoomId, RoomLog] = field(factory=dict)
    absent: OrderedDict[RoomId, None] = field(factory=OrderedDict)
    """Rooms that were asked for and do not exist."""
    forgotten: dict[RoomId, RoomLog] = field(factory=dict)
    """Rooms with links, between `forget` and `load`: only good for who is attached."""
    unsure: set[RoomId] = field(factory=set)
    """Rooms counted, of which a failed commit leaves open whether they exist."""
    acked: dict[tuple[RoomId, RelayId], int] = field(factory=dict)
    """Up to which entry a relay that follows a room has stored it, as far as it has said."""
    hosts: set[tuple[RoomId, RelayId]] = field(factory=set)
    """Relays that follow a room, and would be its hub."""
    talks_to: Callable[[RelayId], bool] = lambda _: True
    """Whether this relay's lists let it talk to that one, where it talks to any."""
    hub_ends: dict[RoomId, int | None] = field(factory=dict)
    """Of copies whose hub has a link to this relay now: its last entry, as far as it has said on
    that; None: it has not yet."""
    force_asked: dict[RoomId, tuple[int, int]] = field(factory=dict)
    """By room that root can not move here by force yet: when that was asked first, and last."""

    def is_level(self, room: RoomLog) -> bool:
        """Whether this copy has all that its hub has, as far as that has said on its link."""
        known = self.hub_ends.get(room.room, -1)
        return known is not None and known <= room.seq

    def find(self, room: RoomId) -> RoomLog | None:
        """The room; None if there is none. Raises `Refused` (try_again) when it is not loaded."""
        if room not in self.rooms and room not in self.absent:
            raise Refused(Code.TRY_AGAIN)
        return self.rooms.get(room)


@define
class Request(Generic[F, R]):
    """One client frame (F) with its record (R), checked as far as its `Command` asks.

    Handlers raise `Refused` before they change anything, or not at all.
    """

    core: Core
    link: Link
    frame: F
    now: int
    final: bool
    """False while examining: then what others have under way may still make it right."""
    signed_record: SignedRecord | None = None
    room_log: RoomLog | None = None
    sender: Member | None = None
    next_state: RoomState | None = None
    """The state after this control record, as its check found it."""
    facts: list[Fact] = field(factory=list)
    effects: list[Effect] = field(factory=list)

    @property
    def policy(self) -> RelayPolicy:
        """The relay's limits."""
        return self.core.policy

    @property
    def signed(self) -> SignedRecord:
        """The frame's record, with its envelope."""
        return _present(self.signed_record)

    @property
    def record(self) -> R:
        """The frame's record, of the type its command names."""
        record: R = self.signed.record  # type: ignore[assignment]  # the command checked it
        return record

    @property
    def room(self) -> RoomLog:
        """The room of this request; raises `Refused` (not_found) if there is none."""
        if self.room_log is None:
            raise Refused(Code.NOT_FOUND)
        return self.room_log

    @property
    def member(self) -> Member:
        """As whom the link is attached to the room."""
        return _present(self.sender)

    @property
    def rid(self) -> int:
        """The client's number for this request; 0 where the frame has none."""
        return getattr(self.frame, "rid", 0)

    def signed_by(self, key: PublicKey) -> Signatures:
        """The signature that the frame's own record must bear."""
        return ((key, self.signed.envelope),)

    # -- what comes of it ------------------------------------------------------------------------

    def reply(self, frame: frames.RelayFrame) -> None:
        """Answer the request."""
        self.effects.append(Reply(self.link.id, frame))

    def push_to_joiners(self, key: tuple[Any, Any], frame: frames.RelayFrame) -> None:
        """Push to the links that follow the join `key` (invite, request hash) of this room."""
        links = self.core.links.joiners((self.room.room, *key))
        self.effects += [Push(link, frame) for link in links]

    def push_to_members(
        self,
        chosen: Callable[[Member], bool],
        frame: frames.RelayFrame,
        *,
        except_link: Link | None = None,
    ) -> None:
        """Push to every link attached as a current member that is `chosen`."""
        members = self.room.state.members
        for link, mid in self.core.links.attached(self.room.room).items():
            member = members.get(mid)
            if member and chosen(member) and not (except_link and link == except_link.id):
                self.effects.append(Push(link, frame))

    def decision(self) -> Decision:
        """What was decided."""
        return Decision(tuple(self.facts), tuple(self.effects))


def nothing_to_check(request: Request[Any, Any]) -> Signatures:
    """For commands of which the table checks all there is."""
    return ()


def _anyone(member: Member) -> bool:
    return True


@frozen
class Command:
    """What is asked of a frame before its handler sees it, and the handler.

    `check` raises `ProtocolError`, changes nothing, and returns the signatures that must be
    right; it runs when the frame is examined and again when it is decided. `run` decides.
    """

    check: Callable[[Request[Any, Any]], Signatures]
    run: Callable[[Request[Any, Any]], None]
    record: type[Record] | tuple[type[Record], ...] | None = None
    attached: bool = True
    """The link must be attached to the frame's room as a current member."""
    allowed: Callable[[Member], bool] = _anyone
    rates: tuple[Rate, ...] = (Rate.REQUEST,)
    guess: bool = False
    """A failure may be a guess at rooms or invites, and counts as one."""
    needs_room: bool = True
    """It is about a room of this relay."""
    size: Callable[[frames.ClientFrame, RelayPolicy], bool] | None = None
    """Whether the frame is small enough."""


T = TypeVar("T")


def _present(value: T | None) -> T:
    if value is None:
        raise AssertionError("the command table did not ask for what its handler uses")
    return value
