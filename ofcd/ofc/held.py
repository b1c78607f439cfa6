"""Carrying an error out of a nursery as itself: what leaves one by itself comes in a group."""

from __future__ import annotations

from types import TracebackType

from ofcd.errors import OfcError

__all__ = ["Held", "Interrupted"]


class Interrupted(Exception):
    """Ctrl-C, or SIGTERM: `str` is the signal's name."""


class Held:
    """`with held:` keeps an error of the block; `held.release()`, after the nursery, raises it."""

    def __init__(self, *more: type[Exception]) -> None:
        """Holds every `OfcError`, `Interrupted`, and errors of the types `more`."""
        self._kinds: tuple[type[Exception], ...] = (OfcError, Interrupted, *more)
        self._error: BaseException | None = None

    def release(self) -> None:
        """Raise the error, if there was one."""
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Held:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> bool:
        if not isinstance(error, self._kinds):
            return False
        self._error = error
        return True
