"""What a client noted of entries that came to nothing with a move by force must go with them."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from ofcd.client.room import RoomMachine
from tests.federation.test_force import force
from tests.federation.test_force_again import opened
from tests.world.scene import settle, until


async def test_an_acceptance_that_is_void_hands_the_room_to_nobody(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever accepts at its place in the new log was never asked."""
    async with opened(tmp_path) as scene:
        ana, bo, cai = scene.rooms
        await scene.is_cut_off()
        for number in range(4):
            await cai.send(f"void {number}")
        with monkeypatch.context() as held:
            held.setattr(RoomMachine, "_hand_over", lambda *_: None)
            await ana.hand_over(cai.me)
            await settle([ana, cai])
            await cai.accept_handover()
            await settle([ana, cai])
            core = ana._client._core(ana.id)
            assert core.head.accepted_seq > bo.head
            await scene.third.stop_client("cai")
            await scene.old.stop_relay()
            await force(ana, scene.new)
            for _ in range(8):
                await bo.accept_handover()
            await settle([ana, bo])
        await trio.sleep(60)
        await ana.send("still root")
        await trio.sleep(60)
        assert ana._client._core(ana.id).state.root == ana.me
        await ana.hand_over(bo.me)
        await settle([ana, bo])
        await bo.accept_handover()
        await until(lambda: bo._client._core(bo.id).state.root == bo.me)
