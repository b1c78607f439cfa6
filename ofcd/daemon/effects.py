"""Carries out what the relay core has decided, once it is committed: answers, pushes, feeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ofcd.daemon.across import Across
from ofcd.daemon.connection import failure_of, rid_of
from ofcd.daemon.feed import Feed
from ofcd.daemon.feeds import Feeds
from ofcd.daemon.heads import HeadSigner
from ofcd.daemon.jobs import Jobs
from ofcd.daemon.linkend import LinkEnd
from ofcd.daemon.log import get_log
from ofcd.daemon.lookups import Lookups
from ofcd.daemon.metrics import Metrics
from ofcd.daemon.openlinks import OpenLinks
from ofcd.protocol.codes import Code
from ofcd.protocol.frames import (
    BlobGet,
    Evidence,
    Failure,
    Head,
    RelayFrame,
    Signalled,
    Successions,
    encode_frame,
)
from ofcd.protocol.ids import PublicKey, RoomId
from ofcd.relay import (
    Appended,
    Arrive,
    Backlog,
    Close,
    Decision,
    Effect,
    FindEvent,
    FindSid,
    FindUpload,
    Forward,
    HubMoved,
    Push,
    ReadBlob,
    ReadChain,
    Redacted,
    Relay,
    Reply,
    Rewound,
    Stir,
    Subscribe,
    Unsubscribe,
)
from ofcd.relay.facts import UNWILLING, LogAppended, ReplicaMoved, RoomFrozen
from ofcd.store import StoreError

__all__ = ["Effects"]


class Effects:
    """What decisions do to links and feeds. Each mistake of ours costs one link, or one feed."""

    def __init__(
        self,
        relay: Relay,
        links: OpenLinks,
        lookups: Lookups,
        *,
        heads: HeadSigner,
        metrics: Metrics,
        now: Callable[[], int],
        report: Callable[[Exception], None],
    ) -> None:
        """`report` counts and logs a mistake of ours."""
        self.federation: Across | None = None
        """The way to other relays, where there is one."""
        self.feeds = Feeds()
        self.jobs = Jobs(relay, lookups, heads, now, self.answer)
        self._relay = relay
        self._links = links
        self._lookups = lookups
        self._heads = heads
        self._metrics = metrics
        self._report = report
        self._pushed: tuple[RelayFrame | None, bytes] = (None, b"")
        self._log = get_log()

    def remember(self, decision: Decision) -> None:
        """Keep what follows from what is committed: each feed's running hash, who stands still."""
        for fact in decision.facts:
            match fact:
                case LogAppended():
                    self._metrics.events.inc()
                    feed = self.feeds.get(fact.room)
                    if feed is not None:
                        feed.log = fact.log
                case RoomFrozen() if fact.code != UNWILLING:
                    self._relay.frozen.add(fact.room)
                case ReplicaMoved():
                    self._relay.frozen.discard(fact.room)

    def perform(self, effects: Iterable[Effect]) -> None:
        """Carry these out, in their order."""
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
                    feed = self.feeds.get(effect.room)
                    if feed is not None:
                        feed.forget()
                case _:
                    connection = self._links.get(effect.link)
                    if connection is not None:
                        try:
                            self._perform_on(connection, effect)
                        except Exception as mistake:
                            connection.fail(mistake)
                        self._links.stir((connection,))

    def _append(self, effect: Appended) -> None:
        feed = self.feeds.get(effect.room)
        if feed is None:
            return
        if effect.members_changed:
            feed.renew_key()
            if self.federation is not None:
                self.federation.members_changed(effect.room, effect.seq, feed)
        self.feeds.append(feed, effect.delivery, effect.boxes)
        self._heads.mark(feed)
        self._links.stir(subscription.link for subscription in feed.subscriptions)

    def _move(self, effect: HubMoved) -> None:
        """Another relay signs the heads from now on, or this one does."""
        feed = self.feeds.get(effect.room)
        if feed is not None:
            self._mark_foreign(feed)
        if self.federation is not None:
            self.federation.hub_moved(effect, feed)

    def _drop_feed(self, room: RoomId, mistake: Exception) -> None:
        """A feed may lack what is stored."""
        self._report(mistake)
        self._come_back(room, Code.INTERNAL)

    def goes_on_elsewhere(self, room: RoomId) -> None:
        """A copy has skipped a stretch, or its end is void: its feed does not go on there."""
        feed = self.feeds.get(room)
        if feed is not None:
            feed.foreign = True  # its head is not to be signed any more
        self._come_back(room, Code.TRY_AGAIN)

    def _come_back(self, room: RoomId, code: Code) -> None:
        """Whoever reads this room comes back, and is served from the store."""
        self.feeds.drop(room)
        for connection in self._links:
            if connection.reads(room):
                connection.come_back(room, failure_of(code))

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
                is_here = self._relay.is_local(effect.link)
                if hub is not None and is_here and self.federation is not None:
                    self.federation.came(hub, effect.room, effect.mid)
            case Subscribe():
                feed = self.feeds.open(effect.room, effect.head)
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
            kept = await self._lookups.evidence(effect.room, room.frozen)
        except StoreError as error:
            self._log.error("a reading of the store failed", error=str(error))
            return
        if self._relay.member_on(connection.link, effect.room) == effect.mid:
            key = self.federation.key_of(hub)
            await connection.hand(Evidence(effect.room, room.frozen, key=key, records=kept))

    async def _read_cached(self, connection: LinkEnd, effect: ReadBlob) -> None:
        """A part of an attachment that may be at another relay: from here, else from there."""
        keepers = self._relay.keepers(effect.room, effect.link)
        mid = self._relay.asks_as(effect.room, connection.link)
        try:
            cached = await self._lookups.has_blob(effect)
        except StoreError:
            cached = True  # the lookup fails in the same way, and answers
        if cached or not keepers or mid is None or self.federation is None:
            if cached and self.federation is not None:
                self.federation.was_read(effect.room, effect.blob)
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
        feed = self.feeds.get(room)
        if feed is not None:
            feed.signed_head = encode_frame(Head(room, head, key=key))
            self.publish(feed, feed.signed_head)

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
            self._metrics.refusals.labels(frame.code).inc()
        connection.answer(frame)

    def publish(self, feed: Feed, head: bytes) -> None:
        """Hand a signed head, encoded, to all who read the room."""
        for subscription in list(feed.subscriptions):  # a pump may end one
            if subscription.last is None:
                subscription.link.push_encoded(head)
            subscription.link.pump()
