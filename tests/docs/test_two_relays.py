"""Two relays on one machine, one of which is gone after a while, as docs/operating.md says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.docs.conversation import LINK, Shell, assert_printed, read_until, steps_of
from tests.docs.pages import page

_, _, _REST = page("docs/operating.md").partition("### Two relays on one machine")
_TEXT, _, _ = _REST.partition("### Running it")
TEXT, _, GONE = _TEXT.partition("#### The hub is gone for good")
SHELL = Shell(
    Path(sys.executable).parent,
    {**os.environ, "OFC_PASSPHRASE": "a few plain words", "PYTHONUNBUFFERED": "1"},
)
PORTS = {"5201": "a", "5202": "b"}


def blocks(text: str) -> list[str]:
    """What the page has people paste into a shell."""
    return re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S)


def lines(block: str) -> list[str]:
    return block.replace("\\\n", "").splitlines()


Typed = Callable[..., str]


@contextmanager
def both(tmp_path: Path, gone: str) -> Iterator[tuple[Path, Typed]]:
    """Everything up to Bo's words; ports are free ones, and each relay is a process of its own.

    Inside, the relay `gone` is gone.
    """
    start, first, second = blocks(TEXT)
    made = [line for line in lines(start) if not line.endswith("&")]
    free = re.sub("|".join(PORTS), "0", "\n".join(made))
    subprocess.run(["sh", "-ec", free], cwd=tmp_path, check=True, timeout=60)
    folder = tmp_path / "two"
    starts = [line.removesuffix(" &") for line in lines(start) if line.endswith("&")]
    commands = dict(zip("ab", starts, strict=True))
    address: dict[str, str] = {}

    def typed(command: str, link: str = "LINK") -> str:
        for port, name in PORTS.items():
            if name in address:
                command = command.replace(f"127.0.0.1:{port}", address[name])
        return command.replace("LINK", link)

    def learn(name: str, process: subprocess.Popen[str]) -> None:
        address[name] = re.findall(r"127\.0\.0\.1:\d+", read_until(process, "first room"))[0]

    stays = "b" if gone == "a" else "a"
    with SHELL.running(commands[stays], folder) as one:
        learn(stays, one)
        with SHELL.running(commands[gone], folder) as other:
            learn(gone, other)
            create, invite = lines(first)
            SHELL.run(typed(create), folder)
            with SHELL.running(typed(invite), folder) as inviting:
                link = LINK.findall(read_until(inviting, "#ofc1:"))[0]
                join, send = lines(second)
                SHELL.run(typed(join, link), folder)
                SHELL.run(typed(send), folder)
        yield folder, typed


@pytest.mark.slow
@pytest.mark.live
@pytest.mark.timeout(400)
def test_two_relays_on_one_machine_and_a_move_from_one_that_is_gone(tmp_path: Path) -> None:
    """Every command, in order."""
    with both(tmp_path, "b") as (folder, typed):
        for command, expected in steps_of(TEXT):
            assert_printed(expected, SHELL.run(typed(command), folder))


@pytest.mark.slow
@pytest.mark.live
@pytest.mark.timeout(400)
def test_a_room_goes_on_when_its_hub_is_gone_for_good(tmp_path: Path) -> None:
    """Every command, in order; the first of them does nothing, and says so."""
    with both(tmp_path, "a") as (folder, typed):
        for command, expected in steps_of(GONE):
            fails = any(line.startswith("ofc: ") for line in expected)
            assert_printed(expected, SHELL.run(typed(command), folder, fails=fails))
