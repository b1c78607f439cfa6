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

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import count
from typing import Final, Protocol, TypeVar

import trio
from attrs import define, field, frozen

from ofcd.daemon.connection import Connection, failure_of, rid_of
from ofcd.daemon.feed import Feed, Subscriber
from ofcd.daemon.feeds import Feeds
from ofcd.daemon.heads import HeadSigner
from ofcd.daemon.jobs import Jobs
from ofcd.daemon.limits import ConnectionLimits
from ofcd.daemon.linkend import LinkEnd
from ofcd.daemon.log import get_log
from ofcd.daemon.lookups import Lookups
from ofcd.daemon.metrics import Metrics
from ofcd.daemon.trouble import trouble_of
from ofcd.daemon.verify import Verifier
from ofcd.daemon.workers import Workers
from ofcd.protocol.codes import SENTENCES, Code, ProtocolError
from ofcd.protocol.frames import (
    BlobGet,
    ClientFrame,
    Detach,
    Evidence,
    Failure,
    Follow,
    Head,
    Peer,
    RelayFrame,
    Signalled,
    Successions,
    encode_frame,
)
from ofcd.protocol.ids import Hash32, MemberId, PublicKey, RelayId, RoomId
from ofcd.relay import (
    Appended,
    Arrive,
    Backlog,
    BadSnapshot,
    Close,
    Decision,
    Effect,
    Examined,
    FindEvent,
    FindSid,
    FindUpload,
    Forward,
    HubMoved,
    LinkId,
    Push,
    ReadBlob,
    ReadChain,
    Redacted,
    Relay,
    Reply,
    Rewound,
    RoomLog,
    Stir,
    Subscribe,
    Unsubscribe,
)
from ofcd.relay.facts import BlobDropped, LogAppended
from ofcd.session import RelaySession
from ofcd.store import RetentionReport, Store, StoreError
from ofcd.wire import MessageStream

__all__ = ["Hub"]

T = TypeVar("T")

_INBOX: Final = 1024
_BATCH: Final = 256
"""Requests decided in one go: bounds how long a commit, and everyone's wait for it, can get."""
_FRAMES_PER_TURN: Final = 8
"""Frames of one link checked before other tasks get a turn."""
_LINKS_PER_TURN: Final = 32
"""Links served before other tasks get a turn."""
_TICK_SECONDS: Final = 10
_PAUSE_FACTOR: Final = 5
"""Delivery takes at most about a sixth of the loop's time; the rest is for what comes in."""
_LONGEST_PAUSE_SECONDS: Final = 0.025
"""Between two rounds of delivery, however long the first one took."""


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


class Across(Protocol):
    """The way to other relays, as the hub needs it."""

    async def accept(
        self, frame: Peer, challenge: Hash32, stream: MessageStream, session: RelaySession
    ) -> None:
        """Another relay has dialled: talk to it, until it is gone."""
        ...

    def forward(self, connection: LinkEnd, effect: Forward) -> None:
        """Ask another relay on behalf of this link, and answer it."""
        ...

    def is_up_to_date(self, hub: RelayId, log: RoomLog) -> bool:
        """Whether this copy has all that its hub has, as far as is known."""
        ...

    def arrive(self, connection: LinkEnd, effect: Arrive) -> None:
        """Fetch a room for a member who is at home here only now."""
        ...

    def stir(self, hub: RelayId, room: RoomId) -> None:
        """Something waits for the room's hub."""
        ...

    def came(self, hub: RelayId, room: RoomId, mid: MemberId) -> None:
        """A local member of another relay's room is here."""
        ...

    def left(self, link: LinkId) -> None:
        """A link is gone."""
        ...

    def members_changed(self, room: RoomId, seq: int, feed: Feed) -> None:
        """With entry `seq` someone came or went: see which relays may still follow the room."""
        ...

    def hub_moved(self, effect: HubMoved, feed: Feed | None) -> None:
        """A room has another hub: follow it there, and end the following here."""
        ...

    def key_of(self, relay: RelayId) -> PublicKey | None:
        """The relay's key, once it has proven it."""
        ...

    def successions(self, relay: RelayId) -> Iterable[Successions]:
        """What people are shown of how the relay came to its key."""
        ...


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
        self.jobs = Jobs(relay, self.lookups, heads, now, self.answer)
        self.federation: Across | None = None
        """The way to other relays, where there is one."""
        self._verifier = Verifier(workers)
        self._links: dict[LinkId, LinkEnd] = {}
        self._feeds = Feeds()
        self._writer = trio.CapacityLimiter(1)
        self._post, self._inbox = trio.open_memory_channel[_Request](_INBOX)
        self._numbers = count(1)
        self._stirred: set[Subscriber] = set()
        self._delivery_due = trio.Event()
        self._pushed: tuple[RelayFrame | None, bytes] = (None, b"")
        self._stopping = False
        self._empty = trio.Event()
        self._log = get_log()
        metrics.rooms.set_function(lambda: relay.rooms_in_memory)

    # -- links -----------------------------------------------------------------------------------

    def new_link(self) -> LinkId:
        """A number for the next link."""
        return LinkId(next(self._numbers))

    def open_link(self, connection: Connection) -> None:
        """A link has proven its transport key."""
        self._links[connection.link] = connection
        self._relay.open_link(
            connection.link, connection.session.peer, connection.challenge, self._now()
        )
        self.metrics.links.set(len(self._links))
        if self._stopping:
            connection.end(failure_of(Code.SHUTTING_DOWN))

    def open_lane(self, lane: LinkEnd, peer: RelayId, key: PublicKey, challenge: Hash32) -> None:
        """Another relay has opened a lane for one of its own."""
        self._links[lane.link] = lane
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
                link.link, frame.rid, frame.room, nobody, frame.start, room.seq, log, claimed
            )
            return Decision(effects=(effect,))

        await self.do(decide)

    @property
    def jobs_nursery(self) -> trio.Nursery:
        """For what outlives the link that asked for it; it ends with the hub."""
        return self._nursery

    def deliver_soon(self) -> None:
        """Let every link that has something new send it."""
        if self._stirred:
            self._delivery_due.set()

    def register(self, link: LinkEnd) -> None:
        """A link of another relay's is open: it may be told things, and asks by its lanes."""
        self._links[link.link] = link

    def unregister(self, link: LinkEnd) -> None:
        """It is gone."""
        self._links.pop(link.link, None)
        self._stirred.discard(link)
        if not self._links:
            self._empty.set()

    def acknowledged(self, room: RoomId, peer: RelayId, seq: int) -> None:
        """A relay that follows this room has stored it up to `seq`."""
        self._relay.acknowledged(room, peer, seq)

    def unfollowed(self, peer: RelayId, room: RoomId | None = None) -> None:
        """A relay follows this room no more, or, with its link, none."""
        self._relay.unfollowed(peer, room)

    def last_of(self, room: RoomId) -> int | None:
        """The last entry that others get from here as from the hub; None where there is none."""
        return self._relay.last_of(room)

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
        self._links.pop(connection.link, None)
        self._stirred.discard(connection)
        connection.drop()
        self._relay.close_link(connection.link)
        self.metrics.links.set(len(self._links))
        if not self._links:
            self._empty.set()

    async def stop(self) -> None:
        """Tell every link that the relay stops, and wait until they are gone: a bounded time."""
        self._stopping = True
        self._empty = trio.Event()
        for connection in list(self._links.values()):
            connection.end(failure_of(Code.SHUTTING_DOWN))
        with trio.move_on_after(self.limits.goodbye_seconds):
            while self._links:
                await self._empty.wait()

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
            await self.jobs.load(room)
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
            await self.jobs.ensure_room(asked)
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
            self._perform(self._relay.bad_signature(connection.link, self._now()).effects)
        if rid_of(frame):
            self.answer(connection, self._relay.failure(frame, error))
        else:
            self.metrics.refusals.labels(error.code).inc()
        connection.pump()

    async def with_writer(self, work: Callable[[], T]) -> T:
        """Do this in a thread as the store's one writer, between two commits."""
        return await self._workers.run(work, self._writer)

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
            nursery.start_soon(self._heads.run, self._publish)
            nursery.start_soon(self._tick)
            nursery.start_soon(self._deliver)
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
                await self.jobs.load(room)
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
            self._remember(decision)
            self._perform(decision.effects)
            if request.work is not None:
                request.work.done.set()
        if self._stirred:
            self._delivery_due.set()

    async def _decide(self, request: _Request) -> Decision:
        if request.work is not None:
            return request.work.decide()
        if request.connection is None or request.examined is None:
            return self._relay.tick(self._now())
        try:
            await self.jobs.ensure_room(request.examined)
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
                    self._perform(decision.effects)
                elif rid:
                    self.answer(request.connection, failure_of(Code.STORAGE_FAILED, rid))
                request.connection.pump()

    # -- effects ---------------------------------------------------------------------------------

    def _remember(self, decision: Decision) -> None:
        """Keep each feed at the running hash of its last committed entry."""
        for fact in decision.facts:
            if isinstance(fact, LogAppended):
                self.metrics.events.inc()
                feed = self._feeds.get(fact.room)
                if feed is not None:
                    feed.log = fact.log

    def _perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Appended():
                    try:
                        self._append(effect)
                    except Exception as mistake:
                        self._drop_feed(effect.room, mistake)
                case HubMoved():
                    self._move(effect)
                case Rewound():
                    self.goes_on_elsewhere(effect.room)
                case Stir():
                    if self.federation is not None:
                        self.federation.stir(effect.hub, effect.room)
                case Redacted():
                    feed = self._feeds.get(effect.room)
                    if feed is not None:
                        feed.forget()
                case _:
                    connection = self._links.get(effect.link)
                    if connection is not None:
                        try:
                            self._perform_on(connection, effect)
                        except Exception as mistake:
                            connection.fail(mistake)
                        self._stirred.add(connection)

    def _append(self, effect: Appended) -> None:
        feed = self._feeds.get(effect.room)
        if feed is None:
            return
        if effect.members_changed:
            feed.renew_key()
            if self.federation is not None:
                self.federation.members_changed(effect.room, effect.seq, feed)
        self._feeds.append(feed, effect.delivery, effect.boxes)
        self._heads.mark(feed)
        self._stirred.update(subscription.link for subscription in feed.subscriptions)

    def _move(self, effect: HubMoved) -> None:
        """Another relay signs the heads from now on, or this one does."""
        feed = self._feeds.get(effect.room)
        if feed is not None:
            self._mark_foreign(feed)
        if self.federation is not None:
            self.federation.hub_moved(effect, feed)

    def _drop_feed(self, room: RoomId, mistake: Exception) -> None:
        """A feed may lack what is stored."""
        self.report(mistake)
        self._come_back(room, Code.INTERNAL)

    def goes_on_elsewhere(self, room: RoomId) -> None:
        """A copy has skipped a stretch, or its end is void: its feed does not go on there."""
        feed = self._feeds.get(room)
        if feed is not None:
            feed.foreign = True  # its head is not to be signed any more
        self._come_back(room, Code.TRY_AGAIN)

    def _come_back(self, room: RoomId, code: Code) -> None:
        """Whoever reads this room comes back, and is served from the store."""
        self._feeds.drop(room)
        for connection in list(self._links.values()):
            if connection.reads(room):
                connection.end(failure_of(code))

    def _perform_on(
        self,
        connection: LinkEnd,
        effect: Reply
        | Push
        | Subscribe
        | Backlog
        | Unsubscribe
        | Close
        | FindSid
        | FindEvent
        | FindUpload
        | ReadChain
        | ReadBlob
        | Forward
        | Arrive,
    ) -> None:
        match effect:
            case Reply():
                self.answer(connection, effect.frame)
            case Push():
                encoded = self._encoded(effect.frame)
                if not isinstance(effect.frame, Signalled):
                    connection.push_encoded(encoded)
                elif not connection.is_behind:
                    connection.push_signal(encoded)
            case Unsubscribe():
                connection.unsubscribe(effect.room)
            case Close():
                connection.end(effect.failure)
            case Backlog():
                connection.do_once(effect.room, lambda: self._tell_backlog(connection, effect))
                hub = self._relay.hub_of(effect.room)
                if hub is not None and self.federation is not None:
                    self.federation.came(hub, effect.room, effect.mid)
            case Subscribe():
                feed = self._feeds.open(effect.room, effect.head)
                self._mark_foreign(feed)
                connection.await_feed(feed)
                connection.do(lambda: self.jobs.subscribe(connection, effect, feed))
            case ReadBlob() if self._relay.keepers(effect.room, effect.link):
                connection.do(lambda: self._read_cached(connection, effect))
            case Arrive() if self.federation is not None:
                self.federation.arrive(connection, effect)
            case Forward() | Arrive():
                if self.federation is None or isinstance(effect, Arrive):
                    failure = failure_of(Code.NOT_FEDERATED, rid_of(effect.frame))
                    if failure.rid and not (isinstance(effect, Forward) and effect.quiet):
                        self.answer(connection, failure)
                else:
                    self.federation.forward(connection, effect)
            case FindUpload() | FindSid() | FindEvent() | ReadChain() | ReadBlob():
                connection.do(lambda: self.jobs.look_up(connection, effect))

    async def _tell_backlog(self, connection: LinkEnd, effect: Backlog) -> None:
        """What waits for who attached; and why another relay's room stands still here.

        First how that relay came to its key: what it has signed is judged by it.
        """
        hub, room = self._relay.hub_of(effect.room), self._relay.room(effect.room)
        if hub is not None and self.federation is not None:
            for shown in self.federation.successions(hub):
                await connection.hand(shown)
        await self.jobs.tell_backlog(connection, effect)
        if hub is None or room is None or not room.frozen or self.federation is None:
            return
        try:
            kept = await self.lookups.evidence(effect.room, room.frozen)
        except StoreError as error:
            self._log.error("a reading of the store failed", error=str(error))
            return
        if self._relay.member_on(connection.link, effect.room) == effect.mid:
            key = self.federation.key_of(hub)
            await connection.hand(Evidence(effect.room, room.frozen, key=key, records=kept))

    async def _read_cached(self, connection: LinkEnd, effect: ReadBlob) -> None:
        """A part of an attachment that may be at another relay: from here, else from there."""
        keepers = self._relay.keepers(effect.room, effect.link)
        mid = self._relay.member_on(connection.link, effect.room)
        try:
            cached = await self.lookups.has_blob(effect)
        except StoreError:
            cached = True  # the lookup fails in the same way, and answers
        if cached or not keepers or mid is None or self.federation is None:
            await self.jobs.look_up(connection, effect)
            return
        get = BlobGet(effect.rid, effect.room, effect.blob, effect.index)
        hub, *others = keepers
        self.federation.forward(
            connection,
            Forward(connection.link, hub, "", effect.room, mid, get, others=tuple(others)),
        )

    def _mark_foreign(self, feed: Feed) -> None:
        """The heads of another relay's room are not ours to sign: the kept one is passed on."""
        hub = self._relay.hub_of(feed.room)
        feed.foreign, feed.term = hub is not None, self._relay.term_of(feed.room)
        feed.signed_head = b""
        if hub is None:
            return
        copy = self._relay.room(feed.room)
        key = None if self.federation is None else self.federation.key_of(hub)
        if copy is not None and copy.head and key is not None:
            feed.signed_head = encode_frame(Head(feed.room, copy.head, key=key))

    def publish_head(self, room: RoomId, head: bytes, key: PublicKey) -> None:
        """A head of another relay's, which fits the copy here: pass it on to who reads the room."""
        feed = self._feeds.get(room)
        if feed is not None:
            feed.signed_head = encode_frame(Head(room, head, key=key))
            self._publish(feed, feed.signed_head)

    def show_all(self, rooms: Iterable[RoomId], shown: Iterable[Successions]) -> None:
        """Tell all who are in these rooms of another relay's how it came to its key."""
        links = {link for room in rooms for link, _ in self._relay.links_in(room)}
        for frame in shown:
            encoded = encode_frame(frame)
            for connection in filter(None, map(self._links.get, links)):
                connection.push_encoded(encoded)
                connection.pump()

    def _encoded(self, frame: RelayFrame) -> bytes:
        """A frame for many links is one object in many effects, one after another."""
        pushed, encoded = self._pushed
        if pushed is not frame:
            encoded = encode_frame(frame)
            self._pushed = frame, encoded
        return encoded

    def answer(self, connection: LinkEnd, frame: RelayFrame) -> None:
        """Answer a request."""
        if isinstance(frame, Failure):
            self.metrics.refusals.labels(frame.code).inc()
        connection.answer(frame)

    def _publish(self, feed: Feed, head: bytes) -> None:
        for subscription in feed.subscriptions:
            subscription.link.push_encoded(head)
            subscription.link.pump()

    async def _deliver(self) -> None:
        """Let every link that has something new send it, beside the next commit.

        After a long round the next one waits some times as long: what was committed meanwhile goes
        out in the same messages, so that a busy room costs fewer of them. An idle one never waits.
        """
        while True:
            await self._delivery_due.wait()
            self._delivery_due = trio.Event()
            started = trio.current_time()
            stirred, self._stirred = self._stirred, set()
            for turn, connection in enumerate(stirred, start=1):
                connection.pump()
                if turn % _LINKS_PER_TURN == 0:
                    await trio.lowlevel.checkpoint()
            took = trio.current_time() - started
            await trio.sleep(min(took * _PAUSE_FACTOR, _LONGEST_PAUSE_SECONDS))
