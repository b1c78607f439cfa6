"""What a text says, as a tree: what every client shows and every bridge translates.

A document is blocks, a block holds lines, a line holds pieces. The grammar (`parse`) makes all of
these but `Underline` and `Colour`, which only other networks know: their bridges make them.
"""

from __future__ import annotations

from typing import TypeAlias

from attrs import field, frozen

from ofcd.protocol.ids import MemberId

__all__ = [
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
    "NumberedList",
    "Paragraph",
    "Quote",
    "Strike",
    "Text",
    "Underline",
]


def _size(value: str) -> str:
    """What people wrote does not show in a repr, and so in no log."""
    return f"<{len(value)}>"


# -- in a line -------------------------------------------------------------------------------------


@frozen
class Text:
    """Words, as they stand: not yet safe for a screen (see `visible_text`)."""

    text: str = field(repr=_size)


@frozen
class Code:
    """Words in a fixed width."""

    text: str = field(repr=_size)


@frozen
class Bold:
    """Strong."""

    children: Line


@frozen
class Italic:
    """Stressed."""

    children: Line


@frozen
class Strike:
    """Struck out."""

    children: Line


@frozen
class Underline:
    """Underlined; not in the grammar."""

    children: Line


@frozen
class Colour:
    """Coloured; not in the grammar. Numbers are 0 to 98 of mIRC's palette, None: as it was."""

    children: Line
    foreground: int | None = None
    background: int | None = None


@frozen
class Link:
    """An address (http, https or mailto; ASCII) and the words it stands behind."""

    url: str = field(repr=_size)
    children: Line


@frozen
class Mention:
    """A member whom the message names in its `mentions`, under the name that was given."""

    member: MemberId
    name: str


Inline: TypeAlias = "Text | Code | Bold | Italic | Strike | Underline | Colour | Link | Mention"
Line: TypeAlias = "tuple[Inline, ...]"


# -- blocks ----------------------------------------------------------------------------------------


@frozen
class Paragraph:
    """Lines of words; each begins a new line on the screen too."""

    lines: tuple[Line, ...]


@frozen
class CodeBlock:
    """Lines in a fixed width, exactly as they are."""

    text: str = field(repr=_size)
    language: str = ""


@frozen
class Quote:
    """Somebody else's words."""

    blocks: tuple[Block, ...]


@frozen
class BulletList:
    """Items in no order."""

    items: tuple[tuple[Block, ...], ...]


@frozen
class NumberedList:
    """Items that are counted from `start`."""

    items: tuple[tuple[Block, ...], ...]
    start: int = 1


Block: TypeAlias = "Paragraph | CodeBlock | Quote | BulletList | NumberedList"
Document: TypeAlias = "tuple[Block, ...]"
