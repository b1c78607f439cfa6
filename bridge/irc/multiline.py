"""Messages of several lines that stay together: draft/multiline, both ways (sans-IO).

Out: as many batches as the limits that the server names with the capability ask for. In: what a
batch holds is gathered until it ends, and is one message.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import define, field, frozen

from bridge.irc.rendering import Piece
from bridge.irc.wire import Line, number_of

__all__ = ["CONCAT", "MULTILINE", "Gathering", "Limits", "limits_of", "packed"]

MULTILINE: Final = "draft/multiline"
CONCAT: Final = "draft/multiline-concat"
_BYTES: Final = 40 * 1024
_LINES: Final = 200
"""What is taken of a message of somebody else; servers' limits are far below."""
_CUT: Final = "(the rest is too long)"
_MOST: Final = 100
"""Lines in a batch where the server names no limit."""


@frozen
class Limits:
    """What one batch may hold."""

    size: int
    """Bytes, and one for the end of each line but the last."""
    lines: int


def limits_of(value: str) -> Limits | None:
    """What the capability's value says; None: nothing that makes sense."""
    said = dict(one.partition("=")[::2] for one in value.split(",") if one)
    size = number_of(said.get("max-bytes", ""))
    lines = number_of(said.get("max-lines", "")) if "max-lines" in said else _MOST
    return Limits(size, min(_MOST, lines)) if size and lines > 1 else None


def packed(pieces: Sequence[Piece], limits: Limits) -> list[list[Piece]]:
    """The pieces, in groups of which each fits a batch; one that is alone needs none."""
    groups: list[list[Piece]] = []
    used = 0
    for piece in pieces:
        size = len(piece.text.encode()) + (not piece.goes_on)
        full = not groups or used + size > limits.size or len(groups[-1]) == limits.lines
        if full:
            groups.append([])
            used = 0
            # Nothing is there that it could go on with.
            piece = Piece(piece.text)
        groups[-1].append(piece)
        used += size
    return groups


@define
class Gathering:
    """A batch of somebody's that has not ended."""

    begins: Line
    """Its BATCH: whose it is, and the tags of all of it."""
    parts: list[str] = field(factory=list)
    """Line by line, as they came."""
    rows: list[str] = field(factory=list)
    """As they belong together."""
    command: str = "PRIVMSG"
    size: int = 0

    def add(self, line: Line) -> None:
        """One of its lines."""
        text = line[1]
        self.size += len(text.encode("utf-8", "replace")) + 1
        if len(self.parts) >= _LINES or self.size > _BYTES:
            if not self.rows or self.rows[-1] != _CUT:
                self.rows.append(_CUT)
            return
        self.command = line.command
        self.parts.append(text)
        if CONCAT in line.tags and self.rows:
            self.rows[-1] += text
        else:
            self.rows.append(text)

    def whole(self) -> Line:
        """All of it as one line; its rows are those of the text."""
        begins = self.begins
        params = (begins[2], "\n".join(self.rows))
        return Line(
            self.command, params, begins.nick, begins.user, begins.host, begins.tags, self.parts
        )
