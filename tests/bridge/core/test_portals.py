"""What is said in a room goes out, what is said outside comes in; each once, each marked."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from attrs import evolve
from trio.testing import MockClock

from bridge.core import Author, Engine, Kind, Portal, RemoteNote, State, Verdict, journal
from bridge.core import engine as engine_module
from bridge.core.formatting import plain_text
from bridge.core.ledger import FAILED_MARK
from ofcd.client import MemberInfo, Room
from ofcd.protocol.records import Cap
from ofcd.testing import open_world
from tests.bridge.core.world import PLACE, Walls, open_scene, running
from tests.world.renewing import all_renewed, short_days

BOTH = Portal(room="books", network="paper", place=PLACE, hold=0.0)


async def test_words_go_both_ways_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_scene(tmp_path) as scene:
        await scene.room.send("hello out there")
        assert await scene.outside("hello in there") is Verdict.TAKEN
        await scene.quiet()
        assert scene.walls.lines() == ["Ana: hello out there"]
        assert scene.bridged() == ["kim: hello in there"]
        [message] = [m for m in scene.messages() if m.via is not None]
        assert message.via is not None
        assert (message.via.network, message.via.remote_id) == ("paper", "kim!x@y")


async def test_a_bridge_renews_its_own_key(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As every member does; and words go both ways under a room key boxed for the new one."""
    short_days(monkeypatch)
    async with open_scene(tmp_path) as scene:
        await all_renewed(scene.room)
        await scene.room.rotate(boxed=True)
        await scene.room.send("hello out there")
        assert await scene.outside("hello in there") is Verdict.TAKEN
        await scene.quiet()
        assert scene.walls.lines() == ["Ana: hello out there"]
        assert scene.bridged() == ["kim: hello in there"]


async def test_the_same_outside_id_is_taken_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_scene(tmp_path) as scene:
        assert await scene.outside("hello", "id1") is Verdict.TAKEN
        assert await scene.outside("hello", "id1") is Verdict.DUPLICATE
        await scene.quiet()
        assert scene.bridged() == ["kim: hello"]


async def test_the_journal_forgets_all_that_is_old_enough(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a room with two places too, and however much that is."""
    monkeypatch.setattr(engine_module, "_PRUNE_SECONDS", 200.0)
    monkeypatch.setattr(journal, "_KEEP_MS", 100_000)
    monkeypatch.setattr(journal, "_PRUNED_AT_ONCE", 1)
    async with open_scene(tmp_path, BOTH, evolve(BOTH, place="#news")) as scene:

        def kept() -> list[int]:
            tables = (journal._MAP, journal._IN, journal._SID, journal._TIME)
            return [len(list(scene.bridge.vault.items(table))) for table in tables]

        await trio.sleep(10)
        for n in range(3):
            await scene.room.send(f"out {n}")
            await scene.outside(f"in {n}")
        await scene.quiet()
        assert kept()[0] == 12
        assert min(kept()) > 0
        await trio.sleep(400)
        assert kept() == [0, 0, 0, 0]


async def test_one_way_portals_carry_one_way(tmp_path: Path, autojump_clock: MockClock) -> None:
    out = evolve(BOTH, direction="out")
    back = evolve(BOTH, direction="in", place="#news")
    async with open_scene(tmp_path, out, back) as scene:
        await scene.room.send("from the room")
        assert await scene.outside("to nobody") is Verdict.CLOSED
        assert await scene.outside("to the room", place="#news") is Verdict.TAKEN
        await scene.quiet()
        assert scene.walls.lines() == ["Ana: from the room", "kim@paper: to the room"]
        assert scene.walls.lines("#news") == []
        assert scene.bridged() == ["kim: to the room"]


async def test_a_place_of_two_rooms_and_a_room_of_two_places(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    portals = (BOTH, evolve(BOTH, place="#news"), evolve(BOTH, room="films"))
    async with open_scene(tmp_path, *portals) as scene:
        films = await scene.ana.create_room(scene.world.url, "films", my_name="Ana")
        await scene.bridge.join(await films.invite(caps={Cap.BRIDGE}), name="Bridge")
        await scene.quiet()
        assert await scene.outside("seen it?") is Verdict.TAKEN
        await scene.quiet()
        assert scene.bridged() == ["kim: seen it?"]
        assert [m.text for m in films.messages() if m.via is not None] == ["seen it?"]
        assert scene.walls.lines("#news") == ["kim@paper: seen it?"]
        assert scene.walls.lines() == [], "nothing returns to where it came from"


async def test_without_the_capability_nothing_crosses(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_scene(tmp_path, caps=frozenset()) as scene:
        await scene.room.send("stays here")
        assert await scene.outside("stays there") is Verdict.CLOSED
        await scene.quiet()
        assert scene.walls.said == []
        assert "has to grant me" in scene.notices()[0]
        me = next(one for one in scene.room.members() if one.name.startswith("Bridge"))
        await scene.room.grant(me.mid, me.role, {Cap.BRIDGE})
        await scene.room.send("goes out")
        await scene.quiet()
        assert scene.walls.lines() == ["Ana: goes out"]


@pytest.mark.parametrize("late", [0.0, 20.0])
async def test_what_was_said_before_it_joined_never_goes_out(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, late: float
) -> None:
    """Also where it learns only later where that is; nor does it answer what was said."""
    really = Room.members

    def members(room: Room) -> list[MemberInfo]:
        known = trio.current_time() >= late
        return [one for one in really(room) if known or not one.is_me]

    monkeypatch.setattr(Room, "members", members)
    async with open_world(tmp_path) as world:
        ana, bridge = await world.client("ana"), await world.client("bridge")
        room = await ana.create_room(world.url, "books", my_name="Ana")
        await room.send("before it came")
        await room.send("!bridge status")
        await bridge.join(await room.invite(caps={Cap.BRIDGE}), name="Bridge")
        async with running(world, ana, room, bridge, Walls(), BOTH) as scene:
            await room.send("since it came")
            await trio.sleep(late)
            bridge._hub.wake(room.id)  # as what lets it know does
            await scene.quiet()
            assert scene.walls.lines() == ["Ana: since it came"]
            assert not any("connected" in one for one in scene.notices())


async def test_it_is_listed_as_what_it_is_and_says_so_once(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_scene(tmp_path) as scene:
        names = {one.name: one.caps for one in scene.room.members()}
        assert names[f"Bridge ({PLACE})"] == {Cap.BRIDGE}
        [said] = scene.notices()
        assert "not end-to-end encrypted beyond here" in said
        assert f"{PLACE} on paper" in said
        world, ana, room = scene.world, scene.ana, scene.room
        bridge, walls = scene.bridge, scene.walls
        async with running(world, ana, room, bridge, walls) as again:
            assert again.notices() == [said]


@pytest.mark.parametrize(
    ("consent", "lines"),
    [
        ("full", ["Ana: my words"]),
        ("nick-only", ["Ana: "]),
        ("withheld", []),
    ],
)
async def test_each_member_says_what_is_copied(
    tmp_path: Path, autojump_clock: MockClock, consent: str, lines: list[str]
) -> None:
    async with open_scene(tmp_path) as scene:
        await scene.room.send(f"!bridge me {consent}")
        await scene.room.send("my words")
        await scene.quiet()
        assert scene.walls.lines() == lines
        assert f"Of you, from now on: {consent}" in scene.notices()
        assert "my words" not in str([one.document for one in scene.walls.said if not lines])


async def test_a_message_that_says_so_stays_in_the_room(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_scene(tmp_path) as scene:
        await scene.room.send("// between us")
        sent = await scene.room.send("for all")
        await scene.room.edit(sent.event_id, "// after all between us")
        await scene.quiet()
        assert scene.walls.lines() == ["Ana: for all"]


async def test_quick_edits_merge_and_what_is_taken_back_is_not_said(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_scene(tmp_path, evolve(BOTH, hold=3.0)) as scene:
        first = await scene.room.send("teh words")
        await scene.room.edit(first.event_id, "the words")
        second = await scene.room.send("never mind")
        await scene.room.redact(second.event_id)
        await scene.quiet(10)
        assert scene.walls.lines() == ["Ana: the words"]


async def test_later_edits_are_told_with_what_was_there_three_times_at_most(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_scene(tmp_path) as scene:
        sent = await scene.room.send("one")
        for text in ("two", "three", "four", "five"):
            await scene.quiet()
            await scene.room.edit(sent.event_id, text)
        await scene.quiet()
        told = [(one.kind, one.remote_ids) for one in scene.walls.said]
        assert told == [(Kind.MESSAGE, ())] + [(Kind.EDIT, ("out1",))] * 3


async def test_later_edits_merge_while_they_wait(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Told as one, against what stands there, and soon: a further edit puts it off no longer."""
    async with open_scene(tmp_path, evolve(BOTH, hold=3.0, edits="diff")) as scene:
        sent = await scene.room.send("one")
        await scene.quiet(10)
        for text in ("two", "three", "four"):
            await scene.room.edit(sent.event_id, text)
            await trio.sleep(1)
        await trio.sleep(1)
        [_, told] = scene.walls.said
        shown = (told.kind, plain_text(told.before), plain_text(told.document))
        assert shown == (Kind.EDIT, "one", "four")
        await scene.quiet(10)
        assert len(scene.walls.said) == 2


async def test_what_fails_is_marked_on_the_original_and_can_be_sent_again(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_scene(tmp_path) as scene:
        scene.walls.refuse = "Cannot send to channel"
        sent = await scene.room.send("hello")
        await scene.quiet()
        message = scene.room.message(sent.event_id)
        assert message is not None
        assert [emoji for emoji, _ in message.reactions] == [FAILED_MARK]
        assert f"Not delivered to {PLACE} on paper: Cannot send to channel" in scene.notices()
        scene.walls.refuse = ""
        await scene.room.send("!bridge resend", reply_to=sent.event_id)
        await scene.quiet()
        assert scene.walls.lines() == ["Ana: hello"]
        passed = scene.engine.journal.passed(scene.bridge.vault, "paper", PLACE, sent.event_id)
        assert passed is not None
        assert passed.state is State.CONFIRMED


@pytest.mark.parametrize(("seconds", "arrive"), [(1, 40), (300, 40), (3600, 0)])
async def test_an_outage_loses_nothing_silently(
    tmp_path: Path, autojump_clock: MockClock, seconds: int, arrive: int
) -> None:
    """G2: sent and failed together are all, and what arrives is in order and says it is late."""
    async with open_scene(tmp_path) as scene:
        scene.walls.set_up(False)
        sent = [await scene.room.send(f"line {n}") for n in range(40)]
        await trio.sleep(seconds)
        scene.walls.set_up(True)
        await scene.room.send("after it")
        await scene.quiet(20)
        wanted = [f"Ana: line {n}" for n in range(40)][40 - arrive :]
        lines = scene.walls.lines()
        assert [line for line in lines if line.startswith("Ana:")] == [*wanted, "Ana: after it"]
        failed = [one for one in sent if (m := scene.room.message(one.event_id)) and m.reactions]
        assert len(failed) + arrive == 40
        assert scene.walls.said[0].late is (seconds > 60 and arrive > 0) or not arrive
        notes = [one for one in scene.walls.said if one.kind is Kind.NOTE]
        assert len(notes) == (0 if arrive else 1)


async def test_a_long_backlog_is_told_in_one_line(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_scene(tmp_path, evolve(BOTH, backlog=10)) as scene:
        scene.walls.set_up(False)
        for number in range(25):
            await scene.room.send(f"line {number}")
        await trio.sleep(5)
        scene.walls.set_up(True)
        await scene.quiet(20)
        assert scene.walls.said[0].kind is Kind.NOTE
        assert scene.walls.lines()[1:] == [f"Ana: line {n}" for n in range(15, 25)]


async def test_a_flood_from_outside_is_told_in_one_line(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_scene(tmp_path, evolve(BOTH, in_burst=10, in_per_second=1.0)) as scene:
        verdicts = [await scene.outside(f"spam {n}") for n in range(200)]
        assert await scene.outside("amid it", who="bo") is Verdict.TAKEN, "one is not all"
        await scene.quiet(15)
        taken = verdicts.count(Verdict.TAKEN)
        assert 7 <= taken <= 8
        assert len(scene.bridged()) == taken + 1
        assert any(f"{200 - taken} messages were left out" in one for one in scene.notices())


async def test_a_crowd_is_bounded_too_and_who_comes_and_goes_takes_no_words_place(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """However many nicks one has at one address, and however many come from all sides."""
    limits = evolve(BOTH, in_burst=10, in_per_second=1.0, presence=True)
    async with open_scene(tmp_path, limits) as scene:

        async def note(number: int) -> Verdict:
            author = Author(f"n{number}!x@h{number}", f"n{number}")
            remote = RemoteNote(place=PLACE, id=f"note{number}", author=author, text="came")
            return await scene.engine.inbound.take("paper", remote)

        came = [await note(number) for number in range(100)]
        assert 10 <= came.count(Verdict.TAKEN) <= 12
        one = [Author(f"n{n}!x@host", f"n{n}", "", "host") for n in range(50)]
        said = [await scene.outside(f"one {n}", author=who) for n, who in enumerate(one)]
        assert 7 <= said.count(Verdict.TAKEN) <= 8
        await trio.sleep(60)
        all_ = [Author(f"n{n}!x@h{n}", f"n{n}", "", f"h{n}") for n in range(50)]
        said = [await scene.outside(f"all {n}", author=who) for n, who in enumerate(all_)]
        assert 10 <= said.count(Verdict.TAKEN) <= 12


async def test_who_is_ignored_is_not_heard(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A nick's brackets in a pattern are brackets."""
    ignored = evolve(BOTH, ignore=["spam*!*@*", "news[bot]!*@*"])
    async with open_scene(tmp_path, ignored) as scene:
        assert await scene.outside("buy", who="SpamKing") is Verdict.IGNORED
        assert await scene.outside("buy more", who="News[bot]") is Verdict.IGNORED
        assert await scene.outside("hello") is Verdict.TAKEN
        await scene.quiet()
        assert scene.bridged() == ["kim: hello"]


async def test_owners_say_who_is_not_heard(tmp_path: Path, autojump_clock: MockClock) -> None:
    """By the name that is shown, or by a mask; in that room alone, and in every later life."""
    async with open_scene(tmp_path) as scene:
        bo = await scene.world.client("bo")
        room = await bo.join(await scene.room.invite(), name="Bo")
        await room.send("!bridge ignore kim")
        await scene.quiet()
        assert await scene.outside("one") is Verdict.TAKEN, "Bo is no owner"
        for words in ("Kim", "eve*!*@*", "*!*@*", "?", "", "x" * 101):
            await scene.room.send(f"!bridge ignore {words}")
        await scene.room.send("!bridge ignored")
        await scene.quiet()
        assert scene.notices()[-8:] == [
            "That is for the owners of this room.",
            "Ignored from now on: Kim",
            "Ignored from now on: eve*!*@*",
            "That would be everybody.",
            "That would be everybody.",
            "!bridge ignore NAME: as they are shown, or a mask with * and ?",
            "That is too much: 100 names, of up to 100 characters.",
            "Ignored here: Kim, eve*!*@*",
        ]
        assert await scene.outside("two") is Verdict.IGNORED
        assert await scene.outside("three", who="evelyn") is Verdict.IGNORED
        assert await scene.outside("four", who="kimberly") is Verdict.TAKEN
        assert await scene.outside("again", who="ki\u200bm") is Verdict.IGNORED, "as they are shown"
        again = Engine(scene.engine.settings, scene.bridge, {"paper": scene.network})
        assert (
            await again.inbound.take(
                "paper",
                RemoteNote(place=PLACE, id="n", author=Author("kim!x@y", "kim"), text="kim joined"),
            )
            is Verdict.IGNORED
        )
        await scene.room.send("!bridge unignore kim")
        await scene.room.send("!bridge unignore kim")
        await scene.quiet()
        assert scene.notices()[-2:] == ["No longer ignored: Kim", "kim is not ignored here."]
        assert await scene.outside("five") is Verdict.TAKEN
        assert await scene.outside("six", who="evelyn") is Verdict.IGNORED


async def test_status_queue_and_cancel_are_for_admins(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_scene(tmp_path) as scene:
        bo = await scene.world.client("bo")
        room = await bo.join(await scene.room.invite(), name="Bo")
        scene.walls.set_up(False)
        await scene.room.send("waiting words")
        await room.send("!bridge status")
        await scene.room.send("!bridge status")
        await scene.room.send("!bridge queue")
        await scene.room.send("!bridge cancel")
        await scene.quiet()
        answers = scene.notices()[-4:]
        assert answers[0] == "That is for the owners of this room."
        assert "not connected (the wall is down), 1 waiting" in answers[1]
        assert "waiting words" not in answers[2]
        assert "message of Ana" in answers[2]
        assert answers[3] == "1 cancelled."
        scene.walls.set_up(True)
        await scene.quiet()
        assert scene.walls.said == []


async def test_a_room_that_is_full_gets_it_when_it_comes_again_and_the_other_does_not(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Two rooms of one place; one takes a line a minute. No line is lost or doubled."""
    slow = evolve(BOTH, room="films", in_burst=1, in_per_second=1 / 60)
    async with open_scene(tmp_path, BOTH, slow) as scene:
        films = await scene.ana.create_room(scene.world.url, "films", my_name="Ana")
        await scene.bridge.join(await films.invite(caps={Cap.BRIDGE}), name="Bridge")
        await scene.quiet()
        assert await scene.outside("one", "id1") is Verdict.TAKEN
        assert await scene.outside("two", "id2") is Verdict.LIMITED, "come again"
        await trio.sleep(61)
        assert await scene.outside("two", "id2") is Verdict.TAKEN
        assert await scene.outside("two", "id2") is Verdict.DUPLICATE
        await scene.quiet()
        assert scene.bridged() == ["kim: one", "kim: two"]
        words = [m.text for m in films.messages(since=0, limit=100) if m.via is not None]
        assert words == ["one", "two"]
