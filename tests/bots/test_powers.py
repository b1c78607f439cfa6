"""What a bot does as a co-owner happens once, wherever its process dies, and says what it lacks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from bots import Bot, Context, HandoverOffer, Member, Named, NoRight
from bots.acts import Evict, Grant, keep_act
from bots.effects import Effects
from bots.testing import BotWorld, TestRoom
from ofcd.client import RoleChanged, RoomStatus
from ofcd.protocol.ids import InviteId, MemberId
from ofcd.protocol.records import Cap, History, Role
from tests.sweeps import fewer, stride

STRIDE = stride(7)
"""Awaits from one crash point to the next."""


def warden() -> Bot:
    """A co-owner that does whatever it is told."""
    bot = Bot("warden")

    @bot.command()
    async def strike(ctx: Context, who: Named) -> None:
        """Remove a member, and invite another."""
        code = await ctx.invite(history=History.JOIN)
        ctx.evict(who, reason="as asked")
        await ctx.reply(f"struck {code.invite_id.hex()}")

    @bot.command()
    async def renew(ctx: Context) -> None:
        """Renew the key."""
        ctx.rotate()
        await ctx.reply(f"after {ctx.room.epoch}")

    @bot.command()
    async def promote(ctx: Context, who: Named, role: Role) -> None:
        """Give a role."""
        try:
            ctx.grant(who, role, (Cap.ADMIT,) if role is Role.MEMBER else ())
        except NoRight as lacking:
            await ctx.reply(str(lacking))

    @bot.command()
    async def demote(ctx: Context, who: Named) -> None:
        """Take all rights away."""
        ctx.revoke(who)

    @bot.command()
    async def abdicate(ctx: Context, who: Named) -> None:
        """Hand the room over."""
        try:
            ctx.hand_over(who)
        except NoRight as lacking:
            await ctx.reply(str(lacking))

    @bot.on(HandoverOffer)
    async def accept(ctx: Context, offer: HandoverOffer) -> None:
        if offer.to_me:
            ctx.accept_handover()

    return bot


async def guarded(world: BotWorld, bot: Bot, role: Role = Role.CO_OWNER) -> TestRoom:
    """Alice's room, with this bot in it."""
    room = await world.room(await world.member("alice"))
    await room.add(bot, role=role)
    return room


def there(room: TestRoom, name: str) -> bool:
    """Whether somebody of that name is in the room."""
    return name in {member.name for member in room.room.members()}


async def until_gone(world: BotWorld, room: TestRoom, bot: Bot, name: str) -> None:
    """Wait until somebody is out, while the bot looks for the relay again and again."""
    with trio.fail_after(600):
        while there(room, name):
            await trio.sleep(1)
            world.client_of(bot).retry_now()
    await room.quiet()


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_dying_at_every_await_evicts_and_invites_once(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """One eviction, one new key, one invite and one answer a command, wherever the bot died."""
    bot = warden()
    room = await guarded(world, bot)
    await room.quiet()
    rounds = 0
    while True:
        rounds += 1
        name = f"guest{rounds}"
        await room.add(await world.member(name))
        epoch = room.room.epoch
        await world.stop(bot)
        await room.founder.say(f"!strike {name}")
        await world.start(bot, die_after=rounds * STRIDE)
        died = await world.died(bot, within=60)
        if died:
            await world.crash_and_restart(bot)
        await until_gone(world, room, bot, name)
        assert room.room.epoch == epoch + 1
        told = InviteId(bytes.fromhex(room.texts_from(bot)[-1].split()[1]))
        opened = [one.invite_id for one in room.room.invites()]
        assert opened == [told], "the handler, run again, got the invite of its first run"
        await room.room.close_invite(told)
        if not died:
            break
    assert room.count_from(bot) == rounds
    assert rounds > fewer(5)


async def test_an_act_that_was_not_done_is_done_after_the_restart(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """What a handler decided while the relay was away is said and done once it is back."""
    bot = warden()
    room = await guarded(world, bot)
    await room.add(await world.member("mallory"))
    await room.founder.say("!renew")
    await room.quiet()
    epoch = room.room.epoch
    await world.stop(bot)
    await room.founder.say("!strike mallory")
    await room.founder.say("!renew")
    await world.start(bot)
    await until_gone(world, room, bot, "mallory")
    assert room.room.epoch == epoch + 1, "the eviction was a rotation: no other one was needed"
    assert room.texts_from(bot)[-1] == f"after {epoch}"


async def test_a_rotation_that_somebody_else_has_made_is_not_made_again(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """`ctx.rotate` renews the key that there is when it is asked for, and no later one."""
    bot = warden()
    room = await guarded(world, bot)
    await room.quiet()
    epoch = room.room.epoch
    await room.founder.say("!renew")
    await room.founder.say("!renew")
    await room.quiet()
    assert room.room.epoch in (epoch + 1, epoch + 2)
    assert room.room.epoch - epoch == len(set(room.texts_from(bot)))


async def test_roles_are_given_and_taken(world: BotWorld, autojump_clock: MockClock) -> None:
    """By a bot that is root, whom root made so; what it may not give it says at once."""
    bot = warden()
    room = await guarded(world, bot)
    bo = await world.member("bo")
    await room.add(bo)
    await room.founder.say("!promote bo co-owner")
    assert "I may not change" in (await room.next_from(bot)).text
    await room.founder.say("!abdicate bo")
    assert "only root hands the room over" in (await room.next_from(bot)).text

    await room.room.hand_over(room.mid_of(bot))
    await room.quiet()
    assert room.room.member(room.mid_of(bot)).role is Role.ROOT
    await room.founder.say("!promote bo member")
    await room.quiet()
    assert Cap.ADMIT in room.room.member(room.mid_of(bo)).caps
    await room.founder.say("!demote bo")
    await room.quiet()
    assert room.room.member(room.mid_of(bo)).caps == frozenset()

    await room.founder.say("!abdicate alice")
    await room.quiet()
    await room.room.accept_handover()
    await room.quiet()
    assert room.room.member(room.room.me).role is Role.ROOT


async def test_a_plain_bot_is_told_what_it_lacks(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """`NoRight` is raised where it is asked for, before anything is said or done."""
    bot = Bot("plain")
    errors: list[str] = []

    @bot.command()
    async def everything(ctx: Context, who: Named) -> None:
        """Try it all."""
        acts: list[Callable[[], None]] = [
            lambda: ctx.evict(who),
            lambda: ctx.grant(who, Role.READONLY),
            ctx.rotate,
            lambda: ctx.hand_over(who),
            lambda: ctx.grant(MemberId(bytes(32)), Role.MEMBER),
        ]
        for act in acts:
            with pytest.raises(NoRight) as caught:
                act()
            errors.append(caught.value.code)
        with pytest.raises(NoRight):
            await ctx.invite()
        ctx.evict(MemberId(bytes(32)))  # nobody: done already
        await ctx.reply("nothing")

    alice = await world.member("alice")
    room = await world.room(alice, bot)
    await room.add(await world.member("bo"))
    await alice.say("!everything bo")
    assert (await room.next_from(bot)).text == "nothing"
    assert errors == ["no_right"] * 5


async def test_what_is_refused_later_is_told_to_the_room(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """The right goes between the word and the deed: the act is given up, and the room told."""
    bot = warden()
    room = await guarded(world, bot)
    bo = await world.member("bo")
    await room.add(bo)
    await room.quiet()
    world.inner.lines[bot.name].cut()
    mid = room.mid_of(bot)
    # As a handler leaves it that was run before the bot heard that it is no owner any more.
    engine = world._bots[bot.name].parts()[1]
    services = engine.services
    with services.client.transaction() as tx:
        effects = Effects(services.bot_id, bytes(32), "strike")
        keep_act(tx, room.room.id, effects, services.now(), Evict((room.mid_of(bo),)))
    await room.room.grant(mid, Role.MEMBER, (Cap.BOT,))
    world.client_of(bot).retry_now()
    engine.workers[room.room.id].committed()
    assert "I could not do what I announced" in (await room.next_from(bot)).text
    assert there(room, "bo")


async def test_an_evicted_bot_says_so_and_tries_nothing_more(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """Its other rooms go on; after a restart it says so once more, and leaves the relay alone."""
    bot = warden()
    room = await guarded(world, bot)
    bo = await world.member("bo")
    other = await world.room(bo)
    await other.add(bot, role=Role.CO_OWNER)
    with capture_logs() as logs:
        await room.room.evict(room.mid_of(bot), reason="enough")
        await room.quiet()
        await world.stop(bot)
        await world.start(bot)
        await world.pass_time(7_200)
        await bo.say("!renew")
        assert (await other.next_from(bot)).text.startswith("after")
    said = [log for log in logs if log["event"].startswith("evicted from a room")]
    assert [log["code"] for log in said] == ["evicted", "evicted"]
    theirs = world.client_of(bot).room(room.room.id)
    assert theirs.status is RoomStatus.EVICTED
    assert not theirs.is_live


async def test_a_bot_that_may_only_read_says_so_and_goes_on(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """Made readonly, it can not answer: its log says why, and it still handles what comes."""
    bot = Bot("reader")
    heard: list[str] = []

    @bot.on(r"hello")
    async def hear(ctx: Context, who: Member) -> None:
        heard.append(who.name)
        await ctx.reply("hello yourself")

    alice = await world.member("alice")
    room = await world.room(alice, bot)
    with capture_logs() as logs:
        await room.room.grant(room.mid_of(bot), Role.READONLY, (Cap.BOT,))
        await alice.say("hello")
        await room.quiet()
    assert heard == ["alice"]
    assert room.count_from(bot) == 0
    events = [log["event"] for log in logs]
    assert "readonly in a room: nothing can be said there" in events
    assert events.count("could not be said") == 1


async def test_an_outage_of_twenty_minutes_grants_once(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """An act that waits for the relay is asked of the client once it is back, and only once."""
    bot = warden()
    room = await guarded(world, bot)
    bo = await world.member("bo")
    await room.add(bo)
    await room.room.hand_over(room.mid_of(bot))  # only root gives roles
    await room.quiet()
    theirs = world.client_of(bot).room(room.room.id)
    engine = world._bots[bot.name].parts()[1]
    services = engine.services
    world.inner.reachable = False
    world.inner.cut_links()
    with services.client.transaction() as tx:
        effects = Effects(services.bot_id, bytes(32), "promote")
        act = Grant(room.mid_of(bo), Role.MEMBER, (Cap.ADMIT,))
        keep_act(tx, room.room.id, effects, services.now(), act)
    engine.workers[room.room.id].committed()
    await world.pass_time(1_200)
    world.inner.reachable = True
    for client in (world.client_of(bot), room.founder.client):
        client.retry_now()
    await room.quiet(60)
    changes = [
        event.seq
        async for event in theirs.events_since(0, follow=False)
        if isinstance(event, RoleChanged) and event.member == room.mid_of(bo)
    ]
    assert len(changes) == 1
    assert Cap.ADMIT in room.room.member(room.mid_of(bo)).caps


async def test_a_grant_that_holds_already_is_no_record(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """The client core looks at the room when its turn comes, whoever asks and however often."""
    alice, bo = await world.member("alice"), await world.member("bo")
    room = await world.room(alice, bo)
    mid = room.mid_of(bo)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(room.room.grant, mid, Role.MEMBER, (Cap.ADMIT,))
    await room.quiet()
    changes = [
        event
        async for event in room.room.events_since(0, follow=False)
        if isinstance(event, RoleChanged)
    ]
    assert len(changes) == 1


async def test_one_message_that_can_not_be_said_drops_no_other(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """Said into three rooms, one of which is readonly: the other two hear it, and it is logged."""
    bot = Bot("herald")

    @bot.command()
    async def tell(ctx: Context) -> None:
        """Say it everywhere."""
        for number, other in enumerate(rooms):
            await ctx.send(f"news {number}", room=other.room.id)
        await ctx.reply("told")

    alice = await world.member("alice")
    rooms = [await world.room(alice, bot, name=f"room {n}") for n in range(3)]
    await rooms[1].room.grant(rooms[1].mid_of(bot), Role.READONLY, (Cap.BOT,))
    await rooms[1].quiet()
    with capture_logs() as logs:
        await rooms[0].room.send("!tell")
        await rooms[0].quiet()
        await rooms[2].quiet()
    assert rooms[0].texts_from(bot) == ["news 0", "told"]
    assert rooms[1].texts_from(bot) == []
    assert rooms[2].texts_from(bot) == ["news 2"]
    assert [log["event"] for log in logs].count("could not be said") == 1
    await rooms[0].room.send("!tell")
    await rooms[0].quiet()
    assert rooms[0].count_from(bot) == 4, "its lane goes on"
