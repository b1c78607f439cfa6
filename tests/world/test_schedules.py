"""Two owners renew one key at the same moment, in a thousand orders of what happens when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from random import Random

import pytest

from ofcd.client.turn import Ticket
from ofcd.protocol.records import RekeyBoxed, RekeyRoutine
from tests.sweeps import fewer
from tests.world.schedules import Crowd, Party

SCHEDULES = fewer(1000)
PARTS = 4


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("part", range(PARTS))
def test_21_two_co_owners_rekey_at_once_in_1000_schedules(part: int) -> None:
    """Test 21: one of the two wins, all converge, and no message is lost.

    Every other time both want a new key whatever happens: the loser's comes next. Else one is
    enough: the loser finds that nothing is left to do.
    """
    crowd = Crowd(Random(part))
    crowd.found("ana", "bo", "cy")
    ana, bo, _ = crowd.parties
    crowd.promote(bo)
    won: Counter[str] = Counter()
    for number in range(part, SCHEDULES, PARTS):
        crowd.random.seed(number)
        won[play(crowd, number, once=crowd.random.random() < 0.5)] += 1
    assert min(won[ana.name], won[bo.name]) > SCHEDULES / PARTS / 4, "always the same one wins"


def play(crowd: Crowd, number: int, *, once: bool) -> str:
    """One schedule, and all that must be true after it; who won."""
    ana, bo, cy = crowd.parties
    start, epoch = crowd.log.seq + 1, crowd.log.state.epoch
    tickets: list[Ticket] = []

    def rotate_both() -> None:
        for owner in crowd.random.sample((ana, bo), 2):
            tickets.append(owner.rotate(once=once))

    said = [(party, f"{party.name} {number}.{n}") for n in range(2) for party in (ana, bo, cy)]
    said = crowd.random.sample(said, 3)
    doing: list[Callable[[], None]] = [partial(party.say, text) for party, text in said]
    doing.insert(crowd.random.randrange(len(doing)), rotate_both)
    cut = crowd.random.random() < 0.1
    if cut:
        unlucky = crowd.random.choice(crowd.parties)
        doing.insert(crowd.random.randrange(1, len(doing) + 1), unlucky.cut)
    refused = conflicts(ana, bo)
    crowd.run(crowd.parties, doing)

    where = f"schedule {number}"
    assert all(ticket.settled and ticket.error is None for ticket in tickets), where
    rekeys = [r for r in crowd.records(start) if isinstance(r, RekeyRoutine | RekeyBoxed)]
    by = [next(p.name for p in (ana, bo) if p.room.core.me == r.mid) for r in rekeys]
    assert [r.epoch for r in rekeys] == list(range(epoch + 1, epoch + 1 + len(by))), where
    assert len(by) == 1 if once else sorted(by) == ["ana", "bo"], (where, by)
    assert conflicts(ana, bo) - refused == 1 or cut, where
    texts = ana.texts(start)
    assert sorted(texts) == sorted(text for _, text in said), where
    for party in crowd.parties:
        agrees(crowd, party, f"{where}, {party.name}")
        assert party.texts(start) == texts, where
        own = [text for who, text in said if who is party]
        assert [text for text in texts if text in own] == own, where
    return by[0]


def conflicts(*parties: Party) -> int:
    """How often these were told that another record was first."""
    return sum(party.refusals["conflict"] for party in parties)


def agrees(crowd: Crowd, party: Party, where: str) -> None:
    """This client has the log that the relay has, and the key that all have; nothing is amiss."""
    core, first = party.room.core, crowd.parties[0].room.core
    assert (core.log.log, core.state.ctl) == (crowd.log.log, crowd.log.state.ctl), where
    key = core.keys.get(core.state.epoch)
    assert key is not None, where
    assert key == first.keys.get(core.state.epoch), where
    assert party.alarms == [], where
