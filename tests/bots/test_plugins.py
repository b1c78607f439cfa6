"""Bots that come as wheels: built, installed, listed, checked; and reloaded whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import bots.plugins
from bots.cli import main
from bots.errors import LoadError
from bots.loading import changed_at, load_bot, reload_bot, source_of
from bots.plugins import find_plugin, installed, shelf_bots
from tests.cli.support import ROOT


def python(*arguments: object, cwd: Path, path: Path = ROOT) -> str:
    """A Python process that has to end well; what it said."""
    done = subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": f"{path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.live
@pytest.mark.slow
def test_a_new_project_is_a_wheel_that_is_listed_and_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ofc-bot new`, a wheel of it, installed elsewhere: `list` and `plugin:NAME` know it."""
    monkeypatch.chdir(tmp_path)
    assert main(["new", "greeter"]) == 0
    python("build", "--wheel", "--no-isolation", "--outdir", tmp_path, cwd=tmp_path / "greeter")
    [wheel] = tmp_path.glob("greeter-*.whl")
    place = tmp_path / "installed"
    python("pip", "install", "--no-index", "--no-deps", "--target", place, wheel, cwd=tmp_path)
    listed = python("bots.cli", "list", cwd=tmp_path, path=place)
    [line] = [line for line in listed.splitlines() if "greeter" in line]
    assert line.split() == ["plugin:greeter", "greeter:bot", "greeter", "0.1.0"]
    checked = python("bots.cli", "check", "plugin:greeter", cwd=tmp_path, path=place)
    assert checked.startswith("greeter: ")


def test_the_shelf_is_there_without_being_installed() -> None:
    """`plugin:echo` and `bots.shelf.echo` are the same bot."""
    assert load_bot("plugin:echo") is load_bot("bots.shelf.echo")
    names = {plugin.name for plugin in installed()}
    assert set(shelf_bots()) <= names
    for name in shelf_bots():
        assert load_bot(f"plugin:{name}").name == name


def test_the_entry_points_of_this_project_are_the_shelf() -> None:
    """What pyproject.toml declares is what stands on the shelf."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = project["entry-points"]["ofcd.bots"]
    assert declared == {name: f"bots.shelf.{name}:bot" for name in shelf_bots()}


def test_a_name_of_two_packages_and_a_name_of_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence says what to write instead."""
    other = EntryPoint("echo", "elsewhere:bot", "ofcd.bots")
    monkeypatch.setattr(bots.plugins, "entry_points", lambda group: [other])
    with pytest.raises(LoadError, match="both have a plugin echo: name its module instead"):
        find_plugin("echo")
    with pytest.raises(LoadError, match="ofc-bot list"):
        load_bot("plugin:nobody")


# -- taken over whole, or not at all ---------------------------------------------------------------

BOT = "from bots import Bot\nfrom packed.words import WORD\nbot = Bot(WORD)\n"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of two modules that is a plugin's."""
    folder = tmp_path / "packed"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "words.py").write_text("WORD = 'one'\n")
    (folder / "bot.py").write_text(BOT)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    point = EntryPoint("packed", "packed.bot:bot", "ofcd.bots")
    monkeypatch.setattr(bots.plugins, "entry_points", lambda group: [point])
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "packed"]:
        del sys.modules[name]


def test_a_plugin_is_taken_over_with_all_its_modules(package: Path) -> None:
    """A change in any file of the package is seen, and the new bot has it."""
    assert load_bot("plugin:packed").name == "one"
    source = source_of("plugin:packed")
    assert source == package
    before = changed_at(source)
    (package / "words.py").write_text("WORD = 'two!'\n")
    os.utime(package / "words.py", (1, 1))
    assert changed_at(source) != before
    assert reload_bot("plugin:packed").name == "two!"


@pytest.mark.parametrize("file", ["words.py", "bot.py"])
def test_a_broken_plugin_leaves_every_old_module_in_place(package: Path, file: str) -> None:
    """The part that did load is not kept either."""
    old = load_bot("plugin:packed")
    modules = {name: sys.modules[name] for name in ("packed", "packed.words", "packed.bot")}
    good = (package / file).read_text()
    (package / file).write_text(good + "1/0\n")
    with pytest.raises(LoadError, match="ZeroDivisionError"):
        reload_bot("plugin:packed")
    assert {name: sys.modules[name] for name in modules} == modules
    assert load_bot("plugin:packed") is old
    (package / file).write_text(good)
    assert reload_bot("plugin:packed") is not old
