"""Text for a terminal: nothing that others wrote may move the cursor, hide or reorder anything."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len, set_cell_size

from ofcd.client import visible_text

__all__ = ["aligned", "clock", "cut", "day", "moment", "one_line", "padded", "printable", "size"]

_ELLIPSIS: Final = "…"
_UNITS: Final = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


def printable(text: str) -> list[str]:
    """The lines of `text`, without control, bidirectional or other invisible characters."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [visible_text(line.replace("\t", "    "), joiners=True).rstrip() for line in lines]


def one_line(text: str) -> str:
    """`text` on one line, spaces run together."""
    return " ".join(" ".join(printable(text)).split())


def cut(text: str, cells: int) -> str:
    """`text` in at most `cells` columns of the terminal, cut with an ellipsis."""
    if cell_len(text) <= cells:
        return text
    return set_cell_size(text, cells - 1).rstrip() + _ELLIPSIS


def padded(text: str, cells: int) -> str:
    """`text` filled with spaces to `cells` columns."""
    return text + " " * (cells - cell_len(text))


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of equally many cells as lines, each column as wide as its widest cell."""
    if not rows:
        return []
    widths = [max(cell_len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(padded(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def clock(ts: int) -> str:
    """The local time of day of `ts` (milliseconds since 1970): 14:05."""
    return time.strftime("%H:%M", time.localtime(ts / 1000))


def day(ts: int) -> str:
    """The local day of `ts`: Monday 23 November 2026."""
    local = time.localtime(ts / 1000)
    return f"{time.strftime('%A', local)} {local.tm_mday} {time.strftime('%B %Y', local)}"


def moment(ts: int) -> str:
    """The local date and time of `ts`: 2026-11-23 14:05."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(ts / 1000))


def size(count: int) -> str:
    """A number of bytes as people read it: 12.3 kB."""
    for least, unit in _UNITS:
        if count >= least:
            return f"{count / least:.1f} {unit}"
    return f"{count} B"
