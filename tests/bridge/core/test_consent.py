"""G4: what a member keeps in the room stays there, by whatever way it could get out."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve
from trio.testing import MockClock

from bridge.core import Kind, Portal, State
from bridge.core.formatting import plain_text
from ofcd.client import lite
from ofcd.protocol.ids import EventId
from tests.bridge.core.world import PLACE, Scene, open_scene

BOTH = Portal(room="books", network="paper", place=PLACE, hold=0.0)


def state_of(scene: Scene, event_id: EventId) -> State | None:
    passed = scene.engine.journal.passed(scene.bridge.vault, "paper", PLACE, event_id)
    return None if passed is None else passed.state


async def test_a_reply_quotes_what_is_there_and_not_what_is_in_the_room(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_scene(tmp_path) as scene:
        bo = await (await scene.world.client("bo")).join(await scene.room.invite(), name="Bo")
        await scene.room.send("!bridge me nick-only")
        secret = await scene.room.send("the secret words")
        open_words = await bo.send("open words")
        await scene.quiet()
        await bo.send("I see", reply_to=secret.event_id)
        await scene.room.send("mine", reply_to=open_words.event_id)
        await bo.edit(open_words.event_id, "// kept here")
        await scene.quiet()
        await bo.send("and I", reply_to=open_words.event_id)
        await scene.outside("from there", "x1")
        await scene.quiet()
        [theirs] = [m for m in scene.messages() if m.via is not None]
        await bo.send("an answer", reply_to=theirs.event_id)
        await scene.quiet()
        quotes = [one.reply_to for one in scene.walls.said if one.reply_to is not None]
        assert [(one.name, one.excerpt) for one in quotes] == [
            ("Ana", ""),
            ("Bo", "open words"),
            ("Bo", "open words"),
            ("kim", "from there"),
        ]
        assert "secret" not in str([plain_text(one.document) for one in scene.walls.said])


async def test_a_reply_does_not_name_who_is_withheld(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_scene(tmp_path) as scene:
        bo = await (await scene.world.client("bo")).join(await scene.room.invite(), name="Bo")
        await scene.room.send("!bridge me withheld")
        sent = await scene.room.send("not for outside")
        await scene.quiet()
        await bo.send("I see", reply_to=sent.event_id)
        await scene.quiet()
        [told] = scene.walls.said
        assert told.reply_to is not None
        assert (told.reply_to.name, told.reply_to.excerpt) == ("somebody", "")


async def test_a_mention_points_at_nobody_who_is_withheld(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """What another wrote stays words: nothing outside is made of it that is theirs."""
    async with open_scene(tmp_path) as scene:
        bo = await (await scene.world.client("bo")).join(await scene.room.invite(), name="Bo")
        cy = await (await scene.world.client("cy")).join(await scene.room.invite(), name="Cy")
        await bo.send("!bridge me withheld")
        await scene.room.send("@Bo and @Cy, come", markdown=True, mentions=[bo.me, cy.me])
        await scene.quiet()
        [told] = scene.walls.said
        [block] = told.document
        assert isinstance(block, lite.Paragraph)
        [line] = block.lines
        assert [one.name for one in line if isinstance(one, lite.Mention)] == ["Cy"]
        assert plain_text(told.document) == "@Bo and @Cy, come"


async def test_no_file_of_who_lets_only_a_name_out(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    photo = tmp_path / "me-at-home.png"
    photo.write_bytes(bytes(range(256)))
    async with open_scene(tmp_path) as scene:
        await scene.room.send_file(photo)
        await scene.room.send("!bridge me nick-only")
        await scene.room.send_file(photo)
        await scene.quiet()
        names = [one.file and one.file.name for one in scene.walls.said]
        assert names == ["me-at-home.png", None]


@pytest.mark.parametrize("consent", ["nick-only", "withheld"])
@pytest.mark.parametrize("hold", [0.0, 60.0])
async def test_no_edit_of_who_has_withdrawn_since(
    tmp_path: Path, autojump_clock: MockClock, consent: str, hold: float
) -> None:
    async with open_scene(tmp_path, evolve(BOTH, hold=hold)) as scene:
        sent = await scene.room.send("open words")
        await scene.quiet()
        await scene.room.send(f"!bridge me {consent}")
        await scene.room.edit(sent.event_id, "secret words")
        await scene.quiet(70)
        first = [] if hold and consent == "withheld" else ["Ana: " if hold else "Ana: open words"]
        assert scene.walls.lines() == first
        if hold and consent == "withheld":
            assert state_of(scene, sent.event_id) is State.DROPPED


@pytest.mark.parametrize(
    ("how", "lines"),
    [("withheld", []), ("nick-only", ["Ana: "]), ("revoked", []), ("full", ["Ana: waiting"])],
)
async def test_what_is_agreed_when_it_goes_counts_and_not_when_it_was_queued(
    tmp_path: Path, autojump_clock: MockClock, how: str, lines: list[str]
) -> None:
    async with open_scene(tmp_path) as scene:
        scene.walls.set_up(False)
        sent = await scene.room.send("waiting")
        await scene.quiet()
        if how == "revoked":
            me = next(one for one in scene.room.members() if one.name.startswith("Bridge"))
            await scene.room.grant(me.mid, me.role, frozenset())
        else:
            await scene.room.send(f"!bridge me {how}")
        await scene.quiet()
        scene.walls.set_up(True)
        await scene.quiet()
        assert scene.walls.lines() == lines
        assert state_of(scene, sent.event_id) is (State.CONFIRMED if lines else State.DROPPED)


async def test_what_is_taken_back_is_taken_back_there_without_a_name(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_scene(tmp_path) as scene:
        sent = await scene.room.send("regretted")
        await scene.quiet()
        await scene.room.send("!bridge me withheld")
        await scene.room.redact(sent.event_id)
        await scene.quiet()
        [_, told] = scene.walls.said
        assert (told.kind, told.author) == (Kind.REDACTION, None)


async def test_resending_asks_again_what_may_go_and_sends_all_of_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    photo = tmp_path / "map.png"
    photo.write_bytes(bytes(64))
    async with open_scene(tmp_path) as scene:
        bo = await (await scene.world.client("bo")).join(await scene.room.invite(), name="Bo")
        asked = await bo.send("where is it?")
        await scene.quiet()
        scene.walls.refuse = "full"
        hidden = await bo.send("do not show this")
        sent = await scene.room.send_file(photo)
        answer = await scene.room.send("here", reply_to=asked.event_id)
        await scene.quiet()
        scene.walls.refuse = ""
        await bo.send("!bridge me withheld")
        await scene.room.send("!bridge resend", reply_to=hidden.event_id)
        await scene.room.send("!bridge resend", reply_to=sent.event_id)
        await scene.quiet()
        await scene.room.send("!bridge resend", reply_to=answer.event_id)
        await scene.quiet()
        [_, map_, told] = scene.walls.said
        assert map_.file is not None
        assert map_.file.name == "map.png"
        assert told.reply_to is not None
        assert told.reply_to.remote_ids == ("out1",)


async def test_the_note_of_what_was_given_up_takes_nobody_elses_number(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Numbers are of all places: the one before the first here may be another place's."""
    small, other = evolve(BOTH, backlog=1), evolve(BOTH, place="#films")
    async with open_scene(tmp_path, small, other) as scene:
        scene.walls.set_up(False)
        for number in range(3):
            await scene.room.send(f"line {number}")
        await scene.quiet(10)
        engine, vault = scene.engine, scene.bridge.vault
        films = {e.number: e.text for e in engine.journal.queue(vault) if e.place == "#films"}
        first = next(iter(engine.places["paper", PLACE].entries.values()))
        assert first.number - 1 in films
        queue = engine.places["paper", PLACE]
        with scene.bridge.transaction() as tx:
            engine.backlog.tell_skipped(tx, queue)
        kept = {e.number: e.text for e in engine.journal.queue(vault) if e.place == "#films"}
        assert kept == films
        assert [e.kind for e in queue.entries.values()] == [Kind.NOTE, Kind.MESSAGE]
        scene.walls.set_up(True)
        await scene.quiet()
        assert len(scene.walls.lines("#films")) == 3
