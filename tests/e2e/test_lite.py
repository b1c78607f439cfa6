"""Text format lite: a small strict grammar, the same tree everywhere, and no way to hurt it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofcd.e2e import lite
from ofcd.protocol.ids import MemberId
from tests.vectors.making.lite import TEXTS, to_json

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "lite.json").read_text("utf-8"))
ANA, BO = MemberId(bytes(32)), MemberId(bytes(range(32)))
KIB = 1024

marked = st.lists(
    st.sampled_from([
        *"ab *_`~[]()>-@\\\n1.!",
        "**", "~~", "```", "](", "> ", "- ", "1. ", "  ", "https://a.example", "mailto:a@b",
        "\u202e", "é", "@Ana", "\t",
    ]),
    max_size=60,
).map("".join)  # fmt: skip


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["text"][:30])
def test_the_vectors(case: dict[str, Any]) -> None:
    """Every text of lite.json is the tree, and the plain text, that stand there."""
    mentioned = [(MemberId(bytes.fromhex(one["member"])), one["name"])
                 for one in VECTORS["mentioned"]]  # fmt: skip
    document = lite.parse(case["text"], mentioned)
    assert to_json(document) == case["tree"]
    assert lite.plain(document) == case["plain"]


@pytest.mark.parametrize("case", VECTORS["escaped"])
def test_the_escaped_vectors(case: dict[str, Any]) -> None:
    """Words of others are written so that they stay words."""
    assert lite.escape(case["text"]) == case["escaped"]


def test_the_vectors_hold_every_kind_of_node() -> None:
    """Nothing of the grammar is without an example."""
    kinds = {node["type"] for case in VECTORS["cases"] for node in _nodes(case["tree"])}
    assert kinds == {
        "text", "code", "bold", "italic", "strike", "link", "mention",
        "paragraph", "code_block", "quote", "bullet_list", "numbered_list",
    }  # fmt: skip
    assert {case["of"] for case in VECTORS["cases"]} == set(TEXTS)


def _nodes(tree: Any) -> Iterator[Any]:
    if isinstance(tree, dict):
        yield tree
    for one in tree.values() if isinstance(tree, dict) else tree:
        if isinstance(one, dict | list):
            yield from _nodes(one)


def test_what_no_grammar_makes_is_shown_too() -> None:
    """Underline and colour, which bridges put into a tree, lose nothing but themselves."""
    words = (lite.Underline((lite.Colour((lite.Text("a"),), 4, None), lite.Code("b"))),)
    (row,) = lite.rows((lite.Paragraph((words,)),))
    assert [(span.text, sorted(span.styles)) for span in row.spans] == [
        ("a", ["underline"]),
        ("b", ["code", "underline"]),
    ]


# -- whatever comes --------------------------------------------------------------------------------


@given(st.one_of(st.text(), marked))
def test_any_text_is_a_document(text: str) -> None:
    """It never raises, loses no letter and digit, and is the same every time."""
    document = lite.parse(text, ((ANA, "Ana"), (BO, "")))
    assert document == lite.parse(text, ((ANA, "Ana"), (BO, "")))
    shown = lite.plain(document)
    assert _depth(to_json(document)) <= 2 * (lite.DEPTH + 2) + 7
    for letter in "ab":
        assert shown.count(letter) >= text.replace("```a", "").count(letter) * ("```" not in text)


def _depth(tree: Any) -> int:
    if not isinstance(tree, dict | list):
        return 0
    inside = tree.values() if isinstance(tree, dict) else tree
    return max((_depth(one) for one in inside), default=0) + isinstance(tree, dict)


@given(st.one_of(st.text(alphabet=st.characters(exclude_characters="\r")), marked))
def test_escaped_words_stay_words(text: str) -> None:
    """Nothing but paragraphs of words and addresses, and they read as they were written."""
    document = lite.parse(lite.escape(text), ((ANA, "Ana"),))
    lines = []
    for block in document:
        assert isinstance(block, lite.Paragraph)
        for line in block.lines:
            assert all(isinstance(piece, lite.Text | lite.Link) for piece in line)
            lines.append("".join(_words(piece) for piece in line))
    written = [line.rstrip(" \t") for line in text.split("\n")]
    assert lines == [line for line in written if line]


def _words(piece: lite.Inline) -> str:
    if isinstance(piece, lite.Link):
        assert piece.children == (lite.Text(piece.url),)
        return piece.url
    assert isinstance(piece, lite.Text)
    return piece.text


@given(marked)
def test_a_link_leads_only_where_links_may(text: str) -> None:
    """http, https and mailto, printable ASCII, no link in a link."""
    for node in _nodes(to_json(lite.parse(f"[a]({text}) {text}"))):
        if node["type"] == "link":
            assert node["url"].startswith(("http://", "https://", "mailto:"))
            assert node["url"].isascii()
            assert node["url"].isprintable()
            assert " " not in node["url"]
            assert not any(one["type"] == "link" for one in _nodes(node["children"]))


HOSTILE = {
    "stars": "*",
    "open stars": "*a ",
    "open bold": " **a",
    "alternating": "*_a ~~b **c ",
    "closing": "a* ",
    "backticks": "`",
    "backtick runs": "` `` ``` ",
    "brackets": "[",
    "closed brackets": "[]",
    "half links": "[a](",
    "links without end": "[a](https://a.example/x",
    "open parentheses": "[](https://a(",
    "schemes": "https://",
    "addresses": "https://a.",
    "mailtos": "mailto:a",
    "at": "@",
    "names": "@Ana",
    "escapes": "\\",
    "quotes": "> ",
    "quote lines": "> > > > > a\n",
    "lists": "- ",
    "list lines": "- a\n  - b\n    - c\n",
    "numbers": "1. a\n",
    "fences": "```\n",
    "fence beginnings": "```a\n",
    "quoted fences": "> ```a\n",
    "blank": " ",
    "lines": "\n",
    "tails": "https://a.example/)))).,",
}


@pytest.mark.parametrize("piece", HOSTILE.values(), ids=HOSTILE)
def test_work_grows_with_the_text_and_no_faster(piece: str) -> None:
    """Twice the text takes at most a little over twice the steps, and none over 50 a character."""
    names = [(ANA, "Ana"), (BO, "Ana Maria")]
    small, large = (_steps(_of(piece, size), names) for size in (2 * KIB, 4 * KIB))
    assert large <= 2.2 * small + 500
    assert large <= 50 * 4 * KIB


@pytest.mark.parametrize("piece", HOSTILE.values(), ids=HOSTILE)
def test_the_longest_text_takes_a_moment(piece: str) -> None:
    """48 KiB, the most a message holds, whatever they say: what steps do not show, time does."""
    text = _of(piece, 48 * KIB)
    started = time.process_time()
    lite.plain(lite.parse(text, [(ANA, "Ana")] * 64))
    assert time.process_time() - started < 5


def _of(piece: str, size: int) -> str:
    return piece * (size // len(piece))


def _steps(text: str, names: Sequence[lite.Mentioned]) -> int:
    """Lines of Python run to parse and to show it."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        lite.plain(lite.parse(text, names))
    finally:
        sys.settrace(before)
    return count
