"""The key of a vault: made once, kept under a passphrase or a raw key (protocol.md §2.5)."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ofcd.client._vaultfile import Database, sqlite_errors
from ofcd.client.errors import VaultError, VaultMissing, WrongPassphrase
from ofcd.protocol.ids import tagged_hash
from ofcd.themis import (
    CannotOpen,
    InvalidInput,
    generate_key,
    seal,
    seal_with_passphrase,
    unseal,
    unseal_with_passphrase,
)

__all__ = ["Secret", "initialise", "rewrap", "unlock"]

Secret = str | bytes
"""A passphrase, or 32 raw key bytes (from a key file, for bots)."""

_SCHEMA: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE records (
    tbl TEXT NOT NULL, id BLOB NOT NULL, version INTEGER NOT NULL, sealed BLOB NOT NULL,
    PRIMARY KEY (tbl, id)
);
"""
_FORMAT: Final = b"ofc-vault-1"


def initialise(
    db: Database,
    path: Path,
    secret: Secret,
    first: Callable[[bytes], tuple[str, bytes, int, bytes]],
) -> bytes:
    """Write an empty vault with the record that `first(dek)` makes; its key (DEK)."""
    dek = generate_key()
    vault_id = secrets.token_bytes(16)
    wrapped = _wrap(dek, secret, vault_id)
    with sqlite_errors(str(path)):
        db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA}")
        db.executemany(
            "INSERT INTO meta VALUES (?, ?)",
            [("format", _FORMAT), ("vault_id", vault_id), ("dek", wrapped)],
        )
        db.execute("INSERT INTO records VALUES (?, ?, ?, ?)", first(dek))
        db.execute("COMMIT")
    return dek


def unlock(db: Database, path: Path, secret: Secret) -> bytes:
    """The vault's key. Raises `WrongPassphrase`, `VaultMissing` for a file that is no vault."""
    with sqlite_errors(str(path)):
        known = db.execute("SELECT 1 FROM sqlite_master WHERE name='meta'").fetchone()
        kind = _meta(db, "format") if known else None
    if kind is None:
        raise VaultMissing(f"{path} is not a vault of this program")
    if kind != _FORMAT:
        raise VaultError(f"the vault {path} was made by a newer version: update this program")
    return _unwrap(_meta(db, "dek") or b"", secret, _meta(db, "vault_id") or b"", path)


def _meta(db: Database, name: str) -> bytes | None:
    row = db.execute("SELECT value FROM meta WHERE name=?", (name,)).fetchone()
    return None if row is None else bytes(row[0])


def rewrap(db: Database, dek: bytes, secret: Secret) -> None:
    """Put the key under another passphrase."""
    wrapped = _wrap(dek, secret, _meta(db, "vault_id") or b"")
    db.execute("UPDATE meta SET value=? WHERE name='dek'", (wrapped,))


def _wrap(dek: bytes, secret: Secret, vault_id: bytes) -> bytes:
    context = tagged_hash("vault", vault_id)
    if isinstance(secret, str):
        return b"p" + seal_with_passphrase(secret, dek, context)
    return b"k" + seal(secret, dek, context)


def _unwrap(wrapped: bytes, secret: Secret, vault_id: bytes, path: Path) -> bytes:
    context = tagged_hash("vault", vault_id)
    if wrapped[:1] != (b"p" if isinstance(secret, str) else b"k"):
        opened_by = "passphrase" if wrapped[:1] == b"p" else "key file"
        raise WrongPassphrase(f"the vault {path} is opened by a {opened_by}")
    try:
        if isinstance(secret, str):
            return unseal_with_passphrase(secret, wrapped[1:], context)
        return unseal(secret, wrapped[1:], context)
    except (CannotOpen, InvalidInput):  # an empty passphrase, or a key of another length
        raise WrongPassphrase(f"this passphrase or key does not open the vault {path}") from None
