"""A link in both roles: what opens it, what closes it, and that nothing else gets through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofcd.errors import OfcError
from ofcd.protocol.codes import Code, ProtocolError, Refused
from ofcd.protocol.frames import Cursor, Done, Hello, encode_frame
from ofcd.protocol.ids import PublicKey, RoomId
from ofcd.session import RelaySession, SessionState
from ofcd.themis import generate_keypair
from tests.session.pairs import CHALLENGE, make_pair, open_pair, open_up

ROOM = RoomId(bytes(32))


def cursor(seq: int) -> Cursor:
    return Cursor(room=ROOM, seq=seq)


def test_both_ends_open_and_know_each_other() -> None:
    """After the handshake and hello each end holds the other's proven key."""
    client, relay = open_pair()
    assert client.state is relay.state is SessionState.OPEN
    assert client.welcome is not None
    assert client.welcome.challenge == CHALLENGE
    assert relay.peer != client.peer


def test_frames_of_one_message_arrive_in_order() -> None:
    """Many frames travel in one message, whole and in order, both ways."""
    client, relay = open_pair()
    sent = [cursor(n) for n in range(100)]
    assert relay.receive(client.send(sent)).frames == tuple(sent)
    answers = [Done(n) for n in range(3)]
    assert client.receive(relay.send([answers[0], *map(encode_frame, answers[1:])])).frames == (
        tuple(answers)
    )


def test_01_a_replayed_message_closes_the_link_with_no_second_effect() -> None:
    """§5 test 1: Secure Session takes a message twice (E1); the link does not."""
    client, relay = open_pair()
    message = client.send([cursor(1)])
    assert relay.receive(message).frames == (cursor(1),)
    with pytest.raises(OfcError):
        relay.receive(message)


def test_01_swapped_messages_close_the_link() -> None:
    """§5 test 1: the second of two messages is refused when it comes first."""
    client, relay = open_pair()
    first, second = client.send([cursor(1)]), client.send([cursor(2)])
    with pytest.raises(ProtocolError) as refused:
        relay.receive(second)
    assert refused.value.kind is Code.OUT_OF_ORDER
    del first


def test_01_seven_lost_messages_close_the_link() -> None:
    """§5 test 1: a gap of seven, which Secure Session lets pass silently, does not pass here."""
    client, relay = open_pair()
    messages = [client.send([cursor(n)]) for n in range(9)]
    relay.receive(messages[0])
    with pytest.raises(ProtocolError) as refused:
        relay.receive(messages[8])
    assert refused.value.kind is Code.OUT_OF_ORDER


def test_01_the_window_can_not_be_walked_back() -> None:
    """§5 test 1: replays in steps of eight after a hundred messages end at the first one."""
    client, relay = open_pair()
    messages = [client.send([cursor(n)]) for n in range(100)]
    for message in messages:
        relay.receive(message)
    with pytest.raises(OfcError):
        relay.receive(messages[-8])


def test_a_message_is_not_taken_back_by_its_sender() -> None:
    """Reflected bytes are refused."""
    client, _relay = open_pair()
    with pytest.raises(OfcError):
        client.receive(client.send([cursor(1)]))


def test_the_client_refuses_a_relay_that_is_not_the_pinned_one() -> None:
    """A relay in the middle fails with its welcome, by its key; it was told nothing but hello."""
    client, relay = make_pair(pin=PublicKey(generate_keypair().public))
    with pytest.raises(Refused, match="another relay") as refused:
        open_up(client, relay)
    assert refused.value.kind is Code.WRONG_RELAY
    assert (client.state, client.welcome) == (SessionState.HELLO, None)
    with pytest.raises(Refused):
        assert client.relay_id


def test_the_first_frame_must_be_hello() -> None:
    """A client that skips hello is refused."""
    client, relay = make_pair()
    (reply,) = relay.receive(client.connect()).replies
    (proof,) = client.receive(reply).replies
    (confirmation,) = relay.receive(proof).replies
    client.receive(confirmation)
    message = client.send([cursor(1)])
    with pytest.raises(OfcError):
        relay.receive(message)


def test_a_second_hello_is_refused() -> None:
    """The version is agreed once."""
    client, relay = open_pair()
    with pytest.raises(ProtocolError):
        relay.receive(client.send([Hello(versions=(1,))]))


def test_a_hello_with_no_common_version_is_refused() -> None:
    """Version negotiation fails with its own code."""
    client, relay = _greet([99])
    with pytest.raises(ProtocolError) as refused:
        relay.receive(client)
    assert refused.value.kind is Code.UNSUPPORTED_VERSION


def test_a_newer_client_that_still_speaks_version_1_is_welcome() -> None:
    """The best common version is chosen."""
    message, relay = _greet([2, 1])
    assert relay.receive(message).replies
    assert relay.state is SessionState.OPEN


def _greet(versions: list[int]) -> tuple[bytes, RelaySession]:
    """A relay in state HELLO, and a client's message with these versions."""
    from ofcd.channel import Channel

    keys = generate_keypair()
    _, relay = make_pair(keys)
    channel = Channel(generate_keypair(), lambda key: key == keys.public)
    (reply,) = relay.receive(channel.connect()).replies
    proof = channel.handshake(reply)
    assert proof is not None
    (confirmation,) = relay.receive(proof).replies
    channel.handshake(confirmation)
    return channel.wrap([encode_frame(Hello(versions=tuple(versions)))]), relay


@given(st.binary(max_size=5000))
def test_garbage_before_the_handshake_is_refused_with_a_typed_error(garbage: bytes) -> None:
    """Whatever a stranger sends first raises one of our errors, and nothing else."""
    _, relay = make_pair()
    with pytest.raises(OfcError):
        relay.receive(garbage)


@given(st.binary(max_size=500))
def test_garbage_after_the_handshake_is_refused_with_a_typed_error(garbage: bytes) -> None:
    """Whatever comes unsealed on an open link raises one of our errors."""
    _, relay = open_pair()
    with pytest.raises(OfcError):
        relay.receive(garbage)


@given(st.binary(min_size=1, max_size=500))
def test_sealed_garbage_is_refused_with_a_typed_error(garbage: bytes) -> None:
    """An authenticated client that sends nonsense is told so, whatever the nonsense."""
    client, relay = open_pair()
    with pytest.raises(ProtocolError):
        relay.receive(client.send([garbage]))


@pytest.mark.parametrize("at", [0, 8, 40, -1])
def test_a_changed_byte_closes_the_link(at: int) -> None:
    """Tampering is refused (four header bytes that Themis leaves open carry nothing)."""
    client, relay = open_pair()
    message = bytearray(client.send([cursor(1)]))
    message[at] ^= 1
    with pytest.raises(OfcError):
        relay.receive(bytes(message))


def test_a_large_first_message_is_refused_unread() -> None:
    """Nobody makes the relay take more than 4 KiB before proving a key."""
    _, relay = make_pair()
    with pytest.raises(ProtocolError) as refused:
        relay.receive(bytes(4097))
    assert refused.value.kind is Code.TOO_LARGE


def test_a_relay_may_take_smaller_frames_than_the_protocol() -> None:
    """A frame of the size passes, one byte more is refused; it is the frame that counts, not the
    message."""
    largest = encode_frame(cursor(1))
    larger = encode_frame(cursor(2**40))
    assert len(larger) > len(largest)
    client, relay = open_pair(frame_bytes=len(largest))
    assert len(relay.receive(client.send([largest, largest])).frames) == 2
    with pytest.raises(ProtocolError) as refused:
        relay.receive(client.send([larger]))
    assert refused.value.kind is Code.TOO_LARGE
