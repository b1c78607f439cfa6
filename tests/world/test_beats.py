"""After a silence one member confirms the end of the log; never two, and not for ever."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from attrs import evolve

from ofcd.client import Alarm, AlarmKind, Room, RoomStatus
from ofcd.client.turn import Turn
from ofcd.protocol import frames
from ofcd.protocol.records import Event, EventKind, Policy, Role
from ofcd.testing import World, open_world
from ofcd.themis.signed import peek
from tests.world.scene import People, everything, people, quick, rows, settle, told, until

MINUTE = 60.0
HOUR = 60 * MINUTE
CROWD = tuple("abcdefghij")


def beats(world: World, room: Room) -> list[tuple[int, Event]]:
    """The beats of the relay's log, with their seqs."""
    found = []
    for row in rows(world, room.id, room.me):
        record = peek(row.record).record
        if isinstance(record, Event) and record.kind is EventKind.BEAT:
            found.append((row.seq, record))
    return found


async def quiet(world: World, there: People) -> int:
    """Let pass what joining left to be confirmed; the number of beats since the beginning."""
    await trio.sleep(HOUR)
    return len(beats(world, next(iter(there.values()))))


async def test_an_idle_crowd_beats_once_a_tail(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Ten clients, idle for hours after each word: one beat for each, by somebody else."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, *CROWD)
        before = await quiet(world, there)
        for number, name in enumerate("abc", start=1):
            sent = await there[name].send("hello")
            await trio.sleep(3 * HOUR)
            made = beats(world, there["a"])
            assert len(made) == before + number
            seq, beat = made[-1]
            assert seq == sent.seq + 1
            assert beat.seen.seq == sent.seq
            assert beat.mid != there[name].me


async def test_a_beat_comes_after_the_silence_and_soon(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Not within ten minutes of the last word, and not later than a quarter of an hour after."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo", "cy")
        before = await quiet(world, there)
        for _ in range(3):  # words in between put it off
            await there["ana"].send("hello")
            await trio.sleep(9 * MINUTE)
        assert len(beats(world, there["ana"])) == before
        await trio.sleep(0.9 * MINUTE)
        assert len(beats(world, there["ana"])) == before
        await trio.sleep(5.2 * MINUTE)
        assert len(beats(world, there["ana"])) == before + 1


async def test_what_somebody_answered_needs_no_beat(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Only the end of the log is confirmed: one beat for a whole conversation."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo", "cy")
        before = await quiet(world, there)
        for _ in range(5):
            for room in there.values():
                await room.send("hello")
                await settle(there.values())
        await trio.sleep(3 * HOUR)
        assert len(beats(world, there["ana"])) == before + 1


async def test_a_room_left_alone_falls_silent(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """The timed rotation comes once, is confirmed by a beat, and that beat brings no other."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo", "cy", policy=Policy(rotate_hours=1))
        await there["ana"].send("hello")
        await trio.sleep(2 * HOUR)
        head, epoch = there["ana"].head, there["ana"].epoch
        assert epoch == 1
        assert beats(world, there["ana"])[-1][0] == head, "the rotation is confirmed"
        await trio.sleep(6 * HOUR)
        assert (there["ana"].head, there["ana"].epoch) == (head, epoch)


@pytest.mark.parametrize(
    ("names", "policy"),
    [(("ana", "bo"), Policy()), (("ana", "bo", "cy"), Policy(beat_minutes=0))],
    ids=["two members", "switched off"],
)
async def test_where_nobody_beats(
    names: tuple[str, ...], policy: Policy, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Rooms of two, and rooms founded so."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, *names, policy=policy)
        await there["ana"].send("hello")
        await trio.sleep(3 * HOUR)
        assert beats(world, there["ana"]) == []


async def test_the_silence_is_the_rooms_own(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    """GENESIS says how long it is."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo", "cy", policy=Policy(beat_minutes=120))
        await there["ana"].send("hello")
        await trio.sleep(119 * MINUTE)
        assert beats(world, there["ana"]) == []
        await trio.sleep(7 * MINUTE)
        assert len(beats(world, there["ana"])) == 1


async def test_a_beat_is_nothing_to_people(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    """It is not shown, not unread, and no event of the log for an application."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo", "cy")
        before = await quiet(world, there)
        await there["ana"].send("hello")
        await settle(there.values())
        heads = {name: room.head for name, room in there.items()}
        await trio.sleep(HOUR)
        assert len(beats(world, there["ana"])) == before + 1
        for name, room in there.items():
            assert await everything(room, heads[name]) == []
            assert [message.text for message in room.messages()] == ["hello"]
            assert room.unread == (name != "ana")
            assert room.outbox() == []


async def test_readonly_members_do_not_beat(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    """Nor is anything refused because they tried."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo", "cy")
        for name in ("bo", "cy"):
            await there["ana"].grant(there[name].me, Role.READONLY)
        before = len(beats(world, there["ana"]))
        await there["ana"].send("hello")
        await trio.sleep(3 * HOUR)
        assert len(beats(world, there["ana"])) == before
        assert all(room.outbox() == [] for room in there.values())


async def test_a_refused_beat_is_not_told(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    """A relay that takes nothing until the key is renewed: nobody is told of a message refused."""
    policy = Policy(stall_after=20, rotate_after=100_000)
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo", "cy", policy=policy)
        await there["ana"].rotate()
        room = there["bo"]
        for _ in range(20):
            await there["ana"].send("hello")
        await settle(there.values())
        await world.stop_client("ana")
        before = len(beats(world, room))
        with room.events() as events:
            await trio.sleep(HOUR)
            assert [e for e in told(events) if type(e).__name__ == "MessageFailed"] == []
        assert room.outbox() == there["cy"].outbox() == []
        assert len(beats(world, room)) == before


async def test_a_crowd_that_comes_back_at_once_beats_once(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """The relay was away while everybody's time to beat went by."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, *CROWD)
        before = await quiet(world, there)
        await there["a"].send("hello")
        await settle(there.values())
        await world.stop_relay()
        await trio.sleep(HOUR)
        await world.start_relay()
        for room in there.values():
            room._client.retry_now()
        await trio.sleep(2 * HOUR)
        assert len(beats(world, there["a"])) == before + 1


async def test_what_is_unconfirmed_outlives_a_restart(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Bo alone saw the last word, and his client was started anew before the silence was over."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo", "cy")
        before = await quiet(world, there)
        await world.stop_client("cy")
        await there["ana"].send("hello")
        await settle([there["ana"], there["bo"]])
        await world.stop_client("ana")
        await world.stop_client("bo")
        [room] = (await world.client("bo")).rooms
        await trio.sleep(HOUR)
        made = beats(world, room)
        assert len(made) == before + 1
        assert made[-1][1].mid == room.me


# -- what it is for --------------------------------------------------------------------------------


Lie = Callable[[list[frames.Delivery]], list[frames.Delivery]]


def lie_to(room: Room, first: int, lie: Lie) -> None:
    """The relay shows this client something else in place of the entries from `first` on.

    A word for the log (LOG_HEAD) that it signs for this client alone would fit what it shows.
    """
    machine = room._client._connection(room.id).machine
    receive, shown = machine.receive, [0]
    kept: list[frames.Delivery] = []

    def receiving(turn: Turn, frame: frames.RelayFrame) -> None:
        if isinstance(frame, frames.Head):
            return
        if not isinstance(frame, frames.Delivery) or frame.seq < first:
            receive(turn, frame)
            return
        kept.append(frame)
        changed = lie(kept)
        for delivery in changed[shown[0] :]:
            receive(turn, delivery)
        shown[0] = max(shown[0], len(changed))

    machine.receive = receiving  # type: ignore[method-assign]


def renumbered(deliveries: list[frames.Delivery], first: int) -> list[frames.Delivery]:
    return [evolve(one, seq=seq) for seq, one in enumerate(deliveries, start=first)]


async def two_tails(world: World, policy: Policy) -> tuple[People, list[Alarm]]:
    """Ana and Cy speak at once; Bo, who only reads, is shown the two the other way round."""
    there = await people(world, "ana", "bo", "cy", policy=policy)
    await there["ana"].grant(there["bo"].me, Role.READONLY)
    await settle(there.values())
    await trio.sleep(HOUR)
    first = there["ana"].head + 1

    def swap(kept: list[frames.Delivery]) -> list[frames.Delivery]:
        return renumbered([kept[1], kept[0], *kept[2:]], first) if len(kept) > 1 else []

    lie_to(there["bo"], first, swap)
    with there["bo"].events() as events:
        for name in ("ana", "cy"):
            with there[name]._client.transaction() as tx:
                there[name].queue(tx, f"this is {name}")
        await until(lambda: there["bo"].head == first + 1)
        await trio.sleep(3 * HOUR)
        return there, [event for event in told(events) if isinstance(event, Alarm)]


async def test_two_tails_are_found_out_though_nobody_speaks(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Ana and Bo were shown different ends of the log: the next beat is proof of it."""
    async with open_world(tmp_path, quick) as world:
        there, alarms = await two_tails(world, Policy())
        assert [alarm.kind for alarm in alarms] == [AlarmKind.FORK]
        assert there["bo"].status is RoomStatus.FROZEN
        [envelope] = there["bo"].evidence()
        proof = peek(envelope).record
        assert isinstance(proof, Event)
        assert proof.kind is EventKind.BEAT


async def test_without_beats_two_tails_stay_unknown(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """The control case: it is the beat that finds it out, until somebody speaks."""
    async with open_world(tmp_path, quick) as world:
        there, alarms = await two_tails(world, Policy(beat_minutes=0))
        assert alarms == []
        assert there["bo"].status is RoomStatus.ACTIVE
        await there["ana"].send("hello?")
        await until(lambda: there["bo"].status is RoomStatus.FROZEN)


async def test_a_tail_cut_off_is_found_out_though_nobody_speaks(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Bo is not shown the last word; Cy's beat says that there is one."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo", "cy")
        await quiet(world, there)
        first = there["ana"].head + 1
        lie_to(there["bo"], first, lambda kept: renumbered(kept[1:], first))
        await there["ana"].send("Bo is not to see this")
        await trio.sleep(3 * HOUR)
        assert there["bo"].messages() == []
        assert there["bo"].status is RoomStatus.FROZEN
