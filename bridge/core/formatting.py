"""Between texts and the one tree (G7): what a message says as a document, and a document as lite.

`document_of` reads what a room message says; `to_lite` writes any document in text format lite.
What lite can not express (underline, colour, a style that begins inside a word) is left out, and
the words stay: `lite.plain(parse(to_lite(d))) == lite.plain(d)`, whatever the words are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, assert_never

from ofcd.client import TextFormat, lite, visible_text

__all__ = [
    "EDIT",
    "EDIT_CHARACTERS",
    "FILE",
    "NICK_ONLY",
    "TAKEN_BACK",
    "document_of",
    "excerpt",
    "one_line",
    "plain_document",
    "plain_text",
    "to_lite",
    "upright",
]

EDIT: Final = "[edit] "
"""Begins what tells of an edit where words are all there is; the loop guard knows these again."""
EDIT_CHARACTERS: Final = 400
"""Told of one at most."""
FILE: Final = "[file "
NICK_ONLY: Final = "(said something that is not copied here)"
TAKEN_BACK: Final = "(took back what they said)"
_EXCERPT: Final = 60
_TURNS: Final = dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)))
"""Characters that turn the direction of what stands behind them, until something ends that."""
_NO_MENTIONS: Final[tuple[lite.Mentioned, ...]] = ()


def document_of(
    text: str, form: TextFormat | str, mentioned: Iterable[lite.Mentioned] = _NO_MENTIONS
) -> lite.Document:
    """What a room message says."""
    text = upright(text)
    if TextFormat(form) is TextFormat.LITE:
        return lite.parse(text, mentioned)
    return plain_document(text)


def plain_document(text: str) -> lite.Document:
    """Words as they stand: a paragraph for each group of lines."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    blocks: list[lite.Block] = []
    group: list[lite.Line] = []
    for line in [*lines, ""]:
        if line.strip(" \t"):
            group.append((lite.Text(line),))
        elif group:
            blocks.append(lite.Paragraph(tuple(group)))
            group = []
    return tuple(blocks)


def upright(text: str) -> str:
    """Text that can not reorder what stands around it: who says it, above all (G5).

    Words of a script that is written from right to left are drawn so by their own letters; where
    their author had turned more than that, it is drawn in another order.
    """
    return text.translate(_TURNS)


def plain_text(document: lite.Document) -> str:
    """A document as text without styles."""
    return lite.plain(document)


def one_line(text: str) -> str:
    """Text as one line, nothing hidden in it."""
    return " ".join(visible_text(text).split())


def excerpt(document: lite.Document, limit: int = _EXCERPT) -> str:
    """How a document begins, as one plain line."""
    line = one_line(lite.plain(document))
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


# -- lite ------------------------------------------------------------------------------------------


def to_lite(document: lite.Document) -> tuple[str, TextFormat]:
    """A document as a message's text and format: `plain` where there is nothing to mark."""
    text = "\n".join(_rows(document))
    if lite.plain(lite.parse(text)) == lite.plain(_bare(document)):
        plain = lite.plain(document)
        unmarked = text == plain and not _is_marked(document)
        return (plain, TextFormat.PLAIN) if unmarked else (text, TextFormat.LITE)
    return lite.plain(document), TextFormat.PLAIN


def _is_marked(document: lite.Document) -> bool:
    return document != plain_document(lite.plain(document))


def _bare(document: lite.Document) -> lite.Document:
    return document


def _rows(document: lite.Document) -> Iterator[str]:
    before: lite.Block | None = None
    for block in document:
        if before is not None and (
            isinstance(before, lite.Paragraph) or type(before) is type(block)
        ):
            yield ""
        match block:
            case lite.Paragraph():
                for line in block.lines:
                    yield _line(line)
            case lite.CodeBlock():
                yield f"```{block.language}"
                yield from block.text.split("\n")
                yield "```"
            case lite.Quote():
                yield from (f"> {row}" if row else ">" for row in _rows(block.blocks))
            case lite.BulletList():
                for item in block.items:
                    yield from _item("- ", item)
            case lite.NumberedList():
                for number, item in enumerate(block.items, block.start):
                    yield from _item(f"{number}. ", item)
            case _:
                assert_never(block)
        before = block


def _item(mark: str, item: lite.Document) -> Iterator[str]:
    for row in _rows(item):
        yield mark + row
        mark = " " * len(mark)


def _line(line: lite.Line) -> str:
    """One line, with as many of its styles as lite can express there."""
    styled = _pieces(line)
    if _says(styled, line):
        return styled
    # A style that begins or ends inside a word: mark what can be marked, piece by piece.
    made = ""
    for at, piece in enumerate(line):
        rest = _escaped(line[at + 1 :])
        for form in (_pieces((piece,)), _escaped((piece,))):
            if _says(made + form + rest, line):
                made += form
                break
        else:
            return _escaped(line)
    return made


def _says(text: str, line: lite.Line) -> bool:
    """Whether lite reads `text` as these words (whatever their styles), on one line."""
    wanted = _words(line)
    document = lite.parse(text)
    if not wanted.strip(" \t"):
        return True
    match document:
        case (lite.Paragraph(lines=(read,)),):
            return _words(read) == wanted.rstrip(" \t")
        case _:
            return False


def _words(line: lite.Line) -> str:
    """The words of a line, code marked as code, addresses behind words as they are shown."""
    return lite.plain((lite.Paragraph((_unstruck(line),)),))


def _unstruck(line: lite.Line) -> lite.Line:
    """Without strikes, which `plain` writes as marks around each piece."""
    made: list[lite.Inline] = []
    for piece in line:
        match piece:
            case lite.Text() | lite.Code() | lite.Mention():
                made.append(piece)
            case lite.Link():
                made.append(lite.Link(piece.url, _unstruck(piece.children)))
            case _:
                made.extend(_unstruck(piece.children))
    return tuple(made)


def _escaped(line: lite.Line) -> str:
    return lite.escape(_words(line))


_MARKS: Final[dict[type[lite.Inline], str]] = {lite.Bold: "**", lite.Italic: "*", lite.Strike: "~~"}


def _pieces(line: lite.Line) -> str:
    made = ""
    for piece in line:
        match piece:
            case lite.Text():
                made += lite.escape(piece.text) if not made else lite.escape("x" + piece.text)[1:]
            case lite.Code():
                made += _code(piece.text)
            case lite.Mention():
                made += f"@{piece.name}"
            case lite.Link():
                words = _pieces(piece.children)
                same = words in (piece.url, piece.url.removeprefix("mailto:"))
                made += piece.url if same else f"[{words}]({piece.url})"
            case lite.Underline() | lite.Colour():
                made += _pieces(piece.children)
            case _:
                mark = _MARKS[type(piece)]
                made += f"{mark}{_pieces(piece.children)}{mark}"
    return made


def _code(text: str) -> str:
    ticks = "`"
    while ticks in text:
        ticks += "`"
    pad = " " if text[:1] == "`" or text[-1:] == "`" else ""
    return f"{ticks}{pad}{text}{pad}{ticks}"
