"""The town: a relay that runs, and whoever is called.

A test that names `autojump_clock` too has time pass at once; pytest-trio looks for it there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from ofcd.testing import open_world
from tests.client.liar import Bo, Scene, open_bo, record
from tests.client.world import Town
from tests.world.scene import patient


@pytest.fixture
async def town(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> AsyncIterator[Town]:
    """A relay that runs, and whoever is called."""
    async with open_world(tmp_path, patient) as world:
        yield Town(world)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Recorded once, from a real relay."""
    folder = tmp_path_factory.mktemp("scene")
    return trio.run(partial(record, folder), clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.fixture
def bo(scene: Scene, tmp_path: Path) -> Iterator[Bo]:
    """Bo, connected and caught up."""
    with open_bo(scene, tmp_path / "bo.vault") as bo:
        bo.connect()
        assert bo.room.is_live
        yield bo
