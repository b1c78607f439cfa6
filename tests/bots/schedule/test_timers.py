"""What is run after the bot was away, and what is stored meanwhile."""

from __future__ import annotations

import contextlib
import json
from datetime import timedelta
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.durations import BadDuration, duration_ms, show_duration
from bots.schedule import (
    At,
    BadTime,
    Cron,
    Every,
    Once,
    Overdue,
    Schedule,
    Timer,
    from_json,
    to_json,
)

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
HOURLY = Every("1h")


def ran(policy: str, away_ms: int, schedule: Schedule = HOURLY) -> tuple[int, ...]:
    """What is run for a timer made at 0 whose bot comes back after so long."""
    return Timer(schedule, 0, policy).due(away_ms).runs


@pytest.mark.parametrize(
    ("policy", "away_ms", "runs"),
    [
        ("skip", HOUR, (HOUR,)),
        ("skip", HOUR + 30_000, (HOUR,)),
        ("skip", HOUR + 2 * MINUTE, ()),
        ("skip", HOUR - 1, ()),
        ("run-once", 5 * HOUR + 30 * MINUTE, (5 * HOUR,)),
        ("run-once-if<2h", 5 * HOUR + 30 * MINUTE, (5 * HOUR,)),
        ("run-once-if<20m", 5 * HOUR + 30 * MINUTE, ()),
        ("run-once-if<20m", 5 * HOUR + 10 * MINUTE, (5 * HOUR,)),
        ("run-all(max 3)", 5 * HOUR + 30 * MINUTE, (3 * HOUR, 4 * HOUR, 5 * HOUR)),
        ("run-all(max 9)", 2 * HOUR, (HOUR, 2 * HOUR)),
        ("run-all", 2 * HOUR, (HOUR, 2 * HOUR)),
    ],
)
def test_overdue(policy: str, away_ms: int, runs: tuple[int, ...]) -> None:
    """Each policy makes up for what it says, and a run on time is always run."""
    assert ran(policy, away_ms) == runs


def test_a_reminder_waits_for_its_bot() -> None:
    """A one-shot that came due while the bot was away is run late, once, and is then done."""
    due = Timer(Once(HOUR), 0).due(40 * DAY)
    assert due.runs == (HOUR,)
    assert not due.missed
    assert due.next_ms is None
    assert due.timer.due(41 * DAY).runs == ()


def test_what_was_left_out_is_known() -> None:
    """`missed` says that runs were left out, so that a bot can say so."""
    assert Timer(HOURLY, 0, "skip").due(90 * MINUTE).missed
    assert Timer(HOURLY, 0, "run-once").due(150 * MINUTE).missed
    assert not Timer(HOURLY, 0, "run-once").due(90 * MINUTE).missed


def test_time_that_goes_back_runs_nothing_twice() -> None:
    """After a run, an earlier clock finds nothing due, and nothing is forgotten."""
    timer = Timer(HOURLY, 0).due(HOUR).timer
    back = timer.due(HOUR // 2)
    assert back.runs == ()
    assert back.timer == timer
    assert timer.due(2 * HOUR).runs == (2 * HOUR,)


@given(st.lists(st.integers(1, 5 * HOUR), min_size=1), st.sampled_from(["run-once", "run-all"]))
def test_runs_are_never_lost_nor_doubled(steps: list[int], policy: str) -> None:
    """Whenever one asks, each run is handed out once at most, in order; run-all hands out all."""
    timer, now, handed = Timer(HOURLY, 0, policy), 0, list[int]()
    for step in steps:
        now += step
        due = timer.due(now)
        timer = due.timer
        handed += due.runs
        assert due.next_ms == HOURLY.next_after(now)
    assert handed == sorted(set(handed))
    if policy == "run-all":
        assert handed == list(range(HOUR, now + 1, HOUR))


@pytest.mark.parametrize("schedule", [Every("1s"), Cron("* * * * *"), Cron("0 0 29 2 *")])
def test_years_away_take_no_time(schedule: Schedule) -> None:
    """Ten years of seconds are not walked through."""
    started = perf_counter()
    assert len(ran("run-all(max 100)", 3650 * DAY, schedule)) in (2, 100)
    assert perf_counter() - started < 2


@pytest.mark.parametrize("policy", ["skip", "run-once", "run-once-if<2h", "run-all(max 5)"])
def test_policies_are_read_back(policy: str) -> None:
    """A policy is written as it is read."""
    assert str(Overdue.parse(policy)) == policy


@pytest.mark.parametrize("policy", ["", "run", "run-once-if<", "run-once-if<x", "run-all(max 0)",
                                    "run-all(max 101)"])  # fmt: skip
def test_wrong_policies(policy: str) -> None:
    """A policy that is none is refused."""
    with pytest.raises(BadTime):
        Overdue.parse(policy)


@pytest.mark.parametrize(
    "schedule",
    [Every("10m", 7), At("weekdays 09:00", "Europe/Berlin"), Cron("0 9 * * 1"), Once(5)],
)
@pytest.mark.parametrize("policy", ["skip", "run-once-if<2h", "run-all(max 5)"])
def test_timers_survive_json(schedule: Schedule, policy: str) -> None:
    """A timer that was written as JSON is the same timer."""
    timer = Timer(schedule, 123, policy)
    assert from_json(json.loads(json.dumps(to_json(timer)))) == timer


def test_the_stored_form() -> None:
    """The form is a promise: bots find their timers after an upgrade."""
    assert to_json(Timer(At("daily 9am", "Europe/Berlin"), 5, "skip")) == {
        "schedule": {"kind": "at", "text": "daily 9am", "tz": "Europe/Berlin"},
        "served_ms": 5,
        "overdue": "skip",
    }


GOOD = {"schedule": {"kind": "once", "at_ms": 1}, "served_ms": 0, "overdue": "skip"}


@pytest.mark.parametrize(
    "stored",
    [None, [], {}, GOOD | {"served_ms": "0"}, GOOD | {"overdue": "x"}, GOOD | {"more": 1},
     GOOD | {"schedule": {}}, GOOD | {"schedule": {"kind": "x"}}, GOOD | {"schedule": {"kind": []}},
     GOOD | {"schedule": {"kind": "at", "text": "9", "tz": "UTC"}}, GOOD | {"schedule": None},
     GOOD | {"schedule": {"kind": "at", "text": 9, "tz": "UTC"}}, "x",
     GOOD | {"schedule": {"kind": "cron", "line": 9, "tz": "UTC"}},
     GOOD | {"schedule": {"kind": "cron", "line": "* * * * *", "tz": 9}},
     GOOD | {"schedule": {"kind": "once", "at_ms": "1"}},
     GOOD | {"schedule": {"kind": "every", "period_ms": None, "start_ms": 0}},
     GOOD | {"schedule": {"kind": "every", "period_ms": "10m", "start_ms": "0"}}],
)  # fmt: skip
def test_broken_stored_forms(stored: object) -> None:
    """What is no timer is refused by name."""
    with pytest.raises(BadTime, match="stored timer"):
        from_json(stored)


@given(st.integers(1, 10**12))
def test_durations_are_read_back(length: int) -> None:
    """A length as shown is the same length, to the second."""
    rounded = -(-length // 1_000) * 1_000
    assert duration_ms(show_duration(length)) == rounded


@given(st.text(alphabet="0123456789.hmsdw andhlf,") | st.text())
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    """Nothing but `BadDuration` comes of a text."""
    with contextlib.suppress(BadDuration):
        assert timedelta(milliseconds=duration_ms(text)) > timedelta(0)
