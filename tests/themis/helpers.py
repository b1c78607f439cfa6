"""What the Themis tests share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from ofcd import themis

CONTEXT: Final = bytes(range(32))
OTHER_CONTEXT: Final = bytes(range(1, 33))


def load_vectors() -> dict[str, Any]:
    """tests/vectors/themis.json."""
    path = Path(__file__).parent.parent / "vectors" / "themis.json"
    vectors: dict[str, Any] = json.loads(path.read_text(encoding="ascii"))
    return vectors


def unhex(texts: list[str]) -> list[bytes]:
    """Bytes from the vectors' hex."""
    return [bytes.fromhex(text) for text in texts]


def accept(peer: bytes) -> bytes:
    """Accepts anyone, with the key that is its id."""
    return peer


def new_session(keys: themis.KeyPair | None = None) -> themis.SecureSession:
    """One end that accepts anyone."""
    keys = keys or themis.generate_keypair()
    return themis.SecureSession(keys.public, keys.private, accept)


def connect(client: themis.SecureSession, server: themis.SecureSession) -> None:
    """Carries the four handshake messages."""
    hello = server.handshake(client.connect_request())
    assert hello is not None
    proof = client.handshake(hello)
    assert proof is not None
    confirmation = server.handshake(proof)
    assert confirmation is not None
    assert client.handshake(confirmation) is None


def established() -> tuple[themis.SecureSession, themis.SecureSession]:
    """A client and a server, shaken hands."""
    client, server = new_session(), new_session()
    connect(client, server)
    return client, server


def flipped(data: bytes, at: int) -> bytes:
    """`data` with one bit changed."""
    changed = bytearray(data)
    changed[at] ^= 0x10
    return bytes(changed)
