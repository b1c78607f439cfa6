"""What strangers say of relays: believed no longer than until somebody proves otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from attrs import evolve

from ofcd.client import JoinFailed
from ofcd.daemon.peers import federation
from ofcd.protocol.ids import RelayId, RoomId
from ofcd.testing import World, open_net
from tests.world.scene import agree, settle

NOWHERE = "ws://nowhere.example:5103"


def known(world: World) -> federation.Federation:
    assert world.daemon is not None
    found = world.daemon.federation
    assert found is not None
    return found


async def test_a_wrong_address_does_not_keep_a_relay_away(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """A stranger says that the hub is where nobody is: who has an invite still joins."""
    async with open_net(tmp_path, "hub", "home") as (hub, home):
        ana = await (await hub.client("ana")).create_room(hub.url, "tea", my_name="ana")
        false = evolve(await ana.invite(), relay_url=NOWHERE)
        mallory = await home.client("mallory")
        with trio.move_on_after(60), pytest.raises(JoinFailed):
            await mallory.join(false, name="mallory", via=home.url)
        bo = await (await home.client("bo")).join(await ana.invite(), name="bo", via=home.url)
        await bo.send("here")
        await settle([ana, bo])
        agree([ana, bo], ["here"])


async def test_relays_that_there_are_not_fill_no_table(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who names one after another pushes out what strangers named, never a relay that is one."""
    monkeypatch.setattr(federation, "_PEERS", 5)
    async with open_net(tmp_path, "hub", "home") as (hub, home):
        ana = await (await hub.client("ana")).create_room(hub.url, "tea", my_name="ana")
        bo = await (await home.client("bo")).join(await ana.invite(), name="bo", via=home.url)
        mallory, code = await home.client("mallory"), await ana.invite()
        for number in range(12):
            named = evolve(
                code,
                relay_url=NOWHERE,
                relay_id=RelayId(bytes([number]) * 32),
                room=RoomId(bytes([number]) * 32),
            )
            with trio.move_on_after(60):
                await mallory.join(named, name="mallory", via=home.url)
        there = known(home)
        assert len(there._peers) <= 5
        assert ana._client._core(ana.id).identity.relay_id in there._peers
        await bo.send("still here")
        await settle([ana, bo])
        agree([ana, bo], ["still here"])
