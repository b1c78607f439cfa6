"""What a gap's reading may take of memory, whatever a hub says of how many rooms."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from ofcd.daemon.peers.gaps import Gap, Leftovers, Space
from ofcd.protocol.codes import Refused
from ofcd.protocol.ids import Hash32, MemberId, PublicKey, RelayId, RoomId
from ofcd.relay import Entry
from ofcd.themis.lineage import Lineage

MID = MemberId(b"\x01" * 32)


def boxed(seq: int, size: int) -> Entry:
    return Entry(seq, b"record", boxes=((MID, bytes(size)),))


def test_all_gaps_share_one_space_for_boxes() -> None:
    """It is given back when they are done with."""
    space = Space(100)
    one, other = (Gap(9, Hash32(bytes(32)), 0, space) for _ in range(2))
    one.take([boxed(1, 60), boxed(1, 60), boxed(2, 30), boxed(9, 1)])
    other.take([boxed(1, 20), boxed(2, 10)])
    assert (set(one.boxes), set(other.boxes), space.left) == ({1, 2}, {2}, 0)
    one.close()
    one.take([boxed(3, 10)])
    assert (one.boxes, space.left) == ({}, 90)
    other.close()
    other.close()
    assert space.left == 100


class Rooms:
    """A room of the hub's, whichever is asked for; its control log comes without end."""

    def __init__(self) -> None:
        self.reading = self.most = 0
        self.room = self

    async def load(self, room: RoomId) -> Any:
        class Log:
            state = type("State", (), {"seq": 1})

        Log.room = room  # type: ignore[attr-defined]
        return Log

    def homed(self, room: RoomId, own: RelayId) -> frozenset[MemberId]:
        return frozenset({MID})

    async def read_chain(self, *_: object) -> list[Any]:
        self.reading += 1
        self.most = max(self.most, self.reading)
        await trio.sleep(5)
        self.reading -= 1
        return []


async def test_few_control_logs_are_in_memory_at_a_time(autojump_clock: trio.abc.Clock) -> None:
    rooms: Any = Rooms()
    own = RelayId(bytes(32))
    one: Any = trio.CapacityLimiter(1)
    left = Leftovers(rooms, rooms, own, rooms, one, one, trio.CapacityLimiter(2))

    async def read(number: int) -> None:
        gap = Gap(9, Hash32(bytes(32)), 0, Space(1))
        key = PublicKey(bytes(45))
        with pytest.raises(Refused):
            await left.of(RoomId(bytes([number]) * 32), gap, Lineage(own), key)

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(read, number)
    assert rooms.most == 2
