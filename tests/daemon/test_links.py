"""What one link does to itself, and what it can not do to the relay."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from ofcd import config
from ofcd.channel import Channel
from ofcd.config import Settings
from ofcd.config.fields import Size
from ofcd.daemon.connection import Connection
from ofcd.daemon.hub import Hub
from ofcd.protocol import frames, limits
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import BlobId, Hash32, InviteId, RoomId
from ofcd.relay import Relay, RelayPolicy
from ofcd.relay.facts import RoomSnapshot
from ofcd.store import DiskFull, LogPage, Store
from ofcd.testing import World, open_world
from ofcd.testing.line import Line
from tests.daemon.rawlink import Founder, RawLink, open_raw

BLOB = BlobId(bytes(16))


def hub(world: World) -> Hub:
    assert world.daemon is not None
    return world.daemon.hub


def full_disk(self: Store, facts: object) -> None:
    raise DiskFull("no space is left")


async def stored_chunks(link: RawLink, founder: Founder, count: int, blob: BlobId = BLOB) -> None:
    for index in range(count):
        chunk = bytes([index]) * limits.CHUNK_BYTES
        put = frames.BlobPut(
            rid=link.rid(), room=founder.room, blob=blob, index=index, count=count, chunk=chunk
        )
        await link.send(put)
        await link.expect(frames.Done)


def gets(link: RawLink, founder: Founder, count: int) -> list[frames.BlobGet]:
    return [frames.BlobGet(link.rid(), founder.room, BLOB, i) for i in range(count)]


async def test_as_many_requests_as_are_allowed_may_be_asked_at_once(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Large answers wait for the reader in the store, not in memory: it is not cut off."""
    async with open_world(tmp_path) as world, open_raw(world) as link:
        founder = Founder(world)
        await founder.come(link)
        await stored_chunks(link, founder, 20)
        await link.send(*gets(link, founder, 20))
        await trio.sleep(5)
        assert len(await link.expect(frames.Blob, 20)) == 20


async def test_who_leaves_before_its_sync_is_served_leaves_no_feed_behind(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """The room's feed is idle again, and can be dropped."""
    async with open_world(tmp_path) as world:
        founder, line = Founder(world), Line()
        async with open_raw(world, line) as link:
            await founder.come(link)
            await stored_chunks(link, founder, 1)
            line.hold()
            await link.send(frames.Detach(link.rid(), RoomId(bytes(32))))
            await wait_all_tasks_blocked()
            await link.send(frames.Sync(link.rid(), founder.room, 0))
            await wait_all_tasks_blocked()
            feed = hub(world)._feeds.get(founder.room)
            assert feed is not None
            assert not feed.is_idle
            line.cut()
            await trio.sleep(60)
        assert feed.is_idle


async def test_a_room_whose_history_is_all_gone_is_read_to_its_end_once(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes back after retention took everything does not make the relay search forever."""
    pages: list[LogPage] = []
    read_log = Store.read_log

    def counting(self: Store, *args: Any, **more: Any) -> LogPage:
        assert len(pages) < 20
        pages.append(read_log(self, *args, **more))
        return pages[-1]

    monkeypatch.setattr(Store, "read_log", counting)
    storage = config.Storage(max_age_days=1)
    async with open_world(tmp_path, lambda s: attrs.evolve(s, storage=storage)) as world:
        founder = Founder(world)
        async with open_raw(world) as link:
            await founder.come(link)
            for _ in range(3):
                await founder.post(link)
        await trio.sleep(26 * 3600)
        async with open_raw(world) as link:
            await founder.come(link)
            await link.send(frames.Sync(link.rid(), founder.room, 0))
            (synced,) = await link.expect(frames.Synced)
            assert (synced.floor, synced.head) == (4, 3)
            await trio.sleep(10)
            ack = await founder.post(link)
            deliveries = await link.expect(frames.Delivery, 2)
            assert [delivery.seq for delivery in deliveries] == [0, ack.seq]


async def test_what_retention_took_is_not_served_from_memory(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """The room's feed lets go of what the store has let go of, with a reader in the room."""
    storage = config.Storage(max_events_per_room=2)
    async with open_world(tmp_path, lambda s: attrs.evolve(s, storage=storage)) as world:
        founder = Founder(world)
        async with open_raw(world) as link, open_raw(world) as other:
            await founder.come(link)
            await link.send(frames.Sync(link.rid(), founder.room, 0))
            for _ in range(5):
                await founder.post(link)
            await trio.sleep(120)
            await founder.come(other)
            await other.send(frames.Sync(other.rid(), founder.room, 1))
            (synced,) = await other.expect(frames.Synced)
            assert synced.floor == 4
            deliveries = await other.expect(frames.Delivery, 2)
            assert [delivery.seq for delivery in deliveries] == [4, 5]


async def test_attachments_that_retention_took_no_longer_count(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A member gets its space back while its room stays in memory."""

    def small(settings: Settings) -> Settings:
        mib = Size(limits.MIB)
        smaller = attrs.evolve(settings.limits, blob_bytes=mib, blob_bytes_per_member=mib)
        return attrs.evolve(settings, storage=config.Storage(max_age_days=1), limits=smaller)

    async with open_world(tmp_path, small) as world:
        founder = Founder(world)
        async with open_raw(world) as link:
            await founder.come(link)
            await stored_chunks(link, founder, 4)
        await trio.sleep(26 * 3600)
        async with open_raw(world) as link:
            await founder.come(link)
            await stored_chunks(link, founder, 4, blob=BlobId(b"o" * 16))


async def test_who_detached_is_fed_nothing_even_if_a_commit_fails(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A detach needs no store: the failure of others' facts does not undo it."""
    async with open_world(tmp_path) as world:
        founder = Founder(world)
        async with open_raw(world) as link, open_raw(world) as other:
            await founder.come(link)
            await founder.come(other)
            for each in (link, other):
                await each.send(frames.Sync(each.rid(), founder.room, 0))
                await each.expect(frames.Synced)
            with monkeypatch.context() as patch:
                patch.setattr(Store, "commit", full_disk)
                cursor = frames.Cursor(founder.room, 0)
                await other.send(cursor, frames.Detach(other.rid(), founder.room))
                await trio.sleep(5)
            ack = await founder.post(link)
            await trio.sleep(5)
            await other.send(frames.Detach(other.rid(), founder.room))
            await other.expect(frames.Done)
            fed = [frame.seq for frame in other.got if isinstance(frame, frames.Delivery)]
            assert ack.seq not in fed


async def test_who_was_evicted_while_away_holds_no_key_of_the_feed(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """What links share is sealed anew when a member comes or goes, whoever is connected."""
    async with open_world(tmp_path) as world:
        ana, bo = await world.client("ana"), await world.client("bo")
        room = await ana.create_room(world.url, "tea", my_name="Ana")
        feed = hub(world)._feeds.get(room.id)
        assert feed is not None
        numbers = [feed.sealer.number]
        at_bo = await bo.join(await room.invite(), name="Bo")
        numbers.append(feed.sealer.number)
        await room.send("hello")
        assert feed.sealer.number == numbers[-1]
        mid = at_bo.me
        await world.stop_client("bo")
        await room.evict(mid)
        numbers.append(feed.sealer.number)
        assert len(set(numbers)) == 3


async def test_guesses_are_limited_before_the_store_is_asked(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks for rooms that are not there costs the disk no more than the rate allows."""
    loads = 0
    load_room = Store.load_room

    def counting(self: Store, room: RoomId) -> RoomSnapshot | None:
        nonlocal loads
        loads += 1
        return load_room(self, room)

    monkeypatch.setattr(Store, "load_room", counting)
    async with open_world(tmp_path) as world, open_raw(world) as link:
        for number in range(200):
            room, invite = RoomId(number.to_bytes(32, "big")), InviteId(bytes(16))
            await link.send(frames.Lookup(link.rid(), room, invite, Hash32(bytes(32))))
        failures = await link.expect(frames.Failure, 200)
        assert {failure.code for failure in failures} == {Code.INVITE_UNKNOWN, Code.RATE_LIMITED}
        assert loads == RelayPolicy().failed_lookups_per_minute_per_link


async def test_a_number_under_way_is_no_number_for_another_request(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Else one answer would free the place of many; later the number may be used again."""
    async with open_world(tmp_path) as world, open_raw(world) as link:
        for _ in range(2):
            await link.send(frames.Detach(1, RoomId(bytes(32))))
            await link.expect(frames.Done)
        await link.send(frames.Detach(1, RoomId(bytes(32))), frames.Detach(1, RoomId(bytes(32))))
        (failure,) = await link.expect(frames.Failure)
        assert (failure.rid, failure.code) == (0, Code.BAD_FRAME)


async def test_who_is_refused_much_is_read_slowly_and_alone(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """What is refused costs its sender time; others are answered at once meanwhile."""
    policy = RelayPolicy()
    over = 100
    async with open_world(tmp_path) as world, open_raw(world) as hostile, open_raw(world) as honest:
        founder = Founder(world)
        await founder.come(honest)
        began = trio.current_time()

        async def flood() -> None:
            for _ in range(policy.refusals_burst_per_link + over):
                await hostile.send(frames.Cursor(founder.room, 1))
            await hostile.send(frames.Detach(hostile.rid(), founder.room))
            await hostile.expect(frames.Done)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            await wait_all_tasks_blocked()
            asked = trio.current_time()
            await founder.post(honest)
            assert trio.current_time() == asked
        took = trio.current_time() - began
        assert took >= over / policy.refusals_per_second_per_link - 0.1


@pytest.mark.parametrize("reads", [True, False])
async def test_what_waits_for_who_comes_is_told_as_fast_as_it_is_read(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, reads: bool
) -> None:
    """More than may wait for a link at once arrives whole, in order; a reader who is away for a
    while is not cut off for it; who asks again and again without reading is told it once more."""
    count = 600  # 4.7 MiB, where 2 MiB may wait
    room, padding = RoomId(bytes(32)), bytes(limits.JOIN_REQUEST_BYTES - 1)
    lists = 0

    def plenty(self: Relay, *_: Any) -> list[frames.RelayFrame]:
        nonlocal lists
        lists += 1
        return [frames.JoinAsked(room, padding + bytes([n % 251])) for n in range(count)]

    monkeypatch.setattr(Relay, "backlog", plenty)
    async with open_world(tmp_path) as world:
        founder, line = Founder(world), Line()
        async with open_raw(world, line) as link:
            await founder.come(link)
            if not reads:
                line.hold()
                for _ in range(5):
                    await link.send(founder.attach(link))
                await trio.sleep(5)
                line.release()
            told_now = await link.expect(frames.JoinAsked, count)
            assert [f.record[-1] for f in told_now[:count]] == [n % 251 for n in range(count)]
            await founder.post(link)
            await link.expect(frames.JoinAsked, 0 if reads else count)
            assert lists == (1 if reads else 2)
            assert not [f for f in link.got if isinstance(f, frames.Failure)]


async def test_a_link_that_only_reads_wears_out_too(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sent counts as what is received: the relay asks for a new link (E10)."""
    async with open_world(tmp_path) as world, open_raw(world) as reader, open_raw(world) as writer:
        founder = Founder(world)
        for link in (reader, writer):
            await founder.come(link)
        await reader.send(frames.Sync(reader.rid(), founder.room, 0))
        await reader.expect(frames.Synced)
        served = next(iter(hub(world)._links))
        assert isinstance(served, Connection)
        read_only = served.session._channel
        worn = property(lambda self: self is read_only and self._sent >= 8)
        monkeypatch.setattr(Channel, "is_worn", worn)
        for _ in range(10):
            await founder.post(writer)
        (failure,) = await reader.expect(frames.Failure)
        assert (failure.rid, failure.code) == (0, Code.TRY_AGAIN)


async def test_a_signal_is_encoded_once_for_all(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many hear it."""
    made: list[frames.Frame] = []
    encode = frames.encode_frame

    def counting(frame: frames.Frame) -> bytes:
        made.append(frame)
        return encode(frame)

    monkeypatch.setattr("ofcd.daemon.effects.encode_frame", counting)
    async with AsyncExitStack() as links:
        world = await links.enter_async_context(open_world(tmp_path))
        founder = Founder(world)
        opened = [await links.enter_async_context(open_raw(world)) for _ in range(6)]
        for link in opened:
            await founder.come(link)
        await opened[0].send(frames.Signal(founder.room, 0, b"typing"))
        for link in opened[1:]:
            await link.expect(frames.Signalled)
    assert len([frame for frame in made if isinstance(frame, frames.Signalled)]) == 1


async def test_who_puts_a_chunk_of_anothers_attachment_is_told_so(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """The relay forgot whose it is, and asks its store: never `done` for what is not kept."""
    async with open_world(tmp_path) as world, open_raw(world) as link:
        founder = Founder(world)
        await founder.come(link)
        await stored_chunks(link, founder, 2)
    async with open_world(tmp_path) as world, open_raw(world) as link:
        await founder.come(link)
        again = frames.BlobPut(link.rid(), founder.room, BLOB, 0, 2, b"the same or not")
        await link.send(again)
        await link.expect(frames.Done)
        other = BlobId(b"o" * 16)
        await stored_chunks(link, founder, 1, other)
        hub(world)._relay._core.rooms[founder.room].uploads.clear()
        await link.send(frames.BlobPut(link.rid(), founder.room, other, 1, 2, b"of two"))
        (failure,) = await link.expect(frames.Failure)
        assert failure.code == Code.BAD_FRAME


async def test_a_room_that_was_never_founded_does_not_count(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its commit failed, and nobody tries again: the relay asks its store, and counts right."""
    async with open_world(tmp_path) as world, open_raw(world) as link:
        founder = Founder(world)
        core = hub(world)._relay._core
        with monkeypatch.context() as patch:
            patch.setattr(Store, "commit", full_disk)
            await link.send(frames.Create(link.rid(), record=founder.genesis.envelope))
            await link.expect(frames.Failure)
        assert core.room_count == 1
        await trio.sleep(30)
        assert core.room_count == 0
        await founder.come(link)
        assert core.room_count == 1


async def test_who_sends_more_than_its_share_is_read_later_and_loses_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A burst is taken at once, the rest at the pace; another link is served meanwhile."""
    share = 2 * limits.MIB

    def slow(settings: Settings) -> Settings:
        paced = attrs.evolve(settings.limits, bytes_per_second_per_link=Size(share))
        return attrs.evolve(settings, limits=paced)

    async with (
        open_world(tmp_path, slow) as world,
        open_raw(world) as link,
        open_raw(world) as other,
    ):
        founder = Founder(world)
        await founder.come(link)
        began = trio.current_time()
        await stored_chunks(link, founder, 32)
        assert trio.current_time() - began < 1, "four seconds' worth is a burst"
        await stored_chunks(link, founder, 32, BlobId(b"1" * 16))
        assert trio.current_time() - began == pytest.approx(4, rel=0.2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stored_chunks, link, founder, 32, BlobId(b"2" * 16))
            await trio.sleep(0.01)
            asked = trio.current_time()
            other.got.clear()
            await other.send(frames.Detach(other.rid(), founder.room))
            while not other.got:
                await other.receive()
            assert trio.current_time() - asked < 1
