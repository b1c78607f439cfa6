"""Two people and a relay in memory: the conversation that everything else is about."""

from __future__ import annotations

from pathlib import Path

import trio

from ofcd.testing import open_world
from tests.world.scene import settle


async def test_two_people_talk(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    """Ana founds a room and invites Bo; both read what the other says, in the same order."""
    async with open_world(tmp_path) as world:
        ana, bo = await world.client("ana"), await world.client("bo")
        tea = await ana.create_room(world.url, "tea", my_name="Ana")
        invite = await tea.invite()
        at_bo = await bo.join(invite, name="Bo")
        await tea.send("hello Bo")
        await at_bo.send("hello Ana")
        await settle([tea, at_bo])
        said = [[(m.name, m.text) for m in room.messages()] for room in (tea, at_bo)]
        assert said[0] == said[1] == [("Ana", "hello Bo"), ("Bo", "hello Ana")]
