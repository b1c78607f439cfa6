"""Mails read in threads: few at once, and each counted on the disk while it is read (trio).

Of a mail that ends the process nothing can be written after, and it comes again: its server brings
it, or an owner lets it in. So it is counted before, and not read any more once it was there at the
end of several lives. Others were there too: who was is read alone, and they are cleared of it.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Final, TypeVar

import trio

from bridge.core.network import Host
from bridge.email.store import Store
from ofcd.errors import OfcError

__all__ = ["Deadly", "Readers"]

T = TypeVar("T")
_THREADS: Final = 2
"""Mails that are read at once: each may take all of a core for a while."""
_LIVES: Final = 3
"""That ended while one mail was read: then it is why."""
_KNOWN: Final = 1000
"""Mails that are counted; those counted first are forgotten first."""


class Deadly(OfcError):
    """The bridge ended each time that this mail was read."""

    code = "mail_deadly"


class Readers:
    """Whoever reads mails, for one network."""

    def __init__(self, host: Host, store: Store) -> None:
        self._host = host
        self._store = store
        self._threads = trio.CapacityLimiter(_THREADS)
        self._alone = trio.Lock()

    async def read(self, raw: bytes, what: str, work: Callable[[], T]) -> T:
        """What `work` makes of a mail. Raises `Deadly`, and what `work` does.

        `what`: a word for that work. Each is counted by itself: another that went well clears it
        of nothing.
        """
        key = f"{what} {sha256(raw).hexdigest()}"
        lives = self._lives(key)
        if lives >= _LIVES:
            raise Deadly("the bridge ended whenever it was read")
        if not lives:
            return await self._counted(key, work)
        others = [object() for _ in range(_THREADS - 1)]
        async with self._alone:
            try:
                for one in others:
                    await self._threads.acquire_on_behalf_of(one)
                return await self._counted(key, work)
            finally:
                for one in others:
                    if one in self._threads.statistics().borrowers:
                        self._threads.release_on_behalf_of(one)

    async def _counted(self, key: str, work: Callable[[], T]) -> T:
        async with self._threads:
            self._note(key, self._lives(key) + 1)
            try:
                return await trio.to_thread.run_sync(work)
            finally:
                self._note(key, 0)

    def _lives(self, key: str) -> int:
        return int(self._known().get(key, 0))

    def _known(self) -> dict[str, int]:
        return dict(self._store.fact(self._host.vault, "reading") or {})

    def _note(self, key: str, lives: int) -> None:
        known = self._known()
        known.pop(key, None)
        if lives:
            known[key] = lives
        while len(known) > _KNOWN:
            del known[next(iter(known))]
        # It has to outlive the process, and no power cut.
        with self._host.vault.transaction(durable=False) as tx:
            self._store.keep_fact(tx, "reading", known)
