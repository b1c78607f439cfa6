"""Writes docs/bots-reference.md, the reference of the bot SDK, from its docstrings.

`make reference` writes it; a test compares it with the code. What stands in it is what `bots` and
`bots.testing` export: whatever has no docstring there fails here.
"""

from __future__ import annotations

import enum
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Final, get_origin

import attrs

sys.path.insert(0, str(Path(__file__).parent.parent))

import bots
import bots.testing

PAGE: Final = Path(__file__).parent.parent / "docs" / "bots-reference.md"
_HEAD: Final = """\
# Bot SDK reference

Made from the docstrings by `make reference`; [bots.md](bots.md) is the guide to begin with. What
stands here is stable: a release that changes it says so in the [changelog](../CHANGELOG.md).

"""
_BUILT_IN: Final = (object, Exception, BaseException, enum.Enum)
_PLAIN: Final = ("str", "int", "bool", "bytes", "float", "tuple", "None")
_QUALIFIED: Final = re.compile(r"\b(?:bots|ofcd|collections|typing|trio|pathlib)\.(?:\w+\.)*(?=\w)")


def make_page() -> str:
    """The whole page."""
    return _HEAD + "\n".join([*_module(bots, "bots"), *_module(bots.testing, "bots.testing")])


def _module(module: ModuleType, name: str) -> Iterator[str]:
    yield f"## `{name}`\n"
    values = []
    for exported in module.__all__:
        value = getattr(module, exported)
        if inspect.isclass(value):
            yield from _class(exported, value)
        elif get_origin(value) is not None:
            yield f"### `{exported}`\n\n{_alias(exported, value)}\n"
        elif callable(value):
            yield f"### `{exported}{_signature(value)}`\n\n{_doc(exported, value)}\n"
        else:
            values.append(f"`{exported}`")
    if values:
        yield f"And the constants {', '.join(values)}.\n"


def _alias(name: str, value: Any) -> str:
    """What an alias stands for, and the string below it."""
    base = value.__origin__ if get_origin(value) is Annotated else value
    for module in list(sys.modules.values()):
        if not module.__name__.startswith("bots."):
            continue
        found = re.search(
            rf'^{name}(?:: [^\n=]*)? = [^\n]*\n"""(.*?)"""',
            inspect.getsource(module),
            re.MULTILINE | re.DOTALL,
        )
        if found:
            return f"`{_type(base)}`. {inspect.cleandoc(found[1])}"
    raise SystemExit(f"{name} is exported and has no docstring")


def _class(name: str, cls: type[Any]) -> Iterator[str]:
    bases = [base.__name__ for base in cls.__bases__ if base not in _BUILT_IN]
    shown = f"({', '.join(bases)})" if issubclass(cls, Exception) and bases else ""
    yield f"### `{name}{shown}`\n\n{_doc(name, cls)}\n"
    rows = [*_fields(cls), *_members(name, cls)]
    if rows:
        yield "| | |\n| --- | --- |\n" + "\n".join(rows) + "\n"


def _fields(cls: type[Any]) -> Iterator[str]:
    if not attrs.has(cls):
        return
    resolved = attrs.fields(cls)
    for one in resolved:
        doc = _field_doc(cls, one.name)
        if not one.name.startswith("_") and (doc or _speaks_for_itself(_type(one.type))):
            yield _row(f"{one.name}: {_type(one.type)}", doc)


def _speaks_for_itself(shown: str) -> bool:
    """Whether a field without a line of its own is for users: its type is one they meet."""
    words = re.findall(r"[A-Za-z_]+", shown)
    return all(word in _PLAIN or word in bots.__all__ for word in words)


def _field_doc(cls: type[Any], name: str) -> str:
    """The string that stands below a field, where there is one."""
    for base in cls.__mro__:
        try:
            source = inspect.getsource(base)
        except (OSError, TypeError):
            continue
        found = re.search(
            rf'^    {name}: [^\n]*\n    """(.*?)"""', source, re.MULTILINE | re.DOTALL
        )
        if found:
            return inspect.cleandoc(found[1])
    return ""


def _members(name: str, cls: type[Any]) -> Iterator[str]:
    for member, value in _public(cls):
        if isinstance(value, property):
            returned = inspect.signature(value.fget).return_annotation if value.fget else ""
            yield _row(f"{member}: {_type(returned)}", _first(f"{name}.{member}", value))
        else:
            function = inspect.unwrap(getattr(value, "__func__", value))
            kind = "async " if inspect.iscoroutinefunction(function) else ""
            text = f"{kind}{member}{_signature(function)}"
            yield _row(text, _first(f"{name}.{member}", function))


def _public(cls: type[Any]) -> Iterator[tuple[str, Any]]:
    own = [base for base in cls.__mro__ if base.__module__.startswith(("bots", "ofcd.client"))]
    seen: set[str] = set()
    for base in own:
        for member, value in vars(base).items():
            documented = isinstance(value, property | classmethod | staticmethod)
            is_public = not member.startswith("_") and member not in seen
            if is_public and (documented or inspect.isfunction(value)):
                seen.add(member)
                yield member, value


def _signature(function: Any) -> str:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return "()"
    kept = [p for n, p in enumerate(signature.parameters.values()) if n or p.name not in _SELF]
    plain = [
        p.replace(annotation=_Bare(_type(p.annotation)), default=_default(p.default)) for p in kept
    ]
    returned = signature.return_annotation
    bare = signature.replace(parameters=plain, return_annotation=inspect.Signature.empty)
    end = "" if returned in (inspect.Signature.empty, None, "None") else f" -> {_type(returned)}"
    return f"{bare}{end}"


_SELF: Final = ("self", "cls")


def _default(value: Any) -> Any:
    """A default by its name, where it has one: no address of this run."""
    if value is inspect.Parameter.empty:
        return value
    if isinstance(value, enum.Enum):
        return _Bare(f"{type(value).__name__}.{value.name}")
    for module in (bots, bots.testing):
        for name in module.__all__:
            if value is getattr(module, name):
                return _Bare(name)
    return _Bare(getattr(value, "__name__", None) or repr(value))


class _Bare(str):
    """A text to be shown without quotes around it."""

    def __repr__(self) -> str:
        return str(self)


def _type(annotation: Any) -> str:
    if annotation is inspect.Parameter.empty or annotation is None:
        return "Any"
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return _QUALIFIED.sub("", text)


def _doc(name: str, value: Any) -> str:
    doc = inspect.getdoc(value)
    if not doc:
        raise SystemExit(f"{name} is exported and has no docstring")
    return _code_blocks(doc)


def _code_blocks(doc: str) -> str:
    """Indented examples as Python; the rest as it stands."""
    pieces = re.split(r"((?:^ {4}.*\n?|^\n(?= {4}))+)", doc + "\n", flags=re.MULTILINE)
    shown = [
        f"```python\n{inspect.cleandoc(piece)}\n```\n" if piece.startswith("    ") else piece
        for piece in pieces
    ]
    return "".join(shown).strip() + "\n"


def _first(name: str, value: Any) -> str:
    doc = inspect.getdoc(value)
    if not doc:
        raise SystemExit(f"{name} is exported and has no docstring")
    return doc


def _row(left: str, right: str) -> str:
    return f"| `{_cell(left)}` | {_cell(right)} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(make_page(), encoding="utf-8")
