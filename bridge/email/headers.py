"""The header fields of a mail, read so that none of them can fail, hide or cost much.

`email.policy.default` would parse each field by its full grammar: on hostile ones that raises
errors of many kinds and takes time that grows with the square of the length. Here a field is its
text, cut at a bound. Lines end where DKIM and mail servers see their end (a bare CR is none), and
only what is for people is decoded (RFC 2047, or the raw 8 bits that the real world sends): whatever
a program is to believe has to stand there as it is, or two programs read two different mails.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterator
from email.errors import HeaderParseError
from email.header import decode_header
from email.utils import parsedate_to_datetime
from typing import Final

from attrs import field, frozen

from bridge.email import limits
from bridge.email.charsets import decoded, strip_controls
from ofcd.client import visible_text

__all__ = [
    "Address",
    "Headers",
    "addresses",
    "encoded_words_read",
    "message_ids",
    "parse_date",
    "parse_headers",
]

_NAME: Final = re.compile(rb"([!-9;-~]{1,100})([ \t]*):")
_ID: Final = re.compile(r"<([^<>\s\x00-\x1f\x7f]{1,500})>")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_FOR_PEOPLE: Final = ("subject",)
_OF_PEOPLE: Final = ("from", "to", "cc")
"""Addresses: their names are decoded once they are known to be names."""
_EXACT: Final = ("authentication-results",)
"""What a server strips where it is forged: one written so that it may overlook it is not read."""
_ENCODED: Final = re.compile(r"(?:=\?[^?\s]{1,60}\?[bBqQ]\?[^?]*\?=){1,100}")
"""Of a longer run the library would make something in a time that grows with its square."""
_ADDRESS: Final = re.compile(r"[^\s@<>()\[\],;:\"\\]{1,64}@[A-Za-z0-9.\-\u0080-\uffff]{1,255}")


@frozen
class Address:
    """A mailbox: the name that its owner gives, and where it is."""

    address: str = ""
    """As written, the domain in small letters."""
    name: str = field(default="", repr=False)

    @property
    def key(self) -> str:
        """For comparing: all in small letters, as mail servers do."""
        return self.address.lower()

    @property
    def domain(self) -> str:
        """What is behind the `@`, in small letters."""
        return self.key.rpartition("@")[2]


@frozen
class Headers:
    """Fields in their order, names in small letters."""

    fields: tuple[tuple[str, str], ...] = field(repr=False)
    cut: bool = False
    """Whether there were more than are kept."""

    def all(self, name: str) -> list[str]:
        """The values of every field of this name (in small letters)."""
        return [value for key, value in self.fields if key == name]

    def get(self, name: str) -> str:
        """The value of the first field of this name, "" where there is none."""
        return next((value for key, value in self.fields if key == name), "")

    def __contains__(self, name: str) -> bool:
        return any(key == name for key, _ in self.fields)


def parse_headers(raw: bytes) -> Headers:
    """The fields at the head of a mail."""
    fields: list[tuple[str, str]] = []
    cut = False
    for name, value in _unfolded(raw):
        if len(fields) == limits.FIELDS:
            cut = True
            break
        cut = cut or len(value) > limits.FIELD_BYTES
        fields.append((name, _value(name, value[: limits.FIELD_BYTES])))
    return Headers(tuple(fields), cut or len(_head(raw)) > limits.HEADER_BYTES)


def _head(raw: bytes) -> bytes:
    """What is before the first empty line, and no more than we look at (and a byte)."""
    start = raw[: limits.HEADER_BYTES + 1]
    found = re.search(rb"\r?\n\r?\n|\A\r?\n", start)
    return start[: found.start()] if found else start


def _unfolded(raw: bytes) -> Iterator[tuple[str, bytes]]:
    name, value = "", bytearray()
    for line in re.split(rb"\r?\n", _head(raw)[: limits.HEADER_BYTES]):
        if line[:1] in (b" ", b"\t") and name:
            if len(value) <= limits.FIELD_BYTES:
                value += b" " + line.strip(b" \t")
            continue
        if name:
            yield name, bytes(value)
        found = _NAME.match(line)
        name = found[1].decode("ascii").lower() if found else ""
        if found and found[2] and name in _EXACT:
            name = ""
        value = bytearray(line[found.end() :].strip(b" \t")) if found else bytearray()
    if name:
        yield name, bytes(value)


def _value(name: str, raw: bytes) -> str:
    if name in _FOR_PEOPLE:
        return _for_people(decoded(raw))
    text = decoded(raw) if name in _OF_PEOPLE else raw.decode("utf-8", "replace")
    return re.sub(r"[ \t]+", " ", text).strip(" ")


def _for_people(text: str) -> str:
    if "=?" in text:
        text = encoded_words_read(text)
    return " ".join(strip_controls(text).split())


def encoded_words_read(text: str, spare: Callable[[], object] = lambda: None) -> str:
    """Encoded words decoded (RFC 2047), quoted ones too, as the real world writes them.

    `spare` is called for each run of them, and may raise where that took too long.
    """
    text = re.sub(r"(\?=)\s+(=\?)", r"\1\2", text)

    def read(found: re.Match[str]) -> str:
        spare()
        return _word(found[0])

    return _ENCODED.sub(read, text)


def _word(word: str) -> str:
    try:
        return "".join(
            part if isinstance(part, str) else decoded(part, charset or "")
            for part, charset in decode_header(word)
        )
    except (HeaderParseError, ValueError, LookupError, binascii.Error):
        return word


def message_ids(value: str) -> tuple[str, ...]:
    """The ids in a field, without their brackets: the last ones, if there are many."""
    return tuple(_ID.findall(value)[-limits.REFERENCES :])


def addresses(value: str) -> tuple[Address, ...]:
    """The mailboxes of a field such as From. One that names two where only one is shown has none.

    A display name may hold what looks like another address: only what stands in brackets, or alone,
    counts, and only one for each comma. Encoded words are read in display names alone. A field with
    control characters (a bare CR, say) is read in as many ways as there are programs: nobody.
    """
    if _CONTROL.search(value):
        return ()
    return tuple(
        found for part in _parts(value)[: limits.ADDRESSES] if (found := _mailbox(part)) is not None
    )


def _parts(value: str) -> list[str]:
    """Split at commas (and at a group's colon and semicolon) outside quotes and comments."""
    parts: list[str] = []
    part: list[str] = []
    quoted, depth, escaped = False, 0, False
    for character in value:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == '"' and not depth:
            quoted = not quoted
        elif not quoted and character == "(":
            depth += 1
        elif not quoted and character == ")":
            depth = max(0, depth - 1)
        elif not quoted and not depth and character in ",;":
            parts.append("".join(part))
            part = []
            continue
        part.append(character)
    return [*parts, "".join(part)]


def _mailbox(part: str) -> Address | None:
    bracketed = re.search(r"<([^<>]*)>\s*(?:\([^()]*\)\s*)?$", part)
    if bracketed:
        inside, name = bracketed[1].strip(), part[: bracketed.start()]
    else:
        inside, name = re.sub(r"\([^()]*\)", " ", part).rpartition(":")[2].strip(), ""
    if not _ADDRESS.fullmatch(inside) or not _is_plain(inside):
        return None
    local, _, domain = inside.rpartition("@")
    name = re.sub(r"\\(.)", r"\1", name.strip()).strip("\"'").strip()
    return Address(f"{local}@{domain.lower()}", _for_people(name))


def _is_plain(address: str) -> bool:
    """Whether nothing in it is hidden, turned round, or becomes another letter in small letters.

    The Kelvin sign becomes a k: whoever has it in their name is not whoever has a k.
    """
    folds = any(not one.isascii() and one.lower().isascii() for one in address)
    return not folds and visible_text(address) == address


def parse_date(value: str) -> int | None:
    """Milliseconds since 1970 of a Date field; None where it is none."""
    try:
        stamp = parsedate_to_datetime(value[:100]).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return int(stamp * 1000) if 0 <= stamp < 1e11 else None
