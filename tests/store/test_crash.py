"""What a commit returned for survives kill -9, and the log's tail may be torn anywhere."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofcd.store import Store
from tests.store.support import Room, entry, loaded, opened, run_script, url


@pytest.mark.slow
@pytest.mark.live
def test_nothing_confirmed_is_lost_to_kill_9(tmp_path: Path) -> None:
    """Killed 30 times in the midst of commits, checkpoints and retention: nothing is missing."""
    done = run_script("killed", str(tmp_path), "30")
    assert (done.stdout, done.returncode) == ("ok\n", 0), done.stderr


@pytest.fixture(scope="module")
def crashed(template: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Room]:
    """Database and write-ahead log as a crash leaves them: 20 commits, none checkpointed."""
    directory, left = tmp_path_factory.mktemp("alive"), tmp_path_factory.mktemp("crashed")
    room = Room()
    with opened(template, directory) as store:
        store.commit(room.founded())
        store.checkpoint()
        for _ in range(20):
            store.commit(room.events(3, size=300))
        for name in ("test.db", "test.db-wal"):
            shutil.copyfile(directory / name, left / name)
    return left, room


@settings(max_examples=40)
@given(st.floats(0, 1))
def test_a_torn_log_costs_whole_commits_from_the_end(
    crashed: tuple[Path, Room], tmp_path_factory: pytest.TempPathFactory, part: float
) -> None:
    """With the write-ahead log cut anywhere, the database opens with a prefix of the commits."""
    left, room = crashed
    torn = tmp_path_factory.mktemp("torn")
    shutil.copyfile(left / "test.db", torn / "test.db")
    log = (left / "test.db-wal").read_bytes()
    (torn / "test.db-wal").write_bytes(log[: int(len(log) * part)])
    with Store.open(url(torn / "test.db")) as store:
        snapshot = loaded(store, room)
        assert snapshot.seq % 3 == 0
        assert snapshot.recent == tuple(map(entry, room.log[: snapshot.seq + 1]))
        assert store.check().ok
        if part == 1:
            assert snapshot.seq == room.log[-1].seq
