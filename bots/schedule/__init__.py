"""When: schedules, what people type for them, and timers that survive restarts.

    At("weekdays 09:00", "Europe/Berlin").next_after(now_ms)
    schedule("next friday at 18:30", now_ms, zone("Europe/Berlin"))         # -> Once
    split_schedule("in 20 minutes take the pizza out", now_ms, tz)          # -> Once, "take ..."
    Timer(Every("10m"), now_ms, "run-once-if<2h").due(now_ms)               # -> what to run

Pure: the time is handed in, as milliseconds since 1970.

What it stands on, and why:

- `cronsim` (BSD-3, no dependencies, typed, about 560 lines, maintained by and for healthchecks.io)
  for cron lines. It works with `zoneinfo` and follows Debian's cron across changes of the clock.
  `croniter` is larger, wants dateutil, and was declared abandoned once before it found new hands.
- `zoneinfo` with `tzdata`, for machines that have no zones of their own.
- Our own phrases (`natural`), after trying the libraries on what people type. `dateparser` 1.5
  (BSD; brings regex, pytz, dateutil, tzlocal) reads "tomorrow at 9" said at 15:00 as 15:00 and
  "in 1h30" as 01:30 tomorrow, without a word. `parsedatetime` (2020) and `recurrent` (2021) are
  no longer kept; the first takes "hello world" for now, the second reads "1 april 8am" as
  01:00. A reminder at a guessed time is worse than a question, so here a phrase is
  understood as a whole or refused. The price: English only.
"""

from __future__ import annotations

from bots.schedule.errors import BadTime
from bots.schedule.natural import moment, schedule, split_schedule
from bots.schedule.rules import At, Cron, Every, Once, Schedule
from bots.schedule.timers import Due, Overdue, Timer, from_json, to_json
from bots.schedule.zones import from_wall, to_ms, to_wall, zone

__all__ = [
    "At",
    "BadTime",
    "Cron",
    "Due",
    "Every",
    "Once",
    "Overdue",
    "Schedule",
    "Timer",
    "from_json",
    "from_wall",
    "moment",
    "schedule",
    "split_schedule",
    "to_json",
    "to_ms",
    "to_wall",
    "zone",
]
