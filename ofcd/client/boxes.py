"""Boxes on a disk whose key is kept elsewhere: for programs that hold something for a stranger.

A box is a head and parts, each one Secure Cell. All are bound to the box's id, to its end of life,
to their place in it, and the head says how many there are: a part of another box, another order, a
cut, or a later end of life does not open.
"""

from __future__ import annotations

from typing import Final

from ofcd.protocol.ids import tagged_hash
from ofcd.themis import (
    CannotOpen,
    generate_key,
    seal,
    seal_with_passphrase,
    unseal,
    unseal_with_passphrase,
)

__all__ = ["ID_BYTES", "Box", "WrongKey", "new_box_key"]

ID_BYTES: Final = 16


class WrongKey(Exception):
    """A box does not open: another key or passphrase, or it is not what was put there."""


def new_box_key() -> bytes:
    """32 random bytes."""
    return generate_key()


class Box:
    """Seals and opens the cells of one box."""

    def __init__(self, key: bytes, expires: int) -> None:
        """`expires`: its end of life, milliseconds since 1970."""
        self._key = key
        self.expires = expires
        self.id = tagged_hash("box-id", key)[:ID_BYTES]
        """Tells who does not have the key nothing of it."""

    def __repr__(self) -> str:
        """Without the key."""
        return f"Box({self.id.hex()}, {self.expires})"

    def _context(self, what: str, index: int) -> bytes:
        return tagged_hash("box", self.id, self.expires, what.encode(), index)

    def seal_head(self, head: bytes, passphrase: str = "") -> bytes:
        """The head's cell; with a passphrase both are needed to open it."""
        if passphrase:
            head = seal_with_passphrase(passphrase, head, self._context("secret", 0))
        return seal(self._key, head, self._context("head", int(bool(passphrase))))

    def open_head(self, sealed: bytes, passphrase: str = "") -> bytes:
        """The head again. Raises `WrongKey`."""
        try:
            head = unseal(self._key, sealed, self._context("head", int(bool(passphrase))))
            if passphrase:
                head = unseal_with_passphrase(passphrase, head, self._context("secret", 0))
        except CannotOpen as error:
            raise WrongKey(str(error)) from None
        return head

    def asks_passphrase(self, sealed: bytes) -> bool:
        """Whether a head needs one. Raises `WrongKey`."""
        try:
            unseal(self._key, sealed, self._context("head", 1))
        except CannotOpen:
            self.open_head(sealed)
            return False
        return True

    def seal_part(self, part: bytes, index: int, inner: bytes) -> bytes:
        """A part's cell, under the key that the head holds."""
        return seal(inner, part, self._context("part", index))

    def open_part(self, sealed: bytes, index: int, inner: bytes) -> bytes:
        """A part again. Raises `WrongKey`."""
        try:
            return unseal(inner, sealed, self._context("part", index))
        except CannotOpen as error:
            raise WrongKey(str(error)) from None
