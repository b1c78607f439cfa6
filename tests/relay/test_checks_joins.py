"""Checks of joins that nothing else needs: each found untested by `make mutation`."""

from __future__ import annotations

from ofcd.protocol import frames
from ofcd.protocol.records import Cap, Role
from tests.relay.world import DAY, Person, World, admit_to, found_room, invite_named

INVITE = invite_named("invite")


def test_a_join_that_waited_too_long_spends_no_invite() -> None:
    """Answered, but never confirmed: another bearer may join, even before it is cleared away."""
    world = World()
    ana = found_room(world)
    ana.do(ana.invite(INVITE, expires=world.now + 30 * DAY))
    cy, di = Person(world, "cy", ana.room), Person(world, "di", ana.room)
    join = cy.join(INVITE)
    world.expect(frames.JoinStatus, cy.link, join)
    world.expect(frames.Done, ana.link, ana.answer(join))
    world.now += 7 * DAY + 1
    world.expect(frames.JoinStatus, di.link, di.join(INVITE))


def test_who_lost_the_right_to_admit_is_not_asked() -> None:
    """The invite still names it, and stays open for its other admitter."""
    world = World()
    ana = found_room(world)
    door = admit_to(ana, "door", caps=(Cap.ADMIT,))
    both = (ana.mid, door.mid)
    ana.do(ana.invite(INVITE, admitters=both, token_boxes=((door.mid, b"token"),)))
    ana.do(ana.grant(door.mid, Role.MEMBER))
    cy = Person(world, "cy", ana.room)
    world.expect(frames.JoinStatus, cy.link, cy.join(INVITE))
    assert world.received(ana.link, frames.JoinAsked)
    assert not world.received(door.link, frames.JoinAsked)


def test_an_owner_whom_the_invite_does_not_name_is_not_asked() -> None:
    """It could not open the request: there is no box for it."""
    world = World()
    ana = found_room(world)
    co = admit_to(ana, "co", Role.CO_OWNER)
    ana.do(ana.invite(INVITE))
    cy = Person(world, "cy", ana.room)
    world.expect(frames.JoinStatus, cy.link, cy.join(INVITE))
    assert world.received(ana.link, frames.JoinAsked)
    assert not world.received(co.link, frames.JoinAsked)


def test_of_a_contested_invite_only_admitters_are_warned() -> None:
    """A plain member learns nothing of who asks in."""
    world = World()
    ana = found_room(world)
    bo = admit_to(ana, "bo")
    ana.do(ana.invite(INVITE))
    cy, di = Person(world, "cy", ana.room), Person(world, "di", ana.room)
    join = cy.join(INVITE)
    world.expect(frames.JoinStatus, cy.link, join)
    world.expect(frames.Done, ana.link, ana.answer(join))
    before = len(world.received(ana.link, frames.JoinAsked))
    world.expect(frames.Failure, di.link, di.join(INVITE))
    assert len(world.received(ana.link, frames.JoinAsked)) == before + 1
    assert not world.received(bo.link, frames.JoinAsked)


def test_a_confirmation_is_told_to_the_invites_admitters_alone() -> None:
    """Nobody else can do anything with it."""
    world = World()
    ana = found_room(world)
    bo, co = admit_to(ana, "bo"), admit_to(ana, "co", Role.CO_OWNER)
    ana.do(ana.invite(INVITE))
    cy = Person(world, "cy", ana.room)
    join = cy.join(INVITE)
    world.expect(frames.JoinStatus, cy.link, join)
    answer = ana.answer(join)
    world.expect(frames.Done, ana.link, answer)
    before = len(world.received(ana.link, frames.JoinConfirmed))
    world.expect(frames.JoinStatus, cy.link, cy.confirm(join, answer))
    assert len(world.received(ana.link, frames.JoinConfirmed)) == before + 1
    assert not world.received(bo.link, frames.JoinConfirmed)
    assert not world.received(co.link, frames.JoinConfirmed)


def test_an_invite_outlives_an_admitter_who_is_gone() -> None:
    """The other one answers, and is told of the confirmation."""
    world = World()
    ana = found_room(world)
    door = admit_to(ana, "door", caps=(Cap.ADMIT,))
    both = (ana.mid, door.mid)
    ana.do(ana.invite(INVITE, admitters=both, token_boxes=((door.mid, b"token"),)))
    ana.do(ana.rekey_boxed(door.mid))
    cy = Person(world, "cy", ana.room)
    join = cy.join(INVITE)
    world.expect(frames.JoinStatus, cy.link, join)
    answer = ana.answer(join)
    world.expect(frames.Done, ana.link, answer)
    world.expect(frames.JoinStatus, cy.link, cy.confirm(join, answer))
    assert world.received(ana.link, frames.JoinConfirmed)
