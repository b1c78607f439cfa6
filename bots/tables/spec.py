"""What a bot declares about its tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import field, frozen

if TYPE_CHECKING:
    from alembic.operations import Operations
    from sqlalchemy import MetaData as MetaData

    Migration = Callable[[Operations], object]
else:
    Migration = Callable

__all__ = ["Migration", "TablesSpec"]


@frozen
class TablesSpec:
    """The tables as they are now, and the steps that bring older ones there."""

    metadata: MetaData = field(repr=False)
    migrations: tuple[Migration, ...] = ()
    """Each takes Alembic's operations. Their number is the tables' version: append, never change.

    A new vault is made from `metadata`, at the newest version; no migration is run for it.
    """
