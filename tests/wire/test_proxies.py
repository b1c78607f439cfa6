"""Behind proxies: a header is believed as far as the hands it went through are trusted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from ipaddress import ip_network

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from ofcd import wire
from ofcd.wire.pages import HeadError
from tests.wire.helpers import HEAD, ask, echo

PROXIES = wire.TrustedProxies(tuple(map(ip_network, ("127.0.0.1", "::1", "10.0.0.0/8"))))
PROXY = wire.RemoteAddress("127.0.0.1", 40_000)
STRANGER = wire.RemoteAddress("198.51.100.7", 40_000)


def asked(*headers: tuple[str, str]) -> wire.HttpRequest:
    return wire.HttpRequest("GET", "/", headers=headers)


def client(name: str, value: str) -> str:
    return PROXIES.client(PROXY, asked((name, value))).host


@pytest.mark.parametrize(
    ("value", "host"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("203.0.113.9, 192.0.2.1", "192.0.2.1"),
        ("203.0.113.9, 192.0.2.1, 10.1.2.3", "192.0.2.1"),
        ("192.0.2.1,10.1.2.3 ,::1", "192.0.2.1"),
        ("192.0.2.1:8080", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:8080", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("what a stranger wrote, 192.0.2.1", "192.0.2.1"),
        ("10.9.9.9, 10.1.2.3", "10.9.9.9"),
        ("192.0.2.1, unknown", "127.0.0.1"),
        ("192.0.2.1, unknown, 10.1.2.3", "10.1.2.3"),
        ("", "127.0.0.1"),
    ],
)
def test_the_last_address_that_is_no_trusted_proxy(value: str, host: str) -> None:
    """It is the client; what stands before it, anybody may have written. Who says nothing, or
    unknown, answers for it."""
    assert client("x-forwarded-for", value) == host


@pytest.mark.parametrize(
    ("value", "host"),
    [
        ("for=192.0.2.1", "192.0.2.1"),
        ('For="[2001:db8::1]:4711"', "2001:db8::1"),
        ('for=203.0.113.9, for="192.0.2.1:_port";proto=https;by=10.0.0.1', "192.0.2.1"),
        ('for=192.0.2.1 , for="10.1.2.3"', "192.0.2.1"),
        ('host="a\\"b, for=203.0.113.9";for=192.0.2.1', "192.0.2.1"),
        (", for=192.0.2.1,", "192.0.2.1"),
        ("for=192.0.2.1, for=_hidden", "127.0.0.1"),
        ("for=192.0.2.1, proto=https", "127.0.0.1"),
    ],
)
def test_forwarded_of_rfc_7239(value: str, host: str) -> None:
    """The same rule, with quoted strings and names made up by proxies."""
    assert client("forwarded", value) == host


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-forwarded-for", "localhost"),
        ("x-forwarded-for", "192.0.2.1, 192.0.2.300"),
        ("x-forwarded-for", "192.0.2.1:99999"),
        ("x-forwarded-for", "fe80::1%eth0"),
        ("x-forwarded-for", "[192.0.2.1]"),
        ("forwarded", "192.0.2.1"),
        ("forwarded", "for=192.0.2.1;for=203.0.113.9"),
        ("forwarded", 'for="_open, for=192.0.2.1'),
        ("forwarded", 'for="_open, for="[2001:db8::1]"'),
        ("forwarded", "for=192.0.2.1 203.0.113.9"),
    ],
)
def test_a_malformed_header_is_refused(name: str, value: str) -> None:
    """With 400: a guess could be a wish of the client's."""
    with pytest.raises(HeadError) as caught:
        client(name, value)
    assert caught.value.response.status == 400


def test_two_headers_must_agree() -> None:
    """A proxy that sets one and passes the other through lets nobody choose an address."""
    ours, theirs = ("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=203.0.113.9")
    with pytest.raises(HeadError) as caught:
        PROXIES.client(PROXY, asked(ours, theirs))
    assert b"disagree" in caught.value.response.body
    agreed = PROXIES.client(PROXY, asked(ours, ("forwarded", 'for="192.0.2.1:5"')))
    assert agreed.host == "192.0.2.1"


def test_without_a_header_a_proxy_speaks_for_itself() -> None:
    """As a probe of its own does."""
    assert PROXIES.client(PROXY, asked()) == PROXY


def test_nobody_is_trusted_by_default() -> None:
    """And then only who is named; a connection without an address never is."""
    assert not wire.TrustedProxies().trusts(PROXY)
    assert PROXIES.trusts(PROXY)
    assert PROXIES.trusts(wire.RemoteAddress("::1", 1))
    assert not PROXIES.trusts(STRANGER)
    assert not PROXIES.trusts(None)


@given(st.sampled_from(["x-forwarded-for", "forwarded"]), st.text(alphabet='for=";,\\_[]:. 19af%'))
def test_no_header_ends_in_an_error_that_is_not_meant(name: str, value: str) -> None:
    """An address, or HeadError."""
    with suppress(HeadError):
        assert client(name, value)


@given(st.text(alphabet='for=";,\\_[]:. 19af%\t', max_size=60))
def test_a_client_can_not_talk_a_proxy_out_of_its_own_element(prefix: str) -> None:
    """Whatever stands before what a proxy appends: the proxy's word, or 400."""
    for name, word in (
        ("x-forwarded-for", "192.0.2.1"),
        ("forwarded", 'for="192.0.2.1"'),
        ("forwarded", "for=192.0.2.1;proto=https"),
    ):
        try:
            assert client(name, f"{prefix}, {word}") == "192.0.2.1"
        except HeadError:
            assert name == "forwarded"


# -- at the port -----------------------------------------------------------------------------------


class Port:
    """One port in memory that peers of any address come to."""

    def __init__(self, nursery: trio.Nursery, limits: wire.ServeLimits) -> None:
        self.limits = limits
        self.door = wire.Door(limits)
        self._nursery = nursery

    async def _serve(self, stream: trio.abc.Stream, remote: wire.RemoteAddress) -> None:
        await wire.serve_stream(
            stream,
            self.handler,
            lambda request: wire.HttpResponse.sentence(200, str(request.remote)),
            limits=self.limits,
            door=self.door,
            proxies=PROXIES,
            remote=remote,
        )

    async def handler(self, link: wire.MessageStream) -> None:
        await link.send(str(link.remote).encode())
        await echo(link)

    def connect(self, remote: wire.RemoteAddress) -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self._serve, theirs, remote)
        return ours

    async def page(self, remote: wire.RemoteAddress, headers: str = "") -> bytes:
        request = f"GET / HTTP/1.1\r\nHost: r\r\n{headers}\r\n".encode()
        stream = self.connect(remote)
        answer = await ask(stream, request)
        await self.hang_up(stream)
        return answer

    async def shake_hands(self, remote: wire.RemoteAddress, forwarded: str) -> trio.abc.Stream:
        """The stream, its request sent."""
        stream = self.connect(remote)
        line = f"X-Forwarded-For: {forwarded}\r\n\r\n".encode()
        await stream.send_all(HEAD.removesuffix(b"\r\n") + line)
        return stream

    async def hang_up(self, stream: trio.abc.Stream) -> None:
        """Leave, and let the port notice."""
        await trio.aclose_forcefully(stream)
        await trio.testing.wait_all_tasks_blocked()

    async def status(self, remote: wire.RemoteAddress, forwarded: str) -> int:
        stream = await self.shake_hands(remote, forwarded)
        answer = bytes(await stream.receive_some())
        await self.hang_up(stream)
        return int(answer.split()[1])


@asynccontextmanager
async def port(limits: wire.ServeLimits) -> AsyncIterator[Port]:
    async with trio.open_nursery() as nursery:
        yield Port(nursery, limits)
        nursery.cancel_scope.cancel()


async def test_handler_and_pages_see_the_client(autojump_clock: trio.abc.Clock) -> None:
    """`remote` is the client's address, of a page and of a link."""
    async with port(wire.ServeLimits()) as here:
        answer = await here.page(PROXY, "X-Forwarded-For: 192.0.2.1\r\n")
        assert b"RemoteAddress(host='192.0.2.1', port=0)" in answer
        stream = await here.shake_hands(PROXY, "203.0.113.9, 192.0.2.1")
        async with stream:
            received = b""
            while b"port=0" not in received:
                received += await stream.receive_some()
            assert b"host='192.0.2.1'" in received


async def test_a_header_of_a_stranger_is_not_read(autojump_clock: trio.abc.Clock) -> None:
    """Neither believed nor judged: its connection counts as its own."""
    async with port(wire.ServeLimits(connections_per_ip=1)) as here:
        for headers in ("X-Forwarded-For: 192.0.2.1\r\n", "Forwarded: nonsense\r\n"):
            assert b"host='198.51.100.7'" in await here.page(STRANGER, headers)
        held = here.connect(STRANGER)
        await trio.testing.wait_all_tasks_blocked()
        assert b" 429 " in await here.page(STRANGER, "X-Forwarded-For: 192.0.2.1\r\n")
        await here.hang_up(held)


async def test_a_malformed_header_of_a_proxy_is_answered_400(
    autojump_clock: trio.abc.Clock,
) -> None:
    """And its connection leaves nothing behind."""
    async with port(wire.ServeLimits()) as here:
        assert b" 400 " in await here.page(PROXY, "X-Forwarded-For: nonsense\r\n")
        assert here.door.inside == 0


async def test_each_client_behind_a_proxy_has_its_own_cap(autojump_clock: trio.abc.Clock) -> None:
    """One that is full does not keep others out, and a place it gives up is free again."""
    async with port(wire.ServeLimits(connections_per_ip=2)) as here, AsyncExitStack() as stack:
        for _ in range(2):
            held = await here.shake_hands(PROXY, "192.0.2.1")
            await stack.enter_async_context(held)
            await held.receive_some()
        assert await here.status(PROXY, "192.0.2.1") == 429
        assert b" 429 " in await here.page(PROXY, "X-Forwarded-For: 192.0.2.1\r\n")
        assert b" 429 " in await here.page(wire.RemoteAddress("192.0.2.1", 9))
        assert await here.status(PROXY, "192.0.2.2") == 101
        await here.hang_up(held)
        assert await here.status(PROXY, "192.0.2.1") == 101


async def test_each_client_behind_a_proxy_has_its_own_rate(autojump_clock: trio.abc.Clock) -> None:
    """Handshakes count by the client's address, whichever proxy brings them."""
    other = wire.RemoteAddress("10.1.2.3", 1)
    async with port(wire.ServeLimits(handshakes_per_minute=2)) as here:
        assert await here.status(PROXY, "192.0.2.1") == 101
        assert await here.status(other, "192.0.2.1") == 101
        assert await here.status(PROXY, "192.0.2.1") == 429
        assert await here.status(PROXY, "192.0.2.2") == 101


async def test_a_silent_proxy_counts_in_all(autojump_clock: trio.abc.Clock) -> None:
    """Before its head is read a connection takes one of the port's places; afterwards none."""
    async with port(wire.ServeLimits(connections=2)) as here:
        held = [here.connect(PROXY) for _ in range(2)]
        await trio.testing.wait_all_tasks_blocked()
        assert here.door.inside == 2
        assert b" 503 " in await here.page(PROXY, "X-Forwarded-For: 192.0.2.1\r\n")
        for stream in held:
            await here.hang_up(stream)
        assert here.door.inside == 0


async def test_telling_clients_behind_a_proxy_no_is_bounded(
    autojump_clock: trio.abc.Clock,
) -> None:
    """As for everybody else: past the bound the connection is cut without a word."""
    limits = wire.ServeLimits(connections_per_ip=1, refusals=0)
    async with port(limits) as here:
        held = await here.shake_hands(PROXY, "192.0.2.1")
        await held.receive_some()
        assert await here.page(PROXY, "X-Forwarded-For: 192.0.2.1\r\n") == b""
        await here.hang_up(held)
