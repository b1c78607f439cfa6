"""`keeper`: who is let in, who has to go, when keys are renewed, and who owns the room."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from bots.errors import SetupError
from bots.events import Member
from bots.shelf.keeper import bot
from bots.shelf.keeper_rules import Rules, read_rules
from bots.testing import BotWorld, Person, TestRoom
from ofcd.client import InviteCode, JoinFailed, Message, Room
from ofcd.protocol.ids import MemberId
from ofcd.protocol.records import Role
from tests.sweeps import fewer, stride

STRIDE = stride(19)
HOUR = 3_600


@pytest.fixture(autouse=True)
def defaults() -> None:
    """Each test begins with the keeper's own rules."""
    bot.options.clear()


async def kept_room(world: BotWorld, *people: Person, **options: Any) -> TestRoom:
    """Alice's room with a keeper in it, and these people."""
    bot.options.update({"greeting": "", "rotate": False, **options})
    room = await world.room(await world.member("alice"))
    await room.add(bot, role=Role.CO_OWNER)
    for one in people:
        await room.add(one)
    await room.quiet()
    return room


async def town(world: BotWorld, *names: str) -> list[Person]:
    """People."""
    return [await world.member(name) for name in names]


def here(person: Person, room: TestRoom) -> Room:
    """A person's own view of a room."""
    return person.client.room(room.room.id)


def inside(room: TestRoom) -> set[str]:
    """The names of the members."""
    return {member.name for member in room.room.members()}


@asynccontextmanager
async def asking(who: Person, code: InviteCode) -> AsyncIterator[list[str]]:
    """Somebody asks in meanwhile; the list holds why it failed."""
    failed: list[str] = []

    async def join() -> None:
        try:
            await who.client.join(code, name=who.name)
        except JoinFailed as error:
            failed.append(error.code)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(join)
        yield failed
        nursery.cancel_scope.cancel()


async def for_keeper(room: TestRoom, by: Room | None = None) -> InviteCode:
    """An invite that only the keeper answers."""
    return await (by or room.room).invite(admitters=(room.mid_of(bot),))


async def texts_after(room: TestRoom, count: int) -> list[str]:
    """What the keeper has said since it had said so much."""
    await room.quiet()
    return room.texts_from(bot)[count:]


# -- who comes in ----------------------------------------------------------------------------------


async def test_guests_of_owners_are_let_in_and_greeted(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """No person has to be online; the greeting names them, by the room's own words."""
    options = {"rooms": {"room": {"greeting": "Hello {name}, this is {room}."}}}
    room = await kept_room(world, **options)
    code = await for_keeper(room)
    [bo] = await town(world, "bo")
    async with asking(bo, code):
        await room.quiet(30)
    assert "bo" in inside(room)
    assert room.texts_from(bot) == ["I let in bo, invited by alice.", "Hello bo, this is room."]
    assert room.from_(bot)[-1].mentions == (room.mid_of(bo),)


async def test_others_are_asked_about(world: BotWorld, autojump_clock: MockClock) -> None:
    """A name that fits no pattern: the first owner's reaction decides, a member's does not."""
    bo, cy, mallory = await town(world, "bo", "cy", "mallory")
    room = await kept_room(world, bo, names=["c*"])
    said = room.count_from(bot)
    async with asking(cy, await for_keeper(room)):
        await room.quiet(30)
        assert "cy" in inside(room)
    said = room.count_from(bot)
    async with asking(mallory, await for_keeper(room)) as failed:
        await room.quiet(30)
        question = room.from_(bot)[-1]
        assert "mallory, invited by alice as member, asks in, but the name" in question.text
        assert room.mid_of(room.founder) in question.mentions
        await here(bo, room).react(question.event_id, "👍")
        await room.quiet(30)
        assert "mallory" not in inside(room)
        await room.room.react(question.event_id, "👎")
        await room.quiet(30)
        assert (await texts_after(room, said + 1)) == ["I do not let in mallory, as alice says."]
    assert "mallory" not in inside(room)
    assert failed == []


async def test_an_owners_yes_lets_them_in(world: BotWorld, autojump_clock: MockClock) -> None:
    """Past the day's number everybody is asked about."""
    room = await kept_room(world, per_day=0)
    [bo] = await town(world, "bo")
    async with asking(bo, await for_keeper(room)):
        await room.quiet(30)
        question = room.from_(bot)[-1]
        assert "0 were let in today" in question.text
        await world.crash_and_restart(bot)
        await room.room.react(question.event_id, "👍🏽")
        await room.quiet(60)
    assert "bo" in inside(room)
    assert room.texts_from(bot)[-1] == "I let in bo, as alice says."


async def test_who_is_not_answered_in_time_is_refused(
    world: BotWorld, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question ends with the time that a relay keeps a request (here two hours)."""
    monkeypatch.setattr("bots.shelf.keeper.WAIT", 2 * HOUR * 1000)
    room = await kept_room(world, inviters=["00000000"])
    [bo] = await town(world, "bo")
    code = await for_keeper(room)
    async with asking(bo, code):
        await room.quiet(30)
        assert "alice may not bring guests in" in room.texts_from(bot)[-1]
        await world.pass_time(3 * HOUR)
    assert room.texts_from(bot)[-1] == "No owner has answered: bo is not let in."
    assert "bo" not in inside(room)


# -- who has to go ---------------------------------------------------------------------------------


async def test_an_owner_has_somebody_removed(world: BotWorld, autojump_clock: MockClock) -> None:
    """At once, with a reason; an owner is not the keeper's to remove."""
    bo, cy = await town(world, "bo", "cy")
    room = await kept_room(world, bo, cy)
    await room.founder.say("!keeper evict bo too loud")
    await room.quiet()
    assert inside(room) == {"alice", "keeper", "cy"}
    await room.room.grant(room.mid_of(cy), Role.CO_OWNER)
    await room.founder.say("!keeper evict cy")
    assert await texts_after(room, 0) == [
        "I remove bo, as alice says.",
        "I remove no owner: only root does that.",
    ]
    assert "cy" in inside(room)


async def test_members_vote_somebody_out(world: BotWorld, autojump_clock: MockClock) -> None:
    """More than half, at least three, the target's voice and later members' not counted."""
    bo, cy, dan, eve = await town(world, "bo", "cy", "dan", "eve")
    room = await kept_room(world, bo, cy, dan)
    await here(bo, room).send("!keeper evict dan")
    question = await room.next_from(bot)
    assert "bo wants dan removed. 👍 agrees: 3 of 3 members are needed" in question.text
    await here(bo, room).send("!keeper evict dan")
    assert (await room.next_from(bot)).text == "There is a vote about dan already."
    await here(dan, room).react(question.event_id, "👍")
    await room.add(eve)
    await here(eve, room).react(question.event_id, "👍")
    await here(cy, room).react(question.event_id, "👍")
    await here(cy, room).react(question.event_id, "👍", remove=True)
    await room.room.react(question.event_id, "👍")
    await room.quiet()
    assert "dan" in inside(room)
    await here(cy, room).react(question.event_id, "👍")
    await room.quiet()
    assert "dan" not in inside(room)
    assert room.texts_from(bot)[-1] == "I remove dan, by 3 votes of 3."


async def test_a_vote_ends_with_its_time(world: BotWorld, autojump_clock: MockClock) -> None:
    """Who is not voted out by then stays; what is agreed to later changes nothing."""
    people = await town(world, "bo", "cy", "dan")
    room = await kept_room(world, *people, vote_time="2h")
    await here(people[0], room).send("!keeper evict cy")
    question = await room.next_from(bot)
    await world.crash(bot)
    await world.pass_time(3 * HOUR)
    await world.start(bot)
    assert (await room.next_from(bot)).text == "The vote is over: cy stays."
    for one in (room.room, here(people[2], room)):
        await one.react(question.event_id, "👍")
    await room.quiet()
    assert "cy" in inside(room)


async def test_what_was_answered_in_time_counts_though_the_keeper_was_away(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """The end of a vote waits for what was said meanwhile: by members, and by owners of guests."""
    people = await town(world, "bo", "cy", "dan")
    room = await kept_room(world, *people, vote_time="2h")
    await here(people[0], room).send("!keeper evict cy")
    question = await room.next_from(bot)
    await world.crash(bot)
    for one in (room.room, here(people[2], room)):
        await one.react(question.event_id, "👍")
    await world.pass_time(3 * HOUR)
    world.inner.lines[bot.name].delay = lambda: 0.5  # so that its timers are due before the log
    await world.start(bot)
    await room.quiet(60)
    assert room.texts_from(bot)[-1] == "I remove cy, by 3 votes of 3."
    assert "cy" not in inside(room)


async def test_owners_bots_and_few_members_are_not_voted_on(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """The sentence says why."""
    [bo] = await town(world, "bo")
    room = await kept_room(world, bo)
    for word in ("alice", "keeper", "bo"):
        await here(bo, room).send(f"!keeper evict {word}")
    assert await texts_after(room, 0) == [
        "Owners and bots are not voted out.",
        "Owners and bots are not voted out.",
        "There are too few members for a vote: it takes 3.",
    ]


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_dying_in_the_middle_of_a_vote_changes_nothing(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """Wherever the keeper dies while the last vote comes in: one eviction, one word, one key."""
    voters = await town(world, "bo", "cy")
    room = await kept_room(world, *voters)
    rounds = 0
    while True:
        rounds += 1
        name = f"guest{rounds}"
        [guest] = await town(world, name)
        await room.add(guest)
        await here(voters[0], room).send(f"!keeper evict {name}")
        question = await room.next_from(bot)
        await room.room.react(question.event_id, "👍")
        await room.quiet()
        epoch = room.room.epoch
        await world.stop(bot)
        await here(voters[1], room).react(question.event_id, "👍")
        await world.start(bot, die_after=rounds * STRIDE)
        died = await world.died(bot, within=60)
        if died:
            await world.crash_and_restart(bot)
        with trio.fail_after(600):
            while name in inside(room):
                await trio.sleep(1)
                world.client_of(bot).retry_now()
        assert (await room.next_from(bot)).text == f"I remove {name}, by 3 votes of 3."
        await room.quiet()
        assert room.room.epoch == epoch + 1
        if not died:
            break
    assert room.count_from(bot) == 2 * rounds
    assert rounds > fewer(3)


# -- keys ------------------------------------------------------------------------------------------


async def test_a_key_that_is_old_and_was_used_is_renewed(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """Though nobody else is online; a key nobody has spoken under is left alone."""
    [bo] = await town(world, "bo")
    room = await kept_room(world, bo, rotate=True, rotate_every="1h")
    room_id, epoch = room.room.id, room.room.epoch
    await here(bo, room).send("words")
    await room.quiet()
    await world.inner.stop_client("alice")
    await world.inner.stop_client("bo")
    await world.pass_time(1.5 * HOUR)
    theirs = world.client_of(bot).room(room_id)
    assert theirs.epoch == epoch + 1
    await world.pass_time(3 * HOUR)
    assert theirs.epoch == epoch + 1
    renewed = [m.text for m in theirs.messages() if m.mine]
    assert renewed == ["The key is 1h old: I renew it."]


async def test_an_owner_has_the_key_renewed(world: BotWorld, autojump_clock: MockClock) -> None:
    """By a command; a plain member is refused."""
    [bo] = await town(world, "bo")
    room = await kept_room(world, bo)
    epoch = room.room.epoch
    await here(bo, room).send("!keeper rotate")
    await room.founder.say("!keeper rotate --boxed")
    assert await texts_after(room, 0) == ["You may not do that here.", "I renew the key."]
    assert room.room.epoch == epoch + 1


# -- who owns it -----------------------------------------------------------------------------------


async def test_the_room_is_handed_to_the_keeper_and_on(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """Root gives it away; an owner has it handed on, confirms, and the heir accepts."""
    [bo] = await town(world, "bo")
    room = await kept_room(world, bo)
    await room.founder.say("!keeper handover bo")
    assert "I am not root here" in (await room.next_from(bot)).text
    await room.room.hand_over(room.mid_of(bot))
    assert (await room.next_from(bot)).text == "I take the room over from alice."
    await room.quiet()
    assert room.room.member(room.mid_of(bot)).role is Role.ROOT

    await room.founder.say("!keeper handover bo")
    question = await room.next_from(bot)
    await here(bo, room).react(question.event_id, "👍")
    await room.quiet()
    assert room.texts_from(bot)[-1] == question.text, "only who asked confirms"
    await world.crash_and_restart(bot)
    await room.room.react(question.event_id, "👍")
    assert (await room.next_from(bot)).text.startswith("I ask bo to become root")
    await room.quiet()
    await here(bo, room).accept_handover()
    await room.quiet()
    assert room.room.member(room.mid_of(bo)).role is Role.ROOT


async def test_a_co_owner_gets_no_more_out_of_a_keeper_that_is_root(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """Neither another co-owner's removal nor the room: that is for whose bot it is."""
    bo, cy = await town(world, "bo", "cy")
    room = await kept_room(world, bo, cy)
    for one in (bo, cy):
        await room.room.grant(room.mid_of(one), Role.CO_OWNER)
    await room.room.hand_over(room.mid_of(bot))
    await room.quiet()
    assert room.room.member(room.mid_of(bot)).role is Role.ROOT
    said = room.count_from(bot)
    await here(bo, room).send("!keeper evict cy")
    await here(bo, room).send("!keeper handover bo")
    assert await texts_after(room, said) == [
        "I remove no owner: only root does that.",
        "That is for alice to say.",
    ]
    assert inside(room) == {"alice", "keeper", "bo", "cy"}
    # A question that alice has raised is not for others to answer, either way.
    await room.founder.say("!keeper handover cy")
    await room.quiet()
    question = room.from_(bot)[-1]
    assert question.text.startswith("cy (")
    for emoji in ("👍", "👎"):
        await here(bo, room).react(question.event_id, emoji)
    await room.quiet()
    assert room.texts_from(bot)[-1] == question.text


async def test_a_room_whose_keepers_owner_is_gone_is_handed_over_by_all_owners(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """Not by one of them alone; and one no is enough."""
    bo, cy = await town(world, "bo", "cy")
    room = await kept_room(world, bo, cy)
    for one in (bo, cy):
        await room.room.grant(room.mid_of(one), Role.CO_OWNER)
    await room.room.hand_over(room.mid_of(bot))
    await room.quiet()
    theirs = here(bo, room)
    await room.room.leave()
    await world.pass_time(10)

    def words() -> list[Message]:
        return [one for one in theirs.messages(since=0) if one.name == bot.name]

    await theirs.send("!keeper handover bo")
    await world.pass_time(30)
    question = words()[-1]
    assert "confirm all of you" in question.text
    await theirs.react(question.event_id, "👍")
    await world.pass_time(30)
    assert words()[-1] == question or words()[-1].text == question.text
    await here(cy, room).react(question.event_id, "👎")
    await world.pass_time(30)
    assert words()[-1].text == "Then I stay root."

    await theirs.send("!keeper handover bo")
    await world.pass_time(30)
    question = words()[-1]
    await here(cy, room).react(question.event_id, "👍")
    await theirs.react(question.event_id, "👍")
    await world.pass_time(30)
    assert words()[-1].text.startswith("I ask bo to become root")


async def test_an_unconfirmed_handover_lapses(world: BotWorld, autojump_clock: MockClock) -> None:
    """After ten minutes; and a keeper that may not become root says so."""
    [bo] = await town(world, "bo")
    room = await kept_room(world, bo)
    await room.room.hand_over(room.mid_of(bot))
    await room.quiet()
    await room.founder.say("!keeper handover bo")
    question = await room.next_from(bot)
    await world.pass_time(700)
    await room.room.react(question.event_id, "👍")
    assert (await texts_after(room, 0))[-1] == "Nobody has confirmed: bo does not become root."


async def test_it_says_what_it_lost(world: BotWorld, autojump_clock: MockClock) -> None:
    """No owner any more, and not set up to become root: the room knows."""
    room = await kept_room(world, accept_root=False)
    await room.room.hand_over(room.mid_of(bot))
    await room.quiet()
    await room.room.grant(room.mid_of(bot), Role.MEMBER, room.room.caps_of(room.mid_of(bot)))
    assert await texts_after(room, 0) == [
        "I am not set up to become root (accept_root).",
        "I am no owner here any more: I renew no keys, and remove nobody.",
    ]


# -- rules -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"greeting": 3}, "bot.options.greeting"),
        ({"nope": 1}, "nope"),
        ({"rotate_every": "soon"}, "rotate_every"),
        ({"vote_least": 1}, "vote_least"),
        ({"inviters": "owners"}, "bot.options.inviters"),
        ({"rooms": {"Tea": {"per_day": -1}}}, "bot.options.rooms.Tea"),
        ({"rooms": 3}, "bot.options.rooms"),
    ],
)
def test_a_slip_in_the_settings_is_named(options: dict[str, Any], word: str) -> None:
    """The keeper does not start on settings that it does not understand."""
    with pytest.raises(SetupError, match=word):
        read_rules(options)


def test_rules_of_a_room_go_by_id_before_name() -> None:
    """A name can be taken by any room; what a room does not say holds as everywhere."""
    rules = read_rules(
        {"per_day": 5, "rooms": {"abcdef01": {"per_day": 6}, "Tea": {"vote": False}}}
    )
    assert rules.of("abcdef0123", "Tea").per_day == 6
    assert (rules.of("ff", "Tea").per_day, rules.of("ff", "Tea").vote) == (5, False)
    assert rules.of("ff", "other") == rules.everywhere


def test_whose_guests_come_in() -> None:
    """Owners, anyone, or members by a good part of their id; the name counts for nothing."""
    mid = MemberId(bytes.fromhex("ab" * 32))
    owner, member = Member(mid, "o", Role.CO_OWNER), Member(mid, "owners", Role.MEMBER)
    assert Rules().objection("bo", owner, (), 0) == ""
    assert "may not bring" in Rules().objection("bo", member, (), 0)
    assert Rules(inviters=("anyone",)).objection("bo", member, (), 0) == ""
    assert Rules(inviters=("abababab",)).objection("bo", member, (), 0) == ""
    assert "may not" in Rules(inviters=("abab",)).objection("bo", member, (), 0)


def test_votes_needed() -> None:
    """More than the percentage, and never fewer than the least."""
    assert [Rules().votes_needed(n) for n in (2, 4, 5, 6, 10)] == [3, 3, 3, 4, 6]
