"""Room keys change while people talk: nobody loses a word, and all end with one key."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import trio

from ofcd.client import Alarm, AlarmKind, MemberLeft, NotAllowed, Rotated
from ofcd.protocol.records import Policy, Role
from ofcd.testing import open_world
from tests.world.scene import (
    again,
    agree,
    everything,
    join,
    people,
    quick,
    settle,
    texts,
    told,
    until,
)

EAGER = Policy(rotate_after=5)


async def test_the_key_rotates_by_log_position_and_every_tenth_time_boxed(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """120 messages with a rotation due every 5: each one read, the tenth rotation boxed."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo", policy=EAGER)
        said = [f"{name} {n}" for n in range(60) for name in there]
        for text in said:
            await there[text.split()[0]].send(text)
            await trio.sleep(1)
        await settle(there.values())
        agree(there.values(), said)
        rotations = [e for e in await everything(there["bo"]) if isinstance(e, Rotated)]
        assert [e.epoch for e in rotations] == list(range(1, len(rotations) + 1))
        assert len(rotations) >= 120 // 6
        boxed = [e.epoch for e in rotations if e.boxed]
        assert boxed == [epoch for epoch in range(1, len(rotations) + 1) if epoch % 10 == 0]
        seqs = [e.seq for e in rotations]
        assert all(b - a >= EAGER.rotate_after for a, b in pairwise(seqs))


async def test_101_messages_in_flight_across_rotations_all_arrive_once(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Test 22: three senders on slow lines, a key that changes under them: each message once."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo", "cy", policy=EAGER)
        for name in there:
            world.lines[name].delay = lambda: world.random.random() * 2
        said = [f"{name} {n}" for n in range(34) for name in there][:101]
        for text in said:
            room = there[text.split()[0]]
            with room._client.transaction() as tx:
                room.queue(tx, text)
        for _ in range(6):
            await there["ana"].rotate()
        await settle(there.values())
        agree(there.values(), said)
        for name, room in there.items():
            own = [text for text in texts(room) if text.startswith(name)]
            assert own == [text for text in said if text.startswith(name)], "own order is kept"


async def test_co_owners_rotating_at_once_converge(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Test 21 with sessions, stores and lines that delay: all converge, nothing is lost.

    A thousand schedules are in `test_schedules.py`.
    """
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo", "cy", policy=Policy(boxed_every=1000))
        await there["ana"].grant(there["bo"].me, Role.CO_OWNER)
        await settle(there.values())
        for name in there:
            world.lines[name].delay = lambda: world.random.random() * 0.2
        said: list[str] = []
        before = there["ana"].epoch
        for number in range(SCHEDULES):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(there["ana"].rotate)
                nursery.start_soon(there["bo"].rotate)
                nursery.start_soon(there["cy"].send, f"cy {number}")
            said.append(f"cy {number}")
        await settle(there.values())
        agree(there.values(), said)
        assert there["cy"].epoch - before == 2 * SCHEDULES, "each owner's wish was carried out"


SCHEDULES = 12


@pytest.mark.slow
async def test_co_owners_whose_duty_it_is_rotate_once(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Where both owners owe a rotation, one of them does it: no second one for the same reason."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo", "cy", policy=Policy(rotate_after=20))
        await there["ana"].grant(there["bo"].me, Role.CO_OWNER)
        await settle(there.values())
        for name in there:
            world.lines[name].delay = lambda: world.random.random() * 0.5
        for number in range(100):
            await there["cy"].send(str(number))
            await trio.sleep(3)
        await settle(there.values())
        rotations = [e for e in await everything(there["cy"]) if isinstance(e, Rotated)]
        seqs = [e.seq for e in rotations]
        assert 4 <= len(seqs) <= 6
        assert all(b - a >= 20 for a, b in pairwise(seqs))
        agree(there.values())


async def test_a_room_works_on_while_its_owner_is_away(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Test 23: without an owner the room works on and says that its key is old."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo", "cy", policy=EAGER)
        await settle(there.values())
        epoch = there["bo"].epoch
        alarms = there["bo"]._client.events()
        await world.stop_client("ana")
        said = [f"{name} {n}" for n in range(5 * EAGER.rotate_after) for name in ("bo", "cy")]
        for text in said:
            await there[text.split()[0]].send(text)
        await trio.sleep(60)
        assert there["bo"].epoch == epoch
        assert AlarmKind.KEY_OLD in {e.kind for e in told(alarms) if isinstance(e, Alarm)}
        there["ana"] = await again(world, "ana")
        await until(lambda: there["bo"].epoch > epoch)
        await settle(there.values())
        agree(there.values(), said)


async def test_a_co_owner_rotates_while_root_is_away(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Test 23: with a co-owner the key is renewed though root is offline."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo", "cy", policy=EAGER)
        await there["ana"].grant(there["bo"].me, Role.CO_OWNER)
        await settle(there.values())
        epoch = there["bo"].epoch
        await world.stop_client("ana")
        said = [f"cy {n}" for n in range(10 * EAGER.rotate_after)]
        for text in said:
            await there["cy"].send(text)
            await trio.sleep(10)
        await settle([there["bo"], there["cy"]])
        assert there["cy"].epoch >= epoch + 5
        there["ana"] = await again(world, "ana")
        await settle(there.values())
        agree(there.values(), said)


async def test_after_a_leave_only_a_boxed_rotation_is_taken(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Test 23: while a LEAVE waits, the relay takes no routine rotation; then who left is out."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo", "cy")
        world.lines["ana"].up = False
        world.lines["ana"].cut()
        await there["cy"].leave()
        await there["bo"].send("is anybody here?")
        await until(lambda: there["bo"].head > there["ana"].head)
        world.lines["ana"].up = True
        there["ana"]._client.retry_now()
        stay = [there["ana"], there["bo"]]
        await until(lambda: there["ana"].epoch > 0)
        await settle(stay)
        events = await everything(there["bo"])
        [left] = [e for e in events if isinstance(e, MemberLeft)]
        first = next(e for e in events if isinstance(e, Rotated))
        assert left.seq < first.seq
        assert first.boxed
        agree(stay, ["is anybody here?"])


async def test_a_member_offline_through_25_epochs_reads_all(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Test 25: away through 25 rotations, two of them boxed: everything is read up to now."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")
        await world.stop_client("bo")
        said = []
        for number in range(25):
            said.append(f"in epoch {number}")
            await there["ana"].send(said[-1])
            await there["ana"].rotate()
        there["bo"] = await again(world, "bo")
        await settle(there.values())
        agree(there.values(), said)
        rotations = [e for e in await everything(there["bo"]) if isinstance(e, Rotated)]
        assert len(rotations) == 25
        assert sum(e.boxed for e in rotations) == 2


async def test_a_newcomer_reads_since_the_last_rotation(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Test 26: history begins for a newcomer behind the record that opened the current epoch."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")
        await there["bo"].send("old words")
        await there["ana"].rotate()
        await there["bo"].send("new words")
        there["cy"] = await join(world, there["ana"], "cy")
        await there["cy"].send("hello")
        await settle(there.values())
        assert texts(there["cy"]) == ["new words", "hello"]
        assert texts(there["bo"]) == ["old words", "new words", "hello"]
        agree(there.values())


async def test_a_lost_race_is_no_error_for_who_lost(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Two owners change different things at once: the loser's change is made anew, not refused."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo", "cy", "di")
        await there["ana"].grant(there["bo"].me, Role.CO_OWNER)
        await settle(there.values())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(there["ana"].evict, there["cy"].me)
            nursery.start_soon(there["bo"].evict, there["di"].me)
            nursery.start_soon(there["bo"].rotate)
        stay = [there["ana"], there["bo"]]
        await settle(stay)
        assert [len(room.members()) for room in stay] == [2, 2]
        agree(stay)


async def test_who_evicts_the_same_member_twice_hears_no_error(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Two owners evict one member at once: one record, and both are told it is done."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo", "cy")
        await there["ana"].grant(there["bo"].me, Role.CO_OWNER)
        await settle(there.values())
        victim = there["cy"].me
        async with trio.open_nursery() as nursery:
            nursery.start_soon(there["ana"].evict, victim)
            nursery.start_soon(there["bo"].evict, victim)
        stay = [there["ana"], there["bo"]]
        await settle(stay)
        left = [e for e in await everything(there["bo"]) if isinstance(e, MemberLeft)]
        assert [e.members for e in left] == [(victim,)]
        with pytest.raises(NotAllowed):
            await there["cy"].send("still here?")
