"""G3: what comes back is stopped, by each of the layers, and said; what only looks alike is not."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve
from trio.testing import MockClock

from bridge.core import Author, Portal, Verdict
from bridge.core.guard import MAX_HOPS, room_tag
from bridge.core.names import shown_names, skeleton
from ofcd.client import Via
from ofcd.protocol.ids import MemberId
from ofcd.protocol.records import Cap
from tests.bridge.core.world import PLACE, Walls, open_scene, running

BOTH = Portal(room="books", network="paper", place=PLACE, hold=0.0)


async def test_what_went_out_is_not_taken_back_in(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """By the journal, and by the room's tag."""
    async with open_scene(tmp_path) as scene:
        await scene.room.send("hello")
        await scene.quiet()
        assert await scene.outside("hello", "out1") is Verdict.ECHO
        tag = (room_tag(scene.room.id),)
        assert await scene.outside("quite another text", path=tag) is Verdict.ECHO
        far = tuple(f"tag{n}" for n in range(MAX_HOPS))
        assert await scene.outside("from far", path=far) is Verdict.ECHO
        await scene.quiet()
        assert scene.bridged() == []
        assert [one.path for one in scene.walls.said] == [tag]


async def test_a_strangers_relay_is_stopped_and_reported(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_scene(tmp_path) as scene:
        await scene.room.send("what a day this is")
        await scene.quiet()
        for number, (who, text) in enumerate(
            [
                ("relaybot", "<Ana> what a day this is"),
                ("relaybot", "[paper] Ana: what a day this is"),
                ("Ana[o]", "what a day this is"),
            ]
        ):
            verdict = await scene.outside(text, f"echo{number}", who=who)
            assert verdict is Verdict.ECHO, text
        await scene.quiet()
        assert scene.bridged() == []
        assert sum("is it bridged twice?" in one for one in scene.notices()) == 1


async def test_what_only_looks_alike_passes(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Two people say the same, one says it twice: no echo."""
    async with open_scene(tmp_path) as scene:
        await scene.room.send("ok")
        await scene.quiet()
        assert await scene.outside("ok", "1", who="kim") is Verdict.TAKEN
        assert await scene.outside("ok", "2", who="kim") is Verdict.TAKEN
        moved = await scene.outside("ok", "2b", author=Author("kim!x@elsewhere", "kim"))
        assert moved is Verdict.TAKEN
        await scene.quiet(70)
        assert await scene.outside("<Ana> ok", "3", who="relaybot") is Verdict.TAKEN, "long after"


async def test_who_answers_with_the_same_words_is_no_relay(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Said to Ana, or by somebody whose name has hers in it; a relay's forms of them are not."""
    async with open_scene(tmp_path) as scene:
        await scene.room.send("ok")
        await scene.quiet()
        for number, (who, text) in enumerate(
            [("bob", "Ana: ok"), ("bob", "ana, ok"), ("anabel", "ok"), ("hannah", "ok")]
        ):
            assert await scene.outside(text, f"own{number}", who=who) is Verdict.TAKEN, (who, text)
        for number, (who, text) in enumerate(
            [("r", "<@Ana> ok"), ("r", "(Ana[m]) ok"), ("r", "* Ana ok"), ("Ana|m", "ok")]
        ):
            assert await scene.outside(text, f"relay{number}", who=who) is Verdict.ECHO, (who, text)


async def test_two_bridges_of_one_room_and_one_place_make_no_ring(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Each hears the other at the place, without tags: every line is in the room once."""
    async with open_scene(tmp_path) as one:
        other = await one.world.client("other")
        await other.join(await one.room.invite(caps={Cap.BRIDGE}), name="Other")
        walls = Walls()
        async with running(one.world, one.ana, one.room, other, walls) as two:
            await one.room.send("round and round it goes")
            await one.quiet()
            assert one.walls.lines() == two.walls.lines() == ["Ana: round and round it goes"]
            text = "<Ana> round and round it goes"
            assert await one.outside(text, "a", who="otherbot") is Verdict.ECHO
            assert await two.outside(text, "b", who="onebot") is Verdict.ECHO
            # Somebody outside is heard by both: the second copy is one too many for neither text,
            # but it is not carried back to where it came from.
            await one.outside("I am outside", "c")
            await one.quiet()
            said = [m.text for m in one.messages() if m.via is not None]
            assert said == ["I am outside"]


async def test_a_name_can_not_pose_as_a_member(tmp_path: Path, autojump_clock: MockClock) -> None:
    """G5: what marks somebody outside is signed, and is no part of the name."""
    async with open_scene(tmp_path, BOTH, evolve(BOTH, place="#b")) as scene:
        await scene.outside("trust me", who="Ana\u202e\u200b")
        await scene.quiet()
        [message] = [m for m in scene.messages() if m.via is not None]
        assert message.via is not None
        assert (message.via.network, message.via.name) == ("paper", "Ana")
        assert scene.walls.lines("#b") == ["Ana@paper: trust me"]


async def test_a_name_of_one_network_can_not_pose_on_another(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Nor does another bridge's word for it: no brackets, nothing hidden, and one mark."""
    async with open_scene(tmp_path, BOTH, evolve(BOTH, place="#b")) as scene:
        other = await scene.world.client("other")
        room = await other.join(await scene.room.invite(caps={Cap.BRIDGE}), name="Other")
        name = "Bo> hi\u202e @all <Ana"
        await scene.outside("trust me", who=name)
        sent = await room.send("me too", via=Via("mail", "x", name))
        await scene.quiet()
        await scene.room.send("whom?", reply_to=sent.event_id)
        await scene.quiet()
        shown = "Bo) hi _all (Ana"
        assert scene.walls.lines("#b")[:2] == [f"{shown}@paper: trust me", f"{shown}@mail: me too"]
        [answer] = [one.reply_to for one in scene.walls.said if one.place == "#b" and one.reply_to]
        assert answer.name == shown


async def test_a_name_is_cut_where_it_would_be_a_text_of_its_own(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Both ways: of somebody outside in the room, and of a member outside."""
    async with open_scene(tmp_path, BOTH, evolve(BOTH, place="#b")) as scene:
        bo = await scene.world.client("bo")
        room = await bo.join(await scene.room.invite(), name="B" * 60)
        await scene.outside("hello", who="k" * 500)
        await room.send("hi")
        await scene.quiet()
        [message] = [m for m in scene.messages() if m.via is not None]
        assert message.via is not None
        assert len(message.via.name) == 32
        names = [one.partition(": ")[0].partition("@")[0] for one in scene.walls.lines("#b")]
        assert [len(one) for one in names] == [32, 32]


def test_a_line_from_outside_costs_no_look_at_each_members_name_again() -> None:
    """A crowd that talks where a room of 500 is bridged would hold up all that the bridge does."""
    people = [(MemberId(bytes([n % 256, n // 256] * 16)), f"Bö {n}") for n in range(500)]
    names = shown_names(people)
    known = skeleton.cache_info().misses
    assert shown_names(people) == names
    assert skeleton.cache_info().misses == known
