"""Checks of a member's view that nothing else needs: each found untested by `make mutation`."""

from __future__ import annotations

from ofcd.e2e.bodies import Via
from ofcd.e2e.errors import Reason, Unreadable
from ofcd.protocol.records import Cap
from tests.e2e.world import World, entry_of


def test_only_a_bridge_speaks_for_others_in_a_view(world: World) -> None:
    """`via` from a member without the capability is a marker; from a bridge it is shown."""
    irc = world.join("Irc", caps=[Cap.BRIDGE])
    via = Via("irc", "nick!user@host", "Nick")
    world.commit(entry_of(world.people[1].seal("hi", via=via)))
    refused = world.root.taken[-1]
    [trouble] = refused.troubles
    assert isinstance(trouble, Unreadable)
    assert (trouble.reason, refused.opened) == (Reason.NOT_A_BRIDGE, None)
    world.commit(entry_of(irc.seal("hi", via=via)))
    opened = world.root.taken[-1].opened
    assert opened is not None
    assert opened.body.via == via
