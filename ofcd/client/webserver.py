"""HTTP in: one small request a connection, read by h11 under limits of size and time (trio).

For what bots and bridges offer on an address of this machine (hooks, links, a page to leave by),
behind a reverse proxy that speaks TLS. Answers may be large: they are sent part by part.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from http import HTTPStatus
from typing import Final

import h11
import trio
from attrs import define, field, frozen

from ofcd.client.applog import Log, traceback_of

__all__ = ["App", "Body", "HttpAnswer", "HttpLimits", "HttpRequest", "listen", "serve_stream"]

_READ: Final = 4096
_HUNG_UP: Final = (trio.BrokenResourceError, trio.ClosedResourceError)


@frozen
class HttpLimits:
    """What a request may cost."""

    head: int = 16 * 1024
    """Bytes."""
    body: int = 256 * 1024
    """Bytes."""
    read_seconds: float = 10.0
    answer_seconds: float = 20.0
    part_seconds: float = 10.0
    """For a peer to take one part of an answer."""
    whole_seconds: float = 1800.0
    """For a peer to take all of it."""
    connections: int = 64


@frozen
class HttpRequest:
    """A request, read to its end. Header names are lower case."""

    method: str
    path: str = field(repr=False)
    """As it came, without the query. It may hold a secret."""
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@frozen
class Body:
    """What is sent part by part; where a part can not be had, the connection ends in its midst."""

    size: int
    parts: Callable[[], AsyncGenerator[bytes, None]] = field(repr=False)
    """Makes them, once; anything it raises ends the connection."""


@frozen
class HttpAnswer:
    """A status and one line of text, or something else (`content-type` among the headers)."""

    status: int
    text: str = field(default="", repr=False)
    headers: tuple[tuple[str, str], ...] = ()
    """Those of a name that is always sent are sent in its place."""
    body: bytes | Body | None = field(default=None, repr=False)
    """Instead of `text`."""


App = Callable[[HttpRequest], Awaitable[HttpAnswer]]


class _Refused(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.answer = HttpAnswer(status, text)


@define
class _Exchange:
    """One request and its answer (RFC 9112)."""

    stream: trio.abc.Stream
    limits: HttpLimits
    http: h11.Connection
    is_bare: bool = False
    """Whether the request asks for the head alone."""

    async def request(self) -> HttpRequest | None:
        """The request; None where the peer hung up before sending one. Raises `_Refused`."""
        try:
            head = await self._next()
            if not isinstance(head, h11.Request):
                return None
            self.is_bare = head.method == b"HEAD"
            body = await self._body(head)
        except h11.RemoteProtocolError as error:
            if error.error_status_hint == 431:
                raise _Refused(431, "the request's head is too large") from None
            raise _Refused(400, "this is not an HTTP/1.1 request") from None
        headers: dict[str, str] = {}
        for raw_name, raw in head.headers:
            name, value = raw_name.decode("ascii"), raw.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        path = head.target.decode("ascii").partition("?")[0]
        return HttpRequest(head.method.decode("ascii"), path, headers, body)

    async def _body(self, head: h11.Request) -> bytes:
        length = next((value for name, value in head.headers if name == b"content-length"), b"0")
        if int(length) > self.limits.body:
            raise _Refused(413, f"a body is at most {self.limits.body} bytes")
        parts, size = [], 0
        while not isinstance(event := await self._next(), h11.EndOfMessage):
            if not isinstance(event, h11.Data):
                raise _Refused(400, "the request broke off")
            size += len(event.data)
            if size > self.limits.body:
                raise _Refused(413, f"a body is at most {self.limits.body} bytes")
            parts.append(bytes(event.data))
        return b"".join(parts)

    async def _next(self) -> object:
        while (event := self.http.next_event()) is h11.NEED_DATA:
            if self.http.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[])
                await self.stream.send_all(self.http.send(go_on) or b"")
            self.http.receive_data(bytes(await self.stream.receive_some(_READ)))
        return event

    async def answer(self, answer: HttpAnswer) -> None:
        """Send it."""
        body = answer.body
        if body is None:
            body = answer.text.encode() + b"\n" if answer.text else b""
        headers = {
            "content-type": "text/plain; charset=utf-8",
            "content-length": str(body.size if isinstance(body, Body) else len(body)),
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            "connection": "close",
            **dict(answer.headers),
        }
        reason = HTTPStatus(answer.status).phrase.encode()
        head = h11.Response(status_code=answer.status, headers=list(headers.items()), reason=reason)
        with trio.fail_after(self.limits.whole_seconds):
            await self._send(head)
            if isinstance(body, bytes):
                await self._send(h11.Data(data=b"" if self.is_bare else body))
            elif not self.is_bare:
                async with aclosing(body.parts()) as parts:
                    async for part in parts:
                        await self._send(h11.Data(data=part))
            await self._send(h11.EndOfMessage())

    async def _send(self, event: h11.Response | h11.Data | h11.EndOfMessage) -> None:
        raw = self.http.send(event)
        if raw:
            with trio.fail_after(self.limits.part_seconds):
                await self.stream.send_all(raw)


async def serve_stream(
    stream: trio.abc.Stream, app: App, log: Log, limits: HttpLimits | None = None
) -> None:
    """Read one request, have `app` answer it, close. Raises nothing that a peer can cause."""
    limits = limits or HttpLimits()
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head)
    exchange = _Exchange(stream, limits, connection)
    try:
        async with stream:
            await _serve(exchange, app, log)
    except _HUNG_UP:
        log.debug("a peer hung up")
    except trio.TooSlowError:
        log.debug("a peer did not take its answer")
    except h11.LocalProtocolError:
        log.debug("a peer sent no HTTP")


async def _serve(exchange: _Exchange, app: App, log: Log) -> None:
    limits = exchange.limits
    answer = HttpAnswer(408, "the request did not come in time")
    try:
        request = None
        with trio.move_on_after(limits.read_seconds) as reading:
            request = await exchange.request()
        if request is not None:
            answer = await _answered(request, app, log, limits)
        elif not reading.cancelled_caught:
            return
    except _Refused as refused:
        answer = refused.answer
    try:
        await exchange.answer(answer)
    except (*_HUNG_UP, trio.TooSlowError, h11.LocalProtocolError):
        raise
    except Exception as error:
        # As below: a part of what had to be sent can not be had.
        log.error("an answer broke off", trace=traceback_of(error))


async def _answered(request: HttpRequest, app: App, log: Log, limits: HttpLimits) -> HttpAnswer:
    try:
        with trio.move_on_after(limits.answer_seconds):
            return await app(request)
    except Exception as error:
        # The last line of a server: a bug is answered, and does not end the others' connections.
        log.error("a request could not be answered", trace=traceback_of(error))
        return HttpAnswer(500, "that went wrong here; the log says why")
    return HttpAnswer(503, "that took too long: send it again later", (("retry-after", "30"),))


async def listen(
    app: App,
    log: Log,
    *,
    address: str,
    port: int,
    limits: HttpLimits | None = None,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; reports the port (port 0: any free one). Raises OSError."""
    limits = limits or HttpLimits()
    inside = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal inside
        if inside >= limits.connections:
            await trio.aclose_forcefully(stream)
            return
        inside += 1
        try:
            await serve_stream(stream, app, log, limits)
        finally:
            inside -= 1

    listeners = await trio.open_tcp_listeners(port, host=address)
    task_status.started(listeners[0].socket.getsockname()[1])
    await trio.serve_listeners(serve, listeners)
