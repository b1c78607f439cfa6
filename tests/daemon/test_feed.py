"""A room's feed: every reader gets every entry once, in order, at its own pace."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ofcd.daemon.feed import FEED_BYTES, FEED_ENTRIES, Feed, Subscription, Taken
from ofcd.protocol.frames import Box, Delivery, RelayFrame, decode_relay_frame
from ofcd.protocol.ids import MemberId, RoomId
from ofcd.session import BulkReader

ROOM = RoomId(bytes(32))
ANA = MemberId(b"a" * 32)
BO = MemberId(b"b" * 32)


class Link:
    """A subscriber that does nothing."""

    def pump(self) -> None: ...

    def push_encoded(self, frame: bytes) -> None: ...


def delivery(seq: int, size: int = 1) -> Delivery:
    return Delivery(ROOM, seq, b"r" * size, b"")


def decoded(taken: Taken) -> list[RelayFrame]:
    """What a link gets, as its client sees it."""
    return BulkReader().unfold(map(decode_relay_frame, taken.frames), taken.trailer)


def seqs(taken: Taken) -> list[int]:
    return [frame.seq for frame in decoded(taken) if isinstance(frame, Delivery)]


def reader(start: int, mid: MemberId = ANA) -> Subscription:
    return Subscription(Link(), ROOM, mid, start)


@given(st.integers(0, 50), st.lists(st.integers(1, 400), max_size=40))
def test_a_reader_gets_each_entry_once_in_order(entries: int, budgets: list[int]) -> None:
    """Whatever the budget of each turn, nothing is skipped, repeated or reordered."""
    feed = Feed(ROOM, 9)
    subscription = reader(10)
    got: list[int] = []
    for seq in range(10, 10 + entries):
        feed.append(delivery(seq), {})
        if budgets:
            got += seqs(feed.take(subscription, budgets.pop()))
    while subscription.next_seq <= feed.head:
        got += seqs(feed.take(subscription, 1))
    assert got == list(range(10, 10 + entries))


def test_a_box_goes_to_its_addressee_alone_and_first() -> None:
    """Ana gets her box just before the rotation; Bo, who has none, only the rotation."""
    feed = Feed(ROOM, 0)
    feed.append(delivery(1), {ANA: b"for ana"})
    assert decoded(feed.take(reader(1), 1000)) == [Box(ROOM, 1, b"for ana"), delivery(1)]
    assert decoded(feed.take(reader(1, BO), 1000)) == [delivery(1)]


def test_who_lags_behind_memory_is_told_so_and_given_nothing() -> None:
    """The feed never serves a gap: what left memory has to come from the store."""
    feed = Feed(ROOM, 0)
    for seq in range(1, FEED_ENTRIES + 11):
        feed.append(delivery(seq), {})
    late = reader(10)
    assert feed.lags(late)
    assert feed.take(late, 1000) == Taken()
    fresh = reader(feed.oldest)
    assert not feed.lags(fresh)
    assert seqs(feed.take(fresh, 1)) == [feed.oldest]


def test_a_feed_that_just_began_sends_the_past_to_the_store() -> None:
    """A reader of entries from before the feed lags; one who waits for the next does not."""
    feed = Feed(ROOM, 7)
    assert feed.lags(reader(1))
    assert not feed.lags(reader(8))


def test_memory_of_a_feed_is_bounded_by_bytes() -> None:
    """Large entries push older ones out early."""
    feed = Feed(ROOM, 0)
    for seq in range(1, 50):
        feed.append(delivery(seq, 60_000), {})
    assert (feed.head - feed.oldest + 1) * 60_000 <= FEED_BYTES


@given(st.integers(3, 6), st.lists(st.booleans(), min_size=1, max_size=20))
def test_many_readers_get_the_same_in_bulk(readers: int, boxed: list[bool]) -> None:
    """Sealed once for all, entries still come to each once, in order, each box to its own."""
    feed = Feed(ROOM, 0)
    subscriptions = [reader(1, mid) for mid in (ANA, BO) for _ in range(readers)]
    feed.subscriptions.update(subscriptions)
    bulk = BulkReader()
    got: dict[int, list[RelayFrame]] = {}
    for seq, has_box in enumerate(boxed, start=1):
        feed.append(delivery(seq), {ANA: b"for ana"} if has_box else {})
        for number, subscription in enumerate(subscriptions):
            if number % 3 == seq % 3 or seq == len(boxed):
                while subscription.next_seq <= feed.head:
                    taken = feed.take(subscription, 1000)
                    got.setdefault(number, []).extend(
                        bulk.unfold(map(decode_relay_frame, taken.frames), taken.trailer)
                    )
    for number, subscription in enumerate(subscriptions):
        frames = got[number]
        assert [f.seq for f in frames if isinstance(f, Delivery)] == [*range(1, len(boxed) + 1)]
        boxes = sum(isinstance(f, Box) for f in frames)
        assert boxes == (sum(boxed) if subscription.mid == ANA else 0)


def test_a_redaction_empties_memory() -> None:
    """After a cell was dropped nothing from before is served from memory."""
    feed = Feed(ROOM, 0)
    feed.append(delivery(1), {})
    feed.forget()
    assert feed.lags(reader(1))
    feed.append(delivery(2), {})
    assert seqs(feed.take(reader(2), 1000)) == [2]


def test_key_boxes_count_as_memory_of_a_feed() -> None:
    """An owner who rotates with large boxes pushes older entries out, as large messages do."""
    feed = Feed(ROOM, 0)
    for seq in range(1, 50):
        feed.append(delivery(seq), {ANA: bytes(60_000)})
    assert (feed.head - feed.oldest + 1) * 60_000 <= FEED_BYTES


def test_who_reads_from_everywhere_fills_no_memory_with_bulks() -> None:
    """Only a few bulks are kept at once, however many places the log is read from."""
    feed = Feed(ROOM, 0)
    feed.subscriptions.update(reader(1) for _ in range(3))
    for seq in range(1, 101):
        feed.append(delivery(seq), {})
    for start in range(1, 101):
        assert seqs(feed.take(reader(start), 1000)) == [*range(start, 101)]
    assert len(feed._bulks) <= 4


def test_what_was_said_before_a_member_came_or_went_stands_in_no_bulk() -> None:
    """Who holds the new key, and listens on another's wire, opens nothing older than it."""
    feed = Feed(ROOM, 0)
    feed.subscriptions.update(reader(1) for _ in range(3))
    feed.append(delivery(1), {})
    feed.renew_key()
    feed.append(delivery(2), {})
    late = feed.take(reader(1), 1000)
    assert late.trailer == []
    assert seqs(late) == [1, 2]
    assert len(feed.take(reader(2), 1000).trailer) == 1


def test_what_retention_took_leaves_memory() -> None:
    """Entries before the floor come from the store, which has but control records of them."""
    feed = Feed(ROOM, 0)
    for seq in range(1, 6):
        feed.append(delivery(seq), {})
    feed.forget_before(4)
    assert feed.lags(reader(3))
    assert seqs(feed.take(reader(4), 1000)) == [4, 5]
    feed.forget_before(9)
    assert feed.lags(reader(5))
