"""Hostile network clients against a live relay, while two honest people talk on."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import trio
from attrs import define, field

from ofcd.channel import ChannelError
from ofcd.client import Room
from ofcd.protocol import frames
from ofcd.protocol.codec import join_parts
from ofcd.protocol.ids import Hash32, InviteId, RoomId
from ofcd.session import ClientSession, SessionState
from ofcd.themis import generate_keypair
from ofcd.wire import Closed, MessageStream, WireError, dial
from tests.live.support import QUICK, Relay, client, settle

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(900)]

SHORT = 2
LONG = 60
"""Seconds for a handshake: short where nobody is to come to its end, long where all are."""
AT_ONCE = 3
"""How many do the same, together with all the others: if each holds the relay up, they add up."""
ENOUGH = 10
"""Honest messages that arrive while an attack goes on: it goes on until they have."""
PATIENCE = 300.0
"""Seconds after which what has not happened never will, however busy the machine is."""
BOUND = 15.0
TIMES = 30
"""An honest message may take `BOUND` seconds meanwhile, and so many times what it took before: who
is held up by an attack waits for its end. How long it takes is for benchmarks, not for tests."""
MEMORY = 64 * 2**20
"""Bytes that the relay may grow by."""


@define
class Talk:
    """An honest conversation, and how long each message took to arrive."""

    relay: Relay
    room: Room
    before: list[float] = field(factory=list)
    delays: list[float] = field(factory=list)
    at_rest: int = 0

    async def under(self, attack: Callable[[], Awaitable[None]]) -> None:
        """Attack, and again, until enough has been said meanwhile."""
        enough = len(self.delays) + ENOUGH
        with trio.fail_after(PATIENCE):
            await attack()
            while len(self.delays) < enough:
                await attack()

    async def goes_on(self) -> None:
        """Wait until enough has been said while an attack runs beside this."""
        await self.under(partial(trio.sleep, 0.1))

    def check(self) -> None:
        """It went on all the time, and the relay is no larger than it was."""
        assert len(self.delays) >= ENOUGH
        assert max(self.delays) < BOUND + TIMES * max(self.before)
        grown = self.relay.rss() - self.at_rest
        assert grown < MEMORY, f"the relay grew by {grown >> 20} MiB"
        assert self.relay.get("/healthz")[0] == 200


@asynccontextmanager
async def honest_talk(folder: Path, handshake_seconds: int = LONG) -> AsyncIterator[Talk]:
    """Ana and Bo talk for as long as the block lasts; checked at its end."""
    relay = Relay(folder, limits=f"{QUICK}handshake_seconds = {handshake_seconds}\n")
    relay.start()
    try:
        async with client(folder / "ana") as ana, client(folder / "bo") as bo:
            tea = await ana.create_room(relay.url, "tea", my_name="Ana")
            at_bo = await bo.join(await tea.invite(), name="Bo")
            talk = Talk(relay, tea)
            talk.before = [await measured(tea, at_bo) for _ in range(20)]
            talk.at_rest = relay.rss()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(go_on, talk, at_bo)
                yield talk
                nursery.cancel_scope.cancel()
            for _ in range(ENOUGH):
                await measured(at_bo, tea)
            await settle(tea, at_bo)
            talk.check()
    finally:
        relay.kill()


async def go_on(talk: Talk, other: Room) -> None:
    while True:
        talk.delays.append(await measured(talk.room, other))
        await trio.sleep(0.05)


async def measured(sender: Room, receiver: Room) -> float:
    """Seconds from sending to the other end's having it."""
    began = trio.current_time()
    sent = await sender.send("still here")
    while receiver.head < sent.seq:  # noqa: ASYNC110 - it measures from outside
        await trio.sleep(0.002)
    return trio.current_time() - began


@asynccontextmanager
async def proven(relay: Relay) -> AsyncIterator[tuple[MessageStream, ClientSession]]:
    """A link whose handshake is done, by a client that will misbehave."""
    async with dial(relay.url) as stream:
        session = ClientSession(generate_keypair(), None)
        await stream.send(session.connect())
        while session.state is not SessionState.OPEN:
            for reply in session.receive(await stream.receive()).replies:
                await stream.send(reply)
        yield stream, session


async def comes_in(relay: Relay) -> None:
    """Open a link, again where this machine was too busy to do so in time."""
    with trio.fail_after(PATIENCE):
        while True:
            with suppress(Closed):
                async with proven(relay):
                    return


async def is_closed(stream: MessageStream) -> bool:
    """Whether the relay closes this link."""
    with trio.move_on_after(PATIENCE):
        try:
            while True:
                await stream.receive()
        except Closed:
            return True
    return False


async def raw(relay: Relay, data: bytes) -> bytes:
    """Send bytes to its port; everything it answers until it closes."""
    async with await trio.open_tcp_stream("127.0.0.1", relay.port) as stream:
        try:
            await stream.send_all(data)
            return b"".join([bytes(chunk) async for chunk in stream])
        except trio.BrokenResourceError:
            return b""


async def test_garbage_before_the_handshake(tmp_path: Path) -> None:
    """Random bytes, broken HTTP, endless heads: answered with an HTTP error or closed."""
    long_head = b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"
    garbage = [
        b"GET /ofc HTTP/1.1\r\nHost: r\r\nUpgrade: websocket\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(500),
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: r\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: r\r\nContent-Length: 99999999999\r\n\r\n",
        b"GET / HTTP/1.1\r\n" * 10_000,
        b"\x00" * 100_000,
        long_head,
    ]

    async def throw(relay: Relay, data: bytes) -> None:
        with trio.fail_after(PATIENCE):
            answer = await raw(relay, data)
        assert not answer.startswith(b"HTTP/1.1 2")
        assert b"Traceback" not in answer

    async with honest_talk(tmp_path, SHORT) as talk:

        async def attack() -> None:
            async with trio.open_nursery() as nursery:
                for data in (*garbage, os.urandom(2000)) * AT_ONCE:
                    nursery.start_soon(throw, talk.relay, data)

        for _ in range(3):
            await talk.under(attack)


async def test_garbage_in_the_handshake(tmp_path: Path) -> None:
    """Ids of 20 kB, none, wrong tags, random bytes, one byte too many: the link is closed."""
    async with honest_talk(tmp_path, SHORT) as talk:
        first = ClientSession(generate_keypair(), None).connect()
        long_id = first[:8] + b"\x00\x00\x4e\x20" + first[12:] + b"A" * 20_000
        garbage = (
            b"",
            b"\x00",
            os.urandom(300),
            os.urandom(4096),
            os.urandom(5000),
            first[:-1],
            first[: len(first) // 2],
            first + b"x",
            long_id,
            bytes(byte ^ 0x20 for byte in first),
        )

        async def throw(message: bytes) -> None:
            async with dial(talk.relay.url) as stream:
                await stream.send(message)
                assert await is_closed(stream), message[:20]

        async def attack() -> None:
            async with trio.open_nursery() as nursery:
                for message in garbage * AT_ONCE:
                    nursery.start_soon(throw, message)

        await talk.under(attack)


async def test_garbage_after_the_handshake(tmp_path: Path) -> None:
    """Forged, replayed, malformed and oversized messages on a proven link: it is closed."""
    async with honest_talk(tmp_path) as talk:

        async def throw(make: Callable[[ClientSession], list[bytes]]) -> None:
            async with proven(talk.relay) as (stream, session):
                with suppress(WireError):
                    for message in make(session):
                        await stream.send(message)
                    assert await is_closed(stream), make.__name__

        async def attack() -> None:
            makers = (forged, replayed, malformed, wrong_part_lengths, too_large, many_parts)
            async with trio.open_nursery() as nursery:
                for make in makers * AT_ONCE:
                    nursery.start_soon(throw, make)

        await talk.under(attack)


def forged(session: ClientSession) -> list[bytes]:
    return [os.urandom(200)]


def replayed(session: ClientSession) -> list[bytes]:
    message = session.send([frames.Lookup(1, ROOM, INVITE, Hash32(bytes(32)))])
    return [message, message]


def malformed(session: ClientSession) -> list[bytes]:
    return [session.send([b"this is no frame"])]


def wrong_part_lengths(session: ClientSession) -> list[bytes]:
    return [session.send([join_parts([b'{"t":"post"}', b""])[:-1] + b"\xff"])]


def too_large(session: ClientSession) -> list[bytes]:
    return [session.send([b"x" * (5 * 2**20)])]


def many_parts(session: ClientSession) -> list[bytes]:
    return [session.send([b""] * 100_000)]


ROOM = RoomId(bytes(32))
INVITE = InviteId(bytes(16))


async def test_slow_loris(tmp_path: Path) -> None:
    """200 connections that dribble are gone when their time is up; others come in meanwhile."""
    async with honest_talk(tmp_path, SHORT) as talk:
        sent: list[int] = []
        request = b"GET /ofc HTTP/1.1\r\nHost: relay\r\nX-Slow: " + b"x" * 1000

        async def dribble() -> None:
            count = 0
            async with await trio.open_tcp_stream("127.0.0.1", talk.relay.port) as stream:
                with suppress(trio.BrokenResourceError):
                    for byte in request:  # for 50 times as long as it may take
                        await stream.send_all(bytes([byte]))
                        count += 1
                        await trio.sleep(0.1)
            sent.append(count)

        async def attack() -> None:
            async with trio.open_nursery() as nursery:
                for _ in range(200):
                    nursery.start_soon(dribble)
                await comes_in(talk.relay)

        await talk.under(attack)
        assert len(sent) >= 200
        assert max(sent) < len(request)


async def test_links_that_never_shake_hands(tmp_path: Path) -> None:
    """100 links upgraded and then silent: closed when the handshake's time is up."""
    async with honest_talk(tmp_path, SHORT) as talk:
        closed: list[bool] = []

        async def idle() -> None:
            async with dial(talk.relay.url) as stream:
                closed.append(await is_closed(stream))

        async def attack() -> None:
            async with trio.open_nursery() as nursery:
                for _ in range(100):
                    nursery.start_soon(idle)

        await talk.under(attack)
        assert set(closed) == {True}


async def test_ten_thousand_invites_guessed(tmp_path: Path) -> None:
    """Guessing costs the guesser: most guesses are never looked at, and none tells anything."""
    answers: Counter[str] = Counter()
    async with honest_talk(tmp_path) as talk:
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(guess, talk, 1000, answers)
    assert set(answers) == {"invite_unknown", "rate_limited"}
    assert answers.total() == 10_000
    assert answers["rate_limited"] > answers["invite_unknown"]


async def guess(talk: Talk, count: int, answers: Counter[str]) -> None:
    """On a link of its own, as fast as it is answered."""
    batch = [
        frames.Lookup(n + 1, talk.room.id, InviteId(os.urandom(16)), Hash32(os.urandom(32)))
        for n in range(count)
    ]
    async with proven(talk.relay) as (stream, session):
        for start in range(0, count, 50):
            await stream.send(session.send(batch[start : start + 50]))
            got = 0
            while got < 50:
                for frame in session.receive(await stream.receive()).frames:
                    assert isinstance(frame, frames.Failure), frame
                    answers[frame.code] += 1
                    got += 1


async def test_floods(tmp_path: Path) -> None:
    """Tiny frames without end, and never reading the answers: bounded cost, others served on."""
    async with honest_talk(tmp_path) as talk, trio.open_nursery() as nursery:
        for flood in (tiny_frames, unread_answers, tiny_pieces, pings):
            nursery.start_soon(until_closed, flood, talk.relay)
        await trio.sleep(6)
        await talk.goes_on()
        nursery.cancel_scope.cancel()


Flood = Callable[[Relay], Awaitable[None]]


async def until_closed(flood: Flood, relay: Relay) -> None:
    """Begin again whenever the relay has had enough."""
    while True:
        try:
            await flood(relay)
        except (WireError, ChannelError, trio.BrokenResourceError):
            await trio.sleep(0.05)


async def tiny_frames(relay: Relay) -> None:
    """Requests one by one, read as fast as they are answered."""
    async with proven(relay) as (stream, session), trio.open_nursery() as nursery:
        nursery.start_soon(drain, stream)
        for rid in range(1, 10**6):
            detach = frames.Lookup(rid, ROOM, INVITE, Hash32(bytes(32)))
            await stream.send(session.send([detach]))


async def drain(stream: MessageStream) -> None:
    while True:
        await stream.receive()


async def unread_answers(relay: Relay) -> None:
    """Requests whose answers are never read."""
    async with proven(relay) as (stream, session):
        for rid in range(1, 10**6):
            lookup = frames.Lookup(rid, ROOM, INVITE, Hash32(bytes(32)))
            await stream.send(session.send([lookup] * 20))
            await trio.lowlevel.checkpoint()


UPGRADE = (
    b"GET /ofc HTTP/1.1\r\nHost: relay\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: ofc.1\r\n\r\n"
)


async def tiny_pieces(relay: Relay) -> None:
    """One message in endless pieces of one byte."""
    async with await trio.open_tcp_stream("127.0.0.1", relay.port) as stream:
        await stream.send_all(UPGRADE + b"\x02\x81\x00\x00\x00\x00a")
        while True:
            await stream.send_all(b"\x00\x81\x00\x00\x00\x00a" * 1000)
            await trio.lowlevel.checkpoint()


async def pings(relay: Relay) -> None:
    """WebSocket pings, and no reading of the pongs."""
    async with await trio.open_tcp_stream("127.0.0.1", relay.port) as stream:
        await stream.send_all(UPGRADE)
        while True:
            await stream.send_all((b"\x89\xfd\x00\x00\x00\x00" + b"p" * 125) * 100)
            await trio.lowlevel.checkpoint()
