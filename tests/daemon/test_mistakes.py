"""A mistake of the relay's own costs the link it befell, and nobody else; and how a relay stops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
from trio.testing import MockClock

from ofcd.daemon.connection import Connection
from ofcd.daemon.feed import Feed
from ofcd.daemon.hub import Hub
from ofcd.daemon.lookups import Lookups
from ofcd.protocol import frames
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import RoomId
from ofcd.relay import Asked, Examined, Relay
from ofcd.session import RelaySession
from ofcd.testing import World, open_world
from tests.daemon.rawlink import Founder, RawLink, open_raw

POISON = RoomId(b"poison" + bytes(26))


class Bug(Exception):
    """What nobody foresaw."""


def hub(world: World) -> Hub:
    assert world.daemon is not None
    return world.daemon.hub


def mistakes(world: World) -> float:
    line = next(
        line
        for line in hub(world).metrics.render().decode().splitlines()
        if line.startswith("ofcd_internal_errors_total")
    )
    return float(line.split()[1])


async def ends(link: RawLink) -> str:
    """The code of the failure that ends the link."""
    while True:
        (failure,) = await link.expect(frames.Failure)
        if failure.rid == 0:
            return failure.code


async def test_a_mistake_in_checking_a_frame_ends_that_link_alone(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told `internal`; it is counted; who else is connected goes on, and nobody restarts."""
    examine = Relay.examine

    def bad(self: Relay, link: Any, asked: Asked, now: int) -> Examined:
        if asked.room == POISON:
            raise Bug
        return examine(self, link, asked, now)

    monkeypatch.setattr(Relay, "examine", bad)
    async with open_world(tmp_path) as world, open_raw(world) as honest, open_raw(world) as other:
        founder = Founder(world)
        await founder.come(honest)
        await other.send(frames.Detach(other.rid(), POISON))
        assert await ends(other) == Code.INTERNAL
        await founder.post(honest)
        assert mistakes(world) == 1


async def test_a_mistake_in_what_outlives_its_link_ends_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """One room's bug is not every room's: it is counted."""

    async def bad(*rooms: RoomId) -> None:
        raise Bug

    async with open_world(tmp_path) as world, open_raw(world) as honest:
        hub(world).start(bad, POISON)
        await trio.testing.wait_all_tasks_blocked()
        await Founder(world).come(honest)
        assert mistakes(world) == 1


async def test_after_a_mistake_in_deciding_only_what_is_stored_is_believed(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came before it in the same commit is kept; the room is loaded anew and goes on."""
    decide = Relay.decide

    def bad(self: Relay, link: Any, examined: Examined, now: int) -> Any:
        if isinstance(examined.frame, frames.Cursor):
            self._core.rooms[examined.frame.room].seq += 7  # half-done
            raise Bug
        return decide(self, link, examined, now)

    monkeypatch.setattr(Relay, "decide", bad)
    async with open_world(tmp_path) as world, open_raw(world) as honest, open_raw(world) as other:
        founder = Founder(world)
        await founder.come(honest)
        await founder.come(other)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(founder.post, honest)
            nursery.start_soon(other.send, frames.Cursor(founder.room, 0))
        assert await ends(other) == Code.INTERNAL
        ack = await founder.post(honest)
        assert ack.seq == 2
        assert mistakes(world) == 1


async def test_a_mistake_in_sending_ends_that_link_alone(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Delivery serves many links in turn: one that can not be served does not end it."""
    async with open_world(tmp_path) as world, open_raw(world) as honest, open_raw(world) as other:
        founder = Founder(world)
        for link in (honest, other):
            await founder.come(link)
            await link.send(frames.Sync(link.rid(), founder.room, 0))
            await link.expect(frames.Delivery)
        served = list(hub(world)._links)[1]
        assert isinstance(served, Connection)
        broken = served.session
        send = RelaySession.send

        def bad(self: RelaySession, sent: list[Any], *more: Any) -> bytes:
            if self is broken and any(b"delivery" in frame for frame in sent):
                raise Bug
            return send(self, sent, *more)

        monkeypatch.setattr(RelaySession, "send", bad)
        await founder.post(honest)
        assert await ends(other) == Code.INTERNAL
        await honest.expect(frames.Delivery)
        await founder.post(honest)
        assert mistakes(world) == 1


async def test_after_a_mistake_in_a_feed_its_readers_come_back_and_miss_nothing(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entry is stored and acknowledged, or not: what a reader resumes is what is stored."""
    async with open_world(tmp_path) as world:
        founder = Founder(world)
        async with open_raw(world) as reader:
            await founder.come(reader)
            await reader.send(frames.Sync(reader.rid(), founder.room, 0))
            await reader.expect(frames.Synced)

            def bad(self: Feed, *more: Any) -> None:
                raise Bug

            with monkeypatch.context() as patch, trio.move_on_after(60):
                patch.setattr(Feed, "append", bad)
                await founder.post(reader)
            assert await ends(reader) == Code.INTERNAL
        async with open_raw(world) as reader:
            await founder.come(reader)
            await reader.send(frames.Sync(reader.rid(), founder.room, 0))
            deliveries = await reader.expect(frames.Delivery, 2)
            assert [delivery.seq for delivery in deliveries] == [0, 1]


async def test_who_is_about_to_read_a_feed_that_failed_comes_back_too(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sync waits for the store just then: left alone it would read a feed that nobody fills."""
    async with open_world(tmp_path) as world, open_raw(world) as sender, open_raw(world) as reader:
        founder = Founder(world)
        await founder.come(sender)
        await founder.come(reader)
        asked, go_on = trio.Event(), trio.Event()
        synced = Lookups.synced

        async def slow(self: Lookups, effect: Any) -> Any:
            asked.set()
            await go_on.wait()
            return await synced(self, effect)

        def bad(self: Feed, *more: Any) -> None:
            raise Bug

        monkeypatch.setattr(Lookups, "synced", slow)
        await reader.send(frames.Sync(reader.rid(), founder.room, 0))
        await asked.wait()
        with monkeypatch.context() as patch:
            patch.setattr(Feed, "append", bad)
            await founder.post(sender)
        go_on.set()
        assert await ends(reader) == Code.INTERNAL


async def test_a_mistake_in_the_relays_own_work_ends_the_process(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can say what of its state is true: it fails loudly, and a start loads what is."""

    def bad(self: Relay, now: int) -> None:
        raise Bug

    monkeypatch.setattr(Relay, "tick", bad)
    with pytest.raises(ExceptionGroup) as failed:
        async with open_world(tmp_path):
            await trio.sleep(60)
    assert failed.value.subgroup(Bug)


async def test_the_log_says_where_a_mistake_was_made_and_nothing_of_what_was_sent(
    tmp_path: Path,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The traceback has the names of functions, no values: not the error's own words either."""

    def bad(self: Relay, link: Any, asked: Asked, now: int) -> Examined:
        raise Bug(repr(asked.room))

    from ofcd.daemon.log import configure

    configure("info", "text")
    try:
        async with open_world(tmp_path) as world, open_raw(world) as link:
            monkeypatch.setattr(Relay, "examine", bad)
            await link.send(frames.Detach(link.rid(), POISON))
            assert await ends(link) == Code.INTERNAL
    finally:
        structlog.reset_defaults()
    said = capsys.readouterr().err
    assert "in bad: raise Bug" in said
    assert "poison" not in said


async def test_a_relay_that_stops_says_so(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Each link, and who still comes, is told `shutting_down`; who does not read holds up nobody
    for longer than a goodbye takes."""
    async with open_world(tmp_path) as world, open_raw(world) as link:
        founder = Founder(world)
        await founder.come(link)
        ack = await founder.post(link)
        line = world.lines["silent"]
        async with open_raw(world, line):
            line.hold()
            began = trio.current_time()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(hub(world).stop)
                assert await ends(link) == Code.SHUTTING_DOWN
                async with open_raw(world) as late:
                    assert await ends(late) == Code.SHUTTING_DOWN
            assert trio.current_time() - began < 10
        assert ack.seq == 1
