"""Secure Session between honest ends, and what it does not promise (E1, E2)."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofcd import themis
from tests.themis.helpers import accept, connect, established, flipped, new_session


def test_a_handshake_proves_both_keys() -> None:
    """After four messages each end knows the other's key, and says so; not before."""
    alice, bob = themis.generate_keypair(), themis.generate_keypair()
    client, server = new_session(alice), new_session(bob)
    for end in (client, server):
        assert not end.is_established
        with pytest.raises(themis.SessionError):
            assert end.peer_id
    connect(client, server)
    assert client.is_established
    assert server.is_established
    assert client.peer_id == bob.public
    assert server.peer_id == alice.public


def test_accept_peer_is_asked_once_with_the_key() -> None:
    """Each end decides on the other's key, one time a handshake."""
    alice, bob = themis.generate_keypair(), themis.generate_keypair()
    asked: list[tuple[str, bytes]] = []

    def ask(who: str, peer: bytes) -> bytes:
        asked.append((who, peer))
        return peer

    client = themis.SecureSession(alice.public, alice.private, lambda peer: ask("client", peer))
    server = themis.SecureSession(bob.public, bob.private, lambda peer: ask("server", peer))
    connect(client, server)
    assert asked == [("server", alice.public), ("client", bob.public)]


@given(st.lists(st.tuples(st.booleans(), st.binary(min_size=1, max_size=2000)), max_size=8))
def test_messages_pass_both_ways(messages: list[tuple[bool, bytes]]) -> None:
    """Any payload, in any mixture of directions, comes out as it went in, 52 bytes longer."""
    client, server = established()
    for from_client, text in messages:
        here, there = (client, server) if from_client else (server, client)
        wrapped = here.wrap(text)
        assert len(wrapped) == len(text) + themis.SESSION_OVERHEAD
        assert there.unwrap(wrapped) == text


def test_a_large_batch_passes() -> None:
    """Two MiB, larger than the embedded core's first scratch area."""
    client, server = established()
    batch = bytes(range(256)) * 8192
    assert server.unwrap(client.wrap(batch)) == batch
    assert client.unwrap(server.wrap(b"still here")) == b"still here"


def test_many_sessions_do_not_mix() -> None:
    """Sessions of one thread are strangers to each other, and outlive each other."""
    pairs = [established() for _ in range(5)]
    wrapped = [client.wrap(bytes([number])) for number, (client, _) in enumerate(pairs)]
    with pytest.raises(themis.SessionError):
        pairs[0][1].unwrap(wrapped[1])
    del pairs[2], wrapped[2]
    for (_, server), message in list(zip(pairs, wrapped, strict=True))[1:]:
        assert server.unwrap(message) in {b"\1", b"\3", b"\4"}


def test_a_session_has_its_own_keys_each_time() -> None:
    """The same two people shake hands twice: messages of one session do not open in the other."""
    alice, bob = themis.generate_keypair(), themis.generate_keypair()
    first, second = (new_session(alice), new_session(bob)), (new_session(alice), new_session(bob))
    connect(*first)
    connect(*second)
    with pytest.raises(themis.SessionError):
        second[1].unwrap(first[0].wrap(b"for the first"))


def test_repetition_passes() -> None:
    """E1: the same frame is taken again, and an older one; so whoever uses this counts frames."""
    client, server = established()
    frames = [client.wrap(bytes([number])) for number in range(10)]
    for number in (0, 0, 0, 7, 2):
        assert server.unwrap(frames[number]) == bytes([number])


def test_replay_walks_the_window_back() -> None:
    """E1: replayed steps of at most 8 lead back, until an honest frame is too far ahead."""
    client, server = established()
    frames = [client.wrap(bytes([number])) for number in range(101)]
    for number in [*range(100), *range(92, -1, -8)]:
        assert server.unwrap(frames[number]) == bytes([number])
    with pytest.raises(themis.SessionError):
        server.unwrap(frames[100])


def test_loss_passes_up_to_a_window_and_then_breaks() -> None:
    """E1, E2: a gap of 7 goes unnoticed; a frame far ahead of the last one is refused."""
    client, server = established()
    frames = [client.wrap(bytes([number])) for number in range(30)]
    assert server.unwrap(frames[0]) == b"\0"
    assert server.unwrap(frames[8]) == b"\x08"
    with pytest.raises(themis.SessionError):
        server.unwrap(frames[28])


def test_reflection_is_refused() -> None:
    """An end does not take its own message back."""
    client, _ = established()
    with pytest.raises(themis.SessionError):
        client.unwrap(client.wrap(b"to you"))


UNUSED = range(16, 20)
"""Of the 16 bytes that Secure Session stores as IV, AES-GCM uses 12."""


@pytest.mark.parametrize("at", sorted(set(range(52 + 8)) - set(UNUSED)))
def test_a_changed_message_is_refused_and_closes(at: int) -> None:
    """Any byte of session id, IV, sealed header, payload, tag; afterwards nothing works."""
    client, server = established()
    with pytest.raises(themis.SessionError):
        server.unwrap(flipped(client.wrap(b"8 bytes!"), at))
    assert not server.is_established
    for act in (server.unwrap, server.wrap, server.handshake):
        with pytest.raises(themis.SessionError):
            act(client.wrap(b"later"))


def test_four_bytes_of_a_message_mean_nothing() -> None:
    """Changing them changes no payload: a frame's bytes are no identity (as E6 for signatures)."""
    for at in UNUSED:
        client, server = established()
        assert server.unwrap(flipped(client.wrap(b"8 bytes!"), at)) == b"8 bytes!"


@pytest.mark.parametrize("end", [0, 1, 4, 20, 51, 52, 53, 59])
def test_a_cut_message_is_refused(end: int) -> None:
    """However much is missing."""
    client, server = established()
    with pytest.raises(themis.SessionError):
        server.unwrap(client.wrap(b"8 bytes!")[:end])


@pytest.mark.parametrize("length", [0, 4, 11, 12, 13, 19, 21, 28, 2**31, 2**32 - 1])
def test_a_forged_inner_length_is_refused(length: int) -> None:
    """The length in a message can be flipped unseen before the tag is checked: still refused.

    (The core takes 12 from it unchecked; whichever core, the process stays alive.)
    """
    client, server = established()
    wrapped = bytearray(client.wrap(b"8 bytes!"))
    for index, (old, new) in enumerate(
        zip((8 + 12).to_bytes(4, "big"), length.to_bytes(4, "big"), strict=True)
    ):
        wrapped[20 + index] ^= old ^ new
    with pytest.raises(themis.SessionError):
        server.unwrap(bytes(wrapped))
    other_client, other_server = established()
    assert other_server.unwrap(other_client.wrap(b"others live on")) == b"others live on"


def test_nothing_is_wrapped_empty() -> None:
    """An empty payload is the caller's mistake, and does not close the session."""
    client, server = established()
    with pytest.raises(themis.InvalidInput):
        client.wrap(b"")
    assert server.unwrap(client.wrap(b"on")) == b"on"


def test_messages_wait_for_the_handshake() -> None:
    """Neither wrap nor unwrap before, nor a second handshake afterwards."""
    client, server = new_session(), new_session()
    for act in (client.wrap, client.unwrap):
        with pytest.raises(themis.SessionError, match="waits for"):
            act(b"too early" * 20)
    connect(client, server)
    for end in (client, server):
        with pytest.raises(themis.SessionError):
            end.connect_request()
        with pytest.raises(themis.SessionError):
            end.handshake(b"again" * 40)
    assert server.unwrap(client.wrap(b"unharmed")) == b"unharmed"


def test_a_session_belongs_to_its_thread() -> None:
    """Another thread is refused on either core, and does not break the session."""
    client, server = established()
    refused: list[themis.SessionError] = []

    def elsewhere() -> None:
        try:
            client.wrap(b"from another thread")
        except themis.SessionError as error:
            refused.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert "thread" in str(refused[0])
    assert server.unwrap(client.wrap(b"from this one")) == b"from this one"


def test_a_closed_session_stays_closed() -> None:
    """Closing twice is harmless; nothing works afterwards; the other end is not told."""
    client, server = established()
    client.close()
    client.close()
    assert repr(client) == "<SecureSession closed>"
    for act in (client.wrap, client.unwrap, client.handshake):
        with pytest.raises(themis.SessionError, match="waits for nothing"):
            act(b"x" * 60)
    assert server.wrap(b"on")


def test_a_session_shows_no_secret() -> None:
    """Its repr is its state."""
    keys = themis.generate_keypair()
    session = themis.SecureSession(keys.public, keys.private, accept)
    assert repr(session) == "<SecureSession new>"
