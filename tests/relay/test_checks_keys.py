"""Checks of KEY_REQ that nothing else needs: each found untested by `make mutation`."""

from __future__ import annotations

from ofcd.protocol import frames
from ofcd.protocol.records import Role
from tests.relay.world import World, admit_to, found_room


def test_an_owner_is_not_asked_for_the_key_it_asks_for() -> None:
    """Neither at once nor when it attaches again; the other owners are."""
    world = World()
    ana = found_room(world)
    co = admit_to(ana, "co", Role.CO_OWNER)
    world.expect(frames.Done, co.link, co.key_request())
    assert len(world.received(ana.link, frames.KeyAsked)) == 1
    assert not world.received(co.link, frames.KeyAsked)
    for owner, count in ((ana, 1), (co, 0)):
        link = world.open_link(owner.name)
        world.expect(frames.Attached, link, owner.attach(link))
        assert len(world.received(link, frames.KeyAsked)) == count
