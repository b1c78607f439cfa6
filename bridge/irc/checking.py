"""`ofc-bridge check` for IRC: connect, log in, join each channel (trio)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final

import trio

from bridge.core.errors import NetworkError
from bridge.core.network import Finding, PlaceInfo
from bridge.irc.connection import Connection, Lost
from bridge.irc.dialing import Dialer, credentials_of
from bridge.irc.puppets import JOIN_ERRORS
from bridge.irc.settings import IrcPlace, IrcSettings
from bridge.irc.wire import Line, said_there
from ofcd.errors import ConfigError

__all__ = ["check"]

_CHECK_SECONDS: Final = 30.0


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
        report(Finding(False, f"{where}: {error}"))
        return
    report(Finding(True, f"{where}: connected as {connection.nick}"))
    if not connection.login.secure:
        report(Finding(False, f"{where}: without TLS anybody on the way reads along"))
    if connection.nick != settings.nick:
        report(Finding(False, f"{where}: the nick {settings.nick} is taken"))
    missing = {"message-tags", "server-time"} - connection.caps
    if missing:
        report(Finding(True, f"{where}: without {', '.join(sorted(missing))}, and that is fine"))
    await _check_places(connection, places, report)
    await connection.aclose()


async def _check_places(
    connection: Connection,
    places: Mapping[str, PlaceInfo[IrcPlace]],
    report: Callable[[Finding], None],
) -> None:
    left = list(places)
    joined = trio.Event()

    async def look(line: Line) -> None:
        is_in = line.command == "JOIN" and connection.is_me(line.nick)
        if not is_in and line.command not in JOIN_ERRORS:
            return
        channel = connection.fold(line[0] if is_in else line[1])
        for place in [one for one in left if connection.fold(one) == channel]:
            left.remove(place)
            why = said_there(line.last, connection.login.who.secrets)
            report(Finding(is_in, f"{place}: {'joined' if is_in else why}"))
        if not left:
            joined.set()

    with trio.move_on_after(_CHECK_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.run, look)
            with suppress(Lost):
                for place, info in places.items():
                    key = [info.options.key] if info.options.key else []
                    await connection.send("JOIN", place, *key)
            await joined.wait()
            nursery.cancel_scope.cancel()
    for place in left:
        report(Finding(False, f"{place}: the server does not answer the JOIN"))
