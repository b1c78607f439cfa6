"""Events: sealed, signed, opened, and every way in which one can be wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from ofcd.compliance.p256 import signature_twin
from ofcd.e2e.bodies import Beat, Edit, Redaction, Text, Unknown, Via, decode_body, encode_body
from ofcd.e2e.contexts import message_context
from ofcd.e2e.errors import BodyTooLong, KeyMissing, Reason, Unreadable
from ofcd.e2e.events import (
    Opened,
    SealedEvent,
    may_edit,
    may_name_room,
    may_redact,
    open_event,
    open_verified,
    resign_event,
    seal_event,
)
from ofcd.e2e.keys import EpochKeys, MemberKeys, new_sid
from ofcd.protocol.codes import Code, Refused
from ofcd.protocol.ids import EventId, Hash32, MemberId, RoomId, sha256
from ofcd.protocol.records import EventKind, Role, Seen
from ofcd.themis import seal, sign, unverified_payload
from ofcd.themis.signed import peek, sign_record
from tests.e2e.changes import Change, changed, changes
from tests.e2e.world import Person, World, entry_of

TARGET = EventId(b"t" * 32)


def opened_by(person: Person, sealed: SealedEvent) -> Opened:
    view = person.view
    return open_event(view.state, view.keys, sealed.signed.envelope, sealed.cell)


def refused_by(person: Person, sealed: SealedEvent) -> Reason:
    with pytest.raises(Unreadable) as caught:
        opened_by(person, sealed)
    return caught.value.reason


def resigned(by: MemberKeys, sealed: SealedEvent, **fields: Any) -> SealedEvent:
    """The same cell under a header that `by` signed with these changes."""
    event = evolve(sealed.event, **fields)
    return SealedEvent(sign_record(by.sign.private, event), sealed.cell)


def resealed(by: Person, sealed: SealedEvent, plaintext: bytes, **fields: Any) -> SealedEvent:
    """A header that `by` signed over another plaintext, sealed exactly as it should be."""
    event = evolve(sealed.event, **fields)
    context = message_context(
        event.room, event.epoch, event.mid, event.counter, event.sid, event.kind
    )
    cell = seal(by.view.keys.get(event.epoch), plaintext, context)
    event = evolve(event, cell_hash=sha256(cell))
    return SealedEvent(sign_record(by.mine.sign.private, event), cell)


def test_a_message_is_read_by_every_member(quiet: World) -> None:
    """What one member seals, every member opens as that member's words, name and all."""
    _, ana, bo, _ = quiet.people
    sealed = ana.seal(Text("hello again", mentions=(bo.mid,)), hops=2)
    for reader in quiet.people:
        opened = opened_by(reader, sealed)
        assert opened.content == Text("hello again", mentions=(bo.mid,))
        assert (opened.name, opened.body.hops, opened.event.mid) == ("Ana", 2, ana.mid)
        assert opened.event_id == sealed.event_id


def test_the_header_tells_the_relay_nothing_of_the_words(quiet: World) -> None:
    """Neither the text nor the sender's name stands in the envelope or the cell."""
    sealed = quiet.people[1].seal("MARKERWORD")
    for raw in (sealed.signed.envelope, sealed.cell):
        assert b"MARKERWORD" not in raw
        assert b'"Ana"' not in raw


def test_short_messages_look_alike(quiet: World) -> None:
    """A short and a less short text seal to cells of one size."""
    ana = quiet.people[1]
    assert len(ana.seal("y").cell) == len(ana.seal("no, let us rather not").cell)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"room": RoomId(b"x" * 32)}, Reason.WRONG_ROOM),
        ({"epoch": 1}, Reason.WRONG_EPOCH),
        ({"ctl": TARGET}, Reason.STALE_CONTROL),
        ({"counter": 7}, Reason.BAD_SEAL),
        ({"sid": b"x" * 16}, Reason.BAD_SEAL),
        ({"kind": EventKind.BEAT}, Reason.BAD_SEAL),
        ({"kind": EventKind.REDACT, "target": TARGET}, Reason.BAD_SEAL),
        ({"target": TARGET}, Reason.INNER_MISMATCH),
        ({"cell_hash": Hash32(b"x" * 32)}, Reason.CELL_MISMATCH),
    ],
)
def test_15_a_header_that_does_not_fit_is_not_shown(
    quiet: World, fields: dict[str, Any], reason: Reason
) -> None:
    """Test 15, at the reader: each field its own signer changed has its own refusal."""
    _, ana, bo, _ = quiet.people
    assert refused_by(bo, resigned(ana.mine, ana.seal("hi"), **fields)) is reason


def test_a_stranger_and_a_reader_can_not_speak(world: World) -> None:
    """A header of someone who is not a member, or may only read, is refused."""
    _, ana, bo = world.people
    stranger = MemberKeys.generate()
    sealed = ana.seal("hi")
    forged = resigned(stranger, sealed, mid=stranger.mid)
    assert refused_by(bo, forged) is Reason.NOT_A_MEMBER
    reader = world.join("Reader", role=Role.READONLY)
    muted = resigned(reader.mine, ana.seal("hi"), mid=reader.mid)
    assert refused_by(bo, muted) is Reason.MAY_NOT_POST
    with pytest.raises(Refused):
        reader.seal("hi")


def test_nobody_speaks_for_another(quiet: World) -> None:
    """A header that names Ana but that Bo signed is refused, though Bo holds the room key."""
    _, ana, bo, _ = quiet.people
    assert refused_by(bo, resigned(bo.mine, ana.seal("hi"))) is Reason.BAD_SIGNATURE


def test_14_a_cell_under_another_header_does_not_open(quiet: World) -> None:
    """Test 14: Bo puts Ana's cell under a header of his own: it does not open as Bo's."""
    _, ana, bo, _ = quiet.people
    stolen = resigned(bo.mine, ana.seal("my own words"), mid=bo.mid)
    assert refused_by(quiet.root, stolen) is Reason.BAD_SEAL


@pytest.mark.parametrize("field", ["room", "mid", "counter", "sid"])
def test_inner_fields_equal_the_outer_ones(quiet: World, field: str) -> None:
    """A body sealed for this header, but naming another room, sender, number or sid, is refused."""
    _, ana, bo, _ = quiet.people
    sealed = ana.seal("hi")
    body = decode_body(encode_body(opened_by(bo, sealed).body))
    other: dict[str, Any] = {
        "room": RoomId(b"x" * 32),
        "mid": bo.mid,
        "counter": 99,
        "sid": new_sid(),
    }
    changed = encode_body(evolve(body, **{field: other[field]}))
    assert refused_by(bo, resealed(ana, sealed, changed)) is Reason.INNER_MISMATCH


def test_the_kind_told_to_the_relay_is_the_kind_sealed(quiet: World) -> None:
    """A text marked as a beat, and a redaction of another target than the header's, are refused."""
    _, ana, bo, _ = quiet.people
    text, redaction = ana.seal("hi"), ana.seal(Redaction(TARGET))
    plaintext = encode_body(opened_by(bo, text).body)
    beat = resealed(ana, text, plaintext, kind=EventKind.BEAT)
    assert refused_by(bo, beat) is Reason.INNER_MISMATCH
    other = resealed(
        ana, redaction, encode_body(opened_by(bo, redaction).body), target=EventId(b"o" * 32)
    )
    assert refused_by(bo, other) is Reason.INNER_MISMATCH


def test_a_redaction_names_its_target_to_the_relay(quiet: World) -> None:
    """The header of a redaction carries kind and target in clear; its reason is sealed."""
    _, ana, bo, _ = quiet.people
    sealed = ana.seal(Redaction(TARGET, "MARKERWORD"))
    assert (sealed.event.kind, sealed.event.target) == (EventKind.REDACT, TARGET)
    assert opened_by(bo, sealed).content == Redaction(TARGET, "MARKERWORD")
    assert b"MARKERWORD" not in sealed.signed.envelope + sealed.cell


def test_only_a_bridge_speaks_for_another_network(quiet: World) -> None:
    """`via` from a member without the capability is refused; from a bridge it is shown."""
    _, ana, bo, irc = quiet.people
    via = Via("irc", "nick!user@host", "Nick")
    assert refused_by(bo, ana.seal("hi", via=via)) is Reason.NOT_A_BRIDGE
    assert opened_by(bo, irc.seal("hi", via=via)).body.via == via


def test_a_missing_cell_and_a_missing_key_have_their_own_marker(quiet: World) -> None:
    """A cell that was removed, and a key that is not here, are told apart."""
    _, ana, bo, _ = quiet.people
    sealed = ana.seal("hi")
    assert refused_by(bo, evolve(sealed, cell=b"")) is Reason.CELL_GONE
    view = bo.view
    keyless = EpochKeys(view.state.nonce)
    with pytest.raises(Unreadable) as caught:
        open_event(view.state, keyless, sealed.signed.envelope, sealed.cell)
    assert caught.value.reason is Reason.MISSING_KEY


def test_a_room_key_of_another_epoch_does_not_open(quiet: World) -> None:
    """The right header and cell under a wrong key of the right size: a marker, no text."""
    _, ana, bo, _ = quiet.people
    sealed, view = ana.seal("hi"), bo.view
    wrong = EpochKeys(view.state.nonce, {0: b"w" * 32})
    with pytest.raises(Unreadable) as caught:
        open_event(view.state, wrong, sealed.signed.envelope, sealed.cell)
    assert caught.value.reason is Reason.BAD_SEAL


def test_another_record_is_not_an_event(quiet: World) -> None:
    """A control record, and bytes that are no record, are not shown as messages."""
    view = quiet.people[1].view
    for envelope in (quiet.relay.entries[0].envelope, b"", b"x" * 100):
        with pytest.raises(Unreadable) as caught:
            open_event(view.state, view.keys, envelope, b"cell")
        assert caught.value.reason is Reason.NOT_AN_EVENT
    control = peek(quiet.relay.entries[0].envelope)
    with pytest.raises(Unreadable) as caught:
        open_verified(view.keys, control, b"cell", caps=())
    assert caught.value.reason is Reason.NOT_AN_EVENT


@pytest.mark.parametrize(
    "payload", [b"OFC1:event\n{}", b'OFC1:event\n{"v":2}', b"OFC1:poem\n{}", b"x", b"\n"]
)
def test_a_signed_payload_that_is_no_event_is_not_one(quiet: World, payload: bytes) -> None:
    """A member's valid signature over something else than an event is a marker, no crash."""
    _, ana, bo, _ = quiet.people
    view = bo.view
    with pytest.raises(Unreadable) as caught:
        open_event(view.state, view.keys, sign(ana.mine.sign.private, payload), b"cell")
    assert caught.value.reason is Reason.NOT_AN_EVENT


@pytest.mark.parametrize("plaintext", [b"x", b"{}", b'{"type":"text"}', b"\xff" * 40, b"[]"])
def test_a_plaintext_that_is_no_body_is_a_marker(quiet: World, plaintext: bytes) -> None:
    """A member who seals nonsense, correctly, is shown as having sent something unreadable."""
    _, ana, bo, _ = quiet.people
    assert refused_by(bo, resealed(ana, ana.seal("hi"), plaintext)) is Reason.BAD_BODY


def test_a_body_from_the_future_is_shown_as_unknown(quiet: World) -> None:
    """An authentic body of an unknown type opens as Unknown, never dropped."""
    _, ana, bo, _ = quiet.people
    sealed = ana.seal(Unknown("poll", b'{"q":"tea?"}'))
    assert opened_by(bo, sealed).content == Unknown("poll", b'{"q":"tea?"}')


def test_12_junk_and_the_twin_signature_are_the_same_event(world: World) -> None:
    """Test 12: valid signature plus junk, or with s→n-s, has the same id; sent again, not shown."""
    _, ana, bo = world.people
    sealed = ana.seal("once")
    twins = [signature_twin(sealed.signed.envelope), sealed.signed.envelope + b"junk"]
    for envelope in twins:
        assert envelope != sealed.signed.envelope
        opened = open_event(bo.view.state, bo.view.keys, envelope, sealed.cell)
        assert opened.event_id == sealed.event_id
    world.commit(entry_of(sealed))
    for envelope in twins:
        taken = bo.take(bo.view.log.seq + 1, evolve(entry_of(sealed), envelope=envelope))
        assert taken.opened is None
    assert bo.heard == ["once"]


def test_sealing_again_keeps_number_and_sid(world: World) -> None:
    """After `epoch_stale`: sealed under the new key, the same counter, sid and words."""
    root, ana, bo = world.people
    message = ana.outgoing("in flight")
    early = ana.seal_outgoing(message)
    world.rotate(root)
    late = ana.seal_outgoing(message)
    assert (late.event.counter, late.event.sid) == (early.event.counter, early.event.sid)
    assert (early.event.epoch, late.event.epoch) == (0, 1)
    assert refused_by(bo, early) is Reason.WRONG_EPOCH
    assert opened_by(bo, late).content == Text("in flight")


def test_signing_again_keeps_the_cell(world: World) -> None:
    """After `ctl_stale`: a new header for the same cell, which opens; not after a new epoch."""
    root, ana, bo = world.people
    early = ana.seal("in flight")
    world.invite(root)
    view = ana.view
    late = resign_event(view.state, ana.mine, early, view.seen)
    assert late.cell == early.cell
    assert late.event == evolve(early.event, ctl=view.state.ctl, seen=view.seen)
    assert refused_by(bo, early) is Reason.STALE_CONTROL
    assert opened_by(bo, late).content == Text("in flight")
    moved = resign_event(view.state, ana.mine, early, view.seen, prev=TARGET)
    assert moved.event.prev == TARGET
    world.rotate(root)
    with pytest.raises(Refused) as caught:
        resign_event(ana.view.state, ana.mine, early, ana.view.seen)
    assert caught.value.kind is Code.EPOCH_STALE


def test_what_can_not_be_sent_is_said_before_it_is(quiet: World) -> None:
    """No key, no membership, too long: each its own typed error at the sender."""
    ana = quiet.people[1]
    view = ana.view
    with pytest.raises(BodyTooLong):
        ana.seal("x" * 60_000)
    keyless = EpochKeys(view.state.nonce)
    with pytest.raises(KeyMissing):
        seal_event(view.state, ana.mine, keyless, ana.outgoing("hi"), view.seen)
    stranger = MemberKeys.generate()
    with pytest.raises(Refused):
        seal_event(view.state, stranger, view.keys, ana.outgoing("hi"), view.seen)


def test_names_are_cleaned_on_both_sides(quiet: World) -> None:
    """A name with hidden characters is cleaned when sent, and again when shown."""
    _, ana, bo, _ = quiet.people
    sealed = ana.seal("hi", name="A\u202ena\x07")
    assert opened_by(bo, sealed).body.name == "Ana"
    raw = json.loads(encode_body(opened_by(bo, sealed).body))
    dirty = json.dumps({**raw, "name": "A\u202ena\u200b"}).encode()
    assert opened_by(bo, resealed(ana, sealed, dirty)).name == "Ana"


def test_who_may_change_whose_words(quiet: World) -> None:
    """Edits: the sender. Redactions: the sender or an owner. The room's name: an owner."""
    root, ana, bo, _ = quiet.people
    state = quiet.root.view.state
    assert may_edit(ana.mid, ana.mid)
    assert not may_edit(root.mid, ana.mid)
    assert may_redact(state, ana.mid, ana.mid)
    assert may_redact(state, root.mid, ana.mid)
    assert not may_redact(state, bo.mid, ana.mid)
    assert not may_redact(state, MemberKeys.generate().mid, ana.mid)
    assert may_name_room(state, root.mid)
    assert not may_name_room(state, ana.mid)
    assert not may_name_room(state, MemberId(bytes(32)))


def test_a_beat_carries_what_was_seen(quiet: World) -> None:
    """A beat's header names the log its sender has, and its body nothing."""
    _, ana, bo, _ = quiet.people
    sealed = ana.seal(Beat())
    assert sealed.event.kind is EventKind.BEAT
    assert sealed.event.seen == Seen(ana.view.log.seq, ana.view.log.log)
    assert opened_by(bo, sealed).content == Beat()


def test_an_edit_is_a_message_to_the_relay(quiet: World) -> None:
    """The relay does not learn that a message edits another, nor which."""
    sealed = quiet.people[1].seal(Edit(TARGET, "better"))
    assert (sealed.event.kind, sealed.event.target) == (EventKind.MESSAGE, None)


@given(changes, st.booleans())
def test_any_changed_byte_of_an_event_fails_closed(
    quiet: World, change: Change, in_cell: bool
) -> None:
    """One byte changed in cell or envelope: refused, or exactly the same signed event."""
    _, ana, bo, _ = quiet.people
    sealed = SEALED.setdefault("event", ana.seal("hello"))
    cell, envelope, view = sealed.cell, sealed.signed.envelope, bo.view
    if in_cell:
        cell = changed(cell, change)
    else:
        envelope = changed(envelope, change)
    try:
        opened = open_event(view.state, view.keys, envelope, cell)
    except Unreadable:
        return
    assert not in_cell
    assert unverified_payload(envelope) == sealed.signed.payload
    assert opened.event_id == sealed.event_id


SEALED: dict[str, SealedEvent] = {}


@given(st.binary(max_size=600), st.binary(max_size=200))
def test_arbitrary_bytes_are_only_unreadable(quiet: World, envelope: bytes, cell: bytes) -> None:
    """No bytes from the relay make opening raise anything but Unreadable."""
    view = quiet.people[1].view
    with pytest.raises(Unreadable):
        open_event(view.state, view.keys, envelope, cell)


@given(st.binary(min_size=1, max_size=300))
def test_arbitrary_cells_of_a_member_are_only_unreadable(quiet: World, cell: bytes) -> None:
    """A member who signs for arbitrary bytes as a cell makes a marker, nothing else."""
    _, ana, bo, _ = quiet.people
    base = SEALED.setdefault("event", ana.seal("hello"))
    made = SealedEvent(
        sign_record(ana.mine.sign.private, evolve(base.event, cell_hash=sha256(cell))), cell
    )
    assert refused_by(bo, made) is Reason.BAD_SEAL


def test_the_outgoing_message_says_nothing_in_its_repr(quiet: World) -> None:
    """What waits in an outbox can be logged without its words or keys."""
    ana = quiet.people[1]
    shown = repr([ana.outgoing("MARKERWORD"), ana.view])
    assert "MARKERWORD" not in shown
    for secret in (ana.mine.sign.private, ana.view.keys.get(0)):
        assert repr(secret)[2:-1] not in shown
