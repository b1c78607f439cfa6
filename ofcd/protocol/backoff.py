"""When to try again: exponential, jittered, reset by success (sans-IO)."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

__all__ = ["Backoff"]


@define
class Backoff:
    """Waits of `first`, twice that, … up to `longest` milliseconds, each ±`jitter` of itself.

    `random` gives floats in [0, 1). A server's own wish (`retry_after`) is the least wait.
    """

    random: Callable[[], float]
    first: int = 1_000
    longest: int = 600_000
    jitter: float = 0.2
    failures: int = field(default=0, init=False)

    def failed(self, retry_after: int = 0) -> int:
        """Count one more failure in a row; how many milliseconds to wait now."""
        doublings = min(self.failures, 30)
        base = min(self.first << doublings, self.longest)
        self.failures += 1
        spread = 1 + self.jitter * (2 * self.random() - 1)
        return max(int(base * spread), retry_after)

    def succeeded(self) -> None:
        """Start from the shortest wait again."""
        self.failures = 0
