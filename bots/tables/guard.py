"""What statements of a bot's handlers may not do, told by SQLite's own authorizer.

A handler reads and changes rows. It makes no tables (migrations do), opens no other file, sets
nothing, and begins or ends no transaction: those are the engine's. What changes rows is done again
when the tables are loaded, so it must not ask for the time, for chance, or for the last row's id.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from attrs import define, field

from bots.tables.errors import TablesRefused

__all__ = ["VOLATILE", "Guard", "volatile_in"]

STATEMENT_SECONDS: Final = 5.0
_STEPS: Final = 20_000
"""Steps of SQLite's machine from one look at the clock to the next: about a millisecond."""
VOLATILE: Final = frozenset(
    {"random", "randomblob", "date", "time", "datetime", "julianday", "strftime", "unixepoch"}
    | {"timediff", "current_date", "current_time", "current_timestamp", "last_insert_rowid"}
    | {"changes", "total_changes"}
)
"""Functions whose value is another one each time, or may be."""
_ROWS: Final = frozenset({sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE})
_FINE: Final = _ROWS | {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}
_FULL_TEXT: Final = "data_version"
"""The one PRAGMA that SQLite's full-text search asks for by itself."""
_CALLS: Final = re.compile(
    r"\b(current_(?:date|time|timestamp)\b|(?:" + "|".join(sorted(VOLATILE)) + r")\s*\()",
    re.IGNORECASE,
)


def volatile_in(sql: str) -> str | None:
    """The first thing in a piece of SQL that has another value each time."""
    found = _CALLS.search(sql)
    return None if found is None else found[1].rstrip("( ").lower()


@define
class _Seen:
    writes: bool = False
    volatile: str = ""
    denied: str = ""


@define(eq=False)
class Guard:
    """Watches one connection."""

    _seen: _Seen | None = None
    """None: the engine itself is at work, and may do everything."""
    _until: float = field(default=0.0, init=False)

    def watch(self, db: sqlite3.Connection) -> None:
        """From now on SQLite asks this guard."""
        db.set_authorizer(self._authorize)
        db.set_progress_handler(self._is_too_long, _STEPS)

    @contextmanager
    def statement(self) -> Iterator[_Seen]:
        """A handler's statement. Raises `TablesRefused` for one that no handler may use."""
        self._seen = seen = _Seen()
        self._until = time.monotonic() + STATEMENT_SECONDS
        try:
            yield seen
        except Exception:
            if seen.denied:
                raise TablesRefused(_sentence(seen.denied)) from None
            if time.monotonic() > self._until:
                raise TablesRefused(
                    f"a statement took over {STATEMENT_SECONDS:g} s: give it an index, or less "
                    "to do"
                ) from None
            raise
        finally:
            self._seen = None
        if seen.writes and seen.volatile:
            raise TablesRefused(
                f"{seen.volatile}() has another value when this is done again: work it out in the "
                "handler (ctx.now is the time) and pass it as a parameter"
            )

    def _authorize(
        self, action: int, one: str | None, two: str | None, _db: str | None, _inner: str | None
    ) -> int:
        seen = self._seen
        if seen is None or (action == sqlite3.SQLITE_PRAGMA and one == _FULL_TEXT):
            return sqlite3.SQLITE_OK
        if action not in _FINE:
            seen.denied = _NAMES.get(action, "change the tables' form")
            return sqlite3.SQLITE_DENY
        seen.writes |= action in _ROWS
        if action == sqlite3.SQLITE_FUNCTION and two is not None and two.lower() in VOLATILE:
            seen.volatile = two.lower()
        return sqlite3.SQLITE_OK

    def _is_too_long(self) -> bool:
        return self._seen is not None and time.monotonic() > self._until


_NAMES: Final = {
    sqlite3.SQLITE_ATTACH: "open another database",
    sqlite3.SQLITE_DETACH: "open another database",
    sqlite3.SQLITE_PRAGMA: "use PRAGMA",
    sqlite3.SQLITE_TRANSACTION: "begin or end a transaction",
    sqlite3.SQLITE_SAVEPOINT: "begin or end a transaction",
}


def _sentence(denied: str) -> str:
    return f"a handler can not {denied}: it reads and changes rows, and migrations do the rest"
