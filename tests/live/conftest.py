"""Live tests: real processes, real sockets, real time, each in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.support import Relay


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    """A relay that listens; it is killed at the end if it still runs."""
    made = Relay(tmp_path)
    made.start()
    yield made
    made.kill()
