"""Microseconds a row of `Store.commit` against bare sqlite3: `python -m benchmarks.store_commit`.

Both write the same: one log entry of 650 bytes a row into the same tables, and for each commit the
room's head and its senders' last counters; same pragmas, same disk, turn by turn in one run. Bare
sqlite3 gets its rows ready made, so `ratio` is what facts, checks, SQLAlchemy and locks cost on
top. The last table is the latency of single commits, with checkpoints in a thread beside them (each
8 MiB of log), or left to the commits (each 32 MiB, so they are rarer: not like for like).
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from statistics import median

from ofcd.protocol.ids import EventId, Hash32, MemberId, RoomId, Sid
from ofcd.relay.facts import LogAppended, RoomFounded
from ofcd.store import Durability, Store

BATCHES = (1, 10, 100)
MEMBERS = tuple(MemberId(os.urandom(32)) for _ in range(50))
RECORD, CELL = os.urandom(400), os.urandom(250)
ROUNDS = 5
HOW = ("beside", "in commits")
QUANTILES = (0.5, 0.99, 0.999)

INSERT = "INSERT INTO log VALUES (?,?,?,?,?,?,?,?,?,?,?)"
SENDER = (
    "INSERT INTO senders VALUES (?,?,?,?) ON CONFLICT (room, mid) "
    "DO UPDATE SET counter = excluded.counter, last = excluded.last"
)
HEAD = (
    "UPDATE rooms SET seq=?, log=?, last_ts=?, events=events+?, bytes=bytes+? WHERE id=1 AND seq=?"
)


def facts(room: RoomId, seqs: Iterator[int], batch: int) -> list[LogAppended]:
    """Events of the room's members in turn."""
    return [
        LogAppended(
            room=room,
            seq=seq,
            event_id=EventId(os.urandom(32)),
            log=Hash32(os.urandom(32)),
            mid=MEMBERS[seq % len(MEMBERS)],
            control=False,
            record=RECORD,
            cell=CELL,
            sid=Sid(os.urandom(16)),
            counter=seq // len(MEMBERS) + 1,
            ts=seq,
        )
        for seq in (next(seqs) for _ in range(batch))
    ]


class Ours:
    """`Store.commit`."""

    def __init__(self, directory: Path, durability: Durability) -> None:
        self.store = Store.open(f"sqlite:///{directory}/ours.db", durability=durability)
        self._room, self._seqs = RoomId(os.urandom(32)), count()
        self.store.commit([RoomFounded(self._room, MEMBERS[0], 0)])

    def seconds(self, commits: int, batch: int) -> float:
        """Time for so many commits."""
        made = [facts(self._room, self._seqs, batch) for _ in range(commits)]
        started = time.perf_counter()
        for batched in made:
            self.store.commit(batched)
        return time.perf_counter() - started

    def latencies(self, commits: int) -> list[float]:
        """Times of single commits, in order of length."""
        return sorted(self.seconds(1, 1) for _ in range(commits))


class Bare:
    """The sqlite3 module, the same statements, rows ready made."""

    def __init__(self, directory: Path, durability: Durability) -> None:
        url = f"sqlite:///{directory}/bare.db"
        room = RoomId(os.urandom(32))
        with Store.open(url) as store:
            store.commit([RoomFounded(room, MEMBERS[0], 0)])
        self._room, self._seqs = room, count()
        self._raw = sqlite3.connect(f"{directory}/bare.db", isolation_level=None)
        for pragma in (
            "foreign_keys = ON",
            f"synchronous = {durability.value}",
            "wal_autocheckpoint = 0",
            "cache_size = -32768",
            "secure_delete = ON",
        ):
            self._raw.execute(f"PRAGMA {pragma}")

    def seconds(self, commits: int, batch: int) -> float:
        """Time for so many commits."""
        made = [_rows(facts(self._room, self._seqs, batch)) for _ in range(commits)]
        raw = self._raw
        started = time.perf_counter()
        for rows, senders, head in made:
            raw.execute("BEGIN IMMEDIATE")
            raw.execute(HEAD, head)
            raw.executemany(INSERT, rows)
            raw.executemany(SENDER, senders)
            raw.execute("COMMIT")
        return time.perf_counter() - started

    def checkpoint(self) -> None:
        """Empty the write-ahead log, off the clock, as the store's is."""
        self._raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def close(self) -> None:
        """Close the connection."""
        self._raw.close()


Rows = tuple[list[tuple[object, ...]], list[tuple[object, ...]], tuple[object, ...]]


def _rows(batch: list[LogAppended]) -> Rows:
    rows: list[tuple[object, ...]] = [
        (1, f.seq, f.event_id, f.log, f.mid, 0, f.sid, f.counter, f.ts, f.record, f.cell)
        for f in batch
    ]
    last = {f.mid: (1, f.mid, f.counter, f.event_id) for f in batch}
    end, size = batch[-1], len(batch) * len(RECORD + CELL)
    head = (end.seq, end.log, end.ts, len(batch), size, batch[0].seq - 1)
    return rows, list(last.values()), head


def compare(directory: Path, durability: Durability, batch: int, commits: int) -> None:
    """One line: the best of some rounds of each, taken in turn."""
    where = Path(tempfile.mkdtemp(dir=directory))
    ours, bare = Ours(where, durability), Bare(where, durability)
    ours_s, bare_s = [], []
    for _ in range(ROUNDS):
        ours_s.append(ours.seconds(commits, batch))
        bare_s.append(bare.seconds(commits, batch))
        ours.store.checkpoint()
        bare.checkpoint()
    ours.store.close()
    bare.close()
    rows = commits * batch
    ours_us, bare_us = min(ours_s) / rows * 1e6, min(bare_s) / rows * 1e6
    figures = f"{ours_us:>9.1f} {bare_us:>9.1f} {ours_us / bare_us:>7.2f}"
    print(f"{durability.value:>8} {batch:>6} {figures}")


def latency(directory: Path, durability: Durability, commits: int) -> None:
    """Two lines: single commits while the log is moved on the way; medians of runs in turn."""
    found: dict[str, list[list[float]]] = {how: [] for how in HOW}
    for n in range(ROUNDS):
        for how in HOW if n % 2 else HOW[::-1]:
            ours = Ours(Path(tempfile.mkdtemp(dir=directory)), durability)
            ours.latencies(300)
            with _Checkpoints(ours.store, how):
                times = ours.latencies(commits)
            ours.store.close()
            found[how].append([times[int(commits * q)] for q in QUANTILES] + [times[-1]])
    for how, runs in found.items():
        middle = "".join(f"{median(column) * 1e6:>9.0f}" for column in zip(*runs, strict=True))
        print(f"{durability.value:>8} {how:>12}{middle}")


class _Checkpoints:
    """Checkpoints beside the commits, in a thread, as the daemon runs them; or left to commits."""

    def __init__(self, store: Store, how: str) -> None:
        self._store, self._beside, self._end = store, how == "beside", threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._end.wait(0.005):
            if self._store.checkpoint_due:
                self._store.checkpoint()

    def __enter__(self) -> None:
        if self._beside:
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        if self._beside:
            self._thread.join()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--dir", type=Path, help="where to write (default: the temporary directory)"
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the commits")
    arguments = parser.parse_args()
    scale: Callable[[int], int] = (lambda n: n // 10) if arguments.quick else (lambda n: n)
    with tempfile.TemporaryDirectory(dir=arguments.dir) as made:
        directory = Path(made)
        print("    sync  batch  us/row of  us/row of  ratio")
        print("                     ofcd       bare")
        for durability in Durability:
            for batch in BATCHES:
                compare(directory, durability, batch, scale(1000 if batch < 100 else 200))
        print("\n    sync  checkpoints      p50      p99    p99.9    worst  (us a commit of a row)")
        for durability in Durability:
            latency(directory, durability, scale(4_000))


if __name__ == "__main__":
    main()
