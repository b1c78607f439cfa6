"""Writes tests/vectors/themis.json anew: `OFCD_THEMIS=native python -m tests.themis.make_vectors`.

The file holds what a native libthemis sealed, signed and boxed, for every other core to open, so
this refuses to run on the embedded one. All of it is made up for tests; nothing in it is secret.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from ofcd import themis
from ofcd.compliance import p256
from ofcd.themis._core import pythemis_module

VECTORS: Final = Path(__file__).parent.parent / "vectors" / "themis.json"
TEXTS: Final = (b"x", b"a sentence that Themis seals", bytes(range(256)) * 5)


def make() -> dict[str, object]:
    """One fresh set of vectors."""
    alice, bob = themis.generate_keypair(), themis.generate_keypair()
    rsa = pythemis_module("skeygen").GenerateKeyPair("RSA")
    key, context = themis.generate_key(), bytes(range(32))
    passphrase = "correct horse, \u00fcber \u96fb\u6c60"
    signed = [themis.sign(alice.private, text) for text in TEXTS]
    return {
        "about": "made by a native libthemis; bytes are hex; see tests/themis/make_vectors.py",
        "alice": {"private": alice.private.hex(), "public": alice.public.hex()},
        "bob": {"private": bob.private.hex(), "public": bob.public.hex()},
        "refused_public_keys": {
            "rsa": rsa.export_public_key().hex(),
            "uncompressed": p256.uncompressed_twin(alice.public).hex(),
            "off_curve": p256.off_curve_key().hex(),
        },
        "key": key.hex(),
        "context": context.hex(),
        "passphrase": passphrase,
        "texts": [text.hex() for text in TEXTS],
        "sealed": [themis.seal(key, text, context).hex() for text in TEXTS],
        "sealed_with_passphrase": themis.seal_with_passphrase(passphrase, TEXTS[1], context).hex(),
        "signed_by_alice": [message.hex() for message in signed],
        "signed_by_alice_twin": [p256.signature_twin(message).hex() for message in signed],
        "boxed_alice_to_bob": [themis.box(alice.private, bob.public, text).hex() for text in TEXTS],
    }


def main() -> None:
    """Writes the file."""
    if themis.core_info().kind != "native":
        sys.exit("known answers come from a native libthemis: run with OFCD_THEMIS=native")
    VECTORS.write_text(json.dumps(make(), indent=1) + "\n", encoding="ascii")
    print(f"wrote {VECTORS}")


if __name__ == "__main__":
    main()
