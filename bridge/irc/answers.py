"""What somebody is told alone: once a day each, and to all of them together now and then (trio)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from bridge.irc.connection import Connection, Lost
from bridge.irc.wire import Line
from ofcd.protocol.rates import TokenBuckets

__all__ = ["Answers"]


class Answers:
    """Those of all connections to one network. They are notices, which no program answers."""

    def __init__(self, now: Callable[[], int]) -> None:
        """`now()`: milliseconds since 1970."""
        self._now = now
        self._told = TokenBuckets(burst=1, per_second=1 / 86_400, max_keys=2000)
        self._all = TokenBuckets(burst=5, per_second=0.1, max_keys=1)

    async def tell(self, connection: Connection, line: Line, words: str) -> None:
        """Answer who sent a line, unless they were told so today."""
        now = self._now()
        key = (connection.fold(connection.nick), line.host or line.nick, words)
        if self._told.wait(key, now) or self._all.take("", now):
            return
        self._told.take(key, now)
        with suppress(Lost):
            await connection.send("NOTICE", line.nick, words)
