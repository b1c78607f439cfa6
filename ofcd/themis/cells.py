"""Secure Cell in Seal mode: the one wrapper that insists on 32-byte keys and contexts (E8).

Source: Themis' documentation of Secure Cell, Seal mode (AES-256-GCM; the context feeds both the
key derivation and the authenticated data).
"""

from __future__ import annotations

from typing import Final

from ofcd.themis._core import pythemis_module
from ofcd.themis.errors import CannotOpen, CoreFailed, InvalidInput
from ofcd.themis.keys import KEY_BYTES

__all__ = [
    "CONTEXT_BYTES",
    "SEAL_OVERHEAD",
    "SEAL_PASSPHRASE_OVERHEAD",
    "seal",
    "seal_with_passphrase",
    "unseal",
    "unseal_with_passphrase",
]

CONTEXT_BYTES: Final = 32
SEAL_OVERHEAD: Final = 44
"""Bytes a sealed cell is longer than its plaintext."""
SEAL_PASSPHRASE_OVERHEAD: Final = 70
"""The same with a passphrase: the salt and the iteration count come with it."""

_ITERATIONS_AT: Final = 48
"""Offset of the PBKDF2 iteration count, u32 little-endian, behind a cell's header, IV and tag."""
_MAX_ITERATIONS: Final = 4_000_000
"""Themis writes 314,110. The count comes with the cell: a forged one would hang us for an hour."""

_scell = pythemis_module("scell")
_CoreError: type[Exception] = pythemis_module("exception").ThemisError


def seal(key: bytes, plaintext: bytes, context: bytes) -> bytes:
    """`plaintext` encrypted and authenticated, bound to `context`; 44 bytes longer.

    `key` and `context` are 32 bytes each; Themis refuses an empty plaintext, so do we.
    Raises `InvalidInput`.
    """
    _require_key(key)
    _require_plaintext(plaintext)
    _require_context(context)
    return _encrypt(_scell.SCellSeal(key=key), plaintext, context)


def unseal(key: bytes, sealed: bytes, context: bytes) -> bytes:
    """The plaintext of a cell. Raises `CannotOpen`, or `InvalidInput` for a wrong-sized key."""
    _require_key(key)
    _require_context(context)
    return _decrypt(_scell.SCellSeal(key=key), sealed, context, SEAL_OVERHEAD)


def seal_with_passphrase(passphrase: str, plaintext: bytes, context: bytes) -> bytes:
    """As `seal`, under a passphrase (UTF-8) that Themis stretches: about 0.1 s, on purpose.

    Run it off the event loop. Raises `InvalidInput`.
    """
    _require_plaintext(plaintext)
    _require_context(context)
    return _encrypt(_passphrase_cell(passphrase), plaintext, context)


def unseal_with_passphrase(passphrase: str, sealed: bytes, context: bytes) -> bytes:
    """As `unseal`, for `seal_with_passphrase`. Raises `CannotOpen`, `InvalidInput`."""
    _require_context(context)
    iterations = int.from_bytes(sealed[_ITERATIONS_AT : _ITERATIONS_AT + 4], "little")
    if iterations > _MAX_ITERATIONS:
        raise CannotOpen("the sealed data asks for more work than any genuine one")
    return _decrypt(_passphrase_cell(passphrase), sealed, context, SEAL_PASSPHRASE_OVERHEAD)


def _encrypt(cell: object, plaintext: bytes, context: bytes) -> bytes:
    try:
        sealed: bytes = cell.encrypt(plaintext, context)  # type: ignore[attr-defined]
    except _CoreError:
        raise CoreFailed("the Themis core did not seal") from None
    return sealed


def _decrypt(cell: object, sealed: bytes, context: bytes, overhead: int) -> bytes:
    if len(sealed) <= overhead:
        raise CannotOpen("the sealed data is cut short")
    try:
        plaintext: bytes = cell.decrypt(sealed, context)  # type: ignore[attr-defined]
    except _CoreError:
        raise CannotOpen(
            "the sealed data does not open: wrong key, wrong context or changed bytes"
        ) from None
    if len(plaintext) + overhead != len(sealed):  # Themis ignores what follows a cell
        raise CannotOpen("there is something behind the sealed data")
    return plaintext


def _passphrase_cell(passphrase: str) -> object:
    if not passphrase:
        raise InvalidInput("a passphrase can not be empty")
    try:
        raw = passphrase.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidInput("a passphrase must be text that UTF-8 can carry") from None
    cell: object = _scell.SCellSeal(passphrase=raw)
    return cell


def _require_key(key: bytes) -> None:
    if len(key) != KEY_BYTES:
        raise InvalidInput(f"a sealing key is {KEY_BYTES} bytes, not {len(key)}")


def _require_context(context: bytes) -> None:
    if len(context) != CONTEXT_BYTES:
        raise InvalidInput(f"a sealing context is {CONTEXT_BYTES} bytes, not {len(context)}")


def _require_plaintext(plaintext: bytes) -> None:
    if not plaintext:
        raise InvalidInput("an empty plaintext can not be sealed or signed")
