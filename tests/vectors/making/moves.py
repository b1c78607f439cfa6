"""moves.json: a room that goes over to another hub, and whose LOG_HEADs count from when on."""

from __future__ import annotations

from typing import Any, Final

from attrs import evolve

from ofcd.e2e.controls import make_grant, make_home, make_hub_move
from ofcd.e2e.errors import LogBroken
from ofcd.e2e.trust import check_log_head
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import PublicKey, RelayId, relay_id_of
from ofcd.protocol.records import HubMove, LogHead, Record, Role
from ofcd.protocol.room import RoomState
from ofcd.themis import KeyPair, generate_keypair
from ofcd.themis.signed import SignedRecord, sign_record
from tests.e2e.world import NOW, World, found_world
from tests.vectors.making.chain import state_fields
from tests.vectors.making.common import HASH, Keys, member, relay_pair

URLS: Final = ("wss://new.example", "wss://new.example:5103")
Refused = tuple[str, SignedRecord, Code]


def make(keys: Keys) -> dict[str, Any]:
    """The content of moves.json."""
    old, new = relay_pair(keys), generate_keypair()
    world = found_world(None, relay_id_of(PublicKey(old.public)), member(keys, "root"))
    hub = relay_id_of(PublicKey(new.public))
    refused = _play(world, keys, hub)
    state = world.root.view.state
    return {
        "about": "Made once. A control log in which root moves the room to a relay where a member "
        "is at home; the state then, with its `hubs`; `refused`: records that may not stand at "
        "`seq`; `heads`: LOG_HEADs under a relay's `key`, and whether they count.",
        "room": world.relay.room.hex(),
        "log": [{"seq": seq, "record": envelope.hex()} for seq, envelope in world.relay.chain()],
        "state": {**state_fields(state), "hubs": hub_fields(state)},
        "refused": [
            {"why": why, "seq": state.moved[0].since, "record": s.envelope.hex(), "code": c.value}
            for why, s, c in refused
        ],
        "heads": _heads(state, world, old, new),
    }


def hub_fields(state: RoomState) -> list[dict[str, Any]]:
    """All hubs of a room, in order."""
    return [
        {"term": h.term, "relay_id": h.relay_id.hex(), "since": h.since, "urls": list(h.urls)}
        for h in state.hubs
    ]


def _play(world: World, keys: Keys, hub: RelayId) -> list[Refused]:
    root = world.root
    ana = world.join("ana", mine=member(keys, "ana"))
    bo = world.join("bo", mine=member(keys, "bo"))
    view = root.view
    world.control(
        make_grant(view.state, root.mine, view.seen, NOW, member=bo.mid, role=Role.CO_OWNER)
    )
    world.control(make_home(ana.view.state, ana.mine, ana.view.seen, NOW, home=hub))
    world.invite(root)
    view = root.view
    moved = make_hub_move(view.state, root.mine, view.seen, NOW, hub=hub, urls=URLS)
    record = moved.record
    assert isinstance(record, HubMove)

    def by(mine: Any, **changes: Any) -> SignedRecord:
        made: Record = evolve(record, mid=mine.mid, **changes)
        return sign_record(mine.sign.private, made)

    refused: list[Refused] = [
        ("by a co-owner", by(bo.mine), Code.FORBIDDEN),
        ("by a plain member", by(ana.mine), Code.FORBIDDEN),
        ("a term of before", by(root.mine, term=0), Code.FORBIDDEN),
        ("a term too far", by(root.mine, term=2), Code.FORBIDDEN),
        ("to the hub there is", by(root.mine, hub=view.state.hub), Code.FORBIDDEN),
        ("to where nobody is", by(root.mine, hub=RelayId(HASH)), Code.FORBIDDEN),
        (
            "not behind what it has seen",
            by(root.mine, seen=evolve(record.seen, seq=record.seen.seq - 1)),
            Code.SEEN_STALE,
        ),
        ("on another head", by(root.mine, prev=type(record.prev)(HASH)), Code.CONFLICT),
    ]
    world.control(moved)
    refused.append(("once more", moved, Code.CONFLICT))
    return refused


def _heads(state: RoomState, world: World, old: KeyPair, new: KeyPair) -> list[dict[str, Any]]:
    since = state.moved[0].since
    cases = [
        ("the old hub, of its time", old, 0, since - 1),
        ("the old hub, of the move", old, 0, since),
        ("the old hub, after it", old, 0, since + 1),
        ("the old hub, in the new term", old, 1, since),
        ("the new hub, of the move", new, 1, since),
        ("the new hub, after it", new, 1, since + 1),
        ("the new hub, in the old term", new, 0, since),
        ("the new hub, of the time before", new, 1, since - 1),
        ("the new hub, in a term to come", new, 2, since + 1),
    ]
    return [_head(state, world, why, pair, term, seq) for why, pair, term, seq in cases]


def _head(
    state: RoomState, world: World, why: str, pair: KeyPair, term: int, seq: int
) -> dict[str, Any]:
    log = world.relay.hash_at(min(seq, world.relay.head))
    head = LogHead(1, world.relay.room, term, seq, log, NOW)
    envelope = sign_record(pair.private, head).envelope
    try:
        check_log_head(state, PublicKey(pair.public), envelope)
        counts = True
    except LogBroken:
        counts = False
    assert counts == (why in _COUNT), why
    return {"why": why, "key": pair.public.hex(), "record": envelope.hex(), "counts": counts}


_COUNT: Final = {
    "the old hub, of its time",
    "the new hub, of the move",
    "the new hub, after it",
}
