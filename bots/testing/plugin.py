"""For pytest (with pytest-trio): in your conftest.py, `from bots.testing.plugin import world`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import trio.testing

from bots.testing.world import BotWorld, open_bot_world

__all__ = ["world"]


@pytest.fixture
async def world(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> AsyncIterator[BotWorld]:
    """An empty world, whose time passes at once."""
    if trio.lowlevel.current_clock() is not autojump_clock:
        # pytest-trio looks for the clock among the test's own parameters only.
        pytest.fail("a test with `world` names `autojump_clock` too: (world, autojump_clock)")
    async with open_bot_world(tmp_path) as made:
        yield made
