"""A handler's docstring as help: its first line, the rest, and "Args:" in Google's style."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Final

from attrs import field, frozen

__all__ = ["Docs", "read_docs"]

_SECTION: Final = re.compile(
    r"(Args|Arguments|Parameters|Returns|Yields|Raises|Examples?|Notes?|Attributes):\s*"
)
_ARGS: Final = frozenset(("Args", "Arguments", "Parameters"))
_ARG: Final = re.compile(r"\*{0,2}(?P<name>\w+)(?: \([^)]*\))?: *(?P<text>.*)")


@frozen
class Docs:
    """A docstring's parts."""

    summary: str = ""
    details: str = ""
    parameters: Mapping[str, str] = field(factory=dict)


def read_docs(docstring: str | None) -> Docs:
    """Take a docstring apart; sections other than its arguments are for programmers only."""
    if not docstring:
        return Docs()
    sections = _sections(inspect.cleandoc(docstring).splitlines())
    summary, _, details = "\n".join(sections.pop("", [])).partition("\n\n")
    lines = [line for name in sorted(_ARGS & sections.keys()) for line in sections[name]]
    return Docs(" ".join(summary.split()), details.strip(), _arguments(lines))


def _sections(lines: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"": []}
    name = ""
    for line in lines:
        if heading := _SECTION.fullmatch(line):
            name = heading[1]
            found.setdefault(name, [])
        else:
            found[name].append(line)
    return found


def _arguments(lines: list[str]) -> dict[str, str]:
    """Lines that are indented further than the first go on with the one before."""
    block = inspect.cleandoc("\n" + "\n".join(lines)).splitlines()
    found: dict[str, str] = {}
    name = None
    for line in block:
        if argument := _ARG.fullmatch(line):
            name = argument["name"]
            found[name] = argument["text"].strip()
        elif name and line.strip():
            found[name] = f"{found[name]} {line.strip()}".strip()
    return found
