"""All feeds together: bounded in number and in bytes, and nobody misses anything for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from ofcd.daemon import feeds as feeds_module
from ofcd.daemon.feed import Subscription
from ofcd.daemon.feeds import Feeds
from ofcd.protocol import frames
from ofcd.protocol.frames import Delivery
from ofcd.protocol.ids import MemberId, RoomId
from ofcd.testing import open_world
from tests.daemon.rawlink import Founder, open_raw
from tests.daemon.test_feed import Link

ANA = MemberId(b"a" * 32)


def room(number: int) -> RoomId:
    return RoomId(number.to_bytes(32, "big"))


def say(feeds: Feeds, number: int, size: int) -> None:
    """One more entry in a room."""
    feed = feeds.open(room(number), 0)
    feeds.append(feed, Delivery(feed.room, feed.head + 1, bytes(size), b""), {})


def read(feeds: Feeds, number: int) -> Subscription:
    """Somebody reads a room from now on."""
    feed = feeds.open(room(number), 0)
    subscription = Subscription(Link(), feed.room, ANA, feed.head + 1)
    feed.subscriptions.add(subscription)
    return subscription


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 4000)), max_size=200))
def test_the_sum_of_all_feeds_is_bounded_and_true(said: list[tuple[int, int]]) -> None:
    """Whatever is said where; read rooms, too. What is counted is what is there."""
    feeds = Feeds(most_bytes=20_000, most_idle=5)
    for number in range(0, 20, 2):
        read(feeds, number)
    for number, size in said:
        say(feeds, number, size)
        assert feeds.size <= 20_000
        assert feeds.size == sum(feed.size for feed in feeds._feeds.values())


def test_the_room_that_was_silent_for_longest_is_forgotten_first() -> None:
    """Its readers are up to date, or are served from the store; the others still from memory."""
    feeds = Feeds(most_bytes=10_000)
    for number in (1, 2, 1, 3, 3):
        say(feeds, number, 2400)
    silent, busy = feeds.get(room(2)), feeds.get(room(1))
    assert silent is not None
    assert busy is not None
    assert (silent.size, busy.size > 4800) == (0, True)
    assert silent.lags(Subscription(Link(), room(2), ANA, 1))


def test_bulks_count_too() -> None:
    """What was sealed for readers at many places of the log is counted when it is looked at."""
    feeds = Feeds(most_bytes=100_000)
    readers = [read(feeds, 1) for _ in range(4)]
    for _ in range(10):
        say(feeds, 1, 5000)
    feed = feeds.get(room(1))
    assert feed is not None
    for place, reader in enumerate(readers, start=1):
        reader.next_seq = place
        feed.take(reader, 1 << 20)
    assert feed.size > 150_000
    feeds.trim()
    assert feeds.size == feed.size == 0


def test_feeds_that_nobody_reads_are_few_and_those_made_last() -> None:
    """However many rooms were read once; a room that is read is never among those dropped."""
    feeds = Feeds(most_idle=10)
    read(feeds, 1)
    for number in range(1000):
        feeds.open(room(number), 0)
    assert len(feeds) < 50
    feeds.trim()
    assert len(feeds) == 11
    assert feeds.get(room(1)) is not None
    assert feeds.get(room(999)) is not None


async def test_a_forgotten_room_is_served_from_the_store(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With memory for hardly one entry, readers still get every entry of every room, in order."""
    monkeypatch.setattr(feeds_module.Feeds.__init__, "__defaults__", (300, 4))
    async with open_world(tmp_path) as world, open_raw(world) as link, open_raw(world) as other:
        founder = Founder(world)
        for each in (link, other):
            await founder.come(each)
            await each.send(frames.Sync(each.rid(), founder.room, 0))
            await each.expect(frames.Synced)
        for _ in range(10):
            await founder.post(link)
        for each in (link, other):
            got = await each.expect(frames.Delivery, 11)
            assert [delivery.seq for delivery in got] == [*range(11)]
