"""Bulk: what is sealed once for many is as safe on each link as what is wrapped for it alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofcd.protocol.codes import Malformed
from ofcd.protocol.frames import Bulk, Delivery, Done, decode_relay_frame, encode_frame
from ofcd.protocol.ids import RoomId, sha256
from ofcd.session import BulkSealer, ClientSession, RelaySession
from tests.session.pairs import open_pair

ROOM = RoomId(b"r" * 32)
OTHER = RoomId(b"o" * 32)


def deliveries(count: int, room: RoomId = ROOM) -> list[Delivery]:
    return [Delivery(room, seq, b"record", b"cell") for seq in range(count)]


def sealed(sealer: BulkSealer, count: int, room: RoomId = ROOM) -> tuple[bytes, bytes]:
    bulk = sealer.seal(map(encode_frame, deliveries(count, room)))
    return bulk.frame, bulk.part


@pytest.fixture(name="link")
def open_link() -> tuple[ClientSession, RelaySession]:
    return open_pair()


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_deliveries_come_out_as_they_went_in(sizes: list[int]) -> None:
    """Whatever bulks a message holds, the client sees plain deliveries, in order."""
    client, relay = open_pair()
    sealer = BulkSealer(ROOM)
    bulks = [sealed(sealer, size) for size in sizes]
    message = relay.send(
        [sealer.key_frame, *(frame for frame, _ in bulks), Done(1)], [part for _, part in bulks]
    )
    expected = [delivery for size in sizes for delivery in deliveries(size)]
    assert client.receive(message).frames == (*expected, Done(1))


def test_one_seal_serves_many_links() -> None:
    """Two links get the same part; each opens it with the key it was given inside its session."""
    sealer = BulkSealer(ROOM)
    frame, part = sealed(sealer, 2)
    for _ in range(2):
        client, relay = open_pair()
        got = client.receive(relay.send([sealer.key_frame, frame], [part])).frames
        assert got == tuple(deliveries(2))


def test_nothing_of_a_delivery_stands_on_the_wire_in_clear() -> None:
    """The trailer is sealed: room and record are not to be read on the way."""
    _, relay = open_pair()
    sealer = BulkSealer(ROOM)
    frame, part = sealed(sealer, 3)
    message = relay.send([sealer.key_frame, frame], [part])
    assert b"record" not in message
    assert bytes(ROOM) not in message


@pytest.mark.parametrize("spoil", ["flip", "drop", "swap", "extra", "cut"])
def test_a_changed_trailer_is_refused(link: tuple[ClientSession, RelaySession], spoil: str) -> None:
    """A part that was changed, dropped, swapped, added or cut does not pass its hash."""
    client, relay = link
    sealer = BulkSealer(ROOM)
    (frame, part), (frame2, part2) = sealed(sealer, 1), sealed(sealer, 2)
    parts = {
        "flip": [part[:-1] + bytes([part[-1] ^ 1]), part2],
        "drop": [part2],
        "swap": [part2, part],
        "extra": [part, part2, part],
        "cut": [part[:-1], part2],
    }[spoil]
    with pytest.raises(Malformed):
        client.receive(relay.send([sealer.key_frame, frame, frame2], parts))


def test_a_bulk_without_its_key_is_refused(link: tuple[ClientSession, RelaySession]) -> None:
    """No key was given, or another one."""
    client, relay = link
    frame, part = sealed(BulkSealer(ROOM), 1)
    with pytest.raises(Malformed):
        client.receive(relay.send([BulkSealer(OTHER).key_frame, frame], [part]))


def test_a_removed_reader_can_not_open_what_is_sealed_after() -> None:
    """After `renew` the old key opens nothing: the new one goes to those who stay."""
    client, relay = open_pair()
    sealer = BulkSealer(ROOM)
    client.receive(relay.send([sealer.key_frame]))
    sealer.renew()
    frame, part = sealed(sealer, 1)
    with pytest.raises(Malformed):
        client.receive(relay.send([frame], [part]))


def test_the_old_key_does_not_open_it_even_if_the_number_lies() -> None:
    """It is the key that counts, not its number."""
    client, relay = open_pair()
    sealer = BulkSealer(ROOM)
    client.receive(relay.send([sealer.key_frame]))
    sealer.renew()
    frame, part = sealed(sealer, 1)
    bulk = decode_relay_frame(frame)
    assert isinstance(bulk, Bulk)
    with pytest.raises(Malformed):
        client.receive(relay.send([Bulk(ROOM, bulk.number - 1, sha256(part))], [part]))


def test_a_bulk_holds_deliveries_of_its_own_room_and_nothing_else() -> None:
    """A relay can not slip other frames, or another room's, past the checks of frames."""
    for content in ([encode_frame(Done(1))], list(map(encode_frame, deliveries(1, OTHER)))):
        client, relay = open_pair()
        sealer = BulkSealer(ROOM)
        bulk = sealer.seal(content)
        with pytest.raises(Malformed):
            client.receive(relay.send([sealer.key_frame, bulk.frame], [bulk.part]))


def test_a_client_may_not_send_a_trailer(link: tuple[ClientSession, RelaySession]) -> None:
    """Only relays have many readers."""
    client, relay = link
    with pytest.raises(Malformed):
        relay.receive(client.send([], [b"part"]))
