"""UPDATE_E in the table of who may do what."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from ofcd.protocol.codes import Code, Refused
from ofcd.protocol.limits import KEY_RENEWALS
from ofcd.protocol.records import Grant, Role, UpdateKey
from tests.protocol.test_room import Chain, full_room, key, mid, refused


@pytest.mark.parametrize("who", ["root", "co", "door", "member", "reader"])
def test_everyone_replaces_its_own_key_and_nothing_else(who: str) -> None:
    """Readers too. All else of the member, and all other members, stay."""
    chain = full_room()
    before = chain.state
    after = chain.do(UpdateKey, who, enc_key=key("new"))
    mine = after.members[mid(who)]
    assert mine.enc_key == key("new")
    assert mine.first_enc_key == before.members[mid(who)].enc_key == key(f"{who} box")
    assert mine.has_renewed
    same = evolve(
        before.members[mid(who)], enc_key=key("new"), renewals=1, boxed_ts=0, renewed_ts=0
    )
    assert mine == same
    assert {**after.members, mid(who): None} == {**before.members, mid(who): None}
    assert (after.epoch, after.boxed_due) == (before.epoch, before.boxed_due)


@pytest.mark.parametrize("taken", ["member", "member box", "root", "root box", "co box", "reader"])
def test_a_key_that_is_in_use_is_refused(taken: str) -> None:
    """One's own of either kind, and anybody else's of either kind: bad_key."""
    chain = full_room()
    with refused(Code.BAD_KEY):
        chain.do(UpdateKey, "member", enc_key=key(taken))


def test_the_key_it_came_with_never_comes_back() -> None:
    """Nor does the one that another came with: it is compared as that one's."""
    chain = full_room()
    chain.do(UpdateKey, "member", enc_key=key("second"))
    for who in ("member", "co"):
        with refused(Code.BAD_KEY):
            chain.do(UpdateKey, who, enc_key=key("member box"))
    chain.do(UpdateKey, "member", enc_key=key("third"))
    assert chain.state.members[mid("member")].first_enc_key == key("member box")


def test_strangers_the_gone_and_replays_are_refused() -> None:
    """Only a current member, only at the head of the control log, only in this room."""
    chain = full_room()
    with refused(Code.NOT_FOUND):
        chain.do(UpdateKey, "stranger", enc_key=key("new"))
    made = chain.make(UpdateKey, "member", enc_key=key("new"))
    chain.apply(made)
    with refused(Code.CONFLICT):
        chain.apply(made)
    other = full_room(rotate_after=7)
    with refused(Code.NOT_FOUND):
        other.apply(made)
    chain.rekey(removed=("member",))
    with refused(Code.NOT_FOUND):
        chain.do(UpdateKey, "member", enc_key=key("newer"))


def test_so_often_between_two_boxed_rotations() -> None:
    """Nobody fills the control log by it; a boxed rotation by anyone begins anew."""
    chain = full_room()
    for n in range(KEY_RENEWALS):
        chain.do(UpdateKey, "member", enc_key=key(f"n{n}"))
    with refused(Code.QUOTA):
        chain.do(UpdateKey, "member", enc_key=key("more"))
    chain.rotate()
    with refused(Code.QUOTA):
        chain.do(UpdateKey, "member", enc_key=key("more"))
    chain.do(UpdateKey, "co", enc_key=key("of another"))
    chain.rekey()
    assert chain.do(UpdateKey, "member", enc_key=key("more")).members[mid("member")].renewals == 1


def test_an_owner_has_one_more_to_make_the_boxed_rotation_with() -> None:
    """Put back to an older vault after the last, before that rotation: nobody else may make it."""
    chain = full_room()
    for who in ("root", "co"):
        for n in range(KEY_RENEWALS + 1):
            chain.do(UpdateKey, who, enc_key=key(f"{who} {n}"))
        with refused(Code.QUOTA):
            chain.do(UpdateKey, who, enc_key=key(f"{who} more"))
    chain.do(Grant, "root", member=mid("co"), role=Role.MEMBER)
    with refused(Code.QUOTA):
        chain.do(UpdateKey, "co", enc_key=key("more"))


def test_renewals_wear_out_no_heirs_acceptance() -> None:
    """They do not count, though all make as many as they may; and none is one to name."""
    chain = full_room()
    heads = chain.state.heads
    for n in range(KEY_RENEWALS):
        for who in ("reader", "member", "door"):
            chain.do(UpdateKey, who, enc_key=key(f"{who} {n}"))
    assert chain.state.heads == heads
    chain.state.check_accepted(heads[-1])
    with refused(Code.FORBIDDEN):
        chain.state.check_accepted(chain.state.ctl)


def test_what_a_key_was_of_use_for() -> None:
    """A boxed rotation for everyone; an admission for newcomer and admitter; a routine for none."""

    def used(chain: Chain) -> set[Any]:
        return {m.mid for m in chain.state.members.values() if m.boxed_ts}

    chain = Chain()
    assert used(chain) == set()
    chain.admit("member")
    chain.admit("co", role=Role.CO_OWNER)
    assert used(chain) == {mid("root"), mid("member"), mid("co")}
    for who in ("root", "member", "co"):
        chain.do(UpdateKey, who, enc_key=key(f"{who} new"))
    chain.rotate()
    assert used(chain) == set()
    chain.admit("late", by="co")
    assert used(chain) == {mid("co"), mid("late")}
    chain.rekey()
    assert used(chain) == set(chain.state.members)


def test_the_state_before_stays() -> None:
    """A refused record changes nothing."""
    chain = full_room()
    before = chain.state
    with pytest.raises(Refused):
        before.apply(chain.make(UpdateKey, "member", enc_key=key("root")), before.ctl, 99)
    assert chain.state == before
