"""What a check is, and running them one after another."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from enum import StrEnum
from typing import Final

import trio
from attrs import frozen

from ofcd.compliance.errors import NotKept, Skipped
from ofcd.compliance.lab import Lab, Target, open_lab
from ofcd.errors import OfcError
from ofcd.wire import DialError

__all__ = ["Check", "Outcome", "Result", "check", "run_check", "unkept"]

Work = Callable[[Lab], Awaitable[None]]
_SECONDS: Final = 300.0
"""The longest that one check may take, waiting for rates included."""


class Outcome(StrEnum):
    """How a check ended."""

    PASS = "pass"  # noqa: S105 - a word of the report
    FAIL = "fail"
    SKIP = "skip"


@frozen
class Check:
    """One promise of a relay, and how to find out whether it is kept."""

    name: str
    """`group.word`."""
    section: str
    """Of docs/protocol.md, which makes the promise."""
    promise: str
    """One sentence."""
    work: Work

    @property
    def group(self) -> str:
        """The first part of its name."""
        return self.name.partition(".")[0]


@frozen
class Result:
    """What came of one check."""

    check: Check
    outcome: Outcome
    reason: str = ""
    seconds: float = 0.0


class Registry:
    """The checks of one module, in the order they are written."""

    def __init__(self, group: str) -> None:
        self.group = group
        self.checks: list[Check] = []

    def __call__(self, name: str, section: str, promise: str) -> Callable[[Work], Work]:
        """Register the decorated coroutine function as a check."""

        def register(work: Work) -> Work:
            self.checks.append(Check(f"{self.group}.{name}", section, promise, work))
            return work

        return register


def check(group: str) -> Registry:
    """The registry of a group of checks."""
    return Registry(group)


async def run_check(target: Target, one: Check, seconds: float = _SECONDS) -> Result:
    """Run one check; whatever the relay does, it ends, with a result.

    Raises `DialError` where there is no relay to be checked.
    """
    began = trio.current_time()
    outcome, reason = Outcome.PASS, ""
    try:
        with trio.fail_after(seconds):
            async with open_lab(target) as lab:
                await one.work(lab)
    except trio.TooSlowError:
        outcome, reason = Outcome.FAIL, f"it did not come to an end within {seconds:g} s"
    except (OfcError, trio.BrokenResourceError, ExceptionGroup) as error:
        ended = _single(error)
        outcome = Outcome.SKIP if isinstance(ended, Skipped) else Outcome.FAIL
        reason = str(ended)
    return Result(one, outcome, reason, trio.current_time() - began)


def _single(error: Exception) -> Exception:
    """What ended a check, out of the nurseries it was raised in. Raises what is no result."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, DialError) or not isinstance(error, OfcError | trio.BrokenResourceError):
        raise error
    return error


def unkept(results: Iterable[Result]) -> list[Result]:
    """Those that failed."""
    return [result for result in results if result.outcome is Outcome.FAIL]


def require(kept: bool, otherwise: str) -> None:
    """Raises `NotKept` with this sentence unless `kept`."""
    if not kept:
        raise NotKept(otherwise)
