"""Strangers: what comes before a link is open."""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import Final

import trio

from ofcd.compliance.check import check as group
from ofcd.compliance.check import require
from ofcd.compliance.errors import NotKept
from ofcd.compliance.lab import Lab
from ofcd.compliance.p256 import container, off_curve_key, uncompressed_twin
from ofcd.compliance.peer import greet
from ofcd.protocol.codes import Code
from ofcd.protocol.frames import Detach, Done, Hello
from ofcd.protocol.ids import RelayId, RoomId, relay_id_of
from ofcd.themis import SecureSession, generate_keypair
from ofcd.themis.errors import ThemisError
from ofcd.wire import Closed, MessageStream

check = group("handshake")

_POLICY: Final = 1008
_TOO_BIG: Final = 1009
_NOT_BINARY: Final = 1003
_HANDSHAKE_SECONDS: Final = 10.0
_SLACK: Final = 20.0
"""A busy relay and a slow network may add as much to any time that OFC/1 names."""
_SOME_KEY: Final = b"dGhlIHNhbXBsZSBub25jZQ=="


async def closed(stream: MessageStream, seconds: float = _SLACK) -> Closed:
    """How the relay closes this WebSocket; whatever it says before is passed over."""
    try:
        with trio.fail_after(seconds):
            while True:
                await stream.receive()
    except Closed as end:
        return end
    except trio.TooSlowError:
        raise NotKept(f"the relay kept the link open for {seconds:g} s") from None


@check("opens", "2", "A handshake, hello and welcome open a link, at a relay with one lasting key.")
async def opens(lab: Lab) -> None:
    """The control: all other checks need this."""
    one, two = await lab.link(), await lab.link()
    require(one.relay_id == two.relay_id, "two links showed two relay keys")
    require(one.greeting.version == 1, "version 1 was offered and another one chosen")
    room = RoomId(secrets.token_bytes(32))
    await one.expect(Done, Detach(one.number(), room))
    challenges = one.greeting.challenge, two.greeting.challenge
    require(challenges[0] != challenges[1], "two links were given one challenge")


@check("pinned", "2", "The relay proves the key that its fingerprint names.")
async def pinned(lab: Lab) -> None:
    """By itself, or by the statements of how it came to it: the control is a pin that is wrong."""
    peer = await lab.link()
    require(peer.relay_id != RelayId(bytes(32)), "no relay id")
    shown = peer.greeting.succession
    require(bool(shown) == (relay_id_of(peer.relay_key) != peer.relay_id), "it shows what is none")


def _ids() -> dict[str, bytes]:
    keys = generate_keypair()
    rsa = container(b"RSA", b"") + bytes(20)
    return {
        "of 20 kB": b"A" * 20_000,
        "of 1 kB": b"A" * 1024,
        "of no bytes": b"",
        "cut by a byte": keys.public[:-1],
        "a byte too long": keys.public + b"\0",
        "of another tag": b"UEC1" + keys.public[4:],
        "of an RSA key": rsa,
        "of a private key": b"REC2" + keys.public[4:],
        "not compressed": uncompressed_twin(keys.public),
        "not on the curve": off_curve_key(),
    }


@check("ids", "1", "A session id that is no canonical 45-byte key is refused, and nothing breaks.")
async def ids(lab: Lab) -> None:
    """Themis copies what a callback returns into 1024 bytes of stack: test 2."""
    for name, peer_id in _ids().items():
        stream = await lab.message_stream()
        body = container(b"TSID", peer_id) + generate_keypair().public + secrets.token_bytes(71)
        await _send(stream, container(b"TSPM", body))
        await _refused_before_it_is_open(stream, f"an id {name}")
    await lab.link()


async def _send(stream: MessageStream, message: bytes) -> None:
    try:
        await stream.send(message)
    except Closed:
        return  # it has had enough already


async def _refused_before_it_is_open(stream: MessageStream, what: str) -> None:
    try:
        with trio.fail_after(_SLACK):
            answer = await stream.receive()
    except Closed:
        return
    except trio.TooSlowError:
        raise NotKept(f"{what} was neither refused nor answered") from None
    raise NotKept(f"{what} was answered by {len(answer)} bytes")


@check("lengths", "2", "Sizes inside a handshake message are checked, not believed.")
async def lengths(lab: Lab) -> None:
    """An id that claims to be longer than its message is read past its end by Themis."""
    keys = generate_keypair()
    hello = SecureSession(keys.public, keys.private, lambda peer: peer).connect_request()
    wrong = {
        "empty": b"",
        "cut in half": hello[: len(hello) // 2],
        "a byte too long": hello + b"x",
        "with an id longer than itself": hello[:16] + b"\x00\x00\x4e\x20" + hello[20:],
        "with a size of 4 GiB": hello[:4] + b"\xff" * 4 + hello[8:],
        "with a size of 0": hello[:4] + bytes(4) + hello[8:],
        "of noise": secrets.token_bytes(len(hello)),
        "that is HTTP": b"GET / HTTP/1.1\r\n\r\n",
    }
    for name, message in wrong.items():
        stream = await lab.message_stream()
        await _send(stream, message)
        await _refused_before_it_is_open(stream, f"a first message {name}")
    await lab.link()


@check("proof", "2", "A handshake whose proof is forged, or cut to nothing, opens no link.")
async def proof(lab: Lab) -> None:
    """The last message of the client's handshake."""
    for name in ("forged", "empty", "of another session"):
        keys = generate_keypair()
        session = SecureSession(keys.public, keys.private, lambda peer: peer)
        stream = await lab.message_stream()
        await stream.send(session.connect_request())
        good = session.handshake(await stream.receive()) or b""
        tail = secrets.token_bytes(32)
        made = {
            "forged": good[:-32] + tail,
            "empty": container(b"TSPM", good[12:-32]),
            "of another session": container(b"TSPM", secrets.token_bytes(len(good) - 12)),
        }
        await _send(stream, made[name])
        await _refused_before_it_is_open(stream, f"a proof that is {name}")


@check("size", "14", "Before a link is open, no message over 4 KiB is taken.")
async def size(lab: Lab) -> None:
    """PREAUTH_BYTES."""
    stream = await lab.message_stream()
    await _send(stream, bytes(4097 + 4096))
    end = await closed(stream)
    require(end.close_code == _TOO_BIG, f"it closed with {end.close_code}, not 1009")


@check("time", "2", "A link on which no handshake is made ends after 10 seconds.")
async def time(lab: Lab) -> None:
    """Silent from the start, and silent in the middle."""
    silent = await lab.message_stream()
    half = await lab.message_stream()
    keys = generate_keypair()
    session = SecureSession(keys.public, keys.private, lambda peer: peer)
    await half.send(session.connect_request())
    await closed(silent, _HANDSHAKE_SECONDS + _SLACK)
    await closed(half, _HANDSHAKE_SECONDS + _SLACK)


@check("slow", "2", "A request that dribbles in, byte by byte, does not hold a connection.")
async def slow(lab: Lab) -> None:
    """Slow loris."""
    stream = await lab.bare()
    request = f"GET {lab.target.path} HTTP/1.1\r\nHost: {lab.target.host}\r\nX-Slow: "
    with trio.move_on_after(_HANDSHAKE_SECONDS + _SLACK) as patience:
        try:
            await stream.send_all(request.encode())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_dribble, stream)
                while await stream.receive_some(4096):
                    pass
                nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
    require(not patience.cancelled_caught, "half a request held its connection for ever")


async def _dribble(stream: trio.abc.Stream) -> None:
    while True:
        await stream.send_all(b"x")
        await trio.sleep(0.5)


def _upgrade(lab: Lab, *headers: str) -> bytes:
    lines = [
        f"GET {lab.target.path} HTTP/1.1",
        f"Host: {lab.target.host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {_SOME_KEY.decode()}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


async def _http_answer(lab: Lab, request: bytes) -> tuple[trio.abc.Stream, bytes]:
    stream = await lab.bare()
    answer = b""
    try:
        with trio.fail_after(_HANDSHAKE_SECONDS + _SLACK):
            await stream.send_all(request)
            while b"\r\n\r\n" not in answer and (data := await stream.receive_some(4096)):
                answer += data
    except trio.BrokenResourceError:
        pass
    except trio.TooSlowError:
        raise NotKept("the relay did not answer an HTTP request") from None
    return stream, answer


_V13: Final = "Sec-WebSocket-Version: 13"
_OFC: Final = "Sec-WebSocket-Protocol: ofc.1"


@check("subprotocol", "2", "Only a WebSocket of the subprotocol ofc.1 is opened, uncompressed.")
async def subprotocol(lab: Lab) -> None:
    """Compressing beside a secret leaks it."""
    for name, headers in {
        "no subprotocol": (_V13,),
        "another subprotocol": (_V13, "Sec-WebSocket-Protocol: ofc.99"),
        "an old WebSocket": ("Sec-WebSocket-Version: 8", _OFC),
    }.items():
        _, answer = await _http_answer(lab, _upgrade(lab, *headers))
        require(answer[:10] in (b"HTTP/1.1 4", b""), f"a request with {name} was not refused")
    deflate = "Sec-WebSocket-Extensions: permessage-deflate"
    _, answer = await _http_answer(lab, _upgrade(lab, _V13, _OFC, deflate))
    require(answer.startswith(b"HTTP/1.1 101"), "a request that offers compression was refused")
    require(b"permessage-deflate" not in answer.lower(), "the relay compresses")


@check("http", "2", "What is no request for a WebSocket gets a plain HTTP answer, or none.")
async def http(lab: Lab) -> None:
    """Garbage, an endless head, a body without end."""
    for name, data in {
        # Without the end of a line, and nothing that shows at once that it is none of HTTP.
        "noise": b"N" + secrets.token_bytes(2000).replace(b"\n", b"N"),
        "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + secrets.token_bytes(500),
        "a head of 100 kB": b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        "a body of 90 GB": b"POST / HTTP/1.1\r\nHost: r\r\nContent-Length: 99999999999\r\n\r\n",
        "a path upwards": b"GET /../../etc/passwd HTTP/1.1\r\nHost: r\r\n\r\n",
    }.items():
        _, answer = await _http_answer(lab, data)
        require(not answer.startswith(b"HTTP/1.1 2"), f"{name} was answered as if it were right")
        require(b"Traceback" not in answer, f"{name} was answered with the relay's insides")
    await lab.link()


def _masked(opcode: int, payload: bytes) -> bytes:
    return bytes([0x80 | opcode, 0x80 | len(payload), 0, 0, 0, 0]) + payload


@check("text", "2", "A WebSocket text message closes the link with 1003.")
async def text(lab: Lab) -> None:
    """Binary messages only."""
    stream, answer = await _http_answer(lab, _upgrade(lab, _V13, _OFC))
    require(answer.startswith(b"HTTP/1.1 101"), "the relay opened no WebSocket")
    rest = answer.partition(b"\r\n\r\n")[2]
    try:
        with trio.fail_after(_SLACK):
            await stream.send_all(_masked(1, b"hello"))
            while len(rest) < 4 and (data := await stream.receive_some(4096)):
                rest += data
    except trio.BrokenResourceError:
        pass
    except trio.TooSlowError:
        raise NotKept("a text message was neither refused nor answered") from None
    code = int.from_bytes(rest[2:4], "big") if rest[:1] == b"\x88" else 0
    require(code == _NOT_BINARY, f"a text message closed the link with {code}, not 1003")


@check("paths", "2", "The WebSocket is at / and at /ofc, and nowhere else.")
async def paths(lab: Lab) -> None:
    """Another path is no WebSocket."""
    request = _upgrade(lab, _V13, _OFC).replace(lab.target.path.encode(), b"/nowhere-at-all", 1)
    _, answer = await _http_answer(lab, request)
    require(not answer.startswith(b"HTTP/1.1 101"), "there is a WebSocket at /nowhere-at-all")


@check("versions", "16", "The relay picks a version both speak, or ends with unsupported_version.")
async def versions(lab: Lab) -> None:
    """A client of the future, and one of nowhere."""
    both = await greet(await lab.shaken(), (1, 999))
    require(both.greeting.version == 1, "of versions 1 and 999 the relay did not choose 1")
    peer = await lab.shaken()
    await peer.send(Hello(versions=(999,)))
    end = await peer.ended()
    require(
        end.last_words == Code.UNSUPPORTED_VERSION or end.close_code == _POLICY,
        f"a client that speaks only version 999 got {end.last_words or end.close_code}",
    )


@check("hello", "2", "The first frame is hello, and there is one.")
async def hello(lab: Lab) -> None:
    """A request before it; a second one."""
    early = await lab.shaken()
    await early.send(Detach(1, RoomId(bytes(32))))
    end = await early.ended()
    require(not any(isinstance(f, Done) for f in early.inbox), f"it was answered, then: {end}")
    twice = await lab.link()
    await twice.send(Hello(versions=(1,)))
    end = await twice.ended()
    require(end.last_words == Code.BAD_FRAME, f"a second hello: {end.last_words}, not bad_frame")


@check("relay_only", "2", "No link is opened to who can not prove the key that is its id.")
async def relay_only(lab: Lab) -> None:
    """The id of one key, the proof of another."""
    mine, anothers = generate_keypair(), generate_keypair()
    session = SecureSession(anothers.public, mine.private, lambda peer: peer)
    stream = await lab.message_stream()
    await stream.send(session.connect_request())
    try:
        with trio.fail_after(_SLACK):
            answer = await stream.receive()
    except Closed:
        return
    except trio.TooSlowError:
        raise NotKept("a false id was neither refused nor answered") from None
    with suppress(ThemisError):
        await _send(stream, session.handshake(answer) or b"")
    await _refused_before_it_is_open(stream, "the proof of another key")
