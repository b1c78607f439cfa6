"""What can go wrong with the database, typed; `faults.py` makes them of SQLite's errors.

StoreError               facts could not be read or written
├── Unsupported          the database URL is not one this version can open
├── Locked               another process has the database
├── Busy                 a lock or a connection was not to be had in time: try again
├── DiskFull             no space left
├── ReadOnly             the file, its directory or its disk can not be written
├── DiskError            the disk failed to read, write or sync
├── Corrupt              the file is damaged, or is no database
├── Contradiction        facts do not fit what is stored: whoever decided them must reload
├── SchemaTooNew         a newer ofcd wrote the database
├── SchemaTooOld         migrations are due, and were not asked for
├── MigrationFailed      a migration failed; the database is as before
└── BackupFailed         no backup was made; whatever was at its place is untouched
"""

from __future__ import annotations

from ofcd.errors import OfcError

__all__ = [
    "BackupFailed",
    "Busy",
    "Closed",
    "Contradiction",
    "Corrupt",
    "DiskError",
    "DiskFull",
    "Locked",
    "MigrationFailed",
    "Missing",
    "ReadOnly",
    "SchemaTooNew",
    "SchemaTooOld",
    "StoreError",
    "Unsupported",
]


class StoreError(OfcError):
    """Facts could not be read or written."""

    code = "store"


class Unsupported(StoreError):
    """The database URL is not one this version can open."""

    code = "store_unsupported"


class Missing(StoreError):
    """There is no database at the URL."""

    code = "store_missing"


class Closed(StoreError):
    """The store was closed."""

    code = "store_closed"


class Locked(StoreError):
    """Another process has the database."""

    code = "store_locked"


class Busy(StoreError):
    """A lock or a connection was not to be had in time."""

    code = "store_busy"


class DiskFull(StoreError):
    """No space is left for the database."""

    code = "disk_full"


class ReadOnly(StoreError):
    """The database can not be written."""

    code = "store_read_only"


class DiskError(StoreError):
    """The disk failed to read, write or sync."""

    code = "disk_error"


class Corrupt(StoreError):
    """The file is damaged, or is no database."""

    code = "store_corrupt"


class Contradiction(StoreError):
    """Facts do not fit what is stored; nothing of their batch was."""

    code = "store_contradiction"


class SchemaTooNew(StoreError):
    """A newer ofcd wrote the database."""

    code = "schema_too_new"


class SchemaTooOld(StoreError):
    """Migrations are due."""

    code = "schema_too_old"


class MigrationFailed(StoreError):
    """A migration failed; the database is as before."""

    code = "migration_failed"


class BackupFailed(StoreError):
    """No backup was made; whatever was at its place is untouched."""

    code = "backup_failed"
