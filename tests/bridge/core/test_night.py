"""What who runs the bridge learns while they sleep: log and metrics."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from tests.bridge.core.world import open_scene


async def test_a_relay_that_is_away_is_told_of_once_and_counted(
    tmp_path: Path, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_scene(tmp_path) as scene:
        await trio.sleep(5)

        def page() -> list[str]:
            lines = scene.engine.metrics.render().decode().splitlines()
            names = ("bridge_relays_up", "bridge_ready_places", "bridge_inbound_waiting")
            return [one.rpartition(" ")[2] for one in lines if one.startswith(names)]

        assert page() == ["1.0", "0.0", "1.0"] or sorted(page()) == ["0.0", "1.0", "1.0"]
        scene.world.cut_links()
        await trio.sleep(20)
        assert "the relay" not in capsys.readouterr().out, "a link made anew is no news"
        await scene.world.stop_relay()
        for number in range(3):
            await scene.outside(f"line {number}")
            await trio.sleep(1200)
        assert sorted(page()) == ["0.0", "0.0", "3.0"]
        said = capsys.readouterr().out
        assert said.count("the relay is away") == 1
        await scene.world.start_relay()
        await trio.sleep(600)
        said = capsys.readouterr().out
        assert (said.count("the relay is back"), said.count("the relay is away")) == (1, 0)
        assert sorted(page()) == ["0.0", "1.0", "1.0"]
