"""What people type to a reminder bot."""

from __future__ import annotations

from datetime import date, time
from time import perf_counter
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.schedule import (
    At,
    BadTime,
    Cron,
    Every,
    Once,
    Schedule,
    from_wall,
    moment,
    schedule,
    split_schedule,
    to_wall,
)

BERLIN = ZoneInfo("Europe/Berlin")
NOW = from_wall(date(2026, 3, 4), time(15), BERLIN)  # a Wednesday


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("in 20 minutes", "2026-03-04 15:20"),
        ("20 min", "2026-03-04 15:20"),
        ("in 1h30", "2026-03-04 16:30"),
        ("1h30m", "2026-03-04 16:30"),
        ("In an hour", "2026-03-04 16:00"),
        ("half an hour", "2026-03-04 15:30"),
        ("1 hour and 5 minutes", "2026-03-04 16:05"),
        ("1.5 hours", "2026-03-04 16:30"),
        ("in 2 weeks", "2026-03-18 15:00"),
        ("in 3 days at 9am", "2026-03-07 09:00"),
        ("tomorrow", "2026-03-05 09:00"),
        ("tomorrow 9am", "2026-03-05 09:00"),
        ("tomorrow at 9", "2026-03-05 09:00"),
        ("9:30 pm tomorrow", "2026-03-05 21:30"),
        ("noon tomorrow", "2026-03-05 12:00"),
        ("tomorrow morning", "2026-03-05 09:00"),
        ("the day after tomorrow at 8:00", "2026-03-06 08:00"),
        ("tonight", "2026-03-04 20:00"),
        ("tonight at 9pm", "2026-03-04 21:00"),
        ("at 17:00", "2026-03-04 17:00"),
        ("9am", "2026-03-05 09:00"),
        ("midnight", "2026-03-05 00:00"),
        ("friday", "2026-03-06 09:00"),
        ("Friday 18:30", "2026-03-06 18:30"),
        ("next friday at 18:30", "2026-03-06 18:30"),
        ("on monday", "2026-03-09 09:00"),
        ("wed 16:00", "2026-03-04 16:00"),
        ("wednesday 10:00", "2026-03-11 10:00"),
        ("next wednesday 16:00", "2026-03-11 16:00"),
        ("next week", "2026-03-11 09:00"),
        ("2026-04-01 08:00", "2026-04-01 08:00"),
        ("2026-04-01T08:00", "2026-04-01 08:00"),
        ("2026-04-01T08:00Z", "2026-04-01 10:00"),
        ("1.4.2026 8:00", "2026-04-01 08:00"),
        ("1 april 8am", "2026-04-01 08:00"),
        ("the 1st of april", "2026-04-01 09:00"),
        ("April 1st, 2027 at 8:00", "2027-04-01 08:00"),
        ("march 1", "2027-03-01 09:00"),
        ("29 feb", "2028-02-29 09:00"),
        ("on the 31st", "2026-03-31 09:00"),
        ("4th 14:00", "2026-04-04 14:00"),
    ],
)
def test_moments(text: str, expected: str) -> None:
    """Phrases, said on Wednesday 4 March 2026 at 15:00 in Berlin, and what they mean."""
    assert f"{to_wall(moment(text, NOW, BERLIN), BERLIN):%Y-%m-%d %H:%M}" == expected


@pytest.mark.parametrize(
    "text",
    ["", "hello world", "i ate 3 apples", "9", "1/4", "tomorrow tomorrow", "9am 10am",
     "in 20 minutes at 9am", "in 2 days on friday", "30 feb", "31 april", "2026-02-30", "32nd",
     "24:00", "13pm", "tomorrow 9am please", "the", "on", "yesterday", "today 9am", "2025-01-01",
     "2026-13-01T00:00", "in 0 minutes", "in 999999999 weeks", "x" * 10_000],
)  # fmt: skip
def test_no_moments(text: str) -> None:
    """What is not wholly understood, or past, is refused."""
    with pytest.raises(BadTime):
        moment(text, NOW, BERLIN)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("every 10m", Every("10m", NOW)),
        ("every hour", Every("1h", NOW)),
        ("hourly", Every("1h", NOW)),
        ("every half hour", Every("30m", NOW)),
        ("every 1h30", Every("90m", NOW)),
        ("every monday 09:00", At("every monday 09:00", "Europe/Berlin")),
        ("Weekdays at 9", At("weekdays at 9", "Europe/Berlin")),
        ("mon-fri 9am", At("mon-fri 9am", "Europe/Berlin")),
        ("every day", At("every day 09:00", "Europe/Berlin")),
        ("0 9 * * 1-5", Cron("0 9 * * 1-5", "Europe/Berlin")),
        ("@daily", Cron("0 0 * * *", "Europe/Berlin")),
        ("tomorrow 9am", Once(from_wall(date(2026, 3, 5), time(9), BERLIN))),
        ("4 april 2026 at 9", Once(from_wall(date(2026, 4, 4), time(9), BERLIN))),
    ],
)
def test_schedules(text: str, expected: Schedule) -> None:
    """What recurs becomes `Every`, `At` or `Cron`; the rest is `Once`."""
    assert schedule(text, NOW, BERLIN) == expected


@pytest.mark.parametrize("text", ["every", "every now and then", "weekly", "every 2 mondays"])
def test_no_schedules(text: str) -> None:
    """What would have to be guessed is refused."""
    with pytest.raises(BadTime):
        schedule(text, NOW, BERLIN)


@pytest.mark.parametrize(
    ("text", "when", "what"),
    [
        ("in 20 minutes take out the pizza", "in 20 minutes", "take out the pizza"),
        ("in 20 minutes to take out the pizza", "in 20 minutes", "take out the pizza"),
        ("call  mum\ntomorrow 9am", "tomorrow 9am", "call  mum"),
        ("to call mum tomorrow 9am", "tomorrow 9am", "call mum"),
        ("10m tea", "10m", "tea"),
        ("every monday 09:00 Stand  up!", "every monday 09:00", "Stand  up!"),
        ("next friday at 18:30 party at 8", "next friday at 18:30", "party at 8"),
        ("Today is tomorrow, tomorrow", "tomorrow", "Today is tomorrow,"),
    ],
)
def test_reminders(text: str, when: str, what: str) -> None:
    """When is found at either end; what keeps its spelling."""
    assert split_schedule(text, NOW, BERLIN) == (schedule(when, NOW, BERLIN), what)


@pytest.mark.parametrize("text", ["", "tea", "in 5m", "in 5m to ", "tea in a while"])
def test_no_reminders(text: str) -> None:
    """Both when and what are needed."""
    with pytest.raises(BadTime):
        split_schedule(text, NOW, BERLIN)


PIECES = """in at on next the every tomorrow friday april 1st 31 9am 18:30 20 minutes 2 days and ,
to noon week 2026-04-01 mon-fri month daily an hour half * tea"""
WORDS = st.sampled_from(PIECES.split())


@given(st.text() | st.lists(WORDS).map(" ".join))
def test_any_text_is_a_time_ahead_or_refused(text: str) -> None:
    """Nothing but `BadTime` comes of a text; what is understood lies ahead."""
    try:
        when = schedule(text, NOW, BERLIN)
    except BadTime:
        return
    following = when.next_after(NOW)
    assert following is None or following > NOW


@given(st.text() | st.lists(WORDS).map(" ".join))
def test_any_reminder_is_split_or_refused(text: str) -> None:
    """Nothing but `BadTime` comes of a text; what is left to say is part of it."""
    try:
        _, what = split_schedule(text, NOW, BERLIN)
    except BadTime:
        return
    assert what
    assert what in text


@pytest.mark.parametrize("piece", ["1h", "1.", "an ", "1 h, ", "and ", "at 9 ", "mon-", "9" * 9])
def test_hostile_texts_take_no_time(piece: str) -> None:
    """No text makes the expressions backtrack: even the longest is refused at once."""
    text = (piece * 200)[:199] + "!"
    started = perf_counter()
    with pytest.raises(BadTime):
        schedule(text, NOW, BERLIN)
    assert perf_counter() - started < 0.5


@pytest.mark.parametrize(
    ("text", "expected", "what"),
    [
        ("in ten minutes eat", "2026-03-04 15:10", "eat"),
        ("in a couple of hours eat two pizzas", "2026-03-04 17:00", "eat two pizzas"),
        ("1 hour from now eat", "2026-03-04 16:00", "eat"),
        ("in 2h, eat", "2026-03-04 17:00", "eat"),
        ("half past 9 eat", "2026-03-05 09:30", "eat"),
        ("at quarter to 5 eat", "2026-03-05 04:45", "eat"),
        ("tomorrow at the dentist ask", "2026-03-05 09:00", "at the dentist ask"),
        ("every morning eat", "2026-03-05 09:00", "eat"),
        ("every monday evening eat", "2026-03-09 19:00", "eat"),
        ("monday to friday at 9 eat", "2026-03-05 09:00", "eat"),
        ("on fridays at 9 eat", "2026-03-06 09:00", "eat"),
        ("every first monday of the month at 9 eat", "2026-04-06 09:00", "eat"),
        ("every last friday eat", "2026-03-27 09:00", "eat"),
        ("every year on 24 december at 18:00 eat", "2026-12-24 18:00", "eat"),
        ("yearly on december 24 eat", "2026-12-24 09:00", "eat"),
    ],
)
def test_how_people_remind_themselves(text: str, expected: str, what: str) -> None:
    """Numbers as words, parts of days, n-th weekdays, years: the next run, and what is left."""
    when, left = split_schedule(text, NOW, BERLIN)
    following = when.next_after(NOW)
    assert following is not None
    assert (f"{to_wall(following, BERLIN):%Y-%m-%d %H:%M}", left) == (expected, what)


@pytest.mark.parametrize(
    "text",
    [
        "every 2 weeks on monday at 9 pay",
        "every day at 9 and 17 eat",
        "every day at 9 until friday eat",
        "an hour before midnight eat",
        "every year on 30 february eat",
        "every other day at 9 eat",
        "quarter past 24 eat",
    ],
)
def test_half_a_time_is_no_time(text: str) -> None:
    """What goes on in a way that is not understood is refused, not cut."""
    with pytest.raises(BadTime):
        split_schedule(text, NOW, BERLIN)
