"""Opening links: dial a relay by URL, or speak ofc.1 over a stream that is already open."""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

import trio
from attrs import frozen
from wsproto import ConnectionType, WSConnection
from wsproto.connection import Connection
from wsproto.events import AcceptConnection, Event, RejectConnection, Request
from wsproto.utilities import RemoteProtocolError

from ofcd.wire.errors import (
    BadAddress,
    DialError,
    DialTimeout,
    Forbidden,
    NotARelay,
    RelayBusy,
    TlsFailed,
    Unreachable,
)
from ofcd.wire.limits import DialTimeouts, LinkLimits
from ofcd.wire.link import open_link
from ofcd.wire.stream import MessageStream, RemoteAddress, remote_of
from ofcd.wire.upgrade import SUBPROTOCOL

__all__ = ["Allowed", "client_stream", "connect", "dial"]

Allowed = Callable[[IPv4Address | IPv6Address], bool]
"""Whether an IP address may be dialled."""
_BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError)
_READ = 4096
_ANSWER_BYTES = 16 * 1024
_USUAL_WAIT = 10.0
_LONGEST_WAIT = 3600
_ADDRESSES = 8
"""Of one name, so many are tried."""


@frozen
class _Address:
    secure: bool
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@asynccontextmanager
async def dial(
    url: str,
    *,
    timeouts: DialTimeouts | None = None,
    limits: LinkLimits | None = None,
    ssl_context: ssl.SSLContext | None = None,
    allowed: Allowed | None = None,
) -> AsyncIterator[MessageStream]:
    """Open a link to the relay at `url` (ws:// or wss://, path /ofc unless given).

    TLS is verified against the system's authorities unless `ssl_context` says otherwise. `allowed`
    says of each IP address whether it may be dialled: for an address that a stranger gave. The
    link closes when the block ends. Raises a DialError, before the block begins.
    """
    timeouts = timeouts or DialTimeouts()
    address = _parse(url)
    socket = await connect(address.host, address.port, timeouts.connect, allowed)
    try:
        with _within(timeouts.handshake, address.authority):
            stream: trio.abc.Stream = socket
            if address.secure:
                stream = await _start_tls(socket, address, ssl_context)
            frames = await _shake_hands(stream, address.authority, address.path)
        async with open_link(
            stream, frames, limits or LinkLimits(), remote=remote_of(stream)
        ) as messages:
            yield messages
    finally:
        await trio.aclose_forcefully(socket)


@asynccontextmanager
async def client_stream(
    stream: trio.abc.Stream,
    *,
    timeouts: DialTimeouts | None = None,
    limits: LinkLimits | None = None,
    host: str = "relay",
    path: str = "/ofc",
    remote: RemoteAddress | None = None,
) -> AsyncIterator[MessageStream]:
    """`dial` over a stream that is already open; it is closed when the block ends."""
    try:
        with _within((timeouts or DialTimeouts()).handshake, host):
            frames = await _shake_hands(stream, host, path)
        async with open_link(stream, frames, limits or LinkLimits(), remote=remote) as messages:
            yield messages
    finally:
        await trio.aclose_forcefully(stream)


def _parse(url: str) -> _Address:
    wrong = BadAddress(f"{url!r} is not a relay's address: it looks like wss://relay.example/ofc")
    if not url.isprintable():  # urlsplit would drop line breaks in silence
        raise wrong
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme not in ("ws", "wss") or not parts.hostname or parts.username is not None:
        raise wrong
    secure = parts.scheme == "wss"
    path = (parts.path if parts.path not in ("", "/") else "/ofc") + (
        f"?{parts.query}" if parts.query else ""
    )
    try:
        host = parts.hostname if ":" in parts.hostname else parts.hostname.encode("idna").decode()
    except UnicodeError:
        raise wrong from None
    if not path.isascii() or not path.isprintable() or " " in path:
        raise wrong
    return _Address(secure, host, port or (443 if secure else 80), path)


@contextmanager
def _within(seconds: float, authority: str) -> Iterator[None]:
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError:
        raise DialTimeout(
            f"{authority} did not answer within {seconds:g} seconds: check the address, or try "
            "again when the network is better"
        ) from None


async def connect(
    host: str, port: int, seconds: float, allowed: Allowed | None = None
) -> trio.SocketStream:
    """A TCP connection; only to addresses that are `allowed`, whatever the name resolves to."""
    authority = f"{host}:{port}"
    try:
        with _within(seconds, authority):
            if allowed is None:
                return await trio.open_tcp_stream(host, port)
            return await _connect_to_one(
                await _allowed_addresses(host, port, allowed), port, seconds
            )
    except OSError as error:
        raise Unreachable(
            f"no connection to {authority} ({_why(error)}): check the "
            "address, and whether the relay runs and a firewall lets you through"
        ) from error


def _why(error: OSError) -> str:
    """In the system's words; trio's own would name every address once more."""
    tried = getattr(error.__cause__, "exceptions", ())
    reasons = dict.fromkeys(os.strerror(one.errno) for one in tried if one.errno)
    return ", ".join(reasons) or error.strerror or str(error)


async def _allowed_addresses(host: str, port: int, allowed: Allowed) -> list[str]:
    """The addresses of a host that may be dialled. The name is not asked again."""
    found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
    addresses = [str(sockaddr[0]).partition("%")[0] for *_, sockaddr in found]
    # One that is forbidden among them is enough: nobody honest mixes the two.
    if not addresses or not all(allowed(ip_address(one)) for one in addresses):
        raise Forbidden(
            f"{host} is at an address that this relay does not dial: a private network, or this "
            "machine; name it in federation.allow_private if it is meant"
        )
    return list(dict.fromkeys(addresses))[:_ADDRESSES]


async def _connect_to_one(addresses: list[str], port: int, seconds: float) -> trio.SocketStream:
    """The first that answers, in turn, each in its share of the time: IPv6 may lead nowhere."""
    for left in range(len(addresses), 1, -1):
        with suppress(OSError), trio.move_on_after(seconds / len(addresses)):
            return await trio.open_tcp_stream(addresses[-left], port)
    return await trio.open_tcp_stream(addresses[-1], port)


async def _start_tls(
    stream: trio.SocketStream, address: _Address, context: ssl.SSLContext | None
) -> trio.SSLStream[trio.SocketStream]:
    secured = trio.SSLStream(
        stream,
        context or ssl.create_default_context(),
        server_hostname=address.host,
        https_compatible=True,
    )
    try:
        await secured.do_handshake()
    except _BROKEN as error:
        why = error.__cause__ or "the connection broke"
        raise TlsFailed(
            f"no trusted TLS connection to {address.authority} ({why}): check the name and its "
            "certificate; a relay without TLS is reached with ws://"
        ) from error
    return secured


async def _shake_hands(stream: trio.abc.Stream, authority: str, path: str) -> Connection:
    """The client's opening handshake (RFC 6455 section 4.1); returns the frame parser."""
    handshake = WSConnection(ConnectionType.CLIENT)
    hello = Request(host=authority, target=path, subprotocols=[SUBPROTOCOL])
    try:
        await stream.send_all(handshake.send(hello))
        answer = await _read_answer(stream, handshake, authority)
    except _BROKEN as error:
        raise Unreachable(
            f"the connection to {authority} broke during the handshake: try again"
        ) from error
    if not isinstance(answer, AcceptConnection):
        raise _rejected(answer, authority)
    if answer.subprotocol != SUBPROTOCOL or handshake.connection is None:
        raise _not_a_relay(authority, f"it did not choose {SUBPROTOCOL}")
    return handshake.connection


async def _read_answer(stream: trio.abc.Stream, handshake: WSConnection, authority: str) -> Event:
    left = _ANSWER_BYTES
    while left > 0:
        data = await stream.receive_some(_READ)
        if not data:
            raise _not_a_relay(authority, "it hung up")
        left -= len(data)
        try:
            handshake.receive_data(bytes(data))
        except (RemoteProtocolError, UnicodeError) as error:  # wsproto decodes headers as ASCII
            raise _not_a_relay(authority, str(error)) from error
        for event in handshake.events():
            return event  # what follows it belongs to the link
    raise _not_a_relay(authority, "its answer is too long")


def _rejected(answer: Event, authority: str) -> DialError:
    if not isinstance(answer, RejectConnection):
        return _not_a_relay(authority, "its answer makes no sense")
    if answer.status_code not in (429, 503):
        return _not_a_relay(authority, f"it answered HTTP {answer.status_code}")
    headers = dict(answer.headers)
    after = headers.get(b"retry-after", b"")
    seconds = float(min(int(after), _LONGEST_WAIT)) if after.isdigit() else _USUAL_WAIT
    return RelayBusy(
        f"{authority} takes no new links for now (HTTP {answer.status_code}): try again in "
        f"{seconds:g} seconds",
        seconds,
    )


def _not_a_relay(authority: str, why: str) -> NotARelay:
    return NotARelay(
        f"{authority} is not a relay that speaks {SUBPROTOCOL} ({why}): check the address, the "
        "path, ws:// against wss://, and the versions of both ends"
    )
