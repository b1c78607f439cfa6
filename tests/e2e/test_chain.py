"""The control log, replayed: nobody but those it authorises can add to it, or change its order."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from ofcd.compliance.p256 import off_curve_key, uncompressed_twin
from ofcd.e2e.chain import apply_verified, open_genesis, verify_chain
from ofcd.e2e.controls import (
    accept_handover,
    header_fields,
    make_attach,
    make_grant,
    make_handover,
    make_home,
    make_invite_close,
    make_leave,
)
from ofcd.e2e.genesis import make_genesis
from ofcd.e2e.keys import MemberKeys, key_commitment
from ofcd.protocol.codes import Code, Malformed, ProtocolError, Refused
from ofcd.protocol.ids import Hash32, PublicKey, RelayId, RoomId, b64encode, room_id_of
from ofcd.protocol.records import Admit, Attach, Cap, Genesis, Grant, Handover, InviteOpen, Role
from ofcd.protocol.room import RoomState
from ofcd.themis import sign
from ofcd.themis.signed import open_signed, peek, sign_record
from tests.e2e.changes import Change, changed, changes
from tests.e2e.world import NOW, RELAY_ID, RELAY_KEY, Entry, Person, World, found_world

OFF_CURVE = PublicKey(off_curve_key())


def grant(by: Person, member: Person, role: Role) -> Any:
    view = by.view
    return make_grant(view.state, by.mine, view.seen, NOW, member=member.mid, role=role)


def admits(world: World) -> list[tuple[int, bytes]]:
    return [(s, e) for s, e in world.relay.chain() if isinstance(peek(e).record, Admit)]


def test_a_chain_replays_to_the_state_every_member_has(world: World) -> None:
    """Replaying the control log from GENESIS gives exactly the state that members arrived at."""
    root, ana, bo = world.people
    world.rotate(root)
    world.control(grant(root, ana, Role.CO_OWNER))
    world.evict(ana, bo)
    world.control(make_leave(ana.view.state, ana.mine, ana.view.seen, NOW))
    world.rotate_boxed(root)
    state = verify_chain(world.relay.room, world.relay.chain())
    assert state == root.view.state
    assert state.departed == {ana.mid: Code.LEFT, bo.mid: Code.EVICTED}


def test_a_chain_stops_where_it_is_told(world: World) -> None:
    """`until` stops after that record and insists on it; `before` leaves out later records."""
    chain = world.relay.chain()
    first = verify_chain(world.relay.room, chain[:2])
    assert verify_chain(world.relay.room, chain, until=first.ctl) == first
    assert verify_chain(world.relay.room, chain, before=chain[2][0]) == first
    with pytest.raises(Refused):
        verify_chain(world.relay.room, chain[:1], until=first.ctl)
    with pytest.raises(Refused):
        verify_chain(world.relay.room, [])


def test_genesis_founds_exactly_its_own_room() -> None:
    """The room id commits to GENESIS: another id, a changed one or no GENESIS is refused."""
    world, other = found_world(), found_world()
    envelope = world.relay.entries[0].envelope
    state, signed = open_genesis(world.relay.room, envelope)
    assert state.room == room_id_of(signed.payload) == world.relay.room
    with pytest.raises(Refused):
        open_genesis(other.relay.room, envelope)
    by_another = sign_record(other.root.mine.sign.private, signed.record)
    with pytest.raises(Refused):
        open_genesis(state.room, by_another.envelope)
    with pytest.raises(Malformed):
        open_genesis(state.room, b"junk")
    leave = make_leave(state, world.root.mine, world.root.view.seen, NOW)
    with pytest.raises(Malformed):
        open_genesis(state.room, leave.envelope)


def test_a_genesis_with_a_key_off_the_curve_is_refused() -> None:
    """A canonical form whose point is not on P-256 is refused before it is used (E7)."""
    world = found_world()
    genesis = peek(world.relay.entries[0].envelope).record
    assert isinstance(genesis, Genesis)
    bad = evolve(genesis, enc_key=OFF_CURVE)
    signed = sign_record(world.root.mine.sign.private, bad)
    with pytest.raises(Malformed) as caught:
        open_genesis(room_id_of(signed.payload), signed.envelope)
    assert caught.value.kind is Code.BAD_KEY


def test_the_first_key_is_committed_to_without_going_round() -> None:
    """kc_0 is bound to the GENESIS nonce, and stands in the payload that makes the room's id."""
    founding = make_genesis(MemberKeys.generate(), RELAY_ID, NOW)
    state = founding.state
    assert state.key_commitment == key_commitment(state.nonce, 0, founding.keys.get(0))


# -- test 9: a relay that makes things up --------------------------------------------------------


def assert_refused(state: RoomState, envelope: bytes, code: Code) -> None:
    with pytest.raises(ProtocolError) as caught:
        apply_verified(state, envelope, state.seq + 1)
    assert caught.value.kind is code


def test_9_a_relay_can_not_admit_anyone(world: World) -> None:
    """Test 9: an ADMIT signed by the relay or by the newcomer itself, in the owner's name."""
    root = world.root
    invite = world.invite(root)
    state, stranger = root.view.state, MemberKeys.generate()
    record = Admit(
        **header_fields(state, root.mine, root.view.seen, NOW),
        invite_id=invite.code.invite_id,
        sign_key=stranger.sign_key,
        enc_key=stranger.enc_key,
        role=Role.MEMBER,
        confirm_hash=Hash32(b"c" * 32),
        epoch=state.epoch,
        history_from=1,
        home=RELAY_ID,
    )
    forged = sign_record(stranger.sign.private, record)
    assert_refused(state, forged.envelope, Code.BAD_SIGNATURE)
    in_own_name = sign_record(stranger.sign.private, evolve(record, mid=stranger.mid))
    assert_refused(state, in_own_name.envelope, Code.NOT_FOUND)
    members = [set(p.view.state.members) for p in world.people]
    world.commit(Entry(forged.envelope))
    assert [set(p.view.state.members) for p in world.people] == members
    assert all(p.taken[-1].troubles for p in world.people)


def test_9_an_admit_is_not_taken_twice_nor_elsewhere(world: World) -> None:
    """Test 9: an ADMIT from another room, or replayed after an EVICT, changes nothing."""
    root, _, bo = world.people
    _, envelope = admits(world)[1]
    other = found_world()
    assert_refused(other.root.view.state, envelope, Code.NOT_FOUND)
    world.evict(root, bo)
    assert_refused(root.view.state, envelope, Code.CONFLICT)
    admit: Any = peek(envelope).record
    again = evolve(admit, prev=root.view.state.ctl)
    assert_refused(
        root.view.state, sign_record(root.mine.sign.private, again).envelope, Code.INVITE_UNKNOWN
    )
    assert bo.mid not in verify_chain(world.relay.room, world.relay.chain()).members


def test_9_a_member_without_the_right_can_not_change_the_room(world: World) -> None:
    """Test 9: records that a plain member signed, and that only owners may make, are refused."""
    _, ana, bo = world.people
    view = ana.view
    fields = header_fields(view.state, ana.mine, view.seen, NOW)
    record = Grant(**fields, member=bo.mid, role=Role.READONLY)
    signed = sign_record(ana.mine.sign.private, record)
    assert_refused(view.state, signed.envelope, Code.FORBIDDEN)


@pytest.mark.parametrize("change", ["drop", "swap", "repeat", "begin later"])
def test_a_chain_with_records_missing_or_moved_is_refused(world: World, change: str) -> None:
    """The relay can not remove, reorder or repeat control records."""
    chain = world.relay.chain()
    if change == "drop":
        del chain[2]
    elif change == "swap":
        chain[1], chain[2] = (chain[1][0], chain[2][1]), (chain[2][0], chain[1][1])
    elif change == "repeat":
        chain.append((chain[-1][0] + 1, chain[-1][1]))
    else:
        chain = [(seq + 1, envelope) for seq, envelope in chain]
    with pytest.raises(ProtocolError):
        verify_chain(world.relay.room, chain)


def test_control_records_come_in_order(world: World) -> None:
    """A record given a number that is not after the last one's is refused."""
    root, ana, _ = world.people
    signed = grant(root, ana, Role.CO_OWNER)
    with pytest.raises(Refused) as caught:
        apply_verified(root.view.state, signed.envelope, root.view.state.seq)
    assert caught.value.kind is Code.OUT_OF_ORDER


def test_a_message_is_no_control_record(world: World) -> None:
    """An event, or bytes, handed in as a control record is malformed, not applied."""
    _, ana, _ = world.people
    for envelope in (ana.seal("x").signed.envelope, b"junk", b""):
        with pytest.raises(Malformed):
            apply_verified(ana.view.state, envelope, 99)


def test_a_second_genesis_is_refused(world: World) -> None:
    """GENESIS can only come first, even the room's own."""
    state = world.root.view.state
    assert_refused(state, world.relay.entries[0].envelope, Code.NOT_FOUND)


def test_13_a_second_encoding_of_a_key_is_no_second_member(world: World) -> None:
    """Test 13: ADMIT with a key in the 77-byte form (E7) is refused: no second identity."""
    root, ana, _ = world.people
    invite = world.invite(root)
    view = root.view
    record = {
        **json.loads(admits_payload(world)),
        "prev": b64encode(view.state.ctl),
        "invite_id": b64encode(invite.code.invite_id),
    }
    twin = uncompressed_twin(ana.mine.sign_key)
    assert len(twin) == 77
    for field in ("sign_key", "enc_key"):
        payload = b"OFC1:admit\n" + json.dumps({**record, field: b64encode(twin)}).encode()
        assert_refused(view.state, sign(root.mine.sign.private, payload), Code.BAD_KEY)


def admits_payload(world: World) -> bytes:
    return peek(admits(world)[0][1]).payload.split(b"\n", 1)[1]


def test_13_a_key_off_the_curve_is_no_member(world: World) -> None:
    """Test 13: an ADMIT whose keys have the right form but are no points is refused."""
    root = world.root
    invite = world.invite(root)
    view = root.view
    admit = peek(admits(world)[0][1]).record
    assert isinstance(admit, Admit)
    good = MemberKeys.generate()
    fresh = evolve(
        admit,
        prev=view.state.ctl,
        invite_id=invite.code.invite_id,
        sign_key=good.sign_key,
        enc_key=good.enc_key,
    )
    changed_keys: list[dict[str, Any]] = [
        {"sign_key": OFF_CURVE},
        {"enc_key": OFF_CURVE},
    ]
    for fields in changed_keys:
        signed = sign_record(root.mine.sign.private, evolve(fresh, **fields))
        assert_refused(view.state, signed.envelope, Code.BAD_KEY)


# -- handover and the other makers ---------------------------------------------------------------


def test_root_hands_over_with_the_heirs_word(world: World) -> None:
    """With the heir's signed acceptance nested, the heir is root and a boxed rotation is due."""
    root, ana, _ = world.people
    accept = accept_handover(ana.view.state, ana.mine, NOW)
    view = root.view
    signed = make_handover(
        view.state, root.mine, view.seen, NOW, to=ana.mid, accept=accept.envelope
    )
    world.control(signed)
    state = ana.view.state
    assert (state.root, state.boxed_due) == (ana.mid, True)
    assert state.member(root.mid).role is Role.CO_OWNER
    world.rotate_boxed(ana)
    assert root.view.state == ana.view.state


def test_an_heir_accepts_whoever_has_just_moved_home(world: World) -> None:
    """What it names is no HOME: those do not count, before its acceptance and after it."""
    root, ana, bo = world.people
    seen = bo.view.seen
    world.control(make_home(bo.view.state, bo.mine, seen, NOW, home=RelayId(b"h" * 32)))
    accept = accept_handover(ana.view.state, ana.mine, NOW)
    world.control(make_home(bo.view.state, bo.mine, bo.view.seen, NOW, home=RELAY_ID))
    view = root.view
    world.control(
        make_handover(view.state, root.mine, view.seen, NOW, to=ana.mid, accept=accept.envelope)
    )
    assert ana.view.state.root == ana.mid


def test_nobody_is_made_root_unasked(world: World) -> None:
    """An acceptance of someone else's, for another root or room, or none at all: refused."""
    root, ana, bo = world.people
    view = root.view
    accept = accept_handover(ana.view.state, ana.mine, NOW)
    record: Any = accept.record
    wrong = [
        accept_handover(bo.view.state, bo.mine, NOW).envelope,
        sign_record(bo.mine.sign.private, record).envelope,
        sign_record(ana.mine.sign.private, evolve(record, root=bo.mid)).envelope,
        sign_record(ana.mine.sign.private, evolve(record, room=RoomId(b"x" * 32))).envelope,
        sign_record(ana.mine.sign.private, evolve(record, mid=bo.mid)).envelope,
        ana.seal("x").signed.envelope,
        b"junk",
    ]
    for envelope in wrong:
        with pytest.raises(ProtocolError):
            make_handover(view.state, root.mine, view.seen, NOW, to=ana.mid, accept=envelope)
        handover = Handover(
            **header_fields(view.state, root.mine, view.seen, NOW), to=ana.mid, accept=envelope
        )
        signed = sign_record(root.mine.sign.private, handover)
        with pytest.raises(ProtocolError):
            apply_verified(view.state, signed.envelope, 99)


def test_an_acceptance_from_before_a_handover_makes_nobody_root(world: World) -> None:
    """Root once more, root uses the heir's old word again: no client takes it, whatever the relay
    does."""
    root, ana, _ = world.people
    old = accept_handover(ana.view.state, ana.mine, NOW).envelope
    for giver, taker in ((root, ana), (ana, root)):
        accept = accept_handover(taker.view.state, taker.mine, NOW).envelope
        view = giver.view
        world.control(
            make_handover(view.state, giver.mine, view.seen, NOW, to=taker.mid, accept=accept)
        )
        world.rotate_boxed(taker)
    view = root.view
    handover = Handover(
        **header_fields(view.state, root.mine, view.seen, NOW), to=ana.mid, accept=old
    )
    signed = sign_record(root.mine.sign.private, handover)
    with pytest.raises(Refused, match="too old"):
        apply_verified(view.state, signed.envelope, 99)


def test_makers_refuse_what_the_room_does_not_allow(world: World) -> None:
    """A record the room's state forbids is refused at its maker, before anything is sent."""
    root, ana, bo = world.people
    view = ana.view
    with pytest.raises(Refused):
        grant(ana, bo, Role.CO_OWNER)
    with pytest.raises(Refused):
        make_leave(root.view.state, root.mine, root.view.seen, NOW)
    invite = world.invite(root)
    with pytest.raises(Refused):
        make_invite_close(ana.view.state, ana.mine, view.seen, NOW, invite_id=invite.code.invite_id)
    world.control(
        make_invite_close(
            root.view.state, root.mine, root.view.seen, NOW, invite_id=invite.code.invite_id
        )
    )
    assert root.view.state.invites == {}


def test_a_grant_sets_role_and_caps(world: World) -> None:
    """GRANT gives and takes: all the capabilities are those it names."""
    root, ana, _ = world.people
    view = root.view
    signed = make_grant(
        view.state,
        root.mine,
        view.seen,
        NOW,
        member=ana.mid,
        role=Role.MEMBER,
        caps={Cap.BOT, Cap.ADMIT},
    )
    world.control(signed)
    assert ana.view.state.member(ana.mid).caps == {Cap.BOT, Cap.ADMIT}
    world.control(grant(root, ana, Role.READONLY))
    assert ana.view.state.member(ana.mid).caps == frozenset()


def test_attach_names_this_very_session() -> None:
    """ATTACH carries the session's key and challenge, signed by the member."""
    mine = MemberKeys.generate()
    room, challenge = RoomId(b"r" * 32), Hash32(b"c" * 32)
    signed = make_attach(
        room, mine, transport_key=RELAY_KEY, relay_id=RELAY_ID, challenge=challenge, now=NOW
    )
    assert open_signed(mine.sign_key, signed.envelope).record == Attach(
        1, room, mine.mid, RELAY_KEY, RELAY_ID, challenge, NOW
    )


@given(st.integers(0, 99), changes)
def test_any_changed_byte_of_a_control_record_fails_closed(
    quiet: World, place: int, change: Change
) -> None:
    """One byte changed in any record of the chain: refused, or exactly the same signed record."""
    chain = quiet.relay.chain()
    at = place % len(chain)
    seq, envelope = chain[at]
    chain[at] = (seq, changed(envelope, change))
    try:
        state = verify_chain(quiet.relay.room, chain)
    except ProtocolError:
        return
    assert state == verify_chain(quiet.relay.room, quiet.relay.chain())


@given(st.lists(st.tuples(st.integers(0, 9), st.binary(max_size=200)), max_size=3))
def test_arbitrary_chains_raise_only_typed_errors(
    quiet: World, records: list[tuple[int, bytes]]
) -> None:
    """No bytes make the replay raise anything but Malformed or Refused."""
    with pytest.raises(ProtocolError):
        verify_chain(quiet.relay.room, [*quiet.relay.chain()[:1], *records, (99, b"")])


def test_an_invite_record_holds_no_token(world: World) -> None:
    """What the relay sees of an invite is a commitment and boxes, never the token."""
    invite = world.invite(world.root)
    record = invite.signed.record
    assert isinstance(record, InviteOpen)
    assert invite.code.token not in invite.signed.envelope
    assert b64encode(invite.code.token).encode() not in invite.signed.envelope
