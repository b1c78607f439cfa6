"""The largest records that honest clients make fit what relays take, with room to spare."""

from __future__ import annotations

import pytest

from ofcd.protocol import limits
from ofcd.protocol.records import JoinRequest, Role
from tests.e2e.world import World


def test_a_request_to_every_admitter_there_may_be_fits(world: World) -> None:
    """Eight boxes in one JOIN_REQ."""
    others = [
        world.join(f"co-owner {number}", role=Role.CO_OWNER)
        for number in range(limits.ADMITTERS - 1)
    ]
    admitters = [world.root.mid, *(other.mid for other in others)]
    asked = world.ask(world.root, admitters=admitters)
    request = asked.joining.request
    assert isinstance(request.record, JoinRequest)
    assert len(request.record.boxes) == limits.ADMITTERS
    size = len(request.envelope)
    assert size == pytest.approx(6000, rel=0.2)
    assert size < limits.JOIN_REQUEST_BYTES * 0.9
