"""docs/bots-requirements.md: what it names is there, and all of B1 to B10."""

from __future__ import annotations

import re

from tests.docs.pages import ROOT, named_tests, page

TEXT = page("docs/bots-requirements.md")


def test_every_test_that_is_named_is_there() -> None:
    """By file and function; so a test that is renamed or removed is missed here."""
    named = named_tests(TEXT, "tests/bots")
    missing = [one for one, is_there in named.items() if not is_there]
    assert missing == []
    assert len(named) > 50


def test_every_file_that_is_named_is_there() -> None:
    """The code of each promise."""
    rows = [line.split(" | ") for line in TEXT.splitlines() if line.startswith("| ")][2:]
    paths = [path for row in rows for path in re.findall(r"`([\w/.@-]+)`", row[1])]
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert all(len(row) == 3 for row in rows)


def test_all_requirements_are_there() -> None:
    """B1 to B10, in order."""
    assert re.findall(r"\*\*(B\d+)\*\*", TEXT) == [f"B{number}" for number in range(1, 11)]
