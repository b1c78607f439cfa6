"""From an open connection to a registered one: CAP 302, SASL, NICK (sans-IO; I4).

SASL: EXTERNAL where there is a client certificate, else SCRAM-SHA-256, else PLAIN, of what the
server offers. Where the settings require it, nothing else is said before it has succeeded.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Final

from attrs import define, field
from scramp import ScramClient, ScramException

from bridge.core.errors import NetworkError
from bridge.irc.wire import Line, number_of

__all__ = ["WANTED", "Credentials", "Login", "Upgrade", "sts_values"]

WANTED: Final = frozenset(
    {
        "account-notify",
        "account-tag",
        "away-notify",
        "batch",
        "cap-notify",
        "chghost",
        "draft/chathistory",
        "draft/message-redaction",
        "draft/multiline",
        "draft/relaymsg",
        "echo-message",
        "extended-join",
        "labeled-response",
        "message-tags",
        "multi-prefix",
        "sasl",
        "server-time",
        "setname",
        "userhost-in-names",
    }
)
_CHUNK: Final = 400
_NICK_TRIES: Final = 8
_FOREVER: Final = 10 * 365 * 86_400
"""Seconds."""
_SCRAM: Final = "SCRAM-SHA-256"
_ITERATIONS: Final = range(4096, 500_001)
"""Of SCRAM (RFC 7677). Fewer would give the password away to who listens; more would hold up all
that the bridge does."""
_CHALLENGE: Final = 16_384
"""Characters of a challenge."""
_OFFERED: Final = 500
"""Capabilities of a server that are noted."""
_MESSAGE = tuple[str, ...]


class Upgrade(NetworkError):
    """The server wants TLS (STS), and nothing more is said without it."""

    code = "bridge_upgrade"

    def __init__(self, port: int) -> None:
        super().__init__("the server wants TLS")
        self.port = port


def sts_values(value: str) -> tuple[int, int | None]:
    """An STS policy: its port (0: none that is one), and its duration in seconds."""
    said = dict(one.partition("=")[::2] for one in value.split(",") if one)
    port, duration = said.get("port", ""), said.get("duration", "")
    is_port = port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536
    is_duration = duration.isascii() and duration.isdecimal()
    return int(port) if is_port else 0, min(int(duration[:12]), _FOREVER) if is_duration else None


@define
class Credentials:
    """Who the bridge is at a server."""

    nick: str
    username: str
    realname: str
    server_password: str = field(default="", repr=False)
    account: str = ""
    password: str = field(default="", repr=False)
    has_certificate: bool = False
    sasl_required: bool = True
    others: tuple[str, ...] = ()
    """Nicks to try where that one is taken; (): made from it."""
    webirc: tuple[str, str, str, str] = field(default=("", "", "", ""), repr=False)
    """Password, gateway, host and address of whom this connection is for (WEBIRC)."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What no log may show, even if the server says it."""

    @property
    def wants_sasl(self) -> bool:
        """Whether there is anything to log in with."""
        return bool(self.account) or self.has_certificate


class Login:
    """Feed it lines; take what is to be said from `out`."""

    def __init__(self, who: Credentials, *, secure: bool = True) -> None:
        """Not `secure`: the server is asked for its STS policy before anything else is said."""
        self.who = who
        self.secure = secure
        self.nick = who.nick
        self.offered: dict[str, str] = {}
        self.caps: set[str] = set()
        self.done = False
        self.account = ""
        self.out: list[_MESSAGE] = [("CAP", "LS", "302")]
        self._mechanisms: list[str] = []
        self._scram: ScramClient | None = None
        self._challenge = ""
        self._proven = False
        self._tries = 0
        self._named = False
        self.begun = False
        if secure:
            self.begin()

    def begin(self) -> None:
        """Say who it is: the server has no STS policy, or does not know what that is."""
        if self.begun:
            return
        self.begun = True
        if self.who.webirc[0]:
            self.out.append(("WEBIRC", *self.who.webirc))
        if self.who.server_password:
            self.out.append(("PASS", self.who.server_password))
        if not (self.who.wants_sasl and self.who.sasl_required):
            self._say_who()

    def _say_who(self) -> None:
        if not self._named:
            self._named = True
            self.out.append(("NICK", self.nick))
            self.out.append(("USER", self.who.username, "0", "*", self.who.realname))

    def take(self, line: Line) -> None:
        """One line from the server; raises `NetworkError` where it ends here."""
        match line.command:
            case "CAP":
                self._cap(line)
            case "AUTHENTICATE":
                self._authenticate(line[0])
            case "900":
                self.account = line[2]
            case "903" | "907":
                self._sasl_done()
            case "902" | "904" | "905" | "906" | "908":
                self._sasl_failed(line)
            case "421" | "451" if line[1].upper() == "CAP" or not self.begun:
                self.begin()
                self._no_sasl("the server knows no capabilities")
                self._end()
            case "432" | "433" | "436" | "437":
                self._other_nick(line)
            case "464" | "465" | "463" | "466":
                raise NetworkError(f"the server does not let the bridge in: {line.last}")
            case "001":
                if self.who.wants_sasl and self.who.sasl_required and not self._logged_in:
                    raise NetworkError("the server went on without SASL, which is required")
                self.nick = line[0] or self.nick
                self.done = True

    _logged_in = False

    # -- capabilities ----------------------------------------------------------------------------

    def _cap(self, line: Line) -> None:
        what, listed = line[1].upper(), line.last.split()
        more = line[2] == "*"
        if what in ("LS", "NEW"):
            for one in listed:
                name, _, value = one.partition("=")
                if len(self.offered) < _OFFERED:
                    self.offered[name] = value
            self._heed_policy()
            if not more:
                self.begin()
                self._request()
        elif what == "ACK":
            for one in listed:
                if one.startswith("-"):
                    self.caps.discard(one[1:])
                elif one in WANTED:
                    self.caps.add(one)
            self._acknowledged()
        elif what == "NAK":
            if "sasl" in listed:
                self._no_sasl("the server does not let the bridge use SASL")
            self._end()
        elif what == "DEL":
            self.caps.difference_update(listed)
            for one in listed:
                self.offered.pop(one, None)

    def _heed_policy(self) -> None:
        port, _ = sts_values(self.offered.get("sts", ""))
        if port and not self.secure:
            raise Upgrade(port)

    def _request(self) -> None:
        wanted = sorted(WANTED & set(self.offered) - self.caps)
        if "sasl" in wanted and (not self.who.wants_sasl or self.done):
            wanted.remove("sasl")
        if self.who.wants_sasl and "sasl" not in self.offered and not self.done:
            self._no_sasl("the server offers no SASL")
        if wanted:
            self.out.append(("CAP", "REQ", " ".join(wanted)))
        elif not self.done:
            self._end()

    def _acknowledged(self) -> None:
        if self.done:
            return
        if "sasl" in self.caps and self.who.wants_sasl and not self._logged_in:
            self._begin_sasl()
        else:
            self._end()

    def _end(self) -> None:
        self.out.append(("CAP", "END"))
        self._say_who()

    # -- SASL ------------------------------------------------------------------------------------

    def _begin_sasl(self) -> None:
        offered = self.offered.get("sasl", "")
        known = offered.upper().split(",") if offered else ["EXTERNAL", "PLAIN"]
        ours = ["EXTERNAL"] if self.who.has_certificate else []
        ours += [_SCRAM, "PLAIN"] if self.who.account else []
        self._mechanisms = [one for one in ours if one in known]
        self._next_mechanism("it offers none that the bridge can use")

    def _next_mechanism(self, why: str) -> None:
        if not self._mechanisms:
            self._no_sasl(why)
            self._end()
            return
        self.out.append(("AUTHENTICATE", self._mechanisms[0]))

    def _authenticate(self, text: str) -> None:
        if not self._mechanisms:
            return
        self._challenge += "" if text == "+" else text
        if len(self._challenge) > _CHALLENGE:
            raise NetworkError("the server's SASL challenge has no end")
        if len(text) == _CHUNK:
            return
        challenge, self._challenge = self._challenge, ""
        try:
            answer = self._answer(b64decode(challenge, validate=True))
        except (ScramException, ValueError, UnicodeDecodeError):
            self.out.append(("AUTHENTICATE", "*"))
            return
        coded = b64encode(answer).decode()
        pieces = [coded[at : at + _CHUNK] for at in range(0, len(coded), _CHUNK)]
        if not pieces or len(pieces[-1]) == _CHUNK:
            pieces.append("+")
        self.out.extend(("AUTHENTICATE", piece) for piece in pieces)

    def _answer(self, challenge: bytes) -> bytes:
        who = self.who
        match self._mechanisms[0]:
            case "EXTERNAL":
                return b""
            case "PLAIN":
                return f"{who.account}\0{who.account}\0{who.password}".encode()
            case _:
                return self._scram_answer(challenge.decode())

    def _scram_answer(self, challenge: str) -> bytes:
        if self._scram is None:
            self._scram = ScramClient([_SCRAM], self.who.account, self.who.password)
            first: str = self._scram.get_client_first()
            return first.encode()
        if challenge.startswith("r="):
            count = number_of(challenge.rpartition(",i=")[2].partition(",")[0])
            if count not in _ITERATIONS:
                raise NetworkError(f"the server wants SCRAM with {count or 'no'} iterations")
            self._scram.set_server_first(challenge)
            final: str = self._scram.get_client_final()
            return final.encode()
        self._scram.set_server_final(challenge)  # raises if the server does not know the password
        self._proven = True
        return b""

    def _sasl_done(self) -> None:
        if self._mechanisms[:1] == [_SCRAM] and not self._proven:
            raise NetworkError("the server did not prove that it knows the password")
        self._logged_in = True
        self._mechanisms = []
        if not self.done:
            self._end()

    def _sasl_failed(self, line: Line) -> None:
        if not self._mechanisms:
            return
        if line.command == "908":
            return  # a list of mechanisms; the refusal itself follows
        self._mechanisms.pop(0)
        self._scram = None
        self._next_mechanism(f"the server refuses it: {line.last}")

    def _no_sasl(self, why: str) -> None:
        if self.who.wants_sasl and self.who.sasl_required:
            raise NetworkError(f"SASL is required, and {why}")

    # -- nick ------------------------------------------------------------------------------------

    def _other_nick(self, line: Line) -> None:
        if self.done:
            return
        self._tries += 1
        others = self.who.others
        if self._tries > (len(others) if others else _NICK_TRIES):
            raise NetworkError(f"no nick like {self.who.nick} is free: {line.last}")
        if others:
            self.nick = others[self._tries - 1]
            self.out.append(("NICK", self.nick))
            return
        base = self.who.nick[: max(1, 9 - len(str(self._tries)) - 1)]
        self.nick = f"{self.who.nick}_" if self._tries == 1 else f"{base}_{self._tries}"
        self.out.append(("NICK", self.nick))
