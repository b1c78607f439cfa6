"""Each way a database can fail has its type, a sentence that helps, and an end."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ofcd.store import (
    Busy,
    Closed,
    Contradiction,
    Corrupt,
    DiskError,
    DiskFull,
    Locked,
    Missing,
    ReadOnly,
    Retention,
    SchemaTooNew,
    Store,
    StoreError,
    Unsupported,
)
from ofcd.store import engine as engine_module
from ofcd.store import errors as errors_module
from ofcd.store.faults import translated
from tests.store.support import ANA, ROOT, Room, copy_of, entry, loaded, opened, run_script, url


def namespace() -> tuple[str, ...]:
    """How to run a command that may mount; skips where this machine forbids it."""
    tool = shutil.which("unshare")
    for flags in (("--mount",), ("--user", "--map-root-user", "--mount")):
        if tool is None:
            break
        probe = [tool, *flags, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
            return (tool, *flags)
    pytest.skip("this machine lets nobody mount a small disk (unshare --mount)")


@pytest.mark.slow
@pytest.mark.live
@pytest.mark.parametrize("script", ["full_disk", "read_only_disk"])
def test_real_disks_that_fail(tmp_path: Path, script: str) -> None:
    """On a full disk commits fail with DiskFull until there is space, and nothing is lost; a
    read-only one is refused with ReadOnly."""
    done = run_script(script, str(tmp_path), wrap=namespace())
    assert (done.stdout, done.returncode) == ("ok\n", 0), done.stderr


def test_a_full_database_recovers(store: Store) -> None:
    """A commit that does not fit fails whole; with less to write or more space, the next works."""
    room = Room()
    store.commit(room.founded())
    with store._writer.connection() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 2}")
        connection.rollback()
    before = loaded(store, room)
    large = room.event(size=100_000)
    with pytest.raises(DiskFull, match="free some"):
        store.commit([large])
    assert loaded(store, room) == before
    store.commit([large])
    assert loaded(store, room).recent[-1] == entry(large)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write any file; see read_only_disk.py")
def test_files_that_may_not_be_written(template: Path, tmp_path: Path) -> None:
    """A database of somebody else is refused with ReadOnly."""
    where = copy_of(template, tmp_path)
    (tmp_path / "test.db").chmod(0o400)
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ReadOnly, match="can not be written"):
            Store.open(where)
    finally:
        tmp_path.chmod(0o700)


def test_a_database_that_is_none(tmp_path: Path) -> None:
    """Any other file is refused as Corrupt, and left alone."""
    path = tmp_path / "test.db"
    path.write_bytes(b"this is not a database, but long enough for a header" * 40)
    before = path.read_bytes()
    with pytest.raises(Corrupt, match="put a backup in its place"):
        Store.open(url(path))
    assert path.read_bytes() == before


def test_a_database_of_another_program(tmp_path: Path) -> None:
    """Tables, but no revision: it is not ours, and nothing is added to it."""
    path = tmp_path / "test.db"
    foreign = sqlite3.connect(path)
    foreign.execute("CREATE TABLE notes (text)")
    foreign.commit()
    foreign.close()
    with pytest.raises(Corrupt, match="not one of ofcd"):
        Store.open(url(path))
    foreign = sqlite3.connect(path)
    assert foreign.execute("SELECT name FROM sqlite_master").fetchall() == [("notes",)]
    foreign.close()


def _damaged(
    template: Path, tmp_path: Path, spoil: Callable[[bytearray], None]
) -> tuple[str, Room]:
    room = Room()
    with opened(template, tmp_path) as store:
        store.commit([*room.founded(), *room.events(200, size=500)])
    raw = bytearray((tmp_path / "test.db").read_bytes())
    spoil(raw)
    (tmp_path / "test.db").write_bytes(raw)
    return url(tmp_path / "test.db"), room


def _overwrite_pages(raw: bytearray) -> None:
    """All but the first pages, which hold the schema."""
    raw[30 * 4096 :] = b"\xa5" * (len(raw) - 30 * 4096)


def _cut(raw: bytearray) -> None:
    del raw[len(raw) // 2 :]


@pytest.mark.parametrize("spoil", [_overwrite_pages, _cut])
def test_damaged_pages(template: Path, tmp_path: Path, spoil: Callable[[bytearray], None]) -> None:
    """Damage is Corrupt where it is met, reported by check, and stops a backup."""
    where, room = _damaged(template, tmp_path, spoil)
    with Store.open(where, read_only=True) as store:
        with pytest.raises(Corrupt, match="damaged"):
            store.read_log(room.id, 0, mid=ANA, max_events=500, max_bytes=10**7)
        report = store.check()
        assert not report.ok
        with pytest.raises(StoreError):
            store.backup(tmp_path / "backup.db")
        assert [path.name for path in tmp_path.iterdir() if "backup" in path.name] == []


def test_two_stores_of_one_database(store: Store) -> None:
    """The second is refused with the process that has it; afterwards it gets in."""
    with pytest.raises(Locked, match=f"in use by process {os.getpid()}"):
        Store.open(url(store.path))
    store.close()
    Store.open(url(store.path)).close()


@pytest.mark.slow
def test_two_processes_of_one_database(store: Store) -> None:
    """The lock holds between processes; a reader needs none."""
    code = (
        "import sys; from ofcd.store import Locked, Store\n"
        "with Store.open(sys.argv[1], read_only=True) as s: print(len(s.rooms()))\n"
        "try: Store.open(sys.argv[1])\n"
        "except Locked as error: print(error)"
    )
    store.commit(Room().founded())
    done = subprocess.run(
        [sys.executable, "-c", code, url(store.path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    rooms, refusal = done.stdout.splitlines()
    assert rooms == "1"
    assert f"in use by process {os.getpid()}" in refusal


def test_the_lock_is_given_back_when_opening_fails(tmp_path: Path) -> None:
    """A failed start leaves no lock behind in the process."""
    path = tmp_path / "test.db"
    path.write_bytes(b"no database" * 500)
    for _ in range(2):
        with pytest.raises(Corrupt):
            Store.open(url(path))


def test_another_program_holds_the_database(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock by, say, an sqlite3 shell is waited for, then it is Busy; afterwards commits work."""
    monkeypatch.setattr(engine_module, "_BUSY_SECONDS", 0.01)
    room = Room()
    with opened(template, tmp_path) as store:
        shell = sqlite3.connect(store.path, isolation_level=None)
        shell.execute("BEGIN IMMEDIATE")
        founded = room.founded()
        with pytest.raises(Busy, match="close it"):
            store.commit(founded)
        shell.execute("ROLLBACK")
        store.commit(founded)
        shell.close()
        assert loaded(store, room).seq == 0


def test_a_newer_schema(template: Path, tmp_path: Path) -> None:
    """A database of a newer ofcd is left alone."""
    where = copy_of(template, tmp_path)
    raw = sqlite3.connect(tmp_path / "test.db")
    raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.commit()
    raw.close()
    for migrate in (True, False):
        with pytest.raises(SchemaTooNew, match="schema 9999"):
            Store.open(where, migrate=migrate)


@pytest.mark.parametrize("bad", ["postgresql://host/db", "sqlite://", "sqlite:///:memory:", "x.db"])
def test_urls_that_are_not_supported(bad: str) -> None:
    """Only files of SQLite are, and the sentence says how to write them."""
    with pytest.raises(Unsupported, match="sqlite:///PATH"):
        Store.open(bad)


def test_reading_makes_no_database(tmp_path: Path) -> None:
    """`read_only` on nothing is Missing, and leaves nothing there."""
    with pytest.raises(Missing, match="no database"):
        Store.open(url(tmp_path / "none.db"), read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_store_writes_nothing(store: Store) -> None:
    """It refuses every way to write with ReadOnly."""
    room = Room()
    store.commit(room.founded())
    with Store.open(url(store.path), read_only=True) as reader:
        assert loaded(reader, room).seq == 0
        for write in (
            lambda: reader.commit([room.event()]),
            reader.checkpoint,
            lambda: reader.apply_retention(Retention(), 0),
        ):
            with pytest.raises(ReadOnly):
                write()


def test_a_closed_store(store: Store) -> None:
    """Everything after close is Closed, and closing twice is fine."""
    room = Room()
    store.commit(room.founded())
    store.close()
    store.close()
    with pytest.raises(Closed):
        store.commit([room.event()])
    with pytest.raises(Closed):
        store.load_room(room.id)
    store.checkpoint()


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    """The directory made has mode 0700; database, log and lock 0600, even if they were wider."""
    path = tmp_path / "deep" / "data" / "test.db"
    Store.open(url(path)).close()
    path.chmod(0o644)
    with Store.open(url(path)) as store:
        store.commit(Room().founded())
        modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert set(modes) == {"test.db", "test.db-wal", "test.db-shm", "test.db.lock"}
    assert set(modes.values()) == {0o600}


def test_codes_are_stable_and_different() -> None:
    """Each error of the tree has a code of its own."""
    kinds = [getattr(errors_module, name) for name in errors_module.__all__]
    assert all(issubclass(kind, StoreError) for kind in kinds)
    assert len({kind.code for kind in kinds}) == len(kinds)


SQLITE = {
    "FULL": DiskFull,
    "READONLY": ReadOnly,
    "READONLY_DBMOVED": ReadOnly,
    "CANTOPEN": ReadOnly,
    "CORRUPT": Corrupt,
    "CORRUPT_INDEX": Corrupt,
    "NOTADB": Corrupt,
    "IOERR": DiskError,
    "IOERR_FSYNC": DiskError,
    "IOERR_SHMSIZE": DiskError,
    "BUSY": Busy,
    "BUSY_SNAPSHOT": Busy,
    "LOCKED": Busy,
    "CONSTRAINT_UNIQUE": Contradiction,
    "NOMEM": StoreError,
}


@pytest.mark.parametrize("name", SQLITE)
def test_what_sqlite_says_in_our_words(tmp_path: Path, name: str) -> None:
    """Each result code, extended ones too, has its type; the sentence keeps SQLite's name."""
    raw = sqlite3.OperationalError("as SQLite puts it")
    raw.sqlite_errorcode = getattr(sqlite3, f"SQLITE_{name}")
    raw.sqlite_errorname = f"SQLITE_{name}"
    with pytest.raises(StoreError, match=f"SQLITE_{name}") as caught, translated(tmp_path / "x"):
        raise raw
    assert type(caught.value) is SQLITE[name]


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENOSPC, DiskFull), (errno.EROFS, ReadOnly), (errno.EIO, DiskError)],
)
def test_what_the_system_says_in_our_words(
    tmp_path: Path, number: int, kind: type[StoreError]
) -> None:
    """Errors of files, such as of the lock, have the same types."""
    with pytest.raises(kind) as caught, translated(tmp_path / "x"):
        raise OSError(number, os.strerror(number))
    assert type(caught.value) is kind
