"""The relay of a bridge's room has a new key."""

from __future__ import annotations

from pathlib import Path

from trio.testing import MockClock

from tests.bridge.core.world import PLACE, open_scene
from tests.federation.test_succession import replace


async def test_a_bridge_goes_on_when_its_relay_has_a_new_key(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Both ways, each line once, also what is said in the meantime."""
    async with open_scene(tmp_path) as scene:
        await scene.room.send("one")
        await scene.outside("uno")
        await scene.quiet()
        await scene.world.stop_relay()
        await scene.outside("dos")
        await scene.world.start_relay()
        await replace(scene.world)
        await scene.room.send("two")
        await scene.outside("tres")
        await scene.quiet(30)
        assert scene.bridged() == ["kim: uno", "kim: dos", "kim: tres"]
        assert scene.walls.lines(PLACE) == ["Ana: one", "Ana: two"]
