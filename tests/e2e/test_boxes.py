"""Boxes, and cells of every kind: none opens as another, nor elsewhere, nor for anyone else."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from ofcd.e2e import contexts
from ofcd.e2e.attachments import FileSealer, open_chunk
from ofcd.e2e.boxes import AnswerBox, Content, JoinBox, KeyBox, Party, TokenBox, open_box, seal_box
from ofcd.e2e.epochs import make_routine_rekey, open_routine_rekey
from ofcd.e2e.errors import BoxRejected, FileRejected, JoinRejected, KeyRejected, Unreadable
from ofcd.e2e.events import open_verified
from ofcd.e2e.joining import check_confirm
from ofcd.e2e.keys import MemberKeys
from ofcd.e2e.signals import Signal, SignalKind, open_signal, seal_signal
from ofcd.protocol.ids import (
    BlobId,
    EventId,
    Hash32,
    InviteId,
    MemberId,
    PublicKey,
    RoomId,
    Sid,
    sha256,
)
from ofcd.protocol.records import EventKind, JoinConfirm, RekeyRoutine
from ofcd.themis import CannotOpen, box, seal, unseal
from ofcd.themis.signed import sign_record
from tests.e2e.changes import Change, changed, changes
from tests.e2e.world import NOW, World

ROOM, OTHER_ROOM = RoomId(b"r" * 32), RoomId(b"q" * 32)
ANA, BO, CY = MemberKeys.generate(), MemberKeys.generate(), MemberKeys.generate()
KEY, H32, ID = b"k" * 32, Hash32(b"h" * 32), b"i" * 16

CONTENTS: list[Content] = [
    KeyBox(1, H32, EventId(H32), KEY),
    AnswerBox(1, H32, H32, KEY),
    TokenBox(InviteId(ID), KEY),
    JoinBox(InviteId(ID), KEY, H32, b"proof"),
]
_ids = [type(content).__name__ for content in CONTENTS]


def party(keys: MemberKeys) -> Party:
    return Party(keys.mid, keys.enc_key)


@pytest.mark.parametrize("content", CONTENTS, ids=_ids)
def test_a_box_opens_for_its_addressee(content: Content) -> None:
    """What is boxed for Bo, Bo opens, and gets exactly that."""
    boxed = seal_box(ANA, party(BO), ROOM, content)
    assert open_box(BO, party(ANA), ROOM, type(content), boxed) == content  # type: ignore[type-var]


@pytest.mark.parametrize("content", CONTENTS, ids=_ids)
def test_11_a_box_reflected_to_its_sender_is_refused(content: Content) -> None:
    """Test 11: Ana's box for Bo decrypts at Ana's as from Bo (E5); `from` and `to` stop it."""
    boxed = seal_box(ANA, party(BO), ROOM, content)
    with pytest.raises(BoxRejected, match="another sender"):
        open_box(ANA, party(BO), ROOM, type(content), boxed)  # type: ignore[type-var]


@pytest.mark.parametrize("content", CONTENTS, ids=_ids)
def test_11_a_box_from_another_room_is_refused(content: Content) -> None:
    """Test 11: a box made in room A is refused in room B, though its keys open it."""
    boxed = seal_box(ANA, party(BO), OTHER_ROOM, content)
    with pytest.raises(BoxRejected, match="another room"):
        open_box(BO, party(ANA), ROOM, type(content), boxed)  # type: ignore[type-var]


def test_11_a_box_that_names_someone_else_is_refused() -> None:
    """Test 11: a box whose keys fit but whose `to` names another member is refused."""
    boxed = seal_box(ANA, Party(CY.mid, BO.enc_key), ROOM, CONTENTS[0])
    with pytest.raises(BoxRejected, match="someone else"):
        open_box(BO, party(ANA), ROOM, KeyBox, boxed)


def test_a_box_of_someone_else_does_not_open() -> None:
    """Cy, in the same room, can not open what Ana boxed for Bo."""
    boxed = seal_box(ANA, party(BO), ROOM, CONTENTS[0])
    with pytest.raises(BoxRejected, match="does not open"):
        open_box(CY, party(ANA), ROOM, KeyBox, boxed)


@pytest.mark.parametrize(("made", "read"), list(permutations(CONTENTS, 2)))
def test_10_a_box_for_one_purpose_is_no_other(made: Content, read: Content) -> None:
    """Test 10, for boxes: no kind of box opens as another kind."""
    boxed = seal_box(ANA, party(BO), ROOM, made)
    with pytest.raises(BoxRejected, match="another purpose"):
        open_box(BO, party(ANA), ROOM, type(read), boxed)  # type: ignore[type-var]


@pytest.mark.parametrize(
    "payload",
    [
        b"OFC1:box:key\n",
        b"OFC1:box:key\n[]",
        b"OFC1:box:key\n{}",
        b'OFC1:box:key\n{"epoch":1}',
        b"\xff",
    ],
)
def test_a_box_with_something_else_in_it_is_refused(payload: bytes) -> None:
    """What a member boxed by other means is a typed error."""
    boxed = box(ANA.encrypt.private, BO.enc_key, payload)
    with pytest.raises(BoxRejected):
        open_box(BO, party(ANA), ROOM, KeyBox, boxed)


def test_a_short_key_in_a_box_is_refused() -> None:
    """A boxed key that is not 32 bytes is refused before anything uses it."""
    with pytest.raises(ValueError, match="key"):
        KeyBox(1, H32, EventId(H32), b"short")


@given(changes)
def test_any_changed_byte_of_a_box_fails_closed(change: Change) -> None:
    """One byte changed anywhere in a box: it does not open."""
    with pytest.raises(BoxRejected):
        open_box(BO, party(ANA), ROOM, KeyBox, changed(BOXED, change))


BOXED = seal_box(ANA, party(BO), ROOM, CONTENTS[0])


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_only_rejected(raw: bytes) -> None:
    """No bytes make a box raise anything but BoxRejected."""
    with pytest.raises(BoxRejected):
        open_box(BO, party(ANA), ROOM, KeyBox, raw)


# -- test 10: cells ------------------------------------------------------------------------------

MID, SID, EVENT = MemberId(H32), Sid(ID), EventId(H32)
CELL_CONTEXTS = {
    "msg": contexts.message_context(ROOM, 1, MID, 1, SID, EventKind.MESSAGE),
    "msg-beat": contexts.message_context(ROOM, 1, MID, 1, SID, EventKind.BEAT),
    "msg-redact": contexts.message_context(ROOM, 1, MID, 1, SID, EventKind.REDACT),
    "rekey": contexts.rekey_context(ROOM, 1, H32, EVENT),
    "conf": contexts.confirm_context(ROOM, MID, 1),
    "join": contexts.join_context(ROOM, InviteId(ID), KEY, H32),
    "jr-proof": contexts.proof_context(ROOM, InviteId(ID)),
    "att": contexts.attachment_context(ROOM, BlobId(ID), 1, 1, 1),
    "sig": contexts.signal_context(ROOM, 1, MID, ID),
}


@pytest.mark.parametrize(("made", "read"), list(permutations(CELL_CONTEXTS, 2)))
def test_10_a_cell_of_one_kind_never_opens_as_another(made: str, read: str) -> None:
    """Test 10: under one key, with every field they share equal, no kind opens as another (B2)."""
    cell = seal(KEY, b"23:59 Ana: Hello.", CELL_CONTEXTS[made])
    with pytest.raises(CannotOpen):
        unseal(KEY, cell, CELL_CONTEXTS[read])


_FIELDS: dict[str, tuple[Any, dict[str, tuple[Any, Any]]]] = {
    "msg": (
        contexts.message_context,
        {
            "room": (ROOM, OTHER_ROOM),
            "epoch": (1, 2),
            "mid": (MID, MemberId(b"x" * 32)),
            "counter": (1, 2),
            "sid": (SID, Sid(b"x" * 16)),
            "kind": (EventKind.MESSAGE, EventKind.BEAT),
        },
    ),
    "rekey": (
        contexts.rekey_context,
        {
            "room": (ROOM, OTHER_ROOM),
            "epoch": (1, 2),
            "key_commitment": (H32, Hash32(b"x" * 32)),
            "prev": (EVENT, EventId(b"x" * 32)),
        },
    ),
    "conf": (
        contexts.confirm_context,
        {"room": (ROOM, OTHER_ROOM), "mid": (MID, MemberId(b"x" * 32)), "epoch": (1, 2)},
    ),
    "join": (
        contexts.join_context,
        {
            "room": (ROOM, OTHER_ROOM),
            "invite_id": (InviteId(ID), InviteId(b"x" * 16)),
            "token": (KEY, b"x" * 32),
            "request_hash": (H32, Hash32(b"x" * 32)),
        },
    ),
    "jr-proof": (
        contexts.proof_context,
        {"room": (ROOM, OTHER_ROOM), "invite_id": (InviteId(ID), InviteId(b"x" * 16))},
    ),
    "jr": (
        contexts.proof_plaintext,
        {
            "room": (ROOM, OTHER_ROOM),
            "invite_id": (InviteId(ID), InviteId(b"x" * 16)),
            "sign_key": (ANA.sign_key, BO.sign_key),
            "enc_key": (ANA.enc_key, BO.enc_key),
            "nonce": (H32, Hash32(b"x" * 32)),
        },
    ),
    "att": (
        contexts.attachment_context,
        {
            "room": (ROOM, OTHER_ROOM),
            "blob": (BlobId(ID), BlobId(b"x" * 16)),
            "index": (0, 1),
            "count": (2, 3),
            "size": (9, 10),
        },
    ),
    "sig": (
        contexts.signal_context,
        {
            "room": (ROOM, OTHER_ROOM),
            "epoch": (1, 2),
            "mid": (MID, MemberId(b"x" * 32)),
            "nonce": (ID, b"x" * 16),
        },
    ),
}


@pytest.mark.parametrize(
    ("kind", "field"), [(kind, field) for kind, (_, fields) in _FIELDS.items() for field in fields]
)
def test_10_every_field_of_a_context_counts(kind: str, field: str) -> None:
    """Test 10: a cell is bound to each single thing its context names."""
    make, fields = _FIELDS[kind]
    same = {name: value for name, (value, _) in fields.items()}
    assert make(**same) != make(**{**same, field: fields[field][1]})


def test_10_a_message_shown_as_a_rekey_is_refused(world: World) -> None:
    """Test 10: the relay, with an owner's help even, can not make a message's text the room key."""
    root, ana, _ = world.people
    sealed = ana.seal("a guessed text")
    view = root.view
    rekey = make_routine_rekey(view.state, root.mine, view.keys, view.seen, NOW)
    assert isinstance(rekey.signed.record, RekeyRoutine)
    with pytest.raises(KeyRejected):
        open_routine_rekey(evolve(rekey.signed.record, cell=sealed.cell), view.keys)


def test_10_a_rekey_shown_as_a_message_is_refused(world: World) -> None:
    """Test 10: a rotation's cell under its maker's own event header is not shown as text."""
    root, ana, _ = world.people
    view = root.view
    rekey = make_routine_rekey(view.state, root.mine, view.keys, view.seen, NOW)
    cell = rekey.signed.record.cell  # type: ignore[union-attr]
    event = evolve(root.seal("x").event, cell_hash=sha256(cell))
    signed = sign_record(root.mine.sign.private, event)
    with pytest.raises(Unreadable):
        open_verified(ana.view.keys, signed, cell, caps=())


def test_10_a_message_shown_as_a_confirmation_is_refused(world: World) -> None:
    """Test 10: a joiner can not pass off a member's message cell as its own JOIN_CONFIRM."""
    root, ana, _ = world.people
    asked = world.ask(root)
    answered, joined = world.respond(root, asked)
    confirm = joined.confirm.record
    assert isinstance(confirm, JoinConfirm)
    forged = evolve(confirm, cell=ana.seal("x").cell)
    envelope = sign_record(asked.joining.keys.sign.private, forged).envelope
    with pytest.raises(JoinRejected):
        check_confirm(root.view.state, root.view.keys, answered, envelope)


def test_10_a_message_shown_as_a_signal_or_a_chunk_is_refused(world: World) -> None:
    """Test 10: signals and attachment chunks open as nothing else, and nothing opens as them."""
    _, ana, bo = world.people
    view, cell = bo.view, ana.seal("x").cell
    with pytest.raises(Unreadable):
        open_signal(view.room, 0, view.keys, ana.mid, b"n" * 16 + cell, NOW)
    signal = seal_signal(view.room, 0, view.keys, ana.mid, Signal(SignalKind.TYPING, NOW))
    sealer = FileSealer(view.room, 4)
    sealer.seal(b"file")
    ref = evolve(sealer.finish("x"), key=view.keys.get(0), chunks=(sha256(signal[16:]),))
    with pytest.raises(FileRejected):
        open_chunk(view.room, ref, 0, signal[16:])


def test_public_keys_differ_by_purpose() -> None:
    """A member's signing key is not its box key."""
    assert PublicKey(ANA.sign_key) != ANA.enc_key
