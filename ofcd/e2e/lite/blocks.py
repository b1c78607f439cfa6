"""Text format lite: from text to blocks. Never raises; linear in the length of the text."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final

from ofcd.e2e.lite.inline import Mentioned, address_at, parse_line
from ofcd.e2e.lite.tree import (
    Block,
    BulletList,
    CodeBlock,
    Document,
    NumberedList,
    Paragraph,
    Quote,
)

__all__ = ["DEPTH", "escape", "parse"]

DEPTH: Final = 4
"""How deep quotes and lists go into each other; a marker further in is literal."""
_FENCE: Final = re.compile(r"```([0-9A-Za-z+#._-]{0,32})[ \t]*")
_FENCE_END: Final = re.compile(r"```[ \t]*")
_BULLET: Final = re.compile(r"[-*] (?=[^ \t])")
_NUMBER: Final = re.compile(r"([0-9]{1,3})[.)] (?=[^ \t])")
_BLANK: Final = " \t"


def parse(text: str, mentioned: Iterable[Mentioned] = ()) -> Document:
    """The document that `text` is; `mentioned` are those the message names in `mentions`.

    docs/protocol.md, "Text format lite", is the grammar.
    """
    names = sorted((one for one in mentioned if one[1]), key=lambda one: -len(one[1]))
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return _Blocks(lines, names, 0).parse()


class _Blocks:
    """The blocks of some lines: of a text, a quote or a list's item."""

    def __init__(self, lines: Sequence[str], names: Sequence[Mentioned], depth: int) -> None:
        self._lines = lines
        self._names = names
        self._depth = depth
        self._fence_ends = [n for n, line in enumerate(lines) if _FENCE_END.fullmatch(line)]
        self._made: list[Block] = []
        self._paragraph: list[str] = []
        self._at = 0

    def parse(self) -> Document:
        while self._at < len(self._lines):
            line = self._lines[self._at]
            if not line.strip(_BLANK):
                self._end_paragraph()
                self._at += 1
            elif not self._block(line):
                self._paragraph.append(line.rstrip(_BLANK))
                self._at += 1
        self._end_paragraph()
        return tuple(self._made)

    def _end_paragraph(self) -> None:
        if self._paragraph:
            lines = tuple(parse_line(line, self._names) for line in self._paragraph)
            self._made.append(Paragraph(lines))
            self._paragraph = []

    def _block(self, line: str) -> bool:
        """Take a block that is no paragraph; False: none begins with this line."""
        if (fence := _FENCE.fullmatch(line)) and (end := self._fence_end()):
            self._add(CodeBlock("\n".join(self._lines[self._at + 1 : end]), fence[1]))
            self._at = end + 1
            return True
        if self._depth == DEPTH:
            return False
        if _quoted(line) is not None:
            self._take_quote()
        elif _BULLET.match(line):
            self._add(BulletList(self._take_items(_BULLET)))
        elif number := _NUMBER.match(line):
            self._add(NumberedList(self._take_items(_NUMBER), int(number[1])))
        else:
            return False
        return True

    def _add(self, block: Block) -> None:
        self._end_paragraph()
        self._made.append(block)

    def _fence_end(self) -> int:
        """The next line that ends a block of code; 0: there is none."""
        after = bisect_right(self._fence_ends, self._at)
        return self._fence_ends[after] if after < len(self._fence_ends) else 0

    def _inside(self, lines: Sequence[str]) -> Document:
        return _Blocks(lines, self._names, self._depth + 1).parse()

    def _take_quote(self) -> None:
        inside: list[str] = []
        while self._at < len(self._lines) and (line := _quoted(self._lines[self._at])) is not None:
            inside.append(line)
            self._at += 1
        self._add(Quote(self._inside(inside)))

    def _take_items(self, marker: re.Pattern[str]) -> tuple[Document, ...]:
        """The items of a list, each with the indented lines that follow it."""
        items: list[Document] = []
        while self._at < len(self._lines) and (found := marker.match(self._lines[self._at])):
            inside = [self._lines[self._at][found.end() :]]
            self._at += 1
            while self._at < len(self._lines) and _goes_on(self._lines[self._at]):
                inside.append(_dedented(self._lines[self._at], found.end()))
                self._at += 1
            items.append(self._inside(inside))
        return tuple(items)


def _quoted(line: str) -> str | None:
    """What a line quotes; None where it does not."""
    if line.rstrip(_BLANK) == ">":
        return ""
    return line[2:] if line.startswith("> ") else None


def _goes_on(line: str) -> bool:
    return line.startswith("  ") and bool(line.strip(_BLANK))


def _dedented(line: str, width: int) -> str:
    spaces = len(line) - len(line.lstrip(" "))
    return line[min(spaces, width) :]


# -- the other way ---------------------------------------------------------------------------------

_MARKED: Final = re.compile(r"[\\`*_~\[\]@]|https?://|mailto:")
_BEGINNING: Final = re.compile(r"(?:>|-(?= )|[0-9]{1,3}(?=[.)] ))")


def escape(text: str) -> str:
    """`text` written so that `parse` finds nothing in it but the words (and addresses)."""
    return "\n".join(_escaped(line) for line in text.replace("\r", "\n").split("\n"))


def _escaped(line: str) -> str:
    made: list[str] = []
    at = 0
    if found := _BEGINNING.match(line):
        at = found.end() + found[0].isdigit()
        made.append(f"{line[: at - 1]}\\{line[at - 1]}")
    while found := _MARKED.search(line, at):
        made.append(line[at : found.start()])
        at = found.end()
        if len(found[0]) == 1:
            made.append("\\" + found[0])
        else:
            at = max(at, address_at(line, found.start())[1])
            made.append(line[found.start() : at])
    return "".join([*made, line[at:]])
