"""Comparing phrases: equal ones over genuine keys match; nothing else does, in any way."""

from __future__ import annotations

from contextlib import suppress

import pytest
from attrs import define, evolve

from ofcd.e2e.bodies import Compare
from ofcd.e2e.comparing import PHRASE_CHARACTERS, Comparison, compared_secret, normal_phrase
from ofcd.e2e.errors import ComparisonBroken, PhraseTooShort
from ofcd.e2e.keys import MemberKeys, new_sid
from ofcd.protocol.ids import MemberId, RelayId, RoomId, Sid
from ofcd.protocol.records import Role
from ofcd.protocol.room import Member

ROOM, RELAY, RUN = RoomId(b"r" * 32), RelayId(b"R" * 32), Sid(b"s" * 16)
PHRASE = "purple elephant"


def made_member() -> Member:
    keys = MemberKeys.generate()
    return Member(
        mid=keys.mid,
        sign_key=keys.sign_key,
        enc_key=keys.enc_key,
        role=Role.MEMBER,
        caps=frozenset(),
        history_from=0,
        joined_seq=0,
        home=RELAY,
    )


ANA, BO, MALLORY = made_member(), made_member(), made_member()


@define
class Side:
    """One person: who they are, who they think the other is, and what they typed."""

    me: Member
    other: Member
    phrase: str = PHRASE
    room: RoomId = ROOM
    relay: RelayId = RELAY
    run: Sid = RUN

    def comparison(self, *, begins: bool) -> Comparison:
        pair = (self.me, self.other) if begins else (self.other, self.me)
        secret = compared_secret(self.room, self.relay, self.run, *pair, self.phrase)
        return Comparison(self.run, self.other.mid, secret, begins=begins)


def play(ana: Comparison, bo: Comparison) -> tuple[bool | None, bool | None]:
    """Carry the steps to the end."""
    step: Compare | None = ana.begin()
    here, there = bo, ana
    while step is not None:
        step = here.take(step)
        here, there = there, here
    return ana.result, bo.result


def run(ana: Side, bo: Side) -> tuple[bool | None, bool | None]:
    return play(ana.comparison(begins=True), bo.comparison(begins=False))


def test_the_same_phrase_matches() -> None:
    """Typed with other case and spaces, too; four steps, each addressed and numbered."""
    ana = Side(ANA, BO).comparison(begins=True)
    bo = Side(BO, ANA, " Purple  ELEPHANT ").comparison(begins=False)
    assert (ana.result, bo.result) == (None, None)
    first = ana.begin()
    assert (first.run, first.to, first.step) == (RUN, BO.mid, 1)
    second = bo.take(first)
    assert second is not None
    assert (second.to, second.step) == (ANA.mid, 2)
    third = ana.take(second)
    assert third is not None
    assert (third.step, ana.result) == (3, None)
    fourth = bo.take(third)
    assert fourth is not None
    assert (fourth.step, bo.result) == (4, True)
    assert ana.take(fourth) is None
    assert ana.result is True


OTHER_KEY = evolve(BO, enc_key=MALLORY.enc_key, first_enc_key=MALLORY.enc_key)
RENEWED = evolve(BO, enc_key=MALLORY.enc_key)


def test_a_renewed_key_is_signed_by_what_is_compared() -> None:
    """Who has heard of Bo's renewal, and who has not yet, compare the same."""
    assert run(Side(ANA, RENEWED), Side(BO, ANA)) == (True, True)


@pytest.mark.parametrize(
    ("ana", "bo"),
    [
        (Side(ANA, BO), Side(BO, ANA, "purple elephants")),
        (Side(ANA, MALLORY), Side(BO, ANA)),
        (Side(ANA, BO), Side(BO, MALLORY)),
        (Side(ANA, OTHER_KEY), Side(BO, ANA)),
        (Side(ANA, BO, room=RoomId(b"q" * 32)), Side(BO, ANA)),
        (Side(ANA, BO), Side(BO, ANA, relay=RelayId(b"Q" * 32))),
        (Side(ANA, BO, run=new_sid()), Side(BO, ANA)),
    ],
    ids=["phrase", "their key", "my key", "their box key", "room", "relay", "run"],
)
def test_anything_else_does_not_match(ana: Side, bo: Side) -> None:
    """Another phrase, and the same phrase over other keys, another room, relay or run."""
    here, there = ana.comparison(begins=True), bo.comparison(begins=False)
    assert play(here, there) == (False, False)


def test_who_stands_between_learns_no_match() -> None:
    """Mallory relays between two members who both take her keys for the other's."""
    assert run(Side(ANA, MALLORY), Side(BO, MALLORY)) == (False, False)


def test_own_steps_reflected_do_not_match() -> None:
    """Ana's own messages of a run the other way round, sent back to her, are no proof."""
    forth = Side(ANA, BO).comparison(begins=True)
    back = Side(ANA, BO).comparison(begins=False)
    assert play(forth, back) == (False, False)


@pytest.mark.parametrize(("taken", "number"), [(0, 1), (0, 3), (0, 4), (2, 1), (2, 2), (2, 3)])
def test_steps_out_of_turn_break_the_run(taken: int, number: int) -> None:
    """A step again, one left out, and one of the wrong side; `taken` is the last one taken."""
    ana, bo = Side(ANA, BO).comparison(begins=True), Side(BO, ANA).comparison(begins=False)
    second = bo.take(ana.begin())
    assert second is not None
    if taken:
        ana.take(second)
    with pytest.raises(ComparisonBroken, match="out of turn"):
        ana.take(evolve(second, step=number))
    assert ana.result is not True


def steps_of_a_run() -> dict[int, Compare]:
    ana, bo = Side(ANA, BO).comparison(begins=True), Side(BO, ANA).comparison(begins=False)
    step: Compare | None = ana.begin()
    here, there, steps = bo, ana, {}
    while step is not None:
        steps[step.step] = step
        step = here.take(step)
        here, there = there, here
    return steps


@pytest.mark.parametrize(("number", "answer"), [(1, None), (2, None), (3, None), (4, b"more")])
def test_a_run_ends_with_its_last_step_and_no_other(number: int, answer: bytes | None) -> None:
    """Themis stops earlier, or goes on: no result is believed."""
    ana, bo = Side(ANA, BO).comparison(begins=True), Side(BO, ANA).comparison(begins=False)
    here, there, step = bo, ana, ana.begin()
    while step.step < number:
        reply = here.take(step)
        assert reply is not None
        here, there, step = there, here, reply
    here._core = Ended(answer)  # type: ignore[assignment]
    with pytest.raises(ComparisonBroken, match="ended"):
        here.take(step)


@define
class Ended:
    """A comparator that answers this, whatever it is given."""

    answer: bytes | None

    def proceed(self, data: bytes) -> bytes | None:
        return self.answer


def test_a_step_that_is_noise_breaks_the_run() -> None:
    """And no later step brings it back."""
    for noise in (b"", b"x", bytes(95)):
        bo = Side(BO, ANA).comparison(begins=False)
        with pytest.raises(ComparisonBroken):
            bo.take(Compare(RUN, BO.mid, 1, noise))
        with pytest.raises(ComparisonBroken):
            bo.take(Side(ANA, BO).comparison(begins=True).begin())
        assert bo.result is not True


def test_a_changed_step_never_matches() -> None:
    """Whichever of the four is changed."""
    for changed in range(1, 5):
        ana, bo = Side(ANA, BO).comparison(begins=True), Side(BO, ANA).comparison(begins=False)
        victim = bo if changed % 2 else ana
        with suppress(ComparisonBroken):
            play_changed(ana, bo, changed)
        assert victim.result is not True


def play_changed(ana: Comparison, bo: Comparison, changed: int) -> None:
    step: Compare | None = ana.begin()
    here, there = bo, ana
    while step is not None:
        if step.step == changed:
            last = bytes([step.data[-1] ^ 0x10])
            step = evolve(step, data=step.data[:-1] + last)
        step = here.take(step)
        here, there = there, here


def test_the_phrase_is_not_on_the_wire() -> None:
    """Nor what is compared."""
    secret = compared_secret(ROOM, RELAY, RUN, ANA, BO, PHRASE)
    wire = b"".join(step.data for step in steps_of_a_run().values())
    assert PHRASE.encode() not in wire
    assert bytes(secret) not in wire


def test_short_phrases_are_refused() -> None:
    """White space does not make a phrase longer."""
    for short in ("", "   ", "x" * (PHRASE_CHARACTERS - 1), "a   b"):
        with pytest.raises(PhraseTooShort, match=str(PHRASE_CHARACTERS)):
            normal_phrase(short)
    assert normal_phrase("x" * PHRASE_CHARACTERS) == "x" * PHRASE_CHARACTERS


def test_freshness() -> None:
    """A run is fresh until a step of the other side was taken."""
    ana, bo = Side(ANA, BO).comparison(begins=True), Side(BO, ANA).comparison(begins=False)
    first = ana.begin()
    assert (ana.is_fresh, bo.is_fresh) == (True, True)
    second = bo.take(first)
    assert not bo.is_fresh
    assert second is not None
    ana.take(second)
    assert not ana.is_fresh


def test_a_run_names_its_peer() -> None:
    """Steps are addressed to the member the run is with."""
    peer = MemberId(b"p" * 32)
    made = Comparison(RUN, peer, compared_secret(ROOM, RELAY, RUN, ANA, BO, PHRASE), begins=True)
    assert (made.begin().to, made.peer, made.run) == (peer, peer, RUN)
