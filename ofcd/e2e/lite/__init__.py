"""Text format lite (`markdown-lite`): one small strict grammar, one tree, the same everywhere.

    document = lite.parse("**Lunch** at `12`, see https://example.org", mentioned)
    lite.plain(document)                    # "Lunch at `12`, see https://example.org"
    f"said {lite.escape(words)}"            # words of others, as they are

docs/protocol.md is the grammar, tests/vectors/lite.json its examples.
"""

from __future__ import annotations

from ofcd.e2e.lite.blocks import DEPTH, escape, parse
from ofcd.e2e.lite.inline import URL_CHARACTERS, Mentioned
from ofcd.e2e.lite.rows import Row, Span, Style, plain, rows
from ofcd.e2e.lite.tree import (
    Block,
    Bold,
    BulletList,
    Code,
    CodeBlock,
    Colour,
    Document,
    Inline,
    Italic,
    Line,
    Link,
    Mention,
    NumberedList,
    Paragraph,
    Quote,
    Strike,
    Text,
    Underline,
)

__all__ = [
    "DEPTH",
    "URL_CHARACTERS",
    "Block",
    "Bold",
    "BulletList",
    "Code",
    "CodeBlock",
    "Colour",
    "Document",
    "Inline",
    "Italic",
    "Line",
    "Link",
    "Mention",
    "Mentioned",
    "NumberedList",
    "Paragraph",
    "Quote",
    "Row",
    "Span",
    "Strike",
    "Style",
    "Text",
    "Underline",
    "escape",
    "parse",
    "plain",
    "rows",
]
