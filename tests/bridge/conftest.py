"""What all tests of bridges have."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _log_as_it_is_by_default() -> Iterator[None]:
    """Whatever a test before it in this process has set up."""
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()
