"""karma: points given in words and by reactions, bounded, kept, and forgotten on request."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from bots import SetupError
from bots.options import read_options
from bots.shelf import karma
from bots.shelf.karma import KarmaSettings, Spoken, spoken
from bots.testing import BotWorld
from ofcd.protocol.records import Role
from tests.bots.shelf.asking import asked, reactions

bot = karma.bot
HOUR = 3_600


@pytest.mark.parametrize(
    ("text", "names", "found"),
    [
        ("tea++", [], [Spoken("tea", 1)]),
        ("tea-- because it is cold", [], [Spoken("tea", -1, "it is cold")]),
        ("tea++ for a, cake++ for b", [], [Spoken("tea", 1, "a"), Spoken("cake", 1, "b")]),
        ('"green tea"++ (black tea)--.', [], [Spoken("green tea", 1), Spoken("black tea", -1)]),
        ("@Bo Li ++ thanks", ["Bo Li"], [Spoken("@Bo Li", 1)]),
        ("@bo li++", ["Bo Li"], [Spoken("@Bo Li", 1)]),
        ("x@Bo ++ Bo ++", ["Bo"], []),
        ("`i++` and\n```\nx--\n```\ny ++", [], []),
        ("ls --all foo--bar -- +++ ++ --", [], []),
        ("**tea**++ https://a.example/x++", [], [Spoken("tea", 1)]),
        ("x" * 10_000 + "++", [], []),
        ('"' + "x" * 65 + '"++', [], []),
        ("a\u202eb++", [], [Spoken("ab", 1)]),
    ],
)  # fmt: skip
def test_points_in_a_text(text: str, names: list[str], found: list[Spoken]) -> None:
    """What counts as giving a point, and what only looks like it."""
    assert list(spoken(text, names)) == found


@given(st.text(alphabet='ab+- "()@`\n.', max_size=200))
def test_any_text_is_read(text: str) -> None:
    """Whatever is said: names are short, on one line, and hold a letter."""
    for one in spoken(text, ["a b"]):
        assert 1 <= len(one.name) <= 64 + 1
        assert set(one.name) - set(" +-()@`.")


def test_a_text_full_of_signs_takes_no_time() -> None:
    """Each sign is looked at with a bounded part of what stands before it."""
    assert len(list(spoken("a++ " * 12_000, ["b"] * 64))) == 12_000


async def test_points_are_given_and_survive_a_crash(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """Things and members, up and down, with reasons; once, however often the bot dies."""
    alice, bo = await world.member("alice"), await world.member("bo")
    room = await world.room(alice, bo, bot)
    said = await alice.say("tea++ for being *warm, cake++ rain--")
    await alice.say("hey @bo ++", mentions=[room.mid_of(bo)])
    await world.crash_and_restart(bot)
    await bo.say("Tea++")
    assert await reactions(room, said) == {"👍": 1}
    assert await asked(room, bot, bo, "!karma tea") == ("**tea +2**\n- +1 being \\*warm (alice)")
    assert await asked(room, bot, bo, "!karma") == "**bo +1**"
    assert await asked(room, bot, bo, "!karma top 2") == "1. Tea +2\n2. bo +1"
    assert await asked(room, bot, bo, "!karma bottom 1") == "1. rain -1"


async def test_nobody_raises_themselves(world: BotWorld, autojump_clock: MockClock) -> None:
    """By no spelling of the name; a member keeps points under another name."""
    alice, bo = await world.member("alice"), await world.member("bo")
    room = await world.room(alice, bo, bot)
    said = await alice.say("Alice++ \uff41lice++")
    assert await reactions(room, said) == {"🙅": 1}
    await bo.say("alice++")
    await room.quiet()
    await alice.here.set_name("Ada")
    assert await asked(room, bot, bo, "!karma top") == "1. Ada +1"


async def test_a_days_points_are_bounded(
    world: BotWorld, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many a message and a day, which begins where the room is; tomorrow there are more."""
    monkeypatch.setattr(bot, "options", {"daily": 3, "each": 2, "acknowledge": ""})
    alice, bo = await world.member("alice"), await world.member("bo")
    room = await world.room(alice, bo, bot)
    await asked(room, bot, alice, "karma: timezone Pacific/Kiritimati")  # where it is 22:00
    await alice.say("a++ b++ c++")
    said = await alice.say("d++ e++")
    assert await reactions(room, said) == {"🙅": 1}
    await bo.say("e++")
    await room.quiet()
    assert await asked(room, bot, bo, "!karma top") == "1. a +1\n2. b +1\n3. d +1\n4. e +1"
    await world.pass_time(2 * HOUR)
    await alice.say("e++")
    await room.quiet()
    assert await asked(room, bot, bo, "!karma top 1") == "1. e +2"


async def test_reactions_count_where_they_are_set_to(
    world: BotWorld, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For who said it, once, withdrawn with it; not for oneself, nor for the bot."""
    monkeypatch.setattr(bot, "options", {"reactions": {"🎉": 2, "👎": -1}})
    alice, bo = await world.member("alice"), await world.member("bo")
    room = await world.room(alice, bo, bot)
    said = await alice.say("look what I made")
    await bo.react(said, "🎉")
    await bo.react(said, "🦀")
    await alice.react(said, "🎉")
    assert await asked(room, bot, bo, "!karma alice") == "**alice +2**"
    await bo.here.react(said, "🎉", remove=True)
    await bo.react(said, "👎")
    assert await asked(room, bot, bo, "!karma alice") == "**alice -1**"
    await bo.react(room.from_(bot)[-1].event_id, "🎉")
    assert await asked(room, bot, bo, "!karma top") == "1. alice -1"


async def test_forgetting_is_for_owners_and_oneself(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """Nobody else has a name forgotten."""
    alice, bo = await world.member("alice"), await world.member("bo")
    owner = await world.member("owner", role=Role.CO_OWNER)
    room = await world.room(alice, bo, owner, bot)
    await alice.say("bo++ owner++ tea++")
    await room.quiet()
    assert (
        await asked(room, bot, bo, "!karma forget tea") == "Only owners can have others forgotten."
    )
    assert await asked(room, bot, bo, "!karma forget bo") == "bo is forgotten."
    assert await asked(room, bot, owner, "!karma forget TEA") == "TEA is forgotten."
    assert await asked(room, bot, bo, "!karma top") == "1. owner +1"


async def test_hostile_names_break_nothing(
    world: BotWorld, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long ones, marked-up ones, bidi ones, too many ones: shown as they are, or not kept."""
    monkeypatch.setattr(bot, "options", {"things": 3, "each": 9})
    alice = await world.member("alice")
    room = await world.room(alice, bot)
    said = await alice.say(
        "x" * 10_000 + "++ " + "🦀" * 64 + "++ **[a](b)++ \u202e_b_++ c++ d++ e++"
    )
    assert await reactions(room, said) == {"🙅": 1}
    assert await asked(room, bot, alice, "!karma " + "y" * 10_000) == "**" + "y" * 63 + "… +0**"
    assert await asked(room, bot, alice, "!karma top") == (
        "1. \\_b\\_ +1\n2. d +1\n3. " + "🦀" * 64 + " +1"
    )
    assert not world.dead_letters(bot)


@pytest.mark.parametrize(
    ("options", "named"),
    [({"daily": 0}, "daily"), ({"dayly": 1}, "dayly"), ({"each": "x"}, "each")],
)
def test_a_slip_in_the_options_is_named(options: dict[str, Any], named: str) -> None:
    """Before the bot starts."""
    with pytest.raises(SetupError, match=named):
        read_options(options, KarmaSettings)
