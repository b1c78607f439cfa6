"""A follower that was away for longer than its hub keeps anything."""

from __future__ import annotations

from pathlib import Path
from typing import TypeGuard

import pytest
import trio
from attrs import evolve

from ofcd.client import HistoryGap, LinkStateChanged
from ofcd.config import Settings
from ofcd.daemon.peers import copies, gaps
from ofcd.protocol import frames, limits
from ofcd.protocol.frames import decode_client_frame, encode_frame
from ofcd.protocol.ids import Hash32, RoomId, log_hash
from ofcd.protocol.records import LogHead
from ofcd.relay import room_log
from ofcd.store import reader, retention
from ofcd.testing import World, open_net
from ofcd.themis import generate_keypair
from ofcd.themis.signed import peek, sign_record
from tests.federation.double import (
    Double,
    dialling,
    quickly,
    rejoin,
    say,
    shared,
    shared_by_three,
)
from tests.federation.test_hostile import Scene, copy_head, hub_gone_bad, log_of
from tests.world.scene import settle, stored, texts, told, until


def forgetful(name: str, settings: Settings) -> Settings:
    """A hub that keeps three messages a room; the other relay keeps all."""
    settings = quickly(name, settings)
    if name != "hub":
        return settings
    return evolve(settings, storage=evolve(settings.storage, max_events_per_room=3))


def away(hub: World, home: World) -> None:
    home.to_relays[hub.url].up = False
    home.cut_links()
    hub.cut_links()


async def test_a_copy_goes_on_after_what_its_hub_no_longer_keeps(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Members learn of the gap, the operator too, and talk goes on; a new key is not missed."""
    async with open_net(tmp_path, "hub", "home", change=forgetful) as (hub, home):
        ana, bo = await shared(hub, home)
        await say(ana, "before")
        await settle([ana, bo])
        events = bo._client.events()
        away(hub, home)
        for number in range(6):
            await say(ana, f"lost {number}")
        await ana.rotate()
        for number in range(6):
            await say(ana, f"kept {number}")
        await trio.sleep(200)  # retention runs
        kept = stored(hub).floor(ana.id)
        before, _ = copy_head(home, ana.id)
        assert kept > before + 1
        home.to_relays[hub.url].up = True
        await until(lambda: copy_head(home, ana.id) == copy_head(hub, ana.id), seconds=1200)
        await settle([ana, bo])
        assert texts(bo) == ["before", "kept 3", "kept 4", "kept 5"]
        [gap] = [event for event in told(events) if isinstance(event, HistoryGap)]
        assert (gap.room, gap.start, gap.end) == (ana.id, before + 1, kept)
        await bo.send("and on")
        await ana.send("and on too")
        await settle([ana, bo])
        assert texts(bo)[-2:] == texts(ana)[-2:] == ["and on", "and on too"]
        [told_of] = stored(home).gaps()
        assert (told_of.room, told_of.first, told_of.last) == (ana.id, before + 1, kept - 1)
        assert stored(home).evidence() == []
        now = stored(hub).floor(ana.id)
        theirs = [row for row in log_of(hub, ana.id) if row.seq >= now]
        assert [row for row in log_of(home, ana.id) if row.seq >= now] == theirs
        await home.restart_relay()
        await ana.send("after a restart")
        await settle([ana, bo])
        assert home.daemon is not None
        assert b"ofcd_peer_gaps 1.0" in home.daemon.hub.metrics.render()


async def test_what_was_said_in_the_gap_is_said_once_and_who_left_in_it_is_gone(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub has Bo's words, but no longer the answer; meanwhile it was told to evict Cai."""
    for module in (room_log, retention, reader):
        monkeypatch.setattr(module, "RECENT_ENTRIES", 4)
    async with open_net(tmp_path, "hub", "home", change=forgetful) as (hub, home):
        ana, bo, cai = await shared_by_three(hub, home, home)
        home.to_relays[hub.url].hold()
        await say(bo, "one", "two")
        await until(lambda: texts(ana) == ["one", "two"])
        away(hub, home)
        await ana.evict(cai.me)
        for number in range(8):
            await say(ana, f"ana {number}")
        await trio.sleep(200)
        home.to_relays[hub.url].release()
        home.to_relays[hub.url].up = True
        await until(lambda: copy_head(home, ana.id) == copy_head(hub, ana.id), seconds=1200)
        await until(lambda: cai.status.value == "evicted")
        await bo.send("three")
        await settle([ana, bo])
        assert bo.outbox() == []
        said = [text for text in texts(ana) if not text.startswith("ana")]
        assert said == ["one", "two", "three"]
        assert stored(home).replicas()[0].waiting == 0


@pytest.mark.parametrize("is_busy", [False, True])
async def test_what_a_copy_had_before_a_gap_is_read_by_who_had_not_read_it(
    tmp_path: Path, autojump_clock: trio.abc.Clock, is_busy: bool
) -> None:
    """Bo slept through it all: all that is here comes, the gap is told, and talk goes on."""
    async with open_net(tmp_path, "hub", "home", change=forgetful) as (hub, home):
        ana, bo, cai = await shared_by_three(hub, home, home)
        await home.stop_client("bo")
        await say(ana, "one", "two")
        await settle([ana, cai])
        before, _ = copy_head(home, ana.id)
        away(hub, home)
        await say(ana, *(f"lost {number}" for number in range(6)))
        await ana.rotate()
        await say(ana, "three", "four", "five")
        await trio.sleep(200)  # retention runs
        rejoin(hub, home)
        await until(lambda: copy_head(home, ana.id) == copy_head(hub, ana.id), seconds=1200)
        floor = stored(hub).floor(ana.id)
        [hole] = stored(home).holes(ana.id)
        assert (hole.first, hole.next) == (before + 1, floor)
        assert stored(home).floor(ana.id) < before, "no retention here"
        if is_busy:  # others read the end of it, from memory
            await settle([ana, cai])
            await say(ana, "six")
            await settle([ana, cai])
            assert home.daemon is not None
            lookups = home.daemon.hub.lookups  # and bo reads it bit by bit
            lookups._limits = evolve(lookups._limits, page_events=1)
        else:
            await home.restart_relay()
        client = await home.client("bo")
        events, [bo] = client.events(), client.rooms
        await settle([ana, bo, cai])
        assert texts(bo) == texts(cai)
        assert texts(bo)[:5] == ["one", "two", "three", "four", "five"]
        heard = told(events)
        ends = [event.detail for event in heard if isinstance(event, LinkStateChanged)]
        assert not [end for end in ends if end.endswith("gap")], "it was told of before it came"
        [gap] = [event for event in heard if isinstance(event, HistoryGap)]
        assert (gap.start, gap.end) == (before + 1, floor)
        await bo.send("and on")
        await settle([ana, bo, cai])
        assert texts(ana)[-1] == texts(cai)[-1] == "and on"


class Gone:
    """The hub of the copy says that it no longer keeps what comes first."""

    def __init__(self, scene: Scene, double: Double) -> None:
        self.scene = scene
        self.double = double
        self.left = scene.rows[2:]
        self.seq, self.log = scene.state()
        for row in scene.rows[:2]:
            self.log = log_hash(self.log, row.seq, peek(row.record).event_id)

    async def tell(self, log: Hash32 | None = None, *, signed: bool = True) -> None:
        """The answer to `Follow`, and the LOG_HEAD that goes with it."""
        room, floor, log = self.scene.room, self.left[0].seq, log or self.log
        asked = await self.double.expect(frames.Follow, lambda f: f.room == room)
        head = self.left[-1].seq
        synced = frames.Synced(asked.rid, room, asked.start, floor, log, head)
        await self.double.send(synced)
        if signed:
            await self.scene.head(self.double, *self.end)

    @property
    def end(self) -> tuple[int, Hash32]:
        """Where the true log of the hub ends."""
        log = self.log
        for row in self.left:
            log = log_hash(log, row.seq, peek(row.record).event_id)
        return self.left[-1].seq, log

    @property
    def last(self) -> tuple[int, bytes]:
        """The copy's last control record."""
        snapshot = stored(self.scene.home).load_room(self.scene.room)
        assert snapshot is not None
        return snapshot.chain[-1].seq, snapshot.chain[-1].record

    async def show(self, *records: tuple[int, bytes]) -> None:
        """The control log, as it is asked for: from the copy's last record on."""
        asked = await self.double.expect(frames.LaneAsk)
        get = decode_client_frame(asked.frame)
        assert isinstance(get, frames.ChainGet)
        assert get.start == self.last[0]
        seqs, envelopes = zip(*records, strict=True) if records else ((), ())
        page = frames.ChainPage(get.rid, self.scene.room, seqs, False, envelopes)
        await self.double.send(frames.LaneTell(asked.lane, encode_frame(page)))

    async def go_on(self) -> None:
        """Follow on from the floor, as asked for then."""
        asked = await self.double.expect(frames.Follow, lambda f: f.start == self.left[0].seq)
        room, start = self.scene.room, asked.start
        assert asked.log is not None
        synced = frames.Synced(asked.rid, room, start, start, asked.log, self.left[-1].seq)
        await self.double.send(synced)
        await self.scene.deliver(self.double, *self.left)


async def test_what_comes_before_the_gap_is_understood_is_no_fault_of_the_hubs(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Deliveries of the first wish are passed over; those of the second are taken."""
    async with hub_gone_bad(tmp_path) as (scene, double):
        gone = Gone(scene, double)
        await gone.tell()
        for row in gone.left:
            await scene.deliver(double, row)
        await gone.show(gone.last)
        await gone.go_on()
        await double.expect(frames.Cursor, lambda c: c.seq == gone.left[-1].seq)
        assert stored(scene.home).evidence() == []


async def test_what_waits_is_sent_after_the_gap_not_before(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Before, the hub could only refuse it, and it went back to its sender for nothing."""
    async with hub_gone_bad(tmp_path) as (scene, double):
        gone = Gone(scene, double)
        await say(scene.bo, "mine")

        def posts() -> list[frames.ClientFrame]:
            asked = [decode_client_frame(f.frame) for f in double.seen if lane_ask(f)]
            return [frame for frame in asked if isinstance(frame, frames.Post)]

        await until(lambda: stored(scene.home).replicas()[0].waiting == 1)
        await gone.tell()
        await gone.show(gone.last)
        assert posts() == []
        await gone.go_on()
        post = await double.expect(frames.LaneAsk)
        assert isinstance(decode_client_frame(post.frame), frames.Post)


def lane_ask(frame: frames.PeerFrame) -> TypeGuard[frames.LaneAsk]:
    return isinstance(frame, frames.LaneAsk)


async def test_a_false_hash_at_the_floor_is_proven_by_the_next_who_speaks(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Cai has signed what she was shown up to there: the room stands still."""
    async with hub_gone_bad(tmp_path) as (scene, double):
        gone = Gone(scene, double)
        await gone.tell(Hash32(b"\x07" * 32))
        await gone.show(gone.last)
        await gone.go_on()
        await until(lambda: [e.code for e in stored(scene.home).evidence()] == ["fork"])
        assert scene.state()[0] == gone.left[0].seq - 1


async def test_a_hub_that_shows_no_control_log_of_the_gap_is_asked_again_later(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy stays where it is; and who shows a forged one is in quarantine."""
    monkeypatch.setattr(copies, "_AFTER_REFUSAL", 10.0)
    async with hub_gone_bad(tmp_path) as (scene, double):
        gone = Gone(scene, double)
        before = scene.state()
        await gone.tell()
        await gone.show()
        await gone.tell()  # it is asked again, some time later
        at, record = gone.last
        forged = sign_record(generate_keypair().private, peek(record).record).envelope
        await gone.show((at, record), (gone.seq + 1, forged))
        await until(lambda: any(p.state == "quarantined" for p in stored(scene.home).peers()))
        assert scene.state() == before
        assert stored(scene.home).gaps() == []


async def test_a_hub_that_forgets_again_at_once_is_followed_on_later(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each gap costs a reading of the control log: three in ten minutes, as of a busy hub."""
    monkeypatch.setattr(copies, "_AFTER_REFUSAL", 10.0)
    async with hub_gone_bad(tmp_path) as (scene, double):
        gone = Gone(scene, double)
        before = trio.current_time()
        await gone.tell()
        for _ in range(2):
            await gone.show(gone.last)
            gone.log = log_hash(gone.log, gone.left[0].seq, peek(gone.left[0].record).event_id)
            del gone.left[0]
            await gone.tell()
        await gone.show(gone.last)
        assert trio.current_time() - before < 10
        asked = await double.expect(frames.Follow, lambda f: f.start == gone.left[0].seq)
        assert asked.log is not None
        floor, before = asked.start + 1, trio.current_time()
        synced = frames.Synced(asked.rid, scene.room, asked.start, floor, asked.log, floor)
        await double.send(synced)
        await double.expect(frames.Follow)
        assert trio.current_time() - before >= 10
        assert len(stored(scene.home).gaps()) == 3


async def test_no_floor_is_believed_that_the_hub_does_not_sign(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not one after its end; no LOG_HEAD before it, or of a stranger's, shows that it was there."""
    monkeypatch.setattr(copies, "_AFTER_REFUSAL", 10.0)
    monkeypatch.setattr(gaps, "_SECONDS", 20)
    async with hub_gone_bad(tmp_path) as (scene, double):
        gone, room = Gone(scene, double), scene.room
        before = scene.state()
        asked = await double.expect(frames.Follow, lambda f: f.room == room)
        head = asked.start + 5
        far = frames.Synced(asked.rid, room, asked.start, limits.INT_MAX, gone.log, head)
        await double.send(far)
        await gone.tell(signed=False)
        await scene.head(double, gone.left[0].seq - 2, gone.log)
        await gone.show(gone.last)
        await gone.tell(signed=False)
        assert scene.state() == before
        assert stored(scene.home).gaps() == []
        await gone.show(gone.last)
        await scene.head(double, *gone.end)
        await gone.go_on()
        await double.expect(frames.Cursor, lambda c: c.seq == gone.left[-1].seq)
        [gap] = stored(scene.home).gaps()
        signed = peek(gap.head).record
        assert isinstance(signed, LogHead)
        assert (signed.seq, signed.log) == gone.end


async def test_a_room_that_was_numbered_to_its_end_holds_up_no_other(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Its hub signed that it has so many entries: nothing can follow, and the link lasts."""
    async with hub_gone_bad(tmp_path) as (scene, double):
        gone, room = Gone(scene, double), scene.room
        end = limits.INT_MAX
        asked = await double.expect(frames.Follow, lambda f: f.room == room)
        await double.send(frames.Synced(asked.rid, room, asked.start, end, gone.log, end))
        await scene.head(double, end - 1, gone.log)
        await gone.show(gone.last)
        asked = await double.expect(frames.Follow, lambda f: f.start == end)
        await double.send(frames.Synced(asked.rid, room, end, 0, gone.log, end))
        row = scene.rows[0]
        await double.send(frames.Delivery(room, end, row.record, row.cell))
        await double.expect(frames.Cursor, lambda c: c.seq == end)
        async with dialling(scene.home, scene.keys) as again:
            await trio.sleep(30)
            assert await again.follow(RoomId(bytes(32)), 0) is not None
            assert not [f for f in again.seen if isinstance(f, frames.Follow)]
