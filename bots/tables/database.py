"""The tables in memory: what is committed, and over it the draft of one handler at a time.

Handlers of several rooms take turns, statement by statement. Where the draft at hand is another
handler's, it is rolled back and this one's changes are done again. Before a commit, what a handler
was answered is asked again if anything was committed since; another answer is a `Conflict`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, CursorResult, Executable, StaticPool, create_engine
from sqlalchemy.engine.cursor import FullyBufferedCursorFetchStrategy
from sqlalchemy.exc import DBAPIError

from bots.errors import Conflict
from bots.tables.errors import TablesError, TablesFull
from bots.tables.guard import Guard
from bots.tables.ops import Answer, Op, plain

if TYPE_CHECKING:
    from bots.tables.handle import Parameters

__all__ = ["Database"]

_PAGE: Final = 4096
_MIB: Final = 1024 * 1024


class Database:
    """One SQLite database in memory, and SQLAlchemy's connection to it."""

    def __init__(self, limit_mib: int) -> None:
        """`limit_mib` bounds its pages; the image of it that compaction makes comes on top."""
        self._limit = limit_mib
        # Without a cache of statements each one is shown to the guard.
        self._db = sqlite3.connect(":memory:", isolation_level=None, cached_statements=0)
        self._guard = Guard()
        self._guard.watch(self._db)
        self._set_up()
        engine = create_engine(
            "sqlite://",
            creator=lambda: self._db,
            poolclass=StaticPool,
            hide_parameters=True,
            use_insertmanyvalues=False,  # one statement is one entry of the log
        )
        self.connection: Connection = engine.connect()
        """For migrations; handlers come by `execute`."""
        self.version = 0
        """How often something was committed."""
        self._draft: Sequence[Op] = ()
        self._done = 0

    def close(self) -> None:
        """Forget everything."""
        self.connection.close()
        self.connection.engine.dispose()
        self._db.close()

    def _set_up(self) -> None:
        self._db.execute("PRAGMA temp_store=MEMORY")  # what is sorted must not reach the disk
        self._db.execute("PRAGMA foreign_keys=ON")
        self._db.execute("PRAGMA secure_delete=ON")
        self._db.execute(f"PRAGMA max_page_count={self._limit * _MIB // _PAGE}")

    # -- the whole of it -------------------------------------------------------------------------

    def image(self) -> bytes:
        """All that is committed, as SQLite lays it out."""
        self.abandon()
        return self._db.serialize()

    def load(self, image: bytes) -> None:
        """Begin with an image. Raises `TablesError` for one that is none."""
        try:
            self._db.deserialize(image)
            self._set_up()
        except sqlite3.Error as error:
            raise TablesError(f"the image of the tables is none ({error})") from None

    @contextmanager
    def without_foreign_keys(self) -> Iterator[None]:
        """For migrations, which drop and make anew; what they leave is checked."""
        self._db.execute("PRAGMA foreign_keys=OFF")
        yield
        self._db.execute("PRAGMA foreign_keys=ON")
        if self._db.execute("PRAGMA foreign_key_check").fetchone() is not None:
            raise TablesError("a migration leaves rows that refer to others which are not there")

    def redo(self, ops: Sequence[Op]) -> None:
        """Do again what was committed before. Raises `TablesError` if it does something else."""
        self._db.execute("BEGIN")
        try:
            same = all(self._run(op).changed == op.answer.changed for op in ops)
        except sqlite3.Error as error:
            raise TablesError(f"what the tables kept can not be done again ({error})") from None
        if not same:
            raise TablesError("what the tables kept does something else when it is done again")
        self._db.execute("COMMIT")

    # -- a handler's statements ------------------------------------------------------------------

    def execute(
        self, ops: list[Op], statement: Executable, parameters: Parameters | None
    ) -> CursorResult[Any]:
        """One more statement of the handler that has done `ops`; see `Tables.execute`."""
        self._enter(ops)
        try:
            with self._guard.statement() as seen:
                result = self.connection.execute(statement, parameters)
                rows = _buffer(result)
            op = self._op(result, rows, seen.writes)
        except DBAPIError as error:
            self.abandon()
            ops.append(self._failed(error))
            if _is_full(error.orig):
                raise TablesFull(
                    f"the tables are as large as they may be ({self._limit} MiB): remove rows, "
                    "or raise `tables_limit`"
                ) from None
            raise
        except BaseException:
            self.abandon()
            raise
        ops.append(op)
        self._done = len(ops)
        return result

    def _op(self, result: CursorResult[Any], rows: Sequence[Any], writes: bool) -> Op:
        context: Any = result.context
        runs = [plain(run) for run in context.parameters]
        many = bool(context.executemany)
        answer = Answer.of(rows, result.rowcount, context.cursor.lastrowid)
        values = runs if many else runs[0]
        return Op(context.statement, values, many, writes, answer, self.version)

    def _failed(self, error: DBAPIError) -> Op:
        many = isinstance(error.params, list)
        values: list[Any] = list(error.params or ())
        answer = Answer.error(error.orig or error)
        return Op(error.statement or "", values, many, False, answer, self.version)

    def _enter(self, ops: Sequence[Op]) -> None:
        """Have the changes of `ops` over what is committed, and no others."""
        if self._draft is not ops or not self._db.in_transaction:
            self.abandon()
            self._db.execute("BEGIN")
            self._draft = ops
        try:
            for op in ops[self._done :]:
                if op.writes:
                    self._run(op)
        except sqlite3.Error:
            self.abandon()
            raise Conflict("another handler changed what this one changed") from None
        self._done = len(ops)

    def abandon(self) -> None:
        """Roll the draft at hand back."""
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        self._draft, self._done = (), 0

    # -- committing ------------------------------------------------------------------------------

    @contextmanager
    def committing(self, ops: Sequence[Op]) -> Iterator[None]:
        """Commit `ops` if the block ends well, nothing otherwise; the block must not await.

        Raises `Conflict` where they would be answered differently by now.
        """
        stale = any(op.at != self.version for op in ops)
        writes = any(op.writes for op in ops)
        if not stale and not writes:
            yield
            return
        if stale:
            self._check(ops)
        else:
            self._enter(ops)
        try:
            yield
        except BaseException:
            self.abandon()
            raise
        self._db.execute("COMMIT")
        self._draft, self._done = (), 0
        self.version += writes

    def _check(self, ops: Sequence[Op]) -> None:
        self.abandon()
        self._db.execute("BEGIN")
        for op in ops:
            if self._ask_again(op).digest != op.answer.digest or not self._db.in_transaction:
                self.abandon()
                raise Conflict("another handler changed what this one read")

    def _ask_again(self, op: Op) -> Answer:
        # What fails may have changed some rows before it did.
        self._db.execute("SAVEPOINT again")
        try:
            return self._run(op)
        except sqlite3.Error as error:
            with suppress(sqlite3.OperationalError):  # then there is no transaction any more
                self._db.execute("ROLLBACK TO again")
            return Answer.error(error)
        finally:
            with suppress(sqlite3.OperationalError):
                self._db.execute("RELEASE again")

    def _run(self, op: Op) -> Answer:
        if op.many:
            cursor = self._db.executemany(op.sql, op.parameters)
        else:
            cursor = self._db.execute(op.sql, op.parameters)
        return Answer.of(cursor.fetchall(), cursor.rowcount, cursor.lastrowid)


def _buffer(result: CursorResult[Any]) -> Sequence[Any]:
    """Fetch everything now: the transaction it comes from may be gone with the next statement."""
    if not result.returns_rows:
        return []
    rows = result.cursor.fetchall()
    result.cursor_strategy = FullyBufferedCursorFetchStrategy(result.cursor, initial_buffer=rows)
    return rows


def _is_full(error: BaseException | None) -> bool:
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
