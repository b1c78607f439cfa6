"""What the pages tell people to type, the programs understand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from ofcd import cli as ofcd_cli
from tests.docs.pages import PAGES, ROOT, commands, page, subcommands, unknown_words


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_ofcd_command_exists(path: Path) -> None:
    """Commands and options of the relay, in code blocks and in sentences."""
    lines = commands(path.read_text(encoding="utf-8"), "ofcd")
    wrong = {line: bad for line in lines if (bad := unknown_words(ofcd_cli._parser(), line))}
    assert wrong == {}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_make_target_exists(path: Path) -> None:
    """`make x` in a page is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", page("Makefile"), re.MULTILINE))
    for line in commands(path.read_text(encoding="utf-8"), "make"):
        words = shlex.split(line, comments=True)[1:]
        named = [word for word in words if re.fullmatch(r"[a-z-]+", word)]
        assert [target for target in named if target not in targets] == [], line


def test_every_command_of_ofcd_is_explained() -> None:
    """No command is left for people to find by chance."""
    text = page("docs/operating.md")
    names = subcommands(ofcd_cli._parser())
    assert [name for name in names if not re.search(rf"\b{name}\b", text)] == []
