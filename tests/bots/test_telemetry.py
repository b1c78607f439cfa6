"""What a running bot tells its operator: true figures, and a log without anyone's words."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from typing import Literal

import pytest
import structlog
import trio
from prometheus_client.parser import text_string_to_metric_families
from trio.testing import MockClock

from bots import Bot, Context, Key, Message, Tick
from bots.cli import _parser
from bots.limits import Rate
from bots.log import configure
from bots.testing import BotWorld
from tests.cli.support import ROOT

SECRETS = ("xyzzy-words", "xyzzy-argument", "xyzzy-memory", "xyzzy-payload")


@pytest.fixture
def log() -> Iterator[None]:
    """The log as a bot's process sets it up, and nothing of it afterwards."""
    yield
    structlog.reset_defaults()


def noisy_bot() -> Bot:
    """Fails in every way it can, with words in its hands."""
    bot = Bot("noisy")
    kept = Key("kept", str, "")

    @bot.command(tries=2)
    async def crack(ctx: Context, word: str) -> None:
        """Raise, with words in the error, in a group, and in the local variables."""
        ctx.memory.room[kept] = "xyzzy-memory"
        words = [word]
        try:
            raise ValueError(f"bad: {word}")
        except ValueError as error:
            raise ExceptionGroup(f"all bad: {words}", [error, KeyError(word)]) from error

    @bot.command(timeout=2)
    async def hang(ctx: Context, word: str) -> None:
        """Hang."""
        await trio.sleep_forever()

    @bot.command()
    async def long(ctx: Context, word: str) -> None:
        """Say too much."""
        await ctx.reply(word * 10_000)

    @bot.on(Message)
    async def hear(ctx: Context, message: Message) -> None:
        ctx.log.info("heard something", message=message, seq=message.seq)

    @bot.timer()
    async def later(ctx: Context, tick: Tick) -> None:
        raise RuntimeError(tick.payload)

    @bot.command()
    async def soon(ctx: Context, word: str) -> None:
        """Set a timer that fails."""
        ctx.once(later, ctx.now + 1_000, "xyzzy-payload")

    return bot


@pytest.mark.parametrize("form", ["json", "text"])
async def test_the_log_holds_nobodys_words(
    form: Literal["json", "text"],
    world: BotWorld,
    autojump_clock: MockClock,
    log: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """At its most talkative, whatever goes wrong: names of handlers, codes, lines; no text."""
    configure("debug", form)
    bot = noisy_bot()
    alice = await world.member("alice")
    room = await world.room(alice, bot)
    for text in (
        "xyzzy-words",
        "!crack xyzzy-argument",
        "!hang xyzzy-argument",
        "!long xyzzy-argument",
        "!soon xyzzy-argument",
        "!crack 'xyzzy-argument",
        "!crak xyzzy-argument",
        "!crack xyzzy-argument and more",
    ):
        await alice.say(text)
        await room.quiet(60)
    await world.crash_and_restart(bot)
    await world.stop(bot)
    written = capsys.readouterr().err
    for wanted in ("handler failed", "handler given up", "HandlerTimeout", "RuntimeError"):
        assert wanted in written
    assert [word for word in SECRETS if word in written] == []
    if form == "json":
        lines = [json.loads(line) for line in written.splitlines()]
        assert all({"event", "level", "timestamp", "bot"} <= set(line) for line in lines)


def figures(world: BotWorld, name: str, bot: Bot) -> float:
    """A figure of the metrics page, all its labels together."""
    families = text_string_to_metric_families(world.metrics.render().decode())
    samples = (sample for family in families for sample in family.samples)
    return sum(s.value for s in samples if s.name == name and s.labels.get("bot") == bot.name)


async def test_figures_are_true(world: BotWorld, autojump_clock: MockClock) -> None:
    """Lag while a handler works and after it, time, outcomes, dead letters, what was dropped."""
    bot = Bot("measured")

    @bot.on(Message)
    async def slow(ctx: Context, message: Message) -> None:
        await trio.sleep(10)  # and says nothing

    @bot.command(tries=1)
    async def crack(ctx: Context) -> None:
        """Break."""
        raise ValueError

    alice = await world.member("alice")
    room = await world.room(alice, bot)
    await room.quiet()
    assert figures(world, "bot_cursor_lag_entries", bot) == 0
    for number in range(4):
        await alice.say(f"n{number}")
    await world.pass_time(15)
    assert figures(world, "bot_cursor_lag_entries", bot) == 3, "the second is in hand"
    await world.pass_time(60)
    assert figures(world, "bot_cursor_lag_entries", bot) == 0, "though it said nothing since"
    assert figures(world, "bot_handled_total", bot) == 4
    assert figures(world, "bot_handler_seconds_sum", bot) == pytest.approx(40)
    await alice.say("!crack")
    await room.quiet()
    assert figures(world, "bot_dead_letters_total", bot) == 1
    await world.stop(bot)
    await alice.say("while it is away")
    assert figures(world, "bot_cursor_lag_entries", bot) == 0


async def test_what_it_sends_is_held_to_its_settings(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """Two at once and then one a second, over all rooms: nothing is lost, it is only later."""
    bot = Bot("chatty")
    bot.outbound = Rate(2, 2_000)

    @bot.command()
    async def talk(ctx: Context) -> None:
        """Say something."""
        await ctx.reply("something")

    alice = await world.member("alice")
    rooms = [await world.room(alice, bot, name=f"room {n}") for n in range(2)]
    await rooms[0].quiet()
    began = world.inner.now()
    for room in rooms * 5:
        await room.room.send("!talk")
    await world.pass_time(60)
    said = [one.ts - began for room in rooms for one in room.from_(bot)]
    assert len(said) == 10
    assert max(said) >= 7_000


def test_the_unit_for_systemd_starts_what_there_is() -> None:
    """Its command line is one that `ofc-bot` understands, and it stops as a bot does."""
    unit = (ROOT / "bots" / "ofc-bot@.service").read_text(encoding="utf-8")
    [command] = re.findall(r"^ExecStart=(.*)$", unit, re.M)
    program, *words = shlex.split(command)
    assert program.endswith("/ofc-bot")
    assert _parser().parse_args(words).config is not None
    [patience] = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.M)
    assert int(patience) >= 2 * 10 + 5, "twice the default grace, and some"
