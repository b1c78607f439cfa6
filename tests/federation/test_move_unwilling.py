"""A relay that takes over no rooms of others, whoever says that it is to order one."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from attrs import evolve

from ofcd.client import RelayRefused
from ofcd.config import Settings
from ofcd.protocol.codes import Code
from ofcd.testing import open_net
from tests.federation.double import dialling, quickly, say, shared
from tests.federation.test_force import force
from tests.federation.test_force_hostile import moving, signed
from tests.federation.test_force_told import heard, told
from tests.federation.test_home import relay_of
from tests.federation.test_hostile import copy_head
from tests.world.scene import agree, settle, stored, until


def closed(name: str, settings: Settings) -> Settings:
    """The one that the room is to move to makes no rooms for anybody."""
    settings = quickly(name, settings)
    if name == "new":
        return evolve(settings, access=evolve(settings.access, create="nobody"))
    return settings


async def test_no_room_is_moved_to_a_relay_that_takes_none(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Root hears why, and the room goes on where it is."""
    async with open_net(tmp_path, "old", "new", change=closed) as (old, new):
        ana, bo = await shared(old, new)
        with pytest.raises(RelayRefused, match="takes over no rooms") as refused:
            await ana.move_hub(new.url)
        assert refused.value.code == Code.FORBIDDEN
        await say(ana, "it goes on")
        await settle([ana, bo])
        agree([ana, bo], ["it goes on"])


async def test_a_hub_that_does_not_ask_makes_nobody_a_hub(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Its record is true, and in the copy; but nothing is ordered, nor promised, there."""
    async with open_net(tmp_path, "old", "new", change=closed) as (old, new):
        ana, bo = await shared(old, new)
        assert old.daemon is not None
        old.daemon.hub._relay._core.hosts.add((ana.id, relay_of(new)))
        moving = ana._client._machine(ana.id)
        async with trio.open_nursery() as nursery:

            async def move() -> None:
                await ana.move_hub(new.url)

            nursery.start_soon(move)
            await until(lambda: moving.core.state.hub == relay_of(new))
            await until(lambda: copy_head(new, ana.id) == copy_head(old, ana.id))
            nursery.cancel_scope.cancel()
        for _ in range(2):
            assert {copy.hub for copy in stored(new).replicas()} == {relay_of(old)}
            with pytest.raises(RelayRefused, match="takes over none") as refused:
                await bo.send("who orders this?")
            assert refused.value.code == Code.FORBIDDEN
            assert stored(new).replicas()[0].waiting == 0
            await new.restart_relay()
        settings = new.settings
        new.settings = evolve(settings, access=evolve(settings.access, create="anyone"))
        await old.stop_relay()
        await new.restart_relay()
        await bo.send("this one, from now on")
        assert stored(new).replicas() == []
        await old.start_relay()
        await settle([ana, bo])
        agree([ana, bo], ["this one, from now on"])


async def test_nor_is_a_room_moved_there_by_force(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Root hears why, and stays where root was."""
    async with open_net(tmp_path, "old", "new", change=closed) as (old, new):
        ana, bo = await shared(old, new)
        await settle([ana, bo])
        await old.stop_relay()
        with pytest.raises(RelayRefused, match="does not take the room over") as refused:
            await force(ana, new)
        assert refused.value.code == Code.FORBIDDEN
        await old.start_relay()
        await say(ana, "it goes on")
        await settle([ana, bo])
        agree([ana, bo], ["it goes on"])


async def test_a_move_by_force_that_is_told_makes_nobody_a_hub(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Root has signed it, and asked elsewhere than here."""
    async with open_net(tmp_path, "old", "new", change=closed) as (old, new):
        ana, bo = await shared(old, new)
        await settle([ana, bo])
        move = signed(ana, moving(ana, relay_of(new), old.now()))
        async with dialling(new) as double:
            await double.send(told(ana, [move]))
            await heard(double)
            await trio.sleep(30)
        assert {copy.hub for copy in stored(new).replicas()} == {relay_of(old)}
        await say(ana, "it goes on")
        await settle([ana, bo])
        agree([ana, bo], ["it goes on"])
