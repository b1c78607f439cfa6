"""A member's encryption keys in the vault: the current one, former ones, the next (UPDATE_E).

The current pair stands in the room's `Identity`. Beside it stand pairs that are no longer or not
yet current: one that was replaced is kept for an hour, for boxes made just before; the next one is
kept before anybody is told of it, and is the same however often the record is made again.
"""

from __future__ import annotations

from typing import Final

from attrs import evolve, field, frozen

from ofcd.client.model import ROOMS, Identity, Tables, load, save
from ofcd.client.vault import Reader, Records
from ofcd.e2e.keys import MemberKeys
from ofcd.protocol.ids import PublicKey
from ofcd.themis import KeyPair

__all__ = ["FORMER_KEPT", "OwnPair", "forget", "keep_next", "load_pairs", "turn_to"]

FORMER_KEPT: Final = 3_600_000
"""Milliseconds that a replaced key is kept."""
_ENC: Final = b"enc/"
_END: Final = b"enc0"


@frozen
class OwnPair:
    """An encryption key of this member's that is not the current one."""

    private: bytes = field(repr=False)
    public: PublicKey
    replaced: int = 0
    """When it was replaced, in milliseconds since 1970; 0: it is the next one."""

    @property
    def pair(self) -> KeyPair:
        """The key pair."""
        return KeyPair(self.private, self.public)


def load_pairs(records: Reader, tables: Tables) -> list[OwnPair]:
    """All pairs kept beside the current one."""
    return [load(OwnPair, raw) for _, raw in records.items(tables.state, _ENC, _END)]


def keep_next(records: Records, tables: Tables, pair: KeyPair) -> None:
    """Keep the pair that UPDATE_E is to name."""
    _put(records, tables, OwnPair(pair.private, PublicKey(pair.public)))


def turn_to(records: Records, identity: Identity, pair: KeyPair, now: int) -> Identity:
    """The log has it that `pair` is the current one."""
    tables = Tables(identity.room)
    _put(records, tables, OwnPair(identity.enc_private, identity.enc_public, now))
    records.delete(tables.state, _ENC + pair.public)
    changed = evolve(identity, enc_private=pair.private, enc_public=PublicKey(pair.public))
    records.put(ROOMS, identity.room, save(changed))
    return changed


def forget(records: Records, tables: Tables, mine: MemberKeys, pairs: list[OwnPair]) -> MemberKeys:
    """Delete these pairs, so that nothing of them stays in the vault's files; `mine` without."""
    for gone in pairs:
        records.delete(tables.state, _ENC + gone.public)
    records.scrub()
    publics = {gone.public for gone in pairs}
    return evolve(mine, others=tuple(p for p in mine.others if p.public not in publics))


def _put(records: Records, tables: Tables, pair: OwnPair) -> None:
    records.put(tables.state, _ENC + pair.public, save(pair))
