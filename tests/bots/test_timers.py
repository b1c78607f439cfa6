"""Timers: kept in the vault, run once for each planned moment, whatever happens in between."""

from __future__ import annotations

from trio.testing import MockClock

from bots import Bot, Context, Message, Tick
from bots.testing import BotWorld
from ofcd.client import Sent
from ofcd.protocol.ids import Sid

MINUTE = 60_000


async def test_a_timer_survives_restarts_and_crashes(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """Every ten minutes in each room; after an hour's absence one run makes up for six."""
    bot = Bot("clock")
    runs: list[int] = []

    @bot.every("10m")
    async def chime(ctx: Context, tick: Tick) -> None:
        runs.append(tick.due)
        await ctx.send("ding")

    alice = await world.member("alice")
    room = await world.room(alice, bot)
    await world.pass_time(35 * 60)
    assert room.texts_from(bot) == ["ding"] * len(runs)
    assert len(runs) in (3, 4)
    assert all(due % (10 * MINUTE) == 0 for due in runs)
    await world.crash(bot)
    before = len(runs)
    await world.pass_time(3_600)
    await world.start(bot)
    await room.quiet()
    assert len(runs) == before + 1
    await world.pass_time(600)
    assert len(runs) == before + 2
    assert room.count_from(bot) == len(runs)


async def test_a_one_shot_set_by_a_handler_fires_once_after_a_restart(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """Its payload comes back; a cancelled one never fires."""
    bot = Bot("egg")

    @bot.timer()
    async def ready(ctx: Context, tick: Tick) -> None:
        await ctx.send(f"{tick.payload} is ready")

    @bot.command()
    async def boil(ctx: Context, what: str) -> None:
        """Say so in five minutes."""
        number = ctx.once(ready, ctx.now + 5 * MINUTE, what)
        if what == "stone":
            assert ctx.cancel(ready, number)
        await ctx.reply("wait")

    alice = await world.member("alice")
    room = await world.room(alice, bot)
    await alice.say("!boil egg")
    await alice.say("!boil stone")
    assert [(await room.next_from(bot)).text for _ in range(2)] == ["wait"] * 2
    await world.crash_and_restart(bot)
    await world.pass_time(299)
    assert room.count_from(bot) == 2
    await world.pass_time(1_000)
    assert room.texts_from(bot) == ["wait", "wait", "egg is ready"]
    await world.crash_and_restart(bot)
    await world.pass_time(1_000)
    assert room.count_from(bot) == 3


async def test_a_timer_knows_what_was_said_before_it_and_is_not_handled(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """The first run after an absence comes before what was said meanwhile; with all of it
    handled there is nothing behind, entries that are no events (heartbeats) included."""
    bot = Bot("waiter")
    seen: list[tuple[bool, int]] = []
    heard: list[str] = []

    @bot.every("10m")
    async def look(ctx: Context) -> None:
        seen.append((ctx.is_caught_up, len(heard)))

    @bot.on()
    async def hear(ctx: Context, message: Message) -> None:
        heard.append(message.text)

    alice = await world.member("alice")
    await world.room(alice, bot)
    await world.pass_time(10 * 60)
    assert seen == [(True, 0)]
    await world.stop(bot)
    for number in range(30):
        await alice.say(f"{number}")
    await world.pass_time(15 * 60)
    await world.start(bot)
    await world.pass_time(40 * 60)
    assert seen[1] == (False, 0)
    assert seen[2:] == [(True, 30)] * len(seen[2:])
    assert len(seen) > 4


async def test_where_a_message_is_in_the_log_is_known_once_it_is_there(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """`Room.sent` of what a handler has said: nothing until the handler has ended."""
    bot = Bot("finder")
    found: list[Sent | None] = []

    @bot.command()
    async def speak(ctx: Context) -> None:
        """Say something, and find it later."""
        sid = await ctx.send("here")
        found.append(ctx.room.sent(sid))
        ctx.once(look, ctx.now + MINUTE, sid.hex())

    @bot.timer()
    async def look(ctx: Context, tick: Tick) -> None:
        found.append(ctx.room.sent(Sid(bytes.fromhex(tick.payload))))

    alice = await world.member("alice")
    room = await world.room(alice, bot)
    await alice.say("!speak")
    said = await room.next_from(bot)
    await world.pass_time(70)
    assert found == [None, Sent(said.event_id, said.seq)]
