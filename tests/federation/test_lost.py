"""Test 19 and 28 of the design: a hub put back to an old backup, and a follower far behind."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest
import trio
from attrs import evolve

from ofcd.client import Room, RoomStatus
from ofcd.config import Settings
from ofcd.protocol import frames
from ofcd.protocol.ids import Hash32, RelayId, log_hash
from ofcd.protocol.records import LogHead
from ofcd.relay.facts import HubAwaited
from ofcd.testing import World, open_net
from ofcd.themis import generate_keypair
from ofcd.themis.signed import peek, sign_record
from tests.daemon.rawlink import open_raw
from tests.federation.double import (
    Double,
    dialling,
    federated,
    identity,
    local,
    part,
    quickly,
    rejoin,
    say,
    shared,
)
from tests.federation.test_blame import attach, event_of
from tests.federation.test_home import relay_of
from tests.federation.test_hostile import copy_head, log_of
from tests.world.scene import again, agree, settle, stored, texts, until


def backup(world: World, to: Path) -> None:
    stored(world).backup(to)


async def put_back(world: World, backup_file: Path) -> None:
    await world.stop_relay()
    restore(Path(world.settings.data_dir), backup_file)


def restore(data: Path, backup_file: Path) -> None:
    for old in data.glob("ofcd.db*"):
        old.unlink()
    shutil.copy(backup_file, data / "ofcd.db")
    (data / "ofcd.db").chmod(0o600)


async def test_19_a_hub_put_back_to_an_old_backup_is_filled_up_by_its_follower(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """No number is given twice; what was lost is there again, byte for byte; all go on."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        ana, bo = await shared(hub, home)
        await ana.send("in the backup")
        await settle([ana, bo])
        backup(hub, tmp_path / "old.db")
        for number in range(5):
            await ana.send(f"lost {number}")
            await bo.send(f"lost too {number}")
        await settle([ana, bo])
        before = log_of(hub, ana.id)
        await put_back(hub, tmp_path / "old.db")
        await hub.start_relay()
        await until(lambda: log_of(hub, ana.id) == before)
        # Who knew more than the hub did has frozen the room, and thaws it on the next link.
        await hub.stop_client("ana")
        [ana] = (await hub.client("ana")).rooms
        await until(lambda: ana.status is RoomStatus.ACTIVE)
        await ana.send("and on")
        await bo.send("and on too")
        await settle([ana, bo])
        agree([ana, bo])
        assert texts(bo)[-2:] == ["and on", "and on too"]
        assert log_of(hub, ana.id)[: len(before)] == before


async def test_19_a_refill_must_be_what_the_hub_itself_had_signed(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """No LOG_HEAD, somebody else's, entries that do not come out as it says: nothing is taken."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        ana, bo = await shared(hub, home)
        backup(hub, tmp_path / "old.db")
        await ana.send("one")
        await bo.send("two")
        await settle([ana, bo])
        lost = log_of(hub, ana.id)
        seq, log = copy_head(hub, ana.id)
        keys = identity(home).keys
        hubs = identity(hub).keys
        await hub.stop_client("ana")
        await home.stop_relay()
        await put_back(hub, tmp_path / "old.db")
        await hub.start_relay()
        start, _ = copy_head(hub, ana.id)
        gone = [row for row in lost if row.seq > start]
        entries = tuple(p for row in gone for p in (row.record, row.cell))
        ids = b"".join(peek(row.record).event_id for row in gone)

        def head(private: bytes, at: int, L: Hash32) -> bytes:
            return sign_record(private, LogHead(1, ana.id, 0, at, L, hub.now())).envelope

        async with dialling(hub, keys) as double:
            genuine = head(hubs.private, seq, log)
            for envelope, named, parts in (
                (head(keys.private, seq, log), ids, entries),
                (head(hubs.private, start, log), ids, entries),
                (head(hubs.private, seq, Hash32(bytes(32))), ids, entries),
                (genuine, ids, entries[2:]),
                (genuine, ids, entries[:-1]),
                (genuine, ids, ()),
                (genuine, ids[32:], entries[2:]),
                (genuine, ids[32:] + ids[:32], entries[2:] + entries[:2]),
                (genuine, ids + bytes(32 * 257), entries),
            ):
                answer = await refill(double, start + 1, envelope, named, parts, ana.id)
                assert isinstance(answer, frames.Failure)
                assert copy_head(hub, ana.id)[0] == start
            async with dialling(hub, generate_keypair()) as stranger:
                answer = await refill(stranger, start + 1, genuine, ids, entries, ana.id)
                assert isinstance(answer, frames.Failure)
                assert answer.code == "not_found"
            answer = await refill(double, start + 1, genuine, ids, entries, ana.id)
            assert isinstance(answer, frames.Done)
        assert log_of(hub, ana.id) == lost


async def test_19_a_refill_in_parts_goes_on_past_the_last_signed_head(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """What its first part named is what may follow; nobody speaks in between."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        ana, bo = await shared(hub, home)
        await settle([ana, bo])
        backup(hub, tmp_path / "old.db")
        for number in range(4):
            await ana.send(f"ana {number}")
            await bo.send(f"bo {number}")
        await settle([ana, bo])
        lost = log_of(hub, ana.id)
        keys, hubs = identity(home).keys, identity(hub).keys
        core = ana._client._core(ana.id)
        await hub.stop_client("ana")
        await home.stop_relay()
        await put_back(hub, tmp_path / "old.db")
        await hub.start_relay()
        start, log = copy_head(hub, ana.id)
        gone = [row for row in lost if row.seq > start]
        ids = [peek(row.record).event_id for row in gone]
        for seq, event_id in enumerate(ids[:4], start=start + 1):
            log = log_hash(log, seq, event_id)
        head = sign_record(hubs.private, LogHead(1, ana.id, 0, start + 4, log, hub.now())).envelope

        async with dialling(hub, keys) as double:

            async def part(first: int, stop: int, *, at: int | None = None) -> frames.PeerFrame:
                entries = tuple(p for row in gone[first:stop] for p in (row.record, row.cell))
                begin = start + 1 + (first if at is None else at)
                return await refill(double, begin, head, b"".join(ids[first:]), entries, ana.id)

            assert isinstance(await part(0, 3), frames.Done)
            assert isinstance(await part(3, 6), frames.Done)  # past the head
            assert copy_head(hub, ana.id)[0] == start + 6
            assert isinstance(await part(7, 8, at=6), frames.Failure)
            assert isinstance(await part(6, 8, at=5), frames.Failure)
            async with open_raw(hub) as raw:
                await attach(raw, core, identity(hub).relay_id)
                word = evolve(event_of(core, hub.now()), counter=9)
                envelope = sign_record(core.mine.sign.private, word).envelope
                await raw.send(frames.Post(raw.rid(), ana.id, envelope, b"cell"))
                [refused] = await raw.expect(frames.Failure)
                assert refused.code == "try_again"
            assert isinstance(await part(6, 8), frames.Done)
            assert isinstance(await part(7, 8, at=8), frames.Failure)
        assert log_of(hub, ana.id) == lost
        await home.start_relay()
        ana = await again(hub, "ana")
        await until(lambda: ana.status is RoomStatus.ACTIVE)
        await ana.send("and on")
        await settle([ana, bo])


async def refill(
    double: Double, start: int, head: bytes, ids: bytes, entries: tuple[bytes, ...], room: object
) -> frames.PeerFrame:
    rid = double.rid()
    await double.send(frames.Refill(rid, room, start, head, ids, entries))  # type: ignore[arg-type]
    while True:
        for frame in double.seen:
            if isinstance(frame, frames.Failure | frames.Done) and frame.rid == rid:
                double.seen.remove(frame)
                return frame
        double.seen += double.session.receive_peer(await double.stream.receive())


EVENTS = int(os.environ.get("FEDERATION_EVENTS", "300"))
"""10,000 in `make soak`."""


RESTARTS = 3
"""Of each side, while the follower catches up."""


@pytest.mark.timeout(max(240, EVENTS // 4))
async def test_28_a_follower_an_hour_away_resumes_with_no_new_traffic(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Frames lost, links cut, both killed midway: byte-equal logs, nothing lost, nothing twice."""

    def in_pages(name: str, settings: Settings) -> Settings:
        limits = evolve(quickly(name, settings).limits, sync_page_events=max(8, EVENTS // 64))
        return evolve(settings, limits=limits)

    async with open_net(tmp_path, "hub", "home", change=in_pages) as (hub, home):
        ana, bo = await shared(hub, home)
        cai = await local(hub, ana, "cai")
        dan = await federated(hub, home, "dan", ana)
        rooms = [ana, bo, cai, dan]
        await settle(rooms)
        part(hub, home)
        words = ["queued meanwhile"]
        await say(bo, words[0])
        for number in range(EVENTS // 2):
            words += [f"a{number}", f"c{number}"]
            await say(ana, words[-2])
            await say(cai, words[-1])
        await hub.restart_relay()  # what follows comes from its disk
        await home.restart_relay()
        await trio.sleep(3600)
        road = BadRoad(hub, home, ana)
        rejoin(hub, home)
        await until(lambda: log_equal(hub, home, ana), seconds=8 * 3600)
        road.mend()
        await settle(rooms)
        agree(rooms, words)
        assert log_equal(hub, home, ana)
        copy = stored(home).replicas()[0]
        assert (copy.waiting, copy.frozen) == (0, "")


class BadRoad:
    """Between a hub and who follows it: pieces are lost, links are cut, and both are killed."""

    def __init__(self, hub: World, home: World, room: Room) -> None:
        self._chance = random.Random(28)
        self._hub, self._home, self._room = hub, home, room
        self._lines = [home.to_relays[hub.url], hub.to_relays[home.url]]
        start, end = (copy_head(world, room.id)[0] for world in (home, hub))
        steps = 2 * RESTARTS + 1
        self._deaths = [
            (start + (end - start) * step // steps, (home, hub)[step % 2])
            for step in range(1, steps)
        ]
        for line in self._lines:
            line.loses = lambda: self._chance.random() < 0.05
            line.delay = lambda: self._chance.random() / 10
            line.record = self._carried
            line.cut_after(100_000)

    def _carried(self, piece: bytes) -> None:
        if self._hub.daemon is None or self._home.daemon is None or not self._deaths:
            return
        seq, dying = self._deaths[0]
        if copy_head(self._home, self._room.id)[0] >= seq:
            del self._deaths[0]
            assert not log_equal(self._hub, self._home, self._room), "it is not midway any more"
            dying.kill_relay()
            for line in self._lines:
                line.cut_after(self._chance.randrange(1_000, 100_000))

    def mend(self) -> None:
        """All of it is over, and each of it did happen."""
        assert not self._deaths
        assert sum(line.lost for line in self._lines) >= RESTARTS
        assert sum(line.cuts for line in self._lines)
        for line in self._lines:
            line.loses = line.delay = line.record = None
            line.cut_after(None)


def log_equal(hub: World, home: World, room: object) -> bool:
    """The copy is the hub's log, byte by byte, from where it begins."""
    room_id = room.id  # type: ignore[attr-defined]
    if hub.daemon is None or home.daemon is None:
        return False
    if copy_head(hub, room_id) != copy_head(home, room_id):
        return False
    ours, theirs = log_of(home, room_id), log_of(hub, room_id)
    floor = stored(home).floor(room_id)
    return [row for row in ours if row.seq >= floor] == [r for r in theirs if r.seq >= floor]


async def test_who_waits_for_the_hub_before_waits_on_after_a_restart(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """A new hub that may have been put back orders nothing before the old one has spoken."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        await ana.move_hub(new.url)
        await settle([ana, bo])
        stored(new).commit([HubAwaited(ana.id, relay_of(old))])
        part(old, new)
        await new.restart_relay()
        end, _ = copy_head(new, ana.id)
        await say(bo, "and I")
        await trio.sleep(30)
        assert copy_head(new, ana.id)[0] == end
        rejoin(old, new)
        await settle([ana, bo])
        agree([ana, bo], ["and I"])
        assert awaited(new, ana) is None


def awaited(world: World, room: Room) -> RelayId | None:
    snapshot = stored(world).load_room(room.id)
    return None if snapshot is None else snapshot.awaits
