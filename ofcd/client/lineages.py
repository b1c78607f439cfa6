"""How this client's relays came to the keys they have: verified once, kept in the vault.

The accessor is `lineage_of`: whose word a relay's signature is, and whether a relay on a link is
the one that was pinned, is asked of what it returns, and of nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import field, frozen

from ofcd.client.events import RelayKeyChanged
from ofcd.client.model import LINEAGES, load, save
from ofcd.client.vault import Reader, Records
from ofcd.protocol.ids import RelayId
from ofcd.themis.lineage import Lineage, TwoSuccessors

__all__ = ["dispute", "follow", "lineage_of"]

_FOLLOWED = (
    "{what} has replaced its key; the old key has signed for the new one, and this client goes on "
    "with it: nothing is to be done"
)
_DISPUTED = (
    "{what} has two keys that both claim to follow the same old one: somebody else has that one, "
    "or it was replaced twice; this client stays with the key it knew first: ask the operator, "
    "over another way, and move your rooms to another relay if the key was stolen"
)


@frozen
class _Kept:
    statements: tuple[bytes, ...] = field(repr=False)
    """As in `Lineage`; verified."""
    branch: tuple[bytes, ...] = field(default=(), repr=False)
    """As in `TwoSuccessors`, of the first one that was met."""


def lineage_of(records: Reader, relay_id: RelayId) -> Lineage:
    """What is known of the relay's keys."""
    return Lineage.recalled(relay_id, _kept(records, relay_id).statements)


def follow(records: Records, relay: Lineage, what: str) -> RelayKeyChanged | None:
    """Keep how a relay came to its key; what to tell people where that is news. `what` it is.

    Raises as `Lineage.merged`, and keeps nothing then.
    """
    known = lineage_of(records, relay.relay_id)
    if known.merged(relay) is known:
        return None
    _keep(records, relay.relay_id, _Kept(relay.statements, _kept(records, relay.relay_id).branch))
    return RelayKeyChanged(relay.relay_id, _FOLLOWED.format(what=what))


def dispute(records: Records, proof: TwoSuccessors, what: str) -> RelayKeyChanged | None:
    """Keep a proof that a relay's key has two successors; what to tell people, the first time."""
    kept = _kept(records, proof.relay_id)
    if kept.branch:
        return None
    _keep(records, proof.relay_id, _Kept(kept.statements, proof.branch))
    return RelayKeyChanged(proof.relay_id, _DISPUTED.format(what=what), disputed=True)


def is_old_news(records: Reader, relay_id: RelayId, offered: Sequence[bytes]) -> bool:
    """Whether this says at most that a key has two successors, which is proven and kept already.

    Raises `ProtocolError`. A relay that shows it again and again costs no verification.
    """
    is_disputed = bool(_kept(records, relay_id).branch)
    return is_disputed and lineage_of(records, relay_id).departs(offered)


def _kept(records: Reader, relay_id: RelayId) -> _Kept:
    raw = records.get(LINEAGES, relay_id)
    return _Kept(()) if raw is None else load(_Kept, raw)


def _keep(records: Records, relay_id: RelayId, kept: _Kept) -> None:
    records.put(LINEAGES, relay_id, save(kept))
