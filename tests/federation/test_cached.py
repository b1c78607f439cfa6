"""Attachments had from another relay: nobody's here, and not to be dropped by just anybody."""

from __future__ import annotations

from pathlib import Path

import trio

from ofcd.client import Room
from ofcd.protocol import frames
from ofcd.protocol.ids import BlobId
from ofcd.relay.facts import CACHED
from ofcd.testing import World, open_net
from tests.federation.double import quickly, shared
from tests.federation.test_move import blob_of
from tests.world.scene import settle, stored, until


async def drop(room: Room, blob: BlobId) -> frames.RelayFrame:
    """What this member's relay answers to a drop of what it calls its own."""
    connection, answers = room._client._connection(room.id), list[frames.RelayFrame]()
    with room._client._turn(connection) as turn:
        turn.ask(
            lambda rid: frames.BlobDrop(rid, room.id, blob, room.me),
            lambda _, frame: answers.append(frame),
        )
    await until(lambda: bool(answers))
    return answers[0]


def owner_of(world: World, room: Room, blob: BlobId) -> bytes | None:
    info = stored(world).blob_info(room.id, blob)
    return None if info is None else info.mid


async def test_what_was_read_from_elsewhere_is_nobodys(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """It counts against no member, also where the room is moved to the relay that kept it; there a
    member who calls it its own drops nothing, and an owner of the room does.
    """
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        file = tmp_path / "map.bin"
        file.write_bytes(bytes(range(256)) * 40)
        await ana.send_file(file)
        await settle([ana, bo])
        blob = blob_of(ana)
        message = next(m for m in bo.messages() if m.file is not None)

        async def read() -> None:
            assert await bo.read_file(message) == file.read_bytes()
            assert owner_of(new, bo, blob) == CACHED

        await read()
        assert new.daemon is not None
        log = new.daemon.hub._relay.room(ana.id)
        assert log is not None
        assert set(log.blob_bytes) == {CACHED}
        assert stored(new).cached_bytes() == log.blob_bytes[CACHED]
        assert isinstance(await drop(bo, blob), frames.Done)
        assert owner_of(new, bo, blob) is None, "the hub has it yet"
        await until(lambda: owner_of(old, bo, blob) == ana.me)
        await read()
        await ana.move_hub(new.url)
        await settle([ana, bo])
        assert isinstance(await drop(bo, blob), frames.Done)
        assert owner_of(new, bo, blob) == CACHED
        await ana.redact(next(m for m in ana.messages() if m.file is not None).event_id)
        await settle([ana, bo])
        await until(lambda: owner_of(new, bo, blob) is None)
        assert stored(new).cached_bytes() == 0
        assert log.blob_bytes == {}
