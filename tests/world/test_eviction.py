"""Who is out is out: of the log, of the key, of the room."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from ofcd.client import ClientError, NotAllowed, Room, RoomStatus
from ofcd.protocol.frames import BlobGet, ClientFrame
from ofcd.protocol.ids import BlobId, InviteId, MemberId
from ofcd.testing import open_world
from tests.world.scene import again, agree, people, quick, settle, texts, until
from tests.world.thief import followed, follows, opened, recording, stolen, unboxes

PING = 6
"""Bytes of a WebSocket ping or pong without content."""


async def test_the_evicted_get_nothing_from_then_on(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """After EVICT the relay gives cy no entry, no signal, no history; keys and past stay."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo", "cy")
        await there["bo"].send("before")
        await settle(there.values())
        carried: list[bytes] = []
        world.lines["cy"].record = carried.append
        await there["ana"].evict(there["cy"].me, reason="spam")
        await until(lambda: there["cy"].status is RoomStatus.EVICTED)
        await settle([there["ana"], there["bo"]])
        before = len(carried)
        head = there["cy"].head
        await there["bo"].send("after")
        there["bo"].typing()
        await settle([there["ana"], there["bo"]])
        await trio.sleep(1)
        assert max(map(len, carried[before:]), default=0) <= PING, "pings are no delivery"
        with pytest.raises(NotAllowed, match="removed"):
            await there["cy"].send("let me in")
        await world.stop_client("cy")
        there["cy"] = await again(world, "cy")
        await trio.sleep(60)
        assert there["cy"].head == head
        assert there["cy"].status is RoomStatus.EVICTED
        assert texts(there["cy"]) == ["before"]
        agree([there["ana"], there["bo"]], ["before", "after"])


async def test_who_was_evicted_while_away_is_told_and_keeps_its_past(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Evicted while offline, cy finds the room hidden or gone, and its keys and history there."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo", "cy")
        await there["bo"].send("before")
        await settle(there.values())
        victim = there["cy"].me
        await world.stop_client("cy")
        await there["ana"].evict(victim)
        await there["bo"].send("after")
        cy = await again(world, "cy")
        await until(lambda: cy.status is not RoomStatus.ACTIVE)
        assert texts(cy) == ["before"]
        with pytest.raises(ClientError):
            await cy.send("hello?")
        assert cy._client._core(cy.id).keys.keys, "no word of a relay removes a key"


def chunk_of(room: Room) -> Callable[[int], ClientFrame]:
    """What fetching a file asks the relay for."""
    return lambda rid: BlobGet(rid, room.id, BlobId(bytes(16)), 0)


ASKS: dict[str, Callable[[Room, MemberId], Awaitable[object]]] = {
    "send": lambda cy, bo: cy.send("hello?"),
    "wait_live": lambda cy, bo: cy.wait_live(),
    "invite": lambda cy, bo: cy.invite(),
    "rotate": lambda cy, bo: cy.rotate(),
    "leave": lambda cy, bo: cy.leave(),
    "close_invite": lambda cy, bo: cy.close_invite(InviteId(bytes(16))),
    "set_alias": lambda cy, bo: cy.set_alias(bo),
    "compare": lambda cy, bo: cy.compare(bo, "some old phrase of ours"),
    "a request": lambda cy, bo: cy._client._request(cy.id, chunk_of(cy)),
}


@pytest.mark.parametrize("known", [False, True], ids=["right after the start", "a minute later"])
async def test_whatever_is_asked_of_a_room_one_was_evicted_from_ends_at_once(
    tmp_path: Path, autojump_clock: trio.abc.Clock, known: bool
) -> None:
    """Evicted while away, cy is refused with a code and a sentence; nobody waits for a timeout."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo", "cy")
        victim = there["cy"].me
        await world.stop_client("cy")
        await there["ana"].evict(victim)
        for name, ask in ASKS.items():
            cy = await again(world, "cy")
            if known:
                await trio.sleep(60)
            before = trio.current_time()
            with pytest.raises(ClientError, match="not in it") as caught:
                await ask(cy, there["bo"].me)
            assert caught.value.code == "not_found", name
            assert trio.current_time() - before < 1, name
            await world.stop_client("cy")


async def test_the_evicted_open_nothing_even_with_the_relays_help(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Test 20: cy's keys and the relay's whole store open nothing that was sealed after EVICT."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo", "cy")
        await there["bo"].send("before")
        await settle(there.values())
        mine, keys = stolen(there["cy"])
        start = there["ana"].head + 1
        await there["ana"].evict(there["cy"].me)
        await there["bo"].send("after")
        await there["ana"].rotate()
        await there["bo"].send("after a routine rotation")
        await settle([there["ana"], there["bo"]])
        later = [row for row in recording(world, there["ana"], there["bo"]) if row.seq >= start]
        assert opened(recording(world, there["ana"]), keys), "the key opens what came before"
        assert opened(later, keys) == []
        assert not any(follows(row, keys) for row in later)
        assert not any(unboxes(row, mine, there["ana"]) for row in later)
        assert sum(bool(row.box) for row in later) == 2, "the relay gave all the boxes it has"


async def test_a_stolen_key_follows_routine_rotations(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Test 20's control: whoever holds a room key follows routine rotations, up to a boxed one."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")
        _, keys = stolen(there["bo"])
        await there["ana"].rotate()
        await there["bo"].send("after a routine rotation")
        await there["ana"].rotate(boxed=True)
        await there["bo"].send("after a boxed one")
        await settle(there.values())
        all_rows = recording(world, there["ana"])
        said = opened(all_rows, followed(all_rows, keys))
        assert any(b"after a routine rotation" in body for body in said)
        assert not any(b"after a boxed one" in body for body in said)


async def test_who_was_evicted_comes_back_by_a_new_invite_only(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """A new invite makes a new member of the same person, without the words of the time between."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")
        await there["ana"].evict(there["bo"].me)
        await there["ana"].send("while bo is out")
        await there["ana"].rotate()
        client = await world.client("bo again")
        there["bo"] = await client.join(await there["ana"].invite(), name="bo")
        await there["bo"].send("back")
        await settle(there.values())
        assert texts(there["bo"]) == ["back"]
        assert len(there["ana"].members()) == 2
