"""Runs to lines that fit (I1): cut between words, else between what people see as characters.

A line is at most 512 bytes for everyone who gets it: what the server puts before it counts. No cut
is inside a UTF-8 sequence or a grapheme; styles are opened anew on the next line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import wcwidth

from bridge.irc import mirc
from bridge.irc.mirc import PLAIN, RESET, Run, Style
from bridge.irc.wire import LINE_BYTES

__all__ = ["budget", "split"]

_WORST_USER: Final = 10
_WORST_HOST: Final = 63
_LEAST: Final = 60
"""Bytes of text in a line at least, whatever the server says."""


def budget(nick: str, user: str, host: str, target: str, command: str = "PRIVMSG") -> int:
    """Bytes for a message's text, given the prefix that others see; "": not known, the worst."""
    prefix = (
        1
        + len(nick.encode())
        + 1
        + (len(user.encode()) or _WORST_USER)
        + 1
        + (len(host.encode()) or _WORST_HOST)
        + 1
    )
    used = prefix + len(command) + 1 + len(target.encode()) + 2 + 2
    return max(_LEAST, LINE_BYTES - used)


def split(runs: Iterable[Run], room: int, *, whole: bool = False) -> list[str]:
    """The lines, with their codes, each of `room` bytes at most; none for no words.

    `whole`: so that they can be put together again, and still be read one by one: the spaces
    between them stay, and each ends plain.
    """
    lines: list[str] = []
    builder = _Builder(room, whole)
    for text, style in _atoms(runs):
        if not builder.add(text, style):
            lines.append(builder.take())
            if whole or not text.isspace():
                _add_whole(builder, lines, text, style)
    last = builder.take()
    if last:
        lines.append(last)
    return lines


def _add_whole(builder: _Builder, lines: list[str], text: str, style: Style) -> None:
    """A word at the beginning of a line; cut where it is longer than one."""
    if builder.add(text, style):
        return
    for grapheme in wcwidth.iter_graphemes(text):
        pieces = [grapheme] if builder.fits_alone(grapheme, style) else list(grapheme)
        for piece in pieces:
            if not builder.add(piece, style):
                lines.append(builder.take())
                builder.add(piece, style)


def _atoms(runs: Iterable[Run]) -> Iterator[tuple[str, Style]]:
    """Words and the spaces between them, each of one style."""
    for run in mirc.joined(runs):
        word = ""
        for character in run.text:
            if character == " ":
                if word:
                    yield word, run.style
                word = ""
                yield " ", run.style
            else:
                word += character
        if word:
            yield word, run.style


class _Builder:
    """One line under construction."""

    def __init__(self, room: int, whole: bool) -> None:
        self._room = room - len(RESET) if whole else room
        self._whole = whole
        self._text = ""
        self._bytes = 0
        self._style = PLAIN

    def add(self, text: str, style: Style) -> bool:
        """Put it at the end, if it fits."""
        piece = mirc.codes(self._style, style, text) + text
        size = len(piece.encode())
        if self._bytes + size > self._room:
            return False
        self._text += piece
        self._bytes += size
        self._style = style
        return True

    def fits_alone(self, text: str, style: Style) -> bool:
        """Whether it fits a line of its own."""
        return len((mirc.codes(PLAIN, style, text) + text).encode()) <= self._room

    def take(self) -> str:
        """The line; the next begins plain."""
        text, self._text, self._bytes = self._text, "", 0
        style, self._style = self._style, PLAIN
        if self._whole:
            return text if style == PLAIN else text + RESET
        return text.rstrip(" ")
