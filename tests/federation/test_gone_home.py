"""A move to another relay that can not be done, as neither relay is there."""

from __future__ import annotations

import math
from pathlib import Path

import trio

from ofcd.testing import open_net
from tests.federation.double import quickly, shared


async def test_who_can_reach_neither_relay_stays_at_home(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """A move that was given up changes nothing: the client comes back to its relay."""
    async with open_net(tmp_path, "hub", "old", "new", change=quickly) as (hub, old, new):
        _, bo = await shared(hub, old)
        bo._client.patience = math.inf
        await old.stop_relay()
        await hub.stop_relay()
        with trio.move_on_after(90) as waited:
            await bo.move_home(new.url)
        assert waited.cancelled_caught
        assert bo.relay_url == old.url
        await old.restart_relay()
        with trio.fail_after(1200):
            await bo._client._live(bo.id)
