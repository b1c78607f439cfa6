"""What `ofcd` tells an operator of other relays, and of its own key: figures and lines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from ofcd.store import Evidence, Gap, PeerRow, Replica
from ofcd.themis.lineage import Lineage

__all__ = [
    "dispute_figures",
    "evidence_figures",
    "peer_figures",
    "peer_lines",
    "replaced_text",
]

_SHOWN: Final = 5
"""The last so many gaps."""


def peer_figures(peer: PeerRow, copies: list[Replica], gaps: list[Gap]) -> dict[str, object]:
    """What is known of another relay, of its rooms' copies here, and of what they lack."""
    theirs = {copy.room for copy in copies}
    return {
        "relay_id": peer.relay_id.hex(),
        "name": peer.name,
        "url": peer.url,
        "pinned": peer.pinned,
        "state": peer.state,
        "detail": peer.detail,
        "contact": peer.contact,
        "links": peer.links,
        "key_replaced": list(Lineage.recalled(peer.relay_id, peer.statements).times),
        "key_disputed": bool(peer.branch),
        "quarantined_until": peer.quarantined,
        "copies": len(copies),
        "frozen": [copy.room.hex() for copy in copies if copy.frozen],
        "gaps": [
            {"room": gap.room.hex(), "ts": gap.ts, "first": gap.first, "last": gap.last}
            for gap in gaps
            if gap.room in theirs
        ],
        "waiting": sum(copy.waiting for copy in copies),
        "waiting_bytes": sum(copy.waiting_bytes for copy in copies),
        "waiting_since": min((copy.oldest for copy in copies if copy.oldest), default=0),
    }


def peer_lines(peer: dict[str, object]) -> str:
    """The same for people."""
    head = f"{peer['relay_id']}  {peer['state']}  {peer['name'] or peer['url'] or '(dials us)'}\n"
    rest = [
        f"last link {_when(peer['contact'])}, {peer['links']} so far; known by {peer['pinned']}",
        f"{peer['copies']} rooms of theirs here; {peer['waiting']} messages wait for it"
        + (f", since {_when(peer['waiting_since'])}" if peer["waiting_since"] else ""),
    ]
    replaced = peer["key_replaced"]
    if isinstance(replaced, list) and replaced:
        rest.append(f"its key was {replaced_text(replaced)}")
    if peer["key_disputed"]:
        rest.append(
            "ANOTHER KEY CLAIMS TO FOLLOW ITS OLD ONE: ask its operator, over another way, whether "
            "that key was stolen; the one known first is talked to, the other is not"
        )
    if peer["detail"]:
        rest.append(str(peer["detail"]))
    frozen = peer["frozen"]
    if isinstance(frozen, list) and frozen:
        rest.append(f"stand still, it showed two histories: {', '.join(frozen)}")
    gaps = peer["gaps"]
    for gap in gaps[-_SHOWN:] if isinstance(gaps, list) else ():
        rest.append(
            f"it no longer kept entries {gap['first']} to {gap['last']} of room {gap['room']} "
            f"when this relay came for them, {_when(gap['ts'])}"
        )
    return head + "".join(f"    {line}\n" for line in rest)


def _when(ts: object) -> str:
    if not isinstance(ts, int) or not ts:
        return "never"
    return f"{datetime.fromtimestamp(ts / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def replaced_text(times: Sequence[int]) -> str:
    """How often a key was replaced, and when it last was."""
    often = "once" if len(times) == 1 else f"{len(times)} times"
    return f"replaced {often}, last {_when(times[-1])}" if times else "the first one"


def dispute_figures(peer: PeerRow) -> dict[str, object]:
    """The proof that a relay's key was passed on to two."""
    known, other = list(peer.statements), list(peer.branch)
    return {
        "relay_id": peer.relay_id.hex(),
        "code": "two_successors",
        "records": [record.hex() for record in (known[len(other) - 1], other[-1])],
    }


def evidence_figures(one: Evidence) -> dict[str, object]:
    """What was kept of a room whose relay was caught."""
    return {
        "room": one.room.hex(),
        "ts": one.ts,
        "code": one.code,
        "records": [record.hex() for record in one.records],
    }
