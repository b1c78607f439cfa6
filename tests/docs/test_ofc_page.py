"""docs/ofc.md, and every `ofc` command line in the pages, are those of the program."""

from __future__ import annotations

from pathlib import Path

import pytest

from ofcd.ofc.commands import COMMANDS
from ofcd.ofc.errors import EXITS
from ofcd.ofc.parser import make_parser
from tests.docs.pages import PAGES, ROOT, commands, page, section, tables, unknown_words

TEXT = page("docs/ofc.md")


def test_every_command_stands_there() -> None:
    """With the words of its own help, in the same order."""
    (rows,) = tables(section(TEXT, "Commands"))
    assert rows == [[f"`{command.name}`", command.summary] for command in COMMANDS]


def test_every_exit_code_stands_there() -> None:
    """With the words of `ofc --help`."""
    (rows,) = tables(section(TEXT, "For scripts"))
    assert rows == [[str(code), meaning] for code, meaning in EXITS.items()]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_ofc_command_exists(path: Path) -> None:
    """Commands and options, in code blocks and in sentences."""
    lines = commands(path.read_text(encoding="utf-8"), "ofc")
    wrong = {line: bad for line in lines if (bad := unknown_words(make_parser(), line))}
    assert wrong == {}
