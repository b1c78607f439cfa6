"""A bot's tables, from its vault and back: loaded at the start, kept with every commit (trio)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from typing import Final

import trio
from attrs import evolve

from bots.tables import archive
from bots.tables.archive import Head, Image
from bots.tables.database import Database
from bots.tables.handle import Tables
from bots.tables.ops import Op, load_writes, save_writes
from bots.tables.spec import TablesSpec
from bots.tables.upgrade import upgrade
from ofcd.client import Transaction, Vault

__all__ = ["TableStore", "open_store"]

_SWEEP: Final = 64
"""Records removed in one go; each is opened for that."""

Begin = Callable[[], AbstractContextManager[Transaction]]


class TableStore:
    """The tables of a running bot. Made by `open_store`."""

    def __init__(self, vault: Vault, begin: Begin, database: Database, head: Head) -> None:
        """`begin` begins a transaction of the vault."""
        self.head = head
        self._vault = vault
        self._begin = begin
        self._database = database
        self._grown = trio.Event()

    def tables(self, before: Sequence[Op] = ()) -> Tables:
        """The tables for one run of one handler."""
        return Tables(self._database, before)

    @contextmanager
    def transaction(self, ops: Sequence[Op]) -> Iterator[Transaction]:
        """A transaction of the vault in which `ops` are kept: both reach the disk, or neither.

        Raises `Conflict`. Do not await inside.
        """
        head = self.head
        with self._database.committing(ops):
            with self._begin() as tx:
                if any(op.writes for op in ops):
                    head = archive.put_statements(tx, head, save_writes(ops))
                yield tx
            self.head = head
        if head.is_outgrown or any(op.purges for op in ops):
            self._grown.set()

    # -- compaction ------------------------------------------------------------------------------

    async def keep_small(self) -> None:
        """Make a new image whenever the statements since the last one cost more to load."""
        while True:
            await self._sweep()
            await self._grown.wait()
            self._grown = trio.Event()
            await self.compact()

    async def compact(self) -> None:
        """Put a new image in the place of the last one and its statements, part by part.

        Handlers run on meanwhile; what they commit comes after the image. Died in between, the
        old image and all statements are still there.
        """
        image = Image(self._database.image(), self.head.next)
        for number, part in enumerate(image.parts):
            with self._begin() as tx:
                archive.put_part(tx, image.name, number, part)
            await trio.lowlevel.checkpoint()
        head = image.under(self.head)
        with self._begin() as tx:
            archive.save_head(tx, head)
        self.head = head

    def keep_upgrade(self, version: int) -> None:
        """Keep tables that were made or migrated: all of it in one transaction."""
        image = Image(self._database.image(), self.head.next)
        head = evolve(image.under(self.head), version=version)
        with self._begin() as tx:
            for number, part in enumerate(image.parts):
                archive.put_part(tx, image.name, number, part)
            archive.save_head(tx, head)
        self.head = head

    async def _sweep(self) -> None:
        while left := archive.stale(self._vault, self.head, _SWEEP):
            with self._begin() as tx:
                archive.remove(tx, left)
            await trio.lowlevel.checkpoint()


@asynccontextmanager
async def open_store(
    vault: Vault, begin: Begin, spec: TablesSpec, limit_mib: int
) -> AsyncIterator[TableStore]:
    """The tables in a vault, brought to what `spec` declares.

    Raises `TablesNewer`, `TablesError`, `SetupError`, `VaultDamaged`; the vault is unchanged then.
    """
    database = Database(limit_mib)
    try:
        head = archive.load_head(vault)
        if head is not None:
            await _load(vault, head, database)
        changed = upgrade(database, spec, None if head is None else head.version)
        store = TableStore(vault, begin, database, head or Head(0))
        if changed:
            store.keep_upgrade(len(spec.migrations))
        yield store
    finally:
        database.close()


async def _load(vault: Vault, head: Head, database: Database) -> None:
    parts = []
    for part in archive.load_parts(vault, head):
        parts.append(part)
        await trio.lowlevel.checkpoint()
    database.load(b"".join(parts))
    for statements in archive.load_statements(vault, head):
        database.redo(load_writes(statements))
        await trio.lowlevel.checkpoint()
