"""B7: what a room's owners set for a bot there; and converters that know the room."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from bots import BadValue, Bot, Context, Given, Named, Room
from bots.errors import SetupError
from bots.settings import load_settings
from bots.table import build
from bots.testing import BotWorld
from ofcd.client import MemberInfo
from ofcd.protocol.records import Cap, History, Role


def clerk() -> Bot:
    """Knows times, and the members of its room."""
    bot = Bot("clerk", timezone="Europe/Berlin")

    @bot.command()
    async def when(ctx: Context, at: datetime) -> None:
        """Read a time."""
        await ctx.reply(at.isoformat(), markdown=False)

    @bot.command()
    async def who(ctx: Context, member: Named) -> None:
        """Find a member."""
        await ctx.reply(f"{member.mid.hex()[:8]} {member.role}", markdown=False)

    @bot.converter(dict, "topic of this room")
    def topic(word: str, given: Given) -> dict[str, str]:
        room: Room = given.get(Room)
        if word != room.name:
            raise BadValue("is not this room's name")
        return {"room": room.name, "zone": given.tz.key}

    @bot.command()
    async def here(ctx: Context, topic: dict) -> None:  # type: ignore[type-arg]  # a converter's type
        """Say where this is."""
        await ctx.reply(f"{topic['room']} in {topic['zone']}, {ctx.prefix}", markdown=False)

    return bot


async def test_owners_set_a_prefix_for_their_room(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """It holds there alone, through restarts; by its name the bot is called everywhere."""
    bot = clerk()
    alice, bo = await world.member("alice"), await world.member("bo")
    room, other = await world.room(alice, bot), await world.room(bo, bot)
    await alice.say("clerk: prefix ?")
    assert (await room.next_from(bot)).text == "My commands begin with ? here."
    await world.crash_and_restart(bot)
    await alice.say("!here room")
    await alice.say("?here room")
    assert (await room.next_from(bot)).text == "room in Europe/Berlin, ?"
    await alice.say("@clerk here room")
    assert (await room.next_from(bot)).text == "room in Europe/Berlin, ?"
    await alice.say("?help here")
    assert (await room.next_from(bot)).text.startswith("?here")
    await bo.say("!here room")
    assert (await other.next_from(bot)).text == "room in Europe/Berlin, !"


async def test_only_owners_and_only_by_name(world: BotWorld, autojump_clock: MockClock) -> None:
    """A plain member is refused; `!prefix` may well be meant for another bot of the room."""
    bot = clerk()
    alice, bo = await world.member("alice"), await world.member("bo")
    room = await world.room(alice, bo, bot)
    await alice.say("!prefix ?")
    await alice.say("!prefix")
    await bo.say("clerk: prefix ?")
    assert (await room.next_from(bot)).text == "You may not do that here."
    await alice.say("clerk: prefix ab")
    assert "is no prefix" in (await room.next_from(bot)).text
    await alice.say("!here room")
    assert (await room.next_from(bot)).text.endswith("!")
    assert room.count_from(bot) == 3


async def test_times_are_read_in_the_rooms_zone(world: BotWorld, autojump_clock: MockClock) -> None:
    """In the bot's by default, and in the one that the room's owners set."""
    bot = clerk()
    alice = await world.member("alice")
    room = await world.room(alice, bot)
    await alice.say("!when tomorrow 9am")
    assert (await room.next_from(bot)).text.endswith("T09:00:00+01:00")
    await alice.say("clerk: timezone Asia/Tokyo")
    assert "Asia/Tokyo" in (await room.next_from(bot)).text
    await alice.say("!when tomorrow 9am")
    assert (await room.next_from(bot)).text.endswith("T09:00:00+09:00")
    await alice.say("clerk: timezone Moon/Base")
    assert "time zone" in (await room.next_from(bot)).text


async def test_members_are_found_by_name_and_by_id(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """Names of several words, in any case, with an @; two of a name need an id."""
    bot = clerk()
    alice = await world.member("alice")
    bo = await world.member("Bo Peep")
    twins = [await world.member(name) for name in ("sam", "Sam")]
    room = await world.room(alice, bot)
    await room.add(bo, role=Role.CO_OWNER)
    mid = room.mid_of(bo).hex()
    await alice.say("!who @bo peep")
    assert (await room.next_from(bot)).text == f"{mid[:8]} co-owner"
    for twin in twins:
        await room.add(twin)
    await alice.say("!who sam")
    assert "more than one member" in (await room.next_from(bot)).text
    await alice.say(f"!who {mid[:8]}")
    assert (await room.next_from(bot)).text == f"{mid[:8]} co-owner"
    await alice.say("!who nobody")
    assert "nobody in this room" in (await room.next_from(bot)).text


async def test_a_bots_own_command_takes_the_place_of_the_built_in_one(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """A bot about phone numbers may have a `!prefix` that everybody uses."""
    bot = Bot("phones")

    @bot.command()
    async def prefix(ctx: Context, country: str) -> None:
        """Look up a country's dialling prefix."""
        await ctx.reply("+49")

    alice, bo = await world.member("alice"), await world.member("bo")
    room = await world.room(alice, bo, bot)
    await bo.say("!prefix de")
    assert (await room.next_from(bot)).text == "+49"


def test_a_time_zone_that_is_none_is_found_before_the_start() -> None:
    """In the bot's code or its settings; not when somebody first names a time."""
    with pytest.raises(SetupError, match="Moon/Base"):
        build(Bot("lunar", timezone="Moon/Base"))


def test_the_settings_name_a_time_zone(tmp_path: Path) -> None:
    """`timezone` stands beside `prefix`."""
    path = tmp_path / "bot.toml"
    path.write_text('[[bot]]\nprefix = "?"\ntimezone = "Europe/Berlin"\n')
    [bot] = load_settings(path).bot
    assert (bot.prefix, bot.timezone) == ("?", "Europe/Berlin")


@pytest.mark.parametrize("late", [0.0, 20.0])
async def test_what_was_said_before_it_came_is_not_for_it(
    world: BotWorld, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, late: float
) -> None:
    """Also where it learns only later where in the log it came."""
    known_at = 0.0
    really = Room.members

    def members(room: Room) -> list[MemberInfo]:
        known = trio.current_time() >= known_at
        return [one for one in really(room) if known or not one.is_me]

    monkeypatch.setattr(Room, "members", members)
    bot, alice = clerk(), await world.member("alice")
    room = await world.room(alice)
    await alice.say("!here room")
    known_at = trio.current_time() + late
    await world.start(bot)
    invite = await room.room.invite(caps={Cap.BOT}, history=History.ROTATION)
    here = await world.client_of(bot).join(invite, name=bot.name)
    await trio.sleep(late)
    await room.quiet()
    assert "!here room" in [message.text for message in here.messages()], "it can read it"
    assert room.count_from(bot) == 0
    await alice.say("!here room")
    assert (await room.next_from(bot)).text == "room in Europe/Berlin, !"
    await room.quiet()
    assert room.count_from(bot) == 1
