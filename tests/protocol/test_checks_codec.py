"""Checks of the codec that nothing else needs: each found untested by `make mutation`."""

from __future__ import annotations

import json

import pytest

from ofcd.protocol.codec import join_parts, split_parts
from ofcd.protocol.codes import Malformed
from ofcd.protocol.ids import Hash32, RoomId, b64encode
from ofcd.protocol.records import LogHead, decode_record, encode_record

HEAD = LogHead(v=1, room=RoomId(b"r" * 32), term=0, seq=1, log=Hash32(b"l" * 32), ts=0)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_an_id_has_its_size(size: int) -> None:
    """A shorter or longer one is no id, however well it is encoded."""
    head, _, body = encode_record(HEAD).partition(b"\n")
    fields = json.loads(body) | {"room": b64encode(b"r" * size)}
    with pytest.raises(Malformed):
        decode_record(head + b"\n" + json.dumps(fields).encode())


def test_a_message_has_no_more_parts_than_it_may() -> None:
    """As many are taken, one more is refused: the reader's memory is bounded."""
    assert list(split_parts(join_parts([b"a", b"b"]), max_parts=2)) == [b"a", b"b"]
    with pytest.raises(Malformed):
        split_parts(join_parts([b"a", b"b", b"c"]), max_parts=2)


def test_a_record_says_that_it_is_one_of_ours() -> None:
    """The type alone is not enough: what else the key signs must not pass for a record."""
    payload = encode_record(HEAD)
    with pytest.raises(Malformed):
        decode_record(b"XXXX" + payload[4:])
