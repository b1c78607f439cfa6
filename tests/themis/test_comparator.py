"""Secure Comparator: equal secrets say so, others only that they differ."""

from __future__ import annotations

import contextlib

import pytest

from ofcd import themis
from tests.themis.helpers import flipped


def run(
    alice: themis.Comparator, bob: themis.Comparator
) -> tuple[bool | None, bool | None, list[bytes]]:
    """Carries the messages to the end; both results and all that was on the wire."""
    seen: list[bytes] = []
    message: bytes | None = alice.begin()
    here, there = bob, alice
    while message is not None:
        seen.append(message)
        message = here.proceed(message)
        here, there = there, here
    return alice.result, bob.result, seen


@pytest.mark.slow
def test_equal_secrets_match() -> None:
    """Both sides learn it, and only at the end."""
    alice, bob = themis.Comparator(b"the same"), themis.Comparator(b"the same")
    assert alice.result is None
    assert bob.result is None
    assert run(alice, bob)[:2] == (True, True)


@pytest.mark.slow
def test_different_secrets_do_not_match() -> None:
    """Both sides learn that, and the secrets are not on the wire."""
    first, second, seen = run(themis.Comparator(b"one secret"), themis.Comparator(b"another one"))
    assert (first, second) == (False, False)
    assert b"secret" not in b"".join(seen)


@pytest.mark.slow
def test_a_changed_message_never_matches() -> None:
    """Whatever is changed: an error, or no match."""
    for step in range(4):
        alice, bob = themis.Comparator(b"the same"), themis.Comparator(b"the same")
        assert tampered(alice, bob, step) is not True


def tampered(alice: themis.Comparator, bob: themis.Comparator, step: int) -> bool | None:
    """A run with one bit changed in message `step`; the result of the side that got it."""
    message: bytes | None = alice.begin()
    here, there = bob, alice
    for turn in range(4):
        assert message is not None
        try:
            message = here.proceed(flipped(message, len(message) - 1) if turn == step else message)
        except themis.ComparatorError:
            return None
        if turn == step:
            return here.result
        here, there = there, here
    raise AssertionError("not reached")


def test_noise_and_nothing_are_refused() -> None:
    """With the one typed error, and the run is over: no second guess."""
    for noise in (b"", b"x", bytes(191)):
        comparator = themis.Comparator(b"secret")
        with pytest.raises(themis.ComparatorError):
            comparator.proceed(noise)
        with pytest.raises(themis.ComparatorError, match="over"):
            comparator.proceed(themis.Comparator(b"secret").begin())
    with pytest.raises(themis.InvalidInput):
        themis.Comparator(b"")


@pytest.mark.parametrize("noise", [bytes(192), b"\xff" * 192, b"\x01" + bytes(191)])
def test_degenerate_points_never_match(noise: bytes) -> None:
    """Bytes that happen to decode as points, of small order or not: the run ends different."""
    comparator = themis.Comparator(b"secret")
    comparator.proceed(noise)
    assert comparator.result is False


def test_steps_in_the_wrong_order_are_refused() -> None:
    """Whichever step comes where another is due: an error or no match, and the run is over."""
    alice, bob = themis.Comparator(b"the same"), themis.Comparator(b"the same")
    first = alice.begin()
    second = bob.proceed(first)
    assert second
    third = alice.proceed(second)
    assert third
    fourth = bob.proceed(third)
    assert fourth
    for begun, wrong in [(True, first), (True, third), (True, fourth), (False, second)]:
        late = themis.Comparator(b"the same")
        if begun:
            late.begin()
        assert outcome(late, wrong) is not True
    for repeated in (second, first):
        other = themis.Comparator(b"the same")
        other.proceed(first)
        assert outcome(other, repeated) is not True


def test_a_run_begins_once() -> None:
    """Beginning again, or after having taken the other side's first step, is refused."""
    alice = themis.Comparator(b"the same")
    first = alice.begin()
    with pytest.raises(themis.ComparatorError):
        alice.begin()
    bob = themis.Comparator(b"the same")
    bob.proceed(first)
    with pytest.raises(themis.ComparatorError):
        bob.begin()


def test_messages_of_two_runs_do_not_mix() -> None:
    """A step of another run with the same secret does not lead to a match."""
    alice, bob = themis.Comparator(b"the same"), themis.Comparator(b"the same")
    second = bob.proceed(alice.begin())
    assert second
    other = themis.Comparator(b"the same")
    other.begin()
    with contextlib.suppress(themis.ComparatorError):
        third = other.proceed(second)
        assert third
        assert outcome(bob, third) is not True
    assert other.result is not True


def outcome(comparator: themis.Comparator, message: bytes) -> bool | None:
    """The result after one more message, None also for a refused one."""
    try:
        comparator.proceed(message)
    except themis.ComparatorError:
        return None
    return comparator.result


@pytest.mark.slow
def test_a_finished_run_takes_no_further_guess() -> None:
    """After the result, neither side can be made to compare again."""
    alice, bob = themis.Comparator(b"one"), themis.Comparator(b"two")
    run(alice, bob)
    for over in (alice, bob):
        with pytest.raises(themis.ComparatorError, match="over"):
            over.proceed(themis.Comparator(b"one").begin())
        with pytest.raises(themis.ComparatorError, match="over"):
            over.begin()
