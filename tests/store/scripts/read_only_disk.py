"""Use a database on a disk that becomes read-only, for test_failures: in a mount namespace.

Argument: a directory to mount it on. Prints "ok" at the end; anything else is a failure.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ofcd.store import ReadOnly, Store
from tests.store.support import Room, entry, loaded, url


def main(directory: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(directory)], check=True)
    path, room = directory / "data" / "test.db", Room()
    with Store.open(url(path)) as store:
        store.commit([*room.founded(), *room.events(3)])
    remount(directory, "ro")
    with pytest.raises(ReadOnly, match="not mounted read-only"):
        Store.open(url(path))
    remount(directory, "rw")
    with Store.open(url(path)) as store:
        assert list(loaded(store, room).recent) == [entry(fact) for fact in room.log]
    print("ok")


def remount(directory: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", str(directory)], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
