"""A room's words as mail: the tree (`ofcd.client.lite`) as HTML and as plain text."""

from __future__ import annotations

from html import escape
from typing import assert_never

from ofcd.client import lite, visible_text

__all__ = ["as_html", "as_plain"]


def as_plain(document: lite.Document) -> str:
    """The words, marks left out; nothing hidden in them."""
    return "\n".join(_shown(line) for line in lite.plain(document).split("\n"))


def as_html(document: lite.Document) -> str:
    """HTML without scripts, pictures or styles: words of others can not become markup."""
    return "\n".join(_block(block) for block in document)


def _block(block: lite.Block) -> str:
    match block:
        case lite.Paragraph():
            return f"<p>{'<br>'.join(map(_line, block.lines))}</p>"
        case lite.CodeBlock():
            lines = "\n".join(_shown(line) for line in block.text.split("\n"))
            return f"<pre>{escape(lines)}</pre>"
        case lite.Quote():
            return f"<blockquote>{as_html(block.blocks)}</blockquote>"
        case lite.BulletList():
            return f"<ul>{_items(block.items)}</ul>"
        case lite.NumberedList():
            return f'<ol start="{block.start}">{_items(block.items)}</ol>'
        case _:
            assert_never(block)


def _shown(text: str) -> str:
    return visible_text(text, joiners=True)


def _items(items: tuple[lite.Document, ...]) -> str:
    return "".join(f"<li>{as_html(item)}</li>" for item in items)


def _line(line: lite.Line) -> str:
    return "".join(_piece(piece) for piece in line)


def _piece(piece: lite.Inline) -> str:
    match piece:
        case lite.Text():
            return escape(_shown(piece.text))
        case lite.Code():
            return f"<code>{escape(_shown(piece.text))}</code>"
        case lite.Bold():
            return f"<b>{_line(piece.children)}</b>"
        case lite.Italic():
            return f"<i>{_line(piece.children)}</i>"
        case lite.Strike():
            return f"<s>{_line(piece.children)}</s>"
        case lite.Underline():
            return f"<u>{_line(piece.children)}</u>"
        case lite.Colour():
            return _line(piece.children)
        case lite.Link():
            return f'<a href="{escape(piece.url)}">{_line(piece.children)}</a>'
        case lite.Mention():
            return f"<b>@{escape(_shown(piece.name))}</b>"
        case _:
            assert_never(piece)
