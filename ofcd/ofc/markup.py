"""Text format lite for people: styled lines on a terminal, plain ones elsewhere."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from rich.cells import cell_len

from ofcd.client import TextFormat, lite
from ofcd.ofc.console import Fields
from ofcd.ofc.text import printable
from ofcd.protocol.ids import MemberId

__all__ = ["LEAST_TEXT", "Piece", "shown_lines", "words", "wrap"]

LEAST_TEXT: Final = 30
"""Columns below which nothing is wrapped."""
_STYLES: Final = {
    lite.Style.BOLD: "bold",
    lite.Style.ITALIC: "italic",
    lite.Style.STRIKE: "strike dim",
    lite.Style.UNDERLINE: "underline",
    lite.Style.CODE: "cyan",
    lite.Style.LINK: "underline",
    lite.Style.MENTION: "bold magenta",
}

Piece = tuple[str, str]
"""Text, and a style of rich."""


def words(fields: Fields) -> str:
    """What a message says, without its markup."""
    return lite.plain(_document(fields)) if _is_marked_up(fields) else fields.get("text") or ""


def shown_lines(fields: Fields, room: int | None) -> list[list[Piece]]:
    """A message's lines, wrapped to `room` columns of a terminal; None: there is no terminal."""
    if room is None or not _is_marked_up(fields):
        lines = printable(words(fields))
        return [[(line, "")] for line in (lines if room is None else wrap(lines, room))]
    return [line for row in lite.rows(_document(fields)) for line in _row_lines(row, room)]


def wrap(lines: Sequence[str], room: int) -> list[str]:
    """The lines, broken between words where they are longer than `room` columns."""
    if room < LEAST_TEXT:
        return list(lines)
    return [piece for line in lines for piece in _wrapped(line, room)]


def _wrapped(line: str, room: int) -> list[str]:
    made = textwrap.wrap(
        line, room, drop_whitespace=True, break_on_hyphens=False, replace_whitespace=False
    )
    return made or [""]


def _is_marked_up(fields: Fields) -> bool:
    return fields.get("format") == TextFormat.LITE


def _document(fields: Fields) -> lite.Document:
    """Made safe before it is read: no marker hides behind what is not shown."""
    mentioned = [
        (MemberId(bytes.fromhex(one["member"])), one["name"]) for one in fields.get("mentioned", ())
    ]
    return lite.parse("\n".join(printable(fields.get("text") or "")), mentioned)


def _row_lines(row: lite.Row, room: int) -> Iterator[list[Piece]]:
    line = "".join(span.text for span in row.spans)
    left = room - cell_len(row.first)
    is_code = any(lite.Style.BLOCK in span.styles for span in row.spans)
    parts = [line] if is_code or left < LEAST_TEXT else _wrapped(line, left)
    at = 0
    for number, part in enumerate(parts):
        at = line.index(part, at)
        mark = row.rest if number else row.first
        yield [(mark, "dim"), *_cut(row.spans, at, at + len(part))]
        at += len(part)


def _cut(spans: Sequence[lite.Span], start: int, end: int) -> Iterator[Piece]:
    """The pieces of a row between two of its characters."""
    at = 0
    for span in spans:
        text = span.text[max(start - at, 0) : max(end - at, 0)]
        at += len(span.text)
        if text:
            styles = (_STYLES[style] for style in sorted(span.styles) if style in _STYLES)
            yield text, " ".join(styles)
