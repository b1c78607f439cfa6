"""Facts on disk: the only package that imports SQLAlchemy; one writer, many readers."""

from __future__ import annotations

from ofcd.store.engine import READERS
from ofcd.store.errors import (
    BackupFailed,
    Busy,
    Closed,
    Contradiction,
    Corrupt,
    DiskError,
    DiskFull,
    Locked,
    MigrationFailed,
    Missing,
    ReadOnly,
    SchemaTooNew,
    SchemaTooOld,
    StoreError,
    Unsupported,
)
from ofcd.store.store import Store
from ofcd.store.types import (
    BlobChunk,
    BlobInfo,
    ChainPage,
    CheckReport,
    Durability,
    LogPage,
    LogRow,
    Retention,
    RetentionReport,
    RoomSummary,
)

__all__ = [
    "READERS",
    "BackupFailed",
    "BlobChunk",
    "BlobInfo",
    "Busy",
    "ChainPage",
    "CheckReport",
    "Closed",
    "Contradiction",
    "Corrupt",
    "DiskError",
    "DiskFull",
    "Durability",
    "Locked",
    "LogPage",
    "LogRow",
    "MigrationFailed",
    "Missing",
    "ReadOnly",
    "Retention",
    "RetentionReport",
    "RoomSummary",
    "SchemaTooNew",
    "SchemaTooOld",
    "Store",
    "StoreError",
    "Unsupported",
]
