"""The door for hooks: one small request a connection, and no peer that can hold or break it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from functools import partial

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from ofcd.client.applog import get_log
from ofcd.client.webserver import Body, HttpAnswer, HttpLimits, HttpRequest, serve_stream

LIMITS = HttpLimits(head=2_000, body=100)
POST = b"POST /hook/a HTTP/1.1\r\nHost: x\r\n"


async def parts(path: str) -> AsyncGenerator[bytes, None]:
    yield b"half"
    if path == "/parts/gone":
        raise OSError("secret words")
    if path == "/parts/less":
        return
    yield b" all"


async def app(request: HttpRequest) -> HttpAnswer:
    """Says what it has got; some paths go wrong."""
    if request.path == "/bug":
        raise ValueError("secret words")
    if request.path.startswith("/parts"):
        return HttpAnswer(200, body=Body(8, partial(parts, request.path)))
    if request.path == "/page":
        return HttpAnswer(200, headers=(("content-type", "text/html"),), body=b"<p>")
    if request.path == "/slow":
        await trio.sleep_forever()
    return HttpAnswer(200, f"{request.method} {request.path} {request.body.decode()}")


async def exchange(nursery: trio.Nursery, *pieces: bytes, hang_up: bool = False) -> bytes:
    """Send these bytes; all that comes back until the server closes."""
    ours, theirs = memory_stream_pair()
    nursery.start_soon(serve_stream, theirs, app, get_log("test"), LIMITS)
    answer = b""
    for piece in pieces:
        await ours.send_all(piece)
    if hang_up:
        await ours.send_eof()
    async for part in ours:
        answer += bytes(part)
    return answer


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (POST + b"Content-Length: 3\r\n\r\nabc", 200),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 200),
        (POST + b"Content-Length: 101\r\n\r\n", 413),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nff\r\n" + b"x" * 255, 413),
        (POST + b"X: " + b"x" * 8_000 + b"\r\n\r\n", 431),
        (POST + b"Content-Length: x\r\n\r\n", 400),
        (POST + b"Content-Length: " + b"9" * 1_500 + b"\r\n\r\n", 400),
        (POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400),
        (b"\x16\x03\x01 nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (POST.replace(b"hook/a", b"bug") + b"\r\n", 500),
    ],
)
async def test_each_request_gets_its_answer(
    request_bytes: bytes, status: int, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Good ones are served; what is too large, or no HTTP, gets the status that says so."""
    answer = await exchange(nursery, request_bytes)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"secret" not in answer
    if status == 200:
        assert answer.endswith(b"POST /hook/a abc\n")


async def test_a_large_answer_is_sent_part_by_part(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """What breaks off is not taken for whole, and ends that connection alone."""

    async def got(path: bytes, method: bytes = b"GET") -> tuple[bytes, bytes]:
        answer = await exchange(nursery, method + b" " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        return head, body

    head, body = await got(b"/parts")
    assert (b"content-length: 8" in head, body) == (True, b"half all")
    for broken in (b"/parts/gone", b"/parts/less"):
        head, body = await got(broken)
        assert (b"content-length: 8" in head, body) == (True, b"half")
    assert (await got(b"/parts", b"HEAD")) == (head, b"")
    head, body = await got(b"/page")
    assert (head.count(b"\r\ncontent-type: "), body) == (1, b"<p>")
    assert b"content-type: text/html" in head
    assert (await got(b"/page", b"HEAD")) == (head, b"")


async def test_who_does_not_take_its_answer_is_let_go(autojump_clock: MockClock) -> None:
    for path in (b"/parts", b"/hook"):
        ours, theirs = memory_stream_pair()
        theirs.send_stream.send_all_hook = trio.sleep_forever
        await ours.send_all(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        with trio.fail_after(60):
            await serve_stream(theirs, app, get_log("test"), LIMITS)


async def test_who_waits_to_be_asked_for_the_body_is_asked(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Expect: 100-continue."""
    head = POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    answer = await exchange(nursery, head, b"abc")
    assert b"200 OK" in answer


async def test_who_is_slow_is_told_so(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A request that does not come, and an app that does not answer, end within their limits."""
    started = trio.current_time()
    assert b" 408 " in await exchange(nursery, POST)
    assert b" 503 " in await exchange(nursery, POST.replace(b"hook/a", b"slow") + b"\r\n")
    assert trio.current_time() - started <= 31


@pytest.mark.parametrize("sent", [b"", b"POST /x HT", POST + b"Content-Length: 9\r\n\r\nab"])
async def test_who_hangs_up_is_forgotten(
    sent: bytes, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """A peer that goes in the middle breaks nothing."""
    answer = await exchange(nursery, sent, hang_up=True)
    assert answer == b"" or b" 400 " in answer
