"""Tables in handlers: all of SQL, and effectively once together with replies and memory."""

from __future__ import annotations

import subprocess
import sys

import pytest
import trio
from sqlalchemy import Column, ForeignKey, Integer, MetaData, String, Table, func, insert, select
from sqlalchemy.exc import IntegrityError
from trio.testing import MockClock

from bots import Bot, Context, Key, SetupError, Tables
from bots.table import build
from bots.testing import BotWorld, TestRoom
from tests.sweeps import fewer, stride

META = MetaData()
POLLS = Table(
    "polls",
    META,
    Column("id", Integer, primary_key=True),
    Column("about", String, nullable=False, unique=True),
)
VOTES = Table(
    "votes",
    META,
    Column("poll", Integer, ForeignKey("polls.id"), nullable=False),
    Column("who", String, nullable=False),
)
COUNT = Key("count", int, 0)
STRIDE = stride(7)


def polling_bot() -> Bot:
    """Keeps polls and votes in tables, and how many in memory."""
    bot = Bot("polls")
    bot.tables(META)

    @bot.command()
    async def poll(ctx: Context, tables: Tables, about: str) -> None:
        """Begin a poll."""
        try:
            made = tables.execute(insert(POLLS).values(about=about).returning(POLLS.c.id))
        except IntegrityError:
            await ctx.reply(f"{about} is there already")
            return
        ctx.memory.bot[COUNT] += 1
        await ctx.reply(f"poll {made.scalar_one()} of {ctx.memory.bot[COUNT]}")

    @bot.command()
    async def slow(ctx: Context, about: str) -> None:
        """Begin a poll, taking a second between looking and doing."""
        there = ctx.tables.execute(select(func.count()).select_from(POLLS)).scalar_one()
        await trio.sleep(1)
        ctx.tables.execute(insert(POLLS).values(about=about))
        await ctx.reply(f"after {there}")

    @bot.command()
    async def vote(ctx: Context, tables: Tables, about: str) -> None:
        """Vote, and say how many have."""
        found = tables.execute(select(POLLS.c.id).where(POLLS.c.about == about)).scalar_one()
        tables.execute(insert(VOTES).values(poll=found, who=ctx.sender.name))
        rows = tables.execute(
            select(POLLS.c.about, func.count().label("votes"))
            .join_from(POLLS, VOTES)
            .group_by(POLLS.c.about)
            .order_by(POLLS.c.about)
        )
        await ctx.reply(", ".join(f"{row['about']} {row['votes']}" for row in rows.mappings()))

    return bot


async def test_joins_constraints_and_ids(world: BotWorld, autojump_clock: MockClock) -> None:
    """A handler reads its own writes, joins, and is told of a broken constraint."""
    bot = polling_bot()
    alice, bo = await world.member("alice"), await world.member("bo")
    room = await world.room(alice, bo, bot)
    for line in ("!poll tea", "!poll coffee", "!poll tea", "!vote tea", "!vote coffee"):
        await alice.say(line)
    await bo.say("!vote tea")
    said = [(await room.next_from(bot)).text for _ in range(6)]
    assert said == [
        "poll 1 of 1",
        "poll 2 of 2",
        "tea is there already",
        "tea 1",
        "coffee 1, tea 1",
        "coffee 1, tea 2",
    ]


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_dying_anywhere_leaves_tables_memory_and_replies_at_one(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """The bot dies at awaits all the way through a command: rows, counts and answers agree."""
    bot = polling_bot()
    alice = await world.member("alice")
    room = await world.room(alice, bot)
    await room.quiet()
    number = died = 0
    while True:
        number += 1
        await world.stop(bot)
        await alice.say(f"!poll about-{number}")
        await world.start(bot, die_after=number * STRIDE)
        if not await world.died(bot, within=30):
            break
        died += 1
        await world.crash_and_restart(bot)
        await _answered(room, bot, number)
    await room.quiet()
    assert died >= fewer(5)
    assert room.texts_from(bot) == [f"poll {n + 1} of {n + 1}" for n in range(number)]


async def _answered(room: TestRoom, bot: Bot, number: int) -> None:
    with trio.fail_after(300):
        while room.count_from(bot) < number:
            await trio.sleep(1)
            room.world.client_of(bot).retry_now()


async def test_rooms_that_meet_in_one_table_lose_nothing(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """Two handlers count, wait and insert at once: one of them runs again, and counts anew."""
    bot = polling_bot()
    alice, bo = await world.member("alice"), await world.member("bo")
    one, two = await world.room(alice, bot), await world.room(bo, bot)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alice.say, "!slow tea")
        nursery.start_soon(bo.say, "!slow coffee")
    assert {(await one.next_from(bot)).text, (await two.next_from(bot)).text} == {
        "after 0",
        "after 1",
    }


async def test_a_try_that_failed_has_changed_no_row(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """A handler that inserts and raises, then succeeds, has inserted once."""
    bot = Bot("wobbly")
    bot.tables(META)
    tries: list[int] = []

    @bot.command()
    async def poll(ctx: Context, tables: Tables) -> None:
        """Begin a poll."""
        tables.execute(insert(POLLS).values(about="x"))
        tries.append(1)
        if len(tries) < 3:
            raise ValueError("not yet")
        found = tables.execute(select(func.count()).select_from(POLLS)).scalar_one()
        await ctx.reply(f"{found} after {len(tries)}")

    alice = await world.member("alice")
    room = await world.room(alice, bot)
    await alice.say("!poll")
    assert (await room.next_from(bot)).text == "1 after 3"


async def test_start_and_stop_handlers_have_tables_too(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """What they change is kept."""
    bot = Bot("starter")
    bot.tables(META)

    @bot.on_start
    async def begin(tables: Tables) -> None:
        found = tables.execute(select(func.count()).select_from(POLLS)).scalar_one()
        tables.execute(insert(POLLS).values(about=f"start {found}"))

    @bot.command()
    async def count(ctx: Context, tables: Tables) -> None:
        """Say how often it has started."""
        await ctx.reply(str(tables.execute(select(func.count()).select_from(POLLS)).scalar_one()))

    alice = await world.member("alice")
    room = await world.room(alice, bot)
    await world.stop(bot)
    await world.start(bot)
    await world.crash_and_restart(bot)
    await alice.say("!count")
    assert (await room.next_from(bot)).text == "3"


def test_a_bot_without_tables_does_not_pay_for_them() -> None:
    """Neither SQLAlchemy nor Alembic is imported with the SDK's engine."""
    code = "import sys, bots.runner; print({'sqlalchemy', 'alembic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_tables_are_declared_before_they_are_asked_for() -> None:
    """A handler that asks for what its bot has not is found before it starts."""
    bot = Bot("none")

    @bot.command()
    async def ask(ctx: Context) -> None:
        """Ask for tables."""

    @bot.timer()
    async def tick(tables: Tables) -> None:
        """Ask for tables, too."""

    with pytest.raises(SetupError, match="tables"):
        build(bot)
    bot.tables(META)
    build(bot)
    with pytest.raises(SetupError, match="one set of tables"):
        bot.tables(META)
