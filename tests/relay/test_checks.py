"""Checks of the relay that nothing else needs: each found missing by `make mutation`."""

from __future__ import annotations

import pytest

from ofcd.protocol import frames
from ofcd.protocol.codes import Code, Refused
from ofcd.relay import RelayPolicy
from ofcd.themis.signed import peek, sign_record
from tests.relay.world import DAY, Person, World, digest, found_room, invite_named, keypair

INVITE = invite_named("invite")


def test_a_guesser_waits_before_a_room_is_read() -> None:
    """Whoever has used up its guesses is told so before the store is asked for anything."""
    world = World(RelayPolicy(failed_lookups_per_minute_per_link=1))
    ana = found_room(world)
    cy = Person(world, "cy", ana.room)
    guess = cy.lookup(INVITE, proof=digest("x"))
    world.relay.read(cy.link, guess, world.now)
    assert world.code(cy.link, guess) == Code.INVITE_UNKNOWN
    with pytest.raises(Refused) as refused:
        world.relay.read(cy.link, guess, world.now)
    assert refused.value.kind is Code.RATE_LIMITED
    world.now += 60_000
    world.relay.read(cy.link, guess, world.now)


def test_a_repeat_is_signed_by_its_signer_as_well() -> None:
    """The known payload under another's signature is no repeat: it gets no Ack."""
    world = World()
    ana = found_room(world)
    frame = ana.rekey()
    ana.do(frame)
    forged = sign_record(keypair("somebody").private, peek(frame.record).record)
    again = frames.Control(frame.rid, frame.room, forged.envelope)
    assert world.code(ana.link, again) == Code.BAD_SIGNATURE


def test_a_confirmation_comes_in_time() -> None:
    """A join that waited too long is gone for its joiner too, whenever the relay clears it away."""
    world = World()
    ana = found_room(world)
    ana.do(ana.invite(INVITE, expires=world.now + 30 * DAY))
    cy = Person(world, "cy", ana.room)
    join = cy.join(INVITE)
    world.expect(frames.JoinStatus, cy.link, join)
    answer = ana.answer(join)
    world.expect(frames.Done, ana.link, answer)
    confirm = cy.confirm(join, answer)
    world.now += 7 * DAY + 1
    assert world.code(cy.link, confirm) == Code.INVITE_UNKNOWN
