"""One small page by HTTP(S), from an address that a stranger named: bounded in every way.

No redirect is followed, no address dialled that is not `allowed`, nothing longer than asked for is
read, and all of it has a deadline.
"""

from __future__ import annotations

import ssl
from typing import Final
from urllib.parse import urlsplit

import h11
import trio

from ofcd.wire.client import Allowed, connect
from ofcd.wire.errors import BadAddress, DialTimeout, NoPage, TlsFailed, Unreachable

__all__ = ["fetch_page"]

_READ: Final = 4096
_BROKEN: Final = (trio.BrokenResourceError, trio.ClosedResourceError)


async def fetch_page(
    url: str,
    *,
    max_bytes: int,
    seconds: float,
    allowed: Allowed | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> bytes:
    """The body of the page at `url`. Raises a `DialError`."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = (parts.hostname or "").encode("idna").decode()
        authority = parts.netloc.encode("idna").decode()
    except ValueError:  # UnicodeError, too: labels that no name may have
        raise BadAddress(f"{url!r} is not the address of a page") from None
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        raise BadAddress(f"{url!r} is not the address of a page")
    try:
        with trio.fail_after(seconds):
            socket = await connect(host, port, seconds, allowed)
            try:
                stream: trio.abc.Stream = socket
                if parts.scheme == "https":
                    stream = trio.SSLStream(
                        socket,
                        ssl_context or ssl.create_default_context(),
                        server_hostname=host,
                        https_compatible=True,
                    )
                return await _get(stream, authority, parts.path or "/", max_bytes)
            finally:
                await trio.aclose_forcefully(socket)
    except trio.TooSlowError:
        raise DialTimeout(f"{url} was not had within {seconds:g} seconds") from None
    except ssl.SSLError as error:
        raise TlsFailed(f"no trusted TLS connection for {url} ({error})") from None
    except _BROKEN as error:
        raise Unreachable(f"the connection for {url} broke ({error.__cause__ or error})") from None


async def _get(stream: trio.abc.Stream, host: str, path: str, max_bytes: int) -> bytes:
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=8 * 1024)
    request = h11.Request(
        method="GET", target=path, headers=[("Host", host), ("Connection", "close")]
    )
    await stream.send_all(http.send(request) + http.send(h11.EndOfMessage()))
    body = bytearray()
    while True:
        try:
            event = http.next_event()
        except h11.RemoteProtocolError as error:
            raise NoPage(f"{host} answered no HTTP ({error})") from None
        if event is h11.NEED_DATA:
            http.receive_data(bytes(await stream.receive_some(_READ)))
        elif isinstance(event, h11.Response):
            if event.status_code != 200:
                raise NoPage(f"{host}{path}: HTTP {event.status_code}")
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > max_bytes:
                raise NoPage(f"{host}{path} is longer than {max_bytes} bytes")
        elif isinstance(event, h11.EndOfMessage):
            return bytes(body)
        elif isinstance(event, h11.ConnectionClosed):
            raise NoPage(f"{host}{path}: the answer broke off")
