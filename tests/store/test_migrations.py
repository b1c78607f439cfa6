"""The migrations make the tables the code works with, whole or not at all, from anywhere."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from ofcd.store import Durability, Locked, MigrationFailed, SchemaTooOld, Store, migrate
from ofcd.store.engine import database_path, make_files, writer_engine
from ofcd.store.tables import REVISION, metadata
from tests.store.support import ROOT, Room, loaded, url


@contextmanager
def connected(path: Path) -> Iterator[sa.Connection]:
    """A connection to a database that may not exist yet."""
    make_files(path)
    engine = writer_engine(path, Durability.NORMAL)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def schema(connection: sa.Connection) -> dict[str, list[str]]:
    """What SQLite says was created: names, and the lines of their definitions."""
    rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    found = {
        name: sorted(line.strip(" \t,") for line in sql.splitlines())
        for name, sql in rows
        if not name.startswith("alembic")
    }
    connection.rollback()
    return found


def revisions() -> list[str]:
    """All revisions, oldest first."""
    scripts = ScriptDirectory(str(migrate.location())).walk_revisions()
    return [script.revision for script in scripts][::-1]


def test_the_code_knows_the_latest_revision() -> None:
    """`tables.REVISION` is the one head of the migrations."""
    assert ScriptDirectory(str(migrate.location())).get_heads() == [REVISION]


def test_migrated_is_what_the_code_declares(template: Path, tmp_path: Path) -> None:
    """Alembic finds no difference to tables.metadata, and SQLite was told the same."""
    path = tmp_path / "test.db"
    shutil.copyfile(template, path)
    with connected(path) as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, metadata) == []
        connection.rollback()
        migrated = schema(connection)
    declared = sa.create_engine("sqlite://")
    metadata.create_all(declared)
    with declared.connect() as connection:
        assert migrated == schema(connection)
    declared.dispose()


@pytest.mark.parametrize("revision", [None, *revisions()])
def test_from_every_revision_to_the_latest(tmp_path: Path, revision: str | None) -> None:
    """An empty database and one of each released schema come to the same."""
    path = tmp_path / "test.db"
    if revision is not None:
        with connected(path) as connection:
            migrate.upgrade_connection(
                connection, path, scripts=migrate.location(), target=revision
            )
        assert migrate.current(url(path)) == revision
    assert migrate.upgrade(url(path)) == REVISION
    assert migrate.current(url(path)) == REVISION
    room = Room()
    with Store.open(url(path)) as store:
        store.commit(room.founded())
        assert loaded(store, room).seq == 0


def test_opening_migrates(tmp_path: Path) -> None:
    """A store makes its schema on start, or says who will."""
    where = url(tmp_path / "test.db")
    assert migrate.current(where) is None
    with pytest.raises(SchemaTooOld, match="ofcd migrate"):
        Store.open(where, migrate=False)
    Store.open(where).close()
    Store.open(where, migrate=False).close()
    assert migrate.current(where) == REVISION


def test_no_migration_under_a_running_relay(store: Store) -> None:
    """`upgrade` takes the same lock as the store; `current` needs none."""
    with pytest.raises(Locked):
        migrate.upgrade(url(store.path))
    assert migrate.current(url(store.path)) == REVISION


BROKEN = """
from alembic import op

revision, down_revision = "next", "{revision}"


def upgrade() -> None:
    op.execute("CREATE TABLE added (x)")
    op.execute("DELETE FROM rooms")
    op.execute("CREATE TABLE log (x)")
"""


def test_a_failed_migration_leaves_all_as_it_was(template: Path, tmp_path: Path) -> None:
    """It runs in one transaction, with the revision's number in it."""
    scripts = tmp_path / "scripts"
    shutil.copytree(migrate.location(), scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / "next.py").write_text(BROKEN.format(revision=REVISION))
    path, room = tmp_path / "test.db", Room()
    shutil.copyfile(template, path)
    with Store.open(url(path)) as store:
        store.commit(room.founded())
    with connected(path) as connection:
        before = schema(connection)
        with pytest.raises(MigrationFailed, match="is as before"):
            migrate.upgrade_connection(connection, path, scripts=scripts)
        assert schema(connection) == before
    with Store.open(url(path), migrate=False) as store:
        assert loaded(store, room).seq == 0


def test_migrations_go_back(tmp_path: Path) -> None:
    """Each has its way back, for developers: down to nothing, and up again."""
    from alembic import command
    from alembic.config import Config

    path = tmp_path / "test.db"
    migrate.upgrade(url(path))
    config = Config()
    config.set_main_option("script_location", str(migrate.location()))
    with connected(path) as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        assert schema(connection) == {}
        command.upgrade(config, "head")
    assert migrate.current(url(path)) == REVISION


@pytest.mark.slow
@pytest.mark.live
def test_the_wheel_migrates(tmp_path: Path) -> None:
    """Installed from a wheel, without the checkout, a database can be made."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=50,
    )
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import ofcd; from ofcd.store import migrate\n"
        "print(ofcd.__file__); print(migrate.location()); print(migrate.upgrade(sys.argv[2]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(installed), url(tmp_path / "data" / "test.db")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        str(installed / "ofcd" / "__init__.py"),
        str(installed / "ofcd" / "_migrations"),
        REVISION,
    ]


def test_the_url_may_hold_anything(tmp_path: Path) -> None:
    """Spaces and marks that mean something in URLs are part of the path."""
    where = url(tmp_path / "a b?c#d%20e" / "f.db")
    assert database_path(where).name == "f.db"
    migrate.upgrade(where)
    assert (tmp_path / "a b?c#d%20e" / "f.db").is_file()
