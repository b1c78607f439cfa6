"""`ofc-bridge check` for IRC: connect, log in, join each channel (trio)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final

import trio

from bridge.core.errors import NetworkError
from bridge.core.network import Finding, PlaceInfo
from bridge.irc.connection import Connection, Lost
from bridge.irc.dialing import Dialer, channel_key, credentials_of, member_credentials
from bridge.irc.puppets import JOIN_ERRORS
from bridge.irc.settings import IrcPlace, IrcSettings
from bridge.irc.shared import RELAYED
from bridge.irc.wire import Line, number_of, said_there
from ofcd.errors import ConfigError
from ofcd.protocol.ids import MemberId

__all__ = ["check"]

_CHECK_SECONDS: Final = 30.0
_MODES_SECONDS: Final = 10.0
_NOBODY: Final = MemberId(bytes(32))
"""Whom the second connection stands for."""
_HERE: Final = ("localhost", "127.0.0.1", "::1")


async def check(
    settings: IrcSettings,
    places: Mapping[str, PlaceInfo[IrcPlace]],
    open_: Callable[..., Awaitable[trio.abc.Stream]],
    report: Callable[[Finding], None],
) -> None:
    """Connect, log in, join each channel, and report."""
    where = f"{settings.server}:{settings.port}"
    try:
        dialer = Dialer(settings, open_=open_)
        connection = await dialer.connect(credentials_of(settings))
    except (NetworkError, ConfigError) as error:
        named = str(error).startswith(where)
        report(Finding(False, str(error) if named else f"{where}: {error}"))
        return
    report(Finding(True, f"{where}: connected as {connection.nick}"))
    if not connection.login.secure:
        here = settings.server in _HERE
        why = "on this machine" if here else "anybody on the way reads along"
        report(Finding(here, f"{where}: without TLS, {why}"))
    if connection.nick != settings.nick:
        report(Finding(False, f"{where}: the nick {settings.nick} is taken"))
    missing = {"message-tags", "server-time"} - connection.caps
    if missing:
        report(Finding(True, f"{where}: without {', '.join(sorted(missing))}, and that is fine"))
    try:
        own = await _check_places(connection, places, report)
        await _check_members(settings, dialer, connection, own, places, report)
    finally:
        with trio.CancelScope(shield=True):
            await connection.aclose()


async def _check_places(
    connection: Connection,
    places: Mapping[str, PlaceInfo[IrcPlace]],
    report: Callable[[Finding], None],
) -> str:
    """Join each; returns the host of the bridge's own connection, as others see it."""
    look = _Look(connection, list(places), report)
    await look.run(places)
    for place, info in places.items():
        if place in look.joined:
            _check_speaking(connection, look, info, report)
    return look.host


async def _check_members(
    settings: IrcSettings,
    dialer: Dialer,
    relay: Connection,
    own: str,
    places: Mapping[str, PlaceInfo[IrcPlace]],
    report: Callable[[Finding], None],
) -> None:
    """A connection such as members get, beside the bridge's own, in their channels."""
    wanted = {
        place: info
        for place, info in places.items()
        if info.sends and info.options.mode == "puppets"
    }
    if not wanted:
        return
    where = f"{settings.server}:{settings.port}"
    try:
        length = number_of(relay.isupport.get("NICKLEN", ""))
        who = member_credentials(
            settings, settings.nick, settings.nick, _NOBODY, length, relay.is_me
        )
        connection = await dialer.connect(who)
    except (NetworkError, ConfigError) as error:
        report(Finding(False, f"{where}: no second connection, for a member's nick: {error}"))
        return
    try:
        report(Finding(True, f"{where}: a second connection, as {connection.nick}, for members"))
        look = _Look(connection, list(wanted), report, who=f" as {connection.nick}")
        await look.run(wanted)
        if settings.webirc_password_file and look.host:
            good = look.host != own
            words = (
                "has an address of its own, by WEBIRC"
                if good
                else (
                    "has the bridge's own address: the server takes no WEBIRC from here, or with "
                    "another password"
                )
            )
            report(Finding(good, f"{where}: {connection.nick} {words}"))
    finally:
        with trio.CancelScope(shield=True):
            await connection.aclose()


def _check_speaking(
    connection: Connection,
    look: _Look,
    info: PlaceInfo[IrcPlace],
    report: Callable[[Finding], None],
) -> None:
    place = info.place
    if info.sends and "m" in look.modes.get(place, "") and place not in look.voiced:
        who = (
            "the bridge" if info.options.mode != "puppets" else "the bridge and each member's nick"
        )
        report(
            Finding(False, f"{place}: only who has a voice may speak there (+m): give one to {who}")
        )
    if info.options.mode == "relaymsg" and RELAYED not in connection.caps:
        report(Finding(True, f"{place}: the server has no RELAYMSG, so it is as mode = relay"))


class _Look:
    """What the server says of the channels."""

    def __init__(
        self,
        connection: Connection,
        places: list[str],
        report: Callable[[Finding], None],
        who: str = "",
    ) -> None:
        """`who` joins, where that is not the bridge's own nick."""
        self._connection = connection
        self._places = list(places)
        self._report = report
        self._who = who
        self.host = ""
        """Of this connection, as others see it."""
        self._asked = 0
        self._told = trio.Event()
        self.left = places
        self.joined: set[str] = set()
        self.voiced: set[str] = set()
        """Where the bridge may speak whatever the modes are."""
        self.modes: dict[str, str] = {}
        self.all_answered = trio.Event()

    async def run(self, places: Mapping[str, PlaceInfo[IrcPlace]]) -> None:
        """Join each, and ask for its modes."""
        with trio.move_on_after(_CHECK_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._connection.run, self.take)
                with suppress(Lost):
                    for place, info in places.items():
                        await self._join(place, info.options)
                    await self.all_answered.wait()
                    with trio.move_on_after(_MODES_SECONDS):
                        seen = await self._connection.who_is(self._connection.nick)
                        self.host = "" if seen is None else seen.where.rpartition("@")[2]
                    with trio.move_on_after(_MODES_SECONDS):
                        await self.ask_modes()
                nursery.cancel_scope.cancel()
        for place in self.left:
            self._report(Finding(False, f"{place}{self._who}: the server does not answer the JOIN"))

    async def _join(self, place: str, options: IrcPlace) -> None:
        """Ask to be let in; raises `Lost`."""
        if options.key and not self._who:
            why = "its key stands in the settings: key_file keeps it in a file of its own"
            self._report(Finding(True, f"{place}: {why}"))
        try:
            key = channel_key(options)
        except ConfigError as error:
            self._report(Finding(False, f"{place}{self._who}: {error}"))
            key = []
        await self._connection.send("JOIN", place, *key)

    async def ask_modes(self) -> None:
        """Ask for the modes of what was joined; raises `Lost`."""
        if self.joined:
            for place in sorted(self.joined):
                await self._connection.send("MODE", place)
            await self._told.wait()

    async def take(self, line: Line) -> None:
        """A line from the server."""
        is_in = line.command == "JOIN" and self._connection.is_me(line.nick)
        if is_in or line.command in JOIN_ERRORS:
            self._answered(line, is_in)
        elif line.command == "353":
            status = self._status(line.last)
            self.voiced.update(self._named(line[2]) if status else ())
        elif line.command == "324":
            for place in self._named(line[1]):
                self.modes[place] = line[2]
            if self.joined <= set(self.modes):
                self._told.set()

    def _answered(self, line: Line, is_in: bool) -> None:
        for place in [
            one for one in self._named(line[0] if is_in else line[1]) if one in self.left
        ]:
            self.left.remove(place)
            why = said_there(line.last, self._connection.login.who.secrets)
            self.joined.update([place] if is_in else [])
            said = "joined" if is_in else why
            self._report(Finding(is_in, f"{place}: {said}{self._who}"))
        if not self.left:
            self.all_answered.set()

    def _named(self, channel: str) -> list[str]:
        folded = self._connection.fold(channel)
        return [one for one in self._places if self._connection.fold(one) == folded]

    def _status(self, names: str) -> bool:
        """Whether the bridge has a status there: at least a voice."""
        borne = (one.partition("!")[0] for one in names.split())
        return any(
            one[:1] in "~&@%+" and self._connection.is_me(one.lstrip("~&@%+")) for one in borne
        )
