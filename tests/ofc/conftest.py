"""A street: a relay, and people. Who names `autojump_clock` too has time pass at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from ofcd.testing import open_world
from tests.ofc.people import Street


@pytest.fixture
async def street(tmp_path: Path, autojump_clock: MockClock) -> AsyncIterator[Street]:
    """A relay that runs, and whoever is called."""
    async with open_world(tmp_path) as world, trio.open_nursery() as nursery:
        yield Street(world, nursery)
        nursery.cancel_scope.cancel()
