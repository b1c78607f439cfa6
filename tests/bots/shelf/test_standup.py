"""standup: asks in time, takes answers of every kind, tells them once and who was missing."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from bots.effects import check_text
from bots.shelf import standup
from bots.shelf.standup_summary import Answer, Part, summary
from bots.testing import BotWorld, TestRoom
from ofcd.client import Message, lite
from ofcd.protocol.records import Role
from tests.bots.shelf.asking import asked, reactions

bot = standup.bot
MINUTE = 60
SETUP = "!standup setup every day at 8:10 --window 10m"  # the world begins on a Friday at 8:00
FRIDAY = date(2027, 1, 15)


def questions(room: TestRoom) -> list[Message]:
    """Every time the room was asked."""
    return [one for one in room.from_(bot) if "Answer this, in its thread" in one.text]


def summaries(room: TestRoom) -> list[str]:
    """What was told of it, without markup."""
    texts = [lite.plain(lite.parse(text)) for text in room.texts_from(bot)]
    return [text for text in texts if " answered" in text and text.startswith("Standup")]


async def test_a_standup_from_question_to_summary(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """Replies, messages in the thread and `done` are answers; others are not; who said nothing
    and who is away is told."""
    owner, alice, bo, cy = [await world.member(one) for one in ("owner", "alice", "bo", "cy")]
    room = await world.room(owner, alice, bo, cy, bot)
    assert await asked(room, bot, owner, f'{SETUP} --question "What is *new*?"') == (
        r"I ask today 08:10 (UTC) for the first time: What is \*new\*?"
    )
    assert "until Mon 18 Jan" in await asked(room, bot, cy, "!standup away until monday")
    await world.pass_time(11 * MINUTE)
    (question,) = questions(room)
    assert question.text.startswith("**Standup, Fri 15 Jan**\n" + r"What is \*new\*?")
    assert set(question.mentions) == {room.mid_of(one) for one in (owner, alice, bo)}
    said = await alice.here.send("> *tea*\nand cake", reply_to=question.event_id)
    await bo.say("just talking")
    done = await bo.say("!standup done slept")
    assert await reactions(room, said.event_id) == await reactions(room, done) == {"✅": 1}
    assert "1 answered" not in await asked(room, bot, bo, "!standup")
    await alice.edit(said.event_id, "> *tea*\nand pie")
    await world.crash_and_restart(bot)
    await world.pass_time(11 * MINUTE)
    await world.crash_and_restart(bot)
    await world.pass_time(5 * MINUTE)
    assert summaries(room) == [
        "Standup, Fri 15 Jan: 2 answered\nalice\n> > *tea*\n> and pie\nbo\n> slept\n"
        "Nothing from owner.\nAway: cy."
    ]


@pytest.mark.parametrize("steps", [1, 5, 20, 60])
async def test_a_summary_is_told_once_though_the_bot_dies(
    world: BotWorld, autojump_clock: MockClock, steps: int
) -> None:
    """Killed at some step around its end: one question, one summary, with the answer."""
    owner = await world.member("owner")
    room = await world.room(owner, bot)
    await owner.say(SETUP)
    await world.pass_time(11 * MINUTE)
    await owner.say("!standup done tea")
    await world.pass_time(9 * MINUTE - 2)
    await world.crash_and_restart(bot, after_steps=steps)
    await world.pass_time(3 * MINUTE)
    assert summaries(room) == ["Standup, Fri 15 Jan: 1 answered\nowner\n> tea"]
    assert len(questions(room)) == 1


async def test_only_owners_set_it_up(world: BotWorld, autojump_clock: MockClock) -> None:
    """Setting up, asking, skipping, ending and stopping are theirs; what makes no sense is told."""
    owner, alice = await world.member("owner"), await world.member("alice")
    room = await world.room(owner, alice, bot)
    for text in (SETUP, "!standup now", "!standup off", "!standup skip friday", "!standup finish"):
        assert "may not" in await asked(room, bot, alice, text)
        await world.pass_time(MINUTE)
    told = await asked(room, bot, owner, "!standup setup every day at 8:10 --window 2d")
    assert "a window that ends before the next" in told
    assert "Say when" in await asked(room, bot, owner, "!standup setup tomorrow 9:00")
    assert "(UTC)" in await asked(room, bot, owner, SETUP + " --zone Europe/Berlin")
    assert "tomorrow 07:10 (UTC)" in await asked(room, bot, alice, "!standup")
    assert "no more" in await asked(room, bot, owner, "!standup off")
    assert "No standup is set up" in await asked(room, bot, alice, "!standup")
    assert "No standup is under way" in await asked(room, bot, alice, "!standup done a")
    assert "No standup is under way" in await asked(room, bot, owner, "!standup finish")


async def test_days_are_left_out_and_members_come_back(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """A skipped day asks nobody; who is back is asked; where all are away nobody is."""
    owner, alice = await world.member("owner"), await world.member("alice")
    room = await world.room(owner, alice, bot)
    await room.room.grant(room.mid_of(alice), Role.READONLY)
    await owner.say(SETUP)
    assert "Fri 15 Jan" in await asked(room, bot, owner, "!standup skip 2027-01-15")
    await world.pass_time(11 * MINUTE)
    assert not questions(room)
    assert "you say you are back" in await asked(room, bot, owner, "!standup away")
    assert "nobody to ask" in await asked(room, bot, owner, "!standup now")
    assert "which day" in await asked(room, bot, owner, "!standup away until whenever")
    assert "Welcome" in await asked(room, bot, owner, "!standup back")
    await owner.say("!standup now")
    assert "under way" in await asked(room, bot, owner, "!standup now")
    (question,) = questions(room)
    assert question.mentions == (room.mid_of(owner),)
    said = await owner.say("!standup done something private")
    await owner.here.redact(said)
    await owner.say("!standup finish")
    await room.quiet()
    assert summaries(room) == ["Standup, Fri 15 Jan: 0 answered\nNothing from owner."]


async def test_answers_while_the_bot_is_away_are_taken(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """A summary that is late holds what was said meanwhile; nothing is asked twice."""
    owner, alice = await world.member("owner"), await world.member("alice")
    room = await world.room(owner, alice, bot)
    await owner.say(SETUP)
    await world.pass_time(11 * MINUTE)
    (question,) = questions(room)
    await world.stop(bot)
    for number in range(20):
        await alice.say(f"talk {number}")
    await alice.here.send("tea", reply_to=question.event_id)
    await world.pass_time(15 * MINUTE)
    await world.start(bot)
    await world.pass_time(5 * MINUTE)
    assert summaries(room) == ["Standup, Fri 15 Jan: 1 answered\nalice\n> tea\nNothing from owner."]
    assert len(questions(room)) == 1


async def test_hostile_answers_stay_words(world: BotWorld, autojump_clock: MockClock) -> None:
    """10 kB, markup, bidi, dozens of messages: told in part, as they are."""
    owner = await world.member("owner")
    room = await world.room(owner, bot)
    await owner.say(SETUP)
    await owner.say("!standup now")
    await owner.say("!standup done \u202e**x**\n# y\n```\nz")
    await owner.say("!standup done " + "w" * 10_000)
    for _ in range(12):
        await owner.say("!standup done more")
    await owner.say("!standup finish")
    await room.quiet()
    (told,) = summaries(room)
    assert told.startswith(
        "Standup, Fri 15 Jan: 1 answered\nowner\n> **x**\n> # y\n> ```\n> z\n> w"
    )
    assert len(told) < 2_200
    assert not world.dead_letters(bot)


@given(
    st.lists(st.tuples(st.text(max_size=70), st.text(max_size=3_000)), max_size=150),
    st.lists(st.text(max_size=70), max_size=150),
)
def test_a_summary_fits_a_message(told: list[tuple[str, str]], missing: list[str]) -> None:
    """However many there are and whatever they said."""
    answers = [Answer(name, [Part("", text)]) for name, text in told]
    check_text(summary(FRIDAY, answers, missing, missing))


def test_the_longest_summary_fits_a_message() -> None:
    """Two hundred members who say all they can, in four bytes a character."""
    answers = [Answer("🦀" * 64, [Part("", "🦀" * 2_000)] * 10)] * 200
    text = summary(FRIDAY, answers, ["🦀" * 64] * 200, ["🦀" * 64] * 200)
    check_text(text)
    assert "and 140 more" in text


@pytest.mark.parametrize("missing", [[], ["a"], ["a", "b*", "c"]])
def test_a_summary_says_who_is_missing(missing: list[str]) -> None:
    """By name, as words."""
    told = {0: "", 1: "\nNothing from a.", 3: "\nNothing from a, b\\* and c."}[len(missing)]
    assert summary(FRIDAY, [], missing, []) == "**Standup, Fri 15 Jan: 0 answered**" + told
