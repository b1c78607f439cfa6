"""IMAP4rev1 as a client speaks it (RFC 3501, 2177), sans-IO: responses out of bytes.

Only what a mailbox that is read needs. `imaplib` and `imapclient` block: a thread that waits in
IDLE for 28 minutes can not be cancelled; the clients of asyncio do not run in trio.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import define, field, frozen

from bridge.email import limits
from ofcd.errors import OfcError

__all__ = ["ImapError", "ImapReader", "ImapRefused", "Response", "quoted"]

_LINE: Final = 1 * limits.MIB
_LITERAL: Final = re.compile(rb"\{(\d{1,12})\}\Z")
_NUMBER: Final = re.compile(rb"\* (\d{1,10}) ([A-Z]+)\b", re.IGNORECASE)


class ImapError(OfcError):
    """The server does not speak IMAP, or refuses."""

    code = "imap"


class ImapRefused(ImapError):
    """The server said NO to one command; the link is as good as before."""

    code = "imap_refused"


@frozen
class Response:
    """One response, its literals taken out."""

    line: bytes = field(repr=lambda raw: f"<{len(raw)}>")
    literals: tuple[bytes, ...] = field(default=(), repr=lambda all_: f"<{len(all_)}>")

    @property
    def tag(self) -> bytes:
        """What it begins with: `*`, `+`, or a command's tag."""
        return self.line.partition(b" ")[0]

    @property
    def is_ok(self) -> bool:
        """A tagged (or untagged) OK."""
        return self.line.partition(b" ")[2][:2].upper() == b"OK"

    @property
    def text(self) -> str:
        """For people: one short line."""
        return " ".join(self.line.decode("utf-8", "replace").split()[1:])[:200]

    def number(self, name: bytes) -> int | None:
        """The number of `* 12 EXISTS`."""
        found = _NUMBER.match(self.line)
        return int(found[1]) if found and found[2].upper() == name else None

    def code_number(self, name: bytes) -> int | None:
        """The number of `[UIDVALIDITY 7]`."""
        found = re.search(rb"\[" + name + rb" (\d{1,10})\]", self.line, re.IGNORECASE)
        return int(found[1]) if found else None

    def item(self, name: bytes) -> int | None:
        """The number of `UID 5` in a FETCH."""
        found = re.search(rb"[( ]" + name + rb" (\d{1,12})[) ]", self.line + b" ", re.IGNORECASE)
        return int(found[1]) if found else None


@define(eq=False)
class ImapReader:
    """Finds the responses in what a server sends."""

    max_literal: int = limits.MAIL_BYTES + limits.KIB
    _buffer: bytearray = field(factory=bytearray, repr=False)
    _line: bytes = b""
    _literals: list[bytes] = field(factory=list, repr=False)
    _wanted: int | None = None

    def receive(self, raw: bytes) -> list[Response]:
        """Bytes came; raises `ImapError`."""
        self._buffer += raw
        made: list[Response] = []
        while True:
            if self._wanted is not None:
                if len(self._buffer) < self._wanted:
                    return made
                self._literals.append(bytes(self._buffer[: self._wanted]))
                del self._buffer[: self._wanted]
                self._wanted = None
            end = self._buffer.find(b"\n")
            if end < 0:
                if len(self._buffer) > _LINE:
                    raise ImapError("the server sent a line without end")
                return made
            self._line += bytes(self._buffer[:end]).rstrip(b"\r")
            del self._buffer[: end + 1]
            if found := _LITERAL.search(self._line):
                self._begin_literal(int(found[1]))
                continue
            made.append(Response(self._line, tuple(self._literals)))
            self._line, self._literals = b"", []

    def _begin_literal(self, size: int) -> None:
        so_far = sum(map(len, self._literals))
        if so_far + size > self.max_literal or len(self._line) > _LINE or len(self._literals) > 99:
            raise ImapError("the server sent more than was asked for")
        self._wanted = size


def quoted(text: str) -> str:
    """A string of a command; raises `ImapError` for what none can hold."""
    if any(ord(one) < 32 or ord(one) > 126 for one in text):
        raise ImapError("names and passwords for IMAP have to be ASCII")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
