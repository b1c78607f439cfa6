"""The whole plugin API is typed, as its users see it: from outside, by `py.typed`, for mypy.

`good.py` uses all of it, and `make types` checks it too; `wrong.txt` holds what has to be refused.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import bots
from tests.cli.support import ROOT

HERE = Path(__file__).parent
_SHARED = (f"--config-file={ROOT / 'pyproject.toml'}", f"--cache-dir={ROOT / '.mypy_cache'}")
_WANTED = re.compile(r"# E: ([a-z-]+)$")
_FOUND = re.compile(r"wrong\.py:(\d+): error: .*\[([a-z-]+)\]$", re.M)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_authors_mypy_sees_what_is_wrong_and_nothing_else(tmp_path: Path) -> None:
    """In a folder of the author's own, where only the installed package can be found.

    With our settings, which are stricter, so that what `make types` knows of all we import counts.
    """
    (tmp_path / "good.py").write_text((HERE / "good.py").read_text(encoding="utf-8"))
    wrong = (HERE / "wrong.txt").read_text(encoding="utf-8")
    (tmp_path / "wrong.py").write_text(wrong)
    environment = {name: value for name, value in os.environ.items() if name != "MYPYPATH"}
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *_SHARED, "--strict", "good.py", "wrong.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert "good.py" not in done.stdout, done.stdout
    lines = enumerate(wrong.splitlines(), start=1)
    wanted = {(n, hit[1]) for n, line in lines if (hit := _WANTED.search(line))}
    found = {(int(number), code) for number, code in _FOUND.findall(done.stdout)}
    assert found == wanted, done.stdout + done.stderr
    assert len(wanted) > 25


def test_the_snippets_cover_the_api() -> None:
    """Every public name is used in one of them: a new one is typed in a test, or this fails."""
    text = "".join((HERE / name).read_text() for name in ("good.py", "wrong.txt"))
    errors = {name for name in bots.__all__ if isinstance(getattr(bots, name), type)}
    raised = {n for n in errors if issubclass(getattr(bots, n), Exception)}
    missing = [n for n in bots.__all__ if n not in raised and not re.search(rf"\b{n}\b", text)]
    assert missing == []


def test_every_decorator_and_act_is_in_the_snippets() -> None:
    """So is everything that a bot's decorators and a handler's context offer."""
    text = (HERE / "good.py").read_text() + (HERE / "wrong.txt").read_text()
    inner = {"inbound_of", "timer_of"}  # for the SDK itself
    for kind in (bots.Bot, bots.Context):
        names = [n for n in dir(kind) if not n.startswith("_") and callable(getattr(kind, n))]
        missing = [n for n in names if n not in inner and not re.search(rf"\.{n}\b", text)]
        assert missing == [], kind.__name__


def test_the_marker_is_shipped() -> None:
    """Without it, type checkers take nothing from an installed package."""
    assert (ROOT / "bots" / "py.typed").is_file()
