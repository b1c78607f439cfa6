"""What the relay does while nobody asks, and what /healthz says when it can not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from ofcd import config
from ofcd.client import Room
from ofcd.config import Settings
from ofcd.daemon.run import Daemon
from ofcd.store import DiskFull, Store
from ofcd.testing import World, open_world
from tests.wire.helpers import ask


async def page(daemon: Daemon, path: str) -> tuple[int, str]:
    """Status and body of one of the relay's pages, over its own port in memory."""
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(daemon.serve_stream, theirs)
        answer = await ask(ours, f"GET {path} HTTP/1.1\r\nHost: r\r\n\r\n".encode())
        await ours.aclose()
    head, _, body = answer.decode().partition("\r\n\r\n")
    return int(head.split()[1]), body


async def health(world: World) -> tuple[int, str]:
    assert world.daemon is not None
    return await page(world.daemon, "/healthz")


def keeping(**storage: int) -> Callable[[Settings], Settings]:
    return lambda s: attrs.evolve(s, storage=config.Storage(**storage))  # type: ignore[arg-type]


@asynccontextmanager
async def room_of_one(
    folder: Path, change: Callable[[Settings], Settings] | None = None
) -> AsyncIterator[tuple[World, Daemon, Room]]:
    async with open_world(folder, change) as world:
        ana = await world.client("ana")
        room = await ana.create_room(world.url, "tea", my_name="Ana")
        assert world.daemon is not None
        yield world, world.daemon, room


def stored(daemon: Daemon) -> int:
    (room,) = daemon.store.rooms()
    return room.events


async def test_retention_runs_once_a_minute(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    """Only the latest messages stay, as many as the settings say; the relay goes on."""
    async with room_of_one(tmp_path, keeping(max_events_per_room=3)) as (world, daemon, room):
        for number in range(10):
            await room.send(f"{number}")
        before = stored(daemon)
        assert before >= 10
        await trio.sleep(62)
        assert stored(daemon) == 3
        await room.send("one more")
        assert await health(world) == (200, "ok\n")


async def test_without_retention_everything_stays(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """The default."""
    async with room_of_one(tmp_path) as (_, daemon, room):
        for number in range(10):
            await room.send(f"{number}")
        before = stored(daemon)
        await trio.sleep(200)
        assert stored(daemon) == before


def is_due(daemon: Daemon) -> bool:
    return daemon.store.checkpoint_due


async def test_checkpoints_run_when_due(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a second or so. A failing one is shown, without a word of where the database is,
    tried again, and forgotten once it works."""
    works = Store.checkpoint

    def fails(store: Store) -> None:
        raise DiskFull(f"{tmp_path}/ofcd.db: no space is left; a secret of the operator's")

    async with room_of_one(tmp_path) as (world, daemon, room):
        monkeypatch.setattr("ofcd.store.writer._CHECKPOINT_BYTES", 100_000)
        await room.send("x" * 20_000)
        await room.send("x" * 20_000)
        await trio.sleep(2)
        assert not is_due(daemon)
        monkeypatch.setattr(Store, "checkpoint", fails)
        while not is_due(daemon):
            await room.send("x" * 20_000)
        await trio.sleep(2)
        assert await health(world) == (503, "no space is left for the database\n")
        await trio.sleep(60)
        assert (await health(world))[0] == 503
        monkeypatch.setattr(Store, "checkpoint", works)
        await trio.sleep(2)
        assert await health(world) == (200, "ok\n")
        assert not is_due(daemon)


class Wakes(trio.abc.Instrument):
    """Counts how often the task that keeps checkpoints runs a step."""

    def __init__(self) -> None:
        self.steps = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += "housekeeping" in task.name


async def test_house_keeping_sleeps_while_nobody_writes(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """It waits for a commit that makes a checkpoint due, not for the next second."""
    async with room_of_one(tmp_path):
        await trio.sleep(5)
        wakes = Wakes()
        trio.lowlevel.add_instrument(wakes)
        await trio.sleep(600)
        trio.lowlevel.remove_instrument(wakes)
        assert wakes.steps == 0


async def test_failing_retention_is_shown_until_it_works(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only for the moment between two tries."""
    works = Store.apply_retention

    def fails(*_: object) -> None:
        raise DiskFull("no space is left for the database")

    async with room_of_one(tmp_path, keeping(max_events_per_room=1)) as (world, daemon, room):
        await room.send("1")
        await room.send("2")
        monkeypatch.setattr(Store, "apply_retention", fails)
        await trio.sleep(90)
        assert (await health(world))[0] == 503
        monkeypatch.setattr(Store, "apply_retention", works)
        await trio.sleep(62)
        assert await health(world) == (200, "ok\n")
        assert stored(daemon) == 1


async def test_a_full_database_is_shown_and_recovers(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """A commit that does not fit is refused and shown; what was refused goes through once there is
    space again, without a restart."""
    async with room_of_one(tmp_path) as (world, daemon, room):
        await room.send("before")
        limit_pages(daemon, more=2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(room.send, "x" * 30_000)
            seen = set()
            for _ in range(20):  # what fits, a moved cursor, still works in between
                await trio.sleep(0.1)
                seen.add(await health(world))
            assert {status for status, _ in seen} >= {503}
            assert any("no space is left for the database" in sentence for _, sentence in seen)
            failures = (await page(daemon, "/metrics"))[1]
            assert "ofcd_commit_failures_total 0.0" not in failures
            limit_pages(daemon, more=1_000_000)
        assert await health(world) == (200, "ok\n")
        assert "x" * 30_000 in [message.text for message in room.messages()]


def limit_pages(daemon: Daemon, more: int) -> None:
    """Let the database grow by this many pages and no further, as a full disk would."""
    with daemon.store._writer.connection() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + more}")
        connection.rollback()
