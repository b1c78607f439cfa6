"""Plain HTTP on the link's port. The client is bytes by hand."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from ofcd import wire
from tests.wire.helpers import ask, relay


def pages(request: wire.HttpRequest) -> wire.HttpResponse:
    if request.path == "/own":
        return wire.HttpResponse(body=b"<p>", headers=(("Content-Security-Policy", "own"),))
    if request.path == "/healthz":
        return wire.HttpResponse.sentence(200, f"ok {request.query}{request.header('x-a')}")
    return wire.HttpResponse.sentence(404, "no such page")


async def test_a_page_carries_the_security_headers_and_no_version(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Defaults on every page; nothing that names the server's software."""
    async with relay(pages=pages) as stream:
        answer = await ask(stream, b"GET /health%7A?q=1 HTTP/1.1\r\nHost: r\r\nX-A: b\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert body == b"ok q=1b\n"
    lines = head.lower().split(b"\r\n")
    assert lines[0].startswith(b"http/1.1 200")
    assert b"x-content-type-options: nosniff" in lines
    assert b"referrer-policy: no-referrer" in lines
    assert b"content-security-policy: default-src 'none'; frame-ancestors 'none'" in lines
    assert b"connection: close" in lines
    assert not any(line.startswith(b"server:") for line in lines)


async def test_a_page_may_set_its_own_policy(autojump_clock: trio.testing.MockClock) -> None:
    """The page's own header replaces the default, once."""
    async with relay(pages=pages) as stream:
        answer = await ask(stream, b"GET /own HTTP/1.1\r\nHost: r\r\n\r\n")
    assert answer.lower().count(b"content-security-policy: ") == 1
    assert b"content-security-policy: own" in answer.lower()


async def test_an_answer_arrives_although_the_client_goes_on_talking(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Half-closed at once, read on for a second: no reset overtakes the answer."""
    async with relay(pages=pages) as stream:
        assert b"400" in await ask(stream, b"\x00\r\n\r\n")
        await trio.sleep(0.5)
        await stream.send_all(b"still talking")
        await trio.sleep(1)
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"too late")


async def test_head_gets_the_head_alone(autojump_clock: trio.testing.MockClock) -> None:
    """HEAD has GET's headers and no body (RFC 9110 section 9.3.2)."""
    async with relay(pages=pages) as stream:
        answer = await ask(stream, b"HEAD /healthz HTTP/1.1\r\nHost: r\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /nowhere HTTP/1.1\r\nHost: r\r\n\r\n", b"404"),
        (b"POST / HTTP/1.1\r\nHost: r\r\nContent-Length: 5\r\n\r\nhello", b"405"),
        (b"OPTIONS * HTTP/1.1\r\nHost: r\r\n\r\n", b"405"),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: r\r\n\r\n", b"405"),
        (b"GET / HTTP/1.0\r\n\r\n", b"404"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),  # no Host
        (b"GET / HTTP/2.0\r\nHost: r\r\n\r\n", b"404"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),  # TLS hello
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: r\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\nHost: r\r\n" + b"X: y\r\n" * 2000, b"431"),
    ],
)
async def test_odd_requests_get_the_right_status(
    autojump_clock: trio.testing.MockClock, request_bytes: bytes, status: bytes
) -> None:
    """Whatever the first bytes are, the answer is a page with a status that fits."""
    async with relay(pages=pages) as stream:
        answer = await ask(stream, request_bytes)
    assert answer.split(b" ")[1] == status


@pytest.mark.parametrize("drip", [b"", b"GET / HTTP/1.1\r\nHost: r\r\n"])
async def test_slow_loris_is_told_408_and_closed(
    autojump_clock: trio.testing.MockClock, drip: bytes
) -> None:
    """`handshake_seconds` is for the whole head, however steadily it drips."""
    async with relay(pages=pages) as stream, trio.open_nursery() as nursery:

        async def feed() -> None:
            for byte in drip:
                await stream.send_all(bytes((byte,)))
                await trio.sleep(1.0)

        nursery.start_soon(feed)
        begun = trio.current_time()
        data = await stream.receive_some()
        assert data.startswith(b"HTTP/1.1 408")
        assert 9.9 < trio.current_time() - begun < 10.1
        nursery.cancel_scope.cancel()


async def test_a_client_that_hangs_up_costs_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """No request, or half of one, then the end: served and forgotten."""
    for part in (b"", b"GET / HT"):
        async with relay(pages=pages) as stream:
            await stream.send_all(part)


async def test_a_page_that_takes_too_long_is_503(autojump_clock: trio.testing.MockClock) -> None:
    """Pages may be async; an endless one is given up after `page_seconds`."""

    async def endless(request: wire.HttpRequest) -> wire.HttpResponse:
        await trio.sleep_forever()
        raise AssertionError

    async with relay(pages=endless) as stream:
        answer = await ask(stream, b"GET / HTTP/1.1\r\nHost: r\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 503")


async def test_a_page_nobody_reads_is_dropped(autojump_clock: trio.testing.MockClock) -> None:
    """A reader that stops is left after `page_seconds`."""
    async with relay(pages=pages, lockstep=True) as stream:
        await stream.send_all(b"GET /healthz HTTP/1.1\r\nHost: r\r\n\r\n")
        begun = trio.current_time()
        await trio.sleep(40)
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"still there?")
        assert trio.current_time() - begun < 41


def upgrade(**changed: str) -> bytes:
    headers = {
        "Host": "r",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Protocol": "ofc.1",
    } | {name.replace("_", "-"): value for name, value in changed.items()}
    lines = [f"{name}: {value}" for name, value in headers.items() if value]
    return ("GET /ofc HTTP/1.1\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@pytest.mark.parametrize(
    ("request_bytes", "status", "word"),
    [
        (upgrade(Sec_WebSocket_Protocol=""), b"400", b"ofc.1"),
        (upgrade(Sec_WebSocket_Protocol="ofc.2, chat"), b"400", b"ofc.1"),
        (upgrade(Sec_WebSocket_Version="8"), b"426", b"sec-websocket-version: 13"),
        (upgrade(Sec_WebSocket_Key="short"), b"400", b"Sec-WebSocket-Key"),
        (upgrade(Sec_WebSocket_Key="\xe4" * 24), b"400", b"Sec-WebSocket-Key"),
        (upgrade(Connection="close"), b"400", b"Connection"),
        (upgrade(Origin="https://evil.example"), b"403", b"origin"),
        (upgrade(Content_Length="3") + b"abc", b"400", b"body"),
        (upgrade().replace(b"GET", b"POST"), b"405", b"GET"),
        (upgrade().replace(b"/ofc", b"/else"), b"404", b"no such page"),
        (upgrade(Upgrade="h2c"), b"404", b"no such page"),
    ],
)
async def test_a_wrong_handshake_is_refused_in_a_sentence(
    autojump_clock: trio.testing.MockClock, request_bytes: bytes, status: bytes, word: bytes
) -> None:
    """Each fault has its status and says what is wrong."""

    def allow(origin: str) -> bool:
        return origin == "https://web.example"

    async with relay(pages=pages, allow_origin=allow) as stream:
        answer = await ask(stream, request_bytes)
    assert answer.split(b" ")[1] == status
    assert word in answer


@pytest.mark.parametrize(
    "request_bytes",
    [
        upgrade(Origin="https://web.example"),
        upgrade().replace(b"/ofc", b"/"),
        upgrade(Host="\xe4\xf6..\xff"),
        upgrade(Sec_WebSocket_Extensions="permessage-deflate"),
        upgrade(Connection="keep-alive, upgrade", Upgrade="WebSocket"),
    ],
)
async def test_a_right_handshake_is_accepted_without_extensions(
    autojump_clock: trio.testing.MockClock, request_bytes: bytes
) -> None:
    """Allowed origins, odd hosts and offered extensions alike: 101, ofc.1, no compression."""
    async with relay(pages=pages, allow_origin=lambda origin: "web" in origin) as stream:
        await stream.send_all(request_bytes)
        answer = bytes(await stream.receive_some()).lower()
    assert answer.startswith(b"http/1.1 101")
    assert b"sec-websocket-protocol: ofc.1" in answer
    assert b"extensions" not in answer
