"""Console blocks of the pages, done as they say: real processes, the pages' own words."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from tests.prefork import Program, run

__all__ = ["LINK", "Shell", "assert_printed", "normal", "read_until", "steps_of"]

# What differs from one day, machine and room to the next.
_CHANGING = (
    (r"https?://\S+#ofc1:\S+", "LINK"),
    (r"127\.0\.0\.1:\d+", "ADDRESS"),
    (r"\b[0-9a-f]{64}\b", "ID"),
    (r"\b(?:[0-9a-f]{4} ){15}[0-9a-f]{4}\b", "FINGERPRINT"),
    (r"\(([0-9a-f]{8})\)", "(RELAY)"),
    (r"^──── .* ────$", "DAY"),
    (r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}|\d{2}:\d{2}", "TIME"),
)
LINK = re.compile(r"https?://\S+#ofc1:[^\s'\"]+")


def normal(line: str) -> str:
    """A line without what changes."""
    for pattern, word in _CHANGING:
        line = re.sub(pattern, word, line.rstrip())
    return line


def steps_of(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each command of a text's console blocks, and what it prints."""
    for block in re.findall(r"^```console\n(.*?)^```$", text, re.M | re.S):
        for step in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, *printed = step.splitlines()
            yield command, [normal(line) for line in printed]


def assert_printed(expected: list[str], output: str) -> None:
    """Every line of the page, in its order; the program may say more."""
    lines = iter([normal(line) for line in output.splitlines()])
    for wanted in expected:
        assert wanted in lines, f"{wanted!r} is not in, or not in this order:\n{output}"


def read_until(process: subprocess.Popen[str], wanted: str) -> str:
    """What a process says up to the line with these words."""
    assert process.stdout is not None
    found = ""
    while wanted not in found:
        line = process.stdout.readline()
        assert line, f"it ended before it said {wanted!r}:\n{found}"
        found += line
    return found


@frozen
class Shell:
    """Where commands are run: the programs in `bin`, in this environment."""

    bin: Path
    environment: Mapping[str, str]
    patience: float = 120.0
    fresh: bool = False
    """Each program is started as a shell does it, and not forked (tests/prefork.py)."""

    @contextmanager
    def running(self, command: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
        """A process that lasts; on the way out it is asked to stop, and has to do so in order."""
        words = shlex.split(command)
        start = subprocess.Popen if self.fresh else Program[str]
        with start(
            [str(self.bin / words[0]), *words[1:]],
            cwd=folder,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.send_signal(signal.SIGTERM)
                assert process.stdout is not None
                rest = process.stdout.read()
        assert process.returncode == 0, rest

    def run(self, command: str, folder: Path, *, fails: bool = False) -> str:
        """A command that ends well, or `fails`, and what it said.

        `echo words | command` pipes the words.
        """
        said, _, typed = command.rpartition(" | ")
        program, *words = shlex.split(typed)
        start = subprocess.run if self.fresh else run
        done = start(
            [str(self.bin / program), *words],
            cwd=folder,
            env=dict(self.environment),
            input=" ".join(shlex.split(said)[1:]),
            capture_output=True,
            text=True,
            timeout=self.patience,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        said_all: str = done.stderr + done.stdout
        return said_all
