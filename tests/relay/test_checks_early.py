"""What is refused early, before it costs much: each found untested by `make mutation`."""

from __future__ import annotations

import pytest
from attrs import evolve

from ofcd.protocol import frames, records
from ofcd.protocol.codes import Code, Refused
from ofcd.relay import BadSnapshot, LinkId, RelayPolicy, RoomLog
from tests.relay.world import Person, World, digest, found_room, invite_named


def code_examining(world: World, link: LinkId, frame: frames.ClientFrame) -> Code:
    """The code with which the cheap checks refuse `frame`."""
    with pytest.raises(Refused) as refused:
        world.examine(link, frame)
    return refused.value.kind


def test_a_control_record_on_an_old_head_is_refused_unverified() -> None:
    """Its turn can not come any more: the log has gone on from there."""
    world = World()
    ana = found_room(world)
    late = ana.rekey()
    ana.do(ana.rekey(cell=b"another"))
    assert code_examining(world, ana.link, late) is Code.CONFLICT


def test_an_event_with_a_used_number_is_refused_unverified() -> None:
    """Its turn can not come any more: the sender has gone on."""
    world = World()
    ana = found_room(world)
    ana.say()
    again = ana.post(counter=1, prev=ana.room)
    assert code_examining(world, ana.link, again) is Code.COUNTER_GAP


def test_a_chain_that_holds_a_record_of_no_member_is_not_taken() -> None:
    """A stored LOG_HEAD in the place of a control record is found out, not stumbled over."""
    world = World()
    ana = found_room(world)
    ana.do(ana.rekey())
    snapshot = world.store.load(ana.room)
    assert snapshot is not None
    genesis, rekey = snapshot.chain
    head = records.LogHead(v=1, room=ana.room, term=0, seq=1, log=digest("log"), ts=world.now)
    chain = (genesis, evolve(rekey, record=ana.signed(head).envelope))
    with pytest.raises(BadSnapshot):
        RoomLog.from_snapshot(evolve(snapshot, chain=chain))


def test_a_confirmation_of_an_unknown_join_counts_as_a_guess() -> None:
    """Else strangers could try rooms and invites by JOIN_CONFIRM without end."""
    world = World(RelayPolicy(failed_lookups_per_minute_per_link=1))
    ana = found_room(world)
    cy = Person(world, "cy", ana.room)
    join = cy.join(invite_named("unknown"))
    confirm = cy.confirm(join, ana.answer(join))
    assert world.code(cy.link, confirm) == Code.INVITE_UNKNOWN
    assert world.code(cy.link, confirm) == Code.RATE_LIMITED
    assert world.code(cy.link, cy.lookup(invite_named("unknown"))) == Code.RATE_LIMITED
