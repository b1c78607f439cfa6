"""What `ofcd` tells an operator of other relays, and of its own key: figures and lines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

from ofcd.config import parse_peer
from ofcd.daemon.orders import FOREVER
from ofcd.daemon.pages import DESCRIPTOR_PAGE
from ofcd.relay.facts import UNWILLING
from ofcd.store import Evidence, Gap, PeerRow, Replica
from ofcd.themis.lineage import Lineage

__all__ = [
    "counted",
    "dispute_figures",
    "evidence_figures",
    "is_meant",
    "name_of",
    "peer_figures",
    "peer_lines",
    "replaced_text",
    "unknown_lines",
]

_ID_SHOWN: Final = 16
"""Hex digits of a relay's id that its log shows: as many say which one is meant."""
_SHOWN: Final = 5
"""The last so many gaps."""


def peer_figures(peer: PeerRow, copies: list[Replica], gaps: list[Gap]) -> dict[str, object]:
    """What is known of another relay, of its rooms' copies here, and of what they lack."""
    theirs = {copy.room for copy in copies}
    return {
        "relay_id": peer.relay_id.hex(),
        "name": peer.name,
        "called": name_of(peer),
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
        "frozen": [copy.room.hex() for copy in copies if copy.frozen and copy.frozen != UNWILLING],
        "unwilling": [copy.room.hex() for copy in copies if copy.frozen == UNWILLING],
        "gaps": [
            {"room": gap.room.hex(), "ts": gap.ts, "first": gap.first, "last": gap.last}
            for gap in gaps
            if gap.room in theirs
        ],
        "waiting": sum(copy.waiting for copy in copies),
        "waiting_bytes": sum(copy.waiting_bytes for copy in copies),
        "waiting_since": min((copy.oldest for copy in copies if copy.oldest), default=0),
    }


def name_of(peer: PeerRow) -> str:
    """What people call it: by the settings or its page, else by where it was said to be."""
    return peer.name or urlsplit(peer.url).hostname or "(no name)"


def is_meant(peer: PeerRow, wanted: str) -> bool:
    """Whether an operator's word is this relay's name, or its id or the beginning of that."""
    relay_id = peer.relay_id.hex()
    is_id = len(wanted) >= _ID_SHOWN and relay_id.startswith(wanted.lower().replace(" ", ""))
    return is_id or wanted == name_of(peer)


def peer_lines(peer: dict[str, object], now: int) -> str:
    """The same for people: how it stands at a glance, then the rest."""
    rest = [
        f"id {peer['relay_id']}",
        f"{peer['url'] or 'it dials us'}; known by {_known_by(peer)}; "
        f"{counted(peer['links'], 'link')} so far",
    ]
    if peer["detail"]:
        rest.append(str(peer["detail"]))
    replaced = peer["key_replaced"]
    if isinstance(replaced, list) and replaced:
        rest.append(f"its key was {replaced_text(replaced)}")
    if peer["key_disputed"]:
        rest.append(
            "ANOTHER KEY CLAIMS TO FOLLOW ITS OLD ONE: ask its operator, over another way, whether "
            "that key was stolen; the one known first is talked to, the other is not"
        )
    frozen = peer["frozen"]
    if isinstance(frozen, list) and frozen:
        rest.append(f"stand still, it showed two histories: {', '.join(frozen)}")
    unwilling = peer["unwilling"]
    if isinstance(unwilling, list) and unwilling:
        rest.append(f"moved to this relay, which takes over none: {', '.join(unwilling)}")
    gaps = peer["gaps"]
    for gap in gaps[-_SHOWN:] if isinstance(gaps, list) else ():
        rest.append(
            f"it no longer kept entries {gap['first']} to {gap['last']} of room {gap['room']} "
            f"when this relay came for them, {_when(gap['ts'])}"
        )
    return _glance(peer, now) + "".join(f"    {line}\n" for line in rest)


def unknown_lines(listed: Sequence[str], peers: Sequence[PeerRow]) -> list[str]:
    """The peers of the settings that their pages have to tell of, and have not yet."""
    parsed = [parse_peer(one) or ("", "", "") for one in listed]
    names = dict.fromkeys(name for name, _, url in parsed if not url)
    known = {peer.name for peer in peers}
    page = "https://{0}" + DESCRIPTOR_PAGE
    return [
        f"{name}  not found yet\n"
        f"    {page.format(name)} says who it is; the log has why it was not read\n"
        for name in names
        if name not in known
    ]


def _known_by(peer: dict[str, object]) -> object:
    return peer["pinned"] or ("config" if peer["name"] else "its rooms")


def _glance(peer: dict[str, object], now: int) -> str:
    waiting = f"{counted(peer['waiting'], 'message')} waiting for it"
    if peer["waiting_since"]:
        waiting += f" since {_when(peer['waiting_since'])}"
    parts = [_state(peer, now), f"{counted(peer['copies'], 'room')} of its own here", waiting]
    return f"{peer['called']}  {'; '.join(parts)}\n"


def _state(peer: dict[str, object], now: int) -> str:
    until = peer["quarantined_until"]
    if isinstance(until, int) and until > now:
        return "IN QUARANTINE until " + ("released" if until >= FOREVER else _when(until))
    if peer["state"] == "up":
        return f"up since {_when(peer['contact'])}"
    return f"DOWN since {_when(peer['contact'])}" if peer["contact"] else "never reached"


def counted(number: object, noun: str) -> str:
    """`1 room`, `2 rooms`; `2 entries`."""
    many = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number} {noun if number == 1 else many}"


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
