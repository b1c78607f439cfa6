"""From the tables that a vault holds to those that the bot's code declares.

A vault without tables gets them from the metadata, at the newest version. An older one gets the
migrations it lacks. Then what is there is compared with what is declared: a forgotten migration is
found at the start, not in a handler.
"""

from __future__ import annotations

import re
from typing import Any, Final

from alembic.autogenerate import compare_metadata
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from bots.errors import SetupError
from bots.tables.database import Database
from bots.tables.errors import TablesNewer
from bots.tables.guard import volatile_in
from bots.tables.spec import TablesSpec

__all__ = ["upgrade"]

_LACKS: Final = frozenset({"add_table", "add_column"})
_DEFERRED: Final = re.compile(r"\bINITIALLY\s+DEFERRED\b", re.IGNORECASE)


def upgrade(database: Database, spec: TablesSpec, version: int | None) -> bool:
    """Bring the tables of a version (None: there are none yet) to the newest; whether it did.

    Raises:
        TablesNewer: They are of a version that this code does not know.
        SetupError: A migration fails, or leaves other tables than are declared.
    """
    newest = len(spec.migrations)
    if version is not None and version > newest:
        raise TablesNewer(
            f"the tables in the vault are of version {version}, and this bot knows {newest}: "
            "run the newer bot, or restore the vault from a backup"
        )
    if version == newest:
        _compare(database, spec)
        return False
    with database.without_foreign_keys():
        _change(database, spec, version)
    _compare(database, spec)
    _check_schema(database)
    return True


def _change(database: Database, spec: TablesSpec, version: int | None) -> None:
    number = 0
    try:
        if version is None:
            spec.metadata.create_all(database.connection)
            return
        operations = Operations(MigrationContext.configure(database.connection))
        for number in range(version, len(spec.migrations)):
            spec.migrations[number](operations)
    except SQLAlchemyError as error:
        what = "the tables can not be made" if version is None else f"migration {number + 1} fails"
        raise SetupError(f"{what}: {error.args[0] if error.args else error}") from None


def _compare(database: Database, spec: TablesSpec) -> None:
    # Only what is missing: full-text search keeps tables that no metadata knows.
    context = MigrationContext.configure(database.connection)
    lacks = [_name(diff) for diff in compare_metadata(context, spec.metadata) if diff[0] in _LACKS]
    if lacks:
        raise SetupError(
            f"the tables in the vault lack {', '.join(sorted(lacks))}: append a migration that "
            "adds it"
        )


def _name(diff: Any) -> str:
    if diff[0] == "add_table":
        return str(diff[1].name)
    return f"{diff[2]}.{diff[3].name}"


def _check_schema(database: Database) -> None:
    """What SQLite works out by itself must be the same each time, and a commit must not fail."""
    for name, sql in database.connection.execute(
        text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    ):
        volatile = volatile_in(sql)
        if volatile is not None:
            raise SetupError(
                f"{name} asks SQLite for {volatile}, another value each time: let Python give it "
                "(default=, not server_default=)"
            )
        if _DEFERRED.search(sql):
            raise SetupError(f"{name} has a deferred foreign key: check it at once instead")
