"""Messages of several lines kept together, both ways (I1: draft/multiline)."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from bridge.irc import mirc
from bridge.irc.mirc import Run, Style
from bridge.irc.multiline import CONCAT, Gathering, Limits, limits_of, packed
from bridge.irc.rendering import Piece
from bridge.irc.settings import IrcPlace, IrcSettings
from bridge.irc.splitting import split
from bridge.irc.wire import Line
from tests.bridge.irc.scene import CHANNEL, IrcScene, irc_scene, portal, until
from tests.bridge.irc.scripted import ALL_CAPS, Guest, Kept

OTHERS = [one for one in ALL_CAPS if "relaymsg" not in one and "multiline" not in one]
SMALL = [*OTHERS, "draft/multiline=max-bytes=600,max-lines=4"]
BASE = IrcSettings(
    name="irc", server="irc.example", nick="ofc", line_seconds=0.01, burst=100, puppet_seconds=0.5
)
ALL = IrcPlace(long="all")
TEN = "\n".join(f"line {number}" for number in range(10))


def test_limits_are_what_the_server_says() -> None:
    assert limits_of("max-bytes=4096,max-lines=24") == Limits(4096, 24)
    assert limits_of("max-bytes=4096") == Limits(4096, 100)
    assert limits_of("max-bytes=40000,max-lines=900") == Limits(40_000, 100)
    for odd in ("", "max-lines=5", "max-bytes=x", "max-bytes=100,max-lines=1", "max-bytes=-5"):
        assert limits_of(odd) is None


@given(
    st.lists(st.builds(Piece, st.text(min_size=1, max_size=80), st.booleans()), max_size=40),
    st.integers(60, 400),
    st.integers(2, 8),
)
def test_what_is_packed_fits_and_nothing_is_left_out(
    pieces: list[Piece], size: int, lines: int
) -> None:
    groups = packed(pieces, Limits(size, lines))
    assert [one.text for group in groups for one in group] == [one.text for one in pieces]
    for group in groups:
        used = sum(len(one.text.encode()) for one in group)
        used += sum(not one.goes_on for one in group[1:])
        assert used <= size or len(group) == 1
        assert 1 <= len(group) <= lines
        assert not group[0].goes_on


RUNS = st.lists(
    st.builds(
        Run,
        st.text(alphabet="ab é👩‍🚀,5", max_size=60),
        st.builds(
            Style, bold=st.booleans(), mono=st.booleans(), foreground=st.sampled_from([None, 4])
        ),
    )
)


@given(RUNS, st.integers(40, 90))
def test_what_was_cut_reads_as_one_again_and_each_piece_alone(runs: list[Run], room: int) -> None:
    """Put together by who knows how to, and by who does not: the styles are right either way."""
    cut = split(runs, room, whole=True)
    wanted = mirc.joined(Run(mirc.clean(one.text), one.style) for one in runs)
    assert mirc.decode("".join(cut)) == wanted
    assert mirc.joined(run for one in cut for run in mirc.decode(one)) == wanted
    assert all(len(one.encode()) <= room for one in cut)


@pytest.mark.parametrize("mode", ["relay", "puppets"])
async def test_several_lines_go_out_as_one_message(
    tmp_path: Path, autojump_clock: MockClock, mode: str
) -> None:
    """In batches within the server's limits, each proven; an answer to it finds it."""
    there = portal(options=IrcPlace(mode=mode, long="all"), reactions=True)
    async with irc_scene(tmp_path, there, caps=SMALL, settings=BASE) as scene, scene.running():
        await scene.up()
        nick = await _speaking(scene, mode)
        sent = await scene.room.send(TEN)
        await until(lambda: len(_batches(scene)) == 3)
        head = "" if mode == "puppets" else "<\x02Ana\x02> "
        assert [[x[1] for x in one.inner] for one in _batches(scene)] == [
            [f"{head}line {number}" for number in group]
            for group in (range(4), range(4, 8), range(8, 10))
        ]
        assert {one.source.partition("!")[0] for one in _batches(scene)} == {nick}
        assert scene.guest(nick).said("BATCH")[0][1:] == ("draft/multiline", CHANNEL)
        msgid = _batches(scene)[1].tags["msgid"]
        await trio.sleep(3)
        await scene.server.say("kim", CHANNEL, "indeed", **{"+draft/reply": msgid})
        await until(lambda: scene.bridged())
        answer = next(one for one in scene.messages() if one.via is not None)
        assert answer.reply_to == sent.event_id
        assert not any("Not delivered" in one for one in scene.notices())


async def test_a_long_line_is_one_line_again(tmp_path: Path, autojump_clock: MockClock) -> None:
    there = portal(options=evolve(ALL, mode="puppets"))
    caps = [*OTHERS, "draft/multiline=max-bytes=4096,max-lines=24"]
    async with irc_scene(tmp_path, there, caps=caps, settings=BASE) as scene, scene.running():
        await scene.up()
        await _speaking(scene, "puppets")
        words = " ".join(f"wörd{number}" for number in range(120))
        await scene.room.send(f"first\n{words}")
        await until(lambda: len(_batches(scene)) == 1)
        [batch] = _batches(scene)
        together = Gathering(Line("BATCH", ("+x", "draft/multiline", CHANNEL)))
        for one in batch.inner:
            together.add(one)
        assert together.rows == ["first", words]
        assert [CONCAT in one.tags for one in batch.inner] == [False, False, True, True]
        await scene.room.send("a single line")
        await until(lambda: scene.heard()[-1] == "Ana[o]: a single line")
        assert len(_batches(scene)) == 1


async def test_a_server_that_takes_none_after_all_gets_lines(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    there = portal(options=ALL)
    for labels in (True, False):
        caps = [one for one in SMALL if labels or one not in ("labeled-response", "echo-message")]
        folder = tmp_path / str(labels)
        async with irc_scene(folder, there, caps=caps, settings=BASE) as scene, scene.running():
            await scene.up()
            scene.server.no_batches = True
            await scene.room.send("one\ntwo\nthree")
            await until(lambda: len(scene.heard()) == 3)
            await scene.room.send("four\nfive")
            await until(lambda: len(scene.heard()) == 5)
            await trio.sleep(5)
            words = ["one", "two", "three", "four", "five"]
            assert scene.heard() == [f"ofc: <\x02Ana\x02> {one}" for one in words]
            assert not any("Not delivered" in one for one in scene.notices())


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_link_that_breaks_within_several_lines_doubles_none(
    tmp_path: Path, autojump_clock: MockClock, when: str
) -> None:
    """What the server has of them, its history tells: a batch is there as a whole, or is not."""
    broken: list[str] = []

    def swallow(_guest: Guest, line: Line) -> str:
        if line.command == "BATCH" and line[0].startswith("-") and len(broken) < 2:
            broken.append(line[0])
            return when if len(broken) == 2 else ""
        return ""

    there = portal(options=ALL)
    async with irc_scene(tmp_path, there, caps=SMALL, settings=BASE) as scene, scene.running():
        await scene.up()
        scene.server.swallow = swallow
        await scene.room.send("\n".join(["same"] * 4 + ["other"] * 4 + ["last"]))
        await until(lambda: any("last" in one for one in scene.heard()))
        await trio.sleep(10)
        words = [one.rpartition(" ")[2] for one in scene.heard()]
        assert words == ["same"] * 4 + ["other"] * 4 + ["last"]
        assert len(broken) == 2


async def test_several_lines_come_in_as_one_message(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """With their breaks, their formatting and what they answer; played back, they are not new."""
    async with irc_scene(tmp_path, caps=SMALL, settings=BASE) as scene:
        async with scene.running():
            await scene.up()
            lines = [("one \x02bold\x02", False), ("two", False), (" and on", True), ("", False)]
            await _several(scene, "kim", [*lines, ("Ana: three", False)])
            await until(lambda: scene.bridged())
            await scene.server.say("kim", CHANNEL, "after")
            await until(lambda: len(scene.bridged()) == 2)
            assert scene.bridged()[0] == "kim: one **bold**\ntwo and on\nAna: three"
        await trio.sleep(20)
        await _several(scene, "kim", [("missed", False), ("both", False)])
        async with scene.running():
            await scene.up()
            await until(lambda: len(scene.bridged()) == 3)
            await trio.sleep(10)
            assert len(scene.bridged()) == 3
            assert scene.bridged()[2].endswith("UTC) missed\nboth")


async def test_several_lines_without_end_are_bounded(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with irc_scene(tmp_path, caps=SMALL, settings=BASE) as scene, scene.running():
        await scene.up()
        await _several(scene, "kim", [(f"{number} " + "x" * 380, False) for number in range(150)])
        guest = scene.guest("ofc")
        for number in range(100):  # begun, and never ended
            params = (f"+e{number}", "draft/multiline", CHANNEL)
            await scene.server.to(guest, "kim!k@h", "BATCH", *params)
        await scene.server.say("kim", CHANNEL, "go on")
        await until(lambda: len(scene.bridged()) == 2)
        assert scene.bridged()[0].endswith("too long)")
        assert 30_000 < len(scene.bridged()[0]) < 42_000
        assert scene.bridged()[1] == "kim: go on"


async def _speaking(scene: IrcScene, mode: str) -> str:
    """The nick that speaks for Ana, once it does."""
    if mode == "relay":
        return "ofc"
    await scene.room.send("first")
    await until(lambda: any(CHANNEL in g.channels and "Ana" in g.nick for g in scene.server.guests))
    await trio.sleep(3)
    return "Ana[o]"


def _batches(scene: IrcScene) -> list[Kept]:
    return [one for one in scene.server.history.get(CHANNEL, []) if one.inner]


async def _several(scene: IrcScene, nick: str, lines: list[tuple[str, bool]]) -> None:
    """Somebody says a message of several lines."""
    inner = tuple(
        Line("PRIVMSG", (CHANNEL, text), tags={CONCAT: ""} if goes_on else {})
        for text, goes_on in lines
    )
    server = scene.server
    kept = Kept(f"{nick}!u@there.example", "PRIVMSG", (CHANNEL, ""), server._stamp(), inner)
    server.history.setdefault(CHANNEL, []).append(kept)
    for guest in list(server.guests):
        if CHANNEL in guest.channels:
            await server.several(guest, kept, {})
