"""A disk that takes nothing: who needs it waits, and the operator is told once an hour (trio).

Nothing has to be started anew when there is space again, but where the vault itself says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import trio

from ofcd.client import VaultUnwritable
from ofcd.client.applog import Log

__all__ = ["Disk"]

_HOUR_MS: Final = 3_600_000
_AGAIN_SECONDS: Final = 5.0

_Found = TypeVar("_Found")


class Disk:
    """Of one process."""

    def __init__(self, now: Callable[[], int], log: Log) -> None:
        """`now()`: milliseconds since 1970."""
        self._now = now
        self._log = log
        self._told = -_HOUR_MS

    def failed(self, error: VaultUnwritable) -> None:
        """It took something not: told, unless it was within the hour."""
        now = self._now()
        if now - self._told >= _HOUR_MS:
            self._told = now
            self._log.error("the disk takes nothing: what is said waits", why=str(error))

    async def again(self, work: Callable[[], _Found]) -> _Found:
        """What `work` returns, once the disk takes what it writes; tried again until then."""
        while True:
            try:
                return work()
            except VaultUnwritable as error:
                self.failed(error)
            await trio.sleep(_AGAIN_SECONDS)

    def try_to(self, work: Callable[[], None]) -> bool:
        """Do what is asked for again anyway; whether the disk took it."""
        try:
            work()
        except VaultUnwritable as error:
            self.failed(error)
            return False
        return True
