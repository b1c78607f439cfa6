"""evidence.json: what a relay shows against the hub of chain.json's room, and what it proves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from attrs import evolve

from ofcd.e2e.evidence import NotYet, Proof, judge
from ofcd.protocol.ids import EventId, Hash32, PublicKey, RoomId
from ofcd.protocol.records import Event, EventKind, LogHead, Receipt, Record, Seen
from ofcd.protocol.room import RoomState
from ofcd.themis import KeyPair, generate_keypair
from ofcd.themis.signed import sign_record
from tests.vectors.making.common import HASH, NOW, SID, Keys, member, relay_pair
from tests.vectors.replay import Log, replayed

CHAIN: Final = Path(__file__).parent.parent / "chain.json"
_WRONG: Final = Hash32(b"\x07" * 32)
_OTHER: Final = Hash32(b"\x08" * 32)
Case = tuple[str, KeyPair, list[bytes]]


def make(keys: Keys) -> dict[str, Any]:
    """The content of evidence.json."""
    chain = json.loads(CHAIN.read_text("utf-8"))
    state, log = replayed(chain)
    return {
        "about": "Made once. What somebody with the whole log of chain.json is shown: `records` "
        "and the `key` said to be the hub's. `found` is a proof (`fault`, `seq`, `witness`, null "
        "for the hub), or `later`, the seq at which to judge again, or null: it proves nothing.",
        "cases": [
            {
                "why": why,
                "key": pair.public.hex(),
                "records": [record.hex() for record in records],
                "found": found(state, log, PublicKey(pair.public), records),
            }
            for why, pair, records in _cases(keys, RoomId(bytes.fromhex(chain["room"])), log)
        ],
    }


def found(
    state: RoomState, log: Log, key: PublicKey, records: list[bytes]
) -> dict[str, Any] | None:
    """What `judge` finds, as it stands in the file."""
    outcome = judge(state, log.end, log.hash_at, key, records)
    if isinstance(outcome, Proof):
        witness = None if outcome.witness is None else outcome.witness.hex()
        return {"fault": outcome.fault.value, "seq": outcome.seq, "witness": witness}
    return {"later": outcome.seq} if isinstance(outcome, NotYet) else None


def _cases(keys: Keys, room: RoomId, log: Log) -> list[Case]:
    hub, stranger = relay_pair(keys), generate_keypair()
    root, bo, cy = (member(keys, name) for name in ("root", "bo", "cy"))
    at = log.end - 2
    head = LogHead(1, room, 0, at, log.hashes[at], NOW)
    lie, other = evolve(head, log=_WRONG), evolve(head, log=_OTHER)
    later = evolve(head, seq=log.end + 5)
    seen, false = Seen(at, head.log), Seen(at, _WRONG)
    said = Event(
        v=1,
        room=room,
        epoch=3,
        mid=root.mid,
        counter=9,
        prev=EventId(HASH),
        seen=false,
        ctl=EventId(HASH),
        kind=EventKind.MESSAGE,
        sid=SID,
        cell_hash=HASH,
        ts=NOW,
    )

    def by(pair: KeyPair, *records: Record) -> list[bytes]:
        return [sign_record(pair.private, record).envelope for record in records]

    return [
        ("the hub signed two logs", hub, by(hub, lie, other)),
        ("the hub signed two logs past the end", hub, by(hub, later, evolve(later, log=_OTHER))),
        ("the hub signed another log than is here", hub, by(hub, lie)),
        ("a member signed another log", hub, by(root.sign, said) + by(hub, head)),
        ("the hub signed something past the end", hub, by(hub, head, later)),
        ("the hub signed this log, twice", hub, by(hub, head, evolve(head, ts=NOW + 1))),
        ("in two terms, and right in both", hub, by(hub, head, evolve(head, term=1))),
        ("two places", hub, by(hub, head, evolve(head, seq=at - 1, log=log.hashes[at - 1]))),
        ("a member signed this log", hub, by(root.sign, evolve(said, seen=seen))),
        ("another room's", hub, by(hub, evolve(lie, room=RoomId(_WRONG)))),
        ("another relay's two logs", stranger, by(stranger, lie, other)),
        ("said to be the hub's, signed by another", hub, by(stranger, lie, other)),
        ("a member who is gone", hub, by(bo.sign, evolve(said, mid=bo.mid))),
        ("one member for another", hub, by(cy.sign, said)),
        ("a member's word of another room", hub, by(root.sign, evolve(said, room=RoomId(HASH)))),
        ("no entry", hub, by(root.sign, Receipt(1, room, root.mid, false, NOW))),
        ("no record, and nothing", hub, [b"junk", b""]),
        ("nothing at all", hub, []),
    ]
