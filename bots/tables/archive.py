"""The tables as records of the vault: an image in parts, and the statements since.

    app/bot/tables           head: version, which image, which statements; pinned by the vault
    archive/app/bot/tables   i<image><number>: a part of an image
                             s<number>: the statements of one commit

Records of the second table come in by one at a time, and are not pinned each: the head says which
have to be there. Each id is used once, so none can be put back in an older form.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Final

from attrs import asdict, evolve, field, frozen

from bots.tables.errors import TablesError
from ofcd.client import Transaction, Vault, VaultDamaged
from ofcd.client.vault import ARCHIVE

__all__ = [
    "Head",
    "Image",
    "load_head",
    "load_parts",
    "load_statements",
    "put_part",
    "put_statements",
    "remove",
    "save_head",
    "stale",
]

PART_BYTES: Final = 128 * 1024
"""Of one record of an image: four milliseconds to seal in the embedded core (measured)."""
STATEMENT_COST: Final = 2 * 1024
"""One commit's statements are opened and done again in the time of so much image (measured)."""
_SMALL: Final = 1024 * 1024
_HEAD_TABLE: Final = "app/bot/tables"
_HEAD: Final = b"head"
_TABLE: Final = ARCHIVE + _HEAD_TABLE
_FORMAT: Final = 1


@frozen
class Head:
    """Where the tables are, in this vault."""

    version: int
    """How many of the bot's migrations they have."""
    image: str = ""
    """The id of the image's parts, as hex."""
    parts: int = 0
    image_bytes: int = 0
    first: int = 0
    """The number of the first commit whose statements are not in the image."""
    next: int = 0
    """The number of the next commit."""
    cost: int = 0
    """Of loading the statements, in bytes of an image."""
    format: int = _FORMAT

    @property
    def is_outgrown(self) -> bool:
        """Whether a new image is worth its making: loading costs twice what it might."""
        return self.cost > max(_SMALL, self.image_bytes)


def load_head(vault: Vault) -> Head | None:
    """The head; None where the bot has no tables yet. Raises `TablesError` for a newer format."""
    raw = vault.get(_HEAD_TABLE, _HEAD)
    if raw is None:
        return None
    stored = json.loads(raw)
    if stored.get("format") != _FORMAT:
        raise TablesError("the vault's tables were kept by a newer version of ofcd: update it")
    return Head(**stored)


def save_head(tx: Transaction, head: Head) -> None:
    """Keep a head."""
    tx.put(_HEAD_TABLE, _HEAD, json.dumps(asdict(head)).encode())


# -- the image -------------------------------------------------------------------------------------


@frozen
class Image:
    """An image of the tables on its way into the vault."""

    content: bytes = field(repr=False)
    first: int
    """The number of the first commit that is not in it."""
    name: str = field(init=False, factory=lambda: secrets.token_hex(8))
    """An id that no image had before."""

    @property
    def parts(self) -> list[bytes]:
        """It, cut into records."""
        ends = range(0, len(self.content), PART_BYTES)
        return [self.content[at : at + PART_BYTES] for at in ends]

    def under(self, head: Head) -> Head:
        """The head that names it instead of the one before."""
        return evolve(
            head,
            image=self.name,
            parts=-(-len(self.content) // PART_BYTES),
            image_bytes=len(self.content),
            first=self.first,
            cost=(head.next - self.first) * STATEMENT_COST,
        )


def put_part(tx: Transaction, image: str, number: int, part: bytes) -> None:
    """Keep one part of an image; it counts once a head names the image."""
    tx.put(_TABLE, _part_id(image, number), part)


def load_parts(vault: Vault, head: Head) -> Iterator[bytes]:
    """The parts of the image, in order. Raises `VaultDamaged` where one is missing."""
    for number in range(head.parts):
        yield _get(vault, _part_id(head.image, number))


# -- the statements --------------------------------------------------------------------------------


def put_statements(tx: Transaction, head: Head, statements: bytes) -> Head:
    """Keep what one commit changed; the head that counts it is kept, too."""
    tx.put(_TABLE, _statements_id(head.next), statements)
    cost = head.cost + STATEMENT_COST + len(statements)
    grown = evolve(head, next=head.next + 1, cost=cost)
    save_head(tx, grown)
    return grown


def load_statements(vault: Vault, head: Head) -> Iterator[bytes]:
    """What each commit since the image changed. Raises `VaultDamaged` where one is missing."""
    for number in range(head.first, head.next):
        yield _get(vault, _statements_id(number))


# -- what is left over -----------------------------------------------------------------------------


def stale(vault: Vault, head: Head, limit: int) -> list[bytes]:
    """Up to `limit` records that no head names: of older images, or of one never finished."""
    image = b"i" + bytes.fromhex(head.image)
    spans = [
        (b"i", image),
        (image + b"\xff" * 5, b"j"),
        (b"s", _statements_id(head.first)),
    ]
    found: list[bytes] = []
    for start, end in spans:
        left = limit - len(found)
        found += [one for one, _ in vault.items(_TABLE, start, end, limit=left)]
    return found


def remove(tx: Transaction, ids: list[bytes]) -> None:
    """Forget such records."""
    for one in ids:
        tx.delete(_TABLE, one)


def _part_id(image: str, number: int) -> bytes:
    return b"i" + bytes.fromhex(image) + number.to_bytes(4, "big")


def _statements_id(number: int) -> bytes:
    return b"s" + number.to_bytes(8, "big")


def _get(vault: Vault, record_id: bytes) -> bytes:
    found = vault.get(_TABLE, record_id)
    if found is None:
        raise VaultDamaged("a part of the bot's tables is missing: restore the vault from a backup")
    return found
