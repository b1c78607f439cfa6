"""Dialling what is not there, not a relay, not TLS, or not in time: a typed error, a next step."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any

import pytest
import trio
import trio.testing
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection

from ofcd import wire
from ofcd.wire.client import connect
from tests.wire.test_server import client_tls, port, server_tls, url


@asynccontextmanager
async def says(answer: bytes) -> AsyncIterator[int]:
    """A TCP server that reads once, answers the same to all and hangs up."""

    async def visit(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(answer)

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, visit, listeners)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def fails(address: str, error: type[wire.DialError], **options: object) -> str:
    """The sentence of the error that dialling `address` raises, which must be of this type."""
    with pytest.raises(wire.DialError) as caught:
        async with wire.dial(address, **options):  # type: ignore[arg-type]
            raise AssertionError
    assert type(caught.value) is error
    assert caught.value.code == error.code
    return str(caught.value)


@pytest.mark.parametrize(
    "address",
    ["", "relay.example", "http://relay.example", "ws://", "ws://r:99999", "wss://u:p@r/",
     "ws://[::1", "ws://r/a b", "ws://r/\u00e4", "ws://" + "a" * 64, "ws://r\r\nx/"],
)  # fmt: skip
async def test_what_is_not_an_address_is_refused_before_any_connection(address: str) -> None:
    """The sentence shows what an address looks like."""
    assert "wss://relay.example/ofc" in await fails(address, wire.BadAddress)


async def test_a_port_nobody_listens_on() -> None:
    """Refused: the sentence names the address."""
    with_no_one = await trio.open_tcp_listeners(0, host="127.0.0.1")
    number = with_no_one[0].socket.getsockname()[1]
    await with_no_one[0].aclose()
    sentence = await fails(url(number), wire.Unreachable)
    assert (sentence.count(str(number)), sentence.count("onnection refused")) == (1, 1), sentence
    assert f"127.0.0.1:{number}" in sentence


async def test_tls_towards_a_port_without_it() -> None:
    """The sentence suggests ws://."""
    async with port() as number:
        assert "ws://" in await fails(url(number, "wss"), wire.TlsFailed)


async def test_plain_towards_a_port_with_tls() -> None:
    """Not a relay, as far as one can see; the sentence suggests the other scheme."""
    async with port(tls=server_tls()) as number:
        with pytest.raises((wire.NotARelay, wire.Unreachable)):
            async with wire.dial(url(number)):
                raise AssertionError


async def test_a_certificate_nobody_vouches_for() -> None:
    """TLS is verified by default: name and authority."""
    async with port(tls=server_tls()) as number:
        sentence = await fails(url(number, "wss", "localhost"), wire.TlsFailed)
        assert "certificate" in sentence
        await fails(url(number, "wss", "127.1"), wire.TlsFailed, ssl_context=client_tls())


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 X\r\nConnection: \xff\r\nUpgrade: websocket\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20_000,
    ],
)
async def test_something_else_answers(answer: bytes) -> None:
    """Web servers, other protocols and half answers are not relays."""
    async with says(answer) as number:
        with pytest.raises((wire.NotARelay, wire.Unreachable)):
            async with wire.dial(url(number)):
                raise AssertionError


async def test_a_websocket_server_that_is_no_relay() -> None:
    """It accepts, but does not speak ofc.1: refused, with the word in the sentence."""

    async def visit(stream: trio.SocketStream) -> None:
        async with stream:
            ws = WSConnection(ConnectionType.SERVER)
            ws.receive_data(bytes(await stream.receive_some()))
            await stream.send_all(ws.send(AcceptConnection()))

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, visit, listeners)
        number = listeners[0].socket.getsockname()[1]
        assert "did not choose ofc.1" in await fails(url(number), wire.NotARelay)
        nursery.cancel_scope.cancel()


async def test_a_relay_that_is_busy_says_when() -> None:
    """Retry-After is passed on, within reason; without one there is a default."""
    for after, seconds in ((b"7", 7.0), (b"999999999999", 3600.0), (b"soon", 10.0)):
        answer = b"HTTP/1.1 503 Busy\r\nRetry-After: %s\r\nContent-Length: 0\r\n\r\n" % after
        async with says(answer) as number:
            with pytest.raises(wire.RelayBusy) as caught:
                async with wire.dial(url(number)):
                    raise AssertionError
            assert caught.value.retry_after == seconds
            assert caught.value.code == "busy"
            assert str(caught.value).endswith(f"try again in {seconds:g} seconds")


async def test_a_server_that_says_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """The handshake has its own time limit."""
    near, _far = trio.testing.memory_stream_pair()
    with pytest.raises(wire.DialTimeout, match="relay did not answer within 10 seconds"):
        async with wire.client_stream(near):
            raise AssertionError
    assert trio.current_time() >= 10


async def test_a_server_that_drips_its_answer(autojump_clock: trio.testing.MockClock) -> None:
    """The limit is for the whole handshake."""
    near, far = trio.testing.memory_stream_pair()

    async def drip() -> None:
        for byte in b"HTTP/1.1 101 Switching Protocols\r\n":
            await far.send_all(bytes((byte,)))
            await trio.sleep(3)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drip)
        with pytest.raises(wire.DialTimeout):
            async with wire.client_stream(near):
                raise AssertionError
        nursery.cancel_scope.cancel()


class Resolver(trio.abc.HostnameResolver):
    """Says that every name is at these addresses, the first as likely as not a dead one."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """One row an address."""
        kind = (socket.AF_INET, socket.SOCK_STREAM, 0, "")
        return [(*kind, (address, int(port or 0))) for address in self.addresses]

    async def getnameinfo(self, sockaddr: object, flags: int) -> tuple[str, str]:
        """Nobody asks."""
        raise NotImplementedError


async def test_of_a_names_addresses_the_first_that_answers_is_taken() -> None:
    """A relay's IPv6 may lead nowhere; one that may not be dialled keeps all of them away."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    number = listener.socket.getsockname()[1]
    trio.socket.set_custom_hostname_resolver(Resolver("127.9.9.9", "127.9.9.8", "127.0.0.1"))
    stream = await connect("b.example", number, 30, lambda _: True)
    assert stream.socket.getpeername() == ("127.0.0.1", number)
    await stream.aclose()
    with pytest.raises(wire.Forbidden):
        await connect("b.example", number, 30, lambda one: one != ip_address("127.9.9.8"))
    await listener.aclose()
    with pytest.raises(wire.Unreachable):
        await connect("b.example", number, 30, lambda _: True)
