"""What a handler changes in the vault, kept aside until it has ended (sans-IO)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from bots.errors import Conflict

__all__ = ["BOT", "DEAD", "INVITES", "JOBS", "Draft", "Reads", "Writes", "room_table"]

BOT = "app/bot"
"""The table of the bot's own facts and of its memory that no room owns."""
DEAD = "app/bot/dead"
"""Dead letters."""
INVITES = "app/bot/invites"
"""Those of its settings that were used, or refused."""
JOBS = "app/bot/jobs"
"""Timers."""


def room_table(room: bytes) -> str:
    """The table of what the bot remembers about a room and its members."""
    return f"app/bot/room/{room.hex()}"


class Reads(Protocol):
    """Tables of records by id, to read: a vault, a transaction, or another draft."""

    def get(self, table: str, record_id: bytes) -> bytes | None:
        """The record, or None."""
        ...

    def items(
        self, table: str, start: bytes | None = None, end: bytes | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Records with start <= id < end, in the order of their ids."""
        ...


class Writes(Reads, Protocol):
    """Tables of records to read and write: a transaction, or a draft."""

    def put(self, table: str, record_id: bytes, value: bytes) -> None:
        """Insert or replace a record."""
        ...

    def delete(self, table: str, record_id: bytes) -> None:
        """Remove a record, if it is there."""
        ...


class Draft:
    """Writes over `base` that reach it only by `write`, if what was read there still holds."""

    def __init__(self, base: Reads) -> None:
        self._base = base
        self._read: dict[tuple[str, bytes], bytes | None] = {}
        self._written: dict[tuple[str, bytes], bytes | None] = {}

    def get(self, table: str, record_id: bytes) -> bytes | None:
        """The record as this draft has it, or None."""
        place = (table, record_id)
        if place in self._written:
            return self._written[place]
        if place not in self._read:
            self._read[place] = self._base.get(table, record_id)
        return self._read[place]

    def items(
        self, table: str, start: bytes | None = None, end: bytes | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Records with start <= id < end, in the order of their ids."""
        found: dict[bytes, bytes | None] = dict(self._base.items(table, start, end))
        for record_id, value in found.items():
            self._read.setdefault((table, record_id), value)
        for (where, record_id), value in self._written.items():
            inside = (start is None or start <= record_id) and (end is None or record_id < end)
            if where == table and inside:
                found[record_id] = value
        for record_id in sorted(found):
            value = found[record_id]
            if value is not None:
                yield record_id, value

    def put(self, table: str, record_id: bytes, value: bytes) -> None:
        """Insert or replace a record."""
        self._written[table, record_id] = value

    def delete(self, table: str, record_id: bytes) -> None:
        """Remove a record, if it is there."""
        self._written[table, record_id] = None

    @property
    def changed(self) -> bool:
        """Whether there is anything to write."""
        return bool(self._written)

    def write(self, target: Writes) -> None:
        """Put the changes there. Raises `Conflict` where what was read is another by now."""
        for (table, record_id), value in self._read.items():
            if target.get(table, record_id) != value:
                raise Conflict("another handler changed what this one read")
        for (table, record_id), value in self._written.items():
            if value is None:
                target.delete(table, record_id)
            else:
                target.put(table, record_id, value)
