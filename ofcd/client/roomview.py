"""What a room is and what stands in it: the reading half of `Room`."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final

from attrs import frozen

from ofcd.client.archive import Kind
from ofcd.client.errors import NotAllowed
from ofcd.client.events import LoggedEvent, Message, RoomStatus
from ofcd.client.feed import LoggedEvents
from ofcd.client.model import Tables
from ofcd.client.streams import EventStream
from ofcd.client.turn import Turn
from ofcd.client.vault import Transaction
from ofcd.e2e import bodies
from ofcd.e2e.trust import fingerprint, room_safety_number, safety_number, short_code
from ofcd.protocol.codes import Code, Refused
from ofcd.protocol.ids import EventId, MemberId, RelayId, RoomId
from ofcd.protocol.records import Cap, Policy, Role
from ofcd.protocol.room import Invite, Member, may_assign, may_evict

if TYPE_CHECKING:
    from ofcd.client.client import Client  # the client imports this module

__all__ = ["Delivery", "MemberInfo", "RoomView", "Sponsor"]

_SHOWN: Final = (Kind.MESSAGE, Kind.INVALID, Kind.PARKED, Kind.UNREADABLE)
_QUEUE: Final = 1000


@frozen
class Sponsor:
    """Whose bot a bot is: the member who signed for its keys (docs/protocol.md, section 6)."""

    mid: MemberId
    name: str
    """What that member calls, or last called, itself; "" where nothing is known."""
    gone: str = ""
    """`left` or `evicted`; "" for one who is here."""


@frozen
class MemberInfo:
    """A current member."""

    mid: MemberId
    name: str
    """What this member calls itself: chosen freely, so show `mid` where it matters."""
    role: Role
    caps: frozenset[Cap]
    joined_seq: int
    is_me: bool
    fingerprint: str
    sponsor: Sponsor | None = None
    """For a bot: whose it is."""
    verified: int | None = None
    """When a phrase compared with this member has shown its keys to be genuine, if it has."""
    same_as: tuple[MemberId, ...] = ()
    """Members that are the same person: they and this one have said so."""


@frozen
class Delivery:
    """To whose devices an entry of the log is proven to have come, by their own signatures.

    Not that they could read it, nor that anybody has.
    """

    reached: tuple[MemberId, ...]
    awaited: tuple[MemberId, ...]
    """The other members who may read it, of whom nothing is known yet."""

    @property
    def state(self) -> str:
        """`sent` (it is in the room's log), `delivered` to somebody else, or `delivered_to_all`."""
        if not self.reached:
            return "sent"
        return "delivered" if self.awaited else "delivered_to_all"


class RoomView:
    """The reading half of `Room`."""

    def __init__(self, client: Client, room: RoomId) -> None:
        """Use `Client.room`, `create_room` or `join`."""
        self._client = client
        self.id = room

    def __repr__(self) -> str:
        return f"<Room {self.id.hex()[:16]}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RoomView) and (other.id, other._client) == (self.id, self._client)

    def __hash__(self) -> int:
        return hash(self.id)

    # -- what it is ------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The room's name."""
        return self._client._core(self.id).head.room_name

    @property
    def topic(self) -> str:
        """The room's topic."""
        return self._client._core(self.id).head.topic

    @property
    def me(self) -> MemberId:
        """This client's member id here."""
        return self._client._core(self.id).me

    @property
    def my_name(self) -> str:
        """What this client calls itself here."""
        return self._client._core(self.id).head.my_name

    @property
    def status(self) -> RoomStatus:
        """What can be done here; `status_code` says why where it is not ACTIVE."""
        return self._client._core(self.id).head.status

    @property
    def status_code(self) -> str:
        """Why the status is not ACTIVE."""
        return self._client._core(self.id).head.code

    @property
    def is_live(self) -> bool:
        """Attached to the relay and caught up."""
        return self._client._machine(self.id).is_live

    @property
    def policy(self) -> Policy:
        """The room's rules."""
        return self._client._core(self.id).state.policy

    @property
    def relay_url(self) -> str:
        """Where the room lives."""
        return self._client._core(self.id).identity.relay_url

    @property
    def hub_id(self) -> RelayId:
        """The relay that orders the room."""
        return self._client._core(self.id).state.hub

    def home_of(self, mid: MemberId) -> RelayId:
        """The relay that a current member is at home at; raises `NotAllowed` (not_found)."""
        return self._member(mid).home

    @property
    def hub_since(self) -> int:
        """The log entry from which on that relay does: a `HubMoved`; 0: it always has."""
        return self._client._core(self.id).state.hubs[-1].since

    @property
    def relay_id(self) -> RelayId:
        """The pinned relay."""
        return self._client._core(self.id).identity.relay_id

    @property
    def epoch(self) -> int:
        """The number of the current room key."""
        return self._client._core(self.id).state.epoch

    @property
    def epoch_seq(self) -> int:
        """The log entry that opened the current epoch."""
        return self._client._core(self.id).state.epoch_seq

    @property
    def epoch_since(self) -> int:
        """When this client learnt of the current room key, milliseconds since 1970."""
        return self._client._core(self.id).head.epoch_since

    @property
    def head(self) -> int:
        """The last log entry this client has."""
        return self._client._core(self.id).head.seq

    @property
    def unread(self) -> int:
        """Messages of others after the one marked read."""
        return self._client._core(self.id).head.unread

    def members(self) -> list[MemberInfo]:
        """The current members, root first, then by joining."""
        core = self._client._core(self.id)
        ordered = sorted(
            core.state.members.values(), key=lambda m: (m.role is not Role.ROOT, m.joined_seq)
        )
        return [self._info(member) for member in ordered]

    def member(self, mid: MemberId) -> MemberInfo:
        """One current member; raises `NotAllowed` (not_found)."""
        return self._info(self._member(mid))

    def sponsor_of(self, mid: MemberId) -> Sponsor | None:
        """Whose bot a member is, or was; None for people."""
        state = self._client._core(self.id).state
        sponsor = state.sponsors.get(mid)
        if sponsor is None:
            return None
        gone = state.departed.get(sponsor)
        return Sponsor(sponsor, self._name(sponsor), "" if gone is None else gone.value)

    def caps_of(self, mid: MemberId) -> frozenset[Cap]:
        """A current member's caps; none for others."""
        member = self._client._core(self.id).state.members.get(mid)
        return frozenset() if member is None else member.caps

    # -- what this client may do here --------------------------------------------------------------

    @property
    def is_root(self) -> bool:
        """Whether this client is root."""
        core = self._client._core(self.id)
        return core.state.root == core.me

    @property
    def is_owner(self) -> bool:
        """Whether this client is root or co-owner."""
        return self._client._core(self.id).is_owner

    def may_evict(self, mid: MemberId) -> bool:
        """Whether this client may remove that member, or change their role."""
        members = self._client._core(self.id).state.members
        me, target = members.get(self.me), members.get(mid)
        return me is not None and target is not None and may_evict(me, target)

    def may_assign(self, role: Role, caps: Collection[Cap]) -> bool:
        """Whether this client may give somebody this role and these caps."""
        me = self._client._core(self.id).state.members.get(self.me)
        return me is not None and may_assign(me, role, caps)

    def may_invite(self, role: Role, caps: Collection[Cap]) -> bool:
        """Whether this client may invite somebody as that."""
        me = self._client._core(self.id).state.members.get(self.me)
        return me is not None and me.may_admit and may_assign(me, role, caps)

    @property
    def may_attach(self) -> bool:
        """Whether this client may send files here."""
        me = self._client._core(self.id).state.members.get(self.me)
        return me is None or me.may_attach

    def name_of(self, mid: MemberId) -> str:
        """What a member, or one who was, was last called; "" where nothing is known."""
        return self._client._core(self.id).names.get(mid, "")

    def invites(self) -> list[Invite]:
        """The open invites."""
        return list(self._client._core(self.id).state.invites.values())

    def evidence(self) -> list[bytes]:
        """Signed envelopes kept because they can not all be true."""
        return self._client._core(self.id).evidence(self._client.vault)

    async def wait_live(self) -> None:
        """Return once the room is attached and caught up.

        Raises `Offline` after the client's `patience`, `RoomFrozen`, `NotAllowed` (left, evicted,
        room_closed), `RelayRefused` where the relay does not let this client in, `JoinFailed`
        where it did not take the new room.
        """
        await self._client._live(self.id, self._client.patience)

    async def wait_admitted(self) -> int:
        """The seq of this member's own admission, as soon as the log here has come to it.

        With a slow relay that is not yet so when the room first is there. Who is no member waits.
        """
        while True:
            grown = self._client._hub.growth(self.id)
            for one in self.members():
                if one.is_me:
                    return one.joined_seq
            self._client._require_open()
            await grown.wait()

    # -- trust -----------------------------------------------------------------------------------

    def safety_number(self, mid: MemberId) -> str:
        """60 digits that you and `mid` compare over another channel: the same for both of you."""
        return safety_number(self._client._core(self.id).state, self._own(), self._member(mid))

    def short_code(self, mid: MemberId) -> str:
        """The first 20 digits of `safety_number`, to read out loud."""
        return short_code(self._client._core(self.id).state, self._own(), self._member(mid))

    def room_safety_number(self) -> str:
        """60 digits, the same for all who see the same members and keys."""
        return room_safety_number(self._client._core(self.id).state)

    # -- history ---------------------------------------------------------------------------------

    def messages(self, *, since: int | None = None, limit: int = 50) -> list[Message]:
        """Messages as they read now, in order: those from seq `since` on, or the last ones."""
        core, vault = self._client._core(self.id), self._client.vault
        found: list[Message] = []
        entries = core.archive.entries(vault, since or 0, newest_first=since is None)
        for entry in entries:
            if len(found) >= limit:
                break
            if entry.kind in _SHOWN:
                found.append(core.archive.message(entry))
        return found if since is not None else found[::-1]

    def message(self, event_id: EventId) -> Message | None:
        """One message as it reads now; any id means it under which it was given here."""
        core = self._client._core(self.id)
        entry = core.archive.find(self._client.vault, event_id)
        shown = entry is not None and entry.kind in _SHOWN
        return core.archive.message(entry) if entry is not None and shown else None

    def first_id(self, event_id: EventId) -> EventId:
        """The id under which this client first had what has this id: `Message.first_id`."""
        entry = self._client._core(self.id).archive.find(self._client.vault, event_id)
        return event_id if entry is None else entry.first_id

    def voided(self) -> list[Message]:
        """Messages that stood in the room's log, came to nothing, and were not said again.

        Root has moved the room by force, to a relay that did not have them. Oldest first.
        """
        core = self._client._core(self.id)
        entries = core.archive.void(self._client.vault)
        return [core.archive.message(entry) for entry in entries if entry.kind is Kind.MESSAGE]

    def delivery(self, seq: int) -> Delivery:
        """Which current members, its sender and this one aside, have entry `seq` on their device.

        It says for whom that is proven; who lacks has perhaps only not said anything since.
        """
        core = self._client._core(self.id)
        entry = core.archive.entry(self._client.vault, seq)
        aside = {core.me} if entry is None else {core.me, entry.mid}
        others = [m for m in core.state.members.values() if m.mid not in aside]
        readers = [m.mid for m in others if m.history_from <= seq]
        reached = tuple(mid for mid in readers if core.reached.get(mid, -1) >= seq)
        return Delivery(reached, tuple(mid for mid in readers if mid not in reached))

    def received(self, seq: int) -> int:
        """When this client first had an entry, by its own clock; 0 where there is none."""
        entry = self._client._core(self.id).archive.entry(self._client.vault, seq)
        return 0 if entry is None else entry.received

    def mark_read(self, seq: int | None = None) -> None:
        """Everything up to `seq` (default: all) is read."""
        core = self._client._core(self.id)
        read = core.head.seq if seq is None else min(seq, core.head.seq)
        unread = sum(map(core.is_new, core.archive.entries(self._client.vault, read + 1)))
        with self._change() as turn:
            core.save_head(turn, read_seq=read, unread=unread)

    # -- events ----------------------------------------------------------------------------------

    def events(self, *, queue: int = _QUEUE) -> EventStream:
        """What happens in this room from now on; see `EventStream`."""
        return self._client._hub.listen(self.id, queue)

    def events_since(
        self, cursor: int = -1, *, give_up_after: int | None = None, follow: bool = True
    ) -> LoggedEvents:
        """Logged events after `cursor`, in order, each at least once; then those that come.

        An event whose key is missing holds those behind it back until the key is here; with
        `give_up_after` milliseconds `MessageUnreadable` stands in its place after that time.
        Without `follow`, ends at the end of what is here. The cursor to keep is the last event's
        `seq`: store it with `set_cursor` in the transaction that stores what came of the event.
        """
        return LoggedEvents(self._client, self.id, cursor, give_up_after, follow)

    def cursor(self, app: str = "app") -> int:
        """Where an application stands; -1 at first."""
        raw = self._client.vault.get(Tables(self.id).state, b"app/" + app.encode())
        return -1 if raw is None else int.from_bytes(raw, "big")

    def set_cursor(
        self, tx: Transaction, seq: int, app: str = "app", *, cuts: int | None = None
    ) -> None:
        """Everything up to `seq` is done with, if this transaction is committed.

        `cuts` is that of the event with this `seq`: if it came to nothing meanwhile, the cursor
        stays where it was put back to.
        """
        if not self._stands(seq, self.cuts if cuts is None else cuts):
            return
        tx.put(Tables(self.id).state, b"app/" + app.encode(), seq.to_bytes(8, "big"))

    @property
    def cuts(self) -> int:
        """How often the end of the log came to nothing, because root moved the room by force."""
        return self._client._core(self.id).head.cuts

    def holds(self, event: LoggedEvent) -> bool:
        """Whether what `events_since` has given still stands in the log.

        Ask in the transaction that stores what came of it, and store nothing if not: it came to
        nothing, and is given once more if it is said again.
        """
        return self._stands(event.seq, event.cuts)

    def held_since(self, cuts: int) -> int | None:
        """The last entry that still is what it was when `cuts` was this number; None: all are."""
        return self._client._core(self.id).head.holds_since(cuts)

    def _stands(self, seq: int, cuts: int) -> bool:
        end = self.held_since(cuts)
        return end is None or seq <= end

    # -- inside ------------------------------------------------------------------------------

    def attachment(self, message: Message | int) -> bodies.FileRef:
        """The description of a message's attachment; raises `NotAllowed` (not_found)."""
        core = self._client._core(self.id)
        seq = message if isinstance(message, int) else message.seq
        entry = core.archive.entry(self._client.vault, seq)
        content = None if entry is None else core.archive.content(entry)
        if not isinstance(content, bodies.FileRef):
            raise NotAllowed("not_found", "this message has no attachment")
        return content

    def _info(self, member: Member) -> MemberInfo:
        machine = self._client._machine(self.id)
        core = machine.core
        return MemberInfo(
            mid=member.mid,
            name=self._name(member.mid),
            role=member.role,
            caps=member.caps,
            joined_seq=member.joined_seq,
            is_me=member.mid == core.me,
            fingerprint=fingerprint(member),
            sponsor=self.sponsor_of(member.mid),
            verified=machine.comparing.verified(member),
            same_as=machine.aliases.same_as(member.mid),
        )

    def _name(self, mid: MemberId) -> str:
        core = self._client._core(self.id)
        return core.names.get(mid, core.head.my_name if mid == core.me else "")

    def _member(self, mid: MemberId) -> Member:
        try:
            return self._client._core(self.id).state.member(mid)
        except Refused:
            raise NotAllowed(Code.NOT_FOUND.value, "there is no such member") from None

    def _own(self) -> Member:
        return self._member(self.me)

    def _change(self) -> AbstractContextManager[Turn]:
        return self._client._turn(self._client._connection(self.id))
