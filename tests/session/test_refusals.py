"""What else closes a link: each check of a session that the other tests do not need."""

from __future__ import annotations

import pytest

from ofcd.channel import channel
from ofcd.protocol import limits
from ofcd.protocol.codes import Code, ProtocolError
from ofcd.protocol.frames import BlobDrop, Create, Cursor, FeedKey, Frame, encode_frame
from ofcd.protocol.ids import BlobId, MemberId, RoomId
from ofcd.session import ClientSession, RelaySession, SessionState
from ofcd.themis import generate_key
from tests.session import pairs
from tests.session.pairs import make_pair, open_pair


def shaken(client: ClientSession, relay: RelaySession) -> None:
    """The handshake is done; nobody has said hello."""
    message = client.connect()
    while relay.state is SessionState.HANDSHAKE:
        [reply] = relay.receive(message).replies
        message, *_ = client.receive(reply).replies


@pytest.mark.parametrize("said", [[], [Cursor(RoomId(bytes(32)), 1)]])
def test_hello_comes_first_and_alone(said: list[Frame]) -> None:
    """A message without a hello, or with something else before it, closes the link."""
    client, relay = make_pair()
    shaken(client, relay)
    # The client's own hello was its first message: in its place stands another second one.
    relay._channel._received += 1
    with pytest.raises(ProtocolError) as refused:
        relay.receive(client.send(said))
    assert refused.value.kind is Code.BAD_FRAME
    assert relay.state is SessionState.HELLO


def test_a_version_that_was_not_offered_closes_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay that welcomes in a version this client does not speak is not talked to."""
    made = pairs.welcome
    monkeypatch.setattr(pairs, "welcome", lambda version: made(99))
    with pytest.raises(ProtocolError) as refused:
        open_pair()
    assert refused.value.kind is Code.UNSUPPORTED_VERSION


def test_a_link_wears_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """After so many messages either way both ends want a new link (E10)."""
    client, relay = open_pair()
    monkeypatch.setattr(channel, "MAX_MESSAGES", 5)
    worn = [(client.is_worn, relay.is_worn)]
    for _ in range(5):
        relay.receive(client.send([]))
        worn.append((client.is_worn, relay.is_worn))
    assert worn[0] == (False, False)
    assert worn[-1] == (True, True)


def test_feed_keys_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay can not fill a client's memory with the keys of rooms that there are not."""
    monkeypatch.setattr(limits, "FEEDS", 2)
    client, relay = open_pair()
    for number in (1, 2, 2):
        room = RoomId(bytes([number]) * 32)
        client.receive(relay.send([FeedKey(room, 1, generate_key())]))
    with pytest.raises(ProtocolError):
        client.receive(relay.send([FeedKey(RoomId(bytes(32)), 1, generate_key())]))


@pytest.mark.parametrize(
    "frame",
    [
        Cursor(RoomId(bytes(32)), 1),
        b"\0\0\0\x1f" + b'{"type":"hello","versions":[1]}',
        b"\0\0\x0f\xa0" + b'{"type":"cursor","x":[' + b"[]," * 1320 + b"[]]}",
    ],
)
def test_a_message_holds_no_more_json_than_is_cheap_to_read(frame: Frame | bytes) -> None:
    """Many frames, and few with long heads, close the link before one of them is parsed."""
    client, relay = open_pair()
    size = len(frame) if isinstance(frame, bytes) else len(encode_frame(frame))
    assert size < limits.HEAD_BYTES + 8
    many = limits.HEADS_BYTES // (size + 124) + 1
    with pytest.raises(ProtocolError) as refused:
        relay.receive(client.send([frame] * many))
    assert refused.value.kind is Code.TOO_LARGE


def test_as_many_requests_as_may_be_under_way_fit_a_message() -> None:
    """With the longest heads that requests have, twice as many as a relay usually takes."""
    client, relay = open_pair()
    drop = BlobDrop(2**53 - 1, RoomId(b"r" * 32), BlobId(b"b" * 16), MemberId(b"m" * 32))
    received = relay.receive(client.send([drop] * 128 + [Create(1, "\u20ac" * 128)]))
    assert len(received.frames) == 129
