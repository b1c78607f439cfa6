"""The vault: a client's secrets and history in one SQLite file, encrypted at rest.

A random key (DEK) seals every record, bound to its table, id and version; the DEK itself is
sealed under the passphrase or a raw key (protocol.md §2.5). Versions are the numbers of commits,
so none comes twice. For state tables a sealed index holds the versions of all records, and the
sealed top record those of the indexes: an old record put back, or one removed, is noticed.
Tables under `archive/` are append-mostly and are not pinned record by record.

What it can not notice is the whole file put back to an earlier state. What a thief of the file
sees: table names (room ids), how many records, their sizes.

One thread at a time; transactions do not nest. An application may keep its own tables here and
change them in the same transaction as the client core's (`Transaction`).
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol

from attrs import define, field

from ofcd.client._vaultfile import (
    FileLock,
    connect,
    copy_database,
    create_file,
    new_database,
    sqlite_errors,
    sync_log,
)
from ofcd.client._vaultkeys import Secret, initialise, rewrap, unlock
from ofcd.client.errors import (
    VaultDamaged,
    VaultError,
    VaultExists,
    VaultMissing,
    VaultUnwritable,
)
from ofcd.protocol.ids import tagged_hash
from ofcd.themis import CannotOpen, seal, unseal

__all__ = ["ARCHIVE", "Reader", "Records", "Secret", "Transaction", "Vault"]

ARCHIVE: Final = "archive/"
"""Tables with this prefix are not pinned record by record."""

_INDEX: Final = "#index"
_TOP: Final = "#top"
_U32: Final = struct.Struct(">I")
_U64: Final = struct.Struct(">Q")
_FILLED: Final = b"\1"

Versions = dict[bytes, int]


class Reader(Protocol):
    """Tables of records by id, to read: a vault, or a transaction."""

    def get(self, table: str, record_id: bytes) -> bytes | None:
        """The record, or None."""
        ...

    def items(
        self,
        table: str,
        start: bytes | None = None,
        end: bytes | None = None,
        *,
        limit: int | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        """Records with start <= id < end, in the order of their ids."""
        ...


class Records(Reader, Protocol):
    """Tables of records that the machines of the client core read and write: a transaction."""

    def put(self, table: str, record_id: bytes, value: bytes) -> None:
        """Insert or replace a record."""
        ...

    def delete(self, table: str, record_id: bytes) -> None:
        """Remove a record, if it is there."""
        ...

    def on_commit(self, action: Callable[[], None]) -> None:
        """Run `action` once everything written here is committed; never, if it is not."""
        ...

    def scrub(self) -> None:
        """Once committed, nothing that was deleted or replaced stays in the vault's files."""
        ...


@define
class _Pins:
    """The sealed index of the state tables: which version of each record is the true one."""

    commit: int = 0
    indexes: dict[str, int] = field(factory=dict)
    tables: dict[str, Versions] = field(factory=dict)

    def copy(self) -> _Pins:
        return _Pins(self.commit, dict(self.indexes), dict(self.tables))


class Vault:
    """An open vault. `Vault.create` and `Vault.open` make one; `close` (or `with`) gives it up."""

    def __init__(self, path: Path, lock: FileLock, db: sqlite3.Connection, dek: bytes) -> None:
        """Use `create` or `open`."""
        self.path = path
        self._lock = lock
        self._db = db
        self._dek = dek
        self._transaction: Transaction | None = None
        self._unsynced = False
        self._unscrubbed = True
        """The write-ahead log may hold what is to stay in no file: at first, a crash's remains."""
        self._doubtful = False
        """Something was committed, and may not be on the disk: nothing more is promised."""
        self._pins = self._load_pins()

    def __repr__(self) -> str:
        return f"<Vault {self.path}>"

    # -- opening and closing ---------------------------------------------------------------------

    @classmethod
    def create(cls, path: Path | str, secret: Secret) -> Vault:
        """A new vault. Stretching a passphrase takes a few tenths of a second: off the event loop.

        Raises `VaultExists`, `VaultLocked`, `VaultUnwritable`.
        """
        path = Path(path).resolve()  # one vault, one lock and one log, by whatever name
        lock = FileLock(path)
        try:
            with new_database(path) as db:
                dek = initialise(db, path, secret, _first_top)
            db = connect(path)
            try:
                return cls(path, lock, db, dek)
            except BaseException:
                db.close()
                raise
        except BaseException:
            lock.release()
            raise

    @classmethod
    def open(cls, path: Path | str, secret: Secret) -> Vault:
        """An existing vault; as slow as `create`.

        Raises `VaultMissing`, `VaultLocked`, `WrongPassphrase`, `VaultDamaged`, `VaultUnwritable`.
        """
        path = Path(path).resolve()
        if not path.is_file():
            raise VaultMissing(f"there is no vault at {path}")
        lock = FileLock(path)
        try:
            db = connect(path)
            try:
                return cls(path, lock, db, unlock(db, path, secret))
            except BaseException:
                db.close()
                raise
        except BaseException:
            lock.release()
            raise

    def close(self) -> None:
        """Give the vault up. Idempotent; an open transaction is rolled back."""
        if self._transaction is not None:
            self._transaction.rollback()
        with suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.close()
        self._lock.release()

    def __enter__(self) -> Vault:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    # -- reading and writing ---------------------------------------------------------------------

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[Transaction]:
        """All that is written in the block reaches the disk together, or (on an error) not at all.

        Not `durable`, it outlives the process at once, and a power cut with the next durable one:
        for what can be had again. Do not await inside. Raises `VaultUnwritable` when the disk does
        not take it; where it was committed and then could not be synced, nothing more is taken
        until the vault is opened anew, and has it, or not.
        """
        if self._transaction is not None:
            raise VaultError("a transaction is already open on this vault")
        if self._doubtful:
            raise VaultUnwritable(
                f"the disk of the vault {self.path} failed: start anew once it is sound"
            )
        self._transaction = tx = Transaction(self, durable)
        try:
            tx.begin()
            yield tx
            tx.commit()
        except BaseException:
            tx.rollback()
            raise
        finally:
            self._transaction = None
        tx.run_actions()
        if tx.durable and self._unsynced:
            self._doubtful = True
            sync_log(self.path)
            self._doubtful = self._unsynced = False
        if tx.scrubbed or self._unscrubbed:
            self._unscrubbed = True
            self._scrub()

    def _scrub(self) -> None:
        """Empty the write-ahead log; while somebody reads (or the disk is full) it stays due."""
        with suppress(sqlite3.Error):
            busy, *_ = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._unscrubbed = bool(busy)

    def get(self, table: str, record_id: bytes) -> bytes | None:
        """The record as last committed, or None. Raises `VaultDamaged`."""
        return self._read(self._pins, table, record_id)

    def items(
        self,
        table: str,
        start: bytes | None = None,
        end: bytes | None = None,
        *,
        limit: int | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        """Records with start <= id < end, in the order of their ids; opened one by one."""
        return self._iterate(self._pins, table, start, end, limit, reverse)

    # -- keeping ---------------------------------------------------------------------------------

    def backup(self, target: Path | str) -> None:
        """A copy of the whole vault, under the same passphrase; replaces `target` at once.

        Restored, it is the vault of that moment. Raises `VaultUnwritable`, and `VaultExists` where
        `target` is the vault itself.
        """
        if Path(target).exists() and self.path.samefile(target):
            raise VaultExists(f"{target} is the vault itself: choose another place for the copy")
        copy_database(self._db, Path(target))

    @classmethod
    def restore(cls, backup: Path | str, path: Path | str, secret: Secret) -> Vault:
        """Put a backup in place at `path`, where no vault may be, and open it.

        Raises what `open` raises of the backup (which is left as it is), and `VaultExists`.
        """
        path = Path(path)
        if path.exists():
            create_file(path)  # raises VaultExists
        with cls.open(backup, secret) as source:
            source.backup(path)
        return cls.open(path, secret)

    def change_passphrase(self, secret: Secret) -> None:
        """From now on `secret` opens this vault. Copies made before still open with the old one."""
        with sqlite_errors(str(self.path)):
            rewrap(self._db, self._dek, secret)

    # -- inside ----------------------------------------------------------------------------------

    def _read(self, pins: _Pins, table: str, record_id: bytes) -> bytes | None:
        with sqlite_errors(str(self.path)):
            row = self._db.execute(
                "SELECT version, sealed FROM records WHERE tbl=? AND id=?", (table, record_id)
            ).fetchone()
        if row is None:
            return None
        return self._open_record(pins, table, record_id, *row)

    def _iterate(
        self,
        pins: _Pins,
        table: str,
        start: bytes | None,
        end: bytes | None,
        limit: int | None,
        reverse: bool,
    ) -> Iterator[tuple[bytes, bytes]]:
        where, values = "tbl=?", [table]  # type: tuple[str, list[str | bytes | int]]
        for clause, bound in (("id>=?", start), ("id<?", end)):
            if bound is not None:
                where += f" AND {clause}"
                values.append(bound)
        order = "DESC" if reverse else "ASC"
        query = f"SELECT id, version, sealed FROM records WHERE {where} ORDER BY id {order} LIMIT ?"  # noqa: S608 - no part of it comes from outside
        with sqlite_errors(str(self.path)):
            rows = self._db.execute(query, (*values, -1 if limit is None else limit))
            for record_id, version, sealed in rows:
                yield record_id, self._open_record(pins, table, record_id, version, sealed)

    def _open_record(
        self, pins: _Pins, table: str, record_id: bytes, version: int, sealed: bytes
    ) -> bytes:
        if not table.startswith((ARCHIVE, "#")):
            version = pins.tables.get(table, {}).get(record_id, -1)
        plain = None if version < 0 else self._unseal(table, record_id, version, sealed)
        if plain is None:
            raise VaultDamaged(
                f"a record of the vault {self.path} was changed outside this program: "
                "restore the vault from a backup"
            )
        return plain[1:]

    def _unseal(self, table: str, record_id: bytes, version: int, sealed: bytes) -> bytes | None:
        try:
            return unseal(self._dek, sealed, _context(table, record_id, version))
        except CannotOpen:
            return None

    def _write(self, table: str, record_id: bytes, version: int, value: bytes) -> None:
        # Themis seals no empty plaintext: one byte goes before every value.
        sealed = seal(self._dek, _FILLED + value, _context(table, record_id, version))
        self._db.execute(
            "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?)",
            (table, record_id, version, sealed),
        )

    def _load_pins(self) -> _Pins:
        with sqlite_errors(str(self.path)):
            row = self._db.execute(
                "SELECT version, sealed FROM records WHERE tbl=?", (_TOP,)
            ).fetchone()
        pins = _Pins()
        if row is None:
            raise VaultDamaged(f"the vault {self.path} has lost its top record")
        pins.commit = row[0]
        raw = self._open_record(pins, _TOP, b"", *row)
        pins.indexes = {name.decode(): version for name, version in _unpack(raw).items()}
        for table, version in pins.indexes.items():
            pins.tables[table] = self._load_index(pins, table, version)
        self._check_presence(pins)
        return pins

    def _load_index(self, pins: _Pins, table: str, version: int) -> Versions:
        with sqlite_errors(str(self.path)):
            row = self._db.execute(
                "SELECT sealed FROM records WHERE tbl=? AND id=?", (_INDEX, table.encode())
            ).fetchone()
        sealed = b"" if row is None else row[0]
        return _unpack(self._open_record(pins, _INDEX, table.encode(), version, sealed))

    def _check_presence(self, pins: _Pins) -> None:
        """Every pinned record is there, and no other. No record is opened for that."""
        there: dict[str, Versions] = {}
        with sqlite_errors(str(self.path)):
            rows = self._db.execute(
                "SELECT tbl, id, version FROM records WHERE tbl NOT GLOB ? AND tbl NOT GLOB '#*'",
                (ARCHIVE + "*",),
            )
            for table, record_id, version in rows:
                there.setdefault(table, {})[record_id] = version
        if there != {table: versions for table, versions in pins.tables.items() if versions}:
            raise VaultDamaged(
                f"records of the vault {self.path} were put back or removed outside this program: "
                "restore the vault from a backup"
            )


class Transaction:
    """Reads and writes that become durable together; see `Vault.transaction`."""

    def __init__(self, vault: Vault, durable: bool) -> None:
        """Use `Vault.transaction`."""
        self.durable = durable
        """Whether it, and all before it, outlives a power cut. May be set until the commit."""
        self.scrubbed = False
        """Whether what it deletes must leave the write-ahead log too."""
        self._vault = vault
        self._pins = vault._pins.copy()
        self._pins.commit += 1
        self._touched: set[str] = set()
        self._written = False
        self._actions: list[Callable[[], None]] = []
        self._open = False

    def get(self, table: str, record_id: bytes) -> bytes | None:
        """The record, as this transaction sees it, or None."""
        return self._vault._read(self._pins, table, record_id)

    def items(
        self,
        table: str,
        start: bytes | None = None,
        end: bytes | None = None,
        *,
        limit: int | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        """Records with start <= id < end, in the order of their ids.

        Read what you need before you write to the same table.
        """
        return self._vault._iterate(self._pins, table, start, end, limit, reverse)

    def put(self, table: str, record_id: bytes, value: bytes) -> None:
        """Insert or replace a record. Table names that begin with `#` are the vault's own."""
        self._require_own(table)
        with sqlite_errors(str(self._vault.path)):
            self._vault._write(table, record_id, self._pins.commit, value)
        self._written = True
        if not table.startswith(ARCHIVE):
            self._versions(table)[record_id] = self._pins.commit

    def delete(self, table: str, record_id: bytes) -> None:
        """Remove a record, if it is there."""
        self._require_own(table)
        with sqlite_errors(str(self._vault.path)):
            self._vault._db.execute("DELETE FROM records WHERE tbl=? AND id=?", (table, record_id))
        self._written = True
        if not table.startswith(ARCHIVE):
            self._versions(table).pop(record_id, None)

    def on_commit(self, action: Callable[[], None]) -> None:
        """Run `action` right after the commit; never, if it fails."""
        self._actions.append(action)

    def scrub(self) -> None:
        """Once committed, nothing that was deleted or replaced stays in the vault's files."""
        self.scrubbed = True

    # -- the vault's side ------------------------------------------------------------------------

    def begin(self) -> None:
        """Start; the vault calls this."""
        with sqlite_errors(str(self._vault.path)):
            self._vault._db.execute("BEGIN IMMEDIATE")
        self._open = True

    def commit(self) -> None:
        """Write the indexes and the top record, and commit."""
        self._require_open()
        with sqlite_errors(str(self._vault.path)):
            if self._written:
                self._write_pins()
            self._vault._db.execute("COMMIT")
        self._open = False
        if self._written:
            self._vault._pins = self._pins
            self._vault._unsynced = True

    def rollback(self) -> None:
        """Forget it all."""
        if self._open:
            self._open = False
            with suppress(sqlite3.Error):
                self._vault._db.execute("ROLLBACK")

    def run_actions(self) -> None:
        """After the commit, once."""
        for action in self._actions:
            action()

    def _write_pins(self) -> None:
        pins, vault = self._pins, self._vault
        for table in self._touched:
            if pins.tables[table]:
                pins.indexes[table] = pins.commit
                vault._write(_INDEX, table.encode(), pins.commit, _pack(pins.tables[table]))
            elif pins.indexes.pop(table, None) is not None:
                vault._db.execute(
                    "DELETE FROM records WHERE tbl=? AND id=?", (_INDEX, table.encode())
                )
        top = {table.encode(): version for table, version in pins.indexes.items()}
        vault._write(_TOP, b"", pins.commit, _pack(top))

    def _versions(self, table: str) -> Versions:
        """This transaction's own copy of a table's index."""
        if table not in self._touched:
            self._touched.add(table)
            self._pins.tables[table] = dict(self._pins.tables.get(table, {}))
        return self._pins.tables[table]

    def _require_own(self, table: str) -> None:
        self._require_open()
        if table.startswith("#"):
            raise VaultError("table names that begin with # are the vault's own")

    def _require_open(self) -> None:
        if not self._open:
            raise VaultError("this transaction is over")


def _context(table: str, record_id: bytes, version: int) -> bytes:
    return tagged_hash("rec", table.encode(), record_id, version)


def _pack(versions: Mapping[bytes, int]) -> bytes:
    return b"".join(
        _U32.pack(len(record_id)) + record_id + _U64.pack(version)
        for record_id, version in versions.items()
    )


def _unpack(raw: bytes) -> Versions:
    versions: Versions = {}
    at = 0
    while at < len(raw):
        (size,) = _U32.unpack_from(raw, at)
        at += _U32.size
        record_id = raw[at : at + size]
        (versions[record_id],) = _U64.unpack_from(raw, at + size)
        at += size + _U64.size
    return versions


def _first_top(dek: bytes) -> tuple[str, bytes, int, bytes]:
    return (_TOP, b"", 0, seal(dek, _FILLED, _context(_TOP, b"", 0)))
