"""An owner at a relay that follows is asked for keys, though it says nothing itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from attrs import evolve

from ofcd.client import Room
from ofcd.testing import open_net
from tests.federation.double import part, quickly, rejoin, say, shared
from tests.federation.test_home import relay_of
from tests.world.scene import agree, settle, until


def lose_key(room: Room) -> None:
    """This member's room keys are gone."""
    core = room._client._core(room.id)
    core.view = evolve(core.view, keys=evolve(core.keys, keys={}))


@pytest.mark.parametrize("anew", [False, True])
async def test_an_owner_that_was_there_before_the_hub_or_the_link_is_asked_for_a_key(
    tmp_path: Path, autojump_clock: trio.abc.Clock, anew: bool
) -> None:
    """The room was moved away from its relay; and then the two had another link."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        await ana.send("before")
        await settle([ana, bo])
        await ana.move_hub(new.url)
        await settle([ana, bo])
        assert ana._client._core(ana.id).identity.relay_id == relay_of(old)
        if anew:
            part(old, new)
            await trio.sleep(60)
            rejoin(old, new)
            await trio.sleep(600)
        lose_key(bo)
        await say(bo, "as soon as I can")
        await until(lambda: not bo.outbox(), seconds=60)
        await settle([ana, bo])
        agree([ana, bo], ["before", "as soon as I can"])
