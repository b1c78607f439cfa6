"""How many places a sweep tries: of those where a program may die, say, or of its kills.

`OFCD_TEST_SWEEP`: 1, as the tests are written; N, one place of N, where the whole suite has to end
in time; 0, every single await, in some minutes a test. Which places those are is always the same.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final, TypeVar

__all__ = ["fewer", "stride", "thinned"]

T = TypeVar("T")
_SWEEP: Final = int(os.environ.get("OFCD_TEST_SWEEP", "1"))


def thinned(places: Sequence[T]) -> list[T]:
    """Those that are tried, in order: the first and the last always."""
    step = max(1, _SWEEP)
    return [place for n, place in enumerate(places) if n % step == 0 or n == len(places) - 1]


def stride(usual: int) -> int:
    """Awaits from one place to the next, where so many are usual."""
    return usual * _SWEEP or 1


def fewer(usual: int) -> int:
    """How many times, where so many are usual; once at least."""
    return -(-usual // max(1, _SWEEP))
