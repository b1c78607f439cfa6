"""The first pages of docs/bots.md, done by somebody who has nothing: from a wheel to an answer.

The wheel is built and installed into an environment of its own; its dependencies are those of the
test's. Every command of the tutorial is run there, in order, against a real relay, and the files
are changed as it says.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.docs.conversation import LINK, Shell, assert_printed, read_until, steps_of
from tests.docs.pages import ROOT, page

PAGE = page("docs/bots.md")
TUTORIAL = PAGE[PAGE.index("## Five minutes") : PAGE.index("### One of your own")]
ADDRESS = "127.0.0.1:5103"


def python(*arguments: object, cwd: Path) -> None:
    """This test's own Python, which has to end well."""
    done = subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """An environment that nothing of this checkout is in but the wheel."""
    place = tmp_path_factory.mktemp("installed")
    python("build", "--wheel", "--no-isolation", "--outdir", place, ROOT, cwd=place)
    [wheel] = place.glob("ofcd-*.whl")
    python("venv", "--without-pip", place / "venv", cwd=place)
    home = place / "venv"
    inside = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    (home / inside / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = ["pip", "--python", home / "bin" / "python", "install"]
    python(*pip, "--no-index", "--no-deps", "--quiet", wheel, cwd=place)
    environment = {
        "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(place / "home"),
        "OFC_PASSPHRASE": "a few plain words",
        "PYTHONUNBUFFERED": "1",
        "LANG": "C.UTF-8",
    }
    return Shell(home / "bin", environment, 120)


class Newcomer:
    """Does what the tutorial says, step by step; terminals stay open until the end."""

    def __init__(self, shell: Shell, folder: Path, terminals: ExitStack) -> None:
        self.shell = shell
        self.folder = folder
        self.project = folder / "hello"
        self.terminals = terminals
        self.address = ""
        self.waiting: subprocess.Popen[str] | None = None

    def do(self, command: str, expected: list[str]) -> str:
        """One command; what it printed."""
        typed = command.replace(ADDRESS, self.address or ADDRESS)
        if typed == "cd hello":
            return ""
        if typed == "ofcd example-config > config.toml":
            # As it says, but for the port: another one may stand on this machine.
            settings = self.shell.run("ofcd example-config", self.folder)
            assert settings.count("port = 5103") == 1
            text = settings.replace("port = 5103", "port = 0")
            (self.folder / "config.toml").write_text(text)
            return ""
        if typed.startswith("ofcd --config"):
            output = self.stays_open(typed, self.folder, "listens on")
            self.address = re.findall(r"127\.0\.0\.1:\d+", output)[0]
            return output
        if typed.endswith("--wait"):
            output = self.stays_open(typed, self.folder, "#ofc1:")
            self.take_link(*LINK.findall(output))
            return output
        if typed.startswith("ofc-bot run"):
            return self.stays_open(typed, self.project, "joined a room")
        if typed.startswith("ofc read"):
            return self.read(typed, expected[-1].strip())
        in_project = typed.startswith("python -m pytest")
        return self.shell.run(typed, self.project if in_project else self.folder)

    def stays_open(self, command: str, folder: Path, wanted: str) -> str:
        """A command that lasts, up to the line with these words."""
        process = self.terminals.enter_context(self.shell.running(command, folder))
        if command.endswith("--wait"):
            self.waiting = process
        elif self.waiting is not None:
            output = read_until(process, wanted)
            self.waiting.wait(60)  # "the invite in the third terminal ends"
            return output
        return read_until(process, wanted)

    def take_link(self, link: str) -> None:
        """Put it into bot.toml, as the page's TOML shows."""
        [line] = re.findall(r"^```toml\n(join = .*)\n```$", TUTORIAL, re.M)
        written = (self.project / "bot.toml").read_text()
        assert written.count("\njoin = []\n") == 1
        changed = written.replace("join = []", LINK.sub(lambda _: link, line))
        (self.project / "bot.toml").write_text(changed)

    def read(self, command: str, wanted: str) -> str:
        """What the room holds, once the bot, which is another process, has answered."""
        for _ in range(60):
            output = self.shell.run(command, self.folder)
            if output.rstrip().endswith(wanted):
                break
            time.sleep(1)
        return output


@pytest.mark.live
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_newcomer_gets_an_answer_by_the_tutorial_alone(installed: Shell, tmp_path: Path) -> None:
    """From `pip install` to the bot's words, which are read back as the page shows them."""
    (first, _), *steps = steps_of(TUTORIAL)
    assert first.startswith("pip install ofcd")  # of a wheel: see `installed`
    with ExitStack() as terminals:
        newcomer = Newcomer(installed, tmp_path, terminals)
        for command, expected in steps:
            assert_printed(expected, newcomer.do(command, expected))
    assert len(steps) >= 9


def test_the_wheel_holds_what_a_bots_author_needs(installed: Shell) -> None:
    """Types, the unit for systemd, the test kit, the core, and the shelf as plugins."""
    found = installed.run("ofc-bot list", installed.bin)
    assert "plugin:echo" in found
    site = next((installed.bin.parent / "lib").glob("python*/site-packages"))
    for name in ("bots/py.typed", "bots/ofc-bot@.service", "bots/testing/plugin.py"):
        assert (site / name).is_file(), name
    assert (site / "ofcd/themis/core/libthemis.wasm").stat().st_size > 1_000_000


def test_the_wheel_holds_the_browser_page(installed: Shell) -> None:
    """Where it was built: its start page, and no source of it."""
    site = next((installed.bin.parent / "lib").glob("python*/site-packages"))
    if not (ROOT / "web/dist/index.html").is_file():
        pytest.skip("the page is not built: make web-build")
    for name in ("index.html", "index.html.gz", "check.html", "SHA256SUMS.txt"):
        assert (site / "ofcd/_web" / name).is_file(), name
    assert not list((site / "ofcd/_web").rglob("*.ts"))
