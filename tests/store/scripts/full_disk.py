"""Fill a disk of 2 MiB, for test_failures: runs in a mount namespace of its own, on a tmpfs.

Argument: a directory to mount it on. Prints "ok" at the end; anything else is a failure.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ofcd.store import BackupFailed, DiskFull, Store
from tests.store.support import ANA, Room, entry, loaded, url


def main(directory: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=2048k", "tmpfs", str(directory)]
    subprocess.run(mount, check=True)
    path, room = directory / "data" / "full.db", Room()
    ballast = directory / "ballast"
    ballast.write_bytes(bytes(256 * 1024))
    with Store.open(url(path)) as store:
        store.commit(room.founded())
        fill(store, room)
        committed = [entry(fact) for fact in room.log]
        assert list(loaded(store, room).recent) == committed[-1024:]
        try_backup(store, directory / "backup.db")
        again = room.events(3, size=500)
        with pytest.raises(DiskFull):  # a second failure is like the first
            store.commit(again)
        ballast.unlink()
        store.commit(again)
    with Store.open(url(path)) as store:
        assert list(loaded(store, room).recent) == [entry(fact) for fact in room.log][-1024:]
        (space,) = store.check().problems
        assert "MiB are free" in space
    print("ok")


def fill(store: Store, room: Room) -> None:
    """Commit until the disk is full; the events of the last attempt are not the room's."""
    endless = iter(lambda: store.commit(room.events(3, size=500)), "never")
    with pytest.raises(DiskFull, match="free some"):
        list(endless)
    assert len(room.log) > 100, "the disk was full at once"
    del room.log[-3:]
    room.counters[ANA] -= 3


def try_backup(store: Store, target: Path) -> None:
    """A backup for which there is no space leaves nothing behind."""
    with pytest.raises(BackupFailed):
        store.backup(target)
    assert [path.name for path in target.parent.iterdir() if "backup" in path.name] == []


if __name__ == "__main__":
    main(Path(sys.argv[1]))
