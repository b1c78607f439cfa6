"""poll: votes of both kinds, a live tally, a result told once, whatever happens meanwhile."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from bots.shelf import poll
from bots.shelf.poll import Poll, result, tally
from bots.testing import BotWorld, Person, TestRoom
from ofcd.client import lite
from ofcd.protocol.ids import EventId
from ofcd.protocol.records import Role
from tests.bots.shelf.asking import asked, reactions

bot = poll.bot
MINUTE = 60
LUNCH = Poll(7, "Lunch?", ["Pizza", "Sushi", "Soup"])


async def opened(room: TestRoom, who: Person, text: str) -> EventId:
    """A poll's message, once it is there."""
    await who.say(text)
    return (await room.next_from(bot)).event_id


def now(room: TestRoom, message: EventId) -> str:
    """How a message reads now."""
    return next(one.text for one in room.from_(bot) if one.event_id == message)


def results(room: TestRoom) -> list[str]:
    """Every result that was told."""
    texts = (lite.plain(lite.parse(text)) for text in room.texts_from(bot))
    return [text.rpartition("\n")[2] for text in texts if "The result is" in text]


@pytest.mark.parametrize(
    ("votes", "quorum", "told"),
    [
        ([], 1, "no result: 0 voters."),
        ([[1]], 2, "no result: 1 voter, and 2 were needed."),
        ([[1], [1], [2]], 3, "**Pizza**, with 2 of 3 voters."),
        ([[1, 2], [2, 1], [3]], 1, "a tie between Pizza and Sushi, 2 of 3 voters each."),
    ],
)
def test_results(votes: list[list[int]], quorum: int, told: str) -> None:
    """A winner, a tie, nobody, too few."""
    assert (
        result(Poll(7, "Lunch?", LUNCH.options, quorum=quorum), votes).replace(
            "with 2 of 3 voters each", "2 of 3 voters each"
        )
        == told
    )


def test_a_tally_counts_votes_and_voters() -> None:
    """Shares are of the voters, whose choices may be several."""
    assert tally(LUNCH, [[1, 2], [2]], "Closed.") == (
        "**Poll 7: Lunch?**\n"
        "1. Pizza: **1** (50 %)\n2. Sushi: **2** (100 %)\n3. Soup: **0**\n\n2 voters. Closed."
    )


async def test_votes_by_reaction_and_by_word(world: BotWorld, autojump_clock: MockClock) -> None:
    """The tally follows; the last choice counts; what is withdrawn counts no more."""
    alice, bo, cy = [await world.member(name) for name in ("alice", "bo", "cy")]
    room = await world.room(alice, bo, cy, bot)
    asks = await opened(room, alice, "!poll Lunch? Pizza 'Green curry' Soup --until 08:20")
    assert "Open until" in now(room, asks)
    await alice.react(asks, "1️⃣")
    await bo.react(asks, "1️⃣")
    await bo.react(asks, "2\u20e3")
    voted = await cy.say("!vote green curry")
    assert "by number or by name" in (await room.next_from(bot)).text
    voted = await cy.say('!vote "green CURRY"')
    assert await reactions(room, voted) == {"☑️": 1}
    assert "2. Green curry: **2** (66 %)" in now(room, asks)
    await bo.here.react(asks, "2\u20e3", remove=True)
    await alice.react(asks, "🔟")
    await cy.say("!vote none")
    await room.quiet()
    assert "1. Pizza: **2** (100 %)" in now(room, asks)
    await world.pass_time(30 * MINUTE)
    assert results(room) == ["The result is Pizza, with 2 of 2 voters."]
    assert "Closed." in now(room, asks)
    await cy.say("!vote 1")
    assert (await room.next_from(bot)).text.startswith("Poll 1: Lunch?")
    assert (await room.next_from(bot)).text == "No poll is open."


async def test_the_tally_is_edited_now_and_then(world: BotWorld, autojump_clock: MockClock) -> None:
    """Many votes at once are one edit."""
    alice = await world.member("alice")
    room = await world.room(alice, bot)
    asks = await opened(room, alice, "!poll 'Tea?'")
    for number in (1, 2) * 10:
        await alice.react(asks, f"{number}️⃣")
    before = room.room.head
    await room.quiet()
    assert room.room.head == before + 1
    assert "2. No: **1**" in now(room, asks)


async def test_several_choices_and_a_quorum(world: BotWorld, autojump_clock: MockClock) -> None:
    """Each may choose several where the poll says so; with too few voters there is no result."""
    alice, bo = await world.member("alice"), await world.member("bo")
    room = await world.room(alice, bo, bot)
    asks = await opened(room, alice, "!poll Days? Mon Tue Wed --multiple --quorum 3 --until 10m")
    await alice.react(asks, "1")
    await alice.react(asks, "3️⃣")
    await bo.say("!vote 3 2 3")
    await room.quiet()
    assert "3. Wed: **2** (100 %)" in now(room, asks)
    await world.pass_time(12 * MINUTE)
    assert results(room) == ["The result is no result: 2 voters, and 3 were needed."]


async def test_only_author_and_owners_close(world: BotWorld, autojump_clock: MockClock) -> None:
    """Anyone else is told so; after a close nothing is told at the poll's time."""
    founder, alice, bo = [await world.member(name) for name in ("founder", "alice", "bo")]
    room = await world.room(founder, alice, bo, bot)
    await opened(room, alice, "!poll Tea? --until 10m")
    await opened(room, alice, "!poll Cake? --until 10m")
    assert await asked(room, bot, bo, "!poll close 1") == (
        "Only who asked, and owners, can close a poll."
    )
    assert "Several polls are open (1, 2)" in await asked(room, bot, alice, "!vote 1")
    assert "No such poll" in await asked(room, bot, alice, "!vote 1 --poll 9")
    await alice.say("!vote yes --poll 2")
    await alice.say("!poll close 2")
    await founder.say("!poll close")
    await world.pass_time(20 * MINUTE)
    assert results(room) == [
        "The result is Yes, with 1 of 1 voter.",
        "The result is no result: 0 voters.",
    ]
    assert await asked(room, bot, bo, "!poll list") == "No poll is open."


async def test_an_answer_to_a_poll_is_about_it(world: BotWorld, autojump_clock: MockClock) -> None:
    """With several open, `!vote` as a reply needs no number; a poll taken back is over."""
    alice = await world.member("alice")
    room = await world.room(alice, bot)
    first = await opened(room, alice, "!poll Tea? --until 10m")
    second = await opened(room, alice, "!poll Cake? --until 10m")
    await alice.here.send("!vote no", reply_to=first)
    await room.quiet()
    assert "2. No: **1**" in now(room, first)
    assert "2. No: **0**" in now(room, second)
    await alice.here.redact(second)
    listed = await asked(room, bot, alice, "!poll list")
    assert listed.startswith("- Poll 1: Tea? (1 voter, until today")
    await world.pass_time(20 * MINUTE)
    assert len(results(room)) == 1


@pytest.mark.parametrize("steps", [1, 5, 20, 60, 150])
async def test_a_result_is_told_once_though_the_bot_dies(
    world: BotWorld, autojump_clock: MockClock, steps: int
) -> None:
    """Killed at some step around the close, and again: one result, with every vote."""
    alice, bo = await world.member("alice"), await world.member("bo")
    room = await world.room(alice, bo, bot)
    asks = await opened(room, alice, "!poll Tea? --until 10m")
    await bo.react(asks, "1️⃣")
    await world.pass_time(10 * MINUTE - 2)
    await alice.react(asks, "1️⃣")
    await world.crash_and_restart(bot, after_steps=steps)
    await world.pass_time(12 * MINUTE)
    await world.crash_and_restart(bot)
    await world.pass_time(12 * MINUTE)
    assert results(room) == ["The result is Yes, with 2 of 2 voters."]


async def test_votes_while_the_bot_is_away_count(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """A poll that should have closed meanwhile closes late, and with all that was said."""
    alice, bo = await world.member("alice"), await world.member("bo")
    room = await world.room(alice, bo, bot)
    asks = await opened(room, alice, "!poll Tea? --until 10m")
    await world.stop(bot)
    for _ in range(30):
        await alice.say("a long talk")
    await alice.react(asks, "2️⃣")
    await bo.react(asks, "2️⃣")
    await world.pass_time(15 * MINUTE)
    await world.start(bot)
    await world.pass_time(12 * MINUTE)
    assert results(room) == ["The result is No, with 2 of 2 voters."]


async def test_polls_are_bounded_and_hostile_ones_shown_as_they_are(
    world: BotWorld, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand options, 10 kB of question, markup, bidi, empty and equal options, too many."""
    monkeypatch.setattr(bot, "options", {"open": 1, "longest": "2d"})
    alice = await world.member("alice")
    room = await world.room(alice, bot)
    refused = {
        "!poll x " + " ".join(map(str, range(1000))): "Usage: !poll",
        "!poll " + "x" * 10_000: "1 to 300 long",
        "!poll x a A": "all are different",
        "!poll x only": "at least two",
        "!poll x a \u202e\u200b": "something to read",
        "!poll x --until 3d": "at most 2d",
        "!poll x --quorum 0": "1 to 1000",
    }
    for text, told in refused.items():
        assert told in await asked(room, bot, alice, text)
        await world.pass_time(2 * MINUTE)
    asks = await opened(room, alice, '!poll "**a**\u202e [b](https://c.example)" _d_ "`e` @alice"')
    words = lite.plain(lite.parse(now(room, asks)))
    assert "Poll 1: **a** [b](https://c.example)" in words
    assert "1. _d_: 0\n2. `e` @alice: 0" in words
    assert "1 polls are open already" in await asked(room, bot, alice, "!poll more?")
    assert not world.dead_letters(bot)


async def test_who_may_not_speak_does_not_vote(world: BotWorld, autojump_clock: MockClock) -> None:
    """A member who has left before the bot hears of it is no voter."""
    alice, bo = await world.member("alice"), await world.member("bo", role=Role.MEMBER)
    room = await world.room(alice, bo, bot)
    asks = await opened(room, alice, "!poll Tea? --until 10m")
    await world.stop(bot)
    await bo.react(asks, "1️⃣")
    await bo.here.leave()
    await world.start(bot)
    await world.pass_time(12 * MINUTE)
    assert results(room) == ["The result is no result: 0 voters."]
