"""This relay as a follower of one hub: copies of its rooms, and what local people ask of it.

    copies    `Follow` from the end of the copy; what comes is verified in a thread, committed, and
              only then confirmed to the hub (`Cursor`) and shown to local readers
    lanes     one for each local member of each room, one for each local stranger who joins
    outbox    see `outgoing`

All of it begins anew on each link, from what the store holds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import trio
from attrs import define, evolve, field, frozen

from ofcd.config import Federation
from ofcd.daemon.connection import failure_of, rid_of
from ofcd.daemon.log import get_log
from ofcd.daemon.pace import Pace
from ofcd.daemon.peers.cache import BlobCache
from ofcd.daemon.peers.outgoing import Outgoing
from ofcd.daemon.workers import Workers
from ofcd.protocol import frames, limits
from ofcd.protocol.codes import Code, ProtocolError, Refused
from ofcd.protocol.frames import (
    Cursor,
    Delivery,
    Follow,
    Head,
    LaneAsk,
    LaneClose,
    LaneLost,
    LaneOpen,
    LaneTell,
    PeerBox,
    PeerFrame,
    RelayFrame,
    Synced,
    Unfollowed,
    decode_relay_frame,
    encode_frame,
)
from ofcd.protocol.ids import MemberId, PublicKey, RelayId, RoomId
from ofcd.protocol.records import LogHead
from ofcd.relay import (
    BadSnapshot,
    Decision,
    Entry,
    Forward,
    HubLied,
    LinkId,
    Relay,
    RoomLog,
    copy_floor,
    found_copy,
    verify_entries,
)
from ofcd.relay.facts import BlobStored, ChainRecord, Fact
from ofcd.relay.room_log import chain_size
from ofcd.store import StoreError
from ofcd.themis.signed import open_signed, peek

if TYPE_CHECKING:
    from ofcd.daemon.hub import Hub
    from ofcd.daemon.linkend import LinkEnd

__all__ = ["Following", "HubLink"]

_ANSWER_SECONDS: Final = 30
_UNDER_WAY: Final = 32
"""Requests in one lane: what the hub takes of one member at a time."""
_LANE_BYTES: Final = 256
"""More than a frame grows by in a lane."""
_COPY_SECONDS: Final = 60
_ENTRIES: Final = 256
"""Entries verified and committed in one go."""
_CHAIN_BYTES: Final = limits.CHAIN_BYTES
_COPIERS: Final = 2
"""Copies of one hub's rooms that are begun at once: each takes a control log's memory."""
_GAPS: Final = 3
_TRIES: Final = 5
_AFTER_REFUSAL: Final = 60.0
_PUSHED_TO_MEMBERS: Final = (
    frames.JoinAsked,
    frames.JoinConfirmed,
    frames.KeyAsked,
    frames.KeyAnswered,
)
_PUSHED_TO_JOINERS: Final = (frames.JoinStatus, frames.JoinAnswer)

F = TypeVar("F")
LaneKey = tuple[RoomId, MemberId] | LinkId
Answered = Callable[[RelayFrame], Awaitable[None]]


class HubLink(Protocol):
    """A link to the hub."""

    def tell(self, frame: PeerFrame) -> None:
        """Queue a frame."""
        ...

    @property
    def is_behind(self) -> bool:
        """Whether something waits for the hub to read."""
        ...

    async def hand_over(self, frame: PeerFrame) -> None:
        """In the slow lane: queue a frame when most of what waits was taken."""
        ...

    def do(self, job: Callable[[], Awaitable[None]]) -> None:
        """Do this in the link's slow lane."""
        ...

    def pump(self) -> None:
        """Send what can be sent."""
        ...

    def spawn(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do this as long as the link lasts."""
        ...

    def offend(self, reason: str) -> None:
        """The hub does what no honest one does."""
        ...


@define(eq=False)
class _Copy:
    """A room of the hub's, as it is read on the link that is open."""

    following: bool = False
    gaps: int = 0
    boxes: dict[int, dict[MemberId, bytes]] = field(factory=dict)
    head: bytes = b""
    """A head that the copy has not come to yet."""
    grown: trio.Event = field(factory=trio.Event)
    pace: Pace = field(kw_only=True)

    def stir(self) -> None:
        """Something has changed: whoever waits, holding the event of now, looks again."""
        self.grown.set()
        self.grown = trio.Event()


def _numbered(frame: F, rid: int) -> F:
    """The same request or answer under another number."""
    numbered: Any = frame
    renamed: F = evolve(numbered, rid=rid)
    return renamed


@frozen
class _Asked:
    answered: Answered
    lane: int


@define(eq=False)
class _Lane:
    """A lane to the hub: what is under way in it, and what waits until some of that is answered."""

    number: int
    key: LaneKey
    under_way: set[int] = field(factory=set)
    waiting: dict[int, bytes] = field(factory=dict)
    opening: bool = False
    """Who it is of stands in the link's slow lane."""


class Following:
    """All that this relay wants of one hub."""

    def __init__(
        self,
        hub_id: RelayId,
        hub: Hub,
        relay: Relay,
        workers: Workers,
        own_id: RelayId,
        settings: Federation,
        cache: BlobCache,
    ) -> None:
        """`cache` is one for all hubs."""
        self.hub_id = hub_id
        self.key: PublicKey | None = None
        """The hub's key, once a link has proven it."""
        self.rooms: dict[RoomId, _Copy] = {}
        self._hub = hub
        self._relay = relay
        self._workers = workers
        self._own_id = own_id
        self._settings = settings
        self._cache_of_all = cache
        self._copiers = trio.CapacityLimiter(_COPIERS)
        self.refill: Callable[[HubLink, RoomLog, int, int], Awaitable[None]] | None = None
        """Gives the hub what it lost of a room: link, copy, the hub's head, a number."""
        self._link: HubLink | None = None
        self._rids = count(1)
        self._asked: dict[int, _Asked] = {}
        self._requests: dict[int, Callable[[PeerFrame], Awaitable[None]]] = {}
        self._lanes: dict[LaneKey, _Lane] = {}
        self._ends: dict[int, _Lane] = {}
        self._numbers = count(1)
        self._joiners: dict[tuple[LinkId, RoomId], MemberId] = {}
        self._entering: set[tuple[LinkId, RoomId]] = set()
        """Joiners that are told of their admission as soon as the room is here."""
        self._copying: dict[RoomId, trio.Event] = {}
        self.outgoing = Outgoing(self)
        self._threads = trio.CapacityLimiter(1)
        self._log = get_log()

    # -- the link ----------------------------------------------------------------------------------

    @property
    def wants_link(self) -> bool:
        """Whether there is anything to talk about."""
        return bool(self.rooms)

    def adopt(self, room: RoomId) -> None:
        """A copy of this room of the hub's is in the store."""
        self.rooms.setdefault(room, self._new_copy())

    def _new_copy(self) -> _Copy:
        return _Copy(pace=Pace(self._settings.events_per_second_per_copy))

    def may_copy(self, room: RoomId) -> bool:
        """Whether this room is here, or there is room for one more of this hub's."""
        return room in self.rooms or len(self.rooms) < self._settings.copies_per_peer

    async def link_up(self, link: HubLink, key: PublicKey) -> None:
        """A link is open: follow every room on, and send what waits."""
        self.link_down()
        self._link, self.key = link, key
        for room in list(self.rooms):
            link.spawn(partial(self._resume, room))

    def link_down(self) -> None:
        """The link is gone: who asked something is told so."""
        self._link = None
        asked, self._asked = self._asked, {}
        self._requests.clear()
        self._lanes.clear()
        self._ends.clear()
        self.outgoing.link_lost()
        for copy in self.rooms.values():
            copy.following, copy.gaps = False, 0
            copy.boxes.clear()
            copy.head = b""
        for question in asked.values():
            self._hub.jobs_nursery.start_soon(question.answered, failure_of(Code.HUB_AWAY))

    async def _resume(self, room: RoomId) -> None:
        try:
            log = await self._hub.room(room)
        except (StoreError, BadSnapshot) as error:
            self._log.error("reading a room failed", error=str(error))
            return
        if log is not None and log.hub == self.hub_id and not self._let_go(room):
            self._follow(log)
            self.outgoing.pump(log)
            self._flush()

    def _let_go(self, room: RoomId) -> bool:
        """Keep this copy, in memory now, up no more if no member is at home here; whether so."""
        copy = self.rooms.get(room)
        if copy is None or copy.following or self._relay.homed(room, self._own_id):
            return False
        del self.rooms[room]
        return True

    def stir(self, room: RoomId) -> None:
        """Something waits in the outbox of this room."""
        log = self._relay.room(room)
        if self._link is not None and log is not None:
            self.outgoing.pump(log)
            self._flush()

    def _flush(self) -> None:
        if self._link is not None:
            self._link.pump()

    # -- asking ------------------------------------------------------------------------------------

    def forward(self, connection: LinkEnd, effect: Forward) -> bool:
        """Ask the hub what a local link asked, and answer it; False without a link."""
        link = self._link
        if link is None:
            return False
        frame = effect.frame
        if isinstance(frame, frames.Lookup | frames.Join | frames.JoinConfirm):
            frame = evolve(frame, hub=None, hub_url="")
            if effect.joiner is not None:
                self._joiners[connection.link, effect.room] = effect.joiner
            lane = self._lane(connection.link)
        elif effect.mid is None:
            return False
        else:
            lane = self._lane((effect.room, effect.mid))
        rid = rid_of(frame)
        if not rid:
            if not link.is_behind:  # a hint for the screen: it may be lost
                self._send(LaneAsk(lane.number, encode_frame(frame)))
            return True

        async def answered(answer: RelayFrame) -> None:
            await self._hand_back(connection, effect, rid, answer)

        self._ask(lane, frame, answered)
        return True

    def ask(
        self, room: RoomId, mid: MemberId, frame: frames.ClientFrame, answered: Answered
    ) -> None:
        """Ask the hub as this member."""
        self._ask(self._lane((room, mid)), frame, answered)

    def _ask(self, lane: _Lane, frame: frames.ClientFrame, answered: Answered) -> None:
        number = next(self._rids)
        encoded = encode_frame(_numbered(frame, number))
        if len(encoded) > limits.FRAME_BYTES - _LANE_BYTES:
            # In its lane it would be more than a frame may be, and our fault to the hub.
            self._hub.jobs_nursery.start_soon(answered, failure_of(Code.TOO_LARGE))
            return
        self._asked[number] = _Asked(answered, lane.number)
        lane.waiting[number] = encoded
        self._send_on(lane)
        self._hub.jobs_nursery.start_soon(self._give_up, number)

    def _send_on(self, lane: _Lane) -> None:
        """As many requests as may be under way at a time."""
        while lane.waiting and len(lane.under_way) < _UNDER_WAY:
            number = next(iter(lane.waiting))
            lane.under_way.add(number)
            self._send(LaneAsk(lane.number, lane.waiting.pop(number)))

    async def _give_up(self, number: int) -> None:
        await trio.sleep(_ANSWER_SECONDS)
        question = self._settle(number)
        if question is not None:
            await question.answered(failure_of(Code.HUB_AWAY))

    def _settle(self, number: int) -> _Asked | None:
        """This question has its answer: another may follow in its lane."""
        question = self._asked.pop(number, None)
        lane = None if question is None else self._ends.get(question.lane)
        if lane is not None:
            lane.waiting.pop(number, None)
            lane.under_way.discard(number)
            self._send_on(lane)
        return question

    def _send(self, frame: PeerFrame) -> None:
        link = self._link
        if link is not None:
            link.do(partial(link.hand_over, frame))

    def _lane(self, key: LaneKey) -> _Lane:
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(next(self._numbers), key)
            self._ends[lane.number] = lane
            self._open(lane)
        return lane

    def _open(self, lane: _Lane) -> None:
        """Say whose lane it is, unless that is about to be said."""
        link = self._link
        if link is None or lane.opening or not isinstance(lane.key, tuple):
            return
        opened = LaneOpen(lane.number, *lane.key)
        lane.opening = True

        async def opening() -> None:
            lane.opening = False
            await link.hand_over(opened)

        link.do(opening)

    def came(self, room: RoomId, mid: MemberId) -> None:
        """A local member is here: have the hub say what waits for it."""
        if self._link is None or self._relay.room(room) is None:
            return
        known = self._lanes.get((room, mid))
        if known is None:
            self._lane((room, mid))
        else:
            self._open(known)

    def left(self, link: LinkId) -> None:
        """A local link is gone: with it goes the lane of a stranger."""
        lane = self._lanes.pop(link, None)
        if lane is not None:
            self._ends.pop(lane.number, None)
            self._send(LaneClose(lane.number))
        for key in [key for key in self._joiners if key[0] == link]:
            del self._joiners[key]

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        """Do this after so many seconds, if the link lasts."""

        async def wait() -> None:
            await trio.sleep(seconds)
            work()
            self._flush()

        if self._link is not None:
            self._link.spawn(wait)

    async def give_back(
        self, room: RoomId, mid: MemberId, counter: int, why: frames.Failure
    ) -> None:
        """The hub refused this event: it goes back to its sender, with all behind it."""
        await self._hub.do(lambda: self._relay.return_events(room, mid, counter, why), room)
        self._hub.deliver_soon()

    # -- answers -----------------------------------------------------------------------------------

    async def _hand_back(
        self, connection: LinkEnd, effect: Forward, rid: int, answer: RelayFrame
    ) -> None:
        if isinstance(answer, frames.JoinStatus) and answer.state == frames.JoinState.ADMITTED:
            self._hub.jobs_nursery.start_soon(
                self._admitted, connection, effect.room, evolve(answer, rid=rid)
            )
            return
        if isinstance(answer, frames.Blob) and isinstance(effect.frame, frames.BlobGet):
            await self._cache(effect, answer)
        if isinstance(answer, frames.Failure) and answer.code != Code.HUB_AWAY:
            self._relay.refused(connection.link, self._hub.milliseconds())
        if rid_of(answer) or isinstance(answer, frames.Failure):
            self._hub.answer(connection, _numbered(answer, rid))
            connection.pump()

    async def _pushed_in(self, connection: LinkEnd, status: frames.JoinStatus) -> None:
        try:
            await self._admitted(connection, status.room, status)
        finally:
            self._entering.discard((connection.link, status.room))

    async def _admitted(self, connection: LinkEnd, room: RoomId, status: frames.JoinStatus) -> None:
        """Tell a joiner that it is a member once the room is here for it."""
        mid = self._joiners.get((connection.link, room))
        here = mid is not None and await self.have(room, mid)
        frame: RelayFrame = status
        if not here:
            frame = failure_of(Code.HUB_AWAY, status.rid)
        if status.rid:
            self._hub.answer(connection, frame)
        elif here:
            connection.push_encoded(encode_frame(status))
        connection.pump()

    async def have(self, room: RoomId, mid: MemberId) -> bool:
        """The copy is here, and this member at home here; waits a bounded time for it."""
        with trio.move_on_after(_COPY_SECONDS):
            while self._link is not None:
                try:
                    log = await self._hub.room(room)
                    if log is not None and log.hub != self.hub_id:
                        return False  # a stranger named another relay than the room's own
                    if log is not None and log.state.homes.get(mid) == self._own_id:
                        return True
                    if log is None:
                        if not await self._copy(room, mid):
                            return False
                        continue
                except (StoreError, BadSnapshot, ProtocolError, HubLied) as error:
                    self._log.error("a copy of a room could not be made", error=str(error))
                    return False
                copy = self.rooms.setdefault(room, self._new_copy())
                self._follow(log)
                self._flush()
                await copy.grown.wait()
        return False

    async def _cache(self, effect: Forward, answer: frames.Blob) -> None:
        """Keep a part of an attachment, as far as the cache goes."""
        get, log = effect.frame, self._relay.room(effect.room)
        if log is None or effect.mid is None or not isinstance(get, frames.BlobGet):
            return
        size = len(answer.chunk)
        if log.blob_bytes.get(effect.mid, 0) + size > self._settings.blob_cache_bytes:
            return
        now = self._hub.milliseconds()
        stored = BlobStored(
            effect.room, get.blob, get.index, answer.count, effect.mid, now, answer.chunk
        )

        def decide() -> Decision:
            if effect.mid is not None:
                log.blob_bytes[effect.mid] = log.blob_bytes.get(effect.mid, 0) + size
            return Decision((stored,))

        try:
            if await self._cache_of_all.take(size):
                await self._hub.do(decide, effect.room)
        except StoreError as error:
            self._log.error("an attachment could not be cached", error=str(error))

    # -- what the hub sends ------------------------------------------------------------------------

    async def take(self, link: HubLink, received: Iterable[PeerFrame]) -> None:
        """Frames of the hub's, in order. Raises `StoreError`."""
        if link is not self._link:
            return  # a link that was replaced
        entries: list[Entry] = []
        room: RoomId | None = None
        for frame in received:
            if isinstance(frame, Delivery):
                if room not in (None, frame.room) or len(entries) >= _ENTRIES:
                    await self._grow(room, entries)
                    entries = []
                room = frame.room
                copy = self.rooms.get(frame.room)
                boxes = {} if copy is None else copy.boxes.pop(frame.seq, {})
                entries.append(Entry(frame.seq, frame.record, frame.cell, tuple(boxes.items())))
                continue
            if isinstance(frame, PeerBox):
                self._box(frame)
                continue
            await self._grow(room, entries)
            entries, room = [], None
            await self._take_one(frame)
        await self._grow(room, entries)

    def _box(self, frame: PeerBox) -> None:
        copy = self.rooms.get(frame.room)
        if copy is None or (len(copy.boxes) >= 2 and frame.seq not in copy.boxes):
            return
        boxes = copy.boxes.setdefault(frame.seq, {})
        if len(boxes) < limits.ROOM_MEMBERS:
            boxes[frame.mid] = frame.box

    async def _take_one(self, frame: PeerFrame) -> None:
        match frame:
            case LaneTell(lane=0):
                self._signalled(decode_relay_frame(frame.frame))
            case LaneTell():
                await self._told(frame.lane, decode_relay_frame(frame.frame))
            case LaneLost():
                await self._lost(frame)
            case Synced() | frames.Failure() | frames.Done():
                request = self._requests.pop(frame.rid, None)
                if request is not None:
                    await request(frame)
            case Head():
                await self._headed(frame)
            case Unfollowed():
                await self._unfollowed(frame.room)

    async def _unfollowed(self, room: RoomId) -> None:
        """The hub sends no more: right, if nobody at home here is a member, or it is on the way."""
        copy = self.rooms.get(room)
        if copy is None or not copy.following:
            return
        copy.following = False
        copy.stir()  # who waits for its own admission has it asked for anew
        log = await self._hub.room(room)
        if log is not None and not self._let_go(room):
            self.later(_AFTER_REFUSAL, lambda: self._follow(log))

    async def _told(self, lane: int, frame: RelayFrame) -> None:
        rid = rid_of(frame)
        if rid:
            known = self._asked.get(rid)
            if known is not None and known.lane == lane:
                self._settle(rid)
                await known.answered(frame)
            return
        end = self._ends.get(lane)
        key = None if end is None else end.key
        if isinstance(key, tuple) and isinstance(frame, _PUSHED_TO_MEMBERS):
            encoded = encode_frame(frame)
            for link in self._relay.links_of(*key):
                self._push(link, encoded)
        elif key is not None and not isinstance(key, tuple):
            self._joiner_told(key, frame)

    def _joiner_told(self, link: LinkId, frame: RelayFrame) -> None:
        connection = self._hub.find(link)
        if connection is None or not isinstance(frame, _PUSHED_TO_JOINERS):
            return
        if isinstance(frame, frames.JoinStatus) and frame.state == frames.JoinState.ADMITTED:
            if (link, frame.room) not in self._entering:  # a hub may say so again and again
                self._entering.add((link, frame.room))
                self._hub.jobs_nursery.start_soon(self._pushed_in, connection, frame)
        else:
            self._push(link, encode_frame(frame))

    def _signalled(self, frame: RelayFrame) -> None:
        """A hint for all who are in the room, but the one who gave it."""
        if not isinstance(frame, frames.Signalled):
            return
        if self._relay.hub_of(frame.room) != self.hub_id:
            return
        encoded = encode_frame(frame)
        for link, mid in self._relay.links_in(frame.room):
            if mid != frame.mid:
                self._push(link, encoded)

    def _push(self, link: LinkId, encoded: bytes) -> None:
        connection = self._hub.find(link)
        if connection is not None:
            connection.push_encoded(encoded)
            connection.pump()

    async def _lost(self, frame: LaneLost) -> None:
        """The hub knows nobody of this lane: what was asked there has no answer."""
        lane = self._ends.pop(frame.lane, None)
        if lane is not None:
            self._lanes.pop(lane.key, None)
        for number in [n for n, asked in self._asked.items() if asked.lane == frame.lane]:
            question = self._asked.pop(number, None)
            if question is not None:
                await question.answered(frames.Failure(0, frame.code, "the hub closed your lane"))

    # -- copies ------------------------------------------------------------------------------------

    def _follow(self, log: RoomLog) -> None:
        """Ask for the room from the end of the copy on, if it is not asked for already."""
        if log.hub != self.hub_id:
            return
        copy, link = self.rooms.setdefault(log.room, self._new_copy()), self._link
        if link is None or copy.following or log.frozen:
            return
        copy.following = True
        rid, room = next(self._rids), log.room

        async def answered(frame: PeerFrame) -> None:
            if isinstance(frame, frames.Failure):
                await self._follow_refused(room, frame)
            elif isinstance(frame, Synced) and frame.floor > frame.start:
                copy.following = False
                self._log.error("the hub no longer keeps what this relay's copy of a room lacks")

        self._requests[rid] = answered
        link.tell(Follow(rid, room, log.seq + 1, log.log))

    async def _follow_refused(self, room: RoomId, failure: frames.Failure) -> None:
        copy, log = self.rooms.get(room), self._relay.room(room)
        if copy is None or log is None:
            return
        copy.following = False
        if failure.code == Code.HUB_BEHIND and failure.seq is not None:
            await self._refill(log, failure.seq)
            return
        if failure.code == Code.FORK:
            text = "the hub no longer has the log that it gave before"
            await self._caught(room, HubLied(Code.FORK, text, (log.head,)))
            return
        if not self._let_go(room):
            self.later(_AFTER_REFUSAL, lambda: self._follow(log))

    async def _refill(self, log: RoomLog, head: int) -> None:
        """The hub has lost the end of the room: give it back what is here, and follow again."""
        link = self._link
        if link is None or self.refill is None:
            return
        rid = next(self._rids)

        async def answered(frame: PeerFrame) -> None:
            if isinstance(frame, frames.Failure):
                self._log.warning("a hub takes no refill", why=frame.text)
                self.later(_AFTER_REFUSAL, lambda: self._follow(log))
            else:
                self._follow(log)
                self._flush()

        self._requests[rid] = answered
        await self.refill(link, log, head, rid)

    async def _grow(self, room: RoomId | None, entries: list[Entry]) -> None:
        """Verify, commit, confirm."""
        if room is None or not entries:
            return
        copy, log = self.rooms.get(room), await self._hub.room(room)
        if copy is None or log is None or log.hub != self.hub_id or not copy.following:
            return
        entries = [entry for entry in entries if entry.seq > log.seq]
        if not entries or log.frozen:
            return
        await copy.pace.take(len(entries))
        if entries[0].seq != log.seq + 1:
            await self._gap(copy, log)
            return
        lied: HubLied | None = None
        try:
            verified = await self._workers.run(partial(verify_entries, log, entries), self._threads)
        except HubLied as caught:
            verified, lied = list(caught.before), caught
        now = self._hub.milliseconds()
        if verified:
            await self._decide(room, lambda: self._relay.replicate(room, verified, now))
            copy.gaps = 0
            self._hub.deliver_soon()
            if self._link is not None:
                self._link.tell(Cursor(room, verified[-1].entry.seq))
            copy.stir()
        if lied is not None and lied.kind is Code.TRY_AGAIN:
            await self._gap(copy, log)
            return
        if lied is not None:
            await self._caught(room, lied)
            return
        if copy.head and self.rooms.get(room) is copy:
            await self._check_head(room, copy.head)
        self.outgoing.pump(log)

    async def _gap(self, copy: _Copy, log: RoomLog) -> None:
        """Something is missing: ask for it again, from the end of the copy on."""
        copy.following = False
        copy.gaps += 1
        if copy.gaps > _GAPS:
            if self._link is not None:
                self._link.offend("it leaves out entries of a room again and again")
            return
        self._follow(log)

    async def _caught(self, room: RoomId, lied: HubLied) -> None:
        """The hub lied: keep what shows it; where that is proof, the room stands still."""
        self._log.error("a hub was caught", room=room.hex()[:16], what=str(lied))
        now = self._hub.milliseconds()
        copy = self.rooms.get(room)
        if copy is not None:
            copy.following = False
        await self._decide(room, lambda: self._relay.freeze(room, lied, self.key, now))
        self._hub.deliver_soon()
        if not lied.is_proof and self._link is not None:
            self._link.offend(str(lied))

    async def _headed(self, frame: Head) -> None:
        copy = self.rooms.get(frame.room)
        if copy is None or self.key is None or self._relay.room(frame.room) is None:
            return
        copy.head = frame.record
        await self._check_head(frame.room, frame.record)

    async def _check_head(self, room: RoomId, envelope: bytes) -> None:
        """What the hub signs is what it delivered."""
        key, copy = self.key, self.rooms[room]
        log = await self._hub.room(room)
        if key is None or log is None or log.frozen or envelope == log.head:
            return
        if log.hub != self.hub_id:
            return
        try:
            record = peek(envelope).record
            if not isinstance(record, LogHead) or record.room != room:
                raise Refused(Code.BAD_RECORD)
            if record.seq > log.seq:
                return
            copy.head = b""
            await self._workers.run(partial(open_signed, key, envelope), self._threads)
        except ProtocolError as error:
            await self._caught(room, HubLied(error.kind, f"its LOG_HEAD: {error}"))
            return
        try:
            await self._decide(room, lambda: self._accept(room, record, envelope))
        except HubLied as lied:
            await self._caught(room, lied)
            return
        self._hub.publish_head(room, envelope, key)

    async def _decide(self, room: RoomId, decide: Callable[[], Decision]) -> None:
        """Decide this of a copy, which may have left memory meanwhile: load it, and again."""
        for left in reversed(range(_TRIES)):
            await self._hub.room(room)
            try:
                await self._hub.do(decide, room)
                return
            except Refused as error:
                if error.kind is not Code.TRY_AGAIN or not left:
                    raise

    def _accept(self, room: RoomId, head: LogHead, envelope: bytes) -> Decision:
        return self._relay.accept_head(room, head, envelope) or Decision()

    # -- a new copy --------------------------------------------------------------------------------

    async def _copy(self, room: RoomId, mid: MemberId) -> bool:
        """Begin a copy for a member who was just admitted; whether it was made."""
        under_way = self._copying.get(room)
        if under_way is not None:
            await under_way.wait()
            return self._relay.room(room) is not None
        self._copying[room] = trio.Event()
        try:
            async with self._copiers:
                return await self._make_copy(room, mid)
        finally:
            self._copying.pop(room).set()

    async def _make_copy(self, room: RoomId, mid: MemberId) -> bool:
        chain = await self._read_chain(room, mid) if self.may_copy(room) else []
        if not chain:
            return False
        floor = await self._workers.run(
            partial(copy_floor, chain, room, self._own_id), self._threads
        )
        link = self._link
        if link is None:
            return False
        done, made = trio.Event(), False
        rid = next(self._rids)

        async def answered(frame: PeerFrame) -> None:
            nonlocal made
            try:
                made = isinstance(frame, Synced) and await self._begin(room, chain, frame)
            finally:
                done.set()

        self._requests[rid] = answered
        link.tell(Follow(rid, room, floor))
        link.pump()
        await done.wait()
        return made

    async def _begin(self, room: RoomId, chain: list[ChainRecord], synced: Synced) -> bool:
        """The hub's answer: here the copy begins, before its first entry is taken."""
        start, now = max(synced.start, synced.floor), self._hub.milliseconds()
        try:
            copy, facts = await self._workers.run(
                partial(found_copy, chain, room, start, synced.log, now), self._threads
            )
            if copy.hub != self.hub_id:
                raise HubLied(Code.WRONG_RELAY, "the room is another relay's")
        except HubLied as lied:
            if self._link is not None:
                self._link.offend(str(lied))
            return False
        kept: list[Fact] = facts
        await self._hub.do(lambda: self._relay.found_copy(copy, kept), room)
        self.rooms[room] = self._new_copy()
        self.rooms[room].following = True
        return True

    async def _read_chain(self, room: RoomId, mid: MemberId) -> list[ChainRecord]:
        """The room's control log, as the hub tells it to this member."""
        records: list[ChainRecord] = []
        start = size = 0
        while True:
            page = await self._answer_to(room, mid, frames.ChainGet(1, room, start))
            if not isinstance(page, frames.ChainPage) or len(page.seqs) != len(page.records):
                return []
            for seq, envelope in zip(page.seqs, page.records, strict=True):
                size += chain_size(envelope)
                if seq < start or size > _CHAIN_BYTES:
                    self._log.error("a hub shows a control log out of order, or without end")
                    return []
                records.append(ChainRecord(seq, peek(envelope).event_id, envelope))
                start = seq + 1
            if not page.more:
                return records
            if not page.seqs:
                return []

    async def _answer_to(
        self, room: RoomId, mid: MemberId, frame: frames.ClientFrame
    ) -> RelayFrame | None:
        found: list[RelayFrame] = []
        done = trio.Event()

        async def answered(answer: RelayFrame) -> None:
            found.append(answer)
            done.set()

        self.ask(room, mid, frame, answered)
        with trio.move_on_after(_ANSWER_SECONDS):
            await done.wait()
        return found[0] if found else None
