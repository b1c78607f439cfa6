"""A hub with two faces: one log for Ana and one for Bo, both signed by the same relay key.

Two relays on copies of one database are that hub. Real clients are on both; then the hub passes
what one of them said on to the other one's log, as it must if the two are ever to hear each other.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ofcd.client import Alarm, AlarmKind, Room, RoomFrozen, RoomStatus
from ofcd.compliance.peer import greet, shake_hands
from ofcd.e2e.keys import MemberKeys
from ofcd.protocol import frames, records
from ofcd.relay import posting
from ofcd.store import LogRow
from ofcd.testing import World, open_world
from ofcd.themis.signed import sign_record
from tests.world.scene import people, rows, told, until


async def test_17_two_logs_for_two_people(
    tmp_path: Path, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first word across raises `fork` at both; both are frozen, and keep who signed what."""
    async with open_world(tmp_path / "one") as one:
        there = await people(one, "ana", "bo")
        ana, common = there["ana"], there["ana"].head
        keys = {name: room._client._core(room.id).mine for name, room in there.items()}
        await one.stop_client("bo")
        await one.stop_relay()
        shutil.copytree(tmp_path / "one", tmp_path / "two")
        await one.start_relay()
        async with open_world(tmp_path / "two") as two:
            [bo] = (await two.client("bo")).rooms
            heard = {room: room._client.events() for room in (ana, bo)}
            for word in ("first", "second"):
                await ana.send(f"{word} of Ana")
                await bo.send(f"{word} of Bo")
            assert ana.head == bo.head > common
            assert ana.status is bo.status is RoomStatus.ACTIVE, "nobody can know yet"
            of_ana = [row for row in rows(one, ana.id, keys["ana"].mid) if row.seq > common]
            of_bo = [row for row in rows(two, bo.id, keys["bo"].mid) if row.seq > common]
            # What makes it a hub that lies: it commits what its own log refutes.
            monkeypatch.setattr(posting, "_check_next", lambda request: None)
            await forward(one, ana, keys["bo"], of_bo)
            await forward(two, bo, keys["ana"], of_ana)
            for room, others in ((ana, of_bo), (bo, of_ana)):
                await until(lambda room=room: room.status is RoomStatus.FROZEN)  # type: ignore[misc]
                alarms = [event for event in told(heard[room]) if isinstance(event, Alarm)]
                assert [alarm.kind for alarm in alarms] == [AlarmKind.FORK]
                kept = room._client._core(room.id).evidence(room._client.vault)
                assert {row.record for row in others} & set(kept), "what the other had signed"
                assert not {"second of Ana", "second of Bo"} <= set(texts_of(room))
                with pytest.raises(RoomFrozen):
                    await room.send("into a split room")


def texts_of(room: Room) -> list[str]:
    return [message.text for message in room.messages(since=0, limit=1000)]


async def forward(world: World, room: Room, keys: MemberKeys, said: list[LogRow]) -> None:
    """Put what a member signed elsewhere into this world's log of the room."""
    async with world.dial(world.url) as stream:
        peer = await greet(await shake_hands(stream))
        attach = records.Attach(
            v=1,
            room=room.id,
            mid=keys.mid,
            transport_key=peer.transport_key,
            relay_id=peer.relay_id,
            challenge=peer.greeting.challenge,
            ts=world.now(),
        )
        record = sign_record(keys.sign.private, attach).envelope
        await peer.expect(frames.Attached, frames.Attach(peer.number(), record))
        for row in said:
            post = frames.Post(peer.number(), room.id, row.record, row.cell)
            await peer.expect(frames.Ack, post)
