"""Copies of one hub's rooms, as they are read on the link that is open.

`Follow` from the end of the copy; what comes is verified in a thread, committed, and only then
confirmed to the hub (`Cursor`) and shown to local readers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Final

import trio
from attrs import define, field

from ofcd.config import Federation
from ofcd.daemon.log import get_log
from ofcd.daemon.pace import Pace
from ofcd.daemon.peers.asking import Asking
from ofcd.daemon.peers.gaps import Gap, Leftovers
from ofcd.daemon.peers.hublink import HubLine, HubLink, HubRooms
from ofcd.daemon.peers.outgoing import Outgoing
from ofcd.daemon.peers.skipping import SKIPS, Skipping
from ofcd.daemon.workers import Workers
from ofcd.protocol import frames, limits
from ofcd.protocol.codes import Code, ProtocolError, Refused
from ofcd.protocol.frames import Cursor, Follow, Head, PeerBox, PeerFrame, Synced, Unfollowed
from ofcd.protocol.ids import MemberId, RelayId, RoomId
from ofcd.protocol.records import LogHead
from ofcd.relay import BadSnapshot, Decision, Entry, HubLied, Relay, RoomLog, verify_entries
from ofcd.store import StoreError
from ofcd.themis.signed import peek

if TYPE_CHECKING:
    from ofcd.daemon.hub import Hub

__all__ = ["Copies", "Copy"]

_GAPS: Final = 3
_AFTER_REFUSAL: Final = 60.0
_SOON: Final = 1.0


@define(eq=False)
class Copy:
    """A room of the hub's, as it is read on the link that is open."""

    following: bool = False
    awaited: bool = False
    """The hub has not answered yet: what comes is of an earlier wish."""
    hoped: bool = False
    """Somebody came who may be at home here, as the copy has yet to hear: the hub knows."""
    known: int = -1
    """How far the hub was when it answered; what comes after that is live."""
    said: int = -1
    """The last entry that the hub has, by all that it said: what it delivers, and its LOG_HEADs."""
    here: int = -1
    """How far the copy was when it was last looked at; it may have left memory since."""
    gaps: int = 0
    pause: float = 0.0
    """Seconds until the room is asked for again; longer each time."""
    missing: Gap | None = None
    """What the hub no longer keeps, while the rest of it is fetched."""
    skipped: deque[float] = field(factory=lambda: deque(maxlen=SKIPS))
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


class Copies:
    """All copies of one hub's rooms."""

    def __init__(
        self,
        line: HubLine,
        rooms: HubRooms,
        hub: Hub,
        relay: Relay,
        workers: Workers,
        own_id: RelayId,
        settings: Federation,
        asking: Asking,
        outgoing: Outgoing,
        *,
        copiers: trio.CapacityLimiter,
    ) -> None:
        """`copiers`: how many control logs are read at once."""
        self.rooms: dict[RoomId, Copy] = {}
        self.refill: Callable[[HubLink, RoomLog, int, int], Awaitable[None]] | None = None
        """Gives the hub what it lost of a room: link, copy, the hub's head, a number."""
        self.threads = trio.CapacityLimiter(1)
        """In which what the hub sends is verified."""
        self._line = line
        self._rooms = rooms
        self._hub = hub
        self._relay = relay
        self._workers = workers
        self._own_id = own_id
        self._settings = settings
        self._asking = asking
        self._outgoing = outgoing
        left = Leftovers(rooms, relay, own_id, asking, workers, self.threads, copiers)
        self.skipping = Skipping(line, rooms, hub, relay, self, left)
        self._log = get_log()

    def link_up(self, link: HubLink) -> None:
        """A link is open: follow every room on, and send what waits."""
        for room in list(self.rooms):
            self._relay.hub_says(room, None)
            link.spawn(partial(self.resume_now, room))

    def link_down(self) -> None:
        """The link is gone."""
        self._relay.hub_gone(self.rooms)
        for copy in self.rooms.values():
            copy.following, copy.gaps, copy.missing = False, 0, None
            copy.boxes.clear()
            copy.head = b""

    def lags(self) -> list[int]:
        """How many entries each copy lacks that is behind what its hub has said.

        One that stands still takes nothing more, and is not counted.
        """
        lags: list[int] = []
        for room, copy in self.rooms.items():
            log = self._rooms.held(room)
            copy.here = copy.here if log is None else log.seq
            if 0 <= copy.here < copy.said and room not in self._relay.frozen:
                lags.append(copy.said - copy.here)
        return lags

    def hub_says(self, room: RoomId, seq: int) -> None:
        """The hub of this copy is so far."""
        self.rooms[room].said = max(seq, self.rooms[room].said)
        self._relay.hub_says(room, seq)

    def adopt(self, room: RoomId) -> None:
        """A copy of this room of the hub's is in the store."""
        self.rooms.setdefault(room, self.new_copy())

    def release(self, room: RoomId) -> None:
        """Another relay orders this room from now on."""
        copy = self.rooms.pop(room, None)
        if copy is not None:
            copy.missing = None
            copy.stir()
            self._relay.hub_gone([room])

    def resume(self, room: RoomId) -> None:
        """Follow this room, if a link is open; else as soon as one is."""
        if self._line.link is not None:
            self._line.link.spawn(partial(self.resume_now, room))

    def new_copy(self) -> Copy:
        """Of a room that was not copied."""
        return Copy(pace=Pace(self._settings.events_per_second_per_copy))

    def may_copy(self, room: RoomId) -> bool:
        """Whether this room is here, or there is room for one more of this hub's."""
        return room in self.rooms or len(self.rooms) < self._settings.copies_per_peer

    def is_up_to_date(self, log: RoomLog) -> bool:
        """Whether this copy is followed, and has all that the hub had when it began to be."""
        copy = self.rooms.get(log.room)
        followed = copy is not None and copy.following and not copy.awaited
        return followed and copy is not None and copy.known <= log.seq

    async def resume_now(self, room: RoomId) -> None:
        """Follow this room, and send what waits, on the link that is open."""
        try:
            log = await self._rooms.load(room)
        except (StoreError, BadSnapshot) as error:
            self._log.error("reading a room failed", error=str(error))
            return
        if log is not None and log.unwilling:
            await self._take_up(room)
            log = self._rooms.held(room)
        if log is not None and not self.let_go(room):
            self.follow(room)
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
            self._outgoing.pump(log)
        self._line.flush()

    def let_go(self, room: RoomId) -> bool:
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
        if self._line.link is not None and log is not None:
            self._pump(log)

    def came(self, room: RoomId, mid: MemberId) -> None:
        """A local member is here. This relay may be its home again, and not know it yet."""
        log = self._rooms.held(room)
        if log is not None and log.unwilling:
            self._hub.start(self._take_up, room)
        if log is not None and not log.frozen and log.state.homes.get(mid) != self._own_id:
            self._hope(room)

    def _here(self, room: RoomId) -> list[MemberId]:
        """Who is at home here, and has a link."""
        homed = self._relay.homed(room, self._own_id)
        return list({mid: None for _, mid in self._relay.links_in(room) if mid in homed})

    def _hope(self, room: RoomId) -> None:
        """Follow this room, until the hub says that nobody is at home here."""
        copy = self.rooms.setdefault(room, self.new_copy())
        copy.hoped = True
        if not copy.following:
            self.resume(room)

    def box(self, frame: PeerBox) -> None:
        """A key box: it goes with the entry that comes next."""
        copy = self.rooms.get(frame.room)
        if copy is None or (len(copy.boxes) >= 2 and frame.seq not in copy.boxes):
            return
        boxes = copy.boxes.setdefault(frame.seq, {})
        if len(boxes) < limits.ROOM_MEMBERS:
            boxes[frame.mid] = frame.box

    async def unfollowed(self, frame: Unfollowed) -> None:
        """The hub sends no more: right, if nobody at home here is a member, or it is on the way.

        Or what it gave does not go on (try_again): the copy asks anew.
        """
        room = frame.room
        copy = self.rooms.get(room)
        if copy is None or not copy.following:
            return
        copy.following = False
        copy.stir()  # who waits for its own admission has it asked for anew
        if await self._rooms.load(room) is not None and not self.let_go(room):
            self.resume_later(room, is_soon=frame.code == Code.TRY_AGAIN)

    def follow(self, room: RoomId) -> None:
        """Ask for the room, in memory now, from the end of the copy on; once."""
        log, link = self._rooms.held(room), self._line.link
        if log is None or link is None or log.frozen or log.unwilling or log.seq >= limits.INT_MAX:
            return
        copy = self.rooms.setdefault(room, self.new_copy())
        if copy.following or copy.missing is not None:
            return
        copy.following = copy.awaited = True
        copy.here = log.seq
        self._relay.hub_says(room, None)
        start = log.seq + 1

        async def answered(frame: PeerFrame) -> None:
            if self.rooms.get(room) is not copy:
                return  # to a wish of before the room was moved, here again perhaps
            copy.awaited = False
            if isinstance(frame, frames.Failure):
                await self._follow_refused(room, copy, frame)
                self.stir(room)
                return
            if isinstance(frame, Synced):
                copy.known = copy.said = frame.head
                self.hub_says(room, frame.head)
                link.do(partial(self._asking.enter, room, self._here(room)))
            if isinstance(frame, Synced) and frame.floor > start:
                self.skipping.begin(room, copy, start, frame)
            else:
                copy.pause = 0.0
                self.stir(room)

        rid = self._line.number(answered)
        link.tell(Follow(rid, room, start, log.log, hosts=self._relay.hosts))

    async def _follow_refused(self, room: RoomId, copy: Copy, failure: frames.Failure) -> None:
        log = await self._rooms.load(room)
        if log is None or self.rooms.get(room) is not copy:
            return
        copy.following = False
        if failure.code == Code.HUB_BEHIND and failure.seq is not None and failure.seq < log.seq:
            await self._refill(log, failure.seq)
            return
        if failure.code == Code.FORK:
            text = "the hub no longer has the log that it gave before"
            await self.caught(room, copy, HubLied(Code.FORK, text, (log.head,)))
            return
        copy.hoped = False
        if not self.let_go(room):
            self.resume_later(room)

    def resume_later(self, room: RoomId, *, is_soon: bool = False) -> None:
        """The hub would not go on with this room: ask again after a while, longer each time."""
        copy, log = self.rooms.get(room), self._rooms.held(room)
        if copy is None or log is None:
            return
        # A room that was just moved may be here before it is there.
        first = _SOON if is_soon or log.state.term else _AFTER_REFUSAL
        copy.pause = min(2 * copy.pause or first, _AFTER_REFUSAL)
        self._line.later(copy.pause, partial(self.resume, room))

    async def _refill(self, log: RoomLog, head: int) -> None:
        """The hub has lost the end of the room: give it back what is here, and follow again."""
        link = self._line.link
        if link is None or self.refill is None:
            return

        async def answered(frame: PeerFrame) -> None:
            if isinstance(frame, frames.Failure):
                self._log.warning("a hub takes no refill", why=frame.text)
                self.resume_later(log.room)
            else:
                await self.resume_now(log.room)

        await self.refill(link, log, head, self._line.number(answered))

    async def grow(self, room: RoomId | None, entries: list[Entry]) -> None:
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
            verified = await self._workers.run(partial(verify_entries, log, entries), self.threads)
        except HubLied as caught:
            verified, lied = list(caught.before), caught
        now = self._hub.milliseconds()
        if verified:
            take = partial(self._relay.replicate, room, verified, now, copy.known)
            if not await self._rooms.decide(room, take):
                return
            copy.gaps = 0
            copy.here = verified[-1].entry.seq
            self._hub.deliver_soon()
            if self._line.link is not None:
                self._line.link.tell(Cursor(room, verified[-1].entry.seq))
            copy.stir()
        if lied is not None and lied.kind is Code.TRY_AGAIN:
            await self._gap(copy, room)
            return
        if lied is not None:
            await self.caught(room, copy, lied)
            return
        if copy.head and self.rooms.get(room) is copy:
            await self._check_head(room, copy.head)
        self.stir(room)

    async def _gap(self, copy: Copy, room: RoomId) -> None:
        """Something is missing: ask for it again, from the end of the copy on."""
        copy.following = False
        copy.gaps += 1
        if copy.gaps > _GAPS:
            if self._line.link is not None:
                self._line.link.offend("it leaves out entries of a room again and again")
            return
        await self.resume_now(room)

    async def caught(self, room: RoomId, copy: Copy, lied: HubLied) -> None:
        """The hub lied: keep what shows it; where that is proof, the room stands still.

        Not where the room was moved meanwhile, and is here again perhaps: what did not fit may be
        the copy of before.
        """
        if self.rooms.get(room) is not copy:
            return
        self._log.error("a hub was caught", room=room.hex()[:16], what=str(lied))
        now = self._hub.milliseconds()
        copy.following = False
        await self._rooms.decide(room, lambda: self._relay.freeze(room, lied, self._line.key, now))
        self._hub.deliver_soon()
        log, link = self._rooms.held(room), self._line.link
        if link is not None and not lied.is_proof:
            link.offend(str(lied))
        elif link is not None and log is not None:
            # This copy grows no more: the hub is not to hand the room over to it.
            link.tell(Follow(self._line.number(), room, min(log.seq + 1, limits.INT_MAX)))

    async def headed(self, frame: Head) -> None:
        """The hub has signed how far its log goes."""
        copy = self.rooms.get(frame.room)
        if copy is None or self._line.key is None or self._rooms.held(frame.room) is None:
            return
        copy.head = frame.record
        if copy.missing is not None:
            copy.missing.headed(frame.record)
        await self._check_head(frame.room, frame.record)

    async def _check_head(self, room: RoomId, envelope: bytes) -> None:
        """What the hub signs is what it delivered."""
        key, copy, hub = self._line.key, self.rooms[room], self._line.identity
        log = await self._rooms.load(room)
        if key is None or log is None or log.frozen or envelope == log.head:
            return
        try:
            record = peek(envelope).record
            if not isinstance(record, LogHead) or record.room != room:
                raise Refused(Code.BAD_RECORD)
            if record.seq > log.seq:
                self.hub_says(room, record.seq)
                return
            term = log.state.hub_at(record.seq)
            if (term.relay_id, term.term) != (self._rooms.hub_id, record.term):
                copy.head = b""
                return  # of the time before or after: nothing that holds
            copy.head = b""
            await self._workers.run(partial(hub.opened, key, envelope), self.threads)
        except ProtocolError as error:
            await self.caught(room, copy, HubLied(error.kind, f"its LOG_HEAD: {error}"))
            return
        try:
            await self._rooms.decide(room, lambda: self._accept(room, record, envelope))
        except HubLied as lied:
            await self.caught(room, copy, lied)
            return
        held = self._rooms.held(room)
        if held is not None and held.head == envelope:
            self._hub.publish_head(room, envelope, key)

    def _accept(self, room: RoomId, head: LogHead, envelope: bytes) -> Decision:
        return self._relay.accept_head(room, head, envelope, self._rooms.hub_id) or Decision()
