"""A schedule that survives restarts: what was missed while the bot was away, and its JSON form."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import Any, Final

import attrs
from attrs import field, frozen

from bots.durations import BadDuration, as_ms, show_duration
from bots.schedule.errors import BadTime
from bots.schedule.rules import At, Cron, Every, Once, Schedule

__all__ = ["Due", "Overdue", "Timer", "from_json", "to_json"]

GRACE: Final = 60_000
"""A run that is later than this, in ms, was missed: the bot was away."""
MAX_RUNS: Final = 100
_MINUTE: Final = 60_000

_ONCE: Final = re.compile(r"run-once(?: ?if ?< ?(?P<age>.{1,30}))?")
_ALL: Final = re.compile(r"run-all(?: ?\(max (?P<most>\d{1,3})\))?")


@frozen
class Overdue:
    """What to do about runs that came due while the bot was away.

    Written as "skip", "run-once" (the last one only), "run-once-if<2h" (the last one, while it
    is no older than that) or "run-all(max 5)" (the last five, oldest first).
    """

    most: int
    """How many missed runs to make up for, the latest ones."""
    max_age_ms: int | None = None

    @classmethod
    def parse(cls, text: str) -> Overdue:
        """Read a policy.

        Raises:
            BadTime: The text is none.
        """
        policy = " ".join(text.casefold().split())
        if policy == "skip":
            return cls(0)
        if once := _ONCE.fullmatch(policy.replace("-if<", " if<")):
            return cls(1, _age(once["age"]) if once["age"] else None)
        if every := _ALL.fullmatch(policy):
            most = int(every["most"] or MAX_RUNS)
            if 1 <= most <= MAX_RUNS:
                return cls(most)
        raise BadTime("Overdue is skip, run-once, run-once-if<2h or run-all(max 5), up to 100.")

    def __str__(self) -> str:
        if self.most == 0:
            return "skip"
        if self.max_age_ms is not None:
            return f"run-once-if<{show_duration(self.max_age_ms).replace(' ', '')}"
        return "run-once" if self.most == 1 else f"run-all(max {self.most})"


def _age(text: str) -> int:
    try:
        return as_ms(text)
    except BadDuration as wrong:
        raise BadTime(str(wrong)) from None


def _policy(overdue: str | Overdue) -> Overdue:
    return Overdue.parse(overdue) if isinstance(overdue, str) else overdue


@frozen
class Due:
    """What `Timer.due` found."""

    runs: tuple[int, ...]
    """The planned moments to run for now, oldest first: with the timer's name, each is the
    idempotency key of its run."""
    missed: bool
    """Whether runs were left out, by policy."""
    next_ms: int | None
    """When to ask again; None: this timer is done."""
    timer: Timer
    """What to store, in the transaction that runs what is due."""


@frozen
class Timer:
    """A schedule, its policy, and up to when it has been served.

    ```python
    timer = Timer(At("weekdays 09:00", "Europe/Berlin"), now_ms, "run-once-if<2h")
    due = timer.due(now_ms)
    for planned in due.runs: ...
    ```
    """

    schedule: Schedule
    served_ms: int
    """Runs up to and with this moment are done with: at first, when the timer was made."""
    overdue: Overdue = field(default=Overdue(1), converter=_policy)

    @property
    def next_ms(self) -> int | None:
        """The first run not yet served, which may be past; None: there is none."""
        return self.schedule.next_after(self.served_ms)

    def due(self, now_ms: int) -> Due:
        """Return what to run now. Time that went back changes nothing: nothing runs twice."""
        now_ms = max(now_ms, self.served_ms)
        last = _latest(self.schedule, self.served_ms, now_ms, self.overdue.most + 1)
        runs = tuple(planned for planned in last if self._wanted(planned, last[-1], now_ms))
        runs = runs[-max(self.overdue.most, 1) :]
        return Due(
            runs=runs,
            missed=len(runs) < len(last),
            next_ms=self.schedule.next_after(now_ms),
            timer=attrs.evolve(self, served_ms=now_ms),
        )

    def _wanted(self, planned: int, latest: int, now_ms: int) -> bool:
        late = now_ms - planned
        if planned == latest and late <= GRACE:
            return True
        allowed = self.overdue.max_age_ms
        return self.overdue.most > 0 and (allowed is None or late < allowed)


def _between(schedule: Schedule, after_ms: int, until_ms: int) -> Iterator[int]:
    """Yield the moments later than `after_ms`, up to and with `until_ms`."""

    def moments() -> Iterator[int]:
        moment = schedule.next_after(after_ms)
        while moment is not None:
            yield moment
            moment = schedule.next_after(moment)

    return takewhile(lambda moment: moment <= until_ms, moments())


def _latest(schedule: Schedule, after_ms: int, until_ms: int, most: int) -> tuple[int, ...]:
    """Return the last `most` moments in that span, without walking through years of seconds.

    Looks back from the end, each time twice as far.
    """
    window = _MINUTE
    while True:
        start = max(after_ms, until_ms - window)
        found = tuple(_between(schedule, start, until_ms))
        if len(found) >= most or start == after_ms:
            return found[-most:]
        window *= 2


# ---------------------------------------------------------------- stored


_KINDS: Final[dict[str, Callable[..., Schedule]]] = {
    "every": Every,
    "at": At,
    "cron": Cron,
    "once": Once,
}
_STORED: Final[dict[str, dict[str, type]]] = {
    "every": {"period_ms": int, "start_ms": int},
    "at": {"text": str, "tz": str},
    "cron": {"line": str, "tz": str},
    "once": {"at_ms": int},
}


def to_json(timer: Timer) -> dict[str, Any]:
    """Return the timer as a dict of JSON's own types; `from_json` reads it."""
    kind = next(name for name, known in _KINDS.items() if type(timer.schedule) is known)
    stored = {name: getattr(timer.schedule, name) for name in _STORED[kind]}
    return {
        "schedule": {"kind": kind, **stored},
        "served_ms": timer.served_ms,
        "overdue": str(timer.overdue),
    }


def from_json(stored: object) -> Timer:
    """Return the timer that `to_json` wrote.

    Raises:
        BadTime: It is not one, or its schedule is no longer understood.
    """
    match stored:
        case {
            "schedule": {"kind": str(kind), **rest},
            "served_ms": int(served),
            "overdue": str(overdue),
            **more,
        } if not more and {name: type(rest[name]) for name in rest} == _STORED.get(kind):
            fields = {name: rest[name] for name in _STORED[kind]}
            try:
                return Timer(_KINDS[kind](**fields), served, overdue)
            except BadTime as wrong:
                raise BadTime("A stored timer is not understood any more.") from wrong
    raise BadTime("A stored timer can not be read.")
