"""`log`: what members find again, what they do not, and what is forgotten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, text
from trio.testing import MockClock

from bots import SetupError
from bots.shelf import log
from bots.shelf.log_lines import METADATA, Archive, _term
from bots.tables import Tables
from bots.tables.database import Database
from bots.testing import BotWorld, Person, TestRoom
from ofcd.protocol.ids import EventId, RoomId

bot = log.bot
ROOM = RoomId(bytes(32))
LINES = METADATA.tables["lines"]


@pytest.fixture(autouse=True)
def _plain_options() -> None:
    bot.options.clear()


async def said(room: TestRoom, who: Person, line: str) -> list[str]:
    """What is answered to a command, as lines; numbers and times cut off."""
    await who.say(line)
    answer = (await room.next_from(bot)).text
    return [one.split(" ", 3)[-1] if one[:1] == "#" else one for one in answer.splitlines()]


async def test_words_are_found_newest_first(world: BotWorld, autojump_clock: MockClock) -> None:
    """All words have to be there, in any case and accent; beginnings and phrases work."""
    alice, bo = await world.member("alice"), await world.member("bo")
    room = await world.room(alice, bo, bot)
    await alice.say("The Café opens at nine")
    await bo.say("a teapot for the cafe")
    await alice.say("nine teapots")
    assert await said(room, bo, "!log search cafe") == [
        "bo: a teapot for the cafe",
        "alice: The Café opens at nine",
    ]
    assert await said(room, bo, "!log search cafe nine") == ["alice: The Café opens at nine"]
    assert await said(room, bo, "!log search teapot*") == [
        "alice: nine teapots",
        "bo: a teapot for the cafe",
    ]
    assert await said(room, bo, '!log search "for the"') == ["bo: a teapot for the cafe"]
    assert "Nothing found" in (await said(room, bo, '!log search "the for"'))[0]
    assert await said(room, bo, "!log search cafe --by ALICE") == ["alice: The Café opens at nine"]
    assert "What for?" in (await said(room, bo, "!log search"))[0]


async def test_since_and_around(world: BotWorld, autojump_clock: MockClock) -> None:
    """Only the last two hours; and what stood around a line, by its number."""
    alice = await world.member("alice")
    room = await world.room(alice, bot)
    await alice.say("tea one")
    await world.pass_time(3 * 3_600)
    for line in ("before", "tea two", "after"):
        await alice.say(line)
    assert await said(room, alice, "!log search tea --since 2h") == ["alice: tea two"]
    number = room.texts_from(bot)[-1].split(" ")[0]
    context = ["alice: tea one", "alice: before", "alice: tea two", "alice: after"]
    assert await said(room, alice, f"!log around {number}") == context
    assert "There is no line" in (await said(room, alice, "!log around #999999"))[0]
    assert "There is no line" in (await said(room, alice, "!log around x"))[0]


async def test_a_room_finds_nothing_of_another(world: BotWorld, autojump_clock: MockClock) -> None:
    """Not by words, and not by number."""
    alice, bo = await world.member("alice"), await world.member("bo")
    one, two = await world.room(alice, bot), await world.room(bo, bot)
    await alice.say("secret")
    assert await said(one, alice, "!log search secret") == ["alice: secret"]
    number = one.texts_from(bot)[-1].split(" ")[0]
    assert "Nothing found" in (await said(two, bo, "!log search secret"))[0]
    found = await said(two, bo, f"!log around {number}")
    assert "secret" not in "".join(found)


async def test_edits_and_redactions_are_followed(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """A line is found by what it says now; one taken back is not found."""
    alice = await world.member("alice")
    room = await world.room(alice, bot)
    first, second = await alice.say("tee"), await alice.say("gone")
    await alice.edit(first, "coffee")
    await alice.here.redact(second)
    await room.quiet()
    assert await said(room, alice, "!log search coffee") == ["alice: coffee"]
    for word in ("tee", "gone"):
        assert "Nothing found" in (await said(room, alice, f"!log search {word}"))[0]


async def test_whoever_wants_is_forgotten_until_they_say_otherwise(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """One's lines go, new ones are not kept, an edit brings none back; others' lines stay."""
    alice, bo = await world.member("alice"), await world.member("bo")
    room = await world.room(alice, bo, bot)
    old = await bo.say("tea old")
    await alice.say("tea of alice")
    assert "Forgotten: 1 line of yours" in (await said(room, bo, "!log forget-me"))[0]
    await bo.say("tea new")
    await bo.edit(old, "tea edited")
    await world.crash_and_restart(bot)
    assert await said(room, alice, "!log search tea") == ["alice: tea of alice"]
    await bo.say("!log remember-me")
    await bo.say("tea again")
    assert (await said(room, alice, "!log search tea"))[0] == "bo: tea again"


@pytest.mark.slow
async def test_lines_are_kept_as_long_as_the_settings_say(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """With days = 1, what is older is gone within the hour."""
    bot.options["days"] = 1
    alice = await world.member("alice")
    room = await world.room(alice, bot)
    await alice.say("tea old")
    await world.pass_time(43_200)
    await alice.say("tea newer")
    await world.pass_time(43_200 + 3_700)
    assert await said(room, alice, "!log search tea") == ["alice: tea newer"]


async def test_owners_export_all_of_their_room(
    world: BotWorld, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """A file of JSON lines; a member who is no owner is refused."""
    autojump_clock.autojump_threshold = 0.02  # files are read in threads: give them time
    alice, bo = await world.member("alice"), await world.member("bo")
    room = await world.room(alice, bo, bot)
    await bo.say("tea\nfor two")
    await bo.say("!log export")
    assert "may not" in (await room.next_from(bot)).text
    await alice.say("!log export")
    sent = await room.next_from(bot)
    assert (sent.text, sent.file.name if sent.file else "") == ("1 lines", "log.jsonl")
    got = await alice.here.fetch_file(sent, tmp_path / "got")
    [line] = [json.loads(line) for line in got.read_text().splitlines()]
    assert (line["name"], line["text"]) == ("bo", "tea\nfor two")


def test_what_is_taken_back_is_nowhere_in_the_tables() -> None:
    """Not in a free page, and not in the index of words."""
    database = Database(1)
    METADATA.create_all(database.connection)
    tables = Tables(database)
    for number, words in enumerate(["harmless", "conspicuous", "plain"]):
        values = {"room": ROOM, "seq": number, "event": bytes([number]), "mid": b"m", "ts": 0}
        tables.execute(insert(LINES).values(**values, name="n", who="n", text=words))
    Archive(tables, ROOM).take_back(EventId(b"\1"))
    with database.committing(tables.ops):
        pass
    image = database.image()
    assert b"harmless" in image
    assert b"conspicuous"[1:] not in image
    database.close()


@given(word=st.text(min_size=1, max_size=20).filter(lambda word: "\0" not in word))
def test_no_word_is_an_operator(word: str) -> None:
    """Whatever is looked for is no error of FTS5's query language."""
    database = Database(1)
    METADATA.create_all(database.connection)
    found = Archive(Tables(database), ROOM).search([word, "AND", "NEAR("])
    assert found == []
    assert database.connection.execute(text("SELECT 1")).scalar() == 1
    database.close()
    assert _term("tea*") == '"tea"*'


@pytest.mark.parametrize("options", [{"dais": 2}, {"days": -1}, {"days": "2"}, {"results": 51}])
def test_wrong_options_are_refused(options: dict[str, object]) -> None:
    """A slip in [bot.options] is found when the bot starts, as its settings are made."""
    bot.options.update(options)
    with pytest.raises(SetupError):
        log.settings(bot)
