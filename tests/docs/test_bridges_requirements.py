"""docs/bridges-requirements.md: what it names is there, and all of G, I and M."""

from __future__ import annotations

import re

from tests.docs.pages import ROOT, named_tests, page

TEXT = page("docs/bridges-requirements.md")


def test_every_test_that_is_named_is_there() -> None:
    """By file and function; so a test that is renamed or removed is missed here."""
    named = named_tests(TEXT, "tests/bridge")
    missing = [one for one, is_there in named.items() if not is_there]
    assert missing == []
    assert len(named) > 70


def test_every_file_that_is_named_is_there() -> None:
    """The code of each promise."""
    rows = [line.strip("|").split(" | ") for line in TEXT.splitlines() if line.startswith("| ")]
    paths = [path for row in rows for path in re.findall(r"`([\w/.@-]+\.py)`", row[1])]
    assert [path for path in paths if not (ROOT / "bridge" / path).exists()] == []
    assert all(len(row) == 3 for row in rows)
    assert len(paths) > 40


def test_all_requirements_are_there() -> None:
    """In order; M8 is the bots'."""
    for letter, last in (("G", 8), ("I", 9), ("M", 7)):
        found = re.findall(rf"\*\*({letter}\d+)\*\*", TEXT)
        assert found == [f"{letter}{number}" for number in range(1, last + 1)]
