"""What one link does to itself, and what it can not do to the relay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from ofcd import config
from ofcd.config import Settings
from ofcd.config.fields import Size
from ofcd.daemon.hub import Hub
from ofcd.protocol import frames, limits
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import BlobId, Hash32, InviteId, RoomId
from ofcd.relay import RelayPolicy
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
            feed = hub(world)._feeds[founder.room]
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
        await trio.sleep(2 * 24 * 3600)
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
        await trio.sleep(2 * 24 * 3600)
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
        feed = hub(world)._feeds[room.id]
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
        for number in range(300):
            room, invite = RoomId(number.to_bytes(32, "big")), InviteId(bytes(16))
            await link.send(frames.Lookup(link.rid(), room, invite, Hash32(bytes(32))))
        failures = await link.expect(frames.Failure, 300)
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
