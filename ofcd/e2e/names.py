"""Names that people chose, made safe to show."""

from __future__ import annotations

import unicodedata
from typing import Final

__all__ = ["NAME_CHARACTERS", "display_name", "visible_text"]

NAME_CHARACTERS: Final = 64
"""Longest name shown: fits a line beside the message."""
_MARKS_IN_A_ROW: Final = 2
"""Combining marks kept on one letter: real scripts need few, stacks of them deface the screen."""
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Control, format (bidi, zero width), surrogate, private, unassigned, line and paragraph breaks."""
_BLANK: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Characters that draw nothing though Unicode calls them letters, marks or symbols."""
_JOINERS: Final = "\u200c\u200d"
_JOINS_NOTHING: Final = frozenset(_JOINERS + " ")
_AS_EMOJI: Final = "\ufe0f"
"""Behind a character that is a sign or an emoji: draw it as an emoji."""
_LETTER_THAT_IS_A_SIGN: Final = "\u2139"
_VARIATION_SELECTORS: Final = (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))


def display_name(raw: str, *, limit: int = NAME_CHARACTERS) -> str:
    """`raw` as one line that can not hide, reorder or overrun anything; may come out empty.

    Composed (NFC), control, bidi, zero-width and blank characters removed, spaces run together,
    at most `limit` characters.
    """
    shown = visible_text(unicodedata.normalize("NFC", raw[: 16 * limit]))
    return " ".join(shown.split())[:limit].rstrip()


def visible_text(raw: str, *, joiners: bool = False) -> str:
    """`raw` without the characters that hide, reorder or stack; white space becomes a space.

    `joiners`: for what is read and not compared. Keeps one joiner between two characters, without
    which Persian is misspelt, Hindi comes apart and a family of emoji is a crowd; and behind a sign
    the one selector without which a red heart is a black mark.
    """
    kept: list[str] = []
    marks = 0
    for character in raw:
        if joiners and character in _JOINERS:
            if kept and kept[-1] not in _JOINS_NOTHING:
                kept.append(character)
            continue
        if joiners and character == _AS_EMOJI:
            if kept and _is_sign(kept[-1]):
                kept.append(character)
            continue
        if character.isspace():
            character = " "
        category = unicodedata.category(character)
        marks = marks + 1 if category.startswith("M") else 0
        if marks <= _MARKS_IN_A_ROW and not _hidden(character, category):
            kept.append(character)
    return "".join(kept)


def _is_sign(character: str) -> bool:
    """Whether it may be drawn in two ways: a symbol, a digit, punctuation."""
    return unicodedata.category(character)[0] in "SNP" or character == _LETTER_THAT_IS_A_SIGN


def _hidden(character: str, category: str) -> bool:
    return (
        category in _HIDDEN
        or character in _BLANK
        or any(ord(character) in selectors for selectors in _VARIATION_SELECTORS)
    )
