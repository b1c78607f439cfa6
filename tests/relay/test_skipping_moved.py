"""A gap in which root took the room to another hub: HUB_MOVE says how far the log went."""

from __future__ import annotations

import pytest
from attrs import evolve

from ofcd.protocol import records
from ofcd.protocol.codes import Code, Refused
from ofcd.protocol.ids import Hash32, PublicKey, RelayId, relay_id_of
from ofcd.relay import HubLied, Relay, RelayPolicy, RoomLog, Skip, signed_skip, verify_skip
from ofcd.relay.effects import HubMoved
from ofcd.relay.facts import ChainRecord
from ofcd.themis import KeyPair, generate_keypair
from ofcd.themis.lineage import Lineage
from ofcd.themis.signed import sign_record
from tests.relay.test_moving import THERE, move, stored
from tests.relay.test_skipping import FLOOR_LOG, chain_from, snapshot
from tests.relay.world import NOW, Person, World, admit_to, found_room


@pytest.fixture
def ana() -> Person:
    return found_room(World())


@pytest.fixture
def copy(ana: Person) -> RoomLog:
    """Of before the move, at a third relay; then somebody speaks, and the room moves to THERE."""
    bo = admit_to(ana, "bo")
    bo.do(bo.control(records.Home, home=THERE))
    copy = snapshot(ana)
    ana.say()
    ana.say()
    stored(ana)
    ana.do(move(ana))
    return copy


def chain(ana: Person, copy: RoomLog) -> list[ChainRecord]:
    return chain_from(ana, copy.state.seq)


def go_on(relay: Relay, copy: RoomLog, found: Skip) -> HubMoved:
    """The effect of going on, at `relay`."""
    relay._core.rooms[copy.room] = copy
    [moved] = [e for e in relay.skip(copy.room, found, NOW).effects if isinstance(e, HubMoved)]
    return moved


@pytest.mark.parametrize("beyond", [0, 1, 7])
def test_a_copy_goes_on_at_the_new_hub_by_what_root_signed(
    ana: Person, copy: RoomLog, beyond: int
) -> None:
    """However far the old hub, which follows now, has forgotten; it signs nothing any more."""
    at, log = ana.log.seq, ana.log.log
    stated = FLOOR_LOG if beyond else log
    found = verify_skip(copy, chain(ana, copy), at + 1 + beyond, stated, {})
    assert (found.floor, found.log) == (at + 1, log)
    assert found.head == chain(ana, copy)[-1].record
    third = RelayId(b"\x0b" * 32)
    moved = go_on(Relay(third, RelayPolicy(federated=True)), copy, found)
    assert (moved.hub, copy.hub, copy.seq, copy.log) == (THERE, THERE, at, log)
    assert copy.state == ana.log.state
    assert copy.awaits is None


def test_where_the_old_hub_keeps_the_last_of_it_that_is_had(ana: Person, copy: RoomLog) -> None:
    """HUB_MOVE shows that the log is that long; it is delivered like all that is there yet."""
    floor = ana.log.seq - 1
    log = ana.log.recent[floor - 1].log
    found = verify_skip(copy, chain(ana, copy), floor, log, {})
    assert (found.floor, found.log, found.controls) == (floor, log, ())
    assert found.head == chain(ana, copy)[-1].record


def test_what_root_signed_and_what_the_hub_states_must_agree(ana: Person, copy: RoomLog) -> None:
    with pytest.raises(HubLied) as lied:
        verify_skip(copy, chain(ana, copy), ana.log.seq + 1, FLOOR_LOG, {})
    assert lied.value.kind is Code.BAD_RECORD
    with pytest.raises(HubLied) as lied:
        verify_skip(copy, chain(ana, copy), ana.log.seq, FLOOR_LOG, {})
    assert lied.value.kind is Code.FORK


def test_a_new_hub_that_was_put_back_lets_the_one_before_speak(ana: Person, copy: RoomLog) -> None:
    """Who has to skip to the record that made it the hub has ordered since."""
    found = verify_skip(copy, chain(ana, copy), ana.log.seq + 9, FLOOR_LOG, {})
    go_on(Relay(THERE, RelayPolicy(federated=True)), copy, found)
    assert copy.hub == THERE
    assert copy.awaits == ana.world.relay_id
    with pytest.raises(Refused) as refused:
        copy.check_seen(records.Seen(copy.seq, copy.log))
    assert refused.value.kind is Code.TRY_AGAIN


def test_a_hub_that_was_put_back_and_went_on_harms_its_other_rooms_nothing(
    ana: Person, copy: RoomLog
) -> None:
    """Another control log is another history of this room: it stands still, as at `fork`."""
    known, *rest = chain(ana, copy)
    copy.head = b"what it signed"
    for shown in (rest, [evolve(known, event_id=rest[0].event_id), *rest]):
        with pytest.raises(HubLied) as lied:
            verify_skip(copy, shown, ana.log.seq + 1, ana.log.log, {})
        assert lied.value.is_proof
        assert lied.value.records == (b"what it signed",)


def head(keys: KeyPair, copy: RoomLog, term: int, seq: int, log: Hash32) -> bytes:
    return sign_record(keys.private, records.LogHead(1, copy.room, term, seq, log, NOW)).envelope


def skip_by(copy: RoomLog, found: Skip, signed: bytes, keys: KeyPair) -> Skip:
    """The skip, signed for on a link of the relay that has these keys, its first."""
    key = PublicKey(keys.public)
    return signed_skip(copy, found, signed, Lineage(relay_id_of(key)), key)


def test_the_hub_of_now_signs_for_a_stretch_of_before_it_too(ana: Person, copy: RoomLog) -> None:
    """A copy that begins before the move is had from the new hub, and so is what it lacks."""
    keys = generate_keypair()
    copy.ahead = relay_id_of(PublicKey(keys.public))
    floor = copy.seq + 2
    known = chain(ana, copy)[0]
    found = verify_skip(copy, [known], floor, FLOOR_LOG, {})
    assert found.head == b""
    for term in (copy.state.term, copy.state.term + 1):
        signed = head(keys, copy, term, floor + 5, FLOOR_LOG)
        if term == copy.state.term:
            with pytest.raises(Refused, match="another time"):
                skip_by(copy, found, signed, keys)
        else:
            assert skip_by(copy, found, signed, keys).head == signed


def test_a_head_that_the_old_hub_passes_on_is_not_its_own_lie(ana: Person, copy: RoomLog) -> None:
    """Of another relay's time: of no use, and nobody's fault."""
    keys, other = generate_keypair(), generate_keypair()
    known = chain(ana, copy)[0]
    found = verify_skip(copy, [known], copy.seq + 2, FLOOR_LOG, {})
    signed = head(other, copy, 1, copy.seq + 5, FLOOR_LOG)
    with pytest.raises(Refused, match="another time"):
        skip_by(copy, found, signed, keys)
