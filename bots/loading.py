"""From a file, a module or a plugin to its bot, and again when its code has changed.

Code is loaded whole or not at all: what fails to load leaves the modules that were there.
"""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Final

from bots.bot import Bot
from bots.errors import LoadError
from bots.log import traceback_of
from bots.plugins import PREFIX, find_plugin

__all__ = ["changed_at", "load_bot", "reload_bot", "source_of"]

_SDK: Final = "bots"
_numbers: Final = itertools.count()


def load_bot(code: str) -> Bot:
    """The bot in "path/to/file.py", "package.module" or either with ":name" behind it.

    "plugin:name" is one that is installed. Without a name it is the only `Bot` there, or the one
    called `bot`. A file is imported under a name of its own, anew each time. Raises `LoadError`.
    """
    place, _, name = _resolved(code).partition(":")
    module = _import(place)
    found = {key: value for key, value in vars(module).items() if isinstance(value, Bot)}
    chosen = found.get(name or "bot")
    if chosen is None and not name and len(found) == 1:
        [chosen] = found.values()
    if chosen is None:
        raise LoadError(f"{place} holds no {name or 'bot'}: write `bot = Bot(...)` there")
    return chosen


def reload_bot(code: str) -> Bot:
    """The bot as its code is now. Raises `LoadError`; then the old modules are still in place."""
    place = _resolved(code).partition(":")[0]
    if place.endswith(".py"):
        return load_bot(code)
    with _without(_unit(place)):
        return load_bot(code)


def _resolved(code: str) -> str:
    return find_plugin(code.removeprefix(PREFIX)).code if code.startswith(PREFIX) else code


# -- where code is ---------------------------------------------------------------------------------


def source_of(code: str) -> Path | None:
    """The file or folder to watch for changes; None where there is none."""
    place = _resolved(code).partition(":")[0]
    if place.endswith(".py"):
        return Path(place)
    try:
        spec = importlib.util.find_spec(_unit(place))
    except ImportError:
        return None
    if spec is None or spec.origin is None:
        return None
    origin = Path(spec.origin)
    return origin.parent if spec.submodule_search_locations else origin


def changed_at(source: Path) -> tuple[int, ...]:
    """A mark of a file, or of all code in a folder, that is another one after a change."""
    files = sorted(source.rglob("*.py")) if source.is_dir() else [source]
    return tuple(_stamp(file) for file in files)


def _stamp(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _unit(place: str) -> str:
    """What is loaded anew together: a package with all that is in it, but never the SDK."""
    top = place.partition(".")[0]
    return place if top == _SDK else top


# -- importing -------------------------------------------------------------------------------------


@contextmanager
def _without(unit: str) -> Iterator[None]:
    """Import `unit` anew in the block; if that fails, its old modules are put back."""
    old = {name: module for name, module in sys.modules.items() if _is_in(name, unit)}
    _forget(unit)
    importlib.invalidate_caches()
    try:
        yield
    except BaseException:
        _forget(unit)
        sys.modules.update(old)
        raise


def _forget(unit: str) -> None:
    for name in [name for name in sys.modules if _is_in(name, unit)]:
        del sys.modules[name]


def _is_in(name: str, unit: str) -> bool:
    return name == unit or name.startswith(unit + ".")


def _import(place: str) -> ModuleType:
    try:
        return _import_file(Path(place)) if place.endswith(".py") else _import_module(place)
    except LoadError:
        raise
    except Exception as error:
        raise LoadError(f"{place} can not be imported:\n{traceback_of(error)}") from error


def _import_module(name: str) -> ModuleType:
    if importlib.util.find_spec(name) is None:
        raise LoadError(f"there is no module {name}: is it installed, or is it a file (x.py)?")
    return importlib.import_module(name)


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise LoadError(f"there is no file {path}")
    name = f"_bot_{next(_numbers)}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise LoadError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # annotations are looked up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
