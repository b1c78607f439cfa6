"""The port on real sockets: localhost, port 0, real time (no test here waits for time to pass)."""

from __future__ import annotations

import ssl
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from socket import SO_LINGER, SO_SNDBUF, SOL_SOCKET

import pytest
import trio
import trustme
from attrs import evolve
from wsproto.events import BytesMessage, CloseConnection

from ofcd import wire
from tests.wire.helpers import RawPeer, ask, echo, read_all

OPEN = wire.ServeLimits(handshakes_per_minute=1000)


def page(request: wire.HttpRequest) -> wire.HttpResponse:
    return wire.HttpResponse.sentence(200, str(request.remote))


@cache
def authority() -> trustme.CA:
    """A certificate authority of this run's own; no key of it ever stands in a file of ours."""
    return trustme.CA()


def server_tls() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority().issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


def client_tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority().configure_trust(context)
    return context


@asynccontextmanager
async def port(
    handler: wire.Handler = echo,
    limits: wire.ServeLimits = OPEN,
    *,
    tls: ssl.SSLContext | None = None,
    door: wire.Door | None = None,
) -> AsyncIterator[int]:
    """`serve` on a free port; yields it, and stops serving at the end."""
    listeners = await wire.open_listeners("127.0.0.1", 0, tls)
    listener = listeners[0]
    inner = listener.transport_listener if isinstance(listener, trio.SSLListener) else listener
    assert isinstance(inner, trio.SocketListener)
    number: int = inner.socket.getsockname()[1]
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[None]) -> None:
            await wire.serve(
                listeners, handler, page, limits=limits, door=door, task_status=task_status
            )

        await nursery.start(serve)
        yield number
        nursery.cancel_scope.cancel()


def url(number: int, scheme: str = "ws", host: str = "127.0.0.1") -> str:
    return f"{scheme}://{host}:{number}"


async def test_one_port_serves_links_and_pages() -> None:
    """Both kinds at once; each sees the peer's address."""
    async with port() as number, wire.dial(url(number)) as link:
        assert link.remote == wire.RemoteAddress("127.0.0.1", number)
        stream = await trio.open_tcp_stream("127.0.0.1", number)
        async with stream:
            answer = await ask(stream, b"GET / HTTP/1.1\r\nHost: r\r\n\r\n")
        assert b"RemoteAddress(host='127.0.0.1', port=" in answer
        await link.send(b"hello")
        assert await link.receive() == b"hello"


async def test_links_over_tls_take_messages_the_same_way() -> None:
    """wss with a verified certificate; try_send works there too, without blocking."""

    async def handler(link: wire.MessageStream) -> None:
        for i in range(50):
            message = bytes((i,)) * 10_000
            if not link.try_send(message):
                await link.send(message)
        await link.receive()

    async with (
        port(handler, tls=server_tls()) as number,
        wire.dial(url(number, "wss", "localhost"), ssl_context=client_tls()) as link,
    ):
        for i in range(50):
            assert await link.receive() == bytes((i,)) * 10_000


async def test_try_send_into_a_full_socket_keeps_frames_whole() -> None:
    """The socket takes part of a frame: the rest follows first, and False wrote nothing."""
    refused = trio.Event()
    taken: list[int] = []

    async def handler(link: wire.MessageStream) -> None:
        i = 0
        while link.try_send(i.to_bytes(4, "big") * 5_000):
            taken.append(i)
            i += 1
        assert link.congested
        refused.set()
        await link.flush()
        assert link.try_send(b"the end")
        await link.receive()

    async with port(handler) as number:
        stream = await trio.open_tcp_stream("127.0.0.1", number)
        async with stream:
            peer = RawPeer(stream)
            await peer.shake_hands()
            await refused.wait()
            assert len(taken) > 1
            for i in taken:
                assert await message(peer) == i.to_bytes(4, "big") * 5_000
            assert await message(peer) == b"the end"


async def message(peer: RawPeer) -> bytes:
    """The next whole message; wsproto hands it out in the pieces the socket gave."""
    parts = bytearray()
    while True:
        event = await peer.event()
        assert isinstance(event, BytesMessage)
        parts += event.data
        if event.message_finished:
            return bytes(parts)


async def test_the_whole_port_has_a_cap() -> None:
    """Full: 503 with Retry-After, told to link and page alike; a place left is free again."""
    door = wire.Door(limits := evolve(OPEN, connections=2))
    async with port(limits=limits, door=door) as number:
        async with AsyncExitStack() as stack:
            for _ in range(2):
                await stack.enter_async_context(wire.dial(url(number)))
            with pytest.raises(wire.RelayBusy, match="503") as caught:
                await stack.enter_async_context(wire.dial(url(number)))
            assert caught.value.retry_after == 10
        await until(lambda: door.inside == 0)
        async with wire.dial(url(number)) as link:
            await link.send(b"x")
            assert await link.receive() == b"x"


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(5):
        while not condition():
            await trio.lowlevel.checkpoint()


async def test_one_address_has_a_cap() -> None:
    """429 for the connection too many from one address."""
    async with port(limits=evolve(OPEN, connections_per_ip=1)) as number, wire.dial(url(number)):
        with pytest.raises(wire.RelayBusy, match="429"):
            async with wire.dial(url(number)):
                raise AssertionError


async def test_handshakes_are_rate_limited_but_pages_are_not() -> None:
    """The third handshake in the same minute waits, and is told how long."""
    async with port(limits=evolve(OPEN, handshakes_per_minute=2)) as number:
        for _ in range(2):
            async with wire.dial(url(number)):
                pass
        with pytest.raises(wire.RelayBusy, match="429") as caught:
            async with wire.dial(url(number)):
                raise AssertionError
        assert 1 <= caught.value.retry_after <= 30
        stream = await trio.open_tcp_stream("127.0.0.1", number)
        async with stream:
            assert b"200" in await ask(stream, b"GET / HTTP/1.1\r\nHost: r\r\n\r\n")


async def test_when_too_many_are_refused_the_next_is_cut() -> None:
    """Refusing politely has a bound as well; past it the connection just closes."""
    limits = evolve(OPEN, connections=1, refusals=0)
    async with port(limits=limits) as number, wire.dial(url(number)):
        stream = await trio.open_tcp_stream("127.0.0.1", number)
        async with stream:
            assert await read_all(stream) == b""


async def test_stopping_closes_every_link_with_1001() -> None:
    """All at once; the port is free afterwards."""
    closed: list[int] = []
    async with trio.open_nursery() as nursery:

        async def visit(number: int, task_status: trio.TaskStatus[None]) -> None:
            async with wire.dial(url(number)) as link:
                task_status.started()
                with pytest.raises(wire.Closed) as caught:
                    await link.receive()
                closed.append(caught.value.close_code)

        async with port() as number:
            for _ in range(5):
                await nursery.start(visit, number)
    assert closed == [1001] * 5
    with pytest.raises(wire.Unreachable):
        async with wire.dial(url(number)):
            raise AssertionError


@pytest.mark.parametrize("handshake", [False, True])
async def test_a_connection_that_is_reset_is_closed(handshake: bool) -> None:
    """A TCP reset, before the request or in the middle of a link, ends that connection only."""
    door = wire.Door(OPEN)
    async with port(door=door) as number:
        stream = await trio.open_tcp_stream("127.0.0.1", number)
        if handshake:
            await RawPeer(stream).shake_hands()
        await until(lambda: door.inside == 1)
        stream.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        await stream.aclose()
        await until(lambda: door.inside == 0)


async def test_a_sender_to_a_reset_connection_gets_closed() -> None:
    """try_send and send say Closed once the socket is broken; nothing else comes out."""
    gone, ended = trio.Event(), trio.Event()

    async def handler(link: wire.MessageStream) -> None:
        await gone.wait()
        try:
            while True:
                if not link.try_send(bytes(100_000)):
                    await link.send(bytes(100_000))
                await trio.lowlevel.checkpoint()
        finally:
            ended.set()

    async with port(handler) as number:
        stream = await trio.open_tcp_stream("127.0.0.1", number)
        await RawPeer(stream).shake_hands()
        stream.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        await stream.aclose()
        gone.set()
        with trio.fail_after(5):
            await ended.wait()


async def test_a_refused_peer_reads_why_although_it_sent_more() -> None:
    """The close frame is not overtaken by a reset when unread bytes are left in the socket."""
    limits = evolve(OPEN, link=wire.LinkLimits(message_bytes=1000))
    async with port(limits=limits) as number:
        stream = await trio.open_tcp_stream("127.0.0.1", number)
        async with stream:
            stream.setsockopt(SOL_SOCKET, SO_SNDBUF, 1 << 18)
            peer = RawPeer(stream)
            await peer.shake_hands()
            await peer.send(BytesMessage(data=bytes(60_000)))
            event = await peer.event()
            assert isinstance(event, CloseConnection)
            assert event.code == 1009
