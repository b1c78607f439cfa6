"""Programs of ours as real processes, without a second of imports for each.

A process that has imported them all waits, and forks one for every start. What comes of it is a
process like any other: its own pipes, directory and environment, killed, stopped and waited for by
who started it. What it does not show is how the interpreter starts and ends, and that the program
imports what it needs: a test of that starts it as people do.

`Program` is a `subprocess.Popen` and `run` is `subprocess.run`, both for the same commands. One
that can not be forked (wrapped by another, with settings that count at import, not on Linux) is
started as they would.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, AnyStr, Final, NoReturn

__all__ = ["Program", "run"]

_ROOT: Final = Path(__file__).parents[1]
_MODULES: Final = {
    "bots.cli": "bots.cli",
    "bridge.cli": "bridge.cli",
    "ofcd": "ofcd.cli",
    "ofcd.compliance": "ofcd.compliance.cli",
    "ofcd.ofc.cli": "ofcd.ofc.cli",
}
"""What may follow `-m`, and where its `main` is."""
_SCRIPTS: Final = {
    "ofc": "ofcd.ofc.cli",
    "ofc-bot": "bots.cli",
    "ofc-bridge": "bridge.cli",
    "ofc-compliance": "ofcd.compliance.cli",
    "ofcd": "ofcd.cli",
}
"""What is installed beside the interpreter, and where its `main` is."""
_LATER: Final = (
    "alembic.command",
    "alembic.config",
    "bots.tables.store",
    "ofcd.daemon.run",
    "ofcd.ofc.screen",
)
"""What they import only once they run."""
_AT_IMPORT: Final = ("LD_", "OFCD_", "PYTHON")
"""Variables that count when a program starts and not later,"""
_NOT_AT_IMPORT: Final = ("OFCD_SEED", "OFCD_TEST_", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")
"""but for these."""
_MESSAGE: Final = 1 << 17
_PR_SET_CHILD_SUBREAPER: Final = 36


class Program(subprocess.Popen[AnyStr]):
    """A program of ours that runs, forked if it can be."""

    def _execute_child(self, args: Any, *how: Any) -> None:
        """What `Popen` calls once it has made the pipes: starts the process, sets its pid."""
        executable, preexec, _, pass_fds, cwd, env, _, _, shell, *pipes = how[:15]
        environment = dict(os.environ if env is None else env)
        odd = executable or preexec or pass_fds or shell
        program = None if odd or os.environ.get("OFCD_TEST_FORK") == "0" else _main_of(args)
        if program is None or not _forker().suits(environment):
            super()._execute_child(args, *how)  # type: ignore[misc]
            return
        streams = [own if fd == -1 else fd for own, fd in enumerate((pipes[0], *pipes[3::2]))]
        folder = os.path.abspath(os.fspath(cwd or "."))
        module, words = program
        self.pid = _forker().start((module, words, folder, environment), streams)
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]


def run(
    command: Sequence[str],
    *,
    input: Any = None,
    timeout: float | None = None,
    capture_output: bool = False,
    **how: Any,
) -> subprocess.CompletedProcess[Any]:
    """Run a program of ours to its end; the same as `subprocess.run`, without `check`."""
    if input is not None:
        how["stdin"] = subprocess.PIPE
    if capture_output:
        how["stdout"] = how["stderr"] = subprocess.PIPE
    with Program[Any](command, **how) as process:
        try:
            out, err = process.communicate(input, timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def _main_of(command: Any) -> tuple[str, list[str]] | None:
    """The module whose `main` a command runs, and its words; None: it is no program of ours."""
    if isinstance(command, str) or not sys.platform.startswith("linux"):
        return None
    first, *words = map(os.fspath, command)
    if first == sys.executable and words[:1] == ["-m"] and words[1] in _MODULES:
        return _MODULES[words[1]], words[2:]
    program = Path(first)
    if program.parent == Path(sys.executable).parent and program.name in _SCRIPTS:
        return _SCRIPTS[program.name], words
    return None


def _at_import(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(_AT_IMPORT) and not name.startswith(_NOT_AT_IMPORT)
    }


class _Forker:
    """The process that forks, as seen from here."""

    def __init__(self) -> None:
        self._environment = _at_import(os.environ)
        self._lock = threading.Lock()
        self._lane, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                cwd=_ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )

    def suits(self, environment: Mapping[str, str]) -> bool:
        """Whether a program in this environment would have imported the same."""
        return _at_import(environment) == self._environment

    def start(self, order: tuple[str, list[str], str, dict[str, str]], streams: list[int]) -> int:
        """Have a program started; its pid, of a child of this process."""
        with self._lock, _adopting():
            socket.send_fds(self._lane, [json.dumps(order).encode()], streams)
            return int(self._lane.recv(_MESSAGE))

    def end(self) -> None:
        """Let it end; what it has forked goes on."""
        self._lane.close()
        self._process.wait()


@cache
def _forker() -> _Forker:
    forker = _Forker()
    atexit.register(forker.end)
    return forker


@contextmanager
def _adopting() -> Iterator[None]:
    """Children of our children whose parents end meanwhile are ours, not the first process's."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _serve(lane: socket.socket) -> None:
    """Fork whatever is asked for, until nobody can ask any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's is for who runs the tests
    for module in {*_MODULES.values(), *_LATER}:
        import_module(module)
    gc.freeze()  # a child's collector leaves it alone, so its memory stays shared
    while True:
        message, streams, _, _ = socket.recv_fds(lane, _MESSAGE, 3)
        if not message:
            return
        ours, theirs = os.pipe()
        if (between := os.fork()) == 0:
            # Its own child outlives it, and is then the child of who asked.
            if (pid := os.fork()) == 0:
                lane.close()
                os.close(ours)
                os.close(theirs)
                module, words, folder, environment = json.loads(message)
                _become(module, words, folder, environment, streams)
            os.write(theirs, str(pid).encode())
            os._exit(0)
        os.waitpid(between, 0)
        lane.send(os.read(ours, _MESSAGE))
        for fd in (*streams, ours, theirs):
            os.close(fd)


def _become(
    module: str, words: list[str], folder: str, environment: dict[str, str], streams: list[int]
) -> NoReturn:
    """Be that program until it ends."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if environment.get("PYTHONUNBUFFERED"):
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.path[0] = folder
    sys.argv = [module, *words]
    os._exit(_end(import_module(module).main))


def _end(main: Callable[[], int]) -> int:
    """What the interpreter does around a `main`; the exit code."""
    code = 1
    try:
        code = main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            return 120  # as the interpreter's own
    return code


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
