"""From a file or module to its bot."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import sys
from pathlib import Path
from types import ModuleType
from typing import Final

from bots.bot import Bot
from bots.errors import LoadError
from bots.log import traceback_of

__all__ = ["load_bot", "source_of"]

_numbers: Final = itertools.count()


def load_bot(code: str) -> Bot:
    """The bot in "path/to/file.py", "package.module" or either with ":name" behind it.

    Without a name it is the only `Bot` there, or the one called `bot`. A file is imported under
    a name of its own, anew each time. Raises `LoadError`.
    """
    place, _, name = code.partition(":")
    module = _import(place)
    found = {key: value for key, value in vars(module).items() if isinstance(value, Bot)}
    chosen = found.get(name or "bot")
    if chosen is None and not name and len(found) == 1:
        [chosen] = found.values()
    if chosen is None:
        raise LoadError(f"{place} holds no {name or 'bot'}: write `bot = Bot(...)` there")
    return chosen


def source_of(code: str) -> Path | None:
    """The file to watch for changes."""
    place = Path(code.partition(":")[0])
    return place if place.suffix == ".py" else None


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
