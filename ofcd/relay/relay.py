"""`Relay`: the core's only entrance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from attrs import evolve

from ofcd.protocol import frames
from ofcd.protocol.codes import Code, ProtocolError, Refused
from ofcd.protocol.ids import EventId, Hash32, MemberId, PublicKey, RelayId, RoomId
from ofcd.protocol.records import LogHead
from ofcd.relay import (
    blobs,
    following,
    forcing,
    joining,
    keys,
    moving,
    outbox,
    skipping,
    upkeep,
)
from ofcd.relay.commands import COMMANDS, examine, read, reopen
from ofcd.relay.effects import Backlog, Close, Decision, FindUpload, LinkId, Reply
from ofcd.relay.facts import Fact, HubAwaited, RoomSnapshot
from ofcd.relay.links import Link
from ofcd.relay.policy import RelayPolicy
from ofcd.relay.rates import Rate, Rates
from ofcd.relay.refusal import Refusal, failure_of
from ofcd.relay.request import Asked, Core, Examined
from ofcd.relay.room_log import RoomLog
from ofcd.relay.verifying import HubLied, Verified

__all__ = ["Relay"]

_NO_ANSWER: Final = 0
_REFILL_MS_AN_ENTRY: Final = 20
_REFILL_BYTES_A_MS: Final = 50
"""What each part of a refill adds to its time: the slowest road and disk that are waited for."""


class Relay:
    """Takes client frames, returns facts to commit and effects to perform. Owned by one task.

    For each frame, in the order its link sent them:

        asked = relay.read(link, frame, now)            # may raise ProtocolError
        while (room := relay.needs(asked)) is not None:
            relay.load(room, <the room's snapshot, from the store>)
        examined = relay.examine(link, asked, now)      # may raise ProtocolError
        <verify examined.signatures in a worker thread> # may raise ProtocolError
        <needs(examined) and load again, if anything else ran in between>
        decision = relay.decide(link, examined, now)

    Tell it of each refusal by `refused`, and wait as long as `penance` says before the next frame.

    then commit `decision.facts` (of many decisions at once), and only then perform the effects.
    If the commit fails, `forget` the rooms of its facts: they are loaded anew. All times are
    milliseconds since 1970.
    """

    def __init__(self, relay_id: RelayId, policy: RelayPolicy, *, rooms: int = 0) -> None:
        """`rooms` is how many there are in the store, for the quota."""
        self._core = Core(relay_id, policy, Rates(policy), room_count=rooms)
        self.frozen: set[RoomId] = set()
        """Copies that stand still, in memory or not; to be kept as the store holds it."""

    # -- links -----------------------------------------------------------------------------------

    def open_link(
        self,
        link: LinkId,
        transport_key: PublicKey,
        challenge: Hash32,
        now: int,
        peer: RelayId | None = None,
    ) -> None:
        """A link is open: its session proved `transport_key`, its Welcome told `challenge`.

        `peer`: it is a lane of that relay's, at whose end are its members and guests.
        """
        self._core.links.open(Link(link, transport_key, challenge, peer))

    def close_link(self, link: LinkId) -> None:
        """A link is gone, and with it its feeds; what it has under way is not decided any more."""
        self._core.links.close(link)

    def is_attached(self, link: LinkId, room: RoomId, mid: MemberId) -> bool:
        """Whether the link is in the room as `mid`, who is a member now."""
        held = self._core.links.get(link)
        log = self._core.rooms.get(room) or self._core.forgotten.get(room)
        return bool(held and log and held.rooms.get(room) == mid and mid in log.state.members)

    def is_local(self, link: LinkId) -> bool:
        """Whether the link is open, and no lane of another relay's."""
        held = self._core.links.get(link)
        return held is not None and held.peer is None

    def backlog(
        self, link: LinkId, room: RoomId, mid: MemberId, now: int
    ) -> list[frames.RelayFrame]:
        """What waits for a member who has come: joins, key requests. Nothing if it went again."""
        log = self._core.rooms.get(room)
        if log is None or not self.is_attached(link, room, mid):
            return []
        member = log.state.member(mid)
        days = self._core.policy.join_pending_days
        return [*joining.waiting_for(log, member, days, now), *keys.waiting_for(log, member)]

    def bad_signature(self, link: LinkId, now: int) -> Decision:
        """A signature of this link's was false: above the limit, close it."""
        if self._core.rates.spend(Rate.BAD_SIGNATURE, link, now):
            return Decision()
        error = Refused(Code.RATE_LIMITED, "too many false signatures on this connection")
        return Decision(effects=(Close(link, failure_of(_NO_ANSWER, error)),))

    # -- rooms -----------------------------------------------------------------------------------

    @property
    def hosts(self) -> bool:
        """Whether this relay takes over rooms that were made at others."""
        return self._core.policy.hosts

    @property
    def rooms_in_memory(self) -> int:
        """How many rooms are held in memory now."""
        return len(self._core.rooms)

    @property
    def doubtful(self) -> tuple[RoomId, ...]:
        """Rooms that count, although it is not known that they exist: load them when possible."""
        return tuple(self._core.unsure - self._core.rooms.keys())

    def is_loaded(self, room: RoomId) -> bool:
        """Whether the room is in memory."""
        return room in self._core.rooms

    def needs(self, asked: Asked | Examined) -> RoomId | None:
        """The room that must be loaded before this frame is examined or decided, if any."""
        room = asked.room
        if room is None or room in self._core.rooms or room in self._core.absent:
            return None
        command = COMMANDS[type(asked.frame)]
        if command.attached and not self._core.links.attached(room):
            return None  # it will be refused without a look at the room
        return None if isinstance(asked.frame, frames.Detach) else room

    def load(self, room: RoomId, snapshot: RoomSnapshot | RoomLog | None) -> None:
        """Take a room into memory; None: there is no such room. Raises `BadSnapshot`.

        Reading a long control log takes time: `RoomLog.from_snapshot` may be called in a worker
        thread, and its result passed here. A room already in memory stays as it is.
        """
        if room in self._core.rooms:
            return
        upkeep.take_in(self._core, room, snapshot)

    def forget(self, rooms: Iterable[RoomId]) -> None:
        """A commit failed: what is in memory of these rooms is not true. Links stay attached."""
        for room in rooms:
            upkeep.forget(self._core, room)

    def doubt(self, examined: Examined) -> None:
        """Deciding this failed in a way nobody foresaw: what is in memory may not be true."""
        self.forget([] if examined.room is None else [examined.room])

    def freed(self, room: RoomId, mid: MemberId, size: int) -> None:
        """`size` bytes of attachments of `mid` are gone from the store: they no longer count."""
        log = self._core.rooms.get(room)
        if log is not None:
            log.free(mid, size)

    def uploaded(
        self, put: FindUpload, owner: tuple[MemberId, int] | None
    ) -> frames.Done | frames.Failure:
        """The answer to a chunk, now that the store says whose attachment of how many it is."""
        return blobs.settle(self._core.rooms.get(put.room), put, owner)

    # -- other relays ----------------------------------------------------------------------------

    def room(self, room: RoomId) -> RoomLog | None:
        """The room, if it is in memory: to be read, not changed."""
        return self._core.rooms.get(room)

    def talk_only(self, talks_to: Callable[[RelayId], bool]) -> None:
        """Who else is talked to, as the settings have it: nobody goes home to any other."""
        self._core.talks_to = talks_to

    def hub_of(self, room: RoomId) -> RelayId | None:
        """The relay that orders the room, where that is another one; None where it is this one."""
        log = self._core.rooms.get(room)
        return None if log is None or log.hub == self._core.relay_id else log.hub

    def enter_lane(self, link: LinkId, room: RoomId, mid: MemberId) -> Decision:
        """A peer says that this lane is of `mid`: its control record says where it is at home."""
        log, held = self._core.rooms.get(room), self._core.links.get(link)
        member = None if log is None else log.state.members.get(mid)
        if log is None or held is None or member is None or member.home != held.peer:
            raise Refused(Code.NOT_FOUND)
        self._core.links.attach(held, room, mid)
        return Decision(effects=(Backlog(link, room, mid),))

    def keepers(self, room: RoomId, link: LinkId) -> tuple[RelayId, ...]:
        """Other relays that may have what was stored with the room's hub, likeliest first.

        For members of another relay the hub of now asks those before it, and nobody else does.
        """
        log, held = self._core.rooms.get(room), self._core.links.get(link)
        if log is None or held is None:
            return ()
        own = self._core.relay_id
        before = tuple(hub for hub in log.hubs_before(own) if hub != held.peer)
        if log.hub == own:
            return before
        return () if held.peer is not None else (log.hub, *before)

    def asks_as(self, room: RoomId, link: LinkId) -> MemberId | None:
        """As whom the keepers are asked: who is on the link, from its own relay.

        The hub of now asks as whoever is at home here the longest: those before it may not have
        heard of any other.
        """
        log = self._core.rooms.get(room)
        if log is None or log.hub != self._core.relay_id:
            return self.member_on(link, room)
        here = [log.state.member(mid) for mid in self.homed(room, self._core.relay_id)]
        oldest = min(here, key=lambda member: member.joined_seq, default=None)
        return None if oldest is None else oldest.mid

    def links_of(self, room: RoomId, mid: MemberId) -> list[LinkId]:
        """The links that are in the room as `mid`, who is a member now."""
        return [link for link, who in self.links_in(room) if who == mid]

    def member_on(self, link: LinkId, room: RoomId) -> MemberId | None:
        """As which current member the link is in the room."""
        return dict(self.links_in(room)).get(link)

    def links_in(self, room: RoomId) -> list[tuple[LinkId, MemberId]]:
        """The links that are in the room, and as which current members."""
        log = self._core.rooms.get(room)
        members = {} if log is None else log.state.members
        return [(k, mid) for k, mid in self._core.links.attached(room).items() if mid in members]

    def homed(self, room: RoomId, peer: RelayId) -> frozenset[MemberId]:
        """The current members who are at home at this relay."""
        log = self._core.rooms.get(room)
        members = () if log is None else log.state.members.values()
        return frozenset(member.mid for member in members if member.home == peer)

    def check_follow(
        self,
        room: RoomId,
        peer: RelayId,
        start: int,
        log: Hash32 | None,
        *,
        hosts: bool = False,
    ) -> RoomLog:
        """The room, if this peer may follow it from there. Raises `ProtocolError`.

        Whose last member has gone may do so up to the record that says so (`last_for`).

        With `log` it has its copy, and stored all before `start`; else it only may come to.
        `hosts`: it would be the room's hub.
        """
        self.unfollowed(peer, room)
        held = self._core.rooms.get(room)
        last = self.last_for(room, peer)
        if held is None or (last is not None and start > last):
            raise Refused(Code.NOT_FOUND)
        if held.state.policy.local_only:
            raise Refused(Code.NOT_FEDERATED)
        if start > held.seq + 1:
            raise Refusal(Code.HUB_BEHIND, seq=held.seq)
        ours = held.log_before(start)
        if None not in (log, ours) and log != ours:
            raise Refusal(Code.FORK, seq=held.seq)
        if hosts:
            self._core.hosts.add((room, peer))
        if log is not None and log == ours:
            self.acknowledged(room, peer, start - 1)
        return held

    def heard(self, room: RoomId, peer: RelayId) -> tuple[Fact, ...]:
        """A relay that was waited for follows, and knows of nothing more: order on."""
        held = self._core.rooms.get(room)
        if held is None or held.awaits != peer or self._core.acked.get((room, peer)) != held.seq:
            return ()
        held.awaits = None
        return (HubAwaited(room, None),)

    def last_for(self, room: RoomId, peer: RelayId) -> int | None:
        """See `RoomLog.last_for`, of this relay; -1 for a room that is not in memory."""
        log = self._core.rooms.get(room)
        return -1 if log is None else log.last_for(peer, self._core.relay_id)

    def acknowledged(self, room: RoomId, peer: RelayId, seq: int) -> None:
        """The relay `peer`, which follows the room, has stored it up to `seq`."""
        self._core.acked[room, peer] = seq

    def unfollowed(self, peer: RelayId, room: RoomId | None = None) -> None:
        """The relay `peer` follows this room no more, or none: what it has stored is not known."""
        acked, hosts = self._core.acked, self._core.hosts
        over = {key for key in {*acked, *hosts} if key[1] == peer and room in (None, key[0])}
        hosts -= over
        for key in over:
            acked.pop(key, None)

    def term_of(self, room: RoomId) -> int:
        """The term of the room's hub; 0 for a room that is not in memory."""
        log = self._core.rooms.get(room)
        return 0 if log is None else log.state.term

    def replicate(
        self, room: RoomId, entries: Sequence[Verified], now: int, known: int = -1
    ) -> Decision:
        """Entries of the hub, verified against this very copy, go to its end.

        `known`: how far the hub was when this relay asked to follow. A HUB_MOVE of before that may
        be old, and this relay put back to a backup: before it orders on, the hub of before says
        that it knows of nothing after it, or gives it back, in a minute at most.
        """
        held = self._held(room)
        if entries and not entries[0].fits(held):
            raise Refused(Code.TRY_AGAIN)  # the copy was loaded anew meanwhile, or taken back
        before = held.hub
        decision = following.replicate(self._core, held, entries, now)
        return self._awaiting(held, before, now, decision) if held.seq <= known else decision

    def _awaiting(self, held: RoomLog, before: RelayId, now: int, decision: Decision) -> Decision:
        """Where the room came here by what is old, let the hub before speak first."""
        return decision if held.hub == before else self._hear_first(held, before, now, decision)

    def _hear_first(self, held: RoomLog, peer: RelayId, now: int, decision: Decision) -> Decision:
        """Before this relay orders on, if it does, let `peer` say what it knows of."""
        if held.hub != self._core.relay_id or not self.homed(held.room, peer):
            return decision
        held.awaits, held.lost_until = peer, now + upkeep.REFILL_MS
        return evolve(decision, facts=(*decision.facts, HubAwaited(held.room, peer)))

    def refill(
        self,
        room: RoomId,
        peer: RelayId,
        entries: Sequence[Verified],
        lost: Mapping[int, EventId],
        now: int,
    ) -> Decision:
        """As `replicate`, of a room of ours; nobody may say anything before the rest of `lost`.

        For a minute, and for as much longer as what comes takes on a slow road: who drips gains
        nothing by it.
        """
        if self._held(room).hub != self._core.relay_id:
            raise Refused(Code.NOT_FOUND)  # it was moved away meanwhile
        decision = self.replicate(room, entries, now)
        held = self._held(room)
        begins = not held.lost
        held.refiller = peer if begins else held.refiller
        held.lost = {seq: event_id for seq, event_id in lost.items() if seq > held.seq}
        size = sum(len(one.entry.record) + len(one.entry.cell) for one in entries)
        more = _REFILL_MS_AN_ENTRY * len(entries) + size // _REFILL_BYTES_A_MS
        held.lost_until = (now + upkeep.REFILL_MS if begins else held.lost_until) + more
        return decision

    def step_back(
        self, room: RoomId, found: forcing.Retreat, teller: RelayId, now: int
    ) -> Decision:
        """See `forcing.step_back`. `teller` is the relay that told of the move.

        A relay that is told to be the hub was put back to before it was: before it orders on,
        whoever told it gives back what it knows of, as in `replicate`.
        """
        decision = forcing.step_back(self._core, self._held(room), found, now)
        return self._hear_first(self._held(room), teller, now, decision)

    def stand_still(
        self, room: RoomId, told: tuple[bytes, ...], lied: HubLied, now: int
    ) -> Decision:
        """See `forcing.stand_still`."""
        return forcing.stand_still(self._core, self._held(room), told, lied, now)

    def skip(self, room: RoomId, found: skipping.Skip, now: int) -> Decision:
        """See `skipping.skip`. A HUB_MOVE to this relay in the stretch is an old one."""
        held = self._held(room)
        before = held.hub
        decision = skipping.skip(self._core, held, found, now)
        return self._awaiting(held, before, now, decision)

    def take_up(self, room: RoomId) -> Decision:
        """See `moving.take_up`."""
        held = self._core.rooms.get(room)
        return Decision() if held is None else moving.take_up(self._core, held)

    def has_come_to(self, room: RoomId, mid: MemberId, counter: int, event_id: EventId) -> Decision:
        """See `outbox.has_come_to`."""
        held = self._core.rooms.get(room)
        if held is None:
            return Decision()
        return outbox.has_come_to(self._core, held, mid, counter, event_id)

    def accept_head(
        self, room: RoomId, head: LogHead, envelope: bytes, hub: RelayId
    ) -> Decision | None:
        """See `following.accept_head`. Raises `HubLied`."""
        return following.accept_head(self._held(room), head, envelope, hub)

    def hub_says(self, room: RoomId, seq: int | None) -> None:
        """On the link that is open, the hub of this copy is so far; None: it has yet to say."""
        known = self._core.hub_ends.setdefault(room, seq)
        if seq is not None:
            self._core.hub_ends[room] = max(seq, known or 0)

    def is_level(self, room: RoomId) -> bool:
        """See `Core.is_level`; False for a room that is not in memory."""
        held = self._core.rooms.get(room)
        return held is not None and self._core.is_level(held)

    def hub_gone(self, rooms: Iterable[RoomId]) -> None:
        """There is no link to the hub of these copies any more."""
        for room in rooms:
            self._core.hub_ends.pop(room, None)

    def freeze(self, room: RoomId, lied: HubLied, key: PublicKey | None, now: int) -> Decision:
        """See `following.freeze`."""
        return following.freeze(self._core, self._held(room), lied, key, now)

    def _held(self, room: RoomId) -> RoomLog:
        """The room. Raises `Refused` (try_again) where it has left memory: load it first."""
        held = self._core.find(room)
        if held is None:
            raise Refused(Code.NOT_FOUND)
        return held

    def found_copy(self, copy: RoomLog, facts: Sequence[Fact]) -> Decision:
        """A copy of another relay's room begins."""
        core = self._core
        if copy.room in core.rooms:
            return Decision()
        if core.room_count >= core.policy.rooms_per_relay:
            raise Refused(Code.QUOTA, "this relay takes no more rooms")
        core.rooms[copy.room] = copy
        core.absent.pop(copy.room, None)
        core.room_count += 1
        return Decision(tuple(facts))

    def return_events(
        self, room: RoomId, mid: MemberId, counter: int, failure: frames.Failure
    ) -> Decision:
        """See `outbox.return_events`."""
        held = self._core.rooms.get(room)
        if held is None:
            return Decision()
        return outbox.return_events(self._core, held, mid, counter, failure)

    # -- requests --------------------------------------------------------------------------------

    def read(self, link: LinkId, frame: frames.ClientFrame, now: int) -> Asked:
        """The cheapest checks, which need no room; the link's rates count it from here on.

        Raises `ProtocolError`: answer with `failure(frame, error)`.
        """
        return read(self._core, link, frame, now)

    def examine(self, link: LinkId, asked: Asked, now: int) -> Examined:
        """The cheap checks. Raises `ProtocolError`: answer with `failure(frame, error)`."""
        return examine(self._core, link, asked, now)

    def refused(self, link: LinkId, now: int) -> None:
        """Something that this link asked was refused."""
        self._core.rates.spend(Rate.REFUSAL, link, now)

    def penance(self, link: LinkId, now: int) -> int:
        """Milliseconds to wait before this link's next frame: 0 unless much of it was refused."""
        return self._core.rates.wait(Rate.REFUSAL, link, now)

    def decide(self, link: LinkId, examined: Examined, now: int) -> Decision:
        """What comes of a frame whose signatures are right. Never raises `ProtocolError`.

        A request gets exactly one answer: a `Reply` or a lookup. A frame without a number gets
        none, and what is wrong with it is passed over.
        """
        if self._core.links.get(link) is None:
            return Decision()
        try:
            command, request = reopen(self._core, link, examined, now)
            command.run(request)
        except ProtocolError as error:
            failure = self.failure(examined.frame, error)
            return Decision(effects=(Reply(link, failure),) if failure.rid else ())
        if request.room_log is not None:
            request.room_log.touched = now
        return request.decision()

    def failure(
        self, frame_or_rid: frames.ClientFrame | int, error: ProtocolError
    ) -> frames.Failure:
        """The answer to a request that failed. A false ATTACH never tells of room or member."""
        if isinstance(frame_or_rid, int):
            return failure_of(frame_or_rid, error)
        if isinstance(frame_or_rid, frames.Attach) and error.kind is Code.BAD_SIGNATURE:
            error = Refused(Code.NOT_FOUND)
        return failure_of(getattr(frame_or_rid, "rid", _NO_ANSWER), error)

    # -- time ------------------------------------------------------------------------------------

    def tick(self, now: int) -> Decision:
        """Drop joins that waited too long, and rooms nobody uses. For every few seconds."""
        return upkeep.tick(self._core, now)
