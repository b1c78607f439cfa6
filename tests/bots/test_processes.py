"""Bots as they are run for good: several at once, metrics, invites, processes of their own."""

from __future__ import annotations

import os
import signal
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import psutil
import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from bots.isolation import Orders, supervise
from bots.metrics import Metrics
from bots.settings import BotSettings
from ofcd.client import Room
from tests.bots.processes import PATIENCE, Process, answer, bot_link, ofc_bot, person
from tests.cli.support import relay

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(120)]

SICK = """
import os

import trio
from bots import Bot, Context

bot = Bot("sick")


@bot.command()
async def spin(ctx: Context) -> None:
    "Never come back."
    while True:
        pass


@bot.command()
async def hoard(ctx: Context) -> None:
    "Ask for too much memory."
    ctx.bot.options["hoard"] = bytearray(2 * 1024**3)


@bot.command()
async def quit(ctx: Context) -> None:
    "Take the whole process along."
    os._exit(3)


@bot.on_stop
async def linger(ctx: Context) -> None:
    await trio.sleep(ctx.bot.options.get("linger", 0))


@bot.command()
async def well(ctx: Context) -> None:
    "Answer."
    await ctx.reply("well")
"""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A relay's."""
    config = tmp_path / "config.toml"
    config.write_text('[relay]\nport = 0\ndata_dir = "var"\n')
    with relay("--config", config) as running:
        yield running.url


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


async def page(port: int) -> dict[tuple[str, str], float]:
    """The metrics page, by name and bot. It has to be well-formed: each family once."""

    def read() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answered:
            text: str = answered.read().decode()
            return text

    text = await trio.to_thread.run_sync(read)
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families)
    samples = [sample for family in families for sample in family.samples]
    return {(s.name, s.labels.get("bot", "")): s.value for s in samples}


def bot_settings(name: str, code: str | Path, link: str = "", more: str = "") -> str:
    """One [[bot]]."""
    join = [link] if link else []
    return (
        f'[[bot]]\ncode = "{code}"\nvault = "{name}.vault"\nkey_file = "{name}.key"\n'
        f"join = {join}\n{more}\n"
    )


def children(process: Process) -> list[psutil.Process]:
    """The processes of isolated bots."""
    return list(psutil.Process(process.process.pid).children())


async def test_several_bots_one_of_them_apart_share_one_run_and_one_page(
    url: str, tmp_path: Path
) -> None:
    """Two bots in the process, one in its own: all answer, all are on the page, all stop."""
    port = free_port()
    async with person(url, tmp_path) as room:
        settings = "".join(
            [
                bot_settings("one", "plugin:echo", await bot_link(room)),
                bot_settings("two", "bots.shelf.dice", await bot_link(room)),
                bot_settings(
                    "three", _sick(tmp_path), await bot_link(room), 'isolation = "process"'
                ),
                f"[metrics]\nport = {port}\n",
            ]
        )
        with ofc_bot(tmp_path, settings) as running:
            await running.logged("joined a room", 3)
            for line in ("!echo hello", "!roll", "!well"):
                await room.send(line)
            assert await answer(room, "hello") == "hello"
            assert await answer(room, "1d6")
            assert await answer(room, "well")
            wanted = {("bot_handled_total", name) for name in ("echo", "dice", "sick")}
            with trio.fail_after(PATIENCE):
                while not wanted <= set(found := await page(port)):  # noqa: ASYNC110
                    await trio.sleep(0.2)
            assert [found[one] for one in sorted(wanted)] == [1.0, 1.0, 1.0]
            [child] = children(running)
            assert await running.stop() == 0
            assert not child.is_running()


async def test_a_refused_invite_is_logged_once_and_not_tried_again(
    url: str, tmp_path: Path
) -> None:
    """One of two links is cancelled: the log says so, and the other room is served."""
    async with person(url, tmp_path) as room, _second_room(url, tmp_path) as other:
        cancelled = await room.invite()
        await room.close_invite(cancelled.invite_id)
        links = [cancelled.link(), await bot_link(other)]
        settings = f'[[bot]]\ncode = "bots.shelf.echo"\njoin = {links}\n'
        with ofc_bot(tmp_path, settings) as running:
            await running.logged("could not join a room; ask for a new invite")
            await running.logged("joined a room")
            await other.send("!echo still here")
            await answer(other, "still here")
            [line] = running.lines("could not join a room; ask for a new invite")
            assert line["code"]
            assert links[0] not in running.log.read_text()
            assert await running.stop() == 0


async def test_an_evicted_bot_comes_back_by_a_new_link_and_not_by_the_old(
    url: str, tmp_path: Path
) -> None:
    """Its vault, which knows the room and the used invite, is no reason to pass over a new one."""
    async with person(url, tmp_path) as room:
        links = [await bot_link(room)]
        settings = '[[bot]]\ncode = "bots.shelf.echo"\njoin = {}\n'
        with ofc_bot(tmp_path, settings.format(links)) as running:
            await running.logged("joined a room")
            [bot] = [one for one in room.members() if not one.is_me]
            await room.evict(bot.mid)
            await running.logged("evicted from a room: nothing is tried there any more")
            assert await running.stop() == 0
        links.append(await bot_link(room))
        with ofc_bot(tmp_path, settings.format(links)) as running:
            await running.logged("joined a room")
            await room.send("!echo back again")
            assert await answer(room, "back again")
            assert running.lines("could not join a room; ask for a new invite") == []
            assert await running.stop() == 0


async def test_one_that_spins_is_ended_given_up_and_the_rest_is_answered(
    url: str, tmp_path: Path
) -> None:
    """Its process stands still, is started again, and gives the command up after three lives."""
    more = 'isolation = "process"\nstall_limit = 2.0'
    async with person(url, tmp_path) as room:
        settings = bot_settings("sick", _sick(tmp_path), await bot_link(room), more)
        with ofc_bot(tmp_path, settings) as running:
            await running.logged("joined a room")
            await room.send("!spin")
            await room.send("!well")
            assert "went wrong" in await answer(room, "Sorry")
            assert await answer(room, "well")
            ended = running.lines("its process ended")
            assert len(ended) == 3
            assert all("stood still for 2 s" in line["why"] for line in ended)
            assert [line["again_in"] for line in ended] == sorted(
                line["again_in"] for line in ended
            )
            assert await running.stop() == 0


async def test_one_that_exits_by_itself_is_given_up_too(url: str, tmp_path: Path) -> None:
    """Whatever its exit code says: nobody told it to end, and it did while this was handled."""
    async with person(url, tmp_path) as room:
        settings = bot_settings(
            "sick", _sick(tmp_path), await bot_link(room), 'isolation = "process"'
        )
        with ofc_bot(tmp_path, settings) as running:
            await running.logged("joined a room")
            await room.send("!quit")
            assert "went wrong" in await answer(room, "Sorry")
            await room.send("!well")
            assert await answer(room, "well")
            ended = running.lines("its process ended")
            assert [line["why"].partition(":")[0] for line in ended] == ["exit code 3"] * 3
            assert await running.stop() == 0


async def test_one_that_wants_too_much_memory_gets_an_error_and_lives_on(
    url: str, tmp_path: Path
) -> None:
    """Two gibibytes of a quarter: `MemoryError` in the handler, an apology, and the next answer."""
    more = 'isolation = "process"\nmemory_limit = 256'
    async with person(url, tmp_path) as room:
        settings = bot_settings("sick", _sick(tmp_path), await bot_link(room), more)
        with ofc_bot(tmp_path, settings) as running:
            await running.logged("joined a room")
            await room.send("!hoard")
            assert await answer(room, "Sorry")
            await room.send("!well")
            assert await answer(room, "well")
            assert "MemoryError" in running.log.read_text()
            assert running.lines("its process ended") == []
            assert await running.stop() == 0


async def test_a_child_outlives_neither_its_parent_nor_an_order_to_stop(tmp_path: Path) -> None:
    """The parent dies by SIGKILL: its child notices, and stops by itself."""
    settings = bot_settings("sick", _sick(tmp_path), "", 'isolation = "process"')
    with ofc_bot(tmp_path, settings) as running:
        await running.logged("running")
        [child] = children(running)
        os.kill(running.process.pid, signal.SIGKILL)
        assert await trio.to_thread.run_sync(child.wait, PATIENCE) in (0, None)


async def test_a_child_that_is_signalled_twice_still_stops_in_order(tmp_path: Path) -> None:
    """As a service manager does it: everybody gets SIGTERM, and the parent hands its own on."""
    more = 'isolation = "process"\n[bot.options]\nlinger = 1'
    with ofc_bot(tmp_path, bot_settings("sick", _sick(tmp_path), "", more)) as running:
        await running.logged("running")
        [child] = children(running)
        for _ in range(2):
            child.terminate()
            await trio.sleep(0.3)
        [ended] = await running.logged("its process ended")
        assert ended["why"].startswith("exit code 0")
        assert await running.stop() == 0


async def test_code_that_does_not_load_is_tried_again_with_longer_pauses(tmp_path: Path) -> None:
    """It never takes the parent down; each pause is longer; a stop in a pause is a stop."""
    (tmp_path / "bad.py").write_text("1/0")
    orders = Orders(BotSettings(str(tmp_path / "bad.py"), isolation="process"))
    metrics, stop = Metrics(), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervise, orders, metrics, stop)
        with trio.fail_after(PATIENCE):
            while b"bot_restarts_total{" not in metrics.render():  # noqa: ASYNC110
                await trio.sleep(0.05)
        stop.set()


def test_a_child_that_reports_nonsense_does_not_break_the_page() -> None:
    """What is no metric is passed over; what it reported before stays."""
    metrics, child = Metrics(), Metrics()
    metrics.lag.labels("one").set_function(lambda: 1)
    child.lag.labels("two").set_function(lambda: 2)
    metrics.malformed.labels("one").inc()
    child.malformed.labels("two").inc()
    metrics.put_child("child", child.render().decode())
    metrics.put_child("child", 'bot_lag{bot="x" 1 2 3 nonsense')
    for _ in range(2):
        shown = metrics.render().decode()
        assert shown.count("# TYPE bot_cursor_lag_entries gauge") == 1
        assert 'bot_cursor_lag_entries{bot="two"} 2.0' in shown
        names = [line.split()[2] for line in shown.splitlines() if line.startswith("# TYPE")]
        assert len(set(names)) == len(names)
    metrics.put_child("child", "")
    assert b'"two"' not in metrics.render()


def _sick(folder: Path) -> Path:
    (folder / "sick.py").write_text(SICK)
    return folder / "sick.py"


def _second_room(url: str, folder: Path) -> AbstractAsyncContextManager[Room]:
    (folder / "second").mkdir()
    return person(url, folder / "second")
