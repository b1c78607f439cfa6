"""What of the log's end nobody has confirmed, and how members choose who confirms it."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest

from ofcd.client import beats
from ofcd.client.model import Head
from ofcd.e2e.bodies import Beat, Content, Text
from ofcd.e2e.events import seal_event
from ofcd.protocol.records import Seen
from ofcd.themis.signed import SignedRecord, peek
from tests.e2e.world import Person, World, found_world

NOW = 1_800_000_000_000


@pytest.fixture(scope="module")
def room() -> World:
    """Root and Ana."""
    world = found_world()
    world.join("Ana")
    return world


def after(room: World, signed: SignedRecord | None, **head: Any) -> dict[str, Any]:
    """What entry 50 changes at Root's client, whose head says so."""
    core: Any = SimpleNamespace(head=Head(**head), me=room.root.mid)
    return beats.end_after(core, 50, signed, NOW)


def said(person: Person, content: Content, seen: int) -> SignedRecord:
    """An event of somebody who had seen the log up to `seen`."""
    view = person.view
    named = Seen(seen, view.seen.log)
    sealed = seal_event(view.state, view.mine, view.keys, person.outgoing(content), named)
    return sealed.signed


def test_what_others_say_waits_to_be_confirmed(room: World) -> None:
    """Events, control records, and what nobody can be said to have sent."""
    ana = room.people[1]
    waiting = {"said_seq": 50, "unconfirmed": 50, "unconfirmed_since": NOW}
    assert after(room, said(ana, Text("hello"), 49)) == waiting
    assert after(room, None) == waiting
    genesis = peek(room.relay.entries[0].envelope)
    assert after(room, genesis) == waiting


def test_a_beat_confirms_what_its_sender_had_seen(room: World) -> None:
    """Up to there and no further; whose it is makes no difference, and it is nothing said."""
    for person in room.people:
        assert after(room, said(person, Beat(), 49), unconfirmed=49) == {"unconfirmed": -1}
        assert after(room, said(person, Beat(), 48), unconfirmed=49) == {}


def test_own_words_confirm_too(room: World) -> None:
    """What was sealed before the end came confirms less than that."""
    root = room.root
    assert after(room, said(root, Text("yes"), 49), unconfirmed=49) == {
        "said_seq": 50,
        "unconfirmed": -1,
    }
    assert after(room, said(root, Text("yes"), 48), unconfirmed=49) == {"said_seq": 50}


def duty(members: int, choose: random.Random) -> beats.BeatDuty:
    state = SimpleNamespace(members=dict.fromkeys(range(members)))
    core: Any = SimpleNamespace(state=state)
    outbox: Any = None
    return beats.BeatDuty(core, outbox, choose.random)


@pytest.mark.parametrize("members", [3, 10, 500])
def test_few_are_early(members: int) -> None:
    """However many members: next to nobody else chooses the first one's second."""
    chosen = duty(members, random.Random(1))
    crowded = 0
    for _ in range(200):
        first, *others = sorted(chosen._delay() for _ in range(members))
        assert 0 <= first <= others[-1] <= beats.SPREAD
        crowded += sum(one < first + 1000 for one in others)
    assert crowded < 200 * 0.06


def test_the_first_does_not_keep_the_others_waiting() -> None:
    """In a large room it comes in the first third of the time, mostly."""
    chosen = duty(500, random.Random(1))
    firsts = [min(chosen._delay() for _ in range(500)) for _ in range(50)]
    assert sum(first < beats.SPREAD / 3 for first in firsts) > 40
