"""Checks of invites and joins that nothing else needs: each found untested by `make mutation`."""

from __future__ import annotations

from ofcd.e2e.joining import make_request
from ofcd.protocol.records import InviteOpen, JoinRequest, Role
from tests.e2e.world import NOW, RELAY_ID, World


def test_an_owners_invite_names_every_owner_once(world: World) -> None:
    """The inviter is an owner itself: named twice, the relay would refuse the invite."""
    co = world.join("Co", role=Role.CO_OWNER)
    record = world.invite(co).signed.record
    assert isinstance(record, InviteOpen)
    assert sorted(record.admitters) == sorted([co.mid, world.root.mid])


def test_an_admitter_who_is_gone_gets_no_box(world: World) -> None:
    """The others named in the invite can still answer."""
    co = world.join("Co", role=Role.CO_OWNER)
    code = world.invite(world.root).code
    world.evict(world.root, co)
    joining = make_request(code, world.root.view.state, home=RELAY_ID, now=NOW)
    request = joining.request.record
    assert isinstance(request, JoinRequest)
    assert [mid for mid, _ in request.boxes] == [world.root.mid]
