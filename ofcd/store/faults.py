"""From the errors of SQLite, SQLAlchemy and the disk to ours: one place, one table."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import sqlalchemy.exc

from ofcd.store.errors import (
    Busy,
    Contradiction,
    Corrupt,
    DiskError,
    DiskFull,
    ReadOnly,
    StoreError,
)

__all__ = ["translated"]

_FULL = (
    DiskFull,
    "no space is left for the database {path}: free some on its disk; "
    "nothing that was acknowledged is lost, and the next write works once there is space",
)
_READ_ONLY = (
    ReadOnly,
    "the database {path} can not be written: let the relay's user write the file and its "
    "directory, and see that the disk is not mounted read-only",
)
_CORRUPT = (
    Corrupt,
    "the database {path} is damaged, or is no database: "
    "stop the relay and put a backup in its place",
)
_DISK = (
    DiskError,
    "the disk failed the database {path}: look at the system's log (dmesg) and the disk's health",
)
_BUSY = (
    Busy,
    "another program keeps the database {path} locked: close it and try again",
)
_CONTRADICTION = (
    Contradiction,
    "what was to be written contradicts the database {path}: nothing of it was",
)
_OTHER = (StoreError, "the database {path} refused")

_BY_SQLITE_CODE: Final[dict[int, tuple[type[StoreError], str]]] = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_PERM: _READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: _READ_ONLY,
    sqlite3.SQLITE_CORRUPT: _CORRUPT,
    sqlite3.SQLITE_NOTADB: _CORRUPT,
    sqlite3.SQLITE_IOERR: _DISK,
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
    sqlite3.SQLITE_CONSTRAINT: _CONTRADICTION,
}
_BY_ERRNO: Final[dict[int, tuple[type[StoreError], str]]] = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: _READ_ONLY,
    errno.EACCES: _READ_ONLY,
    errno.EPERM: _READ_ONLY,
    errno.ENOTDIR: _READ_ONLY,
    errno.EIO: _DISK,
}
_PRIMARY_CODE: Final = 0xFF
"""The low byte of SQLite's extended result code (sqlite.org/rescode.html)."""

_STEP_BYTES: Final = 64 * 1024
"""With less space than this the disk counts as full: a WAL's shared memory grows by 32 KiB."""


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise whatever goes wrong inside with the database at `path` as a `StoreError`."""
    try:
        yield
    except sqlalchemy.exc.TimeoutError as late:
        raise Busy(f"all readers of the database {path} are busy: try again") from late
    except sqlalchemy.exc.DBAPIError as wrapped:
        raise _of_sqlite(wrapped.orig, path) from wrapped
    except sqlite3.Error as raw:
        raise _of_sqlite(raw, path) from raw
    except OSError as failed:
        raise _of_os(failed, path) from failed


def _of_sqlite(raw: BaseException | None, path: Path) -> StoreError:
    extended = getattr(raw, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    kind = _BY_SQLITE_CODE.get(extended & _PRIMARY_CODE, _OTHER)
    if kind is _DISK and _is_full(path):  # such as when the shared memory of the WAL can not grow
        kind = _FULL
    name = getattr(raw, "sqlite_errorname", "")
    return _made(kind, path, name or str(raw))


def _of_os(failed: OSError, path: Path) -> StoreError:
    return _made(_BY_ERRNO.get(failed.errno or 0, _OTHER), path, failed.strerror or "")


def _made(kind: tuple[type[StoreError], str], path: Path, detail: str) -> StoreError:
    cls, sentence = kind
    return cls(f"{sentence.format(path=path)} ({detail})" if detail else sentence.format(path=path))


def _is_full(path: Path) -> bool:
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < _STEP_BYTES
