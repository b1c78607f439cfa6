"""How often: token buckets that are fair, bounded and stored."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from attrs import evolve
from hypothesis import example, given
from hypothesis import strategies as st

from bots.durations import BadDuration
from bots.limits import (
    BadRate,
    Bucket,
    Limit,
    Limits,
    Rate,
    overall,
    per_command,
    per_member,
    per_member_and_room,
    per_room,
)

NOW = 1_772_632_800_000
SECOND = 1_000
THREE = Bucket("k", Rate(3, "1m"))


def takes(limits: Limits, times: int, now_ms: int, bucket: Bucket = THREE) -> list[bool]:
    """Which of so many calls are let through."""
    return [limits.take([bucket], now_ms) is None for _ in range(times)]


def test_a_burst_and_then_evenly() -> None:
    """Three at once, then one every twenty seconds, and no more than three are saved up."""
    limits = Limits()
    assert takes(limits, 4, NOW) == [True, True, True, False]
    assert takes(limits, 1, NOW + 20 * SECOND - 1) == [False]
    assert takes(limits, 2, NOW + 20 * SECOND) == [True, False]
    assert takes(limits, 5, NOW + 3600 * SECOND) == [True, True, True, False, False]


def test_a_refusal_says_when_to_come_back() -> None:
    """Waiting as long as it says is enough, and not a moment too much."""
    limits = Limits()
    takes(limits, 3, NOW)
    wait = limits.take([THREE], NOW + 5 * SECOND)
    assert wait is not None
    assert wait.wait_ms == 15 * SECOND
    assert wait.sentence == "That was quick: try again in 15s."
    assert limits.take([THREE], NOW + 5 * SECOND + wait.wait_ms - 1) is not None
    assert limits.take([THREE], NOW + 5 * SECOND + wait.wait_ms) is None


def test_refusals_are_told_once_a_minute() -> None:
    """A caller who keeps on calling is answered once, and again a minute later."""
    limits = Limits()
    slow = Bucket("slow", Rate(1, "1h"))
    assert limits.take([slow], NOW) is None
    told = []
    for second in range(0, 130, 10):
        wait = limits.take([slow], NOW + second * SECOND)
        assert wait is not None
        told.append(wait.tell)
    assert [index * 10 for index, tell in enumerate(told) if tell] == [0, 60, 120]


def test_all_buckets_pay_or_none_does() -> None:
    """A call that one limit refuses costs nothing in the others."""
    limits = Limits()
    one = Bucket("one", Rate(1, "1h"))
    assert limits.take([THREE, one], NOW) is None
    refused = limits.take([THREE, one], NOW)
    assert refused is not None
    assert refused.key == "one"
    assert takes(limits, 3, NOW) == [True, True, False]


def test_the_same_bucket_twice_pays_once() -> None:
    """Two equal limits on one call are one."""
    limits = Limits()
    assert limits.take([THREE, THREE], NOW) is None
    assert takes(limits, 3, NOW) == [True, True, False]


def test_a_cost_over_the_whole_bucket_takes_the_whole_bucket() -> None:
    """What costs more than there can be is still possible, for all there can be."""
    limits = Limits()
    assert limits.take([THREE], NOW, cost=10) is None
    assert takes(limits, 1, NOW) == [False]
    assert limits.take([THREE], NOW + 60 * SECOND, cost=10) is None


def test_what_a_bot_sends_is_paced() -> None:
    """Reserving always succeeds: the answers are how long to wait, in order and at the rate."""
    limits = Limits()
    sending = overall(2, "1s").of()
    assert [limits.reserve(sending, NOW) for _ in range(5)] == [0, 0, 500, 1_000, 1_500]
    assert limits.reserve(sending, NOW + 1_000) == 1_000


def test_a_clock_that_jumps_back_locks_nobody_out() -> None:
    """A bucket is never emptier than empty: the wait is that of one token."""
    limits = Limits()
    takes(limits, 3, NOW)
    wait = limits.take([THREE], NOW - 10**9)
    assert wait is not None
    assert wait.wait_ms == 20 * SECOND


CALL = {"member": "m1", "room": "r1"}


@pytest.mark.parametrize(
    ("make", "counts_by"),
    [
        (per_member, {"command", "member"}),
        (per_room, {"command", "room"}),
        (per_member_and_room, {"command", "member", "room"}),
        (per_command, {"command"}),
        (overall, set()),
    ],
)
def test_scopes(make: Callable[[int, str], Limit], counts_by: set[str]) -> None:
    """A limit tells callers apart by what its name says, and by nothing else."""
    limit = make(3, "1m")
    one = limit.of("roll", **CALL)
    apart = {
        name
        for name, other in {
            "command": limit.of("draw", **CALL),
            "member": limit.of("roll", **CALL | {"member": "m2"}),
            "room": limit.of("roll", **CALL | {"room": "r2"}),
        }.items()
        if other != one
    }
    assert apart == counts_by


NAMES = st.text(alphabet="a|%7C5", max_size=4)
CALLERS = st.tuples(NAMES, NAMES, NAMES)


@given(CALLERS, CALLERS)
@example(("a|", "b", ""), ("a", "|b", ""))
@example(("|", "", ""), ("%7C", "", ""))
def test_keys_are_unambiguous(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    """Two different callers never share a bucket, whatever their names hold."""
    limit = per_member_and_room(1, "1m")
    keys = [limit.of(command, member=who, room=room).key for command, who, room in (one, other)]
    assert (keys[0] == keys[1]) is (one == other)


def test_the_table_is_bounded() -> None:
    """However many callers there are, the table keeps its size, and the emptiest buckets."""
    limits = Limits(size=100)
    hot = Bucket("hot", Rate(1, "1 day"))
    assert limits.take([hot], NOW) is None
    for index in range(5_000):
        limits.take([evolve(THREE, key=f"k{index}")], NOW + index)
        assert len(limits) <= 100
    assert takes(limits, 1, NOW + 5_000, hot) == [False]


def test_full_buckets_are_not_stored() -> None:
    """A bucket that is full again is as good as none."""
    limits = Limits()
    takes(limits, 2, NOW)
    assert set(limits.dump(NOW)) == {"k"}
    assert limits.dump(NOW + 40 * SECOND) == {}


def test_changes_are_what_to_store() -> None:
    """Applying the changes to what was stored gives what a dump would."""
    limits = Limits(size=2)
    stored = dict(limits.dump(NOW))
    for index in range(10):
        limits.take([evolve(THREE, key=f"k{index % 4}")], NOW + index)
        for key, full_at in limits.changes().items():
            if full_at is None:
                stored.pop(key, None)
            else:
                stored[key] = full_at
    assert limits.changes() == {}
    assert stored == limits.dump(NOW)


@given(st.lists(st.tuples(st.integers(0, 90_000), st.booleans()), max_size=60))
def test_no_window_lets_more_through_and_restarts_change_nothing(
    steps: list[tuple[int, bool]],
) -> None:
    """In any minute at most the burst and a minute's refill pass; storing does not reset it."""
    limits, now, passed = Limits(), NOW, list[int]()
    for step, restart in steps:
        now += step
        if restart:
            limits = Limits(json.loads(json.dumps(limits.dump(now))))
        if limits.take([THREE], now) is None:
            passed.append(now)
    for start in passed:
        assert sum(start <= at < start + 60 * SECOND for at in passed) <= 3 + 2


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("3/1m", Rate(3, "1m")),
        ("3 per minute", Rate(3, "1m")),
        ("10 in 2 hours", Rate(10, "2h")),
        ("1 every 30s", Rate(1, "30s")),
    ],
)
def test_rates_are_read(text: str, rate: Rate) -> None:
    """Rates as settings and people write them."""
    assert Rate.parse(text) == rate
    assert Rate.parse(str(rate)) == rate


@pytest.mark.parametrize("text", ["", "3", "0/1m", "x/1m", "3/", "3/soon", "-1/1m"])
def test_wrong_rates(text: str) -> None:
    """What is no rate is refused."""
    with pytest.raises((BadRate, BadDuration)):
        Rate.parse(text)
