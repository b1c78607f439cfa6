"""Key generation and the one canonical form of a public key (E7)."""

from __future__ import annotations

import pytest

from ofcd import themis
from ofcd.compliance import p256
from tests.themis.helpers import flipped, load_vectors

VECTORS = load_vectors()
REFUSED = {name: bytes.fromhex(raw) for name, raw in VECTORS["refused_public_keys"].items()}


def test_a_generated_public_key_is_canonical() -> None:
    """45 bytes, tag UEC2, a compressed point, and the container's own checksum."""
    for _ in range(8):
        public = themis.generate_keypair().public
        assert themis.is_canonical_public_key(public)
        assert len(public) == themis.PUBLIC_KEY_BYTES == 45
        assert public[12] in (2, 3)
        assert public == p256.container(b"UEC2", public[12:])
        assert themis.check_public_key(public) == public


def test_keys_do_not_repeat() -> None:
    """Two pairs and two symmetric keys have nothing in common."""
    pairs = [themis.generate_keypair() for _ in range(16)]
    assert len({pair.private for pair in pairs}) == len({pair.public for pair in pairs}) == 16
    assert len({themis.generate_key() for _ in range(64)}) == 64
    assert len(themis.generate_key()) == themis.KEY_BYTES == 32


def test_a_key_pair_does_not_show_its_private_key() -> None:
    """Neither repr nor str of a pair holds the private key in any spelling."""
    pair = themis.generate_keypair()
    shown = f"{pair!r} {pair}"
    assert "private" not in shown
    assert repr(pair.private[12:])[2:-1] not in shown
    assert pair.private.hex() not in shown


@pytest.mark.parametrize("name", ["rsa", "uncompressed"])
def test_other_forms_are_not_canonical(name: str) -> None:
    """RSA and uncompressed keys are refused by their form alone."""
    assert not themis.is_canonical_public_key(REFUSED[name])
    with pytest.raises(themis.InvalidInput):
        themis.check_public_key(REFUSED[name])


def test_length_tag_size_and_prefix_are_all_looked_at() -> None:
    """One byte off anywhere in the form is not canonical."""
    public = themis.generate_keypair().public
    for wrong in (b"", public[:-1], public + b"\0", b"REC2" + public[4:], bytes(45), b"x" * 20_000):
        assert not themis.is_canonical_public_key(wrong)
    assert not themis.is_canonical_public_key(flipped(public, 7))
    for prefix in (0, 1, 4, 6, 7, 255):
        wrong = p256.container(b"UEC2", bytes([prefix]) + public[13:])
        assert not themis.is_canonical_public_key(wrong)


def test_the_core_proves_the_point_and_the_checksum() -> None:
    """A canonical form off the curve, and one with a wrong checksum, pass only the form check."""
    off_curve = REFUSED["off_curve"]
    assert off_curve == p256.off_curve_key()
    damaged = flipped(themis.generate_keypair().public, 9)
    too_large = p256.container(b"UEC2", b"\x02" + (p256.P + 5).to_bytes(32, "big"))
    for wrong in (off_curve, damaged, too_large):
        assert themis.is_canonical_public_key(wrong)
        with pytest.raises(themis.InvalidInput):
            themis.check_public_key(wrong)
