"""A move to another relay that can not be done, as neither relay is there."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import trio
from attrs import evolve

from ofcd.client import Offline, reaching
from ofcd.protocol.codes import Code, Refused
from ofcd.relay import attach, forwarding
from ofcd.testing import open_net
from tests.federation.double import quickly, shared
from tests.world.scene import settle


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


async def test_who_is_not_let_in_at_the_hub_goes_back_home(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub answers, but the room does not come about there."""
    async with open_net(tmp_path, "hub", "old", "new", change=quickly) as (hub, old, new):
        ana, bo = await shared(hub, old)
        bo._client.patience = 60
        monkeypatch.setattr(forwarding, "check_arrival", refuse)
        monkeypatch.setattr(attach, "check_proof", refuse)
        await old.stop_relay()
        with pytest.raises(Offline):
            await bo.move_home(new.url)
        assert (bo.relay_url, bo._client._core(bo.id).is_away) == (old.url, True)
        monkeypatch.undo()
        await old.restart_relay()
        await ana.send("still there")
        await settle([ana, bo])


def refuse(*_: object) -> None:
    raise Refused(Code.TRY_AGAIN)


async def test_a_relay_that_is_slow_to_catch_up_is_not_gone(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is waited for as long as something comes, and not for ever if nothing does."""
    async with open_net(tmp_path, "hub", "old", change=quickly) as (hub, old):
        _, bo = await shared(hub, old)
        client, core = bo._client, bo._client._core(bo.id)
        client.patience = math.inf
        waits: list[float] = []

        async def live(_: object, seconds: float) -> None:
            waits.append(seconds)
            if len(waits) < 4:
                core.head = evolve(core.head, seq=core.head.seq + 1)
            raise Offline("not yet")

        monkeypatch.setattr(client, "_live", live)
        with pytest.raises(Offline):
            await reaching._live_or_gone(client, bo.id)
        assert waits == [15.0] * 4

        async def named(_: object, seconds: float) -> None:
            """Each relay names another one, in the end."""
            waits.append(seconds)
            await trio.sleep(seconds)
            raise Offline("not here")

        waits.clear()
        client.patience = 70.0
        monkeypatch.setattr(client, "_live", named)
        monkeypatch.setattr(client, "_connection", lambda _: object())
        with pytest.raises(Offline):
            await reaching._live_at_hub(client, bo.id)
        assert waits == [30.0, 30.0, 10.0]
