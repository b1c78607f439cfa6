"""SMTP as a client speaks it (RFC 5321, 3207, 4954), sans-IO: one mail to one address.

    client = SmtpClient("bridge.example", tls=Tls.STARTTLS, user="u", password="p")
    client.start(mail)              # then, until `client.outcome`:
    send(client.to_send()); client.receive(read())

Written anew: smtpproto, the one sans-IO client there is, takes a parsed message instead of the
bytes that were queued, and ends the link without telling the code when a server answers 554 to RCPT
or 550 to the mail itself, which is how servers refuse.
"""

from __future__ import annotations

import base64
import re
from enum import Enum, auto
from typing import Final

from attrs import define, field, frozen

from ofcd.errors import OfcError

__all__ = ["Letter", "Outcome", "SmtpClient", "SmtpError", "Tls", "without_secrets"]

_LINE: Final = 4096
_LINES: Final = 100
_QUESTIONS: Final = 2
"""What AUTH LOGIN asks: the user name and the password."""
_REPLY: Final = re.compile(rb"([2-5][0-9][0-9])([ -]?)(.*)", re.DOTALL)
_STATUS: Final = re.compile(r"\b[245]\.\d{1,3}\.\d{1,3}\b")
_PATIENCE: Final = 300.0


class SmtpError(OfcError):
    """The server does not speak SMTP, or not as we need it."""

    code = "smtp"


class Tls(Enum):
    """How the link is protected."""

    NONE = "none"
    STARTTLS = "starttls"
    TLS = "tls"


@frozen
class Letter:
    """A mail and its envelope."""

    sender: str
    """"" is the null sender."""
    recipient: str
    content: bytes = field(repr=lambda raw: f"<{len(raw)}>")


@frozen
class Outcome:
    """What the server said of a mail."""

    code: int
    status: str
    """Enhanced (RFC 3463), made from the code where the server gives none."""
    text: str
    at_recipient: bool = False
    """It was said of the address, not of the mail."""

    @property
    def accepted(self) -> bool:
        """The server has it now."""
        return 200 <= self.code < 300

    @property
    def for_now(self) -> bool:
        """It may be tried again."""
        return not 500 <= self.code < 600


class _Step(Enum):
    GREETING = auto()
    EHLO = auto()
    STARTTLS = auto()
    HANDSHAKE = auto()
    AUTH = auto()
    READY = auto()
    MAIL = auto()
    RCPT = auto()
    DATA = auto()
    BODY = auto()
    RSET = auto()
    QUIT = auto()


_PATIENCES: Final = {_Step.DATA: 120.0, _Step.BODY: 600.0}


@define(eq=False)
class SmtpClient:
    """One link."""

    name: str
    tls: Tls = Tls.STARTTLS
    user: str = ""
    password: str = field(default="", repr=False)
    ready: bool = False
    """A mail may be started."""
    outcome: Outcome | None = None
    """Of the mail that was started last."""
    replies: int = 0
    """How many the server has given, each of them whole."""
    wants_tls: bool = False
    """The shell has to make the link a TLS one, then call `secured`."""
    committed: bool = False
    """The end of the mail was sent: the server may have it, whatever happens now."""
    _step: _Step = _Step.GREETING
    _secure: bool = False
    _buffer: bytearray = field(factory=bytearray, repr=False)
    _lines: list[str] = field(factory=list, repr=False)
    _out: bytearray = field(factory=bytearray, repr=False)
    _features: dict[str, str] = field(factory=dict)
    _letter: Letter | None = None
    _dry: bool = False
    _asked: int = 0

    def __attrs_post_init__(self) -> None:
        self._secure = self.tls is Tls.TLS

    def to_send(self) -> bytes:
        """What has to be sent now."""
        raw = bytes(self._out)
        self._out.clear()
        return raw

    @property
    def patience(self) -> float:
        """Seconds that the server may take for its next reply (RFC 5321, 4.5.3.2)."""
        return _PATIENCES.get(self._step, _PATIENCE)

    @property
    def size_limit(self) -> int:
        """The largest mail that the server says it takes; 0: it does not say."""
        shown = self._features.get("SIZE", "")
        return int(shown) if shown.isdecimal() and len(shown) < 16 else 0

    def start(self, letter: Letter, *, dry: bool = False) -> None:
        """Send a mail; `outcome` is None until it is known.

        `dry`: only ask whether it would be taken from there and for whom, and take that back.
        """
        if not self.ready:
            raise SmtpError("the link is not ready for a mail")
        if any(ord(one) < 33 or one in "<>" for one in letter.sender + letter.recipient):
            raise SmtpError("an address holds what no address may")
        self.ready, self.outcome, self.committed = False, None, False
        self._letter, self._dry = letter, dry
        size = f" SIZE={len(letter.content)}" if "SIZE" in self._features else ""
        self._command(_Step.MAIL, f"MAIL FROM:<{letter.sender}>{size}")

    def quit(self) -> None:
        """Say goodbye."""
        self._command(_Step.QUIT, "QUIT")

    def secured(self) -> None:
        """The link is a TLS one now: all that was offered before is forgotten (RFC 3207, 4.2)."""
        self.wants_tls, self._secure = False, True
        self._command(_Step.EHLO, f"EHLO {self.name}")

    def receive(self, raw: bytes) -> None:
        """Bytes came; raises `SmtpError`."""
        self._buffer += raw
        while (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end]).rstrip(b"\r")
            del self._buffer[: end + 1]
            self._line(line)
        if len(self._buffer) > _LINE:
            raise SmtpError("the server sent a line without end")

    def _line(self, line: bytes) -> None:
        found = _REPLY.fullmatch(line)
        if found is None or len(line) > _LINE or len(self._lines) >= _LINES:
            raise SmtpError("the server does not speak SMTP")
        self._lines.append(found[3].decode("utf-8", "replace"))
        if found[2] != b"-":
            lines, self._lines = self._lines, []
            self.replies += 1
            self._reply(int(found[1]), lines)

    def _command(self, step: _Step, line: str) -> None:
        self._step = step
        self._out += line.encode("utf-8") + b"\r\n"

    def _reply(self, code: int, lines: list[str]) -> None:
        good = 200 <= code < 400
        match self._step:
            case _Step.GREETING:
                self._require(code == 220, code, lines)
                self._command(_Step.EHLO, f"EHLO {self.name}")
            case _Step.EHLO:
                self._require(code == 250, code, lines)
                self._features = {
                    line.split(" ", 1)[0].upper(): line.partition(" ")[2] for line in lines[1:]
                }
                self._after_ehlo()
            case _Step.STARTTLS:
                self._require(code == 220, code, lines)
                if self._buffer:
                    raise SmtpError("something was said between STARTTLS and TLS: an attack")
                self._step, self.wants_tls = _Step.HANDSHAKE, True
            case _Step.AUTH:
                self._authenticating(code, lines)
            case _Step.MAIL | _Step.RCPT | _Step.DATA | _Step.BODY:
                self._in_mail(code, lines, good)
            case _Step.RSET:
                self._require(code == 250, code, lines)
                self._step, self.ready = _Step.READY, True
            case _Step.QUIT:
                pass
            case _:
                raise SmtpError(f"the server ended the link: {code} {_shown(lines)}")

    def _require(self, good: bool, code: int, lines: list[str]) -> None:
        if not good:
            raise SmtpError(f"the server says {code} {_shown(lines)}")

    def _after_ehlo(self) -> None:
        if self.tls is Tls.STARTTLS and not self._secure:
            if "STARTTLS" not in self._features:
                raise SmtpError("the server offers no STARTTLS: nothing was sent in clear")
            self._command(_Step.STARTTLS, "STARTTLS")
        elif self.user:
            self._authenticate()
        else:
            self._step, self.ready = _Step.READY, True

    def _authenticate(self) -> None:
        offered = self._features.get("AUTH", "").upper().split()
        if "PLAIN" in offered:
            secret = base64.b64encode(f"\0{self.user}\0{self.password}".encode()).decode()
            self._command(_Step.AUTH, f"AUTH PLAIN {secret}")
        elif "LOGIN" in offered:
            self._command(_Step.AUTH, "AUTH LOGIN")
        else:
            raise SmtpError("the server offers neither AUTH PLAIN nor LOGIN")

    def _authenticating(self, code: int, lines: list[str]) -> None:
        if code == 334:
            self._asked += 1
            if self._asked > _QUESTIONS:
                raise SmtpError("the server asks for more than a user name and a password")
            try:
                asked = base64.b64decode(lines[-1] + "==").lower()
            except ValueError:
                raise SmtpError("the server asks for something that is not base64") from None
            word = self.password if b"pass" in asked else self.user
            self._command(_Step.AUTH, base64.b64encode(word.encode()).decode())
            return
        if 400 <= code < 500:
            why = without_secrets(_shown(lines), self.user, self.password)
            raise SmtpError(f"the server can not check passwords now: {code} {why}")
        if code != 235:
            raise SmtpError(f"the server refuses the user name or password: {code}")
        self._step, self.ready = _Step.READY, True

    def _in_mail(self, code: int, lines: list[str], good: bool) -> None:
        letter = self._letter
        assert letter is not None  # noqa: S101 - every one of these steps has one
        if code == 421:
            raise SmtpError(f"the server ended the link: {_shown(lines)}")
        if not good:
            step = self._step
            self._end(code, lines, at_recipient=step is _Step.RCPT)
            if step is not _Step.BODY:
                self._command(_Step.RSET, "RSET")
        elif self._step is _Step.MAIL:
            self._command(_Step.RCPT, f"RCPT TO:<{letter.recipient}>")
        elif self._step is _Step.RCPT and self._dry:
            self._end(code, lines, at_recipient=True)
            self._command(_Step.RSET, "RSET")
        elif self._step is _Step.RCPT:
            self._command(_Step.DATA, "DATA")
        elif self._step is _Step.DATA:
            self._step, self.committed = _Step.BODY, True
            self._out += stuffed(letter.content)
        else:
            self._end(code, lines)

    def _end(self, code: int, lines: list[str], *, at_recipient: bool = False) -> None:
        text = _shown(lines)
        status = _STATUS.search(text)
        self.outcome = Outcome(
            code, status[0] if status else f"{code // 100}.0.0", text, at_recipient
        )
        self._letter = None
        if self._step is _Step.BODY:
            self._step, self.ready = _Step.READY, True


def stuffed(content: bytes) -> bytes:
    """A mail as DATA carries it: CRLF line ends, dots doubled, a dot at the end."""
    lines = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    return (
        b"".join((b"." if line[:1] == b"." else b"") + line + b"\r\n" for line in lines) + b".\r\n"
    )


def without_secrets(text: str, user: str, password: str) -> str:
    """What a server says to a login, which some servers begin with what they were told."""
    quoted = password.replace("\\", "\\\\").replace('"', '\\"')
    words = [f"\0{user}\0{password}", password]
    for secret in (*(base64.b64encode(one.encode()).decode() for one in words), quoted, password):
        text = text.replace(secret, "…") if password else text
    return text


def _shown(lines: list[str]) -> str:
    """A server's words, for a log or a room: one line, short."""
    return " ".join(" ".join(lines).split())[:200]
