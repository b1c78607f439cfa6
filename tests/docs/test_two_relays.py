"""Two relays on one machine, and a member who moves home, as docs/operating.md says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.conversation import LINK, Shell, assert_printed, read_until, steps_of
from tests.docs.pages import page

_, _, _REST = page("docs/operating.md").partition("### Two relays on one machine")
TEXT, _, _ = _REST.partition("### Running it")
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


@pytest.mark.slow
@pytest.mark.live
@pytest.mark.timeout(400)
def test_two_relays_on_one_machine_and_a_move_from_one_that_is_gone(tmp_path: Path) -> None:
    """Every command, in order; ports are free ones, and each relay is a process of its own."""
    start, first, second = blocks(TEXT)
    made = [line for line in lines(start) if not line.endswith("&")]
    free = re.sub("|".join(PORTS), "0", "\n".join(made))
    subprocess.run(["sh", "-ec", free], cwd=tmp_path, check=True, timeout=60)
    folder = tmp_path / "two"
    start_a, start_b = [line.removesuffix(" &") for line in lines(start) if line.endswith("&")]
    address: dict[str, str] = {}

    def typed(command: str, link: str = "LINK") -> str:
        for port, name in PORTS.items():
            if name in address:
                command = command.replace(f"127.0.0.1:{port}", address[name])
        return command.replace("LINK", link)

    with SHELL.running(start_a, folder) as a:
        address["a"] = re.findall(r"127\.0\.0\.1:\d+", read_until(a, "first room"))[0]
        # On its way out of here relay b is gone, as the page says.
        with SHELL.running(start_b, folder) as b:
            address["b"] = re.findall(r"127\.0\.0\.1:\d+", read_until(b, "first room"))[0]
            create, invite = lines(first)
            SHELL.run(typed(create), folder)
            with SHELL.running(typed(invite), folder) as inviting:
                link = LINK.findall(read_until(inviting, "#ofc1:"))[0]
                join, send = lines(second)
                SHELL.run(typed(join, link), folder)
                SHELL.run(typed(send), folder)
        for command, expected in steps_of(TEXT):
            assert_printed(expected, SHELL.run(typed(command), folder))
