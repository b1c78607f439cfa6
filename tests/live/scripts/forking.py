"""Starts programs of ours for the tests of the page, without a second of imports for each.

Argument: the path of a socket to make; it prints a line once that is there. It imports all of them
when the first is asked for, and forks for each connection. Its first line is a JSON object: `run`,
a module as of `python -m` or a script's path, and its `words`, `folder` and `environment`. The
connection is the program's standard input and output, and begins with its process id, a line. Once
it has ended comes a zero byte, and in JSON its `code`, below zero for a signal, and what stood on
its standard error.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

ROOT: Final = Path(__file__).parents[3]
IMPORTED: Final = (
    "bots.cli",
    "bots.runner",
    "bots.tables.store",
    "ofcd.cli",
    "ofcd.client",
    "ofcd.daemon.log",
    "ofcd.daemon.run",
    "ofcd.ofc.cli",
    "ofcd.ofc.runner",
    "ofcd.store",
)
"""What the programs are, and what they import only when they run."""
_SET_PDEATHSIG: Final = 1
_FATAL: Final = 1

_running: dict[int, tuple[socket.socket, BinaryIO]] = {}
"""By process id: whom to tell of its end, and its standard error."""


def serve(path: str) -> None:
    """Fork a program for each connection, until this process is ended."""
    wakes, woken = socket.socketpair()
    woken.setblocking(False)
    signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # what is told to the wakeup fd is enough
    with socket.socket(socket.AF_UNIX) as listener, wakes, woken:
        listener.bind(path)
        listener.listen(64)
        print("listening", flush=True)
        while True:
            ready, _, _ = select.select([wakes, listener], [], [])
            if wakes in ready:
                wakes.recv(4096)
                _reap()
            if listener in ready:
                connection, _ = listener.accept()
                _import_all()
                _start(connection, [listener, wakes, woken])


def _import_all() -> None:
    if IMPORTED[0] in sys.modules:
        return
    sys.path.insert(0, str(ROOT))
    for name in IMPORTED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a child that collects would copy all of it


def _start(connection: socket.socket, others: Sequence[socket.socket]) -> None:
    if not (line := _line(connection)):
        connection.close()  # who asked is gone
        return
    order = json.loads(line)
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed where the program has ended
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)
        for other in others:
            other.close()
        _become(order, connection, errors)
    _running[pid] = connection, errors


def _line(connection: socket.socket) -> bytes:
    """Its first line, and no byte of what the program is to read; nothing if it ends before."""
    line = bytearray()
    with contextlib.suppress(ConnectionError):
        while byte := connection.recv(1):
            line += byte
            if byte == b"\n":
                return bytes(line)
    return b""


def _become(order: dict[str, Any], connection: socket.socket, errors: BinaryIO) -> None:
    """Be that program; does not return."""
    ctypes.CDLL(None).prctl(_SET_PDEATHSIG, signal.SIGKILL)  # none outlives this forker
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for own, fd in enumerate((connection.fileno(), connection.fileno(), errors.fileno())):
        os.dup2(fd, own)
    for other, file in _running.values():
        other.close()
        file.close()
    connection.sendall(f"{os.getpid()}\n".encode())
    connection.close()
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    code: object = _FATAL
    try:
        code = _run(order["run"], order["words"])
        sys.stdout.flush()
        sys.stderr.flush()
        atexit._run_exitfuncs()
    finally:
        os._exit(code if isinstance(code, int) else _FATAL)


def _run(name: str, words: list[str]) -> object:
    """Run a program as the interpreter does; returns its exit code."""
    sys.argv[1:] = words
    try:
        if name.endswith(".py"):
            sys.argv[0] = name
            runpy.run_path(name, run_name="__main__")
        else:
            runpy.run_module(name, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        return ended.code or 0
    except BaseException:
        traceback.print_exc()
        return _FATAL
    return 0


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            connection, errors = _running.pop(pid)
            errors.seek(0)
            said = errors.read().decode(errors="replace")
            ended = {"code": os.waitstatus_to_exitcode(status), "errors": said}
            with connection, errors, contextlib.suppress(OSError):  # nobody may listen any more
                connection.sendall(b"\0" + json.dumps(ended).encode())


if __name__ == "__main__":
    serve(sys.argv[1])
