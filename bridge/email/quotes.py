"""What somebody wrote now, without what they answer and without their signature.

    newest = strip(lines)
    newest.lines, newest.stripped

Two ways, for no list of phrases is ever whole. By form, in any language: a line with a date or an
address that ends in a colon, and quoted lines below it; or a From line in one of thirty languages
with Sent and To lines below it, as Outlook writes them. And by mail-parser-reply's phrases ("On ...
wrote:", "Sent from my ...", 13 languages), each tried on a few short lines only: over a whole mail
its patterns take time that grows with the cube of the length of a hostile line, as do those of
email-reply-parser (English alone) and quotequail (9 languages, and forwarded mail with them).

What is answered in between (or below) is kept with what it answers. Nothing is lost: who shows less
than all keeps the whole mail beside it.
"""

# ruff: noqa: RUF001 - letters of many scripts are what this is about

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Final

from attrs import frozen
from mailparser_reply.constants import MAIL_LANGUAGES
from mailparser_reply.parser import EmailMessage

from bridge.email.body import Line

__all__ = ["Newest", "strip"]

_WIDTH: Final = 300
"""Longest line of a phrase or a header: longer ones are words."""
_NEAR: Final = 6
"""Lines within which a quote follows what introduces it."""
_TRIES: Final = 20
"""Lines that the library's patterns are tried on: 50 ms each at worst."""
_DATE: Final = re.compile(r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}|\b(?:19|20)\d\d\b|\d{4}\s?[年년]")
_CLOCK: Final = re.compile(r"\d{1,2}[:.]\d\d")
_WHERE: Final = re.compile(r"[^\s@<>]{1,64}@[^\s@<>]{1,255}")
_COLONS: Final = ":\uff1a"
_RULE: Final = re.compile(r"[-_=*]{20,}")
_ORIGINAL: Final = re.compile(r"-{2,}\s?[^-].{2,50}[^-]\s?-{2,}")
_FIELD: Final = re.compile(
    rf"\*?([^\s*{_COLONS}][^*{_COLONS}]{{0,24}}?)\s?\*?[{_COLONS}]\*?\s?(.*)"
)
_FROM: Final = frozenset(
    [
        "from",
        "von",
        "de",
        "da",
        "van",
        "od",
        "från",
        "fra",
        "от",
        "від",
        "отправитель",
        "差出人",
        "送信者",
        "发件人",
        "寄件者",
        "보낸사람",
        "kimden",
        "lähettäjä",
        "feladó",
        "expéditeur",
        "από",
        "de_la",
        "oт",
        "mittente",
        "remitente",
        "afzender",
        "nadawca",
        "odesílatel",
        "odosielateľ",
        "från:",
        "de:",
        "gönderen",
        "מאת",
        "من",
        "od:",
        "dari",
        "pengirim",
        "จาก",
        "người_gửi",
    ]
)
_SIGNATURE: Final = re.compile(r"-- ?|__+")


@frozen
class Newest:
    """What is left of a mail."""

    lines: tuple[Line, ...]
    stripped: bool
    """Whether something was taken out."""


def strip(lines: Sequence[Line]) -> Newest:
    """The newest part of a mail; all of it where nothing else would be left."""
    kept = _without_answered(list(lines))
    kept = _without_signature(kept)
    kept = _trimmed(kept)
    if not any(line.plain.strip() for line in kept):
        return Newest(tuple(lines), stripped=False)
    whole = [line for line in lines if line.plain.strip()]
    return Newest(tuple(kept), len(whole) != sum(1 for line in kept if line.plain.strip()))


def _without_answered(lines: list[Line]) -> list[Line]:
    start = _attribution(lines)
    if start is None:
        return _without_last_quote(lines)
    at, end = start
    above, below = lines[:at], lines[end:]
    if not any(_is_quote(line) for line in below):
        return above if _written(above) or not below else below
    rest = _without_last_quote(below)
    if not any(line.plain.strip() and not _is_quote(line) for line in _without_signature(rest)):
        return above if _written(above) else lines
    return [*above, *rest]


def _written(lines: Sequence[Line]) -> bool:
    return any(line.plain.strip() for line in lines)


def _is_quote(line: Line) -> bool:
    return line.plain.lstrip().startswith(">")


def _without_last_quote(lines: list[Line]) -> list[Line]:
    """Without a quote that nothing is written under: it is not answered to."""
    end = len(_trimmed(lines))
    start = end
    while start and (_is_quote(lines[start - 1]) or not lines[start - 1].plain.strip()):
        start -= 1
    return lines[:start] if start and any(map(_is_quote, lines[start:end])) else lines


def _trimmed(lines: list[Line]) -> list[Line]:
    end = len(lines)
    while end and (
        not lines[end - 1].plain.strip() or _RULE.fullmatch(lines[end - 1].plain.strip())
    ):
        end -= 1
    return lines[:end]


# -- where the answered mail begins ----------------------------------------------------------------


def _attribution(lines: Sequence[Line]) -> tuple[int, int] | None:
    """The lines (from, to) that introduce what is answered; the first such ones."""
    tries = _TRIES
    for at, line in enumerate(lines):
        plain = line.plain.strip()
        if not plain or len(plain) > _WIDTH or _is_quote(line):
            continue
        if (found := _outlook(lines, at)) is not None:
            return found
        for length in (1, 2, 3):
            window = [one.plain.strip() for one in lines[at : at + length]]
            if not all(0 < len(one) <= _WIDTH and one[0] != ">" for one in window):
                break
            text = " ".join(window)
            if not _may_introduce(text):
                continue
            if _introduces(text, lines, at + length):
                return at, at + length
            tries -= 1
            if tries >= 0 and _known_phrase(text):
                return at, at + length
    return None


def _may_introduce(text: str) -> bool:
    return text[-1] in _COLONS and bool(_WHERE.search(text) or _DATE.search(text))


def _introduces(text: str, lines: Sequence[Line], after: int) -> bool:
    """By form: quoted lines come next, or it names who and when and ends in a colon."""
    near = lines[after : after + _NEAR]
    following = next((line for line in near if line.plain.strip()), None)
    if following is not None and _is_quote(following):
        return True
    return bool(_WHERE.search(text) and _DATE.search(text) and _CLOCK.search(text))


def _known_phrase(text: str) -> bool:
    found = _phrases().match(text)
    return found is not None and found.end() == len(text)


@cache
def _phrases() -> re.Pattern[str]:
    languages = sorted(set(MAIL_LANGUAGES) - {"david"})
    pattern: re.Pattern[str] = EmailMessage(text="", languages=languages).HEADER_REGEX
    return pattern


def _outlook(lines: Sequence[Line], at: int) -> tuple[int, int] | None:
    """A block of fields that begins with From, a rule or "Original Message" above it or not."""
    start = at
    plain = lines[at].plain.strip()
    if _ORIGINAL.fullmatch(plain) or _RULE.fullmatch(plain):
        at = next((n for n in range(at + 1, min(at + 4, len(lines))) if lines[n].plain.strip()), at)
        plain = lines[at].plain.strip()
    found = _FIELD.fullmatch(plain[:_WIDTH])
    if found is None or not _is_from(found[1]):
        return None
    end, dated = at + 1, False
    while end < min(at + 8, len(lines)) and (
        field := _FIELD.fullmatch(lines[end].plain.strip()[:_WIDTH])
    ):
        dated = dated or bool(_DATE.search(field[2]) or _CLOCK.search(field[2]))
        end += 1
    return (start, end) if dated and end - at >= 3 else None


def _is_from(word: str) -> bool:
    return word.strip().lower().replace(" ", "") in _FROM


# -- signatures ------------------------------------------------------------------------------------


def _without_signature(lines: list[Line]) -> list[Line]:
    """Without what stands under `-- ` (RFC 3676, 4.3), and "Sent from my ..." at the end."""
    marks = [n for n, line in enumerate(lines) if _SIGNATURE.fullmatch(line.plain)]
    if marks and not any(_is_quote(line) for line in lines[marks[-1] :]):
        lines = lines[: marks[-1]]
    kept = _trimmed(lines)
    if kept and len(kept[-1].plain) <= _WIDTH // 3 and _sent_from().match(kept[-1].plain.strip()):
        return _trimmed(kept[:-1])
    return lines


_SENT_FROM: Final = (
    r"Von mein\w+ .{1,40} gesendet",
    r"Diese Nachricht wurde von .{1,40} gesendet",
    "Envoyé de mon",
    "Enviado do meu",
    "Enviado a partir do",
    "Verstuurd vanaf",
    "Sendt fra",
    "Lähetetty",
    "Wysłane z",
    "Отправлено с",
    "Надіслано з",
    ".{1,40}d[ae]n gönderildi",
    ".{1,40}から送信",
    "发自我的",
    "나의 .{1,20}에서 보냄",
)
"""What the library does not know of what telephones add; found in mails, or in their settings."""


@cache
def _sent_from() -> re.Pattern[str]:
    phrases = [words.get("sent_from") for words in MAIL_LANGUAGES.values()] + [*_SENT_FROM]
    return re.compile("|".join(f"(?:{one})" for one in phrases if one), re.IGNORECASE)
