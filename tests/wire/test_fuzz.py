"""Bytes from anywhere: the relay answers, closes or waits; it never raises and always ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from ofcd import wire
from tests.wire.helpers import HEAD, frame, no_page, read_all

LIMITS = wire.ServeLimits(link=wire.LinkLimits(message_bytes=500, fragments=5))

PATIENT = wire.ServeLimits(
    link=wire.LinkLimits(stall_seconds=1e4, close_seconds=1e4), handshake_seconds=1e4
)

frames = st.builds(
    frame,
    st.sampled_from([0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x83, 0x88, 0x89, 0x8A, 0x08, 0xC2, 0xFF]),
    st.one_of(st.binary(max_size=130), st.just(b"\x03\xe8"), st.just(bytes(600))),
    masked=st.sampled_from([True, True, True, False]),
)
request_parts = st.sampled_from(
    [
        b"GET ", b"POST ", b"/ofc ", b"/ ", b"* ", b"HTTP/1.1\r\n", b"HTTP/1.0\r\n", b"\r\n",
        b"Host: r\r\n", b"Host: \xff\r\n", b"Upgrade: websocket\r\n", b"Connection: Upgrade\r\n",
        b"Sec-WebSocket-Version: 13\r\n", b"Sec-WebSocket-Protocol: ofc.1\r\n",
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n", b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n", b"X: \x00\r\n", b"\n", b" ",
    ]
)  # fmt: skip


async def answer_everything(link: wire.MessageStream) -> None:
    while True:
        message = await link.receive()
        if not link.try_send(message):
            await link.send(message)


def feed(pieces: list[bytes], *, hang_up: bool = True) -> bytes:
    """Serve a stream fed with these pieces, one a read; returns all that was answered."""

    async def main() -> bytes:
        near, far = trio.testing.memory_stream_pair()

        async def serve() -> None:
            await wire.serve_stream(far, answer_everything, no_page, limits=LIMITS)
            assert not trio.lowlevel.current_task().child_nurseries

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            try:
                for piece in pieces:
                    await near.send_all(piece)
                    await trio.testing.wait_all_tasks_blocked()
                if hang_up:
                    await near.send_stream.aclose()
            except trio.BrokenResourceError:
                pass  # it hung up first
            return await read_all(near)

    return run(main)


def run(main: Callable[[], Awaitable[bytes]]) -> bytes:
    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@given(st.lists(st.binary(max_size=200), max_size=5), st.booleans())
def test_garbage_before_the_handshake(pieces: list[bytes], hang_up: bool) -> None:
    """Nothing, or an HTTP answer that refuses."""
    answer = feed(pieces, hang_up=hang_up)
    assert not answer or answer.startswith(b"HTTP/1.1 4")


@pytest.mark.slow
@given(st.lists(request_parts, max_size=14), st.booleans())
@settings(max_examples=200)
def test_almost_requests(parts: list[bytes], hang_up: bool) -> None:
    """Pieces of a handshake in any order: an answer, never an exception."""
    answer = feed([b"".join(parts)], hang_up=hang_up)
    assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 101"))


@pytest.mark.slow
@given(st.lists(st.one_of(frames, st.binary(min_size=1, max_size=60)), max_size=8), st.booleans())
@settings(max_examples=300)
def test_garbage_after_the_handshake(pieces: list[bytes], hang_up: bool) -> None:
    """Accepted, then any frames and noise: it ends, with frames of ours alone in between."""
    answer = feed([HEAD, *pieces], hang_up=hang_up)
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101")
    closed = False
    while rest:
        assert not closed, "nothing follows a close frame"
        size, start = rest[1], 2
        if size == 126:
            size, start = int.from_bytes(rest[2:4], "big"), 4
        assert rest[0] in (0x82, 0x88, 0x89, 0x8A)
        assert len(rest) >= start + size, "only whole frames"
        closed = rest[0] == 0x88
        rest = rest[start + size :]


@pytest.mark.slow
@given(st.lists(frames, max_size=6), st.integers(1, 40))
def test_frames_cut_anywhere(pieces: list[bytes], size: int) -> None:
    """How the bytes are cut into reads makes no difference to what is answered."""
    stream = b"".join(pieces)
    cut = [stream[i : i + size] for i in range(0, len(stream), size)]
    assert closes_with(feed([HEAD, *cut])) == closes_with(feed([HEAD, stream]))


def closes_with(answer: bytes) -> bytes:
    """The code of the close frame at the end of an answer; b"" without one."""
    rest = answer.partition(b"\r\n\r\n")[2]
    while rest:
        size, start = rest[1], 2
        if size == 126:
            size, start = int.from_bytes(rest[2:4], "big"), 4
        if rest[0] == 0x88:
            code = rest[start : start + 2]
            return code.replace(b"\x03\xef", b"\x03\xeb")  # text is refused, or not even text
        rest = rest[start + size :]
    return b""


steps = st.tuples(
    st.sampled_from(["send", "try", "flush"]),
    st.integers(0, 300),
    st.one_of(st.none(), st.floats(0, 3)),  # patience of this step, in seconds
    st.floats(0, 2),
)


@pytest.mark.slow
@given(st.lists(st.lists(steps, max_size=6), min_size=1, max_size=4), st.integers(8, 200))
@settings(max_examples=60)
def test_cancelled_senders_tear_no_frame(
    plans: list[list[tuple[str, int, float | None, float]]], read_size: int
) -> None:
    """Senders that lose patience anywhere, towards a slow reader: what was taken arrives, whole.

    Each message once, in its sender's order; one whose send was cancelled arrives whole or not.
    """
    taken: list[bytes] = []
    tried: list[bytes] = []

    async def step(link: wire.MessageStream, message: bytes, kind: str) -> bool:
        if kind == "flush":
            await link.flush()
            return False
        tried.append(message)
        if kind == "try":
            return link.try_send(message)
        await link.send(message)
        return True

    async def sender(
        link: wire.MessageStream, name: int, plan: list[tuple[str, int, float | None, float]]
    ) -> None:
        for i, (kind, size, patience, pause) in enumerate(plan):
            message = bytes((name, i)) + bytes(size)
            with trio.move_on_after(patience if patience is not None else 1e6):
                if await step(link, message, kind):
                    taken.append(message)
            await trio.sleep(pause)

    async def handler(link: wire.MessageStream) -> None:
        async with trio.open_nursery() as nursery:
            for name, plan in enumerate(plans):
                nursery.start_soon(sender, link, name, plan)

    async def main() -> bytes:
        near, far = trio.testing.lockstep_stream_pair()
        parts = []
        async with trio.open_nursery() as nursery:

            async def serve() -> None:
                await wire.serve_stream(far, handler, no_page, limits=PATIENT)

            nursery.start_soon(serve)
            await near.send_all(HEAD)
            while data := await near.receive_some(read_size):
                parts.append(bytes(data))
                await trio.sleep(0.1)
        return b"".join(parts)

    answer = run(main)
    assert closes_with(answer) == b"\x03\xe8"
    arrived = messages(answer)
    assert set(taken) <= set(arrived) <= set(tried)
    assert len(set(arrived)) == len(arrived)
    for name in range(len(plans)):
        order = [message[1] for message in arrived if message[0] == name]
        assert order == sorted(order)


def messages(answer: bytes) -> list[bytes]:
    """The payloads of the binary frames after the 101."""
    rest, found = answer.partition(b"\r\n\r\n")[2], []
    while rest:
        size, start = rest[1], 2
        if size == 126:
            size, start = int.from_bytes(rest[2:4], "big"), 4
        if rest[0] == 0x82:
            found.append(rest[start : start + size])
        rest = rest[start + size :]
    return found


@given(st.binary(max_size=300), st.booleans())
def test_a_client_before_a_mad_server(noise: bytes, accepted: bool) -> None:
    """A client gets a DialError or Closed, whatever the server says, and within its time."""

    async def main() -> bytes:
        near, far = trio.testing.memory_stream_pair()

        async def server() -> None:
            await far.receive_some()
            await far.send_all(b"HTTP/1.1 101 Switching Protocols\r\n" * accepted + noise)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(server)
            try:
                async with wire.client_stream(near) as link:
                    while True:
                        await link.receive()
            except (wire.DialError, wire.Closed):
                return b"typed"

    assert run(main) == b"typed"
