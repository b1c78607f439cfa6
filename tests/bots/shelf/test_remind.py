"""remind: the words people use, the right moment, the right person, once, whatever happens."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from bots.shelf import remind
from bots.testing import BotWorld, TestRoom
from ofcd.client import Message
from tests.bots.shelf.asking import asked

bot = remind.bot
MINUTE = 60


def given(room: TestRoom) -> list[Message]:
    """The reminders given so far."""
    return [one for one in room.from_(bot) if one.text.startswith("⏰")]


async def test_a_reminder_mentions_who_asked(world: BotWorld, autojump_clock: MockClock) -> None:
    """It is confirmed with its moment, and comes then, once, across a crash."""
    alice, bo = await world.member("alice"), await world.member("bo")
    room = await world.room(alice, bo, bot)
    told = await asked(room, bot, bo, "!remind me in ten minutes to *stretch*")
    assert told == r"I remind you today 08:10 (number 1): \*stretch\*"
    await world.crash_and_restart(bot)
    await world.pass_time(9 * MINUTE)
    assert not given(room)
    await world.pass_time(2 * MINUTE)
    await world.crash_and_restart(bot)
    await world.pass_time(2 * MINUTE)
    (one,) = given(room)
    assert one.text == r"⏰ @bo: \*stretch\*"
    assert one.mentions == (room.mid_of(bo),)


@pytest.mark.parametrize("steps", [1, 4, 10, 25, 60])
async def test_a_reminder_comes_once_though_the_bot_dies(
    world: BotWorld, autojump_clock: MockClock, steps: int
) -> None:
    """Killed at some step around its moment: neither lost nor doubled."""
    alice = await world.member("alice")
    room = await world.room(alice, bot)
    await alice.say("!remind in 5m tea")
    await world.pass_time(5 * MINUTE - 1)
    await world.crash_and_restart(bot, after_steps=steps)
    await world.pass_time(2 * MINUTE)
    assert len(given(room)) == 1


async def test_others_and_the_room_can_be_reminded(
    world: BotWorld, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By name, however many words it has; unless the options say no. Who has left is not."""
    alice, bo = await world.member("alice"), await world.member("Bo Li")
    room = await world.room(alice, bo, bot)
    assert "I remind Bo Li today" in await asked(room, bot, alice, "!remind @bo li in 5m tea")
    assert "I remind us all today" in await asked(room, bot, alice, "!remind us cake in 5 min")
    assert "nobody's name" in await asked(room, bot, alice, "!remind @boris in 5m tea")
    await world.pass_time(6 * MINUTE)
    assert sorted((one.text, one.mentions) for one in given(room)) == [
        ("⏰ @Bo Li: tea", (room.mid_of(bo),)),
        ("⏰ everyone: cake", ()),
    ]
    await alice.say("!remind @Bo Li in 5m tea")
    await room.quiet()
    await bo.here.leave()
    await world.pass_time(6 * MINUTE)
    assert len(given(room)) == 2
    await world.stop(bot)
    monkeypatch.setattr(bot, "options", {"others": False})
    await world.start(bot)
    assert "only those who ask" in await asked(room, bot, alice, "!remind us in 5m tea")


async def test_times_are_those_of_a_members_zone(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """Their own, else the room's; 8:00 of UTC is 9:00 in Berlin and 17:00 in Tokyo."""
    alice, bo = await world.member("alice"), await world.member("bo")
    room = await world.room(alice, bo, bot)
    assert "Europe/Berlin" in await asked(room, bot, alice, "remind: timezone Europe/Berlin")
    assert "Asia/Tokyo" in await asked(room, bot, bo, "!remind zone Asia/Tokyo")
    assert "today 09:10" in await asked(room, bot, alice, "!remind at 9:10 a")
    assert "today 17:10" in await asked(room, bot, bo, "!remind b at 17:10")
    assert "Europe/Berlin" in await asked(room, bot, alice, "!remind zone")
    assert "time zone" in await asked(room, bot, alice, "!remind zone Mars/Olympus")
    await world.pass_time(11 * MINUTE)
    assert sorted(one.text for one in given(room)) == ["⏰ @alice: a", "⏰ @bo: b"]


async def test_what_recurs_comes_again_until_it_is_cancelled(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """Its author, who gets it and owners cancel it; nobody else does."""
    owner, alice, bo = [await world.member(name) for name in ("owner", "alice", "bo")]
    room = await world.room(owner, alice, bo, bot)
    told = await asked(room, bot, alice, "!remind me every 10 minutes to breathe")
    assert told == "I remind you today 08:10, then every 10m (number 1): breathe"
    assert "every weekday at 9 in UTC (number 2): standup" in await asked(
        room, bot, alice, "!remind me every weekday at 9 standup"
    )
    await world.pass_time(31 * MINUTE)
    assert len(given(room)) == 3
    listed = await asked(room, bot, alice, "!remind list")
    assert listed.startswith("- 1: today 08:40, every 10m: breathe\n- 2: ")
    assert await asked(room, bot, bo, "!remind list") == "Nothing to be reminded of."
    assert "not your" in await asked(room, bot, bo, "!remind cancel 1")
    assert "Cancelled: breathe" in await asked(room, bot, owner, "!remind cancel 1")
    assert "no reminder" in await asked(room, bot, alice, "!remind cancel 1")
    await world.pass_time(21 * MINUTE)
    assert len(given(room)) == 3


async def test_a_reaction_puts_a_reminder_off(world: BotWorld, autojump_clock: MockClock) -> None:
    """Of who was reminded, once for each time it is given."""
    alice, bo = await world.member("alice"), await world.member("bo")
    room = await world.room(alice, bo, bot)
    await alice.say("!remind in 5m tea")
    await world.pass_time(6 * MINUTE)
    (first,) = given(room)
    await bo.react(first.event_id, "💤")
    await alice.react(first.event_id, "👍")
    await alice.react(first.event_id, "💤")
    await alice.react(first.event_id, "⏰")
    await world.crash_and_restart(bot)
    await world.pass_time(15 * MINUTE)
    assert [one.text for one in given(room)] == ["⏰ @alice: tea"] * 2
    assert [text for text in room.texts_from(bot) if text.startswith("Again")] == [
        "Again today 08:16 (number 2)."
    ]


async def test_a_bot_that_was_away_gives_what_is_late(
    world: BotWorld, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, saying so; what recurs and is too late is left out, and comes next time."""
    monkeypatch.setattr(bot, "options", {"late": "3m"})
    alice = await world.member("alice")
    room = await world.room(alice, bot)
    await alice.say("!remind in 5m tea")
    await alice.say("!remind every 20 minutes to breathe")
    await room.quiet()
    await world.stop(bot)
    await world.pass_time(25 * MINUTE)
    await world.start(bot)
    await world.pass_time(MINUTE)
    (late,) = given(room)
    assert late.text == "⏰ @alice: tea\n\n_I was away: this was due today 08:05 (UTC)._"
    await world.pass_time(20 * MINUTE)
    assert [one.text for one in given(room)][1:] == ["⏰ @alice: breathe"]


async def test_wrong_and_hostile_requests_are_answered(
    world: BotWorld, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No time, half a time, too much, too often, too many; markup and bidi stay words."""
    monkeypatch.setattr(bot, "options", {"most": 1})
    alice = await world.member("alice")
    room = await world.room(alice, bot)
    refused = {
        "!remind me sometime to stretch": "Say when",
        "!remind me tomorrow": "Say what",
        "!remind me every 2 weeks on monday pay": "not understood",
        "!remind me every 5 minutes to breathe": "every 10m",
        "!remind me in 2h " + "x" * 10_000: "1000 characters",
        "!remind @" + "y" * 10_000: "nobody's name",
        "!remind cancel 99999999": "no reminder",
    }
    for text, told in refused.items():
        assert told in await asked(room, bot, alice, text)
        await world.pass_time(MINUTE)
    told = await asked(room, bot, alice, "!remind in 5m \u202e**x** [y](https://z.example)\n> q")
    assert told.endswith(r"\*\*x\*\* \[y\](https://z.example) > q")
    assert "already" in await asked(room, bot, alice, "!remind in 5m more")
    await world.pass_time(6 * MINUTE)
    (one,) = given(room)
    assert one.text == "⏰ @alice: \\*\\*x\\*\\* \\[y\\](https://z.example)\n\\> q"
    assert not world.dead_letters(bot)
