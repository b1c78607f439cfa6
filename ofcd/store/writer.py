"""The one writer: its connection, its transactions, and when the write-ahead log is moved.

A commit that fails rolls back and leaves the writer usable. Checkpoints are ours (SQLite's own
would run inside whichever commit crosses the mark, and make its latency): `checkpoint` does the
bulk on a connection of its own, beside commits, and holds the writer only for what came meanwhile.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from attrs import astuple

from ofcd.protocol.ids import RelayId, RoomId
from ofcd.relay.facts import Fact, RoomFounded
from ofcd.store import tables as t
from ofcd.store.batch import Batch
from ofcd.store.engine import writer_engine
from ofcd.store.errors import Closed, Contradiction
from ofcd.store.faults import translated
from ofcd.store.statements import statements_of
from ofcd.store.types import Durability, PeerRow

__all__ = ["Writer"]

_CHECKPOINT_BYTES: Final = 8 * 1024 * 1024
"""Write-ahead log after which a checkpoint is due."""
_CHECKPOINT_AT_LATEST: Final = 4 * _CHECKPOINT_BYTES
"""... and after which a commit does it itself, if nobody else did."""
_NUMBERS_CACHED: Final = 100_000
_SPARE_PAGES: Final = 256
"""Empty pages (1 MiB) that are left for what comes next."""
_PAGES_A_SHRINK: Final = 128
"""At most so many full pages are moved at once: a few milliseconds."""

_FIND_ROOM: Final = sa.select(t.rooms.c.id).where(t.rooms.c.room == sa.bindparam("b_room"))
_FOUND_ROOM: Final = sa.insert(t.rooms)
_FORGET_KEY: Final = (
    sa.update(t.peers).where(t.peers.c.relay_id == sa.bindparam("b_relay_id")).values(key=b"")
)


class Writer:
    """All writing to one database. Its methods may be called from any thread; they take turns."""

    def __init__(self, path: Path, durability: Durability) -> None:
        self._path = path
        self._mutex = threading.Lock()
        self._engine = writer_engine(path, durability)
        self._side_mutex = threading.Lock()
        self._side_engine = writer_engine(path, durability)
        self._statements = statements_of(self._engine.dialect)
        self._numbers: dict[RoomId, int] = {}
        self._unmoved = 0
        self._closed = False
        self._kept: sa.Connection | None = self._engine.connect()

    def commit(self, facts: Sequence[Fact]) -> list[int]:
        """All facts in one transaction, or none; see `Store.commit`."""
        if not facts:
            return []
        with self._mutex, translated(self._path):
            with self._begun() as connection:
                numbers = _Numbers(connection, self._numbers)
                for fact in facts:
                    if isinstance(fact, RoomFounded):
                        numbers.found(fact)
                batch = Batch(facts, self._statements, numbers.of)
                freed = self._write(connection, batch)
            self._remember(numbers.new)
            self._count(batch.weight + sum(freed))
            return freed

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """The writer's connection in a transaction: committed at the end, or rolled back."""
        with self._mutex, translated(self._path), self._begun() as connection:
            yield connection

    def put_peer(self, row: PeerRow) -> None:
        """See `Store.put_peer`."""
        with self.transaction() as connection:
            *known, statements, disputed = astuple(row)
            self._statements.peer.run(connection, [tuple(known)])
            if statements or disputed:
                ways = (row.relay_id, statements, disputed)
                self._statements.succession.run(connection, [ways])

    def forget_keys(self, relay_id: RelayId) -> None:
        """See `Store.forget_keys`."""
        with self.transaction() as connection:
            connection.execute(_FORGET_KEY, {"b_relay_id": relay_id})
            self._statements.succession_drop.run(connection, [(relay_id,)])

    def drop_peer(self, relay_id: RelayId) -> None:
        """See `Store.drop_peer`."""
        with self.transaction() as connection:
            self._statements.peer_drop.run(connection, [(relay_id,)])
            self._statements.succession_drop.run(connection, [(relay_id,)])

    def put_hearers(self, room: RoomId, relays: Iterable[RelayId]) -> None:
        """See `Store.put_hearers`."""
        with self.transaction() as connection:
            found = connection.execute(_FIND_ROOM, {"b_room": room}).scalar()
            if found is not None:
                row = (found, b"".join(sorted(relays)))
                self._statements.hearers.run(connection, [row])

    def grew(self, weight: int) -> None:
        """A transaction put about so many bytes into the write-ahead log."""
        with self._mutex, translated(self._path):
            self._count(weight)

    def shrink(self) -> bool:
        """Give a little of the empty space back to the disk; whether more can be.

        What is empty is used again, and giving it back costs writing: only where a quarter of the
        file is empty. A database made without `auto_vacuum` stays as it is.
        """
        with self._mutex, translated(self._path):
            raw = _raw(self._live())
            empty, every = _pragma(raw, "freelist_count"), _pragma(raw, "page_count")
            if empty < max(_SPARE_PAGES, every // 4):
                return False
            # As a script: Python's `execute` takes one step of it, which gives back one page.
            raw.executescript(f"PRAGMA incremental_vacuum({_PAGES_A_SHRINK})")
            given = empty - _pragma(raw, "freelist_count")
            self._count(given * _pragma(raw, "page_size"))
            return given > 0

    @contextmanager
    def connection(self) -> Iterator[sa.Connection]:
        """The writer's connection in no transaction, for migrations."""
        with self._mutex, translated(self._path):
            yield self._live()

    @property
    def checkpoint_due(self) -> bool:
        """Whether the write-ahead log has grown enough to be moved."""
        return self._unmoved >= _CHECKPOINT_BYTES

    def checkpoint(self) -> None:
        """Move the write-ahead log into the database; see `Store.checkpoint`."""
        with self._side_mutex, translated(self._path):
            if self._closed:
                return
            with self._side_engine.connect() as connection:
                _passive(connection)
        with self._mutex, translated(self._path):
            if not self._closed:
                self._unmoved = 0
                _passive(self._live())

    def close(self) -> None:
        """Close the connections; twice is fine."""
        with self._side_mutex, self._mutex:
            self._closed = True
            self._drop()
            self._side_engine.dispose()
            self._engine.dispose()

    def _write(self, connection: sa.Connection, batch: Batch) -> list[int]:
        """Execute it; the bytes that each `BlobDropped` freed."""
        growths = batch.growths
        if growths and self._statements.grow.run(connection, growths) != len(growths):
            raise Contradiction("the log of a room does not end where the new entries begin")
        freed: list[int] = []
        for statement, rows in batch.runs():
            if statement is self._statements.blob_drop:
                chunks = (self._statements.chunks_drop.returned(connection, row) for row in rows)
                freed += [sum(size for (size,) in sizes) for sizes in chunks]
            statement.run(connection, rows)
        return freed

    @contextmanager
    def _begun(self) -> Iterator[sa.Connection]:
        connection = self._live()
        try:
            with connection.begin():
                yield connection
        except sa.exc.IntegrityError:
            raise
        except sa.exc.DBAPIError:
            # After a failed COMMIT a transaction may still be open, and after a disk error nothing
            # that the connection remembers is sure: begin anew, once somebody asks again.
            self._drop()
            raise

    def _live(self) -> sa.Connection:
        if self._closed:
            raise Closed("the store is closed")
        if self._kept is None:
            self._kept = self._engine.connect()
        return self._kept

    def _drop(self) -> None:
        if self._kept is not None:
            kept, self._kept = self._kept, None
            kept.invalidate()
            kept.close()

    def _remember(self, numbers: dict[RoomId, int]) -> None:
        if len(self._numbers) + len(numbers) > _NUMBERS_CACHED:
            self._numbers.clear()
        self._numbers.update(numbers)

    def _count(self, weight: int) -> None:
        self._unmoved += weight
        if self._unmoved >= _CHECKPOINT_AT_LATEST:
            self._unmoved = 0
            # The commit is done and stays so, whatever comes of this: the next write will tell.
            with suppress(sqlite3.Error, sa.exc.DBAPIError):
                _passive(self._live())


class _Numbers:
    """Numbers of rooms: those known, and those that this transaction looks up or makes."""

    def __init__(self, connection: sa.Connection, known: dict[RoomId, int]) -> None:
        self._connection = connection
        self._known = known
        self.new: dict[RoomId, int] = {}
        """To be remembered once the transaction is committed, not before."""

    def found(self, fact: RoomFounded) -> None:
        row = {
            "room": fact.room,
            "creator": fact.creator,
            "ts": fact.ts,
            "last_ts": fact.ts,
            "seq": fact.floor - 1,
            "log": fact.floor_log,
            "floor": fact.floor,
            "floor_log": fact.floor_log,
            "swept": fact.floor,
            **dict.fromkeys(("events", "bytes"), 0),
        }
        key: Any = self._connection.execute(_FOUND_ROOM, row).inserted_primary_key
        self.new[fact.room] = key.id

    def of(self, room: RoomId) -> int:
        number = self._known.get(room) or self.new.get(room)
        if number is None:
            number = self._connection.execute(_FIND_ROOM, {"b_room": room}).scalar()
            if number is None:
                raise Contradiction("the room of a fact was never founded")
            self.new[room] = number
        return number


def _passive(connection: sa.Connection) -> None:
    """Checkpoint without waiting for anybody (sqlite.org/pragma.html#pragma_wal_checkpoint)."""
    _raw(connection).execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def _raw(connection: sa.Connection) -> sqlite3.Connection:
    """For what can not run inside a transaction: SQLAlchemy would begin one."""
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)  # noqa: S101 - for the types
    return raw


def _pragma(raw: sqlite3.Connection, name: str) -> int:
    (value,) = raw.execute(f"PRAGMA {name}").fetchone()
    return int(value)
