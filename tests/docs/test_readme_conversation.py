"""The first conversation of the README happens as it says: real processes, its own words."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.docs.pages import page

BIN = Path(sys.executable).parent
ENVIRONMENT = {**os.environ, "OFC_PASSPHRASE": "a few plain words", "PYTHONUNBUFFERED": "1"}
# What differs from one day, machine and room to the next.
_CHANGING = (
    (r"https?://\S+#ofc1:\S+", "LINK"),
    (r"127\.0\.0\.1:\d+", "ADDRESS"),
    (r"\b[0-9a-f]{64}\b", "ID"),
    (r"\b(?:[0-9a-f]{4} ){15}[0-9a-f]{4}\b", "FINGERPRINT"),
    (r"^──── .* ────$", "DAY"),
    (r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}|\d{2}:\d{2}", "TIME"),
)
_LINK = re.compile(r"https?://\S+#ofc1:[^\s']+")


def _normal(line: str) -> str:
    for pattern, word in _CHANGING:
        line = re.sub(pattern, word, line.rstrip())
    return line


def _steps() -> Iterator[tuple[str, list[str]]]:
    """Each command of the README's console blocks, and what it prints."""
    for block in re.findall(r"^```console\n(.*?)^```$", page("README.md"), re.M | re.S):
        for step in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, *printed = step.splitlines()
            yield command, [_normal(line) for line in printed]


def _assert_printed(expected: list[str], output: str) -> None:
    """Every line of the README, in its order; the program may say more."""
    lines = iter([_normal(line) for line in output.splitlines()])
    for wanted in expected:
        assert wanted in lines, f"{wanted!r} is not in, or not in this order:\n{output}"


@contextmanager
def _running(command: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that lasts; on the way out it is asked to stop, and has to do so in order."""
    words = shlex.split(command)
    with subprocess.Popen(
        [str(BIN / words[0]), *words[1:]],
        cwd=folder,
        env=ENVIRONMENT,
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


def _run(command: str, folder: Path) -> str:
    said, _, piped = command.rpartition(" | ")
    done = subprocess.run(
        [str(BIN / "ofc"), *shlex.split(piped)[1:]],
        cwd=folder,
        env=ENVIRONMENT,
        input=" ".join(shlex.split(said)[1:]),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr + done.stdout


def _read_until(process: subprocess.Popen[str], wanted: str) -> str:
    assert process.stdout is not None
    found = ""
    while wanted not in found:
        line = process.stdout.readline()
        assert line, f"it ended before it said {wanted!r}:\n{found}"
        found += line
    return found


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[str]:
    """What a relay with the README's settings says, but on a free port."""
    example = page("config.example.toml").replace("port = 5103", "port = 0")
    (tmp_path / "config.toml").write_text(example)
    with _running("ofcd --config config.toml", tmp_path) as process:
        yield _read_until(process, "first room")


@pytest.mark.slow
@pytest.mark.live
def test_the_first_conversation_happens_as_the_readme_says(relay: str, tmp_path: Path) -> None:
    """Every command, in order, prints what the page shows; the relay's files hold no word of it."""
    address = re.findall(r"127\.0\.0\.1:\d+", relay)[0]
    (_, greeting), *steps = _steps()
    _assert_printed(greeting, relay)
    link = ""
    with ExitStack() as stack:
        for command, expected in steps:
            typed = _LINK.sub(link, command.replace("127.0.0.1:5103", address))
            if typed.endswith("--wait"):
                waiting = stack.enter_context(_running(typed, tmp_path))
                output = _read_until(waiting, expected[-1][:20])
                link = _LINK.findall(output)[0]
            else:
                output = _run(typed, tmp_path)
            _assert_printed(expected, output)
    kept = b"".join(path.read_bytes() for path in (tmp_path / "var").iterdir())
    assert [word for word in (b"Book club", b"Dispossessed", b"Hello Ana") if word in kept] == []
