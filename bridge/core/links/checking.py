"""`ofc-bridge check` for links: whether the public URL leads to this process (trio)."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import h11
import trio

from bridge.core.links.desk import passphrase_of
from bridge.core.links.pages import NOTHING_HERE, Pages
from bridge.core.links.settings import LinksSettings
from bridge.core.links.shelf import Shelf
from ofcd.client.applog import get_log
from ofcd.errors import ConfigError

__all__ = ["check_links"]

_SECONDS: Final = 15.0
_ANSWER_BYTES: Final = 65536


async def check_links(
    settings: LinksSettings,
    report: Callable[[bool, str], None],
    context: ssl.SSLContext | None = None,
) -> None:
    """Listen as configured, ask at the public URL, and say whether the answer is from here."""
    if not settings.public_url:
        return
    try:
        passphrase_of(settings.passphrase_file)
    except ConfigError as error:
        report(False, f"[links] {error}")
    pages = Pages(settings, Shelf(settings.folder), lambda _: None, get_log("bridge"))
    taken: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_serve, pages, taken)
        await pages.listening.wait()
        good, text = await _fetched(settings.public_url, context)
        if not good and taken:
            report(False, taken[0])
        report(good, f"[links] {settings.public_url}: {text}")
        nursery.cancel_scope.cancel()


async def _serve(pages: Pages, taken: list[str]) -> None:
    try:
        await pages.run()
    except ConfigError as error:
        # Perhaps by a bridge that runs with these settings: then it answers, and all is well.
        taken.append(str(error))
        pages.listening.set()


async def _fetched(public_url: str, context: ssl.SSLContext | None) -> tuple[bool, str]:
    url = urlsplit(public_url)
    host, tls = url.hostname or "", url.scheme == "https"
    try:
        with trio.fail_after(_SECONDS):
            port = url.port or (443 if tls else 80)
            stream: trio.abc.Stream
            if tls:
                stream = await trio.open_ssl_over_tcp_stream(
                    host, port, ssl_context=context or ssl.create_default_context()
                )
            else:
                stream = await trio.open_tcp_stream(host, port)
            async with stream:
                body = await _body(stream, url.netloc, f"{url.path.rstrip('/')}/{'A' * 43}")
    except (OSError, trio.BrokenResourceError, h11.ProtocolError) as error:
        return False, f"can not be reached: {error}"
    except trio.TooSlowError:
        return False, f"does not answer within {_SECONDS:g} seconds"
    if body == NOTHING_HERE:
        return True, "leads to this bridge"
    return False, "leads to something else: have the proxy pass it on to [links] address and port"


async def _body(stream: trio.abc.Stream, host: str, path: str) -> bytes:
    http = h11.Connection(h11.CLIENT)
    headers = [("host", host), ("user-agent", "ofc-bridge"), ("connection", "close")]
    request = http.send(h11.Request(method="GET", target=path, headers=headers)) or b""
    await stream.send_all(request + (http.send(h11.EndOfMessage()) or b""))
    body = b""
    while len(body) < _ANSWER_BYTES:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(bytes(await stream.receive_some(4096)))
        elif isinstance(event, h11.Data):
            body += event.data
        elif not isinstance(event, h11.Response | h11.InformationalResponse):
            break
    return body
