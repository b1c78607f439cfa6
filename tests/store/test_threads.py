"""Readers beside the writer: nobody waits for anybody, and each sees one moment."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ofcd.store import READERS, Busy, Durability, LogPage, Retention, Store
from ofcd.store import engine as engine_module
from ofcd.store import writer as writer_module
from tests.store.support import ANA, Room, copy_of, entry, loaded, opened


def test_readers_see_whole_commits_only(store: Store) -> None:
    """While one thread commits batches of five, readers see multiples of five, in order."""
    room = Room()
    store.commit(room.founded())
    end = threading.Event()

    def read() -> list[int]:
        heads = []
        while not end.is_set():
            snapshot = loaded(store, room)
            assert snapshot.seq % 5 == 0
            assert snapshot.recent == tuple(map(entry, room.log[: snapshot.seq + 1]))[-1024:]
            assert snapshot.senders == {} or snapshot.senders[ANA].counter == snapshot.seq
            heads.append(snapshot.seq)
        return heads

    with ThreadPoolExecutor(READERS + 2) as pool:
        readings = [pool.submit(read) for _ in range(READERS + 2)]
        for _ in range(100):
            store.commit(room.events(5))
        end.set()
        for reading in readings:
            heads = reading.result()
            assert heads == sorted(heads)
    assert loaded(store, room).seq == 500


def test_an_open_reading_holds_nobody_up(store: Store) -> None:
    """Commits, checkpoints and retention go on beside a reader in the midst of its reading."""
    room = Room()
    store.commit([*room.founded(), *room.events(5)])
    with store._reader.snapshot() as connection:
        count = "SELECT count(*) FROM log"
        assert connection.exec_driver_sql(count).scalar_one() == 6
        store.commit(room.events(5))
        store.checkpoint()
        store.apply_retention(Retention(max_events=1), 0)
        assert connection.exec_driver_sql(count).scalar_one() == 6
    assert loaded(store, room).seq == 10


def test_commits_from_several_threads_take_turns(store: Store) -> None:
    """The daemon has one writer thread; should there be more, they do not harm each other."""
    rooms = [Room(f"room {n}") for n in range(4)]

    def write(room: Room) -> None:
        store.commit(room.founded())
        for _ in range(25):
            store.commit(room.events(2))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, rooms))
    assert [loaded(store, room).seq for room in rooms] == [50] * 4


def test_too_many_readers_wait_and_then_give_up(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all connections in use a reading is Busy after a while; then it works again."""
    monkeypatch.setattr(engine_module, "_POOL_SECONDS", 0.01)
    room = Room()
    with opened(template, tmp_path) as store:
        store.commit(room.founded())
        holders = [store._reader.snapshot() for _ in range(READERS)]
        for holder in holders:
            holder.__enter__()
        with pytest.raises(Busy, match="try again"):
            store.load_room(room.id)
        for holder in holders:
            holder.__exit__(None, None, None)
        assert loaded(store, room).seq == 0


@pytest.mark.parametrize(("durability", "level"), [("full", 2), ("normal", 1)])
def test_durability_is_what_was_asked_for(
    template: Path, tmp_path: Path, durability: str, level: int
) -> None:
    """SQLite is told to sync at each commit, or at checkpoints only; and to use the WAL."""
    names = ("synchronous", "journal_mode", "foreign_keys", "wal_autocheckpoint")
    where = copy_of(template, tmp_path)
    with (
        Store.open(where, durability=durability) as store,
        store._writer.transaction() as connection,
    ):
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in names]
    assert found == [level, "wal", 1, 0]


def test_an_unknown_durability(template: Path, tmp_path: Path) -> None:
    """It is refused before anything is opened for long: the database can be opened again."""
    where = copy_of(template, tmp_path)
    with pytest.raises(ValueError, match="fast"):
        Store.open(where, durability="fast")
    Store.open(where, durability=Durability.FULL).close()


def test_checkpoints_are_due_when_the_log_has_grown(store: Store) -> None:
    """Many commits make one due; it moves all, so that the log's file is used anew."""
    room = Room()
    store.commit(room.founded())
    due: list[bool] = []
    while not any(due):
        store.commit(room.events(50, size=2_000))
        due.append(store.checkpoint_due)
    assert len(due) > 5
    log = Path(f"{store.path}-wal")
    grown = log.stat().st_size
    assert 2**22 < grown < 2**25
    store.checkpoint()
    assert not store.checkpoint_due
    store.commit(room.events(50, size=2_000))
    assert log.stat().st_size == grown  # it began anew, in the same file


def test_the_log_is_bounded_without_anyones_care(store: Store) -> None:
    """If nobody calls checkpoint, commits do: the write-ahead log stays under 64 MiB."""
    room = Room()
    store.commit(room.founded())
    for _ in range(40):
        store.commit(room.events(40, size=50_000))
    assert Path(f"{store.path}-wal").stat().st_size < 2**26
    page: LogPage = store.read_log(room.id, 1_500, mid=ANA, max_events=500, max_bytes=10**8)
    assert len(page.rows) == 101


def test_a_failed_checkpoint_is_no_failed_commit(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was committed is told as committed, though moving the log failed just afterwards."""
    tried = []

    def fail(connection: object) -> None:
        tried.append(connection)
        raise sqlite3.OperationalError("disk I/O error")

    room = Room()
    store.commit(room.founded())
    monkeypatch.setattr(writer_module, "_passive", fail)
    monkeypatch.setattr(writer_module, "_CHECKPOINT_AT_LATEST", 1)
    store.commit(room.events(3))
    assert tried
    assert loaded(store, room).seq == 3
