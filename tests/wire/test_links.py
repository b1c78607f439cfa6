"""Links in memory, both roles, against peers that keep the rules and peers that break them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.testing
from trio.testing import MockClock
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong

from ofcd import wire
from tests.wire.helpers import HEAD, RawPeer, ask, echo, frame, relay

BINARY, TEXT, MORE, START, CLOSE, PING = 0x82, 0x81, 0x00, 0x02, 0x88, 0x89
SMALL = wire.ServeLimits(link=wire.LinkLimits(message_bytes=1000, fragments=10))


class Witness:
    """A handler that keeps what it received and how it ended."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.closed: wire.Closed | None = None
        self.link: wire.MessageStream | None = None
        self.done = trio.Event()

    async def __call__(self, link: wire.MessageStream) -> None:
        self.link = link
        try:
            while True:
                self.messages.append(await link.receive())
        except wire.Closed as closed:
            self.closed = closed
            raise
        finally:
            self.done.set()


@asynccontextmanager
async def raw_peer(
    handler: wire.Handler = echo,
    limits: wire.ServeLimits | None = None,
    *,
    lockstep: bool = False,
) -> AsyncIterator[RawPeer]:
    async with relay(handler, limits=limits, lockstep=lockstep) as stream:
        peer = RawPeer(stream)
        await peer.shake_hands()
        yield peer


# ---- messages


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 1 << 20])
async def test_messages_of_every_length_form_cross_both_ways(
    autojump_clock: MockClock, size: int
) -> None:
    """The three length forms of RFC 6455 section 5.2, from and to both roles of ours."""
    async with relay() as stream, wire.client_stream(stream) as link:
        message = bytes(i % 251 for i in range(size))
        await link.send(message)
        assert await link.receive() == message
        assert link.try_send(message)
        assert await link.receive() == message


async def test_an_independent_client_is_understood(autojump_clock: MockClock) -> None:
    """wsproto's own client, its ping answered and its message whole although in fragments."""
    async with raw_peer() as peer:
        await peer.send(Ping(payload=b"p"))
        assert await peer.event() == Pong(payload=b"p")
        await peer.send(BytesMessage(data=b"in ", message_finished=False))
        await peer.send(Ping(payload=b"between"))
        await peer.send(BytesMessage(data=b"pieces"))
        assert await peer.event() == Pong(payload=b"between")
        assert await peer.event() == BytesMessage(data=b"in pieces")
        await peer.send(CloseConnection(code=1000))
        assert await peer.close_code() == 1000


async def test_frames_sent_with_the_request_are_not_lost(autojump_clock: MockClock) -> None:
    """What follows the request head in the same read belongs to the link."""
    witness = Witness()
    async with relay(witness) as stream:
        await stream.send_all(HEAD + frame(BINARY, b"early") + frame(CLOSE, b"\x03\xe8"))
        await witness.done.wait()
    assert witness.messages == [b"early"]
    assert witness.closed is not None
    assert witness.closed.close_code == 1000


@pytest.mark.parametrize("lockstep", [False, True])
async def test_order_holds_among_all_ways_to_send(
    autojump_clock: MockClock, lockstep: bool
) -> None:
    """try_send, send and flush of many tasks: every message once, each task's in order."""

    async def speak(link: wire.MessageStream, name: int) -> None:
        for i in range(10):
            message = bytes((name, i))
            if not link.try_send(message):
                await link.send(message)
            if i % 3 == name:
                await link.flush()

    async def handler(link: wire.MessageStream) -> None:
        async with trio.open_nursery() as speakers:
            for name in range(3):
                speakers.start_soon(speak, link, name)

    async with raw_peer(handler, lockstep=lockstep) as peer:
        got = []
        while isinstance(event := await peer.event(), BytesMessage):
            got.append(bytes(event.data))
        assert isinstance(event, CloseConnection)
        await peer.send(event.response())
    assert sorted(got) == [bytes((n, i)) for n in range(3) for i in range(10)]
    for name in range(3):
        assert [m[1] for m in got if m[0] == name] == list(range(10))


# ---- peers that break the rules

WRONG = {
    "text": ([frame(TEXT, b"hello")], 1003),
    "text in pieces": ([frame(0x01, b"hel")], 1003),
    "bad UTF-8": ([frame(TEXT, b"\xff\xfe")], 1007),
    "unmasked": ([frame(BINARY, b"x", masked=False)], 1002),
    "reserved bit": ([frame(BINARY | 0x40, b"x")], 1002),
    "reserved opcode": ([frame(0x83, b"x")], 1002),
    "continuation of nothing": ([frame(0x80, b"x")], 1002),
    "new message inside one": ([frame(START, b"x"), frame(BINARY, b"y")], 1002),
    "fragmented ping": ([frame(0x09, b"x")], 1002),
    "long ping": ([bytes((PING, 0xFE, 0, 126)) + bytes(4)], 1002),
    "length not minimal": ([bytes((BINARY, 0xFE, 0, 5)) + bytes(9)], 1002),
    "length above 2^63": ([bytes((BINARY, 0xFF)) + b"\xff" * 8 + bytes(4)], 1002),
    "close of one byte": ([frame(CLOSE, b"\x03")], 1002),
    "close with 1006": ([frame(CLOSE, b"\x03\xee")], 1002),
    "close with bad UTF-8": ([frame(CLOSE, b"\x03\xe8\xff")], 1007),
    "too large": ([frame(BINARY, bytes(1001))], 1009),
    "too large, just begun": (
        [bytes((BINARY, 0xFF)) + (1 << 40).to_bytes(8, "big") + bytes(2000)],
        1009,
    ),
    "too large in sum": ([frame(START, bytes(600)), frame(MORE, bytes(600))], 1009),
    "too many pieces": ([frame(START)] + [frame(MORE)] * 9, 1008),
    "a flood of pieces": ([frame(START)] + [frame(MORE)] * 20_000, 1008),
    "HTTP again": ([HEAD], 1002),
}


@pytest.mark.parametrize("case", WRONG)
async def test_what_breaks_the_rules_is_closed_with_its_code(
    autojump_clock: MockClock, case: str
) -> None:
    """The peer reads a close frame that says why, then the end; the handler gets Closed."""
    sent, code = WRONG[case]
    witness = Witness()
    async with raw_peer(witness, SMALL) as peer:
        await peer.stream.send_all(frame(BINARY, b"good") + b"".join(sent))
        assert await peer.close_code() == code
        with pytest.raises(EOFError):
            await peer.event()
    assert witness.messages == [b"good"]
    assert witness.closed is not None
    assert witness.closed.close_code == code


async def test_a_message_in_as_many_pieces_as_allowed_passes(autojump_clock: MockClock) -> None:
    """The limits themselves are allowed: ten pieces, a thousand bytes."""
    async with raw_peer(limits=SMALL) as peer:
        pieces = [frame(START, bytes(100))] + [frame(MORE, bytes(100))] * 8
        await peer.stream.send_all(b"".join(pieces) + frame(0x80, bytes(100)))
        assert await peer.event() == BytesMessage(data=bytes(1000))


async def test_a_server_that_masks_is_closed_by_the_client(autojump_clock: MockClock) -> None:
    """A client must fail the connection on a masked frame (RFC 6455 section 5.1)."""
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:

        async def bad_server() -> None:
            await wire.serve_stream(Masking(far), echo, lambda request: wire.HttpResponse())

        nursery.start_soon(bad_server)
        async with wire.client_stream(near) as link:
            await link.send(b"hello")
            with pytest.raises(wire.Closed) as caught:
                await link.receive()
    assert caught.value.close_code == 1002


class Masking(trio.abc.Stream):
    """Turns the frames written through it into masked ones."""

    def __init__(self, inner: trio.abc.Stream) -> None:
        self.inner = inner

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        data = bytes(data)
        await self.inner.send_all(data if data[:1] == b"H" else frame(data[0], data[2:]))

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self.inner.receive_some(max_bytes))

    async def aclose(self) -> None:
        await self.inner.aclose()


async def test_the_limit_can_be_raised_once_the_peer_is_proven(autojump_clock: MockClock) -> None:
    """`opening_message_bytes` holds until the handler raises `max_message_bytes`."""

    async def handler(link: wire.MessageStream) -> None:
        assert link.max_message_bytes == 10
        await link.receive()
        link.max_message_bytes = 100
        await link.send(b"welcome")
        await echo(link)

    limits = wire.ServeLimits(link=wire.LinkLimits(opening_message_bytes=10))
    async with relay(handler, limits=limits) as stream, wire.client_stream(stream) as link:
        await link.send(bytes(10))
        assert await link.receive() == b"welcome"
        await link.send(bytes(100))
        assert await link.receive() == bytes(100)
        await link.send(bytes(101))
        with pytest.raises(wire.Closed, match="1009"):
            await link.receive()
    async with relay(handler, limits=limits) as stream, wire.client_stream(stream) as link:
        await link.send(bytes(11))
        with pytest.raises(wire.Closed, match="1009"):
            await link.receive()


# ---- slow, silent and vanished peers


async def test_a_peer_that_does_not_read_is_cut(autojump_clock: MockClock) -> None:
    """A frame nobody takes fails its sender after `stall_seconds` (plus its size's allowance)."""

    async def checked(link: wire.MessageStream) -> None:
        begun = trio.current_time()
        with pytest.raises(wire.Closed, match="1006: the peer did not read for 30 seconds"):
            await link.send(b"x")
        assert 30 <= trio.current_time() - begun < 31
        with pytest.raises(wire.Closed):
            link.try_send(b"y")
        with pytest.raises(wire.Closed):
            await link.receive()

    async with raw_peer(checked, lockstep=True):
        await trio.sleep(40)


async def test_try_send_takes_one_and_refuses_the_next_until_flushed(
    autojump_clock: MockClock,
) -> None:
    """True is for good: the rest goes by itself. False wrote nothing."""
    proceed = trio.Event()

    async def handler(link: wire.MessageStream) -> None:
        before, took, after = link.congested, link.try_send(b"one"), link.congested
        assert (before, took, after) == (False, True, True)
        assert not link.try_send(b"lost")
        proceed.set()
        await link.flush()
        assert link.try_send(b"two")
        await link.receive()

    async with raw_peer(handler, lockstep=True) as peer:
        await proceed.wait()
        assert await peer.event() == BytesMessage(data=b"one")
        assert await peer.event() == BytesMessage(data=b"two")


async def test_flush_waits_for_those_whose_turn_comes_as_well(autojump_clock: MockClock) -> None:
    """Whoever flushes until a link is not congested never spins while another has the turn."""
    proceed = trio.Event()

    async def handler(link: wire.MessageStream) -> None:
        assert link.try_send(b"one")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.send, b"two")
            await trio.testing.wait_all_tasks_blocked()
            proceed.set()
            await link.flush()
            assert not link.congested
        await link.receive()

    async with raw_peer(handler, lockstep=True) as peer:
        await proceed.wait()
        assert await peer.event() == BytesMessage(data=b"one")
        assert await peer.event() == BytesMessage(data=b"two")


async def test_a_silent_peer_is_pinged_then_cut(autojump_clock: MockClock) -> None:
    """After `idle_ping_seconds` a ping, after `pong_seconds` more the end."""
    witness = Witness()
    async with raw_peer(witness) as peer:
        begun = trio.current_time()
        assert isinstance(await peer.event(), Ping)
        assert trio.current_time() - begun == pytest.approx(30, abs=0.1)
        with pytest.raises(EOFError):
            await peer.event()
        assert trio.current_time() - begun == pytest.approx(50, abs=0.1)
    assert witness.closed is not None
    assert "did not answer a ping" in witness.closed.reason


async def test_an_idle_link_between_two_of_ours_stays_open(autojump_clock: MockClock) -> None:
    """Pings are answered while both sides only wait."""
    async with relay() as stream, wire.client_stream(stream) as link:
        await trio.sleep(1000)
        await link.send(b"still here")
        assert await link.receive() == b"still here"


async def test_a_busy_handler_does_not_make_its_peer_look_dead(autojump_clock: MockClock) -> None:
    """While the queue is full nothing is read; that is not the peer's silence."""

    async def slow(link: wire.MessageStream) -> None:
        await trio.sleep(500)
        for _ in range(5):
            await link.send(await link.receive())
        await link.receive()

    async with raw_peer(slow) as peer:
        for i in range(5):
            await peer.send(BytesMessage(data=bytes((i,))))
        assert [(await peer.event()).data for _ in range(5)] == [bytes((i,)) for i in range(5)]  # type: ignore[attr-defined]


async def test_a_full_queue_stops_the_reading(autojump_clock: MockClock) -> None:
    """Backpressure: with nobody receiving, one message waits, one is held, no more is read."""

    async def deaf(link: wire.MessageStream) -> None:
        await trio.sleep(20)
        await link.receive()

    taken = 0
    async with raw_peer(deaf, lockstep=True) as peer:
        with trio.move_on_after(10):
            for _ in range(10):
                await peer.send(BytesMessage(data=b"x" * 100))
                taken += 1
    assert taken == 2


async def test_a_peer_that_vanishes_ends_in_closed(autojump_clock: MockClock) -> None:
    """The stream's end without a close frame is 1006, for receive and for send."""
    witness = Witness()
    async with raw_peer(witness) as peer:
        await peer.stream.aclose()
        await witness.done.wait()
    assert witness.closed is not None
    assert witness.closed.close_code == 1006
    assert str(witness.closed) == "the link is closed (1006: the connection broke)"


async def test_messages_before_the_close_are_still_received(autojump_clock: MockClock) -> None:
    """Closing does not swallow what was sent before it; afterwards every call says Closed."""

    async def handler(link: wire.MessageStream) -> None:
        await link.send(b"last words")
        await link.close(4000, "bye")

    async with relay(handler) as stream, wire.client_stream(stream) as link:
        assert await link.receive() == b"last words"
        for _ in range(2):
            with pytest.raises(wire.Closed) as caught:
                await link.receive()
            assert (caught.value.close_code, caught.value.reason) == (4000, "bye")
        with pytest.raises(wire.Closed):
            await link.send(b"x")
        with pytest.raises(wire.Closed):
            link.try_send(b"x")


# ---- closing


async def test_closing_from_both_ends_and_twice_at_once(autojump_clock: MockClock) -> None:
    """Any mix of closers ends, quickly, without an error."""

    async def handler(link: wire.MessageStream) -> None:
        await trio.sleep(1)
        await link.close(1000, "server")

    begun = trio.current_time()
    async with relay(handler) as stream, wire.client_stream(stream) as link:
        await trio.sleep(1)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(link.close, 1000, "client")
        with pytest.raises(wire.Closed):
            await link.receive()
    assert trio.current_time() - begun < 2


async def test_a_peer_that_never_answers_the_close_is_left(autojump_clock: MockClock) -> None:
    """`close_seconds` bounds the closing handshake, even while the peer keeps talking."""

    async def handler(link: wire.MessageStream) -> None:
        await link.receive()

    begun = trio.current_time()
    async with raw_peer(handler) as peer:
        await peer.send(BytesMessage(data=b"go"))
        assert await peer.close_code() == 1000
        try:
            while trio.current_time() < begun + 60:
                await peer.stream.send_all(frame(PING, b"?") + frame(BINARY, bytes(2000)))
                await trio.sleep(0.5)
        except trio.BrokenResourceError:
            pass
    assert 5 <= trio.current_time() - begun < 6


async def test_cancelling_a_send_midway_keeps_frames_whole(autojump_clock: MockClock) -> None:
    """A cancelled send whose frame had begun still goes out whole, before the next."""
    proceed = trio.Event()

    async def handler(link: wire.MessageStream) -> None:
        with trio.move_on_after(1) as first:
            await link.send(b"begun")
        with trio.move_on_after(1) as second:
            await link.send(b"never begun")
        assert first.cancelled_caught
        assert second.cancelled_caught
        proceed.set()
        await link.send(b"after")

    async with raw_peer(handler, lockstep=True) as peer:
        await proceed.wait()
        assert await peer.event() == BytesMessage(data=b"begun")
        assert await peer.event() == BytesMessage(data=b"after")
        assert await peer.close_code() == 1000


async def test_a_cancelled_relay_says_going_away(autojump_clock: MockClock) -> None:
    """1001 to each peer, and not more than `grace_seconds` for one that does not answer."""
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            await wire.serve_stream(far, echo, lambda request: wire.HttpResponse())
            raise AssertionError

        nursery.start_soon(serve)
        peer = RawPeer(near)
        await peer.shake_hands()
        begun = trio.current_time()
        nursery.cancel_scope.cancel()
    with trio.CancelScope(shield=True):
        event = await peer.event()
        assert isinstance(event, CloseConnection)
        assert (event.code, event.reason) == (1001, "going away")
        with pytest.raises(EOFError):
            await peer.event()
    assert trio.current_time() - begun == pytest.approx(3, abs=0.1)


async def test_a_cancelled_client_says_going_away(autojump_clock: MockClock) -> None:
    """The other role the same; an answering peer makes it immediate."""
    witness = Witness()
    async with relay(witness) as stream:
        begun = trio.current_time()
        with trio.move_on_after(1):
            async with wire.client_stream(stream) as link:
                await link.receive()
        assert trio.current_time() - begun == pytest.approx(1, abs=0.1)
        await witness.done.wait()
    assert witness.closed is not None
    assert witness.closed.close_code == 1001


async def test_an_error_of_the_user_comes_out_as_it_is(autojump_clock: MockClock) -> None:
    """Not in an exception group; the peer is told 1011."""
    witness = Witness()
    async with relay(witness) as stream:
        with pytest.raises(KeyError, match="mine"):
            async with wire.client_stream(stream):
                raise KeyError("mine")
        await witness.done.wait()
    assert witness.closed is not None
    assert witness.closed.close_code == 1011


async def test_closed_in_a_handlers_group_is_a_normal_end(autojump_clock: MockClock) -> None:
    """A handler with a reader and a writer task ends in a group of Closed: no bug, no noise."""

    async def handler(link: wire.MessageStream) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.receive)
            nursery.start_soon(echo, link)

    async with raw_peer(handler) as peer:
        await peer.send(CloseConnection(code=1000))
        assert await peer.close_code() == 1000


async def test_a_bug_of_a_handler_is_its_own_connections(autojump_clock: MockClock) -> None:
    """Who serves may be told of it, and goes on: the peer gets 1011, the caller no exception."""
    mishaps: list[Exception] = []

    async def handler(link: wire.MessageStream) -> None:
        await link.receive()
        raise KeyError("a bug")

    def page(request: wire.HttpRequest) -> wire.HttpResponse:
        raise IndexError("another")

    for first in (handler_bug, page_bug):
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                partial(wire.serve_stream, theirs, handler, page, mishap=mishaps.append)
            )
            await first(ours)
    assert [type(mishap) for mishap in mishaps] == [KeyError, IndexError]


async def handler_bug(stream: trio.abc.Stream) -> None:
    peer = RawPeer(stream)
    await peer.shake_hands()
    await peer.send(BytesMessage(b"go"))
    assert await peer.close_code() == 1011
    await trio.aclose_forcefully(stream)


async def page_bug(stream: trio.abc.Stream) -> None:
    assert await ask(stream, b"GET /x HTTP/1.1\r\nHost: r\r\n\r\n") == b""


@pytest.mark.parametrize("wrong", [frame(PING, b"x"), frame(TEXT, b"x"), frame(0xFF, b"x")])
async def test_what_comes_after_our_close_does_no_harm(
    autojump_clock: MockClock, wrong: bytes
) -> None:
    """trio-websocket 0.12 would raise in its reader; see ofcd/wire/link.py."""

    async def handler(link: wire.MessageStream) -> None:
        await link.close(1000, "done")

    async with raw_peer(handler) as peer:
        assert await peer.close_code() == 1000
        await peer.stream.send_all(wrong + frame(CLOSE, b"\x03\xe8"))
        with pytest.raises(EOFError):
            await peer.event()


async def test_last_words_arrive_although_the_peer_goes_on_talking(
    autojump_clock: MockClock,
) -> None:
    """Half-closed at once, read on for a second: no reset overtakes the close frame."""
    async with raw_peer(limits=SMALL) as peer:
        await peer.stream.send_all(frame(BINARY, bytes(2000)))
        assert await peer.close_code() == 1009
        with pytest.raises(EOFError):
            await peer.event()
        assert trio.current_time() < 0.1
        await trio.sleep(0.5)
        await peer.stream.send_all(b"still talking")
        await trio.sleep(1)
        with pytest.raises(trio.BrokenResourceError):
            await peer.stream.send_all(b"too late")
