"""One process a database: an advisory lock on a file beside it, which also says whose it is."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from ofcd.store.errors import Locked

__all__ = ["DatabaseLock"]

_PID_BYTES = 20


class DatabaseLock:
    """The lock on the database at `path`, held until `release` or the end of the process.

    It is flock(2) on `PATH.lock`: kill -9 releases it, a stale file does not hold it. The file
    stays, since removing it would let two processes lock two files of one name.

    Raises:
        Locked: Another process (or another Store of this one) holds it.
        OSError: The file can not be made.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._take(path)
        except BaseException:
            os.close(self._fd)
            raise
        self._held = True

    def release(self) -> None:
        """Give it up; twice is fine."""
        if self._held:
            self._held = False
            os.ftruncate(self._fd, 0)
            os.close(self._fd)

    def _take(self, path: Path) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(self._fd, _PID_BYTES, 0).decode("ascii", "replace").strip()
            holder = f"process {pid}" if pid.isdigit() else "another process"
            raise Locked(
                f"the database {path} is in use by {holder}: "
                "stop that one, or give this relay a data_dir of its own"
            ) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, str(os.getpid()).encode("ascii"), 0)
