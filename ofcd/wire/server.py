"""One port for WebSocket links and plain pages.

A connection goes through: the door (caps) -> the request head (size, time) -> for a trusted proxy,
the door again, as the client it speaks for -> either a link, run by the handler, or one page. Each
way out is an HTTP answer or a WebSocket close code; nothing a peer does raises here. Any other
exception, of `handler`, `pages` or this package, is a bug: it ends `serve`, or, where the caller
gave a `mishap`, the one connection that it befell.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import trio
from attrs import define, evolve, frozen
from wsproto.connection import Connection, ConnectionType

from ofcd.wire.door import Door
from ofcd.wire.errors import Closed
from ofcd.wire.gate import linger
from ofcd.wire.limits import ServeLimits
from ofcd.wire.link import open_link
from ofcd.wire.pages import Exchange, HeadError, HttpRequest, HttpResponse
from ofcd.wire.proxies import TrustedProxies
from ofcd.wire.stream import MessageStream, RemoteAddress, remote_of
from ofcd.wire.upgrade import AllowOrigin, accept_headers, refusal, wants_link

__all__ = ["Handler", "Mishap", "Pages", "open_listeners", "serve", "serve_stream"]

Handler = Callable[[MessageStream], Awaitable[None]]
Pages = Callable[[HttpRequest], HttpResponse | Awaitable[HttpResponse]]
Mishap = Callable[[Exception], None]
Listener = (
    trio.abc.Listener[trio.SocketStream] | trio.abc.Listener[trio.SSLStream[trio.SocketStream]]
)

_NO_PROXIES = TrustedProxies()
_BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError)


def any_origin(origin: str) -> bool:
    """Browser pages from anywhere may use the relay; what they may do, their keys decide."""
    return True


@frozen
class _Site:
    handler: Handler
    pages: Pages
    limits: ServeLimits
    allow_origin: AllowOrigin
    door: Door
    proxies: TrustedProxies
    mishap: Mishap | None


@define
class _Visit:
    """One connection: from whom it comes, and whose it is; None while a proxy has not said."""

    peer: RemoteAddress | None
    client: RemoteAddress | None


async def open_listeners(
    host: str | None, port: int, ssl_context: ssl.SSLContext | None = None
) -> list[Listener]:
    """Listen on TCP, with TLS where a context is given. Port 0: any free one. Raises OSError."""
    if ssl_context is None:
        return list(await trio.open_tcp_listeners(port, host=host))
    return list(
        await trio.open_ssl_over_tcp_listeners(port, ssl_context, host=host, https_compatible=True)
    )


async def serve(
    listeners: Sequence[Listener],
    handler: Handler,
    pages: Pages,
    *,
    limits: ServeLimits | None = None,
    allow_origin: AllowOrigin = any_origin,
    door: Door | None = None,
    proxies: TrustedProxies = _NO_PROXIES,
    mishap: Mishap | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; then every link gets 1001 and up to `grace_seconds` to answer.

    `handler` runs once for each link and owns it until it returns. `door` may be passed in to
    watch the number of connections. A connection of one of `proxies` counts as, and its link's
    `remote` is, the client that the proxy's header names; anybody else's header is not read.
    `mishap` is told of an exception that is a bug; its connection is cut, the others go on.
    Listeners are closed on the way out.
    """
    limits = limits or ServeLimits()
    site = _Site(handler, pages, limits, allow_origin, door or Door(limits), proxies, mishap)
    await trio.serve_listeners(
        partial(_contain, site),
        list(listeners),
        task_status=task_status,  # type: ignore[arg-type]
    )


async def serve_stream(
    stream: trio.abc.Stream,
    handler: Handler,
    pages: Pages,
    *,
    limits: ServeLimits | None = None,
    allow_origin: AllowOrigin = any_origin,
    door: Door | None = None,
    proxies: TrustedProxies = _NO_PROXIES,
    mishap: Mishap | None = None,
    remote: RemoteAddress | None = None,
) -> None:
    """Serve one open stream, from its first byte to its close, exactly as `serve` does."""
    limits = limits or ServeLimits()
    site = _Site(handler, pages, limits, allow_origin, door or Door(limits), proxies, mishap)
    await _contain(site, stream, remote)


async def _contain(
    site: _Site, stream: trio.abc.Stream, remote: RemoteAddress | None = None
) -> None:
    """One connection, whose mishaps are nobody else's."""
    if site.mishap is None:
        await _visit(site, stream, remote)
        return
    try:
        await _visit(site, stream, remote)
    except* Exception as group:
        site.mishap(_only(group))


def _only(group: ExceptionGroup[Exception]) -> Exception:
    error: Exception = group
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


async def _visit(site: _Site, stream: trio.abc.Stream, remote: RemoteAddress | None = None) -> None:
    peer = remote or remote_of(stream)
    visit = _Visit(peer, None if site.proxies.trusts(peer) else peer)
    no_entry = site.door.enter(visit.client)
    try:
        if no_entry is not None:
            exchange = Exchange(stream, site.limits.head_bytes, None)
            await _turn_away(site, stream, exchange, no_entry)
            return
        try:
            await _let_in(site, stream, visit)
        finally:
            site.door.leave(visit.client)
    finally:
        await trio.aclose_forcefully(stream)


async def _turn_away(
    site: _Site, stream: trio.abc.Stream, exchange: Exchange, response: HttpResponse
) -> None:
    if not site.door.begin_refusal():
        return
    try:
        await _say(site, stream, exchange, response, site.limits.link.linger_seconds)
    finally:
        site.door.end_refusal()


async def _let_in(site: _Site, stream: trio.abc.Stream, visit: _Visit) -> None:
    try:
        frames = await _receive_visitor(site, stream, visit)
    except _BROKEN:
        return
    if frames is None:
        return
    limits = site.limits
    async with open_link(
        stream, frames, limits.link, remote=visit.client, grace_seconds=limits.grace_seconds
    ) as messages:
        try:
            await site.handler(messages)
        except* Closed:  # alone, or in the group of a handler with several tasks
            pass


async def _receive_visitor(
    site: _Site, stream: trio.abc.Stream, visit: _Visit
) -> Connection | None:
    """Read the head; answer a page (None), or accept a link and return its frame parser."""
    exchange = Exchange(stream, site.limits.head_bytes, visit.peer)
    response = HttpResponse.sentence(408, "the request took too long to arrive")
    request: HttpRequest | None = None
    try:
        with trio.move_on_after(site.limits.handshake_seconds) as patience:
            request = await exchange.request()
        if request is not None:
            no_entry = _identify(site, visit, request)
            if no_entry is not None:
                await _turn_away(site, stream, exchange, no_entry)
                return None
            request = evolve(request, remote=visit.client)
            if wants_link(request):
                refused = _judge(site, request)
                if refused is None:
                    return await _accept(site, exchange, request)
                response = refused
            else:
                response = await _page(site, request)
        elif not patience.cancelled_caught:
            return None  # hung up without a word
    except HeadError as error:
        response = error.response
    await _say(site, stream, exchange, response, site.limits.page_seconds)
    return None


def _identify(site: _Site, visit: _Visit, request: HttpRequest) -> HttpResponse | None:
    """Count a proxy's connection as its client's. Raises HeadError."""
    if visit.client is not None or visit.peer is None:
        return None
    client = site.proxies.client(visit.peer, request)
    no_entry = site.door.identify(client)
    if no_entry is None:
        visit.client = client
    return no_entry


def _judge(site: _Site, request: HttpRequest) -> HttpResponse | None:
    too_fast = site.door.handshake(request.remote, trio.current_time())
    return too_fast or refusal(request, site.allow_origin)


async def _accept(site: _Site, exchange: Exchange, request: HttpRequest) -> Connection | None:
    with trio.move_on_after(site.limits.handshake_seconds):
        trailing = await exchange.switch(accept_headers(request))
        return Connection(ConnectionType.SERVER, trailing_data=trailing)
    return None


async def _page(site: _Site, request: HttpRequest) -> HttpResponse:
    if request.method not in ("GET", "HEAD"):
        return HttpResponse.sentence(405, "only GET and HEAD here", ("Allow", "GET, HEAD"))
    with trio.move_on_after(site.limits.page_seconds):
        response = site.pages(request)
        return response if isinstance(response, HttpResponse) else await response
    return HttpResponse.sentence(503, "this page took too long to make: try again later")


async def _say(
    site: _Site,
    stream: trio.abc.Stream,
    exchange: Exchange,
    response: HttpResponse,
    seconds: float,
) -> None:
    """Send one response and let it arrive; a peer that does not read it is left after `seconds`."""
    with trio.move_on_after(seconds) as patience:
        try:
            await exchange.answer(response)
        except _BROKEN:
            return
    if not patience.cancelled_caught:
        await linger(stream, site.limits.link.linger_seconds)
