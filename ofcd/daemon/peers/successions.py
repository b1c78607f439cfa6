"""What is known here of how another relay came to its key, and what people are shown of it."""

from __future__ import annotations

from attrs import evolve

from ofcd.daemon.log import get_log
from ofcd.daemon.peers.following import Following
from ofcd.protocol.codec import join_parts
from ofcd.protocol.frames import Successions
from ofcd.store import PeerRow
from ofcd.themis.lineage import Lineage, TwoSuccessors

__all__ = ["disputed", "learnt", "shown"]


def learnt(row: PeerRow, following: Following, relay: Lineage) -> PeerRow:
    """The relay has proven to have come to its key like this. Raises as `Lineage.merged`."""
    known = following.line.identity
    following.line.identity = known.merged(relay)
    if following.line.identity is known:
        return row
    name = row.relay_id.hex()[:16]
    get_log().info("a relay has replaced its key", relay=name, times=relay.count)
    return evolve(row, succession=join_parts(relay.statements))


def disputed(row: PeerRow, proof: TwoSuccessors) -> PeerRow:
    """Somebody else has proven to have come to a key of this relay's, too: kept once, as proof."""
    if row.disputed or row.relay_id != proof.relay_id:
        return row
    get_log().warning("a relay's key has two successors", relay=row.relay_id.hex()[:16])
    return evolve(row, disputed=join_parts(proof.branch))


def shown(row: PeerRow) -> tuple[Successions, ...]:
    """What its rooms' members here judge for themselves: how it came to its key, any dispute."""
    ways = (row.statements, row.branch)
    return tuple(Successions(row.relay_id, tuple(way)) for way in ways if way)
