"""A room outlives its hub: three real relays, the room moved, the hub killed for good."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import pytest
import trio

from ofcd.client import Room
from tests.live.support import Relay, client, rows_of, settle, texts, until

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

NAMES = ("old", "new", "third")
FEDERATION = '[federation]\nmode = "open"\nallow_private = ["127.0.0.0/8"]\n'


@contextmanager
def relays(folder: Path) -> Iterator[dict[str, Relay]]:
    """Three relays, which know of each other what invites and HUB_MOVE say."""
    made: dict[str, Relay] = {}
    try:
        for name in NAMES:
            (folder / name).mkdir()
            made[name] = Relay(folder / name, more=FEDERATION)
            made[name].start()
        yield made
    finally:
        for relay in made.values():
            relay.kill()


async def test_a_room_outlives_its_hub(tmp_path: Path) -> None:
    """Moved, and the old hub gone for good: all members on all relays go on with the same log."""
    with relays(tmp_path) as there:
        async with AsyncExitStack() as stack:
            people = {
                name: await stack.enter_async_context(client(tmp_path / f"{name}.vault"))
                for name in ("ana", "bo", "cai", "dan")
            }
            old, new, third = (there[name] for name in NAMES)
            ana = await people["ana"].create_room(old.url, "tea", my_name="ana")
            rooms: list[Room] = [ana]
            for name, relay in (("bo", new), ("cai", third), ("dan", old)):
                link = await ana.invite()
                rooms.append(await people[name].join(link, name=name, via=relay.url))
            bo, cai, dan = rooms[1:]
            for room in rooms:
                await room.send("before")
            await settle(*rooms, seconds=60)
            await ana.move_hub(new.url)
            await ana.move_home(new.url)
            await dan.move_home(third.url)
            await settle(*rooms, seconds=60)
            await trio.to_thread.run_sync(old.kill)
            for number, room in enumerate(rooms):
                await room.send(f"after {number}")
            await ana.rotate(boxed=True)
            for number, room in enumerate(rooms):
                await room.send(f"with a new key {number}")
            await settle(*rooms, seconds=60)
            assert len({room._client._core(room.id).log.log for room in rooms}) == 1
            assert len({tuple(texts(room)) for room in (ana, dan)}) == 1
            assert texts(bo)[-8:] == texts(cai)[-8:] == texts(ana)[-8:]
            assert {room.hub_id.hex() for room in rooms} == {ana.relay_id.hex()}
            head = ana.head
            await until(lambda: head in rows_of(new, ana) and head in rows_of(third, ana), 60)
            mine, theirs = rows_of(new, ana), rows_of(third, ana)
            both = mine.keys() & theirs.keys()
            assert len(both) > len(rooms) * 2
            assert {seq: mine[seq] for seq in both} == {seq: theirs[seq] for seq in both}


async def test_a_hub_that_is_put_back_to_well_before_a_move_is_up_and_follows(
    tmp_path: Path,
) -> None:
    """It is told of a HUB_MOVE that is not its next entry; then its members come."""
    with relays(tmp_path) as there:
        old, new, _ = (there[name] for name in NAMES)
        async with AsyncExitStack() as stack:
            vaults = [client(tmp_path / f"{name}.vault") for name in ("ana", "bo")]
            people = [await stack.enter_async_context(vault) for vault in vaults]
            ana = await people[0].create_room(old.url, "tea", my_name="ana")
            bo = await people[1].join(await ana.invite(), name="bo", via=new.url)
            async with client(tmp_path / "dan.vault") as running:
                dan = await running.join(await ana.invite(), name="dan", via=old.url)
                await settle(ana, bo, dan, seconds=60)
            await trio.to_thread.run_sync(old.stop)
            backup = shutil.copytree(old.data, tmp_path / "backup")
            await trio.to_thread.run_sync(old.start)
            for number in range(3):
                await ana.send(f"not in the backup {number}")
            await ana.move_hub(new.url)
            await ana.move_home(new.url)
            await settle(ana, bo, seconds=60)
            await trio.to_thread.run_sync(old.kill)
            shutil.rmtree(old.data)
            shutil.copytree(backup, old.data)
            await trio.to_thread.run_sync(old.start)
            await until(lambda: ana.head in rows_of(old, ana), 60)
            running = await stack.enter_async_context(client(tmp_path / "dan.vault"))
            [dan] = running.rooms
            await dan.send("by way of the hub of before")
            await settle(ana, bo, dan, seconds=60)
            assert texts(dan)[-4:] == texts(bo)[-4:] == texts(ana)[-4:]
            assert "a mistake of the relay's" not in old.log.read_text()
            assert await trio.to_thread.run_sync(old.stop) == 0
