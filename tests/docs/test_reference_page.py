"""The reference of the bot SDK says what the code says."""

from __future__ import annotations

import re

from tools.make_reference import PAGE, make_page


def test_the_reference_is_what_the_docstrings_say() -> None:
    """Nobody changed the SDK without `make reference`, nor the page by hand."""
    assert make_page() == PAGE.read_text(encoding="utf-8"), "run `make reference`"


def test_the_reference_is_the_same_on_every_machine() -> None:
    """No address of one run, and no module path, stands in it."""
    page = make_page()
    assert re.findall(r"0x[0-9a-f]{6,}|<function|<class|<enum", page) == []
    assert "bots.events." not in page
