"""Many messages are under way at once: whatever is refused, each arrives once, in order."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from attrs import evolve

from ofcd.client import Alarm, AlarmKind, EventStream, Queued, Room, Stage, Text
from ofcd.client.outbox import Outbox
from ofcd.client.turn import Turn
from ofcd.config import Settings
from ofcd.e2e.bodies import Body, Redaction, decode_body
from ofcd.protocol.records import Policy
from ofcd.testing import World, open_world
from tests.world.scene import agree, people, quick, settle, texts, told, until

MANY = 60
ROUND_TRIP = 1.0


def slow_lines(world: World) -> None:
    """Every line takes half a round trip each way."""
    for line in world.lines.values():
        line.delay = lambda: ROUND_TRIP / 2


def queue(room: Room, *contents: Text | Redaction) -> None:
    """Have the client take these in, in one go."""
    with room._client.transaction() as tx:
        for content in contents:
            room.queue(tx, content)


def numbered(first: int, last: int) -> list[Text]:
    """Texts "first" to "last" - 1."""
    return [Text(str(number)) for number in range(first, last)]


def alarms(*streams: EventStream) -> list[Alarm]:
    """What alarmed anybody, but for a key that could not be renewed as fast as people spoke."""
    found = [event for stream in streams for event in told(stream) if isinstance(event, Alarm)]
    return [alarm for alarm in found if alarm.kind is not AlarmKind.KEY_OLD]


async def test_messages_do_not_wait_for_each_others_answers(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Sixty messages take some round trips, not sixty; and stand in the order they were said."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")
        slow_lines(world)
        before = trio.current_time()
        queue(there["bo"], *numbered(0, MANY))
        await until(lambda: not there["bo"].outbox())
        assert trio.current_time() - before < MANY * ROUND_TRIP / 4
        await settle(there.values())
        assert texts(there["ana"]) == [str(n) for n in range(MANY)]


async def test_rotations_among_what_is_under_way_break_nothing(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """The key is renewed again and again while both speak: sealed anew, each once, in order."""
    policy = Policy(rotate_after=9, boxed_every=3, beat_minutes=0)
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo", "cy", policy=policy)
        slow_lines(world)
        heard = [room.events() for room in there.values()]
        for name, room in there.items():
            queue(room, *(Text(f"{name} {n}") for n in range(MANY)))
        await settle(there.values())
        assert there["ana"].epoch >= 3
        agree(there.values())
        for name, room in there.items():
            mine = [text for text in texts(room) if text.startswith(name)]
            assert mine == [f"{name} {n}" for n in range(MANY)]
        assert alarms(*heard) == []


@pytest.mark.parametrize("rotate", [False, True])
async def test_a_refusal_in_the_middle_stops_only_what_is_refused(
    tmp_path: Path,
    autojump_clock: trio.abc.Clock,
    monkeypatch: pytest.MonkeyPatch,
    rotate: bool,
) -> None:
    """The relay refuses two of twelve under way for good: those fail, the rest follow each other.

    Whatever bo has signed under a number that another message then took, that message declares
    void: no relay that publishes it later can accuse bo of two devices."""
    posted: list[Queued] = []
    post = Outbox._post

    def watched(self: Outbox, turn: Turn, item: Queued) -> None:
        if not self._core.is_owner:
            posted.append(item)
        post(self, turn, item)

    monkeypatch.setattr(Outbox, "_post", watched)
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo", policy=Policy(beat_minutes=0))
        hers = await there["ana"].send("hers")
        also = await there["ana"].send("hers too")
        await settle(there.values())
        slow_lines(world)
        heard = [room.events() for room in there.values()]
        refused = [Redaction(target) for target in (hers.event_id, also.event_id)]
        queue(there["bo"], *numbered(0, 5), refused[0], *numbered(5, 8), refused[1])
        queue(there["bo"], *numbered(8, 20))
        if rotate:
            await trio.sleep(ROUND_TRIP / 4)
            await there["ana"].rotate()
        await settle(there.values())
        assert texts(there["ana"]) == ["hers", "hers too", *(str(n) for n in range(20))]
        assert [(item.stage, item.code) for item in there["bo"].outbox()] == [
            (Stage.FAILED, "forbidden")
        ] * 2
        assert alarms(*heard) == []
        assert there["bo"]._client._core(there["bo"].id).head.voided == ()
        await there["bo"].send("and on")
        await settle(there.values())
        agree(there.values())
        assert len(posted) > 20
        accepted = bodies_of(there["ana"], there["bo"])
        assert sorted(accepted) == list(range(1, len(accepted) + 1))
        for item in posted:
            body = accepted[item.counter]
            assert body.sid == item.sid or item.event_id in body.voids, item.counter


def bodies_of(reader: Room, sender: Room) -> dict[int, Body]:
    """What the sender has said, by its own numbers, as the reader has it."""
    core = reader._client._core(reader.id)
    entries = core.archive.entries(reader._client.vault)
    bodies = [decode_body(e.body) for e in entries if e.mid == sender.me and e.body]
    return {body.counter: body for body in bodies}


async def test_a_line_that_breaks_with_much_under_way_loses_and_doubles_nothing(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Cut at many places while a window is out, with rotations: each message once, in order."""
    policy = Policy(rotate_after=25, beat_minutes=0)
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo", policy=policy)
        for line in world.lines.values():
            line.delay = lambda: world.random.random() * 0.2
        line = world.lines["bo"]
        for cut in range(12):
            line.cut_after(1 + cut * 1500)
            queue(there["bo"], *numbered(cut * 10, cut * 10 + 10))
            await trio.sleep(12 + world.random.random())
        line.cut_after(None)
        await settle(there.values())
        assert line.cuts >= 10
        agree(there.values(), [str(n) for n in range(120)])
        assert texts(there["ana"]) == [str(n) for n in range(120)]


async def test_a_relay_that_slows_a_fast_sender_gets_everything_in_order(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Over the relay's rate: the rest waits, is not given up, and stays in order."""

    def strict(settings: Settings) -> Settings:
        limits = evolve(
            quick(settings).limits, events_per_second_per_member=5, events_burst_per_member=10
        )
        return evolve(settings, limits=limits)

    async with open_world(tmp_path, strict) as world:
        there = await people(world, "ana", "bo", policy=Policy(beat_minutes=0))
        before = trio.current_time()
        queue(there["bo"], *numbered(0, MANY))
        await settle(there.values())
        assert texts(there["ana"]) == [str(n) for n in range(MANY)]
        assert trio.current_time() - before < 10 * MANY / 5


async def test_a_whole_window_whose_answers_retention_took_is_not_said_again(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Five messages were taken and forgotten before bo heard of it: none is said again or lost."""

    def forgetful(settings: Settings) -> Settings:
        return evolve(quick(settings), storage=evolve(settings.storage, max_events_per_room=3))

    async with open_world(tmp_path, forgetful) as world:
        there = await people(world, "ana", "bo", policy=Policy(beat_minutes=0))
        world.lines["bo"].hold()
        queue(there["bo"], *numbered(0, 5))
        await until(lambda: len(texts(there["ana"])) == 5)
        await world.stop_client("bo")
        world.lines["bo"].release()
        for number in range(6):
            await there["ana"].send(f"ana {number}")
        await trio.sleep(200)
        client = await world.client("bo")
        [there["bo"]] = client.rooms
        queue(there["bo"], *numbered(5, 7))
        await settle(there.values())
        assert there["bo"].outbox() == []
        said = [text for text in texts(there["ana"]) if not text.startswith("ana")]
        assert said == [str(n) for n in range(7)]
