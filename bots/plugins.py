"""Bots that come as wheels: found by their entry points in the group `ofcd.bots`.

    [project.entry-points."ofcd.bots"]
    dicey = "dicey:bot"

`ofc-bot list` shows them, `plugin:dicey` names one wherever a file or module can stand. The bots of
our own shelf are there too, also in a checkout that is not installed.
"""

from __future__ import annotations

import importlib.util
import pkgutil
import re
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final

from attrs import frozen

import bots.shelf
from bots.errors import LoadError
from ofcd import __version__

__all__ = ["GROUP", "PREFIX", "Plugin", "find_plugin", "installed", "shelf_bots"]

GROUP: Final = "ofcd.bots"
PREFIX: Final = "plugin:"
_OURS: Final = "ofcd"
_BOT: Final = re.compile(r'^__all__ = \[[^\]]*"bot"', re.MULTILINE)


@frozen(order=True)
class Plugin:
    """A bot that is installed."""

    name: str
    code: str
    """Its module and the bot in it: "dicey:bot"."""
    package: str
    """The distribution that it comes with."""
    version: str


def installed() -> list[Plugin]:
    """All of them, by name."""
    found = {_plugin(point) for point in entry_points(group=GROUP)}
    named = {plugin.name for plugin in found if plugin.package == _OURS}
    for name in shelf_bots():
        if name not in named:
            found.add(Plugin(name, f"bots.shelf.{name}:bot", _OURS, __version__))
    return sorted(found)


def shelf_bots() -> list[str]:
    """The modules of the shelf that are bots, told from helpers by what their `__all__` says."""
    names = [one.name for one in pkgutil.iter_modules(bots.shelf.__path__)]
    return [name for name in names if _BOT.search(_text_of(f"bots.shelf.{name}"))]


def _text_of(module: str) -> str:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return ""
    return Path(spec.origin).read_text(encoding="utf-8")


def find_plugin(name: str) -> Plugin:
    """The plugin of a name. Raises `LoadError` where there is none, or more than one."""
    found = [plugin for plugin in installed() if plugin.name == name]
    if not found:
        raise LoadError(f"there is no plugin {name}: `ofc-bot list` shows those installed")
    if len(found) > 1:
        packages = " and ".join(plugin.package for plugin in found)
        raise LoadError(
            f"{packages} both have a plugin {name}: name its module instead, as {found[0].code}"
        )
    return found[0]


def _plugin(point: EntryPoint) -> Plugin:
    package = point.dist
    if package is None:
        return Plugin(point.name, point.value, "", "")
    return Plugin(point.name, point.value, package.name, package.version)
