"""Two relays, one room: joined, talked in and read across both."""

from __future__ import annotations

from pathlib import Path

import trio

from ofcd.testing import open_net
from tests.world.scene import agree, settle, texts


async def test_a_room_is_shared_by_members_of_two_relays(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Bo is at home at another relay than the room: joins, reads and writes as if it were his."""
    async with open_net(tmp_path, "hub", "home") as (hub, home):
        ana = await (await hub.client("ana")).create_room(hub.url, "tea", my_name="ana")
        bo_client = await home.client("bo")
        bo = await bo_client.join(await ana.invite(), name="bo", via=home.url)
        await ana.send("hello Bo")
        await bo.send("hello Ana")
        await settle([ana, bo])
        agree([ana, bo], ["hello Bo", "hello Ana"])
        assert bo.relay_url == home.url
        assert texts(bo) == ["hello Bo", "hello Ana"]
