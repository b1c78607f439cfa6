"""From settings to a registered connection, the server's TLS policy obeyed (STS; trio)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Final, Protocol

import trio
from attrs import evolve

from bridge.core.errors import NetworkError
from bridge.core.network import Host
from bridge.core.secrets import read_secret
from bridge.irc.connection import Connection, open_stream
from bridge.irc.kept import Kept
from bridge.irc.login import Credentials, Login, Upgrade, sts_values
from bridge.irc.mirc import clean
from bridge.irc.nicks import nick_candidates, username_of
from bridge.irc.settings import IrcPlace, IrcSettings
from bridge.irc.wire import fold, said_there
from ofcd.errors import ConfigError
from ofcd.protocol.ids import MemberId

__all__ = [
    "Dialer",
    "Policies",
    "Policy",
    "ask_in",
    "channel_key",
    "credentials_of",
    "member_credentials",
    "nick_room",
]

_TABLE: Final = "sts"
_NICK_LENGTH: Final = 9
_IDENT_DIGITS: Final = 12
_SLOWEST: Final = 8
_SLOW_SECONDS: Final = 6 * 3600.0
"""For which a server that was flooded is spared."""


class Policy(Protocol):
    """Keeps what servers say of TLS."""

    def port(self, server: str) -> int:
        """Where the server wants TLS, as far as that still holds; 0: it has said nothing."""
        ...

    def keep(self, server: str, port: int, seconds: int) -> None:
        """It is reached by TLS at this port, and wants that for so long; 0: no longer."""
        ...

    def ended(self, server: str) -> None:
        """A connection by TLS has ended: its policy counts from now."""
        ...


class Policies:
    """In the bridge's vault: they hold across restarts."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._kept = Kept(host)

    def _read(self, server: str) -> tuple[int, int, int] | None:
        raw = self._kept.get(self._host.table(_TABLE), server)
        words = [] if not raw else raw.decode().split(" ")
        if len(words) == 2:  # of before the duration was kept
            words.append("0")
        return (int(words[0]), int(words[1]), int(words[2])) if words else None

    def port(self, server: str) -> int:
        """See `Policy`."""
        found = self._read(server)
        return found[0] if found is not None and found[1] > self._host.now() else 0

    def keep(self, server: str, port: int, seconds: int) -> None:
        """See `Policy`."""
        ends = self._host.now() + seconds * 1000
        record = f"{port} {ends} {seconds}".encode() if seconds else None
        self._kept.note(self._host.table(_TABLE), server, record)
        self._kept.keep()

    def ended(self, server: str) -> None:
        """See `Policy`."""
        found = self._read(server)
        if found is not None and found[2]:
            self.keep(server, found[0], found[2])


class Dialer:
    """Opens connections to one server."""

    def __init__(
        self,
        settings: IrcSettings,
        policies: Policy | None = None,
        open_: Callable[..., Awaitable[trio.abc.Stream]] = open_stream,
    ) -> None:
        """Without `policies`, what the server says of TLS is obeyed and not kept."""
        self._settings = settings
        self._policies = policies
        self._open = open_
        self._slower = 1
        self._slow_until = 0.0

    def _paced(self, settings: IrcSettings) -> IrcSettings:
        """At the pace that the server lets through, as far as it has said so."""
        if trio.current_time() >= self._slow_until:
            self._slower = 1
        return evolve(
            settings,
            burst=max(1, settings.burst // self._slower),
            line_seconds=settings.line_seconds * self._slower,
        )

    async def connect(self, who: Credentials) -> Connection:
        """Connect and log in; raises `NetworkError`, `ConfigError`.

        Without TLS the server is first asked whether it wants it; if it does, that connection ends
        before anything else is said on it.
        """
        settings = self._paced(self._settings)
        if not who.has_certificate:
            # A puppet that showed the bridge's certificate would be logged in as the bridge.
            settings = evolve(settings, client_cert_file="", regain="")
        tls, port = settings.tls, settings.port
        if not tls and self._policies is not None:
            wanted = self._policies.port(settings.server)
            tls, port = (True, wanted) if wanted else (tls, port)
        try:
            try:
                return await self._connect(settings, who, tls=tls, port=port)
            except Upgrade as upgrade:
                return await self._connect(settings, who, tls=True, port=upgrade.port)
        except NetworkError as error:
            raise NetworkError(said_there(str(error), who.secrets)) from None

    async def _connect(
        self, settings: IrcSettings, who: Credentials, *, tls: bool, port: int
    ) -> Connection:
        stream = await self._open(settings, tls=tls, port=port)
        connection = Connection(settings, stream, Login(who, secure=tls))
        try:
            await connection.register()
        except BaseException:
            with trio.CancelScope(shield=True):
                await connection.aclose()
            raise
        if tls and self._policies is not None:
            # Here the port that it names means nothing: this one is known to work.
            _, seconds = sts_values(connection.login.offered.get("sts", ""))
            if seconds is not None:
                self._policies.keep(self._settings.server, port, seconds)
        return connection

    def ended(self, connection: Connection, why: str) -> None:
        """A connection has ended. Where the server says that too much was said, less is said."""
        if "flood" in why.casefold():
            self._slower = min(_SLOWEST, self._slower * 2)
            self._slow_until = trio.current_time() + _SLOW_SECONDS
        if connection.login.secure and self._policies is not None:
            self._policies.ended(self._settings.server)


def credentials_of(settings: IrcSettings) -> Credentials:
    """Who the bridge itself is at the server. Raises `ConfigError` for a file of its settings."""
    files = (settings.password_file, settings.account_password_file, settings.webirc_password_file)
    return Credentials(
        nick=settings.nick,
        username=settings.username,
        realname=settings.realname,
        server_password=read_secret(settings.password_file),
        account=settings.account,
        password=read_secret(settings.account_password_file),
        has_certificate=bool(settings.client_cert_file),
        sasl_required=settings.sasl == "required",
        secrets=tuple(read_secret(one) for one in files),
    )


def nick_room(settings: IrcSettings, length: int) -> int:
    """Letters of a member's nick before its suffix; `length` as in `member_credentials`."""
    return max(2, (min(64, length) or _NICK_LENGTH) - len(settings.puppet_suffix))


def member_credentials(
    settings: IrcSettings,
    name: str,
    base: str,
    mid: MemberId,
    length: int,
    is_taken: Callable[[str], bool],
) -> Credentials:
    """Who a member's own connection is at the server.

    `base`: what the nick begins with, as `nick_bases` has it; `length`: of nicks there at most, 0
    where the server does not say; `is_taken`: which nicks are others' of this bridge. Raises
    `ConfigError` for a file of the settings, `NetworkError` where no nick is left.
    """
    ident = mid.hex()[:_IDENT_DIGITS]
    candidates = nick_candidates(
        base,
        mid.hex(),
        settings.puppet_suffix,
        min(64, length) or _NICK_LENGTH,
        lambda nick: is_taken(nick) or fold(nick) == fold(settings.nick),
    )
    if not candidates:
        raise NetworkError("no nick is left that is this member's alone")
    webirc = ("", "", "", "")
    if settings.webirc_password_file:
        password = read_secret(settings.webirc_password_file)
        host = f"{ident}.{settings.webirc_host}"
        webirc = (password, settings.webirc_gateway, host, _address(mid))
    return evolve(
        credentials_of(settings),
        nick=candidates[0],
        others=candidates[1:] or candidates,
        username=username_of(name, ident),
        realname=f"{clean(name)} ({settings.realname})",
        account="",
        password="",
        has_certificate=False,
        webirc=webirc,
    )


def _address(mid: MemberId) -> str:
    """An address that stands for a member, from the range that belongs to nobody (RFC 4193)."""
    digits = sha256(b"ofcd-webirc" + mid).hexdigest()[:16]
    words = [digits[at : at + 4] for at in range(0, 16, 4)]
    return "fd0f:c0f:c0f:c0f:" + ":".join(words)


def channel_key(place: IrcPlace) -> list[str]:
    """What a JOIN says behind the channel; raises `ConfigError` for its file."""
    key = read_secret(place.key_file) or place.key
    return [key] if key else []


async def ask_in(connection: Connection, host: Host, place: str, options: IrcPlace) -> bool:
    """Ask to be let into a channel. False: its key can not be read; the log says why.

    Raises `Lost`.
    """
    try:
        key = channel_key(options)
    except ConfigError as error:
        host.log.error("a channel's key can not be read", why=str(error))
        return False
    await connection.paced()
    await connection.send("JOIN", place, *key)
    return True
