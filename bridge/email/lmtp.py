"""LMTP as a server speaks it (RFC 2033), sans-IO: a reply for each recipient of a mail.

    for event in server.receive(raw):
        if isinstance(event, Arrived):
            for index, recipient in enumerate(event.recipients):
                server.answer(index, code, text)    # once that recipient's mail is committed
    send(server.to_send())

SMTP is taken too (EHLO): then there is one reply for all, the worst of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from attrs import define, field, frozen

from bridge.email import limits

__all__ = ["NO_ADDRESS", "Arrived", "LmtpServer"]

NO_ADDRESS: Final = (550, "5.1.1 No room has this address")
_LINE: Final = 2048
_RECIPIENTS: Final = 1000
_ERRORS: Final = 20
"""Of one link, since its last mail that was taken."""
_PATH: Final = re.compile(
    r'(?:FROM|TO):\s*<("[^"<>\r\n]{0,256}"@[^<>\s]{1,255}|[^<>\s]{0,512})>(.*)', re.IGNORECASE
)
_SIZE: Final = re.compile(r"\bSIZE=(\d{1,12})\b", re.IGNORECASE)
_DOT: Final = b"\r\n.\r\n"


@frozen
class Arrived:
    """A whole mail."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes = field(repr=lambda raw: f"<{len(raw)}>")


@define(eq=False)
class LmtpServer:
    """One link. `knows` says of an address whether mail to it is taken."""

    name: str
    knows: Callable[[str], bool]
    max_bytes: int = limits.MAIL_BYTES
    closing: bool = False
    """Send what is left and close."""
    _buffer: bytearray = field(factory=bytearray, repr=False)
    _out: bytearray = field(factory=bytearray, repr=False)
    _greeted: bool = False
    _smtp: bool = False
    _sender: str | None = None
    _recipients: list[str] = field(factory=list)
    _data: bytearray | None = None
    _too_large: bool = False
    _waiting: dict[int, tuple[int, str]] | None = None
    _errors: int = 0

    def __attrs_post_init__(self) -> None:
        self._say(220, f"{self.name} LMTP")

    def to_send(self) -> bytes:
        """What has to be sent now."""
        raw = bytes(self._out)
        self._out.clear()
        return raw

    def receive(self, raw: bytes) -> list[Arrived]:
        """Bytes came. After an `Arrived` nothing more is read until every recipient is answered."""
        self._buffer += raw
        return self._go_on()

    def _go_on(self) -> list[Arrived]:
        while self._waiting is None and not self.closing:
            if self._data is not None:
                if not self._take_data():
                    break
                if (arrived := self._end_of_data()) is not None:
                    return [arrived]
                continue
            end = self._buffer.find(b"\n")
            if end < 0:
                if len(self._buffer) > _LINE:
                    self._refuse_line()
                break
            line = bytes(self._buffer[:end]).rstrip(b"\r")
            del self._buffer[: end + 1]
            if len(line) > _LINE:
                self._refuse_line()
            else:
                self._command(line.decode("utf-8", "replace"))
        return []

    def answer(self, index: int, code: int, text: str) -> list[Arrived]:
        """What became of the mail for one recipient; returns what arrived after it."""
        waiting = self._waiting
        if waiting is None:
            return []
        waiting[index] = (code, text)
        if len(waiting) < len(self._recipients):
            return []
        if any(code < 300 for code, _ in waiting.values()):
            self._errors = 0
        if self._smtp:
            self._say(*max(waiting.values()))
        else:
            for at in range(len(self._recipients)):
                self._say(*waiting[at])
        self._reset()
        return self._go_on()

    def _say(self, code: int, text: str) -> None:
        self._out += f"{code} {text}\r\n".encode("ascii", "replace")

    def _refuse_line(self) -> None:
        self._say(500, "5.5.6 Line too long")
        self.closing = True

    def _wrong(self, code: int, text: str) -> None:
        self._say(code, text)
        self._errors += 1
        if self._errors > _ERRORS:
            self._say(421, "4.7.0 Too many errors")
            self.closing = True

    def _reset(self) -> None:
        self._sender, self._recipients, self._data = None, [], None
        self._too_large, self._waiting = False, None

    # -- commands --------------------------------------------------------------------------------

    def _command(self, line: str) -> None:
        word, _, rest = line.strip().partition(" ")
        match word.upper():
            case "LHLO" | "EHLO" | "HELO" as hello:
                self._hello(hello)
            case "MAIL":
                self._mail(rest)
            case "RCPT":
                self._rcpt(rest)
            case "DATA":
                self._start_data()
            case "RSET":
                self._reset()
                self._say(250, "2.0.0 Ok")
            case "NOOP":
                self._say(250, "2.0.0 Ok")
            case "VRFY":
                self._say(252, "2.0.0 Send it, we will see")
            case "QUIT":
                self._say(221, "2.0.0 Bye")
                self.closing = True
            case _:
                self._wrong(500, "5.5.2 Unknown command")

    def _hello(self, word: str) -> None:
        self._reset()
        self._greeted, self._smtp = True, word != "LHLO"
        if word == "HELO":
            self._say(250, self.name)
            return
        for feature in (self.name, "PIPELINING", "ENHANCEDSTATUSCODES", "8BITMIME", "SMTPUTF8"):
            self._out += f"250-{feature}\r\n".encode("ascii", "replace")
        self._say(250, f"SIZE {self.max_bytes}")

    def _mail(self, rest: str) -> None:
        found = _PATH.fullmatch(rest.strip())
        if not self._greeted or self._sender is not None:
            self._wrong(503, "5.5.1 Not now")
        elif found is None:
            self._wrong(501, "5.1.7 Bad sender")
        elif (size := _SIZE.search(found[2])) and int(size[1]) > self.max_bytes:
            self._say(552, f"5.3.4 At most {self.max_bytes} bytes")
        else:
            self._sender = found[1]
            self._say(250, "2.1.0 Ok")

    def _rcpt(self, rest: str) -> None:
        found = _PATH.fullmatch(rest.strip())
        if self._sender is None:
            self._wrong(503, "5.5.1 MAIL first")
        elif found is None or not found[1]:
            self._wrong(501, "5.1.3 Bad address")
        elif len(self._recipients) >= _RECIPIENTS:
            self._say(452, "4.5.3 Too many recipients")
        elif not self.knows(found[1]):
            self._nobody()
        else:
            self._recipients.append(found[1])
            self._say(250, "2.1.5 Ok")

    def _nobody(self) -> None:
        if self._smtp:
            self._wrong(*NO_ADDRESS)
        else:
            # Our own server asks this for strangers, and is not to be hung up on for their guesses.
            self._say(*NO_ADDRESS)

    def _start_data(self) -> None:
        if not self._recipients:
            self._wrong(503, "5.5.1 No valid recipients")
            return
        # The end is looked for as CRLF . CRLF: the line end before an empty mail's dot is ours.
        self._data, self._too_large = bytearray(b"\r\n"), False
        self._say(354, "End with <CRLF>.<CRLF>")

    # -- a mail's bytes --------------------------------------------------------------------------

    def _take_data(self) -> bool:
        """Move bytes from the buffer into the mail; whether its end was among them."""
        data = self._data
        assert data is not None  # noqa: S101 - called while there is one
        start = max(0, len(data) - len(_DOT))
        data += self._buffer
        self._buffer.clear()
        end = data.find(_DOT, start)
        if end >= 0:
            self._buffer += data[end + len(_DOT) :]
            del data[end:]
            return True
        if len(data) > self.max_bytes + limits.KIB:
            # The rest is read and not kept: the end has to be found before it can be refused.
            self._too_large = True
            del data[: len(data) - len(_DOT)]
        return False

    def _end_of_data(self) -> Arrived | None:
        data = self._data
        assert data is not None  # noqa: S101 - called at the end of one
        content = bytes(data[2:]).replace(b"\r\n..", b"\r\n.")
        if content[:2] == b"..":
            content = content[1:]
        if self._too_large or len(content) > self.max_bytes:
            for _ in self._recipients[: 1 if self._smtp else None]:
                self._say(552, f"5.3.4 At most {self.max_bytes} bytes")
            self._reset()
            return None
        self._data, self._waiting = None, {}
        return Arrived(self._sender or "", tuple(self._recipients), content + b"\r\n")
