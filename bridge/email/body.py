"""A mail's words as lines: each as it reads, and as the room's text format writes it."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import field, frozen

from bridge.email import limits
from ofcd.client import lite

__all__ = ["Line", "plain_lines", "room_text"]


@frozen
class Line:
    """One line: `plain` is looked at, `rich` is shown."""

    plain: str = field(repr=lambda text: f"<{len(text)}>")
    rich: str = field(repr=lambda text: f"<{len(text)}>")


def plain_lines(text: str) -> tuple[Line, ...]:
    """The lines of a plain text, its quotes kept as quotes and nothing else as format."""
    lines = text[: limits.TEXT_BYTES].split("\n")[: limits.LINES]
    return tuple(_plain(line.rstrip()) for line in lines)


def _plain(line: str) -> Line:
    depth, at = 0, 0
    while at < len(line) and line[at] == ">":
        depth += 1
        at += 1 + (line[at + 1 : at + 2] == " ")
    marks = "> " * min(depth, lite.DEPTH)
    return Line(line, (marks + lite.escape(line[at:])).rstrip(" ") if depth else lite.escape(line))


def room_text(lines: Iterable[Line]) -> tuple[str, bool]:
    """What is shown in the room, as markdown-lite, and whether it had to be cut."""
    kept: list[str] = []
    size = 0
    blank = False
    for line in lines:
        if not line.rich.strip():
            blank = bool(kept)
            continue
        size += len(line.rich.encode()) + 2
        if size > limits.ROOM_TEXT_BYTES:
            return "\n".join(kept), True
        kept += ["", line.rich] if blank else [line.rich]
        blank = False
    return "\n".join(kept), False
