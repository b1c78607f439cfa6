"""Words of a line: quotes, escapes, and what is left as it stands.

Words are parted by white space. A quote at a word's start (or after `--option=`) goes to the one
that closes it; the typographic quotes that phones put in count as well. A backslash takes the
special meaning of a quote, a blank or another backslash. Elsewhere quotes are themselves, so
"don't" needs no care.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from ofcd.errors import OfcError

__all__ = ["DASHES", "BadLine", "TooManyWords", "Word", "Words", "fold", "quote", "shown"]

_CLOSERS: Final = {
    '"': '"',
    "'": "'",
    "\u201c": "\u201d",  # English
    "\u2018": "\u2019",
    "\u201e": "\u201c\u201d",  # German, Polish
    "\u201a": "\u2018\u2019",
    "\u00ab": "\u00bb",  # French
    "\u00bb": "\u00ab",  # German books
}
_QUOTES: Final = frozenset("".join(_CLOSERS) + "".join(_CLOSERS.values()))
DASHES: Final = ("--", "\u2014", "\u2013")
"""How an option begins: phones make a long dash of two."""
MAX_WORDS: Final = 100
_SHOWN: Final = 40


class BadLine(OfcError):
    """A quote is not closed. Stays within this package."""

    code = "bot_quote"


class TooManyWords(OfcError):
    """The line has more words than are read. Stays within this package."""

    code = "bot_words"


@frozen
class Word:
    """One word, and where it stands in its line."""

    text: str
    start: int
    end: int
    quoted: bool
    """Whether it began with a quote: then it is never an option."""

    @property
    def is_option(self) -> bool:
        """Whether it looks like `--option`."""
        return not self.quoted and any(
            self.text.startswith(dash) and self.text[len(dash) :][:1].isalpha() for dash in DASHES
        )


class Words:
    """Reads the words of one line, from left to right, and no more of it than is asked for."""

    def __init__(self, line: str, *, most: int = MAX_WORDS) -> None:
        self._line = line
        self._position = 0
        self._left = most

    def peek(self) -> Word | None:
        """Return the next word without taking it; None at the end."""
        return _scan(self._line, self._position)

    def take(self, word: Word) -> None:
        """Go on behind `word`, which `peek` or `ahead` gave."""
        self._left -= 1
        if self._left < 0:
            raise TooManyWords
        self._position = word.end

    def ahead(self, most: int) -> list[Word]:
        """Return the next word and the plain words right behind it, `most` in all."""
        first = self.peek()
        found = [] if first is None else [first]
        while found and not found[-1].quoted and len(found) < most:
            following = _scan_quietly(self._line, found[-1].end)
            if following is None or following.quoted or following.is_option:
                break
            found.append(following)
        return found

    def rest(self) -> str:
        """Take all that is left, as it was written but for white space around it."""
        rest = self._line[self._position :].strip()
        self._position = len(self._line)
        return rest


def _scan_quietly(line: str, position: int) -> Word | None:
    try:
        return _scan(line, position)
    except BadLine:
        return None


def _scan(line: str, position: int) -> Word | None:
    """Return the first word from `position` on; raises `BadLine` where its quote stays open."""
    while position < len(line) and line[position].isspace():
        position += 1
    if position == len(line):
        return None
    start, text, closers = position, "", ""
    while position < len(line):
        char = line[position]
        if char == "\\" and _is_special(line[position + 1 : position + 2]):
            position += 1
            text += line[position]
        elif closers:
            text, closers = (text, "") if char in closers else (text + char, closers)
        elif char.isspace():
            break
        elif char in _CLOSERS and _may_open(line, start, position):
            closers = _CLOSERS[char]
        else:
            text += char
        position += 1
    if closers:
        raise BadLine
    return Word(text, start, position, line[start] in _CLOSERS)


def _is_special(char: str) -> bool:
    return char == "\\" or char in _QUOTES or char.isspace()


def _may_open(line: str, start: int, position: int) -> bool:
    """A quote opens at a word's start, and at the value of `--option=`."""
    if position == start:
        return True
    word = line[start:position] if line[position - 1] == "=" else ""
    return word.startswith(DASHES) and word.count("=") == 1


def fold(name: str) -> str:
    """Return the form in which names are compared: any case, `_` or `-`."""
    return name.casefold().replace("_", "-")


def quote(text: str) -> str:
    """Write `text` so that it is read as one word again, in quotes only where they are needed."""
    plain = text and not any(char.isspace() or char == "\\" for char in text)
    if plain and text[0] not in _CLOSERS and not text.startswith(DASHES):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def shown(text: str) -> str:
    """Quote what a member typed, to say it back: short, on one line, nothing invisible."""
    clipped = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "\u2026"
    return '"' + "".join(char if char.isprintable() else "\u00b7" for char in clipped) + '"'
