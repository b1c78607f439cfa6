"""Secure Message: signatures (with what they do not promise, E6) and boxes (E5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofcd import themis
from ofcd.compliance import p256
from tests.themis.helpers import flipped, load_vectors, unhex

VECTORS = load_vectors()
ALICE = themis.KeyPair(*unhex([VECTORS["alice"]["private"], VECTORS["alice"]["public"]]))
BOB = themis.KeyPair(*unhex([VECTORS["bob"]["private"], VECTORS["bob"]["public"]]))
REFUSED = {name: bytes.fromhex(raw) for name, raw in VECTORS["refused_public_keys"].items()}
TEXT = b"OFC1:test\nwhat is signed"
MALFORMED = [REFUSED["rsa"], REFUSED["uncompressed"], b"", ALICE.public[:-1], ALICE.private]


@given(st.binary(min_size=1, max_size=3000))
def test_what_is_signed_verifies(text: bytes) -> None:
    """Any payload comes back from `verify`, and unproven from the container itself."""
    signed = themis.sign(ALICE.private, text)
    assert themis.verify(ALICE.public, signed) == text == themis.unverified_payload(signed)
    assert len(signed) - len(text) <= themis.SIGN_OVERHEAD_MAX


def test_another_key_does_not_verify() -> None:
    """A signature is of one key."""
    with pytest.raises(themis.BadSignature):
        themis.verify(BOB.public, themis.sign(ALICE.private, TEXT))


def test_no_byte_of_header_payload_or_signature_may_change() -> None:
    """Every single byte matters."""
    signed = themis.sign(ALICE.private, TEXT)
    for at in range(len(signed)):
        with pytest.raises(themis.BadSignature):
            themis.verify(ALICE.public, flipped(signed, at))


def test_no_byte_may_be_missing() -> None:
    """Every truncation is refused."""
    signed = themis.sign(ALICE.private, TEXT)
    for end in range(len(signed)):
        with pytest.raises(themis.BadSignature):
            themis.verify(ALICE.public, signed[:end])


def test_three_envelopes_one_payload() -> None:
    """E6: junk behind, the twin s -> n-s and signing again all verify, to the same payload."""
    signed = themis.sign(ALICE.private, TEXT)
    envelopes = {
        signed,
        signed + b"junk",
        p256.signature_twin(signed),
        themis.sign(ALICE.private, TEXT),
    }
    assert len(envelopes) == 4
    assert {themis.verify(ALICE.public, envelope) for envelope in envelopes} == {TEXT}


@pytest.mark.parametrize("public", MALFORMED)
def test_a_key_in_another_form_never_reaches_the_core(public: bytes) -> None:
    """E7: the uncompressed twin would verify; it is refused as no key at all."""
    signed = themis.sign(ALICE.private, TEXT)
    with pytest.raises(themis.InvalidInput):
        themis.verify(public, signed)


def test_a_key_off_the_curve_or_damaged_verifies_nothing() -> None:
    """Canonical in form, refused by the core."""
    signed = themis.sign(ALICE.private, TEXT)
    for public in (REFUSED["off_curve"], flipped(ALICE.public, 9), flipped(ALICE.public, 44)):
        with pytest.raises(themis.BadSignature):
            themis.verify(public, signed)


@given(st.binary(max_size=200))
def test_noise_is_not_signed(noise: bytes) -> None:
    """Arbitrary bytes are refused with the one typed error, cheaply and by the core."""
    with pytest.raises(themis.BadSignature):
        themis.unverified_payload(noise)
    with pytest.raises(themis.BadSignature):
        themis.verify(ALICE.public, noise)


def test_lengths_that_lie() -> None:
    """Payload and signature lengths past the end, or zero, are malformed before any core."""
    signed = themis.sign(ALICE.private, TEXT)
    for at in (4, 8):
        for length in (0, len(signed), 2**31, 2**32 - 1):
            lying = signed[:at] + length.to_bytes(4, "little") + signed[at + 4 :]
            with pytest.raises(themis.BadSignature):
                themis.unverified_payload(lying)


def test_a_box_is_not_a_signature_nor_the_other_way_round() -> None:
    """The container's type is checked."""
    with pytest.raises(themis.BadSignature):
        themis.unverified_payload(themis.box(ALICE.private, BOB.public, TEXT * 9))
    with pytest.raises(themis.CannotOpen):
        themis.unbox(BOB.private, ALICE.public, themis.sign(ALICE.private, TEXT))


@given(st.binary(min_size=1, max_size=2000))
def test_what_is_boxed_opens(text: bytes) -> None:
    """Any payload comes back, from a box exactly 52 bytes longer."""
    boxed = themis.box(ALICE.private, BOB.public, text)
    assert len(boxed) == len(text) + themis.BOX_OVERHEAD
    assert themis.unbox(BOB.private, ALICE.public, boxed) == text


def test_a_box_opens_at_its_sender_too() -> None:
    """E5: reflection. A box from Alice to Bob opens at Alice as if it came from Bob."""
    boxed = themis.box(ALICE.private, BOB.public, TEXT)
    assert themis.unbox(ALICE.private, BOB.public, boxed) == TEXT


def test_a_box_opens_for_nobody_else_and_not_when_changed() -> None:
    """A third key, every changed byte, every truncation, anything behind it."""
    eve = themis.generate_keypair()
    boxed = themis.box(ALICE.private, BOB.public, b"short")
    for private, public in ((eve.private, ALICE.public), (BOB.private, eve.public)):
        with pytest.raises(themis.CannotOpen):
            themis.unbox(private, public, boxed)
    for at in range(len(boxed)):
        with pytest.raises(themis.CannotOpen):
            themis.unbox(BOB.private, ALICE.public, flipped(boxed, at))
    for end in range(len(boxed)):
        with pytest.raises(themis.CannotOpen):
            themis.unbox(BOB.private, ALICE.public, boxed[:end])
    with pytest.raises(themis.CannotOpen):
        themis.unbox(BOB.private, ALICE.public, boxed + b"!")


@pytest.mark.parametrize("public", MALFORMED)
def test_boxes_take_canonical_keys_only(public: bytes) -> None:
    """In either direction."""
    with pytest.raises(themis.InvalidInput):
        themis.box(ALICE.private, public, TEXT)
    with pytest.raises(themis.InvalidInput):
        themis.unbox(ALICE.private, public, bytes(100))


def test_a_box_to_a_key_off_the_curve_is_refused() -> None:
    """No invalid-curve answer leaves the core."""
    with pytest.raises(themis.InvalidInput):
        themis.box(ALICE.private, REFUSED["off_curve"], TEXT)
    with pytest.raises(themis.CannotOpen):
        themis.unbox(ALICE.private, REFUSED["off_curve"], bytes(100))


def test_private_keys_that_are_none() -> None:
    """A public key, nothing, a cut key, a damaged one: refused, and never shown."""
    for private in (ALICE.public, b"", ALICE.private[:-1], flipped(ALICE.private, 20)):
        with pytest.raises(themis.InvalidInput) as refused_to_sign:
            themis.sign(private, TEXT)
        with pytest.raises(themis.InvalidInput) as refused_to_box:
            themis.box(private, BOB.public, TEXT)
        for refused in (refused_to_sign, refused_to_box):
            assert ALICE.private.hex() not in repr(refused.value)


def test_empty_payloads_are_refused() -> None:
    """E8: Themis refuses them; so do we, with a sentence."""
    with pytest.raises(themis.InvalidInput, match="empty"):
        themis.sign(ALICE.private, b"")
    with pytest.raises(themis.InvalidInput, match="empty"):
        themis.box(ALICE.private, BOB.public, b"")


def test_known_answers() -> None:
    """What a native libthemis signed and boxed verifies and opens here, the twins included."""
    texts = unhex(VECTORS["texts"])
    for name in ("signed_by_alice", "signed_by_alice_twin"):
        assert [themis.verify(ALICE.public, signed) for signed in unhex(VECTORS[name])] == texts
    boxes = unhex(VECTORS["boxed_alice_to_bob"])
    assert [themis.unbox(BOB.private, ALICE.public, boxed) for boxed in boxes] == texts
