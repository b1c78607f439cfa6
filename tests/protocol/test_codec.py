"""Bytes become types in one place, strictly: what is said comes back, and nothing else passes."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ofcd.protocol import codec, frames, limits, records
from ofcd.protocol.codes import Code, Malformed, ProtocolError
from ofcd.protocol.ids import b64decode, b64encode
from tests.protocol.samples import instances

EVERY_FRAME = sorted({*frames.CLIENT_FRAMES.items(), *frames.RELAY_FRAMES.items()}, key=str)
few = settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])


def decode(name: str, raw: bytes) -> Any:
    if name in frames.CLIENT_FRAMES:
        return frames.decode_client_frame(raw)
    return frames.decode_relay_frame(raw)


@pytest.mark.parametrize("cls", records.RECORD_TYPES.values(), ids=lambda c: c.__name__)
@few
@given(data=st.data())
def test_every_record_survives_encoding(cls: type, data: st.DataObject) -> None:
    """decode(encode(record)) is the record, for each type of record."""
    record = data.draw(instances(cls))
    assert records.decode_record(records.encode_record(record)) == record


@pytest.mark.parametrize(("name", "cls"), EVERY_FRAME, ids=lambda v: v if type(v) is str else "")
@few
@given(data=st.data())
def test_every_frame_survives_encoding(name: str, cls: type, data: st.DataObject) -> None:
    """decode(encode(frame)) is the frame, for each type of frame."""
    frame = data.draw(instances(cls))
    assert decode(name, frames.encode_frame(frame)) == frame


@pytest.mark.parametrize("cls", records.RECORD_TYPES.values(), ids=lambda c: c.__name__)
@few
@given(data=st.data())
def test_16_a_record_with_a_field_missing_or_wrong_is_malformed(
    cls: type, data: st.DataObject
) -> None:
    """Each field missing, or of a wrong type, raises `Malformed`, never anything else."""
    payload = records.encode_record(data.draw(instances(cls)))
    head, _, body = payload.partition(b"\n")
    fields = json.loads(body)
    name = data.draw(st.sampled_from(sorted(fields)))
    wrong: object = data.draw(
        st.sampled_from([None, [], {}, [[[]]], "", "x" * 50, True, {"a": 1}, "\u00e9=="])
    )
    spoilt = fields | {name: wrong}
    if data.draw(st.booleans()):
        del spoilt[name]
    try:
        record = records.decode_record(head + b"\n" + json.dumps(spoilt).encode())
    except ProtocolError:
        return
    assert isinstance(record, cls)  # the field was optional, or free text


@given(st.binary(max_size=400))
def test_16_arbitrary_bytes_are_malformed_at_worst(raw: bytes) -> None:
    """No bytes make a decoder raise anything but a `ProtocolError`."""
    for decoder in (
        records.decode_record,
        frames.decode_client_frame,
        frames.decode_relay_frame,
        frames.split_frames,
    ):
        with contextlib.suppress(ProtocolError):
            decoder(raw)


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":2}',
        '{"a":1.5}',
        '{"a":1e3}',
        '{"a":-1}',
        '{"a":9007199254740992}',
        '{"a":NaN}',
        '{"a":Infinity}',
        '{"a":"\\u0000"}',
        '{"\\u0000":1}',
        '{"a":"\\ud800"}',
        '{"a":"\\udc00\\ud800"}',
        '{"a":' * 9 + "1" + "}" * 9,
        '{"a":' + "[" * 100_000 + "]" * 100_000 + "}",
        "[1]",
        '"a"',
        "1",
        "",
        "{",
        '{"a":1} x',
    ],
)
def test_16_json_outside_the_rules_is_malformed(text: str) -> None:
    """§5 test 16: duplicate key, float, 2^53, NUL, lone surrogate, depth 9, and no JSON at all."""
    with pytest.raises(Malformed):
        codec.parse_json(text.encode(), max_bytes=1 << 20)


def test_16_invalid_utf8_is_malformed() -> None:
    """A body is UTF-8, strictly."""
    with pytest.raises(Malformed):
        codec.parse_json(b'{"a":"\xff"}', max_bytes=100)


def test_16_json_at_the_edge_of_the_rules_passes() -> None:
    """2^53-1, eight levels and a whole astral character are fine."""
    deep = '{"a":' * 8 + str(limits.INT_MAX) + "}" * 8
    assert codec.parse_json(deep.encode(), max_bytes=1000)
    assert codec.parse_json('{"a":"\\ud83d\\ude00é"}'.encode(), max_bytes=100) == {"a": "😀é"}


def test_16_too_large_is_refused_before_it_is_parsed() -> None:
    """A byte over the limit is `too_large`."""
    with pytest.raises(Malformed) as refused:
        codec.parse_json(b"{" + b" " * 100, max_bytes=100)
    assert refused.value.kind is Code.TOO_LARGE
    with pytest.raises(Malformed) as refused:
        frames.decode_client_frame(bytes(limits.FRAME_BYTES + 1))
    assert refused.value.kind is Code.TOO_LARGE


@pytest.mark.parametrize("version", [0, 2, "1", None, []])
def test_an_unknown_version_is_refused_with_its_own_code(version: object) -> None:
    """A record of another version is not guessed at."""
    with pytest.raises(ProtocolError) as refused:
        records.decode_record(b"OFC1:leave\n" + json.dumps({"v": version}).encode())
    assert refused.value.kind is Code.UNSUPPORTED_VERSION


@given(st.data())
def test_unknown_optional_fields_are_passed_over(data: st.DataObject) -> None:
    """A field from the future does not make a record unreadable; the signed bytes keep it."""
    record = data.draw(instances(records.Leave))
    payload = records.encode_record(record)
    future = payload[:-1] + b',"mood":"good"}'
    assert records.decode_record(future) == record


@given(st.binary(max_size=100))
def test_base64url_is_canonical(raw: bytes) -> None:
    """Bytes have one text and only one."""
    text = b64encode(raw)
    assert b64decode(text) == raw
    for other in (text + "=", text + "\n", " " + text, text + "A" if text else "="):
        with contextlib.suppress(Malformed):
            assert b64decode(other) != raw


@pytest.mark.parametrize("text", ["A", "AB", "AAB", "A===", "é", "A+", "A/", "\ud800"])
def test_other_base64_is_malformed(text: str) -> None:
    """Padding, the other alphabet, stray bits and half characters are refused."""
    with pytest.raises(Malformed):
        b64decode(text)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        bytes(45),
        b"UEC2" + bytes(41),
        b"UEC2\0\0\0\x2d" + bytes(4) + b"\x04" + bytes(32),
        b"UEC2\0\0\0\x4d" + bytes(4) + b"\x04" + bytes(64),
        b"UEC2\0\0\0\x2d" + bytes(4) + b"\x02" + bytes(33),
        b"URE2\0\0\0\x2d" + bytes(4) + b"\x02" + bytes(32),
    ],
)
def test_13_only_the_canonical_form_of_a_key_is_a_key(raw: bytes) -> None:
    """§5 test 13: RSA, uncompressed, short, long: one key has one form, so one identity."""
    from ofcd.protocol.ids import check_public_key

    with pytest.raises(Malformed) as refused:
        check_public_key(raw)
    assert refused.value.kind is Code.BAD_KEY


def test_parts_must_fill_the_frame_exactly() -> None:
    """A part too few, too many or cut short is refused."""
    whole = frames.encode_frame(frames.Create(rid=1, record=b"r"))
    for spoilt in (whole[:-1], whole + b"\0", whole[:-5], whole + b"\0\0\0\1x", whole[:3]):
        with pytest.raises(ProtocolError):
            frames.decode_client_frame(spoilt)


def test_a_process_that_never_encoded_a_frame_decodes_it() -> None:
    """A relay's first frame is one it receives: nothing may have to be encoded before."""
    raw = frames.encode_frame(frames.Create(rid=1, token="t", record=b"r"))
    code = (
        "import sys; from ofcd.protocol.frames import decode_client_frame as decode;"
        "frame = decode(bytes.fromhex(sys.argv[1])); assert (frame.rid, frame.token) == (1, 't')"
    )
    subprocess.run([sys.executable, "-c", code, raw.hex()], check=True)


def test_a_client_can_not_send_the_relays_frames() -> None:
    """The two directions have their own tables."""
    with pytest.raises(Malformed):
        frames.decode_client_frame(frames.encode_frame(frames.Done(1)))
    with pytest.raises(Malformed):
        frames.decode_relay_frame(frames.encode_frame(frames.Hello((1,))))


def test_repr_of_a_frame_shows_sizes_not_contents() -> None:
    """Sealed bytes and tokens stay out of logs."""
    text = repr(frames.Create(rid=1, token="hunter2", record=b"secret"))
    assert "hunter2" not in text
    assert "secret" not in text
