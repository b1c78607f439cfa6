"""`ofcd peers`: what an operator sees of other relays, and of what copies here lack."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ofcd.config import Settings
from ofcd.protocol.ids import Hash32, RelayId
from ofcd.relay.facts import CopySkipped, EvidenceKept, ReplicaFounded
from ofcd.store import Contradiction, PeerRow, Store
from tests.cli.support import Ran
from tests.store.support import Room

Ofcd = Callable[..., Ran]

PEER = RelayId(b"\x07" * 32)
LOG = Hash32(b"\x08" * 32)


@pytest.fixture
def copied(config: Path) -> Path:
    """A relay with a copy that has skipped entries 4 to 9, and evidence of something else."""
    room = Room()
    with Store.open(Settings.load(config).database_url) as store:
        store.commit([*room.founded(), *room.events(3), ReplicaFounded(room.id, PEER)])
        store.commit([CopySkipped(room.id, 3, 10, LOG, 60_000)])
        store.commit([EvidenceKept(room.id, 1, "bad_record", (b"lie",))])
        store.put_peer(PeerRow(PEER, name="b.example", state="up", contact=60_000))
        kept = store.load_room(room.id)
        assert kept is not None
        assert (kept.seq, kept.log, kept.floor) == (9, LOG, 10)
        assert [last.is_certain for last in kept.senders.values()] == [False] * len(kept.senders)
        with pytest.raises(Contradiction):
            store.commit([CopySkipped(room.id, 3, 20, LOG, 60_000)])
    return config


def test_a_gap_is_shown_and_is_no_evidence(ofcd: Ofcd, copied: Path) -> None:
    """With its room, its entries and the time; for scripts too."""
    said = ofcd("--config", copied, "peers").out
    assert f"{PEER.hex()}  up  b.example\n" in said
    assert "no longer kept entries 4 to 9 of room " + Room().id.hex() in said
    (line,) = ofcd("--config", copied, "peers", "--json").out.splitlines()
    gaps = json.loads(line)["gaps"]
    assert gaps == [{"room": Room().id.hex(), "ts": 60_000, "first": 4, "last": 9}]
    (kept,) = ofcd("--config", copied, "peers", "--evidence").out.splitlines()
    assert json.loads(kept)["code"] == "bad_record"


def test_no_other_relays_yet(ofcd: Ofcd, config: Path) -> None:
    """People are told, and of the mode."""
    ofcd("--config", config, "migrate")
    assert ofcd("--config", config, "peers").out == "no other relays yet (federation is off)\n"
