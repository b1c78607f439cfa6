"""Online backup, and a look at the database's health."""

from __future__ import annotations

import errno
import os
import secrets
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ofcd.store.engine import connect
from ofcd.store.errors import BackupFailed, StoreError
from ofcd.store.faults import translated
from ofcd.store.migrate import current
from ofcd.store.tables import REVISION
from ofcd.store.types import CheckReport

__all__ = ["Progress", "backup", "check"]

Progress = Callable[[int, int], None]
"""Called with pages copied and pages in all; what it raises ends the backup."""

_PAGES_A_STEP: Final = 2048
"""8 MiB between two calls of the progress function."""
_PROBLEMS: Final = 20
_LOW_BYTES: Final = 64 * 1024 * 1024
_NO_HARD_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


def backup(path: Path, target: Path, progress: Progress | None = None) -> None:
    """Copy the database at `path`, as it is now, to `target`, which must not exist.

    The copy is one file that needs no other, synced to disk, checked, and then given its name in
    one step: at `target` there is a whole backup or nothing. Writers are not held up (WAL).

    Raises:
        BackupFailed: The target exists, its directory is missing or can not be written, or the
            copy is not sound.
        StoreError: The database itself can not be read.
    """
    if os.path.lexists(target):
        raise BackupFailed(f"{target} exists already: name a file that does not")
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            _copy(path, part, progress)
            _publish(part, target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as failed:
        raise BackupFailed(f"no backup was made at {target}: {failed.strerror}") from failed


def _copy(path: Path, part: Path, progress: Progress | None) -> None:
    with translated(path):
        source = connect(path, read_only=True)
    try:
        copy = connect(part, read_only=False)
        try:
            _copy_pages(source, copy, path, progress)
            _make_sound(copy, part)
        except sqlite3.Error as failed:
            raise BackupFailed(f"the backup could not be written: {failed}") from failed
        finally:
            copy.close()
    finally:
        source.close()


def _copy_pages(
    source: sqlite3.Connection, copy: sqlite3.Connection, path: Path, progress: Progress | None
) -> None:
    def step(_status: int, left: int, total: int) -> None:
        if progress is not None:
            progress(total - left, total)

    with translated(path):
        # One read transaction over all steps: otherwise each commit would start the copy anew.
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_master").fetchall()
    source.backup(copy, pages=_PAGES_A_STEP, progress=step)


def _make_sound(copy: sqlite3.Connection, part: Path) -> None:
    """Take the copy out of WAL mode, so that it is one file, and prove that it can be read."""
    copy.execute("PRAGMA journal_mode = DELETE").fetchall()
    problems = _quick_check(copy)
    if problems:
        raise BackupFailed(
            f"the copy of the database is damaged ({problems[0]}): run `ofcd doctor`"
        )


def _publish(part: Path, target: Path) -> None:
    _sync(part)
    try:
        os.link(part, target)  # fails if the target has come to exist; a rename would replace it
    except OSError as failed:
        if failed.errno not in _NO_HARD_LINKS:
            raise
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from failed
        part.rename(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _quick_check(raw: sqlite3.Connection) -> list[str]:
    rows = raw.execute(f"PRAGMA quick_check({_PROBLEMS})").fetchall()
    return [text for (text,) in rows if text != "ok"]


def check(path: Path) -> CheckReport:
    """Look for damage, a schema that is not ours, and things that will go wrong soon.

    Damage is reported, not raised.
    """
    damage = _damage(path)
    revision = None if damage else current(f"sqlite:///{path}")
    with translated(path):
        disk = os.statvfs(path.parent)
        return CheckReport(
            revision=revision,
            expected=REVISION,
            bytes=sum(p.stat().st_size for p in (path, Path(f"{path}-wal")) if p.exists()),
            free_bytes=disk.f_bavail * disk.f_frsize,
            problems=(*(damage or _schema(revision)), *_space(disk), *_modes(path)),
        )


def _damage(path: Path) -> list[str]:
    try:
        with translated(path):
            raw = connect(path, read_only=True)
            try:
                found = _quick_check(raw)
                orphans = raw.execute("PRAGMA foreign_key_check").fetchmany(_PROBLEMS)
            finally:
                raw.close()
    except StoreError as error:
        return [str(error)]
    found = [f"damage in the database: {problem}" for problem in found]
    return found + [f"a row of {table} belongs to nothing" for table, *_ in orphans]


def _schema(revision: str | None) -> list[str]:
    if revision == REVISION:
        return []
    return [f"the schema is {revision or 'missing'}, not {REVISION}: run `ofcd migrate`"]


def _space(disk: os.statvfs_result) -> list[str]:
    free = disk.f_bavail * disk.f_frsize
    if free >= _LOW_BYTES:
        return []
    return [f"only {free // 2**20} MiB are free on the database's disk"]


def _modes(path: Path) -> list[str]:
    if not path.stat().st_mode & 0o077:
        return []
    return [f"others may read the database: chmod 600 {path}"]
