"""How many places a sweep tries: of those where a program may die, say, or of its kills.

`OFCD_TEST_SWEEP`: 1, as the tests are written; N, one place of N, where the whole suite has to end
in time; 0, every single await, in some minutes a test. Which places those are is always the same.
"""

from __future__ import annotations

import os
from typing import Final

__all__ = ["fewer", "stride"]

_SWEEP: Final = int(os.environ.get("OFCD_TEST_SWEEP", "1"))


def stride(usual: int) -> int:
    """Awaits from one place to the next, where so many are usual."""
    return usual * _SWEEP or 1


def fewer(usual: int) -> int:
    """How many times, where so many are usual; once at least."""
    return -(-usual // max(1, _SWEEP))
