"""Opening SQLite: URL to path, files and their permissions, connections and their pragmas."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Final
from urllib.parse import quote

import sqlalchemy as sa

from ofcd.store.errors import Missing, StoreError, Unsupported
from ofcd.store.types import Durability

__all__ = [
    "READERS",
    "connect",
    "database_path",
    "make_files",
    "reader_engine",
    "require_file",
    "writer_engine",
]

READERS: Final = 4
"""Reads at once: more callers than that wait for a connection."""

_SCHEME: Final = "sqlite:///"
_DIRECTORY_MODE: Final = 0o700
_FILE_MODE: Final = 0o600
_BUSY_SECONDS: Final = 5.0
"""Who waits: only against other programs (a backup tool, a shell); ofcd itself has one writer."""
_POOL_SECONDS: Final = 30.0
_WRITER_CACHE_KIB: Final = 32 * 1024
"""The upper pages of three indexes: inserts by random id hit them all."""
_READER_CACHE_KIB: Final = 8 * 1024
_MADE_SO: Final = ("PRAGMA auto_vacuum = INCREMENTAL",)
"""Of a new database, for all its life: lets `Writer.shrink` work. Said again, it is a write."""
_WAL_KEPT_BYTES: Final = 64 * 1024 * 1024
"""A write-ahead log that grew beyond it (a long backup) is cut back at its next turn."""


def database_path(url: str) -> Path:
    """The file that a `sqlite:///PATH` URL names. Raises `Unsupported` for any other."""
    path = url.removeprefix(_SCHEME)
    if path == url or path in ("", ":memory:"):
        raise Unsupported(
            "only SQLite files are supported so far: set url to sqlite:///PATH (in [storage])"
        )
    return Path(path).absolute()


def make_files(path: Path) -> None:
    """Make what is missing: the directory, for its owner alone, and an empty database, likewise.

    An existing directory keeps its mode (it may be shared on purpose); an existing database is
    taken from all others. Raises OSError.
    """
    path.parent.parent.mkdir(parents=True, exist_ok=True)
    path.parent.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, _FILE_MODE))
    except FileExistsError:
        if path.stat().st_mode & 0o077:
            # A file of another owner, or a read-only disk: the first write will tell.
            with contextlib.suppress(OSError):
                path.chmod(_FILE_MODE)


def require_file(path: Path) -> None:
    """Raise `Missing` where there is no database: a reader must not make an empty one."""
    if not path.is_file():
        raise Missing(
            f"there is no database at {path}: the relay was not started yet, or data_dir or url in "
            "the config is another"
        )


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """A connection without Python's own transaction keeping; any thread may use it in its turn."""
    mode = "ro" if read_only else "rw"
    return sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}",
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=128,
    )


def writer_engine(path: Path, durability: Durability) -> sa.Engine:
    """An engine of one connection, in WAL mode, whose transactions take the write lock at once."""

    def make() -> sqlite3.Connection:
        return _prepared(
            connect(path, read_only=False),
            *(() if path.stat().st_size else _MADE_SO),
            "PRAGMA foreign_keys = ON",
            f"PRAGMA synchronous = {durability.value.upper()}",
            "PRAGMA wal_autocheckpoint = 0",
            f"PRAGMA journal_size_limit = {_WAL_KEPT_BYTES}",
            f"PRAGMA cache_size = -{_WRITER_CACHE_KIB}",
            "PRAGMA secure_delete = ON",
            "PRAGMA temp_store = MEMORY",
            wal=True,
        )

    engine = sa.create_engine(
        "sqlite://", creator=make, poolclass=sa.QueuePool, pool_size=1, max_overflow=0
    )
    sa.event.listen(engine, "begin", _begin_immediate)
    return engine


def reader_engine(path: Path) -> sa.Engine:
    """An engine of `READERS` connections that can not write."""

    def make() -> sqlite3.Connection:
        return _prepared(
            connect(path, read_only=True),
            "PRAGMA query_only = ON",
            f"PRAGMA cache_size = -{_READER_CACHE_KIB}",
            "PRAGMA temp_store = MEMORY",
        )

    engine = sa.create_engine(
        "sqlite://",
        creator=make,
        poolclass=sa.QueuePool,
        pool_size=READERS,
        max_overflow=0,
        pool_timeout=_POOL_SECONDS,
    )
    sa.event.listen(engine, "begin", _begin)
    return engine


def _prepared(raw: sqlite3.Connection, *pragmas: str, wal: bool = False) -> sqlite3.Connection:
    try:
        for pragma in pragmas:
            raw.execute(pragma)
        if wal:
            _require_wal(raw)
    except BaseException:
        raw.close()
        raise
    return raw


def _require_wal(raw: sqlite3.Connection) -> None:
    (mode,) = raw.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreError(
            "SQLite's write-ahead log does not work on this disk (a network share?): "
            "set data_dir to a local one"
        )


def _begin_immediate(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN")
