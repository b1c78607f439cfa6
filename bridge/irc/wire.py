"""IRC lines: framed and bounded here, parsed and formatted by irctokens (RFC 1459, IRCv3 tags)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from attrs import field, frozen
from irctokens.line import build, tokenise

__all__ = ["LINE_BYTES", "Framer", "Line", "encode", "fold", "number_of", "said_there", "time_of"]

LINE_BYTES: Final = 512
"""Of a line without its tags, CR LF included."""
_INPUT_BYTES: Final = 8191 + LINE_BYTES
_INSIDE: Final = re.compile(rb"^[\x80-\xbf]{1,3}")
"""The end of a character of UTF-8."""
_UNSAFE: Final = {ord(one): None for one in "\r\n\0"}
_WORDS: Final = 200
_DIGITS: Final = 9
_LATEST: Final = 4_102_444_800_000
"""The year 2100, milliseconds since 1970."""


def _size(value: object) -> str:
    return f"<{len(str(value))}>"


@frozen
class Line:
    """One line from a server."""

    command: str
    params: tuple[str, ...] = field(default=(), repr=_size)
    nick: str = ""
    user: str = ""
    host: str = ""
    tags: Mapping[str, str] = field(factory=dict, repr=_size)
    parts: Sequence[str] = field(default=(), repr=_size)
    """Of a message of several lines: those that it came in."""

    def __getitem__(self, at: int) -> str:
        """A parameter; "" where there is none."""
        return self.params[at] if at < len(self.params) else ""

    @property
    def last(self) -> str:
        """The last parameter: the words of most lines; "" where there is none."""
        return self.params[-1] if self.params else ""

    @property
    def mask(self) -> str:
        """Who sent it: `nick!user@host`, as far as it says."""
        return f"{self.nick}!{self.user}@{self.host}" if self.user else self.nick


class Framer:
    """Bytes to lines. A line that is none is passed over; one too long is cut off."""

    def __init__(self, charset: str = "cp1252") -> None:
        """`charset`: of a line that is no UTF-8."""
        self._charset = charset
        self._held = b""
        self._skipping = False

    def feed(self, data: bytes) -> list[Line]:
        """The lines that are complete now."""
        *complete, self._held = (self._held + data).split(b"\n")
        lines: list[Line] = []
        for raw in complete:
            skipped, self._skipping = self._skipping, False
            line = None if skipped or len(raw) > _INPUT_BYTES else self._parse(raw)
            if line is not None:
                lines.append(line)
        if len(self._held) > _INPUT_BYTES:
            self._held, self._skipping = b"", True
        return lines

    def _parse(self, raw: bytes) -> Line | None:
        try:
            return _parse(_decoded(raw.rstrip(b"\r"), self._charset))
        except UnicodeDecodeError:
            return None


def _decoded(raw: bytes, charset: str) -> str:
    """A line as text: UTF-8, or else in the network's older charset. Tags are UTF-8, or it raises.

    Of UTF-8 that was cut inside a character, at a limit, all but that is kept.
    """
    tags, space, rest = raw.partition(b" ") if raw.startswith(b"@") else (b"", b"", raw)
    try:
        words = rest.decode()
    except UnicodeDecodeError:
        words = _whole_characters(rest) or rest.decode(charset, "replace")
    return (tags + space).decode() + words


def _whole_characters(raw: bytes) -> str:
    """UTF-8 without the pieces of characters with which the words begin, or the line ends.

    "" where it is none, or nothing that is left shows that it is.
    """
    head, colon, words = raw.partition(b" :")
    kept = head + colon + _INSIDE.sub(b"", words, count=1)
    try:
        text = kept.decode()
    except UnicodeDecodeError as error:
        if error.reason != "unexpected end of data":
            return ""
        text = kept[: error.start].decode()
    return "" if text.isascii() else text


def _parse(text: str) -> Line | None:
    try:
        line = tokenise(text)
        mask = line.hostmask if line.source is not None else None
    except (ValueError, IndexError):
        return None
    tags = line.tags or {}
    if mask is None:
        return Line(line.command, tuple(line.params), tags=tags)
    nick, user, host = mask.nickname, mask.username or "", mask.hostname or ""
    return Line(line.command, tuple(line.params), nick, user, host, tags)


def encode(command: str, params: Sequence[str], tags: Mapping[str, str] | None = None) -> bytes:
    """A line's bytes, CR LF included; nothing in a parameter ends it early (G7)."""
    clean = [one.translate(_UNSAFE) for one in params]
    # One that is left empty would make the next one take its place.
    words = [one.replace(" ", "").lstrip(":") or "*" for one in clean[:-1]]
    safe = {name: value.translate(_UNSAFE) for name, value in tags.items()} if tags else None
    made = build(command, [*words, *clean[-1:]], tags=safe)
    return made.format().encode("utf-8", "replace") + b"\r\n"


_RFC: Final = str.maketrans("{}|^", "[]\\~")
_STRICT: Final = str.maketrans("{}|", "[]\\")
_STRICT_NAMES: Final = ("strict-rfc1459", "rfc1459-strict")


def fold(name: str, mapping: str = "rfc1459") -> str:
    """A nick's or channel's name as servers compare it (ISUPPORT CASEMAPPING)."""
    lower = "".join(one.lower() if one.isascii() else one for one in name)
    if mapping == "ascii":
        return lower
    return lower.translate(_STRICT if mapping in _STRICT_NAMES else _RFC)


def time_of(line: Line) -> int | None:
    """When a line was said, milliseconds since 1970, if the server says so, and can be right."""
    try:
        at = datetime.fromisoformat(line.tags["time"])
        ms = int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
    except (KeyError, ValueError, OverflowError):
        return None
    return ms if 0 <= ms < _LATEST else None


def number_of(value: str) -> int:
    """A number that a server names; 0: it names none that makes sense."""
    return int(value) if 0 < len(value) <= _DIGITS and value.isascii() and value.isdecimal() else 0


def said_there(text: str, secrets: Iterable[str] = ()) -> str:
    """Words of a server, or of somebody there, to be shown in a log or a notice of the bridge.

    One line without controls, cut off; and without what the bridge told the server in confidence,
    should it say that again.
    """
    for one in secrets:
        if one:
            text = text.replace(one, "***")
    words = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return words if len(words) <= _WORDS else f"{words[:_WORDS]}…"
