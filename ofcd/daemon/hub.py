"""The hub: the one task that owns the relay's state.

    take   in each link's task: cheap checks, signatures verified off the hub, into the inbox
    run    in one task: all that waits -> decide -> one commit -> effects; fan-out beside it

While a commit runs, requests gather in the inbox: the next commit takes them all (group commit).

A mistake of our own (an exception that nobody foresaw) ends the link it befell, and no other:
    checking a frame, sending      that link is told `internal` and closed
    deciding a request             the same; its room is dropped from memory and loaded anew, since
                                   nothing but what is stored is known to be true of it
    feeding a room                 all its readers are told `internal`: they come back and resume
Anything else (the commit itself, housekeeping) leaves the whole relay's state in doubt. It ends the
process with an exit code that is not 0; what was acknowledged is stored, and a start loads it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from itertools import count
from typing import Final, Protocol, TypeVar, TypeVarTuple

import trio
from attrs import define, field, frozen

from ofcd.daemon.across import Across
from ofcd.daemon.connection import Connection, failure_of, rid_of
from ofcd.daemon.effects import Effects
from ofcd.daemon.heads import HeadSigner
from ofcd.daemon.limits import ConnectionLimits
from ofcd.daemon.linkend import LinkEnd
from ofcd.daemon.log import get_log
from ofcd.daemon.lookups import Lookups
from ofcd.daemon.metrics import Metrics
from ofcd.daemon.openlinks import OpenLinks
from ofcd.daemon.trouble import trouble_of
from ofcd.daemon.verify import Verifier
from ofcd.daemon.workers import Workers
from ofcd.protocol.codes import SENTENCES, Code, ProtocolError
from ofcd.protocol.frames import (
    ClientFrame,
    Detach,
    Failure,
    Follow,
    Peer,
    RelayFrame,
    Successions,
)
from ofcd.protocol.ids import Hash32, MemberId, PublicKey, RelayId, RoomId
from ofcd.relay import (
    BadSnapshot,
    Decision,
    Examined,
    LinkId,
    Relay,
    Reply,
    RoomLog,
    Subscribe,
)
from ofcd.relay.facts import BlobDropped
from ofcd.session import RelaySession
from ofcd.store import RetentionReport, Store, StoreError
from ofcd.wire import MessageStream

__all__ = ["Hub"]

T = TypeVar("T")
Args = TypeVarTuple("Args")

_INBOX: Final = 1024
_BATCH: Final = 256
"""Requests decided in one go: bounds how long a commit, and everyone's wait for it, can get."""
_FRAMES_PER_TURN: Final = 8
"""Frames of one link checked before other tasks get a turn."""
_TICK_SECONDS: Final = 10


@define(eq=False)
class _Work:
    """Something the relay does for itself, in the order of what it decides."""

    decide: Callable[[], Decision]
    rooms: tuple[RoomId, ...] = ()
    """What is in memory of them is not true if the commit fails."""
    done: trio.Event = field(factory=trio.Event)
    error: Exception | None = None


@frozen
class _Request:
    """`connection` asked for `examined`; None for the relay's own housekeeping, or `work`."""

    connection: LinkEnd | None
    examined: Examined | None
    work: _Work | None = None


class PeerReader(LinkEnd, Protocol):
    """A link to another relay, which may follow rooms."""

    peer: RelayId


class Hub:
    """Owns the relay core, the feeds and the links."""

    def __init__(
        self,
        relay: Relay,
        store: Store,
        *,
        limits: ConnectionLimits,
        metrics: Metrics,
        heads: HeadSigner,
        now: Callable[[], int],
        workers: Workers,
    ) -> None:
        """`now` gives milliseconds since 1970."""
        self.limits = limits
        self.metrics = metrics
        self.trouble: str | None = None
        """Why the latest commit failed, for anyone to read; None since one worked."""
        self.lookups = Lookups(store, limits, workers)
        self._relay = relay
        self._store = store
        self._heads = heads
        self._now = now
        self._workers = workers
        self._verifier = Verifier(workers)
        self._links = OpenLinks()
        self._effects = Effects(
            relay,
            self._links,
            self.lookups,
            heads=heads,
            metrics=metrics,
            now=now,
            report=self.report,
        )
        self._jobs = self._effects.jobs
        self._feeds = self._effects.feeds
        self._writer = trio.CapacityLimiter(1)
        self._checkpoint_due = trio.Event()
        self._post, self._inbox = trio.open_memory_channel[_Request](_INBOX)
        self._numbers = count(1)
        self._stopping = False
        self._log = get_log()
        metrics.rooms.set_function(lambda: relay.rooms_in_memory)

    # -- links -----------------------------------------------------------------------------------

    def new_link(self) -> LinkId:
        """A number for the next link."""
        return LinkId(next(self._numbers))

    def open_link(self, connection: Connection) -> None:
        """A link has proven its transport key."""
        self._links.add(connection)
        self._relay.open_link(
            connection.link, connection.session.peer, connection.challenge, self._now()
        )
        self.metrics.links.set(len(self._links))
        if self._stopping:
            connection.end(failure_of(Code.SHUTTING_DOWN))

    def open_lane(self, lane: LinkEnd, peer: RelayId, key: PublicKey, challenge: Hash32) -> None:
        """Another relay has opened a lane for one of its own."""
        self._links.add(lane)
        self._relay.open_link(lane.link, key, challenge, self._now(), peer)

    def close_lane(self, lane: LinkEnd) -> None:
        """The lane is done with."""
        self._relay.close_link(lane.link)
        self.unregister(lane)

    async def enter_lane(self, lane: LinkEnd, room: RoomId, mid: MemberId) -> None:
        """A lane is of `mid`, if the room says so. Raises `ProtocolError`, `StoreError`."""
        await self.room(room)
        await self.do(lambda: self._relay.enter_lane(lane.link, room, mid))

    async def follow(self, link: PeerReader, frame: Follow) -> None:
        """Another relay asks for the room's log. Raises `ProtocolError`, `StoreError`."""
        await self.room(frame.room)

        def decide() -> Decision:
            room = self._relay.check_follow(
                frame.room, link.peer, frame.start, frame.log, hosts=frame.hosts
            )
            log = room.log_before(frame.start)
            nobody = MemberId(bytes(32))
            claimed = frame.log if log is None else None
            effect = Subscribe(
                link.link,
                frame.rid,
                frame.room,
                nobody,
                frame.start,
                room.seq,
                log,
                claimed,
                last=self.last_for(frame.room, link.peer),
                begins=frame.log is None,
            )
            return Decision(self._relay.heard(frame.room, link.peer), (effect,))

        await self.do(decide)

    def start(self, work: Callable[[*Args], Awaitable[None]], *args: *Args) -> None:
        """Do what outlives the link that asked for it, as long as the hub runs.

        A mistake of ours in it is counted and logged, and ends nothing else.
        """

        async def contained() -> None:
            try:
                await work(*args)
            except Exception as mistake:
                self.report(mistake)

        self._nursery.start_soon(contained)

    def deliver_soon(self) -> None:
        """Let every link that has something new send it."""
        self._links.deliver_soon()

    def register(self, link: LinkEnd) -> None:
        """A link of another relay's is open: it may be told things, and asks by its lanes."""
        self._links.add(link)

    def unregister(self, link: LinkEnd) -> None:
        """It is gone."""
        self._links.remove(link)

    def acknowledged(self, room: RoomId, peer: RelayId, seq: int) -> None:
        """A relay that follows this room has stored it up to `seq`."""
        self._relay.acknowledged(room, peer, seq)

    def unfollowed(self, peer: RelayId, room: RoomId | None = None) -> None:
        """A relay follows this room no more, or, with its link, none."""
        self._relay.unfollowed(peer, room)

    def last_for(self, room: RoomId, peer: RelayId) -> int | None:
        """The last entry that this relay gets from here as from the hub; None: there is none."""
        return self._relay.last_for(room, peer)

    def is_up_to_date(self, room: RoomId) -> bool:
        """Whether this relay orders the room, in memory now, or has all of it from who does."""
        log = self._relay.room(room)
        hub = self._relay.hub_of(room)
        if log is None or hub is None or self.federation is None:
            return log is not None and hub is None
        return self.federation.is_up_to_date(hub, log)

    def homed(self, room: RoomId, peer: RelayId) -> frozenset[MemberId]:
        """The room's members who are at home at this relay."""
        return self._relay.homed(room, peer)

    def failure(self, rid: int, error: ProtocolError) -> Failure:
        """The answer to a request that failed."""
        return self._relay.failure(rid, error)

    def milliseconds(self) -> int:
        """The time, in milliseconds since 1970."""
        return self._now()

    def find(self, link: LinkId) -> LinkEnd | None:
        """The open link with this number."""
        return self._links.get(link)

    def is_attached(self, link: LinkId, room: RoomId, mid: MemberId) -> bool:
        """Whether the link is in the room as `mid`, who is a member now."""
        return self._relay.is_attached(link, room, mid)

    async def welcome_peer(
        self, frame: Peer, challenge: Hash32, stream: MessageStream, session: RelaySession
    ) -> None:
        """Another relay has dialled, and introduces itself."""
        if self.federation is None:
            await stream.close(1008, SENTENCES[Code.NOT_FEDERATED])
            return
        await self.federation.accept(frame, challenge, stream, session)

    def close_link(self, connection: LinkEnd) -> None:
        """A link is gone. Nothing of this needs to be stored."""
        if self.federation is not None:
            self.federation.left(connection.link)
        self._links.remove(connection)
        connection.drop()
        self._relay.close_link(connection.link)
        self.metrics.links.set(len(self._links))

    async def stop(self) -> None:
        """Tell every link that the relay stops, and wait until they are gone: a bounded time."""
        self._stopping = True
        for connection in self._links:
            connection.end(failure_of(Code.SHUTTING_DOWN))
        with trio.move_on_after(self.limits.goodbye_seconds):
            await self._links.wait_none()

    def report(self, mistake: Exception) -> None:
        """A mistake of our own was contained: count it, and log where it was made, no values."""
        self.metrics.internal_errors.inc()
        self._log.error("a mistake of the relay's: please report this", exc_info=mistake)

    async def do(self, decide: Callable[[], Decision], *rooms: RoomId) -> None:
        """Decide this as the hub, and return once it is committed and carried out.

        Raises what `decide` raises, or `StoreError`: then nothing of it is true, and the rooms it
        is about are loaded anew.
        """
        work = _Work(decide, rooms)
        await self._post.send(_Request(None, None, work))
        await work.done.wait()
        if work.error is not None:
            raise work.error

    async def room(self, room: RoomId) -> RoomLog | None:
        """The room in memory, loaded if need be; None if there is none."""
        found = self._relay.room(room)
        if found is None:
            await self._jobs.load(room)
            found = self._relay.room(room)
        return found

    async def take(self, connection: LinkEnd, frames: Sequence[ClientFrame]) -> None:
        """Check a client's frames, and queue them for the hub. A refusal is answered at once."""
        passed: list[Examined] = []
        for turn, frame in enumerate(frames, start=1):
            await self._hold_back(connection, turn)
            self.metrics.requests.labels(type(frame).__name__).inc()
            examined = await self._examine(connection, frame)
            if examined is not None:
                passed.append(examined)
        for examined, error in await self._verifier.verify(passed):
            if error is not None:
                self._refuse(connection, examined.frame, error)
            else:
                await self._post.send(_Request(connection, examined))

    async def _hold_back(self, connection: LinkEnd, turn: int) -> None:
        """Who is refused much waits, and is not read meanwhile; the others get their turn."""
        wait = self._relay.penance(connection.link, self._now())
        if wait:
            await trio.sleep(wait / 1000)
        elif turn % _FRAMES_PER_TURN == 0:
            await trio.lowlevel.checkpoint()

    async def _examine(self, connection: LinkEnd, frame: ClientFrame) -> Examined | None:
        """The cheap checks; None if the frame was refused."""
        try:
            asked = self._relay.read(connection.link, frame, self._now())
            await self._jobs.ensure_room(asked)
            return self._relay.examine(connection.link, asked, self._now())
        except ProtocolError as error:
            self._refuse(connection, frame, error)
        except (StoreError, BadSnapshot) as error:
            self._log.error("reading a room failed", error=str(error))
            if rid_of(frame):
                self.answer(connection, failure_of(Code.STORAGE_FAILED, rid_of(frame)))
            connection.pump()
        return None

    def _refuse(self, connection: LinkEnd, frame: ClientFrame, error: ProtocolError) -> None:
        self._relay.refused(connection.link, self._now())
        if error.kind is Code.BAD_SIGNATURE:
            self._effects.perform(self._relay.bad_signature(connection.link, self._now()).effects)
        if rid_of(frame):
            self.answer(connection, self._relay.failure(frame, error))
        else:
            self.metrics.refusals.labels(error.code).inc()
        connection.pump()

    async def with_writer(self, work: Callable[[], T]) -> T:
        """Do this in a thread as the store's one writer, between two commits."""
        try:
            return await self._workers.run(work, self._writer)
        finally:
            if self._store.checkpoint_due:
                self._checkpoint_due.set()

    async def wait_checkpoint_due(self) -> None:
        """Wait until the write-ahead log has grown enough to be moved; see `Store.checkpoint`."""
        while not self._store.checkpoint_due:
            self._checkpoint_due = trio.Event()
            await self._checkpoint_due.wait()

    def let_go(self, report: RetentionReport) -> None:
        """Drop from memory what retention has removed from the store."""
        for room, floor in report.floors.items():
            feed = self._feeds.get(room)
            if feed is not None:
                feed.forget_before(floor)
        for (room, mid), size in report.freed.items():
            self._relay.freed(room, mid, size)

    # -- the hub task ----------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Decide, commit, deliver, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._heads.run, self._effects.publish)
            nursery.start_soon(self._tick)
            nursery.start_soon(self._links.deliver)
            task_status.started()
            async for request in self._inbox:
                requests = [request]
                while len(requests) < _BATCH:
                    try:
                        requests.append(self._inbox.receive_nowait())
                    except trio.WouldBlock:
                        break
                await self._serve(requests)

    async def _tick(self) -> None:
        while True:
            await trio.sleep(_TICK_SECONDS)
            self._feeds.trim()
            await self._resolve_doubts()
            await self._post.send(_Request(None, None))

    async def _resolve_doubts(self) -> None:
        """Ask the store for rooms of which a failed commit left open whether they exist."""
        for room in self._relay.doubtful:
            try:
                await self._jobs.load(room)
            except (StoreError, BadSnapshot):
                return  # the failure was logged; the store is asked again

    async def _serve(self, requests: Sequence[_Request]) -> None:
        decided: list[tuple[_Request, Decision]] = []
        for request in requests:
            try:
                decided.append((request, await self._decide(request)))
            except Exception as mistake:
                await self._commit(decided)  # what was decided before stands
                decided = []
                self._give_up(request, mistake)
        await self._commit(decided)

    def _give_up(self, request: _Request, mistake: Exception) -> None:
        """Nobody knows how far this request came: believe only what is stored of its room."""
        if request.work is not None:
            self._relay.forget(request.work.rooms)
            request.work.error = mistake
            request.work.done.set()
            return
        if request.connection is None or request.examined is None:
            raise mistake
        self._relay.doubt(request.examined)
        request.connection.fail(mistake)

    async def _commit(self, decided: Sequence[tuple[_Request, Decision]]) -> None:
        facts = [fact for _, decision in decided for fact in decision.facts]
        if facts:
            started = trio.current_time()
            try:
                freed = await self.with_writer(partial(self._store.commit, facts))
            except StoreError as error:
                self._take_back(decided, {fact.room for fact in facts}, error)
                return
            self.trouble = None
            self.metrics.commit_seconds.observe(trio.current_time() - started)
            self.metrics.batch.observe(len(facts))
            if dropped := [fact for fact in facts if isinstance(fact, BlobDropped)]:
                for fact, size in zip(dropped, freed, strict=True):
                    self._relay.freed(fact.room, fact.mid, size)
        for request, decision in decided:
            self._effects.remember(decision)
            self._effects.perform(decision.effects)
            if request.work is not None:
                request.work.done.set()
        self._links.deliver_soon()

    async def _decide(self, request: _Request) -> Decision:
        if request.work is not None:
            return request.work.decide()
        if request.connection is None or request.examined is None:
            return self._relay.tick(self._now())
        try:
            await self._jobs.ensure_room(request.examined)
        except (StoreError, BadSnapshot):
            failure = failure_of(Code.STORAGE_FAILED, rid_of(request.examined.frame))
            told = (Reply(request.connection.link, failure),) if failure.rid else ()
            return Decision(effects=told)
        return self._relay.decide(request.connection.link, request.examined, self._now())

    def _take_back(
        self,
        decided: Iterable[tuple[_Request, Decision]],
        rooms: Iterable[RoomId],
        error: StoreError,
    ) -> None:
        """The commit failed: nothing was promised, so nothing is true but what the store holds."""
        self._log.error("a commit failed; nothing was accepted", error=str(error), code=error.code)
        self.metrics.commit_failures.inc()
        self.trouble = trouble_of(error)
        self._relay.forget([*rooms])
        for request, decision in decided:
            if request.work is not None:
                request.work.error = error
                request.work.done.set()
            if request.connection is not None and request.examined is not None:
                rid = rid_of(request.examined.frame)
                if isinstance(request.examined.frame, Detach):  # needs no store, and was done
                    self._effects.perform(decision.effects)
                elif rid:
                    self.answer(request.connection, failure_of(Code.STORAGE_FAILED, rid))
                request.connection.pump()

    # -- for the way to other relays -------------------------------------------------------------

    @property
    def federation(self) -> Across | None:
        """The way to other relays, where there is one."""
        return self._effects.federation

    @federation.setter
    def federation(self, across: Across) -> None:
        self._effects.federation = across

    def answer(self, connection: LinkEnd, frame: RelayFrame) -> None:
        """Answer a request."""
        self._effects.answer(connection, frame)

    def goes_on_elsewhere(self, room: RoomId) -> None:
        """A copy has skipped a stretch, or its end is void: its feed does not go on there."""
        self._effects.goes_on_elsewhere(room)

    def publish_head(self, room: RoomId, head: bytes, key: PublicKey) -> None:
        """A head of another relay's, which fits the copy here: pass it on to who reads the room."""
        self._effects.publish_head(room, head, key)

    def show_all(self, rooms: Iterable[RoomId], shown: Iterable[Successions]) -> None:
        """Tell all who are in these rooms of another relay's how it came to its key."""
        self._effects.show_all(rooms, shown)
