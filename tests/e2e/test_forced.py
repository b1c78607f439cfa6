"""Rooms that left a hub which is gone for good: what counts, by the vectors of tests/vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ofcd.e2e.chain import apply_verified, verify_chain
from ofcd.protocol.codes import ProtocolError
from ofcd.protocol.ids import RelayId, RoomId
from tests.vectors.making import chain as chain_maker
from tests.vectors.making.forced import hub_fields, parted, rivals_of

FORCED: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "forced.json").read_text()
)
ROOM = RoomId(bytes.fromhex(FORCED["room"]))


def chain_of(log: str) -> list[tuple[int, bytes]]:
    return [(row["seq"], bytes.fromhex(row["record"])) for row in FORCED["logs"][log]["chain"]]


@pytest.mark.parametrize("log", FORCED["logs"])
def test_a_room_that_was_moved_by_force_names_its_hubs(log: str) -> None:
    """And has new keys handed to everybody next."""
    state = verify_chain(ROOM, chain_of(log))
    shown = chain_maker.state_fields(state) | {"hubs": hub_fields(state)}
    assert shown == FORCED["states"][log]


def test_new_keys_come_next() -> None:
    *_, (move, _), (_, _) = chain_of("new")
    assert verify_chain(ROOM, chain_of("new"), before=move + 1).boxed_due


@pytest.mark.parametrize("case", FORCED["refused"], ids=lambda case: case["why"])
def test_a_room_is_not_moved_by_what_may_not_stand_there(case: dict[str, Any]) -> None:
    """By root alone, behind what it has seen, to a relay that has a member, in a higher term."""
    state = verify_chain(ROOM, chain_of(case["log"]))
    with pytest.raises(ProtocolError) as caught:
        apply_verified(state, bytes.fromhex(case["record"]), case["seq"])
    assert caught.value.code == case["code"]


@pytest.mark.parametrize("case", FORCED["parts"], ids=lambda case: case["why"])
def test_what_is_told_of_a_move(case: dict[str, Any]) -> None:
    """How far the own log holds, and who orders the room; or why it is not taken."""
    told = [bytes.fromhex(one) for one in case["told"]]
    kept = bytes.fromhex(case["kept"]) if "kept" in case else None
    log = FORCED["logs"][case["log"]]
    found = parted(ROOM, log, told, blind=case["blind"], kept=kept)
    assert rivals_of(ROOM, log, told) == case["rivals"]
    if "code" in case:
        assert found == case["code"]
    else:
        assert found == (case["base"], RelayId(bytes.fromhex(case["hub"])))
