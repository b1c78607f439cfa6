"""A document as rows of styled pieces, for terminals, and as plain text."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Final, assert_never

from attrs import evolve, frozen

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

__all__ = ["Row", "Span", "Style", "plain", "rows"]


class Style(StrEnum):
    """How a piece looks."""

    BOLD = "bold"
    ITALIC = "italic"
    STRIKE = "strike"
    UNDERLINE = "underline"
    CODE = "code"
    BLOCK = "block"
    """Code that stands in lines of its own."""
    LINK = "link"
    MENTION = "mention"


@frozen
class Span:
    """A piece of a row."""

    text: str
    styles: frozenset[Style] = frozenset()


@frozen
class Row:
    """One line on a screen, or more where it has to be wrapped."""

    spans: tuple[Span, ...] = ()
    first: str = ""
    """What stands before it: marks of quotes and lists."""
    rest: str = ""
    """The same, before what did not fit and goes on below."""


_PLAIN: Final[frozenset[Style]] = frozenset()
_BLOCK: Final = frozenset({Style.CODE, Style.BLOCK})
_STYLES: Final[dict[type[Inline], Style]] = {
    Bold: Style.BOLD,
    Italic: Style.ITALIC,
    Strike: Style.STRIKE,
    Underline: Style.UNDERLINE,
}


def rows(document: Document) -> Iterator[Row]:
    """The rows of a document; an empty one stands between two paragraphs."""
    before: Block | None = None
    for block in document:
        if isinstance(block, Paragraph) and isinstance(before, Paragraph):
            yield Row()
        yield from _rows_of(block)
        before = block


def _rows_of(block: Block) -> Iterator[Row]:
    match block:
        case Paragraph():
            for line in block.lines:
                yield Row(tuple(_spans(line, _PLAIN)))
        case CodeBlock():
            for code in block.text.split("\n"):
                yield Row((Span(code, _BLOCK),), "    ", "    ")
        case Quote():
            for row in rows(block.blocks):
                yield evolve(row, first=f"> {row.first}", rest=f"> {row.rest}")
        case BulletList():
            for item in block.items:
                yield from _item("• ", item)
        case NumberedList():
            for number, item in enumerate(block.items, block.start):
                yield from _item(f"{number}. ", item)
        case _:
            assert_never(block)


def _item(mark: str, item: Document) -> Iterator[Row]:
    indent = " " * len(mark)
    for row in rows(item):
        yield evolve(row, first=mark + row.first, rest=indent + row.rest)
        mark = indent


def _spans(line: Line, styles: frozenset[Style]) -> Iterator[Span]:
    for piece in line:
        match piece:
            case Text():
                yield Span(piece.text, styles)
            case Code():
                yield Span(piece.text, styles | {Style.CODE})
            case Mention():
                yield Span(f"@{piece.name}", styles | {Style.MENTION})
            case Link():
                yield from _link(piece, styles)
            case Colour():
                yield from _spans(piece.children, styles)
            case _:
                yield from _spans(piece.children, styles | {_STYLES[type(piece)]})


def _link(link: Link, styles: frozenset[Style]) -> Iterator[Span]:
    """The words, and the address wherever they are not it: where it leads is never hidden."""
    words = list(_spans(link.children, styles | {Style.LINK}))
    yield from words
    if "".join(word.text for word in words) not in (link.url, link.url.removeprefix("mailto:")):
        yield Span(f" ({link.url})", styles)


def plain(document: Document) -> str:
    """A document as text without styles: struck words and code keep their marks."""
    return "\n".join(
        row.first + "".join(_marked(span) for span in row.spans) for row in rows(document)
    )


def _marked(span: Span) -> str:
    text = span.text
    if Style.CODE in span.styles and Style.BLOCK not in span.styles:
        text = f"`{text}`"
    return f"~~{text}~~" if Style.STRIKE in span.styles else text
