"""What /healthz tells anyone who asks: no paths, no names; those stand in the log."""

from __future__ import annotations

from typing import Final

from ofcd.store import Busy, Corrupt, DiskError, DiskFull, ReadOnly, StoreError

__all__ = ["trouble_of"]

_SENTENCES: Final[dict[type[StoreError], str]] = {
    Busy: "the database is held up by another process",
    Corrupt: "the database is damaged",
    DiskError: "the disk of the database fails",
    DiskFull: "no space is left for the database",
    ReadOnly: "the database can not be written",
}


def trouble_of(error: StoreError) -> str:
    """One sentence, without the path and the details of the error's own."""
    return _SENTENCES.get(type(error), "the database fails: the relay's log says how")
