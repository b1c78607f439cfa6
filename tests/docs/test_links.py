"""What the pages point to is there, and nothing in them belongs to one machine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, anchors, prose

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FOREIGN = re.compile(
    r"pypi\.org|files\.pythonhosted|registry\.npmjs|npmmirror|deb\.debian|localhost:\d+/simple"
    r"|/root/|/work/|/tmp/(?!ofc)|/home/\w",
)


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", PAGES, ids=_name)
def test_every_link_between_pages_resolves(path: Path) -> None:
    """Files exist, and so do the headings that fragments name."""
    for target in _LINK.findall(prose(path.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, fragment = target.partition("#")
        file = (path.parent / name) if name else path
        assert file.exists(), f"{_name(path)} points to {target}, which is not there"
        if fragment:
            found = anchors(file.read_text(encoding="utf-8"))
            assert fragment in found, f"{_name(path)} points to {target}: no such heading"


@pytest.mark.parametrize("path", PAGES, ids=_name)
def test_no_page_names_a_registry_or_somebodys_machine(path: Path) -> None:
    """A reader's machine is not the writer's."""
    found = _FOREIGN.findall(path.read_text(encoding="utf-8"))
    assert found == []


def test_every_page_of_docs_can_be_reached_from_the_readme() -> None:
    """Nobody has to list the folder to find a page."""
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        path = waiting.pop()
        if path in reached or path.suffix != ".md":
            continue
        reached.add(path)
        for target in _LINK.findall(path.read_text(encoding="utf-8")):
            if not re.match(r"[a-z]+:|#", target):
                waiting.append((path.parent / target.partition("#")[0]).resolve())
    assert {path for path in PAGES if path.parent.name == "docs"} <= reached
