"""A follower that was away while its room was moved, and longer than the old hub keeps anything."""

from __future__ import annotations

from pathlib import Path

import trio
from attrs import evolve

from ofcd.config import Settings
from ofcd.testing import open_net
from tests.federation.double import federated, quickly, say, shared
from tests.federation.test_gaps import away
from tests.federation.test_home import relay_of
from tests.federation.test_hostile import copy_head
from tests.world.scene import settle, stored, texts, until


def forgetful(name: str, settings: Settings) -> Settings:
    """Hubs that keep three messages a room; the third relay keeps all."""
    settings = quickly(name, settings)
    if name == "third":
        return settings
    return evolve(settings, storage=evolve(settings.storage, max_events_per_room=3))


async def test_a_room_that_was_moved_in_the_gap_is_followed_there(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Nobody is blamed, and what is said after the gap is there."""
    async with open_net(tmp_path, "old", "new", "third", change=forgetful) as (old, new, third):
        ana, bo = await shared(old, new)
        cai = await federated(old, third, "cai", ana)
        await say(ana, "before")
        await settle([ana, bo, cai])
        for hub in (old, new):
            away(hub, third)
        for number in range(6):
            await say(ana, f"lost {number}")
        await settle([ana, bo])
        await ana.move_hub(new.url)
        for number in range(6):
            await say(ana, f"kept {number}")
        await settle([ana, bo])
        await trio.sleep(200)  # retention runs
        moved_at = ana._client._core(ana.id).state.hubs[-1].since
        assert stored(old).floor(ana.id) > moved_at + 1
        for hub in (old, new):
            third.to_relays[hub.url].up = True
        await until(lambda: copy_head(third, ana.id) == copy_head(new, ana.id), seconds=2400)
        await cai.send("and on")
        await settle([ana, bo, cai])
        assert texts(cai)[-2:] == ["kept 5", "and on"]
        assert [peer.state for peer in stored(third).peers() if peer.state == "quarantined"] == []
        assert {copy.hub for copy in stored(third).replicas()} == {relay_of(new)}
