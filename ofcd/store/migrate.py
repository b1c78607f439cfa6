"""The schema's revisions: which one a database has, and the way to the one this code works with.

Migrations are Alembic's, in `migrations/` of a checkout and `ofcd/_migrations/` of a wheel. Alembic
itself is loaded only where there is something to migrate: it costs a tenth of a second.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import sqlalchemy as sa

import ofcd
from ofcd.store.engine import database_path, make_files, reader_engine, writer_engine
from ofcd.store.errors import (
    Corrupt,
    MigrationFailed,
    SchemaTooNew,
    SchemaTooOld,
    StoreError,
)
from ofcd.store.faults import translated
from ofcd.store.lock import DatabaseLock
from ofcd.store.tables import REVISION
from ofcd.store.types import Durability

__all__ = ["current", "location", "require_current", "revision_of", "upgrade", "upgrade_connection"]

_VERSION_TABLE: Final = "alembic_version"


def location() -> Path:
    """Where the migrations are: in the installed package, or at the top of the checkout."""
    package = Path(ofcd.__file__).parent
    installed = package / "_migrations"
    found = installed if installed.is_dir() else package.parent / "migrations"
    if not (found / "env.py").is_file():
        raise MigrationFailed(f"{found} holds no migrations: install ofcd anew")
    return found


def upgrade(url: str) -> str:
    """Bring the database at `url` (made, if missing) to this code's schema; return the revision.

    Raises `StoreError`: `Locked` while a relay runs on it, `SchemaTooNew`, `MigrationFailed`.
    """
    path = database_path(url)
    with translated(path):
        make_files(path)
        lock = DatabaseLock(path)
        try:
            engine = writer_engine(path, Durability.FULL)
            try:
                with engine.connect() as connection:
                    upgrade_connection(connection, path)
            finally:
                engine.dispose()
        finally:
            lock.release()
    return REVISION


def current(url: str) -> str | None:
    """The revision of the database at `url`; None if there is none, or it is empty."""
    path = database_path(url)
    if not path.is_file():
        return None
    with translated(path):
        engine = reader_engine(path)
        try:
            with engine.connect() as connection:
                return revision_of(connection, path)
        finally:
            engine.dispose()


def revision_of(connection: sa.Connection, path: Path) -> str | None:
    """The schema's revision; None for an empty database. Raises `Corrupt` for a foreign one."""
    tables = sa.inspect(connection).get_table_names()
    connection.rollback()
    if _VERSION_TABLE in tables:
        with connection.begin():
            row = connection.exec_driver_sql(f"SELECT version_num FROM {_VERSION_TABLE}").first()  # noqa: S608 - a constant
        return None if row is None else str(row[0])
    if tables:
        raise Corrupt(f"{path} is a database, but not one of ofcd: set url to another file")
    return None


def require_current(connection: sa.Connection, path: Path) -> None:
    """Raise `SchemaTooNew` or `SchemaTooOld` unless the schema is the one this code works with."""
    revision = revision_of(connection, path)
    if revision == REVISION:
        return
    if revision is not None and revision not in _known():
        raise _too_new(path, revision)
    raise SchemaTooOld(
        f"the database {path} has schema {revision or 'none'}, "
        f"this ofcd works with {REVISION}: run `ofcd migrate`"
    )


def upgrade_connection(
    connection: sa.Connection, path: Path, *, scripts: Path | None = None, target: str = "head"
) -> None:
    """Run what is due of `scripts` (default: ours) in one transaction: all of it or nothing."""
    revision = revision_of(connection, path)
    if revision == REVISION and scripts is None:
        return
    if revision is not None and revision not in _known(scripts):
        raise _too_new(path, revision)
    _run(connection, path, scripts or location(), target)


def _run(connection: sa.Connection, path: Path, scripts: Path, target: str) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        with translated(path):
            command.upgrade(config, target)
    except (CommandError, StoreError, sa.exc.SQLAlchemyError) as failed:
        raise MigrationFailed(
            f"the database {path} could not be migrated and is as before: {failed}"
        ) from failed


def _known(scripts: Path | None = None) -> set[str]:
    from alembic.script import ScriptDirectory

    directory = ScriptDirectory(str(scripts or location()))
    return {script.revision for script in directory.walk_revisions()}


def _too_new(path: Path, revision: str) -> SchemaTooNew:
    return SchemaTooNew(
        f"a newer ofcd wrote the database {path} (schema {revision}, this one knows {REVISION}): "
        "install that version again, or restore a backup from before"
    )
