"""What came of a command, and relays as real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from tests import prefork

ROOT = Path(__file__).parents[2]
OFCD = (sys.executable, "-m", "ofcd")


@frozen
class Ran:
    """Exit code and both outputs."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """What a failed command said: one line on standard error, and nothing else."""
        assert self.out == ""
        assert self.err.startswith("ofcd: ")
        assert self.err.count("\n") == 1
        return self.err.removeprefix("ofcd: ").strip()


def run(*arguments: object, env: dict[str, str] | None = None) -> Ran:
    """`ofcd` in a process of its own."""
    done = prefork.run(
        [*OFCD, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=ROOT,
        env=os.environ | (env or {}),
    )
    return Ran(done.returncode, done.stdout, done.stderr)


@frozen
class Running:
    """A relay in a process of its own."""

    process: subprocess.Popen[str]
    greeting: tuple[str, ...]

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.greeting[0].split()[-1]

    def stop(self, how: signal.Signals = signal.SIGTERM) -> Ran:
        """Signal it, and wait for its end; the output is what came after the greeting."""
        self.process.send_signal(how)
        out, err = self.process.communicate(timeout=20)
        return Ran(self.process.returncode, out, err)


@contextmanager
def relay(*arguments: object) -> Iterator[Running]:
    """A relay that listens; killed at the end if it still runs."""
    command = [*OFCD, *map(str, arguments)]
    with prefork.Program[str](
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        try:
            greeting = tuple(process.stdout.readline().rstrip("\n") for _ in range(4))
            yield Running(process, greeting)
        finally:
            process.kill()
