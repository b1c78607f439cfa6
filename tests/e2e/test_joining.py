"""Joining: nobody gets the room key without the token, and nobody becomes half a member."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from ofcd.compliance.p256 import off_curve_key
from ofcd.e2e import joining
from ofcd.e2e.boxes import JoinBox, Party, seal_box
from ofcd.e2e.contexts import confirm_context, join_context, proof_context, proof_plaintext
from ofcd.e2e.controls import make_grant, make_invite_close
from ofcd.e2e.errors import JoinFault, JoinRejected, KeyMissing
from ofcd.e2e.joining import (
    ABANDONED_AFTER,
    Joining,
    Welcome,
    answer_request,
    check_admitted,
    check_confirm,
    check_response,
    is_abandoned,
    make_admit,
    make_request,
    rekey_first,
)
from ofcd.e2e.keys import EpochKeys, MemberKeys
from ofcd.protocol.codec import build, dump_json, parse_json, unbuild
from ofcd.protocol.codes import Code, Refused
from ofcd.protocol.ids import Hash32, InviteId, RelayId, RoomId, tagged_hash
from ofcd.protocol.limits import RECORD_BYTES
from ofcd.protocol.records import (
    Admit,
    History,
    JoinConfirm,
    JoinRequest,
    JoinResponse,
    Policy,
    Role,
)
from ofcd.themis import seal, unseal
from ofcd.themis.signed import peek, sign_record
from tests.e2e.changes import Change, changed, changes
from tests.e2e.world import (
    DAY,
    NOW,
    RELAY_ID,
    Asked,
    Entry,
    Person,
    World,
    found_world,
)


def fault_of(call: Any) -> JoinFault:
    with pytest.raises(JoinRejected) as caught:
        call()
    return caught.value.fault


def alert_of(call: Any) -> bool:
    with pytest.raises(JoinRejected) as caught:
        call()
    return caught.value.alert


@pytest.fixture
def sealed_nothing(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Keys that the join machines sealed anything under, from now on."""
    used: list[bytes] = []

    def counted(key: bytes, plaintext: bytes, context: bytes) -> bytes:
        used.append(key)
        return seal(key, plaintext, context)

    monkeypatch.setattr(joining, "seal", counted)
    return used


def request_of(asked: Asked) -> JoinRequest:
    assert isinstance(asked.joining.request.record, JoinRequest)
    return asked.joining.request.record


def re_asked(asked: Asked, **fields: Any) -> Asked:
    """The request with changed fields, signed by the joiner itself."""
    signed = sign_record(asked.joining.keys.sign.private, evolve(request_of(asked), **fields))
    return evolve(asked, joining=evolve(asked.joining, request=signed))


# -- the whole -----------------------------------------------------------------------------------


def test_a_stranger_with_a_link_becomes_a_member(world: World) -> None:
    """From link to first word: the newcomer has the key, the state, the names; all see it join."""
    root, ana, _ = world.people
    asked = world.ask(root, role=Role.READONLY)
    names = {ana.mid: "Ana\u202e", root.mid: ""}
    answered = world.answer(root, asked, names=names, room_name="Tea\x00room")
    joined = check_response(asked.joining, world.relay.chain(), answered.response.envelope)
    assert joined.keys == EpochKeys(root.view.state.nonce, {0: root.view.keys.get(0)})
    assert joined.state == root.view.state
    assert joined.welcome.names == ((ana.mid, "Ana"),)
    assert joined.welcome.room_name == "Tearoom"
    world.control(world.admit(root, answered, joined))
    for person in world.people:
        member = person.view.state.member(asked.joining.keys.mid)
        assert (member.role, member.home) == (Role.READONLY, RELAY_ID)
    assert check_admitted(root.view.state, asked.joining.keys).enc_key == asked.joining.keys.enc_key


def test_a_co_owner_answers_when_the_inviter_is_away(world: World) -> None:
    """Any listed admitter can finish the join, with the token from its box."""
    root, ana, _ = world.people
    view = root.view
    world.control(
        make_grant(view.state, root.mine, view.seen, NOW, member=ana.mid, role=Role.CO_OWNER)
    )
    asked = world.ask(root)
    answered, joined = world.respond(ana, asked)
    world.control(world.admit(ana, answered, joined))
    assert asked.joining.keys.mid in root.view.state.members


# -- test 4: B1 ----------------------------------------------------------------------------------


def test_4_an_unknown_invite_is_sealed_nothing(world: World, sealed_nothing: list[bytes]) -> None:
    """Test 4 (B1): the owner, fed a request for an invite it does not know, seals NOTHING."""
    root = world.root
    asked = world.ask(root)
    sealed_nothing.clear()
    other = re_asked(asked, invite_id=InviteId(b"x" * 16))
    assert fault_of(lambda: world.answer(root, asked, token=None)) is JoinFault.INVITE_UNKNOWN
    assert fault_of(lambda: world.answer(root, other)) is JoinFault.INVITE_UNKNOWN
    assert fault_of(lambda: world.answer(root, asked, token=b"")) is JoinFault.BAD_PROOF
    assert sealed_nothing == []


def test_4_a_closed_or_expired_invite_is_sealed_nothing(
    world: World, sealed_nothing: list[bytes]
) -> None:
    """Test 4: an invite that was closed, or whose time is over by the admitter's clock."""
    root = world.root
    asked = world.ask(root)
    sealed_nothing.clear()
    late = fault_of(lambda: world.answer(root, asked, now=NOW + DAY))
    assert late is JoinFault.INVITE_EXPIRED
    view = root.view
    world.control(
        make_invite_close(
            view.state, root.mine, view.seen, NOW, invite_id=asked.invite.code.invite_id
        )
    )
    assert fault_of(lambda: world.answer(root, asked)) is JoinFault.INVITE_UNKNOWN
    assert sealed_nothing == []


def test_4_without_the_right_proof_nothing_is_sealed(
    world: World, sealed_nothing: list[bytes]
) -> None:
    """Test 4: a wrong P, or another token than the admitter holds, is refused with an alert."""
    root = world.root
    asked = world.ask(root)
    sealed_nothing.clear()
    wrong = re_asked(asked, proof=Hash32(b"p" * 32))
    assert fault_of(lambda: world.answer(root, wrong)) is JoinFault.BAD_PROOF
    assert alert_of(lambda: world.answer(root, asked, token=b"t" * 32))
    assert sealed_nothing == []


# -- test 5: the relay in the middle -------------------------------------------------------------


def swapped(world: World, asked: Asked, *, boxes: str) -> Asked:
    """The relay, knowing P, puts its own keys in: with the joiner's box, or one of its own."""
    relay, genuine = MemberKeys.generate(), request_of(asked)
    root = world.root
    made = genuine.boxes
    if boxes == "own":
        proof = genuine_proof(asked)
        content = JoinBox(genuine.invite_id, b"j" * 32, genuine.nonce, proof)
        box = seal_box(relay, Party(root.mid, root.mine.enc_key), genuine.room, content)
        made = ((root.mid, box),)
    request = evolve(genuine, sign_key=relay.sign_key, enc_key=relay.enc_key, boxes=made)
    signed = sign_record(relay.sign.private, request)
    return evolve(asked, joining=evolve(asked.joining, keys=relay, request=signed))


def genuine_proof(asked: Asked) -> bytes:
    """The joiner's own tproof: the best a relay could ever get hold of."""
    keys, code, nonce = asked.joining.keys, asked.invite.code, request_of(asked).nonce
    shown = proof_plaintext(code.room, code.invite_id, keys.sign_key, keys.enc_key, nonce)
    return seal(code.token, shown, proof_context(code.room, code.invite_id))


@pytest.mark.parametrize(
    ("boxes", "fault"), [("joiner's", JoinFault.BAD_BOX), ("own", JoinFault.BAD_PROOF)]
)
def test_5_a_relay_that_swaps_keys_gets_nothing(
    world: World, sealed_nothing: list[bytes], boxes: str, fault: JoinFault
) -> None:
    """Test 5: S_j and E_j replaced in a valid request: refused at the proof, invite still open."""
    root = world.root
    asked = world.ask(root)
    forged = swapped(world, asked, boxes=boxes)
    sealed_nothing.clear()
    assert fault_of(lambda: world.answer(root, forged)) is fault
    assert alert_of(lambda: world.answer(root, forged))
    assert sealed_nothing == []
    answered, joined = world.respond(root, asked)
    world.control(world.admit(root, answered, joined))
    assert asked.joining.keys.mid in root.view.state.members


@pytest.mark.parametrize("field", ["invite_id", "nonce", "proof"])
def test_5_the_joiners_box_belongs_to_its_request(world: World, field: str) -> None:
    """Test 5: a box that names another invite or nonce, or proves nothing, is refused."""
    root = world.root
    asked = world.ask(root)
    good = JoinBox(
        asked.invite.code.invite_id,
        asked.joining.join_key,
        request_of(asked).nonce,
        genuine_proof(asked),
    )
    other: dict[str, Any] = {
        "invite_id": InviteId(b"x" * 16),
        "nonce": Hash32(b"x" * 32),
        "proof": b"not sealed under the token, but long enough to be a cell",
    }
    content = evolve(good, **{field: other[field]})
    party = Party(root.mid, root.mine.enc_key)
    box = seal_box(asked.joining.keys, party, root.view.room, content)
    wrong = re_asked(asked, boxes=((root.mid, box),))
    assert fault_of(lambda: world.answer(root, wrong)) in (JoinFault.BAD_BOX, JoinFault.BAD_PROOF)
    right = re_asked(
        asked, boxes=((root.mid, seal_box(asked.joining.keys, party, root.view.room, good)),)
    )
    assert world.answer(root, right).request == right.joining.request


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"room": RoomId(b"x" * 32)}, JoinFault.WRONG_ROOM),
        ({"nonce": Hash32(b"x" * 32)}, JoinFault.BAD_BOX),
        ({"boxes": ((b"x" * 32, b"box"),)}, JoinFault.BAD_BOX),
        ({"enc_key": off_curve_key()}, JoinFault.BAD_KEY),
        ({"sign_key": off_curve_key()}, JoinFault.BAD_KEY),
        ({"sign_key": MemberKeys.generate().sign_key}, JoinFault.BAD_SIGNATURE),
        ({"enc_key": MemberKeys.generate().enc_key}, JoinFault.BAD_BOX),
    ],
)
def test_a_request_that_does_not_fit_is_refused(
    world: World, fields: dict[str, Any], fault: JoinFault
) -> None:
    """Each field of JOIN_REQ changed by its own signer has its own refusal."""
    asked = world.ask(world.root)
    assert fault_of(lambda: world.answer(world.root, re_asked(asked, **fields))) is fault


def test_a_request_is_answered_by_an_admitter_only(world: World) -> None:
    """A member who is not listed, or not allowed, refuses, though it may know the token."""
    root, ana, _ = world.people
    asked = world.ask(root)
    assert fault_of(lambda: world.answer(ana, asked)) is JoinFault.NOT_AN_ADMITTER
    view = root.view
    world.control(
        make_grant(view.state, root.mine, view.seen, NOW, member=ana.mid, role=Role.CO_OWNER)
    )
    assert fault_of(lambda: world.answer(ana, asked)) is JoinFault.NOT_AN_ADMITTER
    stranger = Person("Stranger", evolve(root.view, mine=MemberKeys.generate()))
    assert fault_of(lambda: world.answer(stranger, asked)) is JoinFault.NOT_AN_ADMITTER


def test_an_admitter_who_lost_the_right_refuses(world: World) -> None:
    """Listed in the invite, but no longer allowed: nothing is answered."""
    root = world.root
    ana = world.join("Aid", role=Role.CO_OWNER)
    asked = world.ask(root)
    view = root.view
    world.control(
        make_grant(view.state, root.mine, view.seen, NOW, member=ana.mid, role=Role.MEMBER)
    )
    assert fault_of(lambda: world.answer(ana, asked)) is JoinFault.NOT_AN_ADMITTER


def test_a_member_does_not_join_again(world: World) -> None:
    """Keys that are, or were, a member's are refused."""
    root, ana, bo = world.people
    world.evict(root, bo)
    invite = world.invite(root)
    for mine in (ana.mine, bo.mine):
        request = make_request(invite.code, root.view.state, home=RELAY_ID, now=NOW, mine=mine)
        fault = fault_of(lambda made=request: world.answer(root, Asked(invite, made)))
        assert fault is JoinFault.ALREADY_MEMBER


def test_an_admitter_without_the_room_key_says_so(world: World) -> None:
    """A key that is missing is a typed error of its own; nothing else is sealed instead."""
    root = world.root
    asked = world.ask(root)
    view = root.view
    with pytest.raises(KeyMissing):
        answer_request(
            view.state,
            root.mine,
            EpochKeys(view.state.nonce),
            asked.joining.request.envelope,
            token=asked.invite.code.token,
            seen=view.seen,
            now=NOW,
        )


# -- tests 6 and 7 -------------------------------------------------------------------------------


def test_6_one_invite_makes_one_member(world: World) -> None:
    """Test 6: two joiners with one link at once: one ADMIT; the other is `used`, owner alerted."""
    root = world.root
    first = world.ask(root)
    rival = make_request(first.invite.code, root.view.state, home=RELAY_ID, now=NOW)
    second = Asked(first.invite, rival)
    answered, joined = world.respond(root, first)
    with pytest.raises(JoinRejected) as caught:
        world.answer(root, second, earlier=answered)
    assert (caught.value.fault, caught.value.alert) == (JoinFault.INVITE_USED, True)
    world.control(world.admit(root, answered, joined))
    assert fault_of(lambda: world.answer(root, second)) is JoinFault.INVITE_UNKNOWN
    assert len(root.view.state.members) == 4


def test_6_two_admits_for_one_invite_are_one_member(world: World) -> None:
    """Test 6: even two admitters who answered two joiners: the second ADMIT is refused by all."""
    root = world.root
    ana = world.join("Aid", role=Role.CO_OWNER)
    first = world.ask(root)
    rival = make_request(first.invite.code, root.view.state, home=RELAY_ID, now=NOW)
    one, joined_one = world.respond(root, first)
    two, joined_two = world.respond(ana, Asked(first.invite, rival))
    late = world.admit(ana, two, joined_two)
    world.control(world.admit(root, one, joined_one))
    world.commit(Entry(late.envelope))
    assert rival.keys.mid not in root.view.state.members
    with pytest.raises(JoinRejected) as caught:
        world.admit(ana, two, joined_two)
    assert caught.value.fault is JoinFault.INVITE_UNKNOWN


def test_7_a_request_repeated_gets_the_same_bytes(world: World) -> None:
    """Test 7: ten retries, byte-identical responses, one member, the token used once."""
    root = world.root
    asked = world.ask(root)
    answered, joined = world.respond(root, asked)
    for _ in range(10):
        again = world.answer(root, asked, earlier=answered, now=NOW + 1)
        assert again.response.envelope == answered.response.envelope
    world.control(world.admit(root, answered, joined))
    assert len(root.view.state.members) == 4
    assert root.view.state.invites == {}


def test_7_a_joiner_who_stops_costs_a_boxed_rotation(world: World) -> None:
    """Test 7: after 24 hours the answer is abandoned; after a boxed rotation its key is dead."""
    root, ana, _ = world.people
    asked = world.ask(root)
    answered, joined = world.respond(root, asked)
    assert not is_abandoned(answered, NOW + ABANDONED_AFTER - 1)
    assert is_abandoned(answered, NOW + ABANDONED_AFTER)
    world.rotate_boxed(root)
    sealed = world.say(ana, "not for the stranger")
    assert sealed.event.epoch not in joined.keys


def test_7_a_rotation_meanwhile_asks_for_a_new_answer(world: World) -> None:
    """The key moved on between RESP and ADMIT: a new response, a new confirmation, then ADMIT."""
    root = world.root
    asked = world.ask(root)
    answered, joined = world.respond(root, asked)
    world.rotate(root)
    view = root.view
    stale = fault_of(
        lambda: check_confirm(view.state, view.keys, answered, joined.confirm.envelope)
    )
    assert stale is JoinFault.EPOCH_MOVED
    again = world.answer(root, asked, earlier=answered)
    assert (again.epoch, again.request) == (1, answered.request)
    fresh = check_response(asked.joining, world.relay.chain(), again.response.envelope)
    view = root.view
    old = fault_of(lambda: check_confirm(view.state, view.keys, again, joined.confirm.envelope))
    assert old is JoinFault.WRONG_TRANSCRIPT
    world.control(world.admit(root, again, fresh))
    assert asked.joining.keys.mid in root.view.state.members


# -- the joiner checks ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"relay_id": RelayId(b"x" * 32)}, JoinFault.WRONG_ROOM),
        ({"room": RoomId(b"x" * 32)}, JoinFault.WRONG_ROOM),
        ({"invite_id": InviteId(b"x" * 16)}, JoinFault.INVITE_UNKNOWN),
        ({"token": b"x" * 32}, JoinFault.BAD_CHAIN),
        ({"inviter": b"x" * 32}, JoinFault.BAD_CHAIN),
    ],
)
def test_the_joiner_checks_the_log_against_its_link(
    world: World, fields: dict[str, Any], fault: JoinFault
) -> None:
    """A relay that shows another room, relay, invite, token or inviter than the link's is found."""
    code = evolve(world.invite(world.root).code, **fields)
    state = world.root.view.state
    assert fault_of(lambda: make_request(code, state, home=RELAY_ID, now=NOW)) is fault


def test_the_joiner_does_not_ask_for_an_expired_invite(world: World) -> None:
    """The joiner's own clock says the invite is over: it says so, and sends nothing."""
    code = world.invite(world.root).code
    state = world.root.view.state
    late = fault_of(lambda: make_request(code, state, home=RELAY_ID, now=NOW + DAY))
    assert late is JoinFault.INVITE_EXPIRED


def response_of(answered: Any) -> JoinResponse:
    assert isinstance(answered.response.record, JoinResponse)
    return answered.response.record


def checked(world: World, joining: Joining, envelope: bytes) -> JoinFault:
    return fault_of(lambda: check_response(joining, world.relay.chain(), envelope))


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"room": RoomId(b"x" * 32)}, JoinFault.WRONG_TRANSCRIPT),
        ({"invite_id": InviteId(b"x" * 16)}, JoinFault.WRONG_TRANSCRIPT),
        ({"request_hash": Hash32(b"x" * 32)}, JoinFault.WRONG_TRANSCRIPT),
        ({"to": b"x" * 32}, JoinFault.WRONG_TRANSCRIPT),
        ({"mid": b"x" * 32}, JoinFault.NOT_AN_ADMITTER),
        ({"cell": b"x" * 100}, JoinFault.BAD_CELL),
    ],
)
def test_a_response_that_does_not_fit_is_refused(
    world: World, fields: dict[str, Any], fault: JoinFault
) -> None:
    """Each field of JOIN_RESP changed by the admitter itself has its own refusal."""
    root = world.root
    asked = world.ask(root)
    response = evolve(response_of(world.answer(root, asked)), **fields)
    envelope = sign_record(root.mine.sign.private, response).envelope
    assert checked(world, asked.joining, envelope) is fault


def test_a_response_is_the_admitters_own(world: World) -> None:
    """Signed by someone else, or by a member who may not answer this invite: refused."""
    root, ana, _ = world.people
    asked = world.ask(root)
    response = response_of(world.answer(root, asked))
    by_ana = sign_record(ana.mine.sign.private, response)
    assert checked(world, asked.joining, by_ana.envelope) is JoinFault.BAD_SIGNATURE
    as_ana = sign_record(ana.mine.sign.private, evolve(response, mid=ana.mid))
    assert checked(world, asked.joining, as_ana.envelope) is JoinFault.NOT_AN_ADMITTER


def test_an_owner_not_listed_in_the_invite_may_not_answer(world: World) -> None:
    """The right to admit in general is not the right to answer this invite."""
    root = world.root
    other = world.join("Other", role=Role.CO_OWNER)
    asked = world.ask(root, admitters=[root.mid])
    response = evolve(response_of(world.answer(root, asked)), mid=other.mid)
    envelope = sign_record(other.mine.sign.private, response).envelope
    assert checked(world, asked.joining, envelope) is JoinFault.NOT_AN_ADMITTER


def test_a_listed_admitter_who_lost_the_right_may_not_answer(world: World) -> None:
    """Listed in the invite, but demoted at the head the response names: the joiner refuses."""
    root = world.root
    aid = world.join("Aid", role=Role.CO_OWNER)
    asked = world.ask(root)
    view = root.view
    world.control(
        make_grant(view.state, root.mine, view.seen, NOW, member=aid.mid, role=Role.MEMBER)
    )
    response = evolve(response_of(world.answer(root, asked)), mid=aid.mid)
    envelope = sign_record(aid.mine.sign.private, response).envelope
    assert checked(world, asked.joining, envelope) is JoinFault.NOT_AN_ADMITTER


def resealed(world: World, asked: Asked, **fields: Any) -> bytes:
    """The admitter's response with other things inside, sealed and signed as it should be."""
    root, code = world.root, asked.invite.code
    response = response_of(world.answer(root, asked))
    request_hash = asked.joining.request.hash
    context = join_context(code.room, code.invite_id, code.token, request_hash)
    raw = unseal(asked.joining.join_key, response.cell, context)
    welcome = evolve(build(Welcome, parse_json(raw, max_bytes=RECORD_BYTES)), **fields)
    cell = seal(asked.joining.join_key, dump_json(unbuild(welcome)), context)
    return sign_record(root.mine.sign.private, evolve(response, cell=cell)).envelope


@pytest.mark.parametrize(
    "fields",
    [
        {"key": b"x" * 32},
        {"epoch": 1},
        {"key_commitment": Hash32(b"x" * 32)},
        {"ctl": b"x" * 32},
        {"seq": 0},
    ],
)
def test_the_log_must_bear_out_what_the_response_says(world: World, fields: dict[str, Any]) -> None:
    """Key, epoch, commitment, control head and position: each is checked against the chain."""
    asked = world.ask(world.root)
    envelope = resealed(world, asked, **fields)
    assert checked(world, asked.joining, envelope) is JoinFault.BAD_CHAIN


def test_a_key_for_one_joiner_alone_is_found_out(world: World) -> None:
    """An admitter who hands over another key than the log commits to raises the alarm."""
    asked = world.ask(world.root)
    envelope = resealed(world, asked, key=b"x" * 32)
    assert alert_of(lambda: check_response(asked.joining, world.relay.chain(), envelope))


def test_the_relay_can_not_hide_part_of_the_chain(world: World) -> None:
    """A chain cut short, forged or of another relay does not satisfy the joiner."""
    root = world.root
    asked = world.ask(root)
    envelope = world.answer(root, asked).response.envelope
    chain = world.relay.chain()
    for wrong in ([], chain[:1], chain[:-1], chain[1:], [(0, b"junk")]):
        fault = fault_of(lambda w=wrong: check_response(asked.joining, w, envelope))
        assert fault is JoinFault.BAD_CHAIN
    elsewhere = evolve(asked.joining.code, relay_id=RelayId(b"x" * 32))
    moved = evolve(asked.joining, code=elsewhere)
    assert checked(world, moved, envelope) is JoinFault.WRONG_ROOM


def test_the_chain_may_go_on_after_the_head_named(world: World) -> None:
    """Records after the admitter's control head do not matter to the joiner yet."""
    root = world.root
    asked = world.ask(root)
    answered = world.answer(root, asked)
    before = root.view.state
    world.invite(root)
    joined = check_response(asked.joining, world.relay.chain(), answered.response.envelope)
    assert joined.state == before


def test_an_invite_closed_before_the_answer_is_seen_by_the_joiner(world: World) -> None:
    """The head the response names must still have the invite open."""
    root = world.root
    asked = world.ask(root)
    view = root.view
    closing = make_invite_close(
        view.state, root.mine, view.seen, NOW, invite_id=asked.invite.code.invite_id
    )
    envelope = resealed(world, asked, ctl=closing.event_id, seq=view.log.seq + 1)
    world.control(closing)
    assert checked(world, asked.joining, envelope) is JoinFault.INVITE_UNKNOWN


def test_a_room_of_many_names_still_fits(world: World) -> None:
    """However long the names, the response stays within a record; some names come later."""
    root = world.root
    names = {p.mid: "\U0001f980" * 64 for p in world.people}
    state = root.view.state
    padded = {**state.members}
    for number in range(200):
        mid = tagged_hash("x", number)
        padded[mid] = state.member(root.mid)  # type: ignore[index]
        names[mid] = "\U0001f980" * 64  # type: ignore[index]
    told = joining._names_that_fit(evolve(state, members=padded), names)
    assert 3 <= len(told) < 200
    assert len(dump_json({"n": [[b"m".hex() * 20, n] for _, n in told]})) < RECORD_BYTES / 2


# -- the confirmation ----------------------------------------------------------------------------


def confirm_of(joined: Any) -> JoinConfirm:
    assert isinstance(joined.confirm.record, JoinConfirm)
    return joined.confirm.record


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"room": RoomId(b"x" * 32)}, JoinFault.WRONG_TRANSCRIPT),
        ({"invite_id": InviteId(b"x" * 16)}, JoinFault.WRONG_TRANSCRIPT),
        ({"mid": b"x" * 32}, JoinFault.WRONG_TRANSCRIPT),
        ({"request_hash": Hash32(b"x" * 32)}, JoinFault.WRONG_TRANSCRIPT),
        ({"response_hash": Hash32(b"x" * 32)}, JoinFault.WRONG_TRANSCRIPT),
        ({"epoch": 5}, JoinFault.EPOCH_MOVED),
        ({"cell": b"x" * 100}, JoinFault.BAD_CELL),
    ],
)
def test_a_confirmation_that_does_not_fit_is_refused(
    world: World, fields: dict[str, Any], fault: JoinFault
) -> None:
    """Each field of JOIN_CONFIRM changed by the joiner itself has its own refusal."""
    root = world.root
    asked = world.ask(root)
    answered, joined = world.respond(root, asked)
    confirm = evolve(confirm_of(joined), **fields)
    envelope = sign_record(asked.joining.keys.sign.private, confirm).envelope
    view = root.view
    assert fault_of(lambda: check_confirm(view.state, view.keys, answered, envelope)) is fault


def test_a_confirmation_is_the_joiners_own(world: World) -> None:
    """Signed by anyone else, or no confirmation at all: refused."""
    root, ana, _ = world.people
    asked = world.ask(root)
    answered, joined = world.respond(root, asked)
    view = root.view
    forged = sign_record(ana.mine.sign.private, confirm_of(joined)).envelope
    fault = fault_of(lambda: check_confirm(view.state, view.keys, answered, forged))
    assert fault is JoinFault.BAD_SIGNATURE
    for envelope in (answered.request.envelope, b"junk"):
        fault = fault_of(lambda e=envelope: check_confirm(view.state, view.keys, answered, e))
        assert fault is JoinFault.MALFORMED


@pytest.mark.parametrize("inside", [b"{}", b"x", b'{"request_hash":"x"}'])
def test_a_confirmation_is_checked_inside_too(world: World, inside: bytes) -> None:
    """Whoever holds the room key and seals something else has not confirmed."""
    root = world.root
    asked = world.ask(root)
    answered, joined = world.respond(root, asked)
    mid = asked.joining.keys.mid
    other = dump_json(unbuild(joining._Transcript(Hash32(b"x" * 32), answered.response.hash)))
    view = root.view
    for plaintext, fault in (
        (inside, JoinFault.BAD_CELL),
        (other, JoinFault.WRONG_TRANSCRIPT),
    ):
        cell = seal(view.keys.get(0), plaintext, confirm_context(view.room, mid, 0))
        confirm = evolve(confirm_of(joined), cell=cell)
        envelope = sign_record(asked.joining.keys.sign.private, confirm).envelope
        found = fault_of(lambda e=envelope: check_confirm(view.state, view.keys, answered, e))
        assert found is fault


def test_what_was_kept_of_a_join_is_a_request(world: World) -> None:
    """A store that gives back another record for the request is found out, not trusted."""
    root = world.root
    asked = world.ask(root)
    answered, joined = world.respond(root, asked)
    wrong = evolve(answered, request=answered.response)
    view = root.view
    fault = fault_of(lambda: check_confirm(view.state, view.keys, wrong, joined.confirm.envelope))
    assert fault is JoinFault.MALFORMED


# -- ADMIT ---------------------------------------------------------------------------------------


def test_admit_certifies_what_was_agreed(world: World) -> None:
    """Keys from the request, role from the invite, the confirmation's hash, history by the rule."""
    root, ana, _ = world.people
    world.rotate(root)
    world.say(ana, "since the rotation")
    asked = world.ask(root)
    answered, joined = world.respond(root, asked)
    admit = world.admit(root, answered, joined).record
    assert isinstance(admit, Admit)
    assert (admit.sign_key, admit.enc_key) == (
        asked.joining.keys.sign_key,
        asked.joining.keys.enc_key,
    )
    assert admit.confirm_hash == joined.confirm.hash
    assert admit.history_from == root.view.state.epoch_seq + 1


@pytest.mark.parametrize("where", ["invite", "policy"])
def test_history_from_the_join_on(where: str) -> None:
    """Where the invite or the room says so, a newcomer reads nothing from before its ADMIT."""
    by_policy = where == "policy"
    world = found_world(Policy(history=History.JOIN) if by_policy else None)
    ana = world.join("Ana")
    world.say(ana, "before")
    newcomer = world.join("Bo") if by_policy else world.join("Bo", history=History.JOIN)
    world.say(ana, "after")
    assert newcomer.heard == ["after"]


def test_an_admitter_can_not_swap_the_newcomers_box_key(world: World) -> None:
    """ADMIT with the joiner's identity but another box key: the joiner sees it and alerts."""
    root = world.root
    asked = world.ask(root)
    answered, joined = world.respond(root, asked)
    admit = world.admit(root, answered, joined).record
    assert isinstance(admit, Admit)
    with pytest.raises(JoinRejected) as early:
        check_admitted(root.view.state, asked.joining.keys)
    assert early.value.fault is JoinFault.BAD_CHAIN
    swapped_key = evolve(admit, enc_key=MemberKeys.generate().enc_key)
    world.control(sign_record(root.mine.sign.private, swapped_key))
    with pytest.raises(JoinRejected) as caught:
        check_admitted(root.view.state, asked.joining.keys)
    assert (caught.value.fault, caught.value.alert) == (JoinFault.BAD_KEY, True)


def test_no_admit_once_the_epoch_has_moved(world: World) -> None:
    """Even an admitter that forgets to check is refused by the state itself."""
    root = world.root
    asked = world.ask(root)
    answered, joined = world.respond(root, asked)
    world.rotate(root)
    view = root.view
    with pytest.raises(Refused) as caught:
        make_admit(view.state, root.mine, answered, joined.confirm, view.seen, NOW)
    assert caught.value.kind is Code.EPOCH_STALE


def test_join_rekey_asks_for_a_rotation_first() -> None:
    """With that policy, an owner rotates before it answers, unless nothing was said since."""
    world = found_world(Policy(join_rekey=True))
    root = world.root
    assert not rekey_first(root.view.state, root.view.log.seq)
    world.say(root, "secret from newcomers")
    assert rekey_first(root.view.state, root.view.log.seq)
    world.rotate(root)
    assert not rekey_first(root.view.state, root.view.log.seq)
    assert not rekey_first(found_world().root.view.state, 99)


# -- garbage -------------------------------------------------------------------------------------


JOIN: dict[str, Any] = {}


def a_join() -> dict[str, Any]:
    """One join, made once, up to its confirmation; nothing of it is committed."""
    if not JOIN:
        world = found_world()
        asked = world.ask(world.root)
        answered, joined = world.respond(world.root, asked)
        JOIN.update(world=world, asked=asked, answered=answered, joined=joined)
    return JOIN


@given(changes)
def test_any_changed_byte_of_a_request_fails_closed(change: Change) -> None:
    """One byte changed in JOIN_REQ: refused, or exactly the same signed request."""
    join = a_join()
    world, asked = join["world"], join["asked"]
    envelope = changed(asked.joining.request.envelope, change)
    request = evolve(asked.joining.request, envelope=envelope)
    try:
        answered = world.answer(
            world.root, evolve(asked, joining=evolve(asked.joining, request=request))
        )
    except JoinRejected:
        return
    assert answered.request.payload == asked.joining.request.payload


@given(changes)
def test_any_changed_byte_of_a_response_fails_closed(change: Change) -> None:
    """One byte changed in JOIN_RESP: refused, or exactly the same signed response."""
    join = a_join()
    envelope = changed(join["answered"].response.envelope, change)
    try:
        joined = check_response(join["asked"].joining, join["world"].relay.chain(), envelope)
    except JoinRejected:
        return
    assert joined.welcome == join["joined"].welcome
    assert peek(envelope).payload == join["answered"].response.payload


@given(changes)
def test_any_changed_byte_of_a_confirmation_fails_closed(change: Change) -> None:
    """One byte changed in JOIN_CONFIRM: refused, or exactly the same signed confirmation."""
    join = a_join()
    view = join["world"].root.view
    envelope = changed(join["joined"].confirm.envelope, change)
    try:
        signed = check_confirm(view.state, view.keys, join["answered"], envelope)
    except JoinRejected:
        return
    assert signed.payload == join["joined"].confirm.payload


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_only_rejected(raw: bytes) -> None:
    """No bytes make a join machine raise anything but JoinRejected."""
    join = a_join()
    view, chain = join["world"].root.view, join["world"].relay.chain()
    with pytest.raises(JoinRejected):
        answer_request(
            view.state, view.mine, view.keys, raw, token=b"t" * 32, seen=view.seen, now=NOW
        )
    with pytest.raises(JoinRejected):
        check_response(join["asked"].joining, chain, raw)
    with pytest.raises(JoinRejected):
        check_confirm(view.state, view.keys, join["answered"], raw)


def test_secrets_stay_out_of_reprs() -> None:
    """What is kept of a join can be logged: no J, no token, no room key."""
    join = a_join()
    shown = repr([join["asked"], join["answered"], join["joined"]])
    for secret in (
        join["asked"].joining.join_key,
        join["asked"].invite.code.token,
        join["joined"].welcome.key,
        join["asked"].joining.keys.sign.private,
    ):
        assert repr(secret)[2:-1] not in shown
