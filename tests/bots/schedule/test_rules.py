"""When a schedule is next due, across days, months and both changes of the clock."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.schedule import At, BadTime, Cron, Every, Once, Schedule, from_wall, to_ms, to_wall, zone

BERLIN = ZoneInfo("Europe/Berlin")  # 2026: forward on 29 March at 2:00, back on 25 October at 3:00
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")  # half an hour: back on 5 April at 2:00
APIA = ZoneInfo("Pacific/Apia")  # had no 30 December 2011


def ms(text: str) -> int:
    """A moment with its offset, as ms."""
    return to_ms(datetime.fromisoformat(text))


def runs(schedule: Schedule, after: str, count: int, tz: ZoneInfo = BERLIN) -> list[str]:
    """The next moments of a schedule, as the wall clock shows them."""
    now, found = ms(after), []
    for _ in range(count):
        following = schedule.next_after(now)
        assert following is not None
        now = following
        found.append(f"{to_wall(now, tz):%a %d %b %H:%M %z}")
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("daily 09:00", ["Thu 05 Mar 09:00 +0100", "Fri 06 Mar 09:00 +0100"]),
        ("18:30", ["Wed 04 Mar 18:30 +0100", "Thu 05 Mar 18:30 +0100"]),
        ("weekdays 9am", ["Thu 05 Mar 09:00 +0100", "Fri 06 Mar 09:00 +0100"]),
        ("fridays, mondays 9am", ["Fri 06 Mar 09:00 +0100", "Mon 09 Mar 09:00 +0100"]),
        ("weekends noon", ["Sat 07 Mar 12:00 +0100", "Sun 08 Mar 12:00 +0100"]),
        ("every Mon, Wed and Fri at 18:30", ["Wed 04 Mar 18:30 +0100", "Fri 06 Mar 18:30 +0100"]),
        ("thu-sat 8:00", ["Thu 05 Mar 08:00 +0100", "Fri 06 Mar 08:00 +0100"]),
        ("saturday to monday 8:00", ["Sat 07 Mar 08:00 +0100", "Sun 08 Mar 08:00 +0100"]),
        ("mondays 09:00, 17:00", ["Mon 09 Mar 09:00 +0100", "Mon 09 Mar 17:00 +0100"]),
        ("every month on the 1st at 8:00", ["Wed 01 Apr 08:00 +0200", "Fri 01 May 08:00 +0200"]),
        ("1st and 15th 8:00", ["Sun 15 Mar 08:00 +0100", "Wed 01 Apr 08:00 +0200"]),
        ("31st 8:00", ["Tue 31 Mar 08:00 +0200", "Sun 31 May 08:00 +0200"]),
        ("last day of the month 8:00", ["Tue 31 Mar 08:00 +0200", "Thu 30 Apr 08:00 +0200"]),
    ],
)  # fmt: skip
def test_at(text: str, expected: list[str]) -> None:
    """Days and times as people write them, from Wednesday 4 March 2026, 15:00."""
    assert runs(At(text, "Europe/Berlin"), "2026-03-04T15:00+01:00", len(expected)) == expected


@pytest.mark.parametrize(
    "text",
    ["", "daily", "monday", "25:00", "13pm", "09:60", "0am", "monday 1st 9:00", "32nd 9:00",
     "monthly 9:00", "weekly 9:00", "every other monday 9:00", "9", "x" * 300],
)  # fmt: skip
def test_at_refuses_what_it_does_not_understand(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(BadTime):
        At(text)


def test_cron() -> None:
    """A cron line runs on its days, by the clock of its zone."""
    line = Cron("0 9 * * 1-5", "Europe/Berlin")
    assert runs(line, "2026-03-06T09:00+01:00", 2) == [
        "Mon 09 Mar 09:00 +0100",
        "Tue 10 Mar 09:00 +0100",
    ]
    assert Cron("@daily") == Cron("0 0 * * *")


@pytest.mark.parametrize(
    "line",
    ["", "* * * *", "* * * * * *", "60 * * * *", "0 0 30 2 *", "@never", "0 0 * * 9", "x" * 999,
     f"{'9' * 150} * * * *"],
)  # fmt: skip
def test_cron_refuses_wrong_lines(line: str) -> None:
    """A wrong line is refused when it is written, not when it is due."""
    with pytest.raises(BadTime):
        Cron(line)


@given(st.text(alphabet="0123456789*/-,#L W@MON", max_size=30))
def test_any_cron_line_is_right_or_refused(line: str) -> None:
    """Nothing but `BadTime` comes of a line, and a right one never goes backwards."""
    try:
        cron = Cron(line)
    except BadTime:
        return
    following = cron.next_after(0)
    assert following is None or following > 0


@pytest.mark.parametrize(
    "schedule", [At("daily 02:30", "Europe/Berlin"), Cron("30 2 * * *", "Europe/Berlin")]
)
def test_a_time_the_clock_skips_comes_at_the_end_of_the_gap(schedule: Schedule) -> None:
    """On 29 March there is no 2:30: it is run at 3:00, once."""
    assert runs(schedule, "2026-03-28T12:00+01:00", 2) == [
        "Sun 29 Mar 03:00 +0200",
        "Mon 30 Mar 02:30 +0200",
    ]


@pytest.mark.parametrize(
    "schedule", [At("daily 02:30", "Europe/Berlin"), Cron("30 2 * * *", "Europe/Berlin")]
)
@pytest.mark.parametrize("after", ["2026-10-25T02:30+02:00", "2026-10-25T02:15+01:00"])
def test_a_time_that_comes_twice_is_run_the_first_time(schedule: Schedule, after: str) -> None:
    """On 25 October 2:30 comes twice: the second one is not run, wherever one asks from."""
    assert runs(schedule, "2026-10-24T12:00+02:00", 1) == ["Sun 25 Oct 02:30 +0200"]
    assert runs(schedule, after, 1) == ["Mon 26 Oct 02:30 +0100"]


def test_hourly_lines_run_in_both_of_the_equal_hours() -> None:
    """What runs every hour runs every hour: 24 + 1 times on the day that is an hour longer."""
    found = runs(Cron("0 * * * *", "Europe/Berlin"), "2026-10-24T23:30+02:00", 26)
    assert len(set(found)) == 26
    assert found[-1] == "Mon 26 Oct 00:00 +0100"


def test_odd_gaps() -> None:
    """A zone that moves by half an hour, and one that left out a whole day."""
    half = runs(At("daily 01:45", "Australia/Lord_Howe"), "2026-04-04T12:00+11:00", 2, LORD_HOWE)
    assert half == ["Sun 05 Apr 01:45 +1100", "Mon 06 Apr 01:45 +1030"]
    assert to_wall(from_wall(date(2011, 12, 30), time(9), APIA), APIA).date() == date(2011, 12, 31)


def test_every_counts_elapsed_time() -> None:
    """Steps are even across a change of the clock, and do not move with the asking."""
    day = Every("1 day", ms("2026-03-28T12:00+01:00"))
    assert runs(day, "2026-03-28T12:00+01:00", 1) == ["Sun 29 Mar 13:00 +0200"]
    ten = Every(timedelta(minutes=10))
    assert ten.next_after(0) == ten.next_after(599_999) == 600_000
    assert Every("10m", 5_000_000).next_after(0) == 5_600_000


@pytest.mark.parametrize("period", ["0s", "0.5s", "soon", 999, 0, -1])
def test_every_refuses_less_than_a_second(period: str | int) -> None:
    """A timer can not spin."""
    with pytest.raises(BadTime):
        Every(period)


def test_once() -> None:
    """One moment, and nothing after it."""
    once = Once(datetime(1970, 1, 1, 1, tzinfo=BERLIN))
    assert once == Once(0)
    assert (once.next_after(-1), once.next_after(0)) == (0, None)


SCHEDULES = [
    Every("7m", 3),
    At("weekdays 02:30, 09:00", "Europe/Berlin"),
    At("last day 23:59", "America/New_York"),
    Cron("*/7 2 * * *", "Europe/Berlin"),
    Cron("30 2 29 2 *", "Australia/Lord_Howe"),
]


@given(
    st.sampled_from(SCHEDULES),
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)),
    st.integers(0, 10**7),
)
def test_next_is_later_and_nothing_lies_between(
    schedule: Schedule, at: datetime, before: int
) -> None:
    """The next moment is ahead, and the same from wherever before it one asks."""
    now = to_ms(at.replace(tzinfo=ZoneInfo("UTC")))
    following = schedule.next_after(now)
    assert following is not None
    assert following > now
    assert schedule.next_after(max(now, following - 1 - before)) == following


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../../etc/passwd", "Europe", "x" * 99, "\0"])
def test_zones_are_names_only(name: str) -> None:
    """What is no zone's name is refused, paths and folders too."""
    with pytest.raises(BadTime):
        zone(name)
