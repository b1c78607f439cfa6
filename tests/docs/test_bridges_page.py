"""The settings of the walk-through are settings, and its check is what the check says."""

from __future__ import annotations

import re
from pathlib import Path

from bridge.core.settings import load_settings
from bridge.kinds import KINDS
from tests.docs.pages import page

TEXT = page("docs/bridges.md")
BLOCKS = re.findall(r"^```toml\n(.*?)^```$", TEXT, re.M | re.S)


def test_the_settings_of_the_walk_through_load(tmp_path: Path) -> None:
    path = tmp_path / "bridge.toml"
    path.write_text(BLOCKS[0], encoding="utf-8")
    settings = load_settings(path, KINDS)
    [network] = settings.make_networks().values()
    assert network.describe("#books") == "#books on test (127.0.0.1)"
    assert f"I copy this room to {network.describe('#books')}: " in TEXT
    assert list(network.places) == ["#books"]


def test_the_page_names_what_a_portal_may_say() -> None:
    """Those of IRC, and of all."""
    for name in ("max_age", "backlog", "ignore", "in_per_second", "max_lines", "mode", "regain"):
        assert f"`{name}" in TEXT or f"{name} =" in TEXT, name
