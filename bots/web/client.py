"""HTTP out: httpx on trio, to guarded addresses, bounded in size and time.

A name is resolved here, each address checked, and the connection made to a checked address: a name
that answers otherwise the next time (DNS rebinding) is not asked a next time. TLS still proves the
name. Redirects are followed here, too, each as guarded as the first request.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

import httpcore
import httpx
import trio
from attrs import field, frozen

from bots.web.errors import BadUrl, Forbidden, TooBig, Unanswered
from bots.web.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Fetched", "Network", "Web", "check_private", "checked_url", "place_of", "retry_after"]

DAY: Final = 24 * 3_600_000
MIB: Final = 1024 * 1024
URL_LENGTH: Final = 2_000
REDIRECTS: Final = 5
_MOVED: Final = frozenset({301, 302, 303, 307, 308})
_FOR_GOOD: Final = frozenset({301, 308})
AGENT: Final = "ofc-bot"


class Network(Protocol):
    """Names to addresses, and connections to addresses; tests have one in memory."""

    async def resolve(self, host: str, port: int) -> list[str]:
        """The numeric addresses of a name. Raises OSError."""
        ...

    @property
    def backend(self) -> httpcore.AsyncNetworkBackend:
        """What connects to a numeric address."""
        ...


class Internet:
    """The system's own."""

    backend: httpcore.AsyncNetworkBackend = httpcore.TrioBackend()

    async def resolve(self, host: str, port: int) -> list[str]:
        """By the system's resolver."""
        try:
            found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except UnicodeError:  # an empty label, or one too long: no name that there can be
            raise OSError("that is no name") from None
        return [str(address[0]) for *_, address in found]


@frozen
class Fetched:
    """An answer, read to its end."""

    status: int
    headers: httpx.Headers = field(repr=False)
    body: bytes = field(repr=False)
    url: str = field(repr=False)
    """Where it came from, after all redirects."""
    moved_to: str | None = field(default=None, repr=False)
    """Where it is for good now, if the redirects said so."""


class Web:
    """Makes requests, for any number of tasks at once; keeps nothing between requests."""

    def __init__(
        self,
        guard: Guard | None = None,
        *,
        network: Network | None = None,
        tls: ssl.SSLContext | None = None,
        limit: int = 2 * MIB,
        timeout: float = 20.0,
    ) -> None:
        """`limit`: bytes of a whole answer; `timeout`: seconds of a request."""
        self._guard = guard or Guard()
        self._network: Network = network or Internet()
        self._tls = tls or ssl.create_default_context()
        self._limit = limit
        self._timeout = timeout

    async def fetch(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        redirects: int = REDIRECTS,
    ) -> Fetched:
        """One request, its redirects followed. Raises `WebError`."""
        with trio.move_on_after(self._timeout):
            return await self._follow(url, method, headers or {}, content, redirects)
        raise Unanswered(f"there was no whole answer in {self._timeout:g} s")

    async def _follow(
        self,
        url: str,
        method: str,
        headers: Mapping[str, str],
        content: bytes | None,
        redirects: int,
    ) -> Fetched:
        here, moved_to, for_good = checked_url(url), None, True
        for _ in range(redirects + 1):
            async with self._send(here, method, headers, content) as response:
                location = response.headers.get("location")
                if not (redirects and response.status_code in _MOVED and location):
                    body = await response.aread()
                    return Fetched(
                        response.status_code, response.headers, body, str(here), moved_to
                    )
                there = _next_url(here, location)
                for_good = for_good and response.status_code in _FOR_GOOD
                moved_to = str(there) if for_good else moved_to
                here = there
        raise Unanswered(f"it is redirected more than {redirects} times")

    @asynccontextmanager
    async def stream(
        self,
        url: str,
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> AsyncIterator[httpx.Response]:
        """One request, not redirected, its answer to be read as it comes. Raises `WebError`.

        The time limit holds for each step (connecting, each piece of the answer), not for the
        whole: bound that around it. What goes wrong while reading is raised as `WebError` by the
        end of the block.
        """
        async with self._send(checked_url(url), method, headers or {}, content) as response:
            yield response

    @asynccontextmanager
    async def _send(
        self, url: httpx.URL, method: str, headers: Mapping[str, str], content: bytes | None
    ) -> AsyncIterator[httpx.Response]:
        # No compression: what is read is what is sent, so that its limit is one of memory, too.
        fields = {"user-agent": AGENT, "accept-encoding": "identity", **headers}
        backend = _Guarded(self._guard, self._network, self._limit)
        transport = _Transport(backend, self._tls)
        with _translated():
            async with (
                httpx.AsyncClient(
                    transport=transport, timeout=self._timeout, trust_env=False
                ) as client,
                client.stream(method, url, headers=fields, content=content) as response,
            ):
                yield response


def checked_url(text: str) -> httpx.URL:
    """A URL of the web, without what is secret or only for browsers. Raises `BadUrl`."""
    if len(text) > URL_LENGTH:
        raise BadUrl(f"a URL is at most {URL_LENGTH} characters long")
    try:
        url = httpx.URL(text)
        host = url.host  # decodes IDNA, and may raise its errors, which are ValueErrors
    except (httpx.InvalidURL, ValueError):
        raise BadUrl("that is no URL: write https://example.org/feed") from None
    if url.scheme not in ("http", "https") or not host:
        raise BadUrl("that is no URL of the web: write https://example.org/feed")
    if url.port is not None and not 0 < url.port < 65_536:
        raise BadUrl("that is no port of the web")
    if url.userinfo:
        raise BadUrl("a URL with a password in it is not taken")
    return url.copy_with(fragment=None)


def check_private(text: str, *, allow_http: bool) -> None:
    """Check a URL that a room's words are sent to. Raises `BadUrl`; http only where it is allowed.

    Over http whoever is on the way reads and changes them, and reads the key that goes along.
    """
    if checked_url(text).scheme != "https" and not allow_http:
        raise BadUrl("write https://, or allow_http = true beside it if nobody is on the way")


def place_of(text: str) -> str:
    """What a room is told of where its words go: the host, its port, and if anyone can listen."""
    url = httpx.URL(text)
    place = url.host if url.port is None else f"{url.host}:{url.port}"
    return place if url.scheme == "https" else f"{place} (unencrypted)"


def retry_after(headers: Mapping[str, str], now: int) -> int:
    """Milliseconds that a server asks to be left alone, up to a day (RFC 9110 §10.2.3)."""
    text = headers.get("retry-after", "")
    if text.isascii() and text.isdigit():
        return min(int(text[:8]) * 1000, DAY)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(0, int(moment.timestamp() * 1000) - now), DAY)


def _next_url(here: httpx.URL, location: str) -> httpx.URL:
    there = checked_url(str(here.join(location[:URL_LENGTH])))
    if here.scheme == "https" and there.scheme != "https":
        raise Forbidden("it is redirected from https to http")
    return there


@contextmanager
def _translated() -> Iterator[None]:
    """Errors of the layers below, as ours: their own words may quote what is private."""
    try:
        yield
    except (httpcore.TimeoutException, httpx.TimeoutException):
        raise Unanswered("there was no answer in time") from None
    except (httpcore.ConnectError, OSError):
        raise Unanswered("no connection can be made") from None
    except (httpcore.NetworkError, httpcore.ProtocolError, httpx.HTTPError, httpx.InvalidURL):
        raise Unanswered("the answer broke off, or was no HTTP") from None


class _Metered(httpcore.AsyncNetworkStream):
    """A connection that no more than so many bytes are read from.

    Counted down here, as httpcore then unwinds all of its own generators; trio complains of those
    that are left half-read.
    """

    def __init__(self, inner: httpcore.AsyncNetworkStream, left: int) -> None:
        self._inner = inner
        self._limit = self._left = left

    async def read(
        self,
        max_bytes: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface is httpcore's
    ) -> bytes:
        if self._left <= 0:
            raise TooBig(f"the answer is over {self._limit // 1024} KiB")
        data = await self._inner.read(min(max_bytes, self._left), timeout)
        self._left -= len(data)
        return data

    async def write(
        self,
        buffer: bytes,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
    ) -> None:
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
    ) -> httpcore.AsyncNetworkStream:
        inner = await self._inner.start_tls(ssl_context, server_hostname, timeout)
        return _Metered(inner, self._limit)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Guarded(httpcore.AsyncNetworkBackend):
    """Connects to addresses that the guard permits, and to no other."""

    def __init__(self, guard: Guard, network: Network, limit: int) -> None:
        self._guard = guard
        self._network = network
        self._limit = limit

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        with trio.move_on_after(float("inf") if timeout is None else timeout):
            return await self._connect(host, port)
        raise httpcore.ConnectTimeout

    async def _connect(self, host: str, port: int) -> httpcore.AsyncNetworkStream:
        found = await self._network.resolve(host, port)
        permitted = [address for address in found if self._guard.permits(address)]
        if found and not permitted:
            raise Forbidden("that address is not public, so I do not go there")
        for address in permitted:
            try:
                return _Metered(await self._network.backend.connect_tcp(address, port), self._limit)
            except httpcore.ConnectError:
                continue
        raise httpcore.ConnectError

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        raise Forbidden("sockets of this machine are not for bots")

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)


class _Body:
    """What is sent. No generator, as trio complains of one that a cancellation leaves half-read."""

    def __init__(self, content: bytes) -> None:
        self._left = [content] if content else []

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


class _Stream(httpx.AsyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._response.aiter_stream():
            yield part

    async def aclose(self) -> None:
        await self._response.aclose()


class _Transport(httpx.AsyncBaseTransport):
    """httpx over an httpcore pool of our own: httpx's has no place for another network."""

    def __init__(self, backend: httpcore.AsyncNetworkBackend, tls: ssl.SSLContext) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls, network_backend=backend, max_keepalive_connections=0
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        sent = httpcore.Request(
            method=request.method,
            url=httpcore.URL(
                scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
            ),
            headers=request.headers.raw,
            content=_Body(request.content),
            extensions=request.extensions,
        )
        response = await self._pool.handle_async_request(sent)
        stream = _Stream(response)
        made = httpx.Response(response.status, headers=response.headers, stream=stream)
        if made.headers.get("content-encoding", "identity").lower() != "identity":
            await stream.aclose()
            raise Unanswered("the answer is compressed, though that was not asked for")
        return made

    async def aclose(self) -> None:
        await self._pool.aclose()
