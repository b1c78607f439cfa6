"""This relay as a follower of one hub: copies of its rooms, and what local people ask of it.

    copies    `Follow` from the end of the copy; what comes is verified in a thread, committed, and
              only then confirmed to the hub (`Cursor`) and shown to local readers
    lanes     see `asking`
    outbox    see `outgoing`

All of it begins anew on each link, from what the store holds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Final

import trio
from attrs import define, field

from ofcd.config import Federation
from ofcd.daemon.log import get_log
from ofcd.daemon.pace import Pace
from ofcd.daemon.peers.asking import Answered, Asking
from ofcd.daemon.peers.cache import BlobCache
from ofcd.daemon.peers.gaps import Gap, Leftovers, Space
from ofcd.daemon.peers.hublink import HubLink, HubRooms
from ofcd.daemon.peers.outgoing import Outgoing
from ofcd.daemon.workers import Workers
from ofcd.protocol import frames, limits
from ofcd.protocol.codes import Code, ProtocolError, Refused
from ofcd.protocol.frames import (
    Cursor,
    Delivery,
    Follow,
    Head,
    LaneLost,
    LaneTell,
    PeerBox,
    PeerFrame,
    Synced,
    Unfollowed,
    decode_relay_frame,
)
from ofcd.protocol.ids import EventId, MemberId, PublicKey, RelayId, RoomId
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
    Skip,
    copy_floor,
    found_copy,
    verify_entries,
)
from ofcd.relay.facts import ChainRecord, Fact
from ofcd.store import StoreError
from ofcd.themis.lineage import Lineage
from ofcd.themis.signed import peek

if TYPE_CHECKING:
    from ofcd.daemon.hub import Hub
    from ofcd.daemon.linkend import LinkEnd

__all__ = ["Following"]

_COPY_SECONDS: Final = 60
_ENTRIES: Final = 256
"""Entries verified and committed in one go."""
_COPIERS: Final = 2
"""Copies of one hub's rooms that are begun, or go on after a gap, at once: each takes a control
log's memory."""
_BOX_BYTES: Final = 16 * limits.MIB
"""Of key boxes. Who gets none asks an owner for the key, as after any other loss."""
_GAPS: Final = 3
_TRIES: Final = 5
_AFTER_REFUSAL: Final = 60.0
_SOON: Final = 1.0
_AFTER_SKIP: Final = 600.0
_SKIPS: Final = 3
"""Gaps of one room in that time. A hub that forgets faster than this relay reads is not followed
into the next at once; one whose retention ran while its control log was read is."""


@define(eq=False)
class _Copy:
    """A room of the hub's, as it is read on the link that is open."""

    following: bool = False
    awaited: bool = False
    """The hub has not answered yet: what comes is of an earlier wish."""
    hoped: bool = False
    """Somebody came who may be at home here, as the copy has yet to hear: the hub knows."""
    known: int = -1
    """How far the hub was when it answered; what comes after that is live."""
    gaps: int = 0
    pause: float = 0.0
    """Seconds until the room is asked for again; longer each time."""
    missing: Gap | None = None
    """What the hub no longer keeps, while the rest of it is fetched."""
    skipped: deque[float] = field(factory=lambda: deque(maxlen=_SKIPS))
    """When that was so, the last times; by the clock of this process."""
    boxes: dict[int, dict[MemberId, bytes]] = field(factory=dict)
    head: bytes = b""
    """A head that the copy has not come to yet."""
    grown: trio.Event = field(factory=trio.Event)
    pace: Pace = field(kw_only=True)

    def stir(self) -> None:
        """Something has changed: whoever waits, holding the event of now, looks again."""
        self.grown.set()
        self.grown = trio.Event()


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
        self.identity = Lineage(hub_id)
        """How it came to that key."""
        self.rooms: dict[RoomId, _Copy] = {}
        self.skips = 0
        """Stretches that the hub no longer had, in this process's time."""
        self._hub = hub
        self._relay = relay
        self._workers = workers
        self._own_id = own_id
        self._settings = settings
        self._rooms = HubRooms(hub_id, hub, relay)
        self._asking = Asking(self._rooms, hub, relay, cache, self.have)
        self._copiers = trio.CapacityLimiter(_COPIERS)
        self._boxes = Space(_BOX_BYTES)
        """For key boxes of all stretches that are missing at a time."""
        self.refill: Callable[[HubLink, RoomLog, int, int], Awaitable[None]] | None = None
        """Gives the hub what it lost of a room: link, copy, the hub's head, a number."""
        self._link: HubLink | None = None
        self._rids = count(1)
        self._requests: dict[int, Callable[[PeerFrame], Awaitable[None]]] = {}
        self._copying: dict[RoomId, trio.Event] = {}
        self.outgoing = Outgoing(self)
        self._threads = trio.CapacityLimiter(1)
        self._left = Leftovers(
            self._rooms, relay, own_id, self._asking, workers, self._threads, self._copiers
        )
        self._log = get_log()

    # -- the link ----------------------------------------------------------------------------------

    @property
    def wants_link(self) -> bool:
        """Whether there is anything to talk about."""
        return bool(self.rooms)

    @property
    def lag(self) -> int:
        """How many entries the copies lack, of those the hub had when they began to be followed."""
        held = ((copy, self._rooms.held(room)) for room, copy in self.rooms.items())
        return sum(max(0, copy.known - log.seq) for copy, log in held if log is not None)

    def adopt(self, room: RoomId) -> None:
        """A copy of this room of the hub's is in the store."""
        self.rooms.setdefault(room, self._new_copy())

    def release(self, room: RoomId) -> None:
        """Another relay orders this room from now on."""
        copy = self.rooms.pop(room, None)
        if copy is not None:
            copy.missing = None
            copy.stir()
            self._relay.hub_gone([room])
        self._asking.release(room)
        self.outgoing.release(room)

    def resume(self, room: RoomId) -> None:
        """Follow this room, if a link is open; else as soon as one is."""
        if self._link is not None:
            self._link.spawn(partial(self._resume, room))

    def _new_copy(self) -> _Copy:
        return _Copy(pace=Pace(self._settings.events_per_second_per_copy))

    def may_copy(self, room: RoomId) -> bool:
        """Whether this room is here, or there is room for one more of this hub's."""
        return room in self.rooms or len(self.rooms) < self._settings.copies_per_peer

    def is_up_to_date(self, log: RoomLog) -> bool:
        """Whether this copy is followed, and has all that the hub had when it began to be."""
        copy = self.rooms.get(log.room)
        followed = copy is not None and copy.following and not copy.awaited
        return followed and copy is not None and copy.known <= log.seq

    async def link_up(self, link: HubLink, key: PublicKey) -> None:
        """A link is open: follow every room on, and send what waits."""
        self.link_down()
        self._link, self.key = link, key
        self._asking.link_up(link)
        for room in list(self.rooms):
            self._relay.hub_says(room, None)
            link.spawn(partial(self._resume, room))

    def link_down(self) -> None:
        """The link is gone: who asked something is told so."""
        self._link = None
        self._relay.hub_gone(self.rooms)
        self._requests.clear()
        self._asking.link_down()
        self.outgoing.link_lost()
        for copy in self.rooms.values():
            copy.following, copy.gaps, copy.missing = False, 0, None
            copy.boxes.clear()
            copy.head = b""

    async def _resume(self, room: RoomId) -> None:
        try:
            log = await self._rooms.load(room)
        except (StoreError, BadSnapshot) as error:
            self._log.error("reading a room failed", error=str(error))
            return
        if log is not None and log.unwilling:
            await self._take_up(room)
            log = self._rooms.held(room)
        if log is not None and not self._let_go(room):
            self._follow(room)
            self._pump(log)

    async def _take_up(self, room: RoomId) -> None:
        """It was moved here; this relay may not have taken over any rooms then, and do so now."""
        try:
            await self._hub.do(partial(self._relay.take_up, room), room)
        except StoreError as error:
            self._log.error("a room could not be taken over", error=str(error))

    def _pump(self, log: RoomLog) -> None:
        """Send what waits, unless the copy may be about to skip what it would have to follow."""
        copy = self.rooms.get(log.room)
        if copy is None or not (copy.awaited or copy.missing is not None):
            self.outgoing.pump(log)
        self._flush()

    def _let_go(self, room: RoomId) -> bool:
        """Keep this copy, in memory now, up no more if no member is at home here; whether so."""
        copy = self.rooms.get(room)
        if copy is None or copy.following or copy.hoped or self._relay.homed(room, self._own_id):
            return False
        del self.rooms[room]
        self._relay.hub_gone([room])
        return True

    def stir(self, room: RoomId) -> None:
        """Something waits in the outbox of this room."""
        log = self._rooms.held(room)
        if self._link is not None and log is not None:
            self._pump(log)

    def _flush(self) -> None:
        if self._link is not None:
            self._link.pump()

    # -- asking ------------------------------------------------------------------------------------

    def forward(self, connection: LinkEnd, effect: Forward) -> bool:
        """Ask the hub what a local link asked, and answer it; False without a link."""
        return self._asking.forward(connection, effect)

    def ask(
        self, room: RoomId, mid: MemberId, frame: frames.ClientFrame, answered: Answered
    ) -> None:
        """Ask the hub as this member."""
        self._asking.ask(room, mid, frame, answered)

    def came(self, room: RoomId, mid: MemberId) -> None:
        """A local member is here: have the hub say what waits for it.

        This relay may be its home again, and not know it yet.
        """
        log = self._rooms.held(room)
        if log is not None and log.unwilling:
            self._hub.start(self._take_up, room)
        if log is not None and not log.frozen and log.state.homes.get(mid) != self._own_id:
            self._hope(room)
        self._asking.came(room, mid)

    def _here(self, room: RoomId) -> list[MemberId]:
        """Who is at home here, and has a link."""
        homed = self._relay.homed(room, self._own_id)
        return list({mid: None for _, mid in self._relay.links_in(room) if mid in homed})

    def _hope(self, room: RoomId) -> None:
        """Follow this room, until the hub says that nobody is at home here."""
        copy = self.rooms.setdefault(room, self._new_copy())
        copy.hoped = True
        if not copy.following:
            self.resume(room)

    def left(self, link: LinkId) -> None:
        """A local link is gone: with it goes the lane of a stranger."""
        self._asking.left(link)

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
        await self._decide(room, lambda: self._relay.return_events(room, mid, counter, why))
        self._hub.deliver_soon()

    async def has_come_to(
        self, room: RoomId, mid: MemberId, counter: int, event_id: EventId
    ) -> None:
        """The hub's last event of this sender is one that waits here: all up to it is said."""
        decide = partial(self._relay.has_come_to, room, mid, counter, event_id)
        await self._decide(room, decide)

    async def have(self, room: RoomId, mid: MemberId) -> bool:
        """The copy is here, and this member at home here; waits a bounded time for it."""
        with trio.move_on_after(_COPY_SECONDS):
            while self._link is not None:
                try:
                    log = await self._rooms.load(room)
                    if log is None:
                        # What is here is another relay's, whichever a stranger named.
                        if self._relay.is_loaded(room) or not await self._copy(room, mid):
                            return False
                        continue
                    if log.state.homes.get(mid) == self._own_id:
                        return True
                except (StoreError, BadSnapshot, ProtocolError, HubLied) as error:
                    self._log.error("a copy of a room could not be made", error=str(error))
                    return False
                copy = self.rooms.setdefault(room, self._new_copy())
                self._follow(room)
                self._flush()
                await copy.grown.wait()
        return False

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
                if copy is not None:
                    self._relay.hub_says(room, frame.seq)
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
                self._asking.signalled(decode_relay_frame(frame.frame))
            case LaneTell():
                await self._asking.told(frame.lane, decode_relay_frame(frame.frame))
            case LaneLost():
                await self._asking.lost(frame)
            case Synced() | frames.Failure() | frames.Done():
                request = self._requests.pop(frame.rid, None)
                if request is not None:
                    await request(frame)
            case Head():
                await self._headed(frame)
            case Unfollowed():
                await self._unfollowed(frame)

    async def _unfollowed(self, frame: Unfollowed) -> None:
        """The hub sends no more: right, if nobody at home here is a member, or it is on the way.

        Or what it gave does not go on (try_again): the copy asks anew.
        """
        room = frame.room
        copy = self.rooms.get(room)
        if copy is None or not copy.following:
            return
        copy.following = False
        copy.stir()  # who waits for its own admission has it asked for anew
        if await self._rooms.load(room) is not None and not self._let_go(room):
            self._resume_later(room, is_soon=frame.code == Code.TRY_AGAIN)

    # -- copies ------------------------------------------------------------------------------------

    def _follow(self, room: RoomId) -> None:
        """Ask for the room, in memory now, from the end of the copy on; once."""
        log, link = self._rooms.held(room), self._link
        if log is None or link is None or log.frozen or log.unwilling or log.seq >= limits.INT_MAX:
            return
        copy = self.rooms.setdefault(room, self._new_copy())
        if copy.following or copy.missing is not None:
            return
        copy.following = copy.awaited = True
        self._relay.hub_says(room, None)
        rid, start = next(self._rids), log.seq + 1

        async def answered(frame: PeerFrame) -> None:
            if self.rooms.get(room) is not copy:
                return  # to a wish of before the room was moved, here again perhaps
            copy.awaited = False
            if isinstance(frame, frames.Failure):
                await self._follow_refused(room, copy, frame)
                self.stir(room)
                return
            if isinstance(frame, Synced):
                copy.known = frame.head
                self._relay.hub_says(room, frame.head)
                link.do(partial(self._asking.enter, room, self._here(room)))
            if isinstance(frame, Synced) and frame.floor > start:
                self._begin_skip(room, copy, start, frame)
            else:
                copy.pause = 0.0
                self.stir(room)

        self._requests[rid] = answered
        link.tell(Follow(rid, room, start, log.log, hosts=self._relay.hosts))

    def _begin_skip(self, room: RoomId, copy: _Copy, start: int, synced: Synced) -> None:
        """The hub no longer keeps what comes next: go on after it, if that is no habit."""
        link, lately = self._link, copy.skipped
        if link is None:
            return
        copy.following = False
        if synced.floor > synced.head + 1:
            self._log.error("a hub keeps a room only from after its end on", room=room.hex()[:16])
            self._resume_later(room)
            return
        if len(lately) == _SKIPS and trio.current_time() - lately[0] < _AFTER_SKIP:
            self._resume_later(room)
            return
        is_end = synced.floor == synced.head + 1
        gap = copy.missing = Gap(
            synced.floor, synced.log, start - 1, self._boxes, is_end, copy.head
        )
        link.spawn(partial(self._skip, room, copy, gap))

    async def _skip(self, room: RoomId, copy: _Copy, gap: Gap) -> None:
        try:
            found = await self._left.of(room, gap, self.identity, self.key)
            now = self._hub.milliseconds()
            is_ours = await self._decide(room, lambda: self._relay.skip(room, found, now))
        except HubLied as lied:
            await self._caught(room, copy, lied)
        except (StoreError, BadSnapshot, ProtocolError) as error:
            self._log.error("a copy of a room could not go on", error=str(error))
            self._resume_later(room)
        else:
            if is_ours:
                self._went_on(room, found)
                copy.skipped.append(trio.current_time())
                copy.pause = 0.0
            if copy.missing is gap:
                copy.missing = None
                await self._resume(room)
        finally:
            gap.close()
            if copy.missing is gap:  # and not that of the next link
                copy.missing = None

    def _went_on(self, room: RoomId, found: Skip) -> None:
        self.skips += 1
        self._hub.goes_on_elsewhere(room)
        self._log.warning(
            "a hub no longer kept what a copy of its room lacked",
            room=room.hex()[:16],
            first=found.before + 1,
            last=found.floor - 1,
        )

    async def _follow_refused(self, room: RoomId, copy: _Copy, failure: frames.Failure) -> None:
        log = await self._rooms.load(room)
        if log is None or self.rooms.get(room) is not copy:
            return
        copy.following = False
        if failure.code == Code.HUB_BEHIND and failure.seq is not None and failure.seq < log.seq:
            await self._refill(log, failure.seq)
            return
        if failure.code == Code.FORK:
            text = "the hub no longer has the log that it gave before"
            await self._caught(room, copy, HubLied(Code.FORK, text, (log.head,)))
            return
        copy.hoped = False
        if not self._let_go(room):
            self._resume_later(room)

    def _resume_later(self, room: RoomId, *, is_soon: bool = False) -> None:
        copy, log = self.rooms.get(room), self._rooms.held(room)
        if copy is None or log is None:
            return
        # A room that was just moved may be here before it is there.
        first = _SOON if is_soon or log.state.term else _AFTER_REFUSAL
        copy.pause = min(2 * copy.pause or first, _AFTER_REFUSAL)
        self.later(copy.pause, partial(self.resume, room))

    async def _refill(self, log: RoomLog, head: int) -> None:
        """The hub has lost the end of the room: give it back what is here, and follow again."""
        link = self._link
        if link is None or self.refill is None:
            return
        rid = next(self._rids)

        async def answered(frame: PeerFrame) -> None:
            if isinstance(frame, frames.Failure):
                self._log.warning("a hub takes no refill", why=frame.text)
                self._resume_later(log.room)
            else:
                await self._resume(log.room)

        self._requests[rid] = answered
        await self.refill(link, log, head, rid)

    async def _grow(self, room: RoomId | None, entries: list[Entry]) -> None:
        """Verify, commit, confirm."""
        if room is None or not entries:
            return
        copy, log = self.rooms.get(room), await self._rooms.load(room)
        if copy is not None and copy.missing is not None:
            copy.missing.take(entries)
            return
        if copy is None or log is None or not copy.following or copy.awaited:
            return
        entries = [entry for entry in entries if entry.seq > log.seq]
        if not entries or log.frozen or log.unwilling:
            return
        await copy.pace.take(len(entries))
        if entries[0].seq != log.seq + 1:
            await self._gap(copy, room)
            return
        lied: HubLied | None = None
        try:
            verified = await self._workers.run(partial(verify_entries, log, entries), self._threads)
        except HubLied as caught:
            verified, lied = list(caught.before), caught
        now = self._hub.milliseconds()
        if verified:
            take = partial(self._relay.replicate, room, verified, now, copy.known)
            if not await self._decide(room, take):
                return
            copy.gaps = 0
            self._hub.deliver_soon()
            if self._link is not None:
                self._link.tell(Cursor(room, verified[-1].entry.seq))
            copy.stir()
        if lied is not None and lied.kind is Code.TRY_AGAIN:
            await self._gap(copy, room)
            return
        if lied is not None:
            await self._caught(room, copy, lied)
            return
        if copy.head and self.rooms.get(room) is copy:
            await self._check_head(room, copy.head)
        self.stir(room)

    async def _gap(self, copy: _Copy, room: RoomId) -> None:
        """Something is missing: ask for it again, from the end of the copy on."""
        copy.following = False
        copy.gaps += 1
        if copy.gaps > _GAPS:
            if self._link is not None:
                self._link.offend("it leaves out entries of a room again and again")
            return
        await self._resume(room)

    async def _caught(self, room: RoomId, copy: _Copy, lied: HubLied) -> None:
        """The hub lied: keep what shows it; where that is proof, the room stands still.

        Not where the room was moved meanwhile, and is here again perhaps: what did not fit may be
        the copy of before.
        """
        if self.rooms.get(room) is not copy:
            return
        self._log.error("a hub was caught", room=room.hex()[:16], what=str(lied))
        now = self._hub.milliseconds()
        copy.following = False
        await self._decide(room, lambda: self._relay.freeze(room, lied, self.key, now))
        self._hub.deliver_soon()
        log, link = self._rooms.held(room), self._link
        if link is not None and not lied.is_proof:
            link.offend(str(lied))
        elif link is not None and log is not None:
            # This copy grows no more: the hub is not to hand the room over to it.
            link.tell(Follow(next(self._rids), room, min(log.seq + 1, limits.INT_MAX)))

    async def _headed(self, frame: Head) -> None:
        copy = self.rooms.get(frame.room)
        if copy is None or self.key is None or self._rooms.held(frame.room) is None:
            return
        copy.head = frame.record
        if copy.missing is not None:
            copy.missing.headed(frame.record)
        await self._check_head(frame.room, frame.record)

    async def _check_head(self, room: RoomId, envelope: bytes) -> None:
        """What the hub signs is what it delivered."""
        key, copy, hub = self.key, self.rooms[room], self.identity
        log = await self._rooms.load(room)
        if key is None or log is None or log.frozen or envelope == log.head:
            return
        try:
            record = peek(envelope).record
            if not isinstance(record, LogHead) or record.room != room:
                raise Refused(Code.BAD_RECORD)
            if record.seq > log.seq:
                self._relay.hub_says(room, record.seq)
                return
            term = log.state.hub_at(record.seq)
            if (term.relay_id, term.term) != (self.hub_id, record.term):
                copy.head = b""
                return  # of the time before or after: nothing that holds
            copy.head = b""
            await self._workers.run(partial(hub.opened, key, envelope), self._threads)
        except ProtocolError as error:
            await self._caught(room, copy, HubLied(error.kind, f"its LOG_HEAD: {error}"))
            return
        try:
            await self._decide(room, lambda: self._accept(room, record, envelope))
        except HubLied as lied:
            await self._caught(room, copy, lied)
            return
        held = self._rooms.held(room)
        if held is not None and held.head == envelope:
            self._hub.publish_head(room, envelope, key)

    async def _decide(self, room: RoomId, decide: Callable[[], Decision]) -> bool:
        """Decide this of a copy, which may have left memory meanwhile: load it, and again.

        False where another relay orders the room by then: what this one said counts no more.
        """
        is_ours = True

        def decided() -> Decision:
            nonlocal is_ours
            held = self._relay.room(room)
            is_ours = held is None or held.hub == self.hub_id
            return decide() if is_ours else Decision()

        for left in reversed(range(_TRIES)):
            await self._hub.room(room)
            try:
                await self._hub.do(decided, room)
                break
            except Refused as error:
                if error.kind is not Code.TRY_AGAIN or not left:
                    raise
        return is_ours

    def _accept(self, room: RoomId, head: LogHead, envelope: bytes) -> Decision:
        return self._relay.accept_head(room, head, envelope, self.hub_id) or Decision()

    # -- a new copy --------------------------------------------------------------------------------

    async def _copy(self, room: RoomId, mid: MemberId) -> bool:
        """Begin a copy for a member who was just admitted; whether it was made."""
        under_way = self._copying.get(room)
        if under_way is not None:
            await under_way.wait()
            return self._rooms.held(room) is not None
        self._copying[room] = trio.Event()
        try:
            async with self._copiers:
                return await self._make_copy(room, mid)
        finally:
            self._copying.pop(room).set()

    async def _make_copy(self, room: RoomId, mid: MemberId) -> bool:
        chain = await self._asking.read_chain(room, mid) if self.may_copy(room) else []
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
        link.tell(Follow(rid, room, floor, hosts=self._relay.hosts))
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
            if copy.was_ordered_by(self.hub_id) and copy.hub != self.hub_id:
                return False  # the room went elsewhere: who asked hears it there
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
