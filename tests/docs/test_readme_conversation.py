"""The first conversation of the README happens as it says: real processes, its own words."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.docs.conversation import LINK, Shell, assert_printed, read_until, steps_of
from tests.docs.pages import page

SHELL = Shell(
    Path(sys.executable).parent,
    {**os.environ, "OFC_PASSPHRASE": "a few plain words", "PYTHONUNBUFFERED": "1"},
    fresh=True,
)


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[str]:
    """What a relay with the README's settings says, but on a free port."""
    example = page("config.example.toml").replace("port = 5103", "port = 0")
    (tmp_path / "config.toml").write_text(example)
    with SHELL.running("ofcd --config config.toml", tmp_path) as process:
        yield read_until(process, "first room")


@pytest.mark.slow
@pytest.mark.live
@pytest.mark.timeout(300)
def test_the_first_conversation_happens_as_the_readme_says(relay: str, tmp_path: Path) -> None:
    """Every command, in order, prints what the page shows; the relay's files hold no word of it."""
    address = re.findall(r"127\.0\.0\.1:\d+", relay)[0]
    (_, greeting), *steps = steps_of(page("README.md"))
    assert_printed(greeting, relay)
    link = ""
    with ExitStack() as stack:
        for command, expected in steps:
            typed = LINK.sub(link, command.replace("127.0.0.1:5103", address))
            if typed.endswith("--wait"):
                waiting = stack.enter_context(SHELL.running(typed, tmp_path))
                output = read_until(waiting, expected[-1][:20])
                link = LINK.findall(output)[0]
            else:
                output = SHELL.run(typed, tmp_path)
            assert_printed(expected, output)
    kept = b"".join(path.read_bytes() for path in (tmp_path / "var").iterdir())
    assert [word for word in (b"Book club", b"Dispossessed", b"Hello Ana") if word in kept] == []
