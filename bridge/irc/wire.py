"""IRC lines: framed and bounded here, parsed and formatted by irctokens (RFC 1459, IRCv3 tags)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from attrs import field, frozen
from irctokens.line import build, tokenise

__all__ = ["LINE_BYTES", "Framer", "Line", "encode", "fold", "time_of"]

LINE_BYTES: Final = 512
"""Of a line without its tags, CR LF included."""
_INPUT_BYTES: Final = 8191 + LINE_BYTES
_UNSAFE: Final = {ord(one): None for one in "\r\n\0"}


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

    def __getitem__(self, at: int) -> str:
        """A parameter; "" where there is none."""
        return self.params[at] if at < len(self.params) else ""

    @property
    def mask(self) -> str:
        """Who sent it: `nick!user@host`, as far as it says."""
        return f"{self.nick}!{self.user}@{self.host}" if self.user else self.nick


class Framer:
    """Bytes to lines. A line that is none is passed over; one too long is cut off."""

    def __init__(self) -> None:
        self._held = b""
        self._skipping = False

    def feed(self, data: bytes) -> list[Line]:
        """The lines that are complete now."""
        *complete, self._held = (self._held + data).split(b"\n")
        lines: list[Line] = []
        for raw in complete:
            skipped, self._skipping = self._skipping, False
            line = None if skipped or len(raw) > _INPUT_BYTES else _parse(raw.rstrip(b"\r"))
            if line is not None:
                lines.append(line)
        if len(self._held) > _INPUT_BYTES:
            self._held, self._skipping = b"", True
        return lines


def _parse(raw: bytes) -> Line | None:
    try:
        line = tokenise(raw)
        mask = line.hostmask if line.source is not None else None
    except (ValueError, IndexError):  # UnicodeDecodeError is a ValueError
        return None
    tags = line.tags or {}
    if mask is None:
        return Line(line.command, tuple(line.params), tags=tags)
    nick, user, host = mask.nickname, mask.username or "", mask.hostname or ""
    return Line(line.command, tuple(line.params), nick, user, host, tags)


def encode(command: str, params: Sequence[str], tags: Mapping[str, str] | None = None) -> bytes:
    """A line's bytes, CR LF included; nothing in a parameter ends it early (G7)."""
    clean = [one.translate(_UNSAFE) for one in params]
    words = [one.replace(" ", "").lstrip(":") for one in clean[:-1]]
    made = build(command, [*words, *clean[-1:]], tags=dict(tags) if tags else None)
    return made.format().encode("utf-8", "replace") + b"\r\n"


_RFC: Final = str.maketrans("{}|^", "[]\\~")


def fold(name: str, mapping: str = "rfc1459") -> str:
    """A nick's or channel's name as servers compare it (ISUPPORT CASEMAPPING)."""
    lower = "".join(one.lower() if one.isascii() else one for one in name)
    if mapping == "ascii":
        return lower
    return lower.translate(_RFC).replace("~", "^" if mapping == "rfc1459-strict" else "~")


def time_of(line: Line) -> int | None:
    """When a line was said, milliseconds since 1970, if the server says so."""
    try:
        return int(datetime.fromisoformat(line.tags["time"]).timestamp() * 1000)
    except (KeyError, ValueError, OverflowError):
        return None
