"""The pages of the documentation, as the tests of this folder read them."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

__all__ = [
    "PAGES",
    "ROOT",
    "Row",
    "anchors",
    "commands",
    "named_tests",
    "page",
    "prose",
    "section",
    "subcommands",
    "tables",
    "unknown_words",
]

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(path for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")] if path.is_file())
Row = list[str]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#+) +(.+?) *$", re.MULTILINE)
_SHELLS = ("sh", "console")
_ELLIPSIS = re.compile(r"^\W*…\W*$|^\.\.\.$")


def page(name: str) -> str:
    """The text of a page, named from the checkout's root."""
    return (ROOT / name).read_text(encoding="utf-8")


def named_tests(text: str, folder: str = "tests") -> dict[str, bool]:
    """Each `FILE.py::test_name` of a page, and whether it is there.

    A file is below `folder`, or is named from the checkout's root where it begins with `tests/`.
    """
    found = {}
    for path, name in re.findall(r"`([\w/]+\.py)::(test_\w+)`", text):
        file = ROOT / (path if path.startswith("tests/") else f"{folder}/{path}")
        source = file.read_text(encoding="utf-8") if file.is_file() else ""
        is_there = re.search(rf"^(?:async )?def {name}\(", source, re.MULTILINE) is not None
        found[f"{path}::{name}"] = is_there
    return found


def prose(text: str) -> str:
    """The text without its fenced blocks."""
    return _FENCE.sub("", text)


def section(text: str, heading: str) -> str:
    """What stands under a heading, up to the next one of the same or a higher level."""
    headings = list(_HEADING.finditer(prose(text)))
    for at, found in enumerate(headings):
        if found[2] != heading:
            continue
        ends = (h.start() for h in headings[at + 1 :] if len(h[1]) <= len(found[1]))
        return prose(text)[found.end() : next(ends, None)]
    raise AssertionError(f"there is no heading {heading!r}")


def tables(text: str) -> Iterator[list[Row]]:
    """Each table's rows below its head, as lists of cells."""
    rows: list[Row] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            yield rows[2:]
            rows = []


def anchors(text: str) -> set[str]:
    """The fragments that headings of a page can be linked by, as GitHub makes them."""
    found: set[str] = set()
    for match in _HEADING.finditer(prose(text)):
        slug = re.sub(r"[^\w\- ]", "", match[2].lower()).replace(" ", "-")
        count = 0
        while (name := f"{slug}-{count}" if count else slug) in found:
            count += 1
        found.add(name)
    return found


def commands(text: str, program: str) -> Iterator[str]:
    """Command lines of `program`: inline code, and lines of shell blocks (with or without `$`)."""
    for kind, block in _FENCE.findall(text):
        if kind in _SHELLS:
            for line in block.replace("\\\n", " ").splitlines():
                command = line.strip().removeprefix("$ ")
                if kind == "console" and not line.strip().startswith("$ "):
                    continue
                if command.split(" ")[0] == program:
                    yield command
    for span in re.findall(r"`([^`\n]+)`", prose(text)):
        if span.split(" ")[0] == program:
            yield span


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of a program's commands, by name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _options(parser: argparse.ArgumentParser) -> set[str]:
    return {text for action in parser._actions for text in action.option_strings}


def unknown_words(parser: argparse.ArgumentParser, line: str) -> list[str]:
    """The words of a command line that the parser does not know as commands or options."""
    words = shlex.split(re.split(r" [|<>&#]|;", line)[0], comments=True)[1:]
    known, unknown = _options(parser), []
    while words:
        word = words.pop(0).strip("[]")
        if _ELLIPSIS.match(word) or not word:
            continue
        if word.startswith("-"):
            name = word.split("=")[0]
            if name not in known:
                unknown.append(name)
            elif _takes_a_value(parser, name) and "=" not in word and words:
                words.pop(0)
        elif below := subcommands(parser):
            if word == "COMMAND":  # any of them
                return unknown
            if word not in below:
                return [*unknown, word]
            parser = below[word]
            known |= _options(parser)
    return unknown


def _takes_a_value(parser: argparse.ArgumentParser, name: str) -> bool:
    action = next((a for a in parser._actions if name in a.option_strings), None)
    return action is not None and action.nargs != 0
