"""docs/federation-requirements.md: what it names is there, and all of F."""

from __future__ import annotations

import re

from ofcd.compliance.checks import CHECKS
from tests.docs.pages import ROOT, named_tests, page

TEXT = page("docs/federation-requirements.md")
ROWS = [
    line.strip("| ").split(" | ")
    for line in TEXT.splitlines()
    if line.startswith("| ") and not line.startswith(("| promise", "| ---"))
]


def test_every_test_that_is_named_is_there() -> None:
    """By file and function; so a test that is renamed or removed is missed here."""
    named = named_tests(TEXT)
    missing = [one for one, is_there in named.items() if not is_there]
    assert missing == []
    assert len(named) > 100


def test_every_check_of_the_kit_that_is_named_is_there() -> None:
    """`-k` takes the beginning of a name."""
    named = set(re.findall(r"`-k ([\w.]+)`", TEXT))
    assert [one for one in named if not any(one in check.name for check in CHECKS)] == []


def test_every_row_names_code_that_is_there_and_a_test() -> None:
    """Neither column may be empty."""
    assert all(len(row) == 3 and re.search("::|`-k ", row[2]) for row in ROWS)
    paths = [re.findall(r"`([\w/.@-]+\.(?:py|md))`", row[1]) for row in ROWS]
    assert all(paths)
    folders = (ROOT / "ofcd", ROOT / "tests", ROOT / "docs", ROOT)
    every = [path for row in paths for path in row]
    assert [path for path in every if not any((at / path).exists() for at in folders)] == []


def test_all_requirements_are_there() -> None:
    """In order."""
    assert re.findall(r"\*\*(F\d+)\*\*", TEXT) == [f"F{number}" for number in range(1, 9)]
