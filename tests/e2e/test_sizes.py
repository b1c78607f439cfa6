"""The largest records that honest clients make fit what relays take, with room to spare."""

from __future__ import annotations

import pytest

from ofcd.e2e.joining import make_request
from ofcd.e2e.names import NAME_CHARACTERS, display_name
from ofcd.protocol import limits
from ofcd.protocol.records import JoinRequest, Role
from tests.e2e.world import NOW, World

_LONGEST = "\N{SEEDLING}" * NAME_CHARACTERS
"""No name takes more bytes: four for each character, and all of them are shown."""


@pytest.mark.parametrize(("name", "expected"), [("", 6000), (_LONGEST, 8900)])
def test_a_request_to_every_admitter_there_may_be_fits(
    world: World, name: str, expected: int
) -> None:
    """Eight boxes in one JOIN_REQ, each with the name."""
    others = [
        world.join(f"co-owner {number}", role=Role.CO_OWNER)
        for number in range(limits.ADMITTERS - 1)
    ]
    admitters = [world.root.mid, *(other.mid for other in others)]
    code = world.invite(world.root, admitters=admitters).code
    state = world.root.view.state
    request = make_request(code, state, home=state.relay_id, now=NOW, name=name).request
    assert display_name(name) == name
    assert isinstance(request.record, JoinRequest)
    assert len(request.record.boxes) == limits.ADMITTERS
    size = len(request.envelope)
    assert size == pytest.approx(expected, rel=0.1)
    assert size < limits.JOIN_REQUEST_BYTES * 0.9
