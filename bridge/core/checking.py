"""`ofc-bridge check` for the rooms (trio).

Invites that can be read, at relays that answer; and a room for each portal.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import trio

from bridge.core.attached import given_by_members
from bridge.core.journal import Journal
from bridge.core.meant import MeantRooms
from bridge.core.network import Finding
from bridge.core.settings import BridgeSettings, Settings
from ofcd.client import VaultLocked, open_client, parse_link
from ofcd.client.applog import get_log
from ofcd.client.keyfile import key_of
from ofcd.client.vault import Vault
from ofcd.errors import OfcError

__all__ = ["check_portals", "check_rooms"]

_SECONDS: Final = 15.0


async def check_rooms(settings: BridgeSettings, report: Callable[[Finding], None]) -> None:
    """Look at each invite and ask its relay for a connection; no invite is used."""
    if not settings.join and not await trio.Path(settings.vault).exists():
        report(
            Finding(
                False,
                "[bridge] join is empty and there is no vault yet, so the bridge is in no room: "
                "put in what `ofc invite ROOM --bridge` says",
            )
        )
    relays: dict[str, str] = {}
    for number, link in enumerate(settings.join, 1):
        try:
            url = parse_link(link).relay_url
        except OfcError as error:
            report(Finding(False, f"[bridge] join: link {number} is no invite: {error}"))
            continue
        if url not in relays:
            relays[url] = await _reached(url)
            why = relays[url]
            report(Finding(not why, f"relay {url}: {why or 'answers'}"))


async def check_portals(settings: Settings, report: Callable[[Finding], None]) -> None:
    """Whether each portal means a room that the bridge is in, by what is in its vault.

    Without a vault the bridge is in no room yet, and nothing can be said; nobody is called.
    """
    own = settings.bridge
    if not await trio.Path(own.vault).exists():
        return
    try:
        vault = Vault.open(Path(own.vault), key_of(Path(own.key_file), make=False))
    except VaultLocked:
        report(Finding(True, "the bridge runs: which portals have no room, its log says"))
        return
    except OfcError as error:
        report(Finding(False, f"[bridge] vault: {error}"))
        return
    with vault:
        async with open_client(vault, dial=_nobody, software="ofc-bridge") as client:
            given = given_by_members(vault, own.join)
            meant = MeantRooms(settings, client, Journal(), get_log("bridge"), given.__contains__)
            for portal in settings.portals:
                why = meant.trouble(portal)
                where = f"{portal.room} to {portal.place} on {portal.network}"
                report(
                    Finding(not why, f"[[portal]] {where}: {why or 'the bridge is in the room'}")
                )


@asynccontextmanager
async def _nobody(_url: str) -> AsyncIterator[Any]:
    """The rooms are looked at as they are in the vault: no relay is called for that."""
    await trio.Event().wait()
    yield


async def _reached(url: str) -> str:
    """Why a relay can not be reached; "": it can."""
    where = urlsplit(url)
    secure = where.scheme == "wss"
    try:
        with trio.fail_after(_SECONDS):
            port = where.port or (443 if secure else 80)
            if secure:
                async with await trio.open_ssl_over_tcp_stream(where.hostname or "", port) as tls:
                    await tls.do_handshake()
            else:
                await (await trio.open_tcp_stream(where.hostname or "", port)).aclose()
            return ""
    except trio.TooSlowError:
        return "it does not answer"
    except (OSError, ssl.SSLError, trio.BrokenResourceError) as error:
        cause = error.__cause__ if isinstance(error, trio.BrokenResourceError) else error
        return f"it can not be reached: {cause}"
