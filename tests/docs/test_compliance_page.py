"""docs/compliance.md is about the kit that there is."""

from __future__ import annotations

import shlex

from ofcd.compliance import CHECKS
from ofcd.compliance import cli as command
from tests.docs.pages import PAGES, commands, page, section, tables, unknown_words

TEXT = page("docs/compliance.md")


def test_every_check_stands_there() -> None:
    """With its promise and section, in the order in which they are run."""
    rows = [row for table in tables(section(TEXT, "The checks")) for row in table]
    assert rows == [[f"`{one.name}`", one.promise, one.section] for one in CHECKS]


def test_every_section_named_is_one_of_the_protocol() -> None:
    """A promise is made somewhere."""
    protocol = page("docs/protocol.md")
    missing = {c.name for c in CHECKS if f"\n## {c.section}. " not in protocol}
    assert missing == set()


def test_every_option_and_exit_code_stands_there() -> None:
    """With the codes of the program."""
    (options,) = tables(section(TEXT, "Options"))
    named = {shlex.split(row[0].strip("`"))[0] for row in options}
    parser = command._make_parser()
    wanted = {a.option_strings[-1] for a in parser._actions if a.option_strings}
    assert named == wanted - {"--help", "--version"}
    (codes,) = tables(section(TEXT, "For scripts"))
    assert [int(row[0]) for row in codes] == [
        command.EXIT_KEPT,
        command.EXIT_NOT_KEPT,
        command.EXIT_USAGE,
        command.EXIT_NO_RELAY,
        command.EXIT_INTERRUPTED,
    ]


def test_every_command_line_is_understood() -> None:
    """In any page."""
    for path in PAGES:
        lines = commands(path.read_text(encoding="utf-8"), "ofc-compliance")
        parser = command._make_parser()
        assert {line: bad for line in lines if (bad := unknown_words(parser, line))} == {}
