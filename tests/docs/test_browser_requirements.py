"""docs/browser-requirements.md: what it names is there."""

from __future__ import annotations

import re

from tests.docs.pages import ROOT, page

TEXT = page("docs/browser-requirements.md")
ROWS = [
    line.strip("| ").split(" | ")
    for line in TEXT.splitlines()
    if line.startswith("| ") and not line.startswith(("| promise", "| ---"))
]


def test_every_test_that_is_named_is_there() -> None:
    """By file and the beginning of its title; so one that is renamed or removed is missed here."""
    named = re.findall(r"`([\w/]+\.test\.ts)::([^`]+)`", TEXT)
    missing = []
    for path, title in named:
        file = ROOT / "web/test" / path
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        if f'"{title}' not in text:
            missing.append(f"{path}::{title}")
    assert missing == []
    assert len(named) > 80


def test_every_row_names_code_that_is_there_and_a_test() -> None:
    """Neither column may be empty."""
    assert all(len(row) == 3 and "::" in row[2] for row in ROWS)
    paths = [re.findall(r"`([\w/.-]+\.(?:tsx?|css|py))`", row[1]) for row in ROWS]
    assert all(paths)
    folders = (ROOT / "web/src", ROOT)
    every = [path for row in paths for path in row]
    assert [path for path in every if not any((at / path).exists() for at in folders)] == []
