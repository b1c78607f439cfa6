"""Secure Session against a hostile peer: test 2 of protocol.md section 5, and the layout rules.

An attacker here has keys of its own and writes every byte of its messages.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofcd import themis
from ofcd.compliance import p256
from tests.themis.helpers import accept, connect, flipped, load_vectors, new_session

REFUSED = {name: bytes.fromhex(raw) for name, raw in load_vectors()["refused_public_keys"].items()}
EVE = themis.generate_keypair()
HONEST = themis.generate_keypair()

BAD_IDS = {
    "20 kB": bytes(20_000),
    "empty": b"",
    "44 bytes": EVE.public[:44],
    "46 bytes": EVE.public + b"\0",
    "rsa": REFUSED["rsa"],
    "uncompressed": REFUSED["uncompressed"],
    "off curve": REFUSED["off_curve"],
    "private key": EVE.private,
    "wrong checksum": flipped(EVE.public, 9),
}


def signature(private: bytes, data: bytes) -> bytes:
    """The bare ECDSA signature, taken out of a signed message."""
    return themis.sign(private, data)[12 + len(data) :]


def hello(peer_id: bytes, ephemeral: bytes, signed: bytes) -> bytes:
    """A hello with right sizes and checksums around whatever is given."""
    return p256.container(b"TSPM", p256.container(b"TSID", peer_id) + ephemeral + signed)


def forged_hello(peer_id: bytes, ephemeral: bytes = EVE.public) -> bytes:
    """What a peer with that id could send; the ephemeral key is signed with Eve's."""
    return hello(peer_id, ephemeral, signature(EVE.private, ephemeral))


def assert_refused(message: bytes) -> None:
    """A server refuses it as its first message, is closed, and the process serves others."""
    server = new_session()
    with pytest.raises(themis.SessionError):
        server.handshake(message)
    assert not server.is_established
    with pytest.raises(themis.SessionError):
        server.handshake(new_session().connect_request())


def test_the_forgery_itself_is_sound() -> None:
    """Eve's hello under her own id is answered: the refusals below are for what they change."""
    assert new_session().handshake(forged_hello(EVE.public))


@pytest.mark.parametrize("name", BAD_IDS)
def test_a_bad_id_is_refused_by_the_server(name: str) -> None:
    """E3: each of these once reached a C buffer of 1024 bytes; the process must stay alive."""
    assert_refused(forged_hello(BAD_IDS[name]))


@pytest.mark.parametrize("name", BAD_IDS)
def test_a_bad_id_is_refused_by_the_client(name: str) -> None:
    """The same from a server."""
    client = new_session()
    client.connect_request()
    with pytest.raises(themis.SessionError):
        client.handshake(forged_hello(BAD_IDS[name]))
    assert not client.is_established


@pytest.mark.parametrize("name", sorted(set(BAD_IDS) - {"off curve", "wrong checksum"}))
def test_a_bad_id_never_reaches_accept_peer(name: str) -> None:
    """Whoever decides is only shown keys in canonical form."""
    asked: list[bytes] = []

    def ask(peer: bytes) -> bytes:
        asked.append(peer)
        return peer

    server = themis.SecureSession(HONEST.public, HONEST.private, ask)
    with pytest.raises(themis.SessionError):
        server.handshake(forged_hello(BAD_IDS[name]))
    assert asked == []


@pytest.mark.parametrize("name", BAD_IDS)
def test_accept_peer_can_not_answer_another_key(name: str) -> None:
    """E4: the key is the id. A too long or foreign answer is refused, on either core."""
    for answer in (BAD_IDS[name], HONEST.public):
        decide = {EVE.public: answer}.get
        server = themis.SecureSession(HONEST.public, HONEST.private, decide)
        with pytest.raises(themis.SessionError):
            server.handshake(forged_hello(EVE.public))


def test_own_ids_are_keys_too() -> None:
    """A session of ours never starts with an id that others would refuse."""
    for name in sorted(set(BAD_IDS) - {"off curve", "wrong checksum"}):
        with pytest.raises(themis.InvalidInput):
            themis.SecureSession(BAD_IDS[name], EVE.private, accept)
    for private in (b"", EVE.public, EVE.private[:-1]):
        with pytest.raises(themis.InvalidInput):
            themis.SecureSession(EVE.public, private, accept)


def test_a_peer_can_be_refused() -> None:
    """None from accept_peer ends the handshake, at either end."""
    server = themis.SecureSession(HONEST.public, HONEST.private, lambda _: None)
    with pytest.raises(themis.SessionError, match="not accepted"):
        server.handshake(new_session().connect_request())
    client = themis.SecureSession(EVE.public, EVE.private, lambda _: None)
    answer = new_session().handshake(client.connect_request())
    assert answer
    with pytest.raises(themis.SessionError, match="not accepted"):
        client.handshake(answer)


def test_an_accept_peer_that_raises_fails_closed() -> None:
    """Its exception is the cause of a typed error, and the session is closed."""

    def broken(_peer: bytes) -> bytes:
        raise KeyError("no such table")

    server = themis.SecureSession(HONEST.public, HONEST.private, broken)
    with pytest.raises(themis.SessionError) as failed:
        server.handshake(new_session().connect_request())
    assert isinstance(failed.value.__cause__, KeyError)
    with pytest.raises(themis.SessionError):
        server.handshake(new_session().connect_request())


def test_another_s_id_without_its_key_is_refused() -> None:
    """Eve shows the honest key as her id: she can not sign for it."""
    assert_refused(forged_hello(HONEST.public))


def test_a_replayed_hello_gets_no_further() -> None:
    """An honest client's recorded hello is answered, but only its owner can prove the next step."""
    recorded = new_session(HONEST).connect_request()
    server, other = new_session(), new_session()
    assert server.handshake(recorded)
    client = new_session(HONEST)
    foreign = other.handshake(client.connect_request())
    assert foreign
    proof = client.handshake(foreign)
    assert proof
    with pytest.raises(themis.SessionError):
        server.handshake(proof)
    assert not server.is_established


def test_an_ephemeral_key_off_the_curve_ends_the_handshake() -> None:
    """Signed correctly, at both steps, by a peer with a good id: no secret is derived from it."""
    off_curve = REFUSED["off_curve"]
    server = new_session(HONEST)
    answer = server.handshake(forged_hello(EVE.public, off_curve))
    assert answer
    server_ephemeral = answer[12 + 12 + 45 : 12 + 12 + 45 + 45]
    proven = off_curve + server_ephemeral + EVE.public + HONEST.public
    proof = p256.container(b"TSPM", signature(EVE.private, proven) + bytes(32))
    with pytest.raises(themis.SessionError):
        server.handshake(proof)
    assert not server.is_established


def lying(message: bytes, at: int, size: int) -> bytes:
    """`message` with the u32 at `at` replaced and the outer checksum set right again."""
    changed = message[:at] + struct.pack(">I", size) + message[at + 4 :]
    body = changed[12:]
    checksum = p256.crc32c(changed[:8] + bytes(4) + body)
    return changed[:8] + checksum.to_bytes(4, "little") + body


@pytest.mark.parametrize("size", [0, 1, 11, 12, 56, 58, 4096, 2**31, 2**32 - 1])
@pytest.mark.parametrize("at", [4, 12 + 4, 12 + 57 + 4])
def test_sizes_inside_a_hello_that_lie(at: int, size: int) -> None:
    """Outer container, id and ephemeral key: the core would read where they point."""
    assert_refused(lying(forged_hello(EVE.public), at, size))


@pytest.mark.parametrize("mac", [0, 1, 16, 31, 33, 64])
def test_a_confirmation_needs_its_whole_mac(mac: int) -> None:
    """The core compares only as many bytes as there are; an empty MAC would match."""
    client, server = new_session(), new_session()
    answer = server.handshake(client.connect_request())
    assert answer
    proof = client.handshake(answer)
    assert proof
    confirmation = server.handshake(proof)
    assert confirmation
    with pytest.raises(themis.SessionError):
        client.handshake(p256.container(b"TSPM", (confirmation[12:] * 2)[:mac]))
    assert not client.is_established


@pytest.mark.parametrize("kept", [0, 1, 31, 32, 33, 39])
def test_a_proof_shorter_than_its_mac(kept: int) -> None:
    """The core takes 32 from its length unchecked."""
    client, server = new_session(), new_session()
    answer = server.handshake(client.connect_request())
    assert answer
    proof = client.handshake(answer)
    assert proof
    with pytest.raises(themis.SessionError):
        server.handshake(p256.container(b"TSPM", proof[12 : 12 + kept]))
    assert not server.is_established


Change = Callable[[bytes], bytes]


def flipped_within(at: int, message: bytes) -> bytes:
    """One bit changed at `at`, or in the last byte of a shorter message."""
    return flipped(message, min(at, len(message) - 1))


def changed_handshake(step: int, change: Change) -> None:
    """A whole handshake, with message `step` changed on its way."""
    client, server = new_session(), new_session()
    message = client.connect_request()
    for turn, end in enumerate((server, client, server, client)):
        message = end.handshake(change(message) if turn == step else message) or b""


@pytest.mark.parametrize("step", range(4))
def test_a_changed_handshake_message_is_refused(step: int) -> None:
    """One bit in every seventh byte of each of the four messages: someone refuses."""
    changed_handshake(step, lambda message: message)
    for at in range(0, [185, 185, 116, 44][step], 7):
        with pytest.raises(themis.SessionError):
            changed_handshake(step, functools.partial(flipped_within, at))


CUTS: dict[str, Change] = {
    "one less": lambda message: message[:-1],
    "one more": lambda message: message + b"\0",
    "only the header": lambda message: message[:12],
    "nothing": lambda _: b"",
}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("step", range(4))
def test_a_cut_handshake_message_is_refused(step: int, cut: str) -> None:
    """Shorter by any amount, or longer."""
    with pytest.raises(themis.SessionError):
        changed_handshake(step, CUTS[cut])


def test_handshake_messages_out_of_turn() -> None:
    """A hello where a proof is due, a proof first, our own hello back: refused."""
    client, server = new_session(), new_session()
    request = client.connect_request()
    with pytest.raises(themis.SessionError):
        client.handshake(request)
    answer = server.handshake(request)
    assert answer
    with pytest.raises(themis.SessionError):
        server.handshake(request)
    assert_refused(p256.container(b"TSPM", bytes(104)))


@given(st.binary(max_size=400))
def test_noise_is_no_handshake(noise: bytes) -> None:
    """Arbitrary bytes, bare and in a well-formed container."""
    assert_refused(noise)
    assert_refused(p256.container(b"TSPM", noise))


def test_after_all_that_honest_ends_still_meet() -> None:
    """The core is in one piece."""
    client, server = new_session(), new_session()
    connect(client, server)
    assert server.unwrap(client.wrap(b"well")) == b"well"
