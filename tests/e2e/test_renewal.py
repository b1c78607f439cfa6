"""UPDATE_E end to end: whose key opens what, before, at, and after a renewal."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from ofcd.compliance.p256 import off_curve_key, uncompressed_twin
from ofcd.e2e.boxes import KeyBox, Party, open_box, seal_box
from ofcd.e2e.chain import apply_verified, verify_chain
from ofcd.e2e.controls import make_key_update
from ofcd.e2e.epochs import make_boxed_rekey, make_key_answer, make_key_request, next_renewal
from ofcd.e2e.errors import BoxRejected, KeyMissing, KeyRejected
from ofcd.e2e.invites import make_invite
from ofcd.e2e.joining import check_admitted
from ofcd.e2e.keys import MemberKeys
from ofcd.e2e.trust import fingerprint, safety_number
from ofcd.protocol.codes import Code, Malformed, Refused
from ofcd.protocol.ids import EventId, Hash32, MemberId, PublicKey, RoomId
from ofcd.protocol.records import Role, UpdateKey
from ofcd.themis import generate_keypair
from ofcd.themis.signed import SignedRecord, sign_record
from tests.e2e.world import DAY, NOW, RELAY_URL, World, found_world, renew

ROOM = RoomId(b"r" * 32)
CONTENT = KeyBox(1, Hash32(b"h" * 32), EventId(b"h" * 32), b"k" * 32)


@pytest.fixture
def world() -> World:
    world = found_world()
    world.join("bo")
    return world


def troubles(world: World) -> list[object]:
    return [t for person in world.people for taken in person.taken for t in taken.troubles]


def test_a_former_key_opens_until_it_is_deleted() -> None:
    """A box made just before; then for the new key alone."""
    ana, bo, pair = MemberKeys.generate(), MemberKeys.generate(), generate_keypair()
    boxed = seal_box(ana, Party(bo.mid, bo.enc_key), ROOM, CONTENT)
    turned = bo.holding(pair).turned_to(PublicKey(pair.public))
    assert turned.enc_key == pair.public
    assert turned.mid == bo.mid
    sender = Party(ana.mid, ana.enc_key)
    assert open_box(turned, sender, ROOM, KeyBox, boxed) == CONTENT
    healed = turned.current_only()
    with pytest.raises(BoxRejected, match="does not open"):
        open_box(healed, sender, ROOM, KeyBox, boxed)
    boxed = seal_box(ana, Party(bo.mid, healed.enc_key), ROOM, CONTENT)
    assert open_box(healed, sender, ROOM, KeyBox, boxed) == CONTENT
    with pytest.raises(BoxRejected, match="does not open"):
        open_box(bo, sender, ROOM, KeyBox, boxed)


def test_a_reflected_box_is_refused_under_every_key_held() -> None:
    """Bo's box for Ana, shown to Bo as Ana's: made by a former key of his, it decrypts."""
    ana, bo, pair = MemberKeys.generate(), MemberKeys.generate(), generate_keypair()
    boxed = seal_box(bo, Party(ana.mid, ana.enc_key), ROOM, CONTENT)
    turned = bo.holding(pair).turned_to(PublicKey(pair.public))
    with pytest.raises(BoxRejected, match="another sender"):
        open_box(turned, Party(ana.mid, ana.enc_key), ROOM, KeyBox, boxed)


def test_a_key_that_is_not_held_turns_nothing() -> None:
    """What the log says of a lost key does not change what is here."""
    mine = MemberKeys.generate().holding(generate_keypair())
    assert mine.turned_to(PublicKey(generate_keypair().public)) is mine
    assert mine.turned_to(mine.enc_key) is mine


def test_everyone_boxes_for_and_by_the_new_keys(world: World) -> None:
    """The owner renews, the member renews, both renew: each boxed rotation opens for both."""
    root, bo = world.people
    for who in (root, bo, root):
        renew(world, who)
        key = world.rotate_boxed(root).key
        assert all(p.view.keys.get(p.view.state.epoch) == key for p in world.people)
    assert troubles(world) == []
    assert root.mine.enc_key == root.view.state.member(root.mid).enc_key
    assert len(root.mine.others) == 2


def test_who_lost_the_new_key_gets_no_room_key_and_makes_no_box(world: World) -> None:
    """Restored from a backup: the box is rejected, and the client refuses to box for others."""
    root, bo = world.people
    renew(world, bo, hold=False)
    world.rotate_boxed(root)
    [trouble] = bo.taken[-1].troubles
    assert isinstance(trouble, KeyRejected | KeyMissing)
    renew(world, root, hold=False)
    view = root.view
    with pytest.raises(Refused) as caught:
        make_boxed_rekey(view.state, root.mine, view.seen, NOW)
    assert caught.value.code == Code.BAD_KEY
    asked = make_key_request(bo.view.state, bo.mine, NOW).envelope
    with pytest.raises(Refused) as caught:
        make_key_answer(view.state, root.mine, view.keys, asked)
    assert caught.value.code == Code.BAD_KEY
    with pytest.raises(Refused) as caught:
        make_invite(view.state, root.mine, view.seen, NOW, relay_url=RELAY_URL, expires=NOW + DAY)
    assert caught.value.code == Code.BAD_KEY


def test_a_box_for_the_key_before_is_unopenable_after_the_deletion(world: World) -> None:
    """An owner kept in the dark boxes for Bo's former key: its record does not even apply."""
    root, bo = world.people
    stale = root.view
    renew(world, bo)
    made = make_boxed_rekey(stale.state, root.mine, stale.seen, NOW)
    with pytest.raises(Refused) as caught:
        apply_verified(root.view.state, made.signed.envelope, root.view.log.seq + 1)
    assert caught.value.code == Code.CONFLICT


def signed_update(world: World, enc_key: bytes, **changes: Any) -> SignedRecord:
    bo = world.people[1]
    made = make_key_update(
        bo.view.state, bo.mine, bo.view.seen, NOW, PublicKey(generate_keypair().public)
    ).record
    assert isinstance(made, UpdateKey)
    record = evolve(made, enc_key=PublicKey(enc_key), **changes)
    return sign_record(bo.mine.sign.private, record)


def refusal_of(world: World, signed: SignedRecord) -> Code:
    view = world.root.view
    with pytest.raises((Refused, Malformed)) as caught:
        apply_verified(view.state, signed.envelope, view.log.seq + 1)
    return Code(caught.value.code)


def test_hostile_keys_and_signers_are_refused(world: World) -> None:
    """Off the curve, uncompressed, RSA; another's; signed by another, or by no member."""
    root, bo = world.people
    assert refusal_of(world, signed_update(world, off_curve_key())) == Code.BAD_KEY
    for wrong in (uncompressed_twin(bo.mine.enc_key), b"RUB2" + bytes(41), b"UEC2"):
        assert refusal_of(world, signed_update(world, wrong)) == Code.BAD_KEY
    assert refusal_of(world, signed_update(world, root.mine.enc_key)) == Code.BAD_KEY
    fresh = generate_keypair().public
    as_root = signed_update(world, fresh, mid=root.mid)
    assert refusal_of(world, as_root) == Code.BAD_SIGNATURE
    stranger = signed_update(world, fresh, mid=MemberKeys.generate().mid)
    assert refusal_of(world, stranger) == Code.NOT_FOUND
    good = signed_update(world, fresh)
    world.control(good)
    assert refusal_of(world, good) == Code.CONFLICT


def test_numbers_stay_and_the_replayed_log_agrees(world: World) -> None:
    """Safety number and fingerprint are those of before; a newcomer's replay leads to the same."""
    root, bo = world.people

    def numbers() -> list[str]:
        state = root.view.state
        one, two = state.member(root.mid), state.member(bo.mid)
        return [safety_number(state, one, two), fingerprint(one), fingerprint(two)]

    before = numbers()
    renew(world, bo)
    renew(world, root)
    assert numbers() == before
    assert verify_chain(world.relay.room, world.relay.chain()) == root.view.state


def test_only_an_admitters_word_is_an_alarm(world: World) -> None:
    """A key that is not here: by ADMIT, somebody else reads our boxes; by UPDATE_E, we lost it."""
    bo = world.people[1]
    renew(world, bo, hold=False)
    assert check_admitted(bo.view.state, bo.mine).has_renewed


@pytest.mark.parametrize(
    ("members", "days"), [(2, 1), (35, 1), (70, 2), (500, 14)], ids=lambda n: str(n)
)
def test_when_a_key_is_renewed(world: World, members: int, days: int) -> None:
    """A day after it was set, in large rooms later, and not before it was of use."""
    root = world.root
    state = root.view.state
    [me, other] = state.members.values()
    crowd = {MemberId(bytes([n // 256, n % 256]) * 16): other for n in range(members - 2)}
    state = evolve(state, members={**state.members, **crowd})
    at = NOW + days * DAY

    def due(**changes: Any) -> int | None:
        made = {me.mid: evolve(me, **changes)}
        return next_renewal(evolve(state, members={**state.members, **made}), me.mid, at)

    assert due(renewed_ts=NOW, boxed_ts=NOW) == at
    assert due(renewed_ts=NOW, boxed_ts=0) is None
    assert due(renewed_ts=NOW, boxed_ts=at + DAY) == at, "a clock that is ahead"
    ahead = {me.mid: evolve(me, renewed_ts=NOW, boxed_ts=at + 9 * DAY)}
    ahead_state = evolve(state, members={**state.members, **ahead})
    assert next_renewal(ahead_state, me.mid, at + DAY) == at, "and it stays so"
    assert due(renewed_ts=at + DAY, boxed_ts=NOW) == NOW, "and one that would put it off"
    assert due(renewed_ts=NOW, boxed_ts=NOW, renewals=1) == at
    assert due(renewed_ts=NOW, boxed_ts=NOW, renewals=2) is None
    alone = evolve(state, members={me.mid: evolve(me, boxed_ts=NOW)})
    assert next_renewal(alone, me.mid, at) is None
    assert next_renewal(state, MemberKeys.generate().mid, at) is None
    assert Role.ROOT is me.role
