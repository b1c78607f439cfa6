"""Backups: whole, consistent, made while the relay writes, and never over something else."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ofcd.store import BackupFailed, Store
from ofcd.store import backup as backup_module
from tests.store.support import ANA, Room, entry, loaded, url


@pytest.fixture
def room(store: Store) -> Room:
    """A room with some history, most of it in the write-ahead log."""
    made = Room()
    store.commit([*made.founded(), *made.events(300, size=400)])
    return made


def test_a_backup_is_a_database(store: Store, room: Room, tmp_path: Path) -> None:
    """One file, for its owner alone, that opens as a store with all that was committed."""
    target = tmp_path / "backups" / "backup.db"
    target.parent.mkdir()
    store.backup(target)
    assert [path.name for path in target.parent.iterdir()] == ["backup.db"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with Store.open(url(target)) as copy:
        assert copy.load_room(room.id) == store.load_room(room.id)
        copy.commit([room.event()])


def test_a_reader_can_back_up_beside_the_relay(store: Store, room: Room, tmp_path: Path) -> None:
    """`ofcd backup` needs neither lock nor daemon."""
    with Store.open(url(store.path), read_only=True) as reader:
        reader.backup(tmp_path / "backup.db")
    with Store.open(url(tmp_path / "backup.db")) as copy:
        assert loaded(copy, room).seq == 300


def test_a_backup_during_writes_is_one_moment(
    store: Store, room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commits, and checkpoints, go on between its steps; the copy is of when it began."""
    monkeypatch.setattr(backup_module, "_PAGES_A_STEP", 5)
    steps = []

    def write(done: int, total: int) -> None:
        steps.append((done, total))
        store.commit(room.events(3))
        store.checkpoint()

    store.backup(tmp_path / "backup.db", progress=write)
    assert len(steps) > 10
    assert steps[-1][0] == steps[-1][1]
    assert loaded(store, room).seq == 300 + 3 * len(steps)
    with Store.open(url(tmp_path / "backup.db")) as copy:
        assert loaded(copy, room).recent == tuple(map(entry, room.log[:301]))
        assert copy.check().ok


def test_a_backup_beside_a_writing_thread(store: Store, room: Room, tmp_path: Path) -> None:
    """With commits from another thread all along, the copy is a prefix of what was committed."""
    end = threading.Event()

    def write() -> None:
        while not end.is_set():
            store.commit(room.events(5))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for n in range(3):
            store.backup(tmp_path / f"backup{n}.db")
    finally:
        end.set()
        writer.join()
    for n in range(3):
        with Store.open(url(tmp_path / f"backup{n}.db")) as copy:
            snapshot = loaded(copy, room)
            assert snapshot.seq % 5 == 0
            log = room.log[: snapshot.seq + 1]
            assert snapshot.recent == tuple(map(entry, log[-1024:]))
            assert snapshot.senders[ANA].counter == len(log) - 1


def test_a_backup_is_on_disk_before_it_has_its_name(
    store: Store, room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy is synced first, then named, then the directory is synced that holds the name."""
    target = tmp_path / "backup.db"
    synced: list[tuple[int, bool]] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_ino, target.exists()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    store.backup(target)
    assert synced == [(target.stat().st_ino, False), (tmp_path.stat().st_ino, True)]


@pytest.mark.parametrize("kind", ["file", "link", "directory"])
def test_nothing_is_overwritten(store: Store, room: Room, tmp_path: Path, kind: str) -> None:
    """Whatever stands at the target stays, a dangling link too."""
    target = tmp_path / "target"
    if kind == "file":
        target.write_text("mine")
    elif kind == "link":
        target.symlink_to(tmp_path / "nowhere")
    else:
        target.mkdir()
    with pytest.raises(BackupFailed, match="exists already"):
        store.backup(target)
    assert kind != "file" or target.read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


def _occupy(target: Path) -> Callable[[int, int], None]:
    """A progress function that puts a file at the target."""

    def step(done: int, total: int) -> None:
        target.write_text("mine")

    return step


def test_a_target_that_comes_to_exist_meanwhile(store: Store, room: Room, tmp_path: Path) -> None:
    """It is not overwritten either, and no part is left behind."""
    target = tmp_path / "backup.db"
    with pytest.raises(BackupFailed, match="File exists"):
        store.backup(target, progress=_occupy(target))
    assert target.read_text() == "mine"
    assert not list(tmp_path.glob(".*part*"))


def test_without_hard_links_it_is_renamed(
    store: Store, room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk without hard links (FAT) the copy is renamed, and still overwrites nothing."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    target = tmp_path / "backup.db"
    store.backup(target)
    with Store.open(url(target), read_only=True) as copy:
        assert loaded(copy, room).seq == 300
    other = tmp_path / "other.db"
    with pytest.raises(BackupFailed, match="File exists"):
        store.backup(other, progress=_occupy(other))
    assert other.read_text() == "mine"


def test_a_missing_directory(store: Store, room: Room, tmp_path: Path) -> None:
    """The sentence says what is wrong with the target."""
    with pytest.raises(BackupFailed, match="No such file or directory"):
        store.backup(tmp_path / "missing" / "backup.db")


def test_what_the_progress_raises_ends_it(store: Store, room: Room, tmp_path: Path) -> None:
    """A cancelled backup leaves nothing behind."""

    def cancel(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.backup(tmp_path / "backup.db", progress=cancel)
    assert not list(tmp_path.glob("*backup*"))
    assert not list(tmp_path.glob(".*part*"))


def test_check_of_a_sound_database(store: Store, room: Room) -> None:
    """A report without problems, with sizes that count the write-ahead log."""
    report = store.check()
    assert report.ok
    assert report.revision == report.expected
    log = Path(f"{store.path}-wal")
    assert report.bytes == store.path.stat().st_size + log.stat().st_size
    assert report.free_bytes > 0


def test_check_of_an_open_database(store: Store, room: Room) -> None:
    """Files that others may read are a problem, and the sentence mends it."""
    store.path.chmod(0o644)
    assert store.check().problems == (f"others may read the database: chmod 600 {store.path}",)
