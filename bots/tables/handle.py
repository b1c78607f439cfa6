"""What a handler sees of its bot's tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

if TYPE_CHECKING:
    from sqlalchemy import CursorResult, Executable
    from sqlalchemy.sql.selectable import TypedReturnsRows

    from bots.tables.ops import Op

    Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]

__all__ = ["Executes", "Tables"]

T = TypeVar("T", bound=tuple[Any, ...])


class Executes(Protocol):
    """What carries statements out: `bots.tables.database.Database`."""

    def execute(
        self, ops: list[Op], statement: Executable, parameters: Parameters | None
    ) -> CursorResult[Any]:
        """One more statement of the handler that has done `ops`; it is added to them."""
        ...


class Tables:
    """The bot's tables as one run of one handler has them.

    A handler sees what is committed and what it has changed itself. When it ends, its changes are
    committed with its replies and its memory. Was something it read (an empty result and a broken
    constraint are answers, too) changed by another handler meanwhile, it is run again.
    """

    def __init__(self, database: Executes, before: Sequence[Op] = ()) -> None:
        """`before` is what other handlers have done about the same event."""
        self._database = database
        self.ops = list(before)
        """What has been done so far; committed by the engine."""

    def __repr__(self) -> str:
        return f"<Tables, {len(self.ops)} statements>"

    @overload
    def execute(
        self, statement: TypedReturnsRows[T], parameters: Parameters | None = None
    ) -> CursorResult[T]: ...

    @overload
    def execute(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> CursorResult[Any]: ...

    def execute(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> CursorResult[Any]:
        """Carry out a statement of SQLAlchemy's: `select(…)`, `insert(…)`, `text("…")`.

        A list of parameters runs it once for each. All rows are fetched at once: hold results
        small. It may take five seconds, and holds up all rooms for as long.

        What changes something has to do the same whenever it is done again. So `random()`,
        `datetime('now')` and the like are refused there: pass their value as a parameter.

        Raises `TablesRefused`, `TablesFull`, and what SQLAlchemy raises (`IntegrityError`, …).
        """
        return self._database.execute(self.ops, statement, parameters)

    def purge(self) -> None:
        """See to it that what this handler has removed is not in the vault any longer.

        A row that is only deleted stands, sealed, among the kept statements until the next image.
        This has that image made as soon as the handler's changes are committed. Full-text tables
        keep words, too, until they are told `INSERT INTO name(name) VALUES ('optimize')`.
        """
        for op in self.ops[-1:]:
            op.purges = True
