"""The file under a vault: its lock, its permissions, and how SQLite is set up for it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ofcd.client.errors import (
    VaultDamaged,
    VaultError,
    VaultExists,
    VaultLocked,
    VaultMissing,
    VaultUnwritable,
)

__all__ = [
    "Database",
    "FileLock",
    "connect",
    "copy_database",
    "create_file",
    "new_database",
    "sqlite_errors",
    "sync_log",
]

Database = sqlite3.Connection
"""An open vault file."""

_OWNER_ONLY: Final = 0o600
_SETUP: Final = (
    "PRAGMA journal_mode=WAL",
    # Commits are synced by `sync_log`: not all of them need it, and that is known only at the end.
    "PRAGMA synchronous=NORMAL",
    # What was deleted (an old epoch's key) does not stay readable in free pages.
    "PRAGMA secure_delete=ON",
    "PRAGMA trusted_schema=OFF",
    "PRAGMA temp_store=MEMORY",
)


@contextmanager
def sqlite_errors(path: str) -> Iterator[None]:
    """Turn SQLite's errors into `VaultUnwritable` (the disk) or `VaultDamaged` (the contents)."""
    try:
        yield
    except sqlite3.ProgrammingError as error:
        raise VaultError(f"the vault {path} is closed") from error
    except sqlite3.OperationalError as error:
        raise VaultUnwritable(
            f"the vault {path} could not be read or written ({error}): "
            "check free space and permissions; nothing was changed"
        ) from error
    except sqlite3.DatabaseError as error:
        raise VaultDamaged(
            f"the vault {path} is damaged ({error}): restore it from a backup"
        ) from error


class FileLock:
    """An exclusive lock (flock) beside the vault; it goes when the process does."""

    def __init__(self, path: Path) -> None:
        """Take the lock for the vault at `path`; raises `VaultLocked` with the holder's pid."""
        self._path = path.with_name(path.name + ".lock")
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _OWNER_ONLY)
        except OSError as error:
            raise VaultUnwritable(
                f"no lock file can be made beside the vault {path} ({error.strerror})"
            ) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pid = self._holder()
            os.close(self._fd)
            raise VaultLocked(str(path), pid) from None
        with contextlib.suppress(OSError):  # a full disk: the lock holds, others are told no pid
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, str(os.getpid()).encode(), 0)

    def _holder(self) -> int | None:
        text = os.pread(self._fd, 20, 0)
        return int(text) if text.isdigit() else None

    def release(self) -> None:
        """Give the lock up. The file stays: removing it would race with who waits for it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def create_file(path: Path) -> None:
    """An empty file only its owner can read; raises `VaultExists`."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, _OWNER_ONLY))
    except FileExistsError:
        raise VaultExists(f"there already is a file at {path}") from None
    except OSError as error:
        raise VaultUnwritable(f"no vault can be made at {path} ({error.strerror})") from error


@contextmanager
def new_database(path: Path) -> Iterator[Database]:
    """A database that appears at `path` when the block has ended, whole or not at all.

    Whoever is killed in the block leaves `path` free for the next attempt. Raises `VaultExists`.
    """
    if path.exists():
        raise VaultExists(f"there already is a file at {path}")
    part = path.with_name(path.name + ".part")
    _remove(part)
    create_file(part)
    try:
        db = connect(part)
        try:
            yield db
        finally:
            db.close()  # the last one to close brings the write-ahead log into the file
        _publish(part, path)
    except BaseException:
        _remove(part)
        raise


def _publish(part: Path, path: Path) -> None:
    try:
        fd = os.open(part, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(part, path)
    except OSError as error:
        raise VaultUnwritable(f"nothing can be written to {path} ({error.strerror})") from error


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def connect(path: Path) -> sqlite3.Connection:
    """The database at `path`, durable and private. Raises a `VaultError`."""
    if not path.is_file():
        raise VaultMissing(f"there is no vault at {path}")
    try:
        os.chmod(path, _OWNER_ONLY)
    except OSError as error:
        raise VaultUnwritable(
            f"the vault {path} is not this user's alone ({error.strerror})"
        ) from error
    with sqlite_errors(str(path)):
        # A vault is used by one thread at a time; which one may change.
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            for statement in _SETUP:
                db.execute(statement)
            _require_log(db, path)
        except sqlite3.Error:
            db.close()
            raise
        return db


def _require_log(db: sqlite3.Connection, path: Path) -> None:
    """SQLite passes silently over a file system that can not do WAL: a network's, mostly."""
    if db.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        raise VaultUnwritable(
            f"the vault {path} stands where SQLite can keep no log (WAL): put it on a local disk"
        )


def sync_log(path: Path) -> None:
    """Bring what was committed onto the disk: what `synchronous=FULL` does at each commit.

    Raises `VaultUnwritable`; what was committed then outlives the process, but no power cut.
    """
    try:
        fd = os.open(path.with_name(path.name + "-wal"), os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise VaultUnwritable(
            f"the vault {path} could not be written ({error.strerror}): check the disk"
        ) from error


def copy_database(db: sqlite3.Connection, target: Path) -> None:
    """A whole copy of an open database at `target`, which appears at once or not at all."""
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    create_file(part)
    try:
        with sqlite_errors(str(target)):
            copy = sqlite3.connect(part)
            try:
                db.backup(copy)
            finally:
                copy.close()
        _publish(part, target)
    except VaultError:
        part.unlink(missing_ok=True)
        raise
