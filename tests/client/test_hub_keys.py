"""What a client is told of the keys of a hub that it reaches through another relay (liar.py)."""

from __future__ import annotations

import pytest

from ofcd.client import AlarmKind
from ofcd.client import link as module
from ofcd.client.lineages import follow, lineage_of
from ofcd.client.turn import Turn
from ofcd.protocol import frames
from ofcd.protocol.ids import PublicKey, RelayId, relay_id_of
from ofcd.protocol.records import LogHead
from ofcd.themis import KeyPair, generate_keypair, lineage
from ofcd.themis.lineage import Lineage, succeed
from ofcd.themis.signed import SignedRecord, open_signed, sign_record
from tests.client.liar import NOW, Bo, Scene


def head(scene: Scene, keys: KeyPair) -> frames.Head:
    """A true word for Bo's log, by this key."""
    record = LogHead(1, scene.room, 0, scene.log.seq, scene.log.log, NOW)
    signed = sign_record(keys.private, record)
    return frames.Head(scene.room, signed.envelope, key=PublicKey(keys.public))


def hub(scene: Scene) -> Lineage:
    return Lineage(relay_id_of(PublicKey(scene.relay.public)))


def know(bo: Bo, relay: Lineage) -> None:
    def keep(turn: Turn) -> None:
        follow(turn.records, relay, "the hub")

    bo.turn(keep)


def test_a_home_that_met_the_other_successor_is_not_at_fault(scene: Scene, bo: Bo) -> None:
    """It shows both, and passes on what its own hub signs: no word here, and no alarm."""
    mine, its = generate_keypair(), generate_keypair()
    known = succeed(hub(scene), scene.relay, mine, NOW)
    other = succeed(hub(scene), scene.relay, its, NOW)
    know(bo, known)
    bo.connect(through=generate_keypair())
    shown = [frames.Successions(known.relay_id, one.statements) for one in (other, known)]
    bo.feed(*shown, head(scene, its))
    assert (bo.alarms, bo.dropped, bo.room.ledger._word) == ([], "", None)
    bo.feed(head(scene, mine))
    assert bo.room.ledger._word is not None
    assert lineage_of(bo.vault, known.relay_id) == known


def test_a_fork_that_is_shown_again_and_again_is_verified_once(
    scene: Scene, bo: Bo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is another one of the same key: nothing comes of it."""
    known, other, third = (
        succeed(hub(scene), scene.relay, generate_keypair(), NOW) for _ in range(3)
    )
    opened: list[bytes] = []

    def counting(key: PublicKey, envelope: bytes) -> SignedRecord:
        opened.append(envelope)
        return open_signed(key, envelope)

    know(bo, known)
    bo.connect(through=generate_keypair())
    monkeypatch.setattr(lineage, "open_signed", counting)
    for _ in range(20):
        bo.feed(frames.Successions(known.relay_id, other.statements))
        bo.feed(frames.Successions(known.relay_id, third.statements))
    assert len(opened) == 2
    assert bo.dropped == ""
    monkeypatch.undo()
    assert lineage_of(bo.vault, known.relay_id) == known


def test_the_hub_itself_signs_by_the_key_that_it_has_proven(scene: Scene, bo: Bo) -> None:
    """It knows which key it has: a head by another is its fault."""
    bo.connect()
    bo.feed(head(scene, generate_keypair()))
    assert (bo.alarms, bo.dropped) == ([AlarmKind.HUB_MISBEHAVES], "bad_head")


def test_what_was_shown_of_a_hub_to_be_is_kept_for_it(scene: Scene, bo: Bo) -> None:
    """A relay shows how the new hub came to its key before HUB_MOVE is read: a few of them."""
    relay = succeed(hub(scene), scene.relay, generate_keypair(), NOW)
    bo.connect(through=generate_keypair())
    for number in range(40):
        bo.feed(frames.Successions(RelayId(bytes([number]) * 32), relay.statements))
    assert len(bo.machine._shown) == module._SHOWN
    assert not lineage_of(bo.vault, relay.relay_id).statements
    bo.feed(frames.Successions(relay.relay_id, relay.statements))
    assert lineage_of(bo.vault, relay.relay_id) == relay
    assert len(bo.machine._shown) == module._SHOWN - 1, "of relays that are no room's hub yet"
    bo.machine.link_down()
    assert not bo.machine._shown


def test_a_link_by_a_key_that_is_shown_to_be_replaced_is_told_of(scene: Scene, bo: Bo) -> None:
    """By another relay's word, which is judged by its statements alone."""
    relay = succeed(hub(scene), scene.relay, generate_keypair(), NOW)
    bo.connect()
    assert not bo.machine.is_by_replaced_key(hub(scene))
    assert bo.machine.is_by_replaced_key(relay)
    renewed: list[Lineage] = []

    def show(turn: Turn) -> None:
        bo.machine.receive(turn, frames.Successions(relay.relay_id, relay.statements))
        renewed.extend(turn.renewed)

    bo.turn(show)
    bo.turn(show)
    assert renewed == [relay], "once"
