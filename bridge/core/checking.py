"""`ofc-bridge check` for the rooms: invites that can be read, at relays that answer (trio)."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import trio

from bridge.core.network import Finding
from bridge.core.settings import BridgeSettings
from ofcd.client import parse_link
from ofcd.errors import OfcError

__all__ = ["check_rooms"]

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
