"""Kill a writing process again and again, for test_crash.

Arguments: a directory, and how many times. A child commits batches, confirms each on a pipe, and
on the way checkpoints and applies retention; it is killed after a random number of confirmations.
Whatever it confirmed must be there. One process forks all children, so that a round is fast.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from ofcd.relay.facts import Fact
from ofcd.store import Durability, Retention, Store
from tests.store.support import ANA, Room, entry, loaded, url

KEEP = Retention(max_events=200)


def batches(room: Room) -> Iterator[list[Fact]]:
    """The same endless facts in parent and child: the numbers decide the sizes."""
    yield list(room.founded())
    while True:
        seq = len(room.log)
        yield [*room.events(1 + seq % 5, size=seq % 900), room.cursor(ANA, seq)]


def write(path: Path, room: Room, confirm: int) -> None:
    """Commit for ever, from the batch on that the database lacks."""
    with Store.open(url(path), durability=Durability.NORMAL) as store:
        snapshot = store.load_room(room.id)
        head = -1 if snapshot is None else snapshot.seq
        for facts in batches(room):
            if room.log[-1].seq <= head:
                continue
            store.commit(facts)
            os.write(confirm, room.log[-1].seq.to_bytes(4, "big"))
            if room.log[-1].seq % 50 == 0:
                store.checkpoint()
                store.apply_retention(KEEP, 1)


def one_round(path: Path, rounds: random.Random) -> int:
    """Start a child, kill it in the midst of work, return the last seq it confirmed."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(ours)
            write(path, Room(), theirs)
        finally:
            os._exit(1)
    os.close(theirs)
    confirmed = b""
    for _ in range(rounds.randrange(1, 60)):
        confirmed = os.read(ours, 4) or confirmed
    time.sleep(rounds.random() / 1000)  # anywhere within the next commit
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while more := os.read(ours, 4):
        confirmed = more
    os.close(ours)
    return int.from_bytes(confirmed, "big")


def verify(path: Path, confirmed: int) -> None:
    """All that was confirmed is there, batches are whole, and nothing is damaged."""
    room = Room()
    ends = []
    with Store.open(url(path)) as store:
        snapshot = loaded(store, room)
        assert snapshot.seq >= confirmed, (snapshot.seq, confirmed)
        for _ in batches(room):
            ends.append(room.log[-1].seq)
            if ends[-1] >= snapshot.seq:
                break
        assert snapshot.seq == ends[-1], "half a batch was committed"
        log = room.log[: snapshot.seq + 1]
        assert list(snapshot.recent) == [entry(fact) for fact in log[-1024:]]
        if len(ends) > 1:
            assert snapshot.cursors == {ANA: ends[-2] + 1}
        page = store.read_log(
            room.id, store.floor(room.id), mid=ANA, max_events=9999, max_bytes=10**8
        )
        assert [(row.record, row.cell) for row in page.rows] == [
            (fact.record, fact.cell) for fact in log[page.floor :]
        ]
        assert store.check().ok, store.check().problems


def main(directory: Path, times: int) -> None:
    path, rounds = directory / "killed.db", random.Random(5103)
    for _ in range(times):
        verify(path, one_round(path, rounds))
    print("ok")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
