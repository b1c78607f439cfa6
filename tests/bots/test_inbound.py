"""What comes from outside into a room: once, durable when it is said to be, in the room's order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from bots import Bot, Context, Inbound, InboundFailed, Key, NotServed, SetupError
from bots.inbound import KEPT_MS, forget_old, is_known, keep_known
from bots.records import Draft
from bots.testing import BotWorld, TestRoom
from ofcd.client import Vault
from ofcd.protocol.ids import EventId
from ofcd.protocol.records import Role
from tests.sweeps import fewer, stride

COUNT = Key("count", int, 0)
Arrived = Callable[..., object]


def posting_bot() -> tuple[Bot, Arrived]:
    """Counts what arrives, and says it."""
    bot = Bot("post")

    @bot.inbound()
    async def arrived(ctx: Context, inbound: Inbound) -> None:
        ctx.memory.room[COUNT] += 1
        await ctx.send(f"{ctx.memory.room[COUNT]}: {inbound.payload}")
        await ctx.send(f"id {inbound.id}")

    return bot, arrived


async def test_the_same_id_has_one_effect(world: BotWorld, autojump_clock: MockClock) -> None:
    """Brought twice at once, again later, and after a crash: handled once, and told so."""
    bot, arrived = posting_bot()
    room = await world.room(await world.member("alice"), bot)
    fresh: list[bool] = []

    async def bring(outside_id: str) -> None:
        fresh.append(await world.deliver(bot, arrived, outside_id, "tea", room=room))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(bring, "a")
    assert sorted(fresh) == [False, False, True]
    await world.crash_and_restart(bot)
    assert not await world.deliver(bot, arrived, "a", "tea", room=room)
    assert await world.deliver(bot, arrived, "b", "cake", room=room)
    await room.quiet()
    assert room.texts_from(bot) == ["1: tea", "id a", "2: cake", "id b"]


def test_an_id_is_forgotten_after_thirty_days(tmp_path: Path) -> None:
    """What is over thirty days old goes with the next one, and what is younger stays."""
    ids = [EventId(bytes([n]) * 32) for n in range(3)]
    with Vault.create(tmp_path / "v", bytes(32)) as vault:
        for event_id, at in zip(ids, (0, 1, KEPT_MS + 1), strict=True):
            with vault.transaction() as tx:
                keep_known(tx, event_id, at)
                forget_old(vault, tx, at)
        assert [is_known(Draft(vault), event_id) for event_id in ids] == [False, True, True]


def test_ids_make_no_commit_larger(tmp_path: Path) -> None:
    """However many are remembered, none is in an index that each commit would write anew."""
    with Vault.create(tmp_path / "v", bytes(32)) as vault:
        with vault.transaction() as tx:
            for number in range(500):
                keep_known(tx, EventId(number.to_bytes(32, "big")), number)
        assert is_known(Draft(vault), EventId((499).to_bytes(32, "big")))
        assert max(map(len, vault._pins.tables.values()), default=0) < 10


async def test_a_handler_that_fails_is_not_called_done(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """Given up on, it raises and leaves nothing but a dead letter; later it is tried again."""
    bot = Bot("wobbly")
    broken = True

    @bot.inbound(tries=2)
    async def arrived(ctx: Context) -> None:
        ctx.memory.room[COUNT] += 1
        await ctx.send(f"count {ctx.memory.room[COUNT]}")
        if broken:
            raise ValueError("not yet")

    room = await world.room(await world.member("alice"), bot)
    for _ in range(2):
        with pytest.raises(InboundFailed):
            await world.deliver(bot, arrived, "a", room=room)
    assert [letter["error"] for letter in world.dead_letters(bot)] == ["ValueError"] * 2
    broken = False
    assert await world.deliver(bot, arrived, "a", room=room)
    await room.quiet()
    assert [text for text in room.texts_from(bot) if text.startswith("count")] == ["count 1"]


async def test_what_can_not_be_said_is_not_called_done(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """A bot that may only read says so to whoever brings something, and remembers nothing of it."""
    bot, arrived = posting_bot()
    room = await world.room(await world.member("alice"), bot)
    await room.room.grant(room.mid_of(bot), role=Role.READONLY)
    await room.quiet()
    for _ in range(2):
        with pytest.raises(InboundFailed):
            await world.deliver(bot, arrived, "a", room=room)
    await room.room.grant(room.mid_of(bot), role=Role.MEMBER)
    await room.quiet()
    assert await world.deliver(bot, arrived, "a", "tea", room=room)
    await room.quiet()
    assert room.texts_from(bot) == ["1: tea", "id a"]


async def test_nothing_is_brought_where_the_bot_is_not(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """A room it was evicted from refuses; so does a function that is no inbound handler."""
    bot, arrived = posting_bot()
    alice = await world.member("alice")
    room = await world.room(alice, bot)
    with pytest.raises(SetupError):
        await world.deliver(bot, posting_bot, "a", room=room)
    await room.room.evict(room.mid_of(bot))
    await room.quiet()
    with pytest.raises(NotServed):
        await world.deliver(bot, arrived, "a", room=room)


async def test_who_waits_when_the_bot_stops_is_told(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """In an orderly stop what is begun is ended; what waits behind it is refused, and not lost."""
    bot = Bot("slow")
    outcomes: list[object] = []

    @bot.inbound()
    async def arrived(ctx: Context, inbound: Inbound) -> None:
        await trio.sleep(2)
        await ctx.send(inbound.id)

    async def bring(number: int) -> None:
        try:
            outcomes.append(await world.deliver(bot, arrived, str(number), room=room))
        except NotServed:
            outcomes.append(None)

    room = await world.room(await world.member("alice"), bot)
    async with trio.open_nursery() as nursery:
        for number in range(30):
            nursery.start_soon(bring, number)
        await trio.sleep(3)
        await world.stop(bot)
    assert outcomes.count(None) == 28
    assert outcomes.count(True) == room.count_from(bot) == 2


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_dying_at_every_await_neither_loses_nor_doubles(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """The bot dies at awaits from its start to the delivery's end; brought again, it is once there.

    And what was acknowledged before the death is there without being brought again.
    """
    bot, arrived = posting_bot()
    room = await world.room(await world.member("alice"), bot)
    number = died_first = acknowledged = 0
    while True:
        number += 1
        await world.stop(bot)
        await world.start(bot, die_after=number * stride(3))
        done = await _bring(world, bot, arrived, room, f"n{number}")
        died = await world.died(bot, within=30)
        if died:
            await world.crash_and_restart(bot)
        died_first += died and not done
        acknowledged += died and done
        if not done:
            await _bring(world, bot, arrived, room, f"n{number}")
        with trio.fail_after(300):
            while f"id n{number}" not in room.texts_from(bot)[-4:]:
                await trio.sleep(1)
                world.client_of(bot).retry_now()
        if not died:
            break
    wanted = [text for n in range(1, number + 1) for text in (f"{n}: tea", f"id n{n}")]
    assert room.texts_from(bot) == wanted
    assert died_first >= fewer(3)
    assert acknowledged >= fewer(3)


async def _bring(
    world: BotWorld, bot: Bot, arrived: Arrived, room: TestRoom, outside_id: str
) -> bool:
    """Whether it was acknowledged."""
    try:
        await world.deliver(bot, arrived, outside_id, "tea", room=room)
    except (NotServed, RuntimeError):  # RuntimeError: it is dead already
        return False
    return True
