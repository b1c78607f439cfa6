"""Bodies: what goes in comes out, in one of five sizes, and nothing but typed errors otherwise."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from ofcd.e2e.bodies import (
    BODY_TYPES,
    BUCKETS,
    COMPARE_STEPS,
    FILE_CHUNKS,
    THUMB_BYTES,
    Alias,
    Beat,
    Body,
    Compare,
    CompareEnd,
    Content,
    Edit,
    FileRef,
    HandoverAccepted,
    HandoverOffer,
    Profile,
    Reaction,
    Redaction,
    RoomInfo,
    Text,
    TextFormat,
    Unknown,
    Via,
    decode_body,
    encode_body,
    kind_of,
)
from ofcd.e2e.errors import BodyInvalid, BodyTooLong
from ofcd.protocol.codes import Malformed
from ofcd.protocol.ids import BlobId, EventId, Hash32, MemberId, RoomId, Sid
from ofcd.protocol.limits import EVENT_BYTES, INT_MAX, MIB
from ofcd.protocol.records import EventKind
from ofcd.themis import SEAL_OVERHEAD

ROOM, MID, SID = RoomId(b"r" * 32), MemberId(b"m" * 32), Sid(b"s" * 16)

_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)
_hash = st.binary(min_size=32, max_size=32).map(Hash32)
_event = st.binary(min_size=32, max_size=32).map(EventId)
_sid = st.binary(min_size=16, max_size=16).map(Sid)
_mid = st.binary(min_size=32, max_size=32).map(MemberId)
_mids = st.lists(st.binary(min_size=32, max_size=32).map(MemberId), max_size=4).map(tuple)
_format = st.sampled_from(TextFormat)
_count = st.integers(0, INT_MAX)

_known = st.one_of(
    st.builds(Text, _text, _format, st.none() | _event, st.none() | _event, _mids),
    st.builds(Edit, _event, _text, _format, _mids),
    st.builds(Reaction, _event, _text.filter(bool), st.booleans()),
    st.builds(
        FileRef,
        blob_id=st.binary(min_size=16, max_size=16).map(BlobId),
        key=st.binary(min_size=32, max_size=32),
        size=_count,
        sha256=_hash,
        chunks=st.lists(_hash, max_size=4).map(tuple),
        name=_text,
        mime=_text,
        caption=_text,
        thumb=st.binary(max_size=200),
    ),
    st.builds(Profile, _text),
    st.builds(RoomInfo, _text, _text),
    st.just(Beat()),
    st.builds(Redaction, _event, _text),
    st.builds(HandoverOffer, st.binary(min_size=32, max_size=32).map(MemberId)),
    st.builds(HandoverAccepted, st.binary(max_size=200)),
    st.builds(Compare, _sid, _mid, st.integers(1, COMPARE_STEPS), st.binary(max_size=352)),
    st.builds(CompareEnd, _sid, _mid, _text),
    st.builds(Alias, _mid, st.booleans()),
)
_via = st.builds(Via, _text.filter(bool), _text, _text)
_bodies = st.builds(
    Body,
    room=st.just(ROOM),
    mid=st.just(MID),
    counter=_count,
    sid=st.just(SID),
    content=_known,
    name=_text,
    hops=st.integers(0, 255),
    via=st.none() | _via,
    voids=st.lists(_event, max_size=3).map(tuple),
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def body(content: Content) -> Body:
    return Body(ROOM, MID, 1, SID, content)


def as_json(**changes: object) -> bytes:
    fields = json.loads(encode_body(body(Text("hello"))))
    return json.dumps({**fields, **changes}).encode()


@given(_bodies)
def test_every_body_comes_back_as_it_went(made: Body) -> None:
    """Encoding then decoding is the identity, for every kind of content."""
    assert decode_body(encode_body(made)) == made


@given(_bodies)
def test_every_body_is_padded_to_a_bucket(made: Body) -> None:
    """The plaintext has one of five sizes, the smallest that fits."""
    raw = encode_body(made)
    assert len(raw) in BUCKETS
    smaller = [size for size in BUCKETS if size < len(raw)]
    assert not smaller or len(raw.rstrip(b" ")) > smaller[-1]


def test_every_type_is_tried_here() -> None:
    """The round trip above covers each content type there is."""
    tried = {Text, Edit, Reaction, FileRef, Profile, RoomInfo, Beat, Redaction}
    tried |= {HandoverOffer, HandoverAccepted, Compare, CompareEnd, Alias}
    assert set(BODY_TYPES.values()) == tried


def test_the_largest_body_fits_an_event() -> None:
    """The last bucket, sealed, leaves room for the header within EVENT_BYTES."""
    assert BUCKETS[-1] + SEAL_OVERHEAD + 4096 <= EVENT_BYTES


def test_the_largest_file_fits_a_body() -> None:
    """The hashes of FILE_CHUNKS chunks, a long name and a caption fit one body."""
    ref = FileRef(
        blob_id=BlobId(b"b" * 16),
        key=b"k" * 32,
        size=INT_MAX,
        sha256=Hash32(b"h" * 32),
        chunks=(Hash32(b"c" * 32),) * FILE_CHUNKS,
        name="n" * 200,
        caption="c" * 1024,
    )
    assert decode_body(encode_body(body(ref))).content == ref


def test_a_thumbnail_fits_beside_the_hashes_of_any_picture_that_is_shown() -> None:
    """The longest one, with what clients decode at most (20 MiB) and the longest words."""
    ref = FileRef(
        blob_id=BlobId(b"b" * 16),
        key=b"k" * 32,
        size=20 * MIB,
        sha256=Hash32(b"h" * 32),
        chunks=(Hash32(b"c" * 32),) * 80,
        name="\U0001f980" * 50,
        caption="\U0001f980" * 1024,
        thumb=b"t" * THUMB_BYTES,
    )
    assert decode_body(encode_body(body(ref))).content == ref
    with pytest.raises(BodyInvalid, match="thumbnail"):
        evolve(ref, thumb=b"t" * (THUMB_BYTES + 1))


@pytest.mark.parametrize(
    "sample", ["x" * 48 * 1024, '"' * 25_000, "\x01" * 10_000, "\U0001f980" * 13_000]
)
def test_a_text_too_long_says_how_long_it_is(sample: str) -> None:
    """What does not fit the last bucket, however it is escaped, is refused with its size."""
    with pytest.raises(BodyTooLong) as caught:
        encode_body(body(Text(sample)))
    assert caught.value.size > caught.value.allowed == BUCKETS[-1]


@pytest.mark.parametrize("sample", ["a\0b", "half \ud83e"])
def test_text_that_nobody_could_read_is_refused_at_the_sender(sample: str) -> None:
    """A NUL or a lone surrogate fails when it is sent, not when it is received."""
    with pytest.raises(BodyInvalid):
        encode_body(body(Text(sample)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Profile("n" * 257),
        lambda: RoomInfo("n" * 257),
        lambda: RoomInfo("n", "t" * 1025),
        lambda: Reaction(EventId(b"e" * 32), ""),
        lambda: Reaction(EventId(b"e" * 32), "e" * 65),
        lambda: Redaction(EventId(b"e" * 32), "r" * 129),
        lambda: Text("t", mentions=(MID,) * 65),
        lambda: Via("", "id"),
        lambda: Via("irc", "i" * 257),
    ],
)
def test_a_field_too_long_is_a_typed_error(make: object) -> None:
    """Every limit on what a person types raises BodyInvalid, with a sentence."""
    with pytest.raises(BodyInvalid) as caught:
        make()  # type: ignore[operator]
    assert len(str(caught.value)) > 20


def test_a_type_from_the_future_is_kept_and_named() -> None:
    """An unknown body type decodes to Unknown, with its type and its content."""
    opened = decode_body(as_json(type="poll", content={"question": "tea?"}))
    assert opened.content == Unknown("poll", b'{"question":"tea?"}')
    assert kind_of(opened.content) is EventKind.MESSAGE
    assert decode_body(encode_body(opened)) == opened


def test_fields_and_formats_from_the_future_are_passed_over() -> None:
    """Unknown optional fields do no harm, and an unknown text format reads as plain."""
    content = {"text": "hi", "format": "html9", "sparkle": 3}
    opened = decode_body(as_json(content=content, mood="good"))
    assert opened.content == Text("hi", TextFormat.PLAIN)


@pytest.mark.parametrize(
    "changes",
    [
        {"type": None},
        {"type": 7},
        {"content": None},
        {"content": []},
        {"type": "poll", "content": []},
        {"type": "poll", "content": None},
        {"content": {}},
        {"content": {"text": 3}},
        {"content": {"text": "x", "format": 3}},
        {"content": {"text": "x", "reply_to": "short"}},
        {"content": {"text": "x", "mentions": ["x"]}},
        {"content": {"text": "x", "mentions": "x"}},
        {"room": "cg"},
        {"mid": None},
        {"counter": -1},
        {"counter": 1.5},
        {"counter": True},
        {"counter": 2**53},
        {"sid": "c3M"},
        {"name": 5},
        {"name": "n" * 257},
        {"hops": 256},
        {"via": {"network": "irc"}},
        {"via": {"network": "", "remote_id": "x"}},
        {"voids": ["eA"]},
        {"voids": ["x" * 43] * 17},
    ],
)
def test_a_body_with_a_wrong_field_is_malformed(changes: dict[str, object]) -> None:
    """Each field missing, of the wrong type or out of bounds is one typed error."""
    with pytest.raises(Malformed):
        decode_body(as_json(**changes))


@given(st.binary(max_size=400))
def test_arbitrary_bytes_raise_only_malformed(raw: bytes) -> None:
    """No bytes make the decoder raise anything but Malformed."""
    with pytest.raises(Malformed):
        decode_body(raw)


@given(st.sampled_from([*BODY_TYPES, "poll", "\0"]), _json, st.dictionaries(st.text(), _json))
def test_arbitrary_json_raises_only_malformed(name: str, content: object, more: object) -> None:
    """Any JSON in any place either decodes or is Malformed."""
    with suppress(Malformed):
        decode_body(as_json(type=name, content=content, via=more, voids=content, name=content))
    with suppress(Malformed):
        decode_body(as_json(type=name, content=content))


def test_what_people_wrote_stays_out_of_reprs() -> None:
    """A repr, and so a log line, holds neither text nor keys."""
    ref = FileRef(
        BlobId(b"b" * 16),
        b"SECRETKEY" * 3 + b"12345",
        1,
        Hash32(b"h" * 32),
        (),
        thumb=b"MARKER",
    )
    shown = repr([body(Text("MARKER")), body(Edit(EventId(b"e" * 32), "MARKER")), ref])
    assert "MARKER" not in shown
    assert "SECRETKEY" not in shown


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (Text("x"), EventKind.MESSAGE),
        (Beat(), EventKind.BEAT),
        (Redaction(EventId(b"e" * 32)), EventKind.REDACT),
    ],
)
def test_the_relay_is_told_three_kinds_only(content: Content, kind: EventKind) -> None:
    """Messages, beats and redactions differ to the relay; nothing else does."""
    assert kind_of(content) is kind
