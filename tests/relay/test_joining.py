"""Joining (protocol.md §2.3 JOIN; tests 4, 6, 7, 8, 9, 13)."""

from __future__ import annotations

import pytest
from attrs import frozen

from ofcd.compliance.p256 import off_curve_key
from ofcd.protocol import frames, records
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import (
    MemberId,
    PublicKey,
    RelayId,
    RoomId,
)
from ofcd.relay import RelayPolicy, Reply
from ofcd.relay.facts import JoinDropped
from ofcd.themis.signed import peek, sign_record
from tests.relay.world import (
    DAY,
    Person,
    World,
    admit_to,
    digest,
    found_room,
    invite_named,
    keypair,
)

INVITE = invite_named("invite")


@frozen
class Scene:
    """Ana's room with one open invite, and Cy who has its token."""

    world: World
    ana: Person
    cy: Person

    def ask(self) -> frames.Join:
        join = self.cy.join(INVITE)
        self.world.expect(frames.JoinStatus, self.cy.link, join)
        return join

    def answer(self, join: frames.Join) -> frames.JoinAnswer:
        answer = self.ana.answer(join)
        self.world.expect(frames.Done, self.ana.link, answer)
        return answer

    def confirm(self, join: frames.Join, answer: frames.JoinAnswer) -> frames.JoinConfirm:
        confirm = self.cy.confirm(join, answer)
        self.world.expect(frames.JoinStatus, self.cy.link, confirm)
        return confirm

    def until_confirmed(self) -> tuple[frames.Join, frames.JoinConfirm]:
        join = self.ask()
        return join, self.confirm(join, self.answer(join))

    def rival(self, name: str = "di") -> Person:
        return Person(self.world, name, self.ana.room)


@pytest.fixture
def scene() -> Scene:
    world = World()
    ana = found_room(world)
    ana.do(ana.invite(INVITE))
    return Scene(world, ana, Person(world, "cy", ana.room))


# -- the way in ----------------------------------------------------------------------------------


def test_the_whole_way_in(scene: Scene) -> None:
    """Each step tells the other side, and only ADMIT makes a member."""
    world, ana, cy = scene.world, scene.ana, scene.cy
    join = scene.ask()
    assert world.received(ana.link, frames.JoinAsked) == [frames.JoinAsked(ana.room, join.record)]
    answer = scene.answer(join)
    assert world.received(cy.link, frames.JoinAnswer) == [
        frames.JoinAnswer(0, ana.room, answer.record)
    ]
    confirm = scene.confirm(join, answer)
    assert world.received(ana.link, frames.JoinConfirmed)[0].record == confirm.record
    assert cy.mid not in ana.log.state.members
    ana.do(ana.admit(cy, join, confirm))
    assert cy.mid in ana.log.state.members
    states = [status.state for status in world.received(cy.link, frames.JoinStatus)]
    assert states == ["pending", "confirmed", "admitted"]
    cy.come()
    cy.say()


def test_the_token_opens_the_control_log(scene: Scene) -> None:
    """Who holds an open invite may read the chain that proves the inviter's right."""
    page = scene.world.expect(frames.ChainPage, scene.cy.link, scene.cy.lookup(INVITE))
    chain = [entry.record for entry in scene.world.store.rooms[scene.ana.room].log.values()]
    assert (list(page.records), page.more) == (chain, False)
    later = scene.world.expect(frames.ChainPage, scene.cy.link, scene.cy.lookup(INVITE, start=1))
    assert later.seqs == (1,)


def test_pages_of_the_control_log_are_bounded() -> None:
    """A long log comes in pages; `more` says to ask again."""
    world = World(RelayPolicy(sync_page_events=1))
    ana = found_room(world)
    ana.do(ana.invite(INVITE))
    page = world.expect(frames.ChainPage, ana.link, frames.ChainGet(1, ana.room, 0))
    assert (page.seqs, page.more) == ((0,), True)


def test_without_a_good_token_all_failures_are_alike(scene: Scene) -> None:
    """Test 4: no such room, unknown, closed, expired, wrong proof: `invite_unknown`, one text."""
    world, ana, cy = scene.world, scene.ana, scene.cy
    closed, unknown = invite_named("closed"), invite_named("unknown")
    ana.do(ana.invite(closed))
    ana.do(ana.control(records.InviteClose, invite_id=closed))
    elsewhere = RoomId(digest("no such room"))
    frames_refused: list[frames.ClientFrame] = [
        make(**fields)
        for make in (cy.lookup, cy.join)
        for fields in (
            {"invite_id": unknown},
            {"invite_id": closed},
            {"invite_id": INVITE, "proof": digest("wrong")},
            {"invite_id": INVITE, "room": elsewhere},
        )
    ]
    failures = [world.refused(cy.link, frame) for frame in frames_refused]
    world.now += DAY
    failures += [world.refused(cy.link, make(INVITE)) for make in (cy.lookup, cy.join)]
    assert {(f.code, f.text) for f in failures} == {(Code.INVITE_UNKNOWN, failures[0].text)}
    assert world.received(ana.link, frames.JoinAsked) == []


def test_guessing_invites_is_rate_limited() -> None:
    """Wrong proofs cost a link its guesses; then it has to wait, right or wrong."""
    world = World(RelayPolicy(failed_lookups_per_minute_per_link=1))
    ana = found_room(world)
    ana.do(ana.invite(INVITE))
    cy = Person(world, "cy", ana.room)
    assert world.code(cy.link, cy.lookup(INVITE, proof=digest("x"))) == Code.INVITE_UNKNOWN
    assert world.code(cy.link, cy.lookup(INVITE)) == Code.RATE_LIMITED
    world.now += 60_000
    world.expect(frames.ChainPage, cy.link, cy.lookup(INVITE))


# -- JOIN_REQ ------------------------------------------------------------------------------------


def test_a_join_request_is_signed_by_the_key_it_names(scene: Scene) -> None:
    """Someone else's signature is refused, and the admitter hears nothing."""
    forged = sign_record(keypair("eve sign").private, scene.cy.join_request(INVITE).record)
    frame = frames.Join(1, forged.envelope)
    assert scene.world.code(scene.cy.link, frame) == Code.BAD_SIGNATURE
    assert scene.world.received(scene.ana.link, frames.JoinAsked) == []


def test_wrong_join_requests_have_their_codes(scene: Scene) -> None:
    """A stranger box, another home, one key for two purposes, a box too large."""
    world, cy = scene.world, scene.cy
    stranger = (MemberId(digest("x")), b"jbox")
    twice = ((scene.ana.mid, b"a"), (scene.ana.mid, b"b"))
    assert world.code(cy.link, cy.join(INVITE, boxes=(stranger,))) == Code.BOX_LIST_MISMATCH
    assert world.code(cy.link, cy.join(INVITE, boxes=twice)) == Code.BOX_LIST_MISMATCH
    huge = ((scene.ana.mid, b"x" * 4097),)
    assert world.code(cy.link, cy.join(INVITE, boxes=huge)) == Code.TOO_LARGE
    home = RelayId(digest("another relay"))
    assert world.code(cy.link, cy.join(INVITE, home=home)) == Code.WRONG_RELAY
    one_key = PublicKey(cy.sign.public)
    assert world.code(cy.link, cy.join(INVITE, enc_key=one_key)) == Code.BAD_KEY


def test_members_past_and_present_do_not_join_again(scene: Scene) -> None:
    """A key is a member once: who left needs a new one."""
    world, ana = scene.world, scene.ana
    bo = admit_to(ana, "bo")
    assert world.code(bo.link, bo.join(INVITE)) == Code.ALREADY_MEMBER
    bo.do(bo.leave())
    assert world.code(bo.link, bo.join(INVITE)) == Code.ALREADY_MEMBER


def test_a_repeated_request_learns_how_far_it_has_come(scene: Scene) -> None:
    """Test 7: the answer was lost; ten retries get the identical one, also after a restart."""
    world, cy, ana = scene.world, scene.cy, scene.ana
    join = scene.ask()
    answer = scene.answer(join)
    facts = len(world.facts)
    for attempt in range(10):
        if attempt == 5:
            world.relay.forget([ana.room])
            world.close_link(cy.link)
            cy.link = world.open_link("cy")
        status = world.expect(frames.JoinStatus, cy.link, join)
        assert (status.state, status.record) == ("answered", answer.record)
    assert len(world.facts) == facts
    confirm = scene.confirm(join, answer)
    ana.do(ana.admit(cy, join, confirm))
    assert world.expect(frames.JoinStatus, cy.link, join).state == "admitted"
    assert list(ana.log.state.members) == [ana.mid, cy.mid]
    assert ana.log.state.invites == {}


def test_an_invite_sees_a_bounded_number_of_requests(scene: Scene) -> None:
    """Three different requests; the fourth is refused, until one has waited its days."""
    world = scene.world
    for name in ("j1", "j2", "j3"):
        person = scene.rival(name)
        world.expect(frames.JoinStatus, person.link, person.join(INVITE))
    fourth = scene.rival("j4")
    assert world.code(fourth.link, fourth.join(INVITE)) == Code.QUOTA


def test_requests_wait_some_days_and_are_then_dropped() -> None:
    """The admitter may be offline for a week; after that the request is gone, and told so."""
    world = World()
    ana = found_room(world)
    ana.do(ana.invite(INVITE, expires=world.now + 30 * DAY))
    cy = Person(world, "cy", ana.room)
    join = cy.join(INVITE)
    world.expect(frames.JoinStatus, cy.link, join)
    world.now += 7 * DAY
    assert world.relay.tick(world.now).facts == ()
    world.now += 1
    assert world.code(ana.link, ana.answer(join)) == Code.INVITE_UNKNOWN
    asked = peek(join.record)
    decision = world.relay.tick(world.now)
    assert decision.facts == (JoinDropped(ana.room, INVITE, asked.hash),)
    world.commit(decision)
    assert world.expect(frames.JoinStatus, cy.link, join).state == "pending"


def test_pending_requests_wait_for_the_admitter(scene: Scene) -> None:
    """An admitter who attaches is told of what is pending, and of what is confirmed."""
    world, ana = scene.world, scene.ana
    world.close_link(ana.link)
    join = scene.ask()
    ana.link = world.open_link("ana")
    ana.come()
    assert world.received(ana.link, frames.JoinAsked) == [frames.JoinAsked(ana.room, join.record)]
    scene.confirm(join, scene.answer(join))
    world.close_link(ana.link)
    ana.link = world.open_link("ana")
    ana.come()
    assert len(world.received(ana.link, frames.JoinConfirmed)) == 1
    assert world.received(ana.link, frames.JoinAsked) == []


# -- two bearers of one invite ---------------------------------------------------------------------


def test_of_two_joiners_with_one_invite_one_is_admitted(scene: Scene) -> None:
    """Test 6: the first answered wins; the other gets `invite_used`, the owner sees it."""
    world, ana, cy, di = scene.world, scene.ana, scene.cy, scene.rival()
    first, second = scene.ask(), di.join(INVITE)
    world.expect(frames.JoinStatus, di.link, second)
    answer = scene.answer(first)
    assert world.code(ana.link, ana.answer(second)) == Code.INVITE_USED
    ana.do(ana.admit(cy, first, scene.confirm(first, answer)))
    assert world.code(ana.link, ana.answer(second)) == Code.INVITE_USED
    warned = len(world.received(ana.link, frames.JoinAsked))
    assert world.code(di.link, second) == Code.INVITE_USED
    assert len(world.received(ana.link, frames.JoinAsked)) == warned + 1
    assert list(ana.log.state.members) == [ana.mid, cy.mid]
    assert [join.row.mid for join in ana.log.joins.values()] == [cy.mid]


def test_after_an_answer_no_new_request_is_taken(scene: Scene) -> None:
    """A second bearer who comes late is refused, and the admitters are warned."""
    world, ana, di = scene.world, scene.ana, scene.rival()
    scene.answer(scene.ask())
    late = di.join(INVITE)
    assert world.code(di.link, late) == Code.INVITE_USED
    assert world.received(ana.link, frames.JoinAsked)[-1].record == late.record
    assert world.code(di.link, di.lookup(INVITE, proof=digest("x"))) == Code.INVITE_UNKNOWN


def test_trying_a_used_invite_is_a_guess() -> None:
    """A late bearer who keeps trying has to wait: the admitters are not to be flooded."""
    world = World(RelayPolicy(failed_lookups_per_minute_per_link=1))
    ana = found_room(world)
    ana.do(ana.invite(INVITE))
    cy, di = Person(world, "cy", ana.room), Person(world, "di", ana.room)
    join = cy.join(INVITE)
    world.expect(frames.JoinStatus, cy.link, join)
    world.expect(frames.Done, ana.link, ana.answer(join))
    assert world.code(di.link, di.join(INVITE)) == Code.INVITE_USED
    assert world.code(di.link, di.join(INVITE)) == Code.RATE_LIMITED


def test_a_joiner_who_comes_back_to_confirm_hears_of_the_admission(scene: Scene) -> None:
    """On the new link it only sent the confirmation; the admission is pushed there."""
    world, ana, cy = scene.world, scene.ana, scene.cy
    join = scene.ask()
    answer = scene.answer(join)
    world.close_link(cy.link)
    cy.link = world.open_link("cy")
    confirm = scene.confirm(join, answer)
    ana.do(ana.admit(cy, join, confirm))
    assert world.received(cy.link, frames.JoinStatus)[-1].state == "admitted"


def test_a_used_invite_is_used_only_to_who_holds_its_token(scene: Scene) -> None:
    """With the token: `invite_used`. Without: `invite_unknown`, as for any other."""
    world, ana, di = scene.world, scene.ana, scene.rival()
    join, confirm = scene.until_confirmed()
    ana.do(ana.admit(scene.cy, join, confirm))
    world.relay.forget([ana.room])
    assert world.code(di.link, di.lookup(INVITE)) == Code.INVITE_USED
    assert world.code(di.link, di.join(INVITE)) == Code.INVITE_USED
    assert world.code(di.link, di.join(INVITE, proof=digest("x"))) == Code.INVITE_UNKNOWN


# -- JOIN_RESP and JOIN_CONFIRM --------------------------------------------------------------------


def test_only_a_listed_admitter_answers(scene: Scene) -> None:
    """Neither a plain member nor an admitter of other invites."""
    world, ana = scene.world, scene.ana
    bo = admit_to(ana, "bo")
    co = admit_to(ana, "co", records.Role.CO_OWNER)
    join = scene.ask()
    assert world.code(bo.link, bo.answer(join)) == Code.FORBIDDEN
    assert world.code(co.link, co.answer(join)) == Code.FORBIDDEN
    assert world.code(ana.link, ana.answer(join, to=bo.mid)) == Code.BAD_RECORD
    assert world.code(ana.link, ana.answer(join, request_hash=digest("x"))) == Code.INVITE_UNKNOWN


def test_an_answer_may_be_replaced_by_its_admitter(scene: Scene) -> None:
    """When the epoch moved on; the confirmation of the old answer is void then."""
    world, ana, cy = scene.world, scene.ana, scene.cy
    join = scene.ask()
    first = scene.answer(join)
    ana.do(ana.rekey())
    second = ana.answer(join, cell=b"the next key")
    world.expect(frames.Done, ana.link, second)
    assert world.received(cy.link, frames.JoinAnswer)[-1].record == second.record
    assert world.code(cy.link, cy.confirm(join, first)) == Code.JOIN_NOT_READY
    ana.do(ana.admit(cy, join, scene.confirm(join, second)))


def test_another_admitter_does_not_replace_an_answer() -> None:
    """The joiner confirms one transcript: the first admitter's."""
    world = World()
    ana = found_room(world)
    co = admit_to(ana, "co", records.Role.CO_OWNER)
    boxes = ((co.mid, b"tbox"),)
    ana.do(ana.invite(INVITE, admitters=(ana.mid, co.mid), token_boxes=boxes))
    cy = Person(world, "cy", ana.room)
    join = cy.join(INVITE)
    world.expect(frames.JoinStatus, cy.link, join)
    answer = co.answer(join)
    world.expect(frames.Done, co.link, answer)
    assert world.code(ana.link, ana.answer(join)) == Code.INVITE_USED
    confirm = cy.confirm(join, answer)
    world.expect(frames.JoinStatus, cy.link, confirm)
    for admitter in (ana, co):
        assert world.received(admitter.link, frames.JoinConfirmed)[-1].record == confirm.record
    ana.do(ana.admit(cy, join, confirm))


def test_an_admitter_who_lost_the_right_answers_no_more() -> None:
    """Listed in an invite that another may still answer: neither told of it nor heard."""
    world = World()
    ana = found_room(world)
    co = admit_to(ana, "co", records.Role.CO_OWNER)
    boxes = ((co.mid, b"tbox"),)
    ana.do(ana.invite(INVITE, admitters=(ana.mid, co.mid), token_boxes=boxes))
    ana.do(ana.grant(co.mid, records.Role.MEMBER))
    cy = Person(world, "cy", ana.room)
    join = cy.join(INVITE)
    world.expect(frames.JoinStatus, cy.link, join)
    assert world.code(co.link, co.answer(join)) == Code.FORBIDDEN
    world.close_link(co.link)
    co.link = world.open_link("co")
    co.come()
    assert world.received(co.link, frames.JoinAsked) == []
    answer = ana.answer(join)
    world.expect(frames.Done, ana.link, answer)
    world.expect(frames.JoinStatus, cy.link, cy.confirm(join, answer))
    assert world.received(co.link, frames.JoinConfirmed) == []


def test_a_confirmation_needs_its_answer(scene: Scene) -> None:
    """Not before it, not for another one, not by another key."""
    world, ana, cy = scene.world, scene.ana, scene.cy
    join = scene.ask()
    early = ana.answer(join)
    assert world.code(cy.link, cy.confirm(join, early)) == Code.JOIN_NOT_READY
    answer = scene.answer(join)
    wrong = cy.confirm(join, answer, response_hash=digest("x"))
    assert world.code(cy.link, wrong) == Code.JOIN_NOT_READY
    di = scene.rival()
    assert world.code(di.link, di.confirm(join, answer)) == Code.BAD_RECORD
    forged = di.confirm(join, answer, mid=cy.mid)
    assert world.code(di.link, forged) == Code.BAD_SIGNATURE
    unknown = cy.confirm(join, answer, request_hash=digest("x"))
    assert world.code(cy.link, unknown) == Code.INVITE_UNKNOWN


def test_a_repeated_confirmation_changes_nothing(scene: Scene) -> None:
    """Before and after the admission."""
    world, ana, cy = scene.world, scene.ana, scene.cy
    join, confirm = scene.until_confirmed()
    facts = len(world.facts)
    assert world.expect(frames.JoinStatus, cy.link, confirm).state == "confirmed"
    assert len(world.facts) == facts
    ana.do(ana.admit(cy, join, confirm))
    facts = len(world.facts)
    assert world.expect(frames.JoinStatus, cy.link, confirm).state == "admitted"
    assert len(world.facts) == facts


# -- ADMIT ---------------------------------------------------------------------------------------


def test_an_admission_needs_the_stored_confirmation(scene: Scene) -> None:
    """Tests 8 and 13: no half member, no other keys, no other transcript."""
    world, ana, cy = scene.world, scene.ana, scene.cy
    join = scene.ask()
    answer = scene.answer(join)
    unsent = cy.confirm(join, answer)
    assert world.code(ana.link, ana.admit(cy, join, unsent)) == Code.JOIN_NOT_READY
    confirm = scene.confirm(join, answer)
    other = PublicKey(keypair("other enc").public)
    cases = {
        Code.FORBIDDEN: ana.admit(cy, join, confirm, enc_key=other),
        Code.JOIN_NOT_READY: ana.admit(cy, join, confirm, confirm_hash=digest("x")),
        Code.INVITE_UNKNOWN: ana.admit(cy, join, confirm, invite_id=invite_named("x")),
        Code.EPOCH_STALE: ana.admit(cy, join, confirm, epoch=1),
    }
    for code, frame in cases.items():
        assert world.code(ana.link, frame) == code
    twin = ana.admit(cy, join, confirm, sign_key=other)
    assert world.code(ana.link, twin) == Code.JOIN_NOT_READY
    more = ana.admit(cy, join, confirm, role=records.Role.CO_OWNER)
    assert world.code(ana.link, more) == Code.FORBIDDEN
    past = ana.admit(cy, join, confirm, history_from=0)
    assert world.code(ana.link, past) == Code.FORBIDDEN


def test_a_key_off_the_curve_is_no_key(scene: Scene) -> None:
    """Taken here and refused by every client, one member's junk would freeze the room for all."""
    off_curve = PublicKey(off_curve_key())
    assert scene.world.code(scene.cy.link, scene.cy.join(INVITE, enc_key=off_curve)) == Code.BAD_KEY
    fresh = Person(scene.world, "founder")
    assert scene.world.code(fresh.link, fresh.create(enc_key=off_curve)) == Code.BAD_KEY


def test_the_uncompressed_twin_of_a_key_is_no_key(scene: Scene) -> None:
    """Test 13: a key in another encoding never parses, so it is no second identity."""
    world, ana, cy = scene.world, scene.ana, scene.cy
    join, confirm = scene.until_confirmed()
    twin = PublicKey(cy.sign.public + b"\0" * 32)
    assert world.code(ana.link, ana.admit(cy, join, confirm, sign_key=twin)) == Code.BAD_KEY


def test_a_key_that_moved_on_must_be_answered_anew(scene: Scene) -> None:
    """The confirmation shows the old epoch's key: ADMIT is `epoch_stale` until RESP is renewed."""
    world, ana, cy = scene.world, scene.ana, scene.cy
    join, confirm = scene.until_confirmed()
    ana.do(ana.rekey())
    assert world.code(ana.link, ana.admit(cy, join, confirm)) == Code.EPOCH_STALE
    answer = ana.answer(join, cell=b"the next key")
    world.expect(frames.Done, ana.link, answer)
    ana.do(ana.admit(cy, join, scene.confirm(join, answer)))


def test_an_admission_survives_a_restart_before_it(scene: Scene) -> None:
    """Test 8: the relay dies between CONFIRM and ADMIT; afterwards it can be finished."""
    join, confirm = scene.until_confirmed()
    scene.world.relay.forget([scene.ana.room])
    scene.ana.do(scene.ana.admit(scene.cy, join, confirm))
    scene.cy.come()


def test_a_failed_admission_leaves_no_half_member(scene: Scene) -> None:
    """Test 8: the commit fails; invite and confirmation are still there."""
    world, ana, cy = scene.world, scene.ana, scene.cy
    join, confirm = scene.until_confirmed()
    frame = ana.admit(cy, join, confirm)
    assert world.decide(ana.link, frame).facts
    world.relay.forget([ana.room])
    assert cy.mid not in ana.log.state.members
    assert world.code(cy.link, cy.attach()) == Code.NOT_FOUND
    ana.do(frame)
    cy.come()


def test_an_admission_of_another_room_or_time_is_refused(scene: Scene) -> None:
    """Test 9, the relay's part: replayed elsewhere, or again after an eviction."""
    world, ana, cy = scene.world, scene.ana, scene.cy
    join, confirm = scene.until_confirmed()
    admit = ana.admit(cy, join, confirm)
    first = ana.do(admit)
    di = found_room(world, "di")
    moved = frames.Control(1, di.room, admit.record)
    assert world.code(di.link, moved) == Code.BAD_RECORD
    ana.do(ana.rekey_boxed(cy.mid))
    assert world.send(ana.link, admit) == first
    assert cy.mid not in ana.log.state.members
    again = ana.admit(cy, join, confirm)
    assert world.code(ana.link, again) == Code.INVITE_UNKNOWN


def test_a_full_room_hands_out_no_key() -> None:
    """The room's own limit and the relay's hold before anything is sealed for a stranger."""
    world = World(RelayPolicy(members_per_room=2))
    ana = found_room(world)
    for name in ("one", "two"):
        ana.do(ana.invite(invite_named(name)))
    bo, cy = Person(world, "bo", ana.room), Person(world, "cy", ana.room)
    first, second = bo.join(invite_named("one")), cy.join(invite_named("two"))
    world.expect(frames.JoinStatus, bo.link, first)
    world.expect(frames.JoinStatus, cy.link, second)
    answer, late = ana.answer(first), ana.answer(second)
    world.expect(frames.Done, ana.link, answer)
    world.expect(frames.Done, ana.link, late)
    confirm, late_confirm = bo.confirm(first, answer), cy.confirm(second, late)
    world.expect(frames.JoinStatus, bo.link, confirm)
    world.expect(frames.JoinStatus, cy.link, late_confirm)
    ana.do(ana.admit(bo, first, confirm))
    assert world.code(ana.link, ana.admit(cy, second, late_confirm)) == Code.ROOM_FULL
    changed = ana.answer(second, cell=b"again")
    assert world.code(ana.link, changed) == Code.ROOM_FULL
    di = Person(world, "di", ana.room)
    ana.do(ana.invite(invite_named("three")))
    assert world.code(di.link, di.join(invite_named("three"))) == Code.ROOM_FULL


def test_closing_an_invite_drops_its_requests(scene: Scene) -> None:
    """RESP sent but no CONFIRM: the owner closes the invite, and the joiner is out."""
    world, ana, cy = scene.world, scene.ana, scene.cy
    join = scene.ask()
    answer = scene.answer(join)
    ana.do(ana.control(records.InviteClose, invite_id=INVITE))
    assert ana.log.joins == {}
    assert world.code(cy.link, cy.confirm(join, answer)) == Code.INVITE_UNKNOWN
    assert world.code(cy.link, join) == Code.INVITE_UNKNOWN
    ana.do(ana.rekey_boxed())


def test_joins_followed_by_a_link_are_bounded() -> None:
    """A link that asks into many rooms is told without asking only of the last it asked for."""
    world = World(RelayPolicy(joins_per_link=2))
    ana = found_room(world)
    cy = Person(world, "cy", ana.room)
    joins = []
    for name in ("one", "two", "three"):
        ana.do(ana.invite(invite_named(name)))
        joins.append(cy.join(invite_named(name)))
    for join in (joins[0], joins[1], joins[0], joins[2]):
        world.expect(frames.JoinStatus, cy.link, join)
    answers = [ana.answer(join) for join in joins]
    for answer in answers:
        world.expect(frames.Done, ana.link, answer)
    pushed = [answer.record for answer in world.received(cy.link, frames.JoinAnswer)]
    assert pushed == [answers[0].record, answers[2].record]
    link = world.relay._core.links.get(cy.link)
    assert link is not None
    assert len(link.joins) == 2


def test_nothing_is_pushed_to_a_joiner_who_is_gone(scene: Scene) -> None:
    """A closed link follows no join."""
    join = scene.ask()
    scene.world.close_link(scene.cy.link)
    decision = scene.world.decide(scene.ana.link, scene.ana.answer(join))
    assert [type(effect) for effect in decision.effects] == [Reply]


def test_a_joiner_who_asks_twice_is_one_member(scene: Scene) -> None:
    """Two requests of one key under one invite: the confirmed one is admitted, the other gone."""
    world, ana, cy = scene.world, scene.ana, scene.cy
    first = cy.join(INVITE, nonce=digest("an earlier try"))
    world.expect(frames.JoinStatus, cy.link, first)
    join, confirm = scene.until_confirmed()
    ana.do(ana.admit(cy, join, confirm))
    assert [row.row.request for row in ana.log.joins.values()] == [join.record]
    assert world.code(cy.link, first) == Code.INVITE_USED
