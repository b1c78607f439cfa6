"""A bot that decides who is let in: each request is asked once, answered as decided, and kept."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from bots import Bot, Context, JoinRequest, Key, Reaction
from bots.testing import BotWorld, Person, TestRoom
from ofcd.client import InviteCode, JoinFailed
from ofcd.protocol.ids import EventId
from ofcd.protocol.records import Cap, Role
from tests.sweeps import fewer, stride

STRIDE = stride(19)
WAITING = Key("waiting", str, "")
COUNT = Key("count", int, 0)


def doorman() -> Bot:
    """Lets in who is called bo, turns away who is called mallory, and asks about all others."""
    bot = Bot("doorman")

    @bot.on_join_request
    async def decide(ctx: Context, request: JoinRequest) -> None:
        name = request.sender.name
        ctx.memory.room[COUNT] += 1
        if name.startswith("bo"):
            ctx.admit()
        elif name == "mallory":
            ctx.refuse()
        else:
            ctx.memory.room[WAITING] = request.id.hex()
        await ctx.send(f"{ctx.memory.room[COUNT]}: {name}, by {request.inviter.name}")

    @bot.on(Reaction, emoji="👍", to_own=True)
    async def agreed(ctx: Context) -> None:
        done = ctx.admit(EventId(bytes.fromhex(ctx.memory.room[WAITING])))
        await ctx.send("admitted" if done else "too late")

    @bot.command()
    async def invite(ctx: Context) -> None:
        """Make an invite."""
        code = await ctx.invite()
        await ctx.reply(code.text)

    return bot


async def guarded(world: BotWorld, bot: Bot) -> TestRoom:
    """Alice's room, where this bot may admit."""
    room = await world.room(await world.member("alice"))
    await room.add(bot, role=Role.CO_OWNER)
    await room.quiet()
    return room


async def invite(room: TestRoom, bot: Bot) -> InviteCode:
    """An invite of the founder's that only the bot answers."""
    return await room.room.invite(admitters=(room.mid_of(bot),))


async def try_to_join(who: Person, code: InviteCode | str, failed: list[str]) -> None:
    try:
        await who.client.join(code, name=who.name)
    except JoinFailed as error:
        failed.append(error.code)


def inside(room: TestRoom) -> set[str]:
    """The names of the members."""
    return {member.name for member in room.room.members()}


async def test_the_bots_word_decides(world: BotWorld, autojump_clock: MockClock) -> None:
    """Who is admitted gets in; who is refused, or not decided on, does not."""
    bot = doorman()
    room = await guarded(world, bot)
    bo, mallory = await world.member("bo"), await world.member("mallory")
    failed: list[str] = []
    async with trio.open_nursery() as nursery:
        for who in (bo, mallory):
            nursery.start_soon(try_to_join, who, await invite(room, bot), failed)
        await room.quiet(60)
        assert inside(room) == {"alice", "doorman", "bo"}
        assert sorted(t.split(": ")[1] for t in room.texts_from(bot)) == [
            "bo, by alice",
            "mallory, by alice",
        ]
        nursery.cancel_scope.cancel()


async def test_refused_under_an_invite_of_its_own_the_join_fails(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """The invite is closed, so that who was refused need not wait."""
    bot = doorman()
    room = await guarded(world, bot)
    mallory = await world.member("mallory")
    await room.founder.say("!invite")
    code = (await room.next_from(bot)).text
    failed: list[str] = []
    with trio.fail_after(600):
        await try_to_join(mallory, code, failed)
    assert failed == ["invite_unknown"]
    assert room.room.invites() == []


async def test_it_can_be_decided_later(world: BotWorld, autojump_clock: MockClock) -> None:
    """By what somebody says, after a restart too; a second word comes too late."""
    bot = doorman()
    room = await guarded(world, bot)
    cy = await world.member("cy")
    failed: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(try_to_join, cy, await invite(room, bot), failed)
        question = await room.next_from(bot)
        assert question.text == "1: cy, by alice"
        await world.crash_and_restart(bot)
        await room.quiet(60)
        assert "cy" not in inside(room)
        await room.founder.react(question.event_id, "👍")
        assert (await room.next_from(bot)).text == "admitted"
    await room.quiet()
    assert "cy" in inside(room)
    await room.founder.react(question.event_id, "👎")
    await room.founder.react(question.event_id, "👍")
    assert (await room.next_from(bot)).text == "too late"
    assert failed == []


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_dying_at_every_await_a_request_is_handled_once(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """The handler's effects happen once for each request, and who was admitted gets in."""
    bot = doorman()
    room = await guarded(world, bot)
    rounds = 0
    while True:
        rounds += 1
        name = f"bo{rounds}"
        who = await world.member(name)
        code = await invite(room, bot)
        await world.stop(bot)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(try_to_join, who, code, [])
            await world.start(bot, die_after=rounds * STRIDE)
            died = await world.died(bot, within=60)
            if died:
                await world.crash_and_restart(bot)
            with trio.fail_after(600):
                while name not in inside(room):
                    await trio.sleep(1)
                    world.client_of(bot).retry_now()
        if not died:
            break
    await room.quiet(60)
    assert room.texts_from(bot) == [f"{n + 1}: bo{n + 1}, by alice" for n in range(rounds)]
    assert rounds > fewer(5)


async def test_without_such_a_handler_whoever_bears_the_invite_gets_in(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """Also where the bot had one before: what it held is answered."""
    bot = doorman()
    room = await guarded(world, bot)
    cy = await world.member("cy")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(try_to_join, cy, await invite(room, bot), [])
        await room.next_from(bot)
        await world.stop(bot)
        await world.start(Bot("doorman"))
    await room.quiet()
    assert "cy" in inside(room)


async def test_a_plain_member_with_admit_decides_too(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """The cap `admit` is enough to answer invites, no owner needed."""
    bot = doorman()
    room = await world.room(await world.member("alice"))
    await room.add(bot, caps=(Cap.ADMIT,))
    bo = await world.member("bo")
    with trio.fail_after(600):
        await try_to_join(bo, await invite(room, bot), [])
    assert (await room.next_from(bot)).text == "1: bo, by alice"


async def test_a_handler_that_fails_lets_nobody_in(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """It is given up with an apology, and the request stays undecided."""
    bot = Bot("brittle")

    @bot.on_join_request
    async def decide(ctx: Context) -> None:
        ctx.admit()
        raise ValueError("no idea")

    room = await guarded(world, bot)
    bo = await world.member("bo")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(try_to_join, bo, await invite(room, bot), [])
        assert "Something went wrong in 'decide'" in (await room.next_from(bot)).text
        await world.crash_and_restart(bot)
        await room.quiet(60)
        assert "bo" not in inside(room)
        assert room.count_from(bot) == 1
        nursery.cancel_scope.cancel()
