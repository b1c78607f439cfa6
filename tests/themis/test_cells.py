"""Secure Cell, Seal mode: with a key, and with a passphrase."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofcd import themis
from tests.themis.helpers import CONTEXT, OTHER_CONTEXT, flipped, load_vectors, unhex

KEY = bytes(range(100, 132))
TEXT = b"what a room says"


@given(
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=1, max_size=3000),
    st.binary(min_size=32, max_size=32),
)
def test_what_is_sealed_opens(key: bytes, text: bytes, context: bytes) -> None:
    """Any plaintext comes back, from a cell exactly 44 bytes longer."""
    sealed = themis.seal(key, text, context)
    assert len(sealed) == len(text) + themis.SEAL_OVERHEAD
    assert themis.unseal(key, sealed, context) == text


@pytest.mark.parametrize("size", [1, 15, 16, 17, 65_535, 300_000, 3_000_000])
def test_every_size_up_to_an_attachment_and_beyond(size: int) -> None:
    """Sizes around blocks, and larger than the embedded core's first scratch area."""
    text = bytes([size % 251]) * size
    assert themis.unseal(KEY, themis.seal(KEY, text, CONTEXT), CONTEXT) == text


def test_sealing_is_randomised() -> None:
    """The same plaintext never gives the same cell."""
    assert len({themis.seal(KEY, TEXT, CONTEXT) for _ in range(32)}) == 32


def test_wrong_key_or_context_does_not_open() -> None:
    """One bit of either is enough."""
    sealed = themis.seal(KEY, TEXT, CONTEXT)
    for key, context in (
        (flipped(KEY, 0), CONTEXT),
        (KEY, OTHER_CONTEXT),
        (KEY, flipped(CONTEXT, 31)),
    ):
        with pytest.raises(themis.CannotOpen):
            themis.unseal(key, sealed, context)


def test_no_byte_may_change() -> None:
    """Every single byte of a cell is authenticated or checked: header, IV, tag, ciphertext."""
    sealed = themis.seal(KEY, TEXT, CONTEXT)
    for at in range(len(sealed)):
        with pytest.raises(themis.CannotOpen):
            themis.unseal(KEY, flipped(sealed, at), CONTEXT)


def test_no_byte_may_be_missing_or_added() -> None:
    """Every truncation, and bytes before or after (which Themis itself ignores), are refused."""
    sealed = themis.seal(KEY, TEXT, CONTEXT)
    for end in range(len(sealed)):
        with pytest.raises(themis.CannotOpen):
            themis.unseal(KEY, sealed[:end], CONTEXT)
    for changed in (sealed + b"\0", b"\0" + sealed, sealed[1:], sealed * 2):
        with pytest.raises(themis.CannotOpen):
            themis.unseal(KEY, changed, CONTEXT)


@given(st.binary(max_size=200))
def test_noise_does_not_open(noise: bytes) -> None:
    """Arbitrary bytes are refused with the one typed error."""
    with pytest.raises(themis.CannotOpen):
        themis.unseal(KEY, noise, CONTEXT)


@pytest.mark.parametrize("size", [0, 1, 16, 31, 33, 64])
def test_only_32_byte_keys_and_contexts(size: int) -> None:
    """Themis takes any size (E8); this door does not, in either direction."""
    sealed = themis.seal(KEY, TEXT, CONTEXT)
    for key, context in ((bytes(size), CONTEXT), (KEY, bytes(size))):
        with pytest.raises(themis.InvalidInput):
            themis.seal(key, TEXT, context)
        with pytest.raises(ValueError, match="32 bytes"):
            themis.unseal(key, sealed, context)


def test_an_empty_plaintext_is_refused() -> None:
    """As Themis does, but before it and with a sentence (E8)."""
    with pytest.raises(themis.InvalidInput, match="empty"):
        themis.seal(KEY, b"", CONTEXT)


@pytest.mark.slow
def test_a_passphrase_cell() -> None:
    """Opens with its passphrase and context only; changed or cut, not at all."""
    sealed = themis.seal_with_passphrase("opn sësame", TEXT, CONTEXT)
    assert len(sealed) == len(TEXT) + themis.SEAL_PASSPHRASE_OVERHEAD
    assert themis.unseal_with_passphrase("opn sësame", sealed, CONTEXT) == TEXT
    for passphrase, cell, context in (
        ("opn sesame", sealed, CONTEXT),
        ("opn sësame", sealed, OTHER_CONTEXT),
        ("opn sësame", flipped(sealed, len(sealed) - 1), CONTEXT),
        ("opn sësame", sealed[:-1], CONTEXT),
        ("opn sësame", sealed + b"!", CONTEXT),
        ("opn sësame", themis.seal(KEY, TEXT, CONTEXT) + bytes(30), CONTEXT),
    ):
        with pytest.raises(themis.CannotOpen):
            themis.unseal_with_passphrase(passphrase, cell, context)


def test_a_passphrase_cell_can_not_ask_for_endless_work() -> None:
    """Its iteration count is not authenticated before it is used: a huge one is refused at once."""
    sealed = bytes.fromhex(load_vectors()["sealed_with_passphrase"])
    assert int.from_bytes(sealed[48:52], "little") == 314_110
    for count in (4_000_001, 2**32 - 1):
        forged = sealed[:48] + count.to_bytes(4, "little") + sealed[52:]
        with pytest.raises(themis.CannotOpen, match="work"):
            themis.unseal_with_passphrase("any", forged, CONTEXT)


def test_passphrases_that_can_not_be() -> None:
    """Empty ones, and text that UTF-8 can not carry."""
    for passphrase in ("", "\ud800"):
        with pytest.raises(themis.InvalidInput):
            themis.seal_with_passphrase(passphrase, TEXT, CONTEXT)
        with pytest.raises(themis.InvalidInput):
            themis.unseal_with_passphrase(passphrase, bytes(100), CONTEXT)
    with pytest.raises(themis.InvalidInput):
        themis.seal_with_passphrase("good", b"", CONTEXT)
    with pytest.raises(themis.InvalidInput):
        themis.seal_with_passphrase("good", TEXT, b"short")


def test_known_answers() -> None:
    """What a native libthemis sealed opens here."""
    vectors = load_vectors()
    key, context = bytes.fromhex(vectors["key"]), bytes.fromhex(vectors["context"])
    opened = [themis.unseal(key, sealed, context) for sealed in unhex(vectors["sealed"])]
    assert opened == unhex(vectors["texts"])


@pytest.mark.slow
def test_known_answer_with_a_passphrase() -> None:
    """The same for a passphrase that is not ASCII."""
    vectors = load_vectors()
    sealed = bytes.fromhex(vectors["sealed_with_passphrase"])
    context = bytes.fromhex(vectors["context"])
    opened = themis.unseal_with_passphrase(vectors["passphrase"], sealed, context)
    assert opened == unhex(vectors["texts"])[1]
