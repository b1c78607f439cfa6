"""A copy that stands still for good: its operator has it taken anew from the room's hub."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
import trio

from ofcd.cli import rooms
from ofcd.cli.rooms import NotACopy, take_anew
from ofcd.client import RoomStatus
from ofcd.testing import open_net
from tests.federation.double import federated, local, part, quickly, rejoin, shared
from tests.federation.test_force import force
from tests.federation.test_hostile import log_of
from tests.federation.test_lost import backup, put_back
from tests.world.scene import again, agree, settle, stored, texts, until


async def test_a_hub_that_ordered_on_from_a_backup_follows_again(
    tmp_path: Path, autojump_clock: trio.abc.Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """It had given numbers away again when it was told that the room had been moved.

    Who took nothing of that reads on there by itself; who did needs a new invite, and a new vault.
    """
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        dan, eve = await local(old, ana, "dan"), await local(old, ana, "eve")
        await ana.send("in the backup")
        await settle([ana, bo, dan, eve])
        backup(old, tmp_path / "old.db")
        await old.stop_client("eve")
        await ana.send("not in the backup")
        await settle([ana, bo, dan])
        for name in ("ana", "dan"):
            await old.stop_client(name)
        part(old, new)
        await old.stop_relay()
        ana = await again(old, "ana")
        await force(ana, new)
        await put_back(old, tmp_path / "old.db")
        await old.start_relay()
        eve = await again(old, "eve")
        await eve.send("ordered on")
        await old.stop_client("eve")
        rejoin(old, new)
        await until(lambda: [copy.frozen for copy in stored(old).replicas()] == ["fork"])
        for world, wanted in ((new, ana.id.hex()), (old, ana.id.hex()[:15])):
            with pytest.raises(NotACopy):
                take_anew(stored(world), wanted, old.now())
        await old.stop_relay()
        capsys.readouterr()
        assert rooms.run(Namespace(anew="f" * 64, json=False), old.settings) == 2
        assert "is no room's id here" in capsys.readouterr().err
        asked = Namespace(anew=ana.id.hex()[:16], json=False)
        assert rooms.run(asked, old.settings) == 0
        assert ana.hub_id.hex()[:16] in capsys.readouterr().out
        await old.start_relay()
        await until(lambda: log_of(old, ana.id) == log_of(new, ana.id))
        dan, eve = await again(old, "dan"), await again(old, "eve")
        await dan.send("here again")
        await until(lambda: eve.status is RoomStatus.FROZEN)
        eve = await federated(new, old, "eve-anew", ana)
        await eve.send("I, too")
        await settle([ana, bo, dan, eve])
        agree([ana, bo, dan, eve])
        assert texts(ana) == ["in the backup", "not in the backup", "here again", "I, too"]
        assert (dan.relay_url, eve.relay_url) == (old.url, old.url)
