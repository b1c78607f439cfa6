"""Timers as they are kept: which function, when, and up to when it has been served (sans-IO)."""

from __future__ import annotations

import json
from collections.abc import Iterator

from attrs import evolve, frozen

from bots.records import JOBS, Reads, Writes
from bots.schedule import BadTime, Timer, from_json, to_json
from ofcd.protocol.ids import EventId, RoomId, tagged_hash

__all__ = ["Job", "Run", "job_id", "jobs_of", "keep_rest", "next_runs", "plan", "save_job"]


@frozen
class Job:
    """A timer of one function in one room (or in none)."""

    name: str
    """Of the handler."""
    timer: Timer
    payload: str = ""


@frozen
class Run:
    """A run that is due, and what to keep of its job once it is done; None: nothing."""

    key: bytes
    job: Job
    planned: int
    rest: Job | None

    @property
    def place(self) -> tuple[str, bytes]:
        """Where its job is kept."""
        return JOBS, self.key

    def event_id(self, bot_id: bytes) -> EventId:
        """Stands for an event's id in what the run sends."""
        return EventId(tagged_hash("bot", bot_id, b"timer", self.key, self.planned))


def job_id(room: RoomId | None, name: str, number: str = "") -> bytes:
    """Where a job is kept: `number` tells apart those that a handler set."""
    return f"{(room or b'').hex()}/{name}/{number}".encode()


def save_job(job: Job) -> bytes:
    """A job's bytes."""
    stored = {"name": job.name, "timer": to_json(job.timer), "payload": job.payload}
    return json.dumps(stored, separators=(",", ":")).encode()


def load_job(raw: bytes) -> Job | None:
    """The job in a record; None for one that is no longer understood."""
    stored = json.loads(raw)
    try:
        return Job(stored["name"], from_json(stored["timer"]), stored["payload"])
    except BadTime:
        return None


def jobs_of(records: Reads, room: RoomId | None) -> Iterator[tuple[bytes, Job]]:
    """The jobs of a room, or those of none."""
    start = f"{(room or b'').hex()}/".encode()
    for key, raw in list(records.items(JOBS, start, start + b"\xff")):
        job = load_job(raw)
        if job is not None:
            yield key, job


def plan(records: Writes, room: RoomId | None, timers: dict[str, Timer]) -> bool:
    """Keep these timers (by handler) for a room, begun now unless they were before.

    One whose schedule or policy is another now begins anew; one that is not among them any more
    is forgotten. Returns whether anything was written.
    """
    known = {key: job for key, job in jobs_of(records, room) if key.endswith(b"/")}
    wanted = {job_id(room, name): Job(name, timer) for name, timer in timers.items()}
    changed = False
    for key, job in wanted.items():
        old = known.pop(key, None)
        same = old is not None and old.timer == evolve(job.timer, served_ms=old.timer.served_ms)
        if not same:
            records.put(JOBS, key, save_job(job))
            changed = True
    for key in known:
        records.delete(JOBS, key)
        changed = True
    return changed


def next_runs(records: Reads, room: RoomId | None, now: int) -> tuple[list[Run], int | None]:
    """The runs that are due in a room, by time, and when the next one is (None: never)."""
    runs: list[Run] = []
    coming: list[int] = []
    for key, job in jobs_of(records, room):
        first = job.timer.next_ms
        if first is not None and first > now:
            coming.append(first)
            continue
        runs += _due(key, job, now)
    return sorted(runs, key=lambda run: run.planned), min(coming, default=None)


def _due(key: bytes, job: Job, now: int) -> Iterator[Run]:
    due = job.timer.due(now)
    *earlier, last = due.runs or (0,)
    for planned in earlier:
        yield Run(key, job, planned, evolve(job, timer=evolve(job.timer, served_ms=planned)))
    rest = evolve(job, timer=due.timer) if due.next_ms is not None else None
    yield Run(key, job, last, rest)


def keep_rest(records: Writes, run: Run) -> None:
    """What remains of a job once this run is done."""
    if run.rest is None:
        records.delete(JOBS, run.key)
    else:
        records.put(JOBS, run.key, save_job(run.rest))
