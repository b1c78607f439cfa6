"""A room that was moved by force, and again: who was at home at a relay that is gone finds it."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from ofcd.client import Offline, Room, forcing
from ofcd.protocol import records
from ofcd.protocol.frames import Attach, Failure, Moved
from ofcd.testing import World, open_net
from tests.daemon.rawlink import open_raw
from tests.federation.double import federated, local, part, quickly, shared
from tests.federation.test_blame import forged
from tests.federation.test_force import acquainted, force
from tests.federation.test_force_waiting import frozen
from tests.federation.test_home import home_of, relay_of
from tests.world.scene import agree, settle, texts


@attrs.frozen
class Scene:
    """Root and Dan at the first relay; Bo at the second, Cai at the third."""

    one: World
    two: World
    three: World
    ana: Room
    bo: Room
    cai: Room
    dan: Room


@asynccontextmanager
async def opened(tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_net(tmp_path, "one", "two", "three", change=quickly) as (one, two, three):
        ana, bo = await shared(one, two)
        cai = await federated(one, three, "cai", ana)
        dan = await local(one, ana, "dan")
        await acquainted(two, three)
        await dan.send("before")
        await settle([ana, bo, cai, dan])
        yield Scene(one, two, three, ana, bo, cai, dan)


async def moves_twice(scene: Scene) -> None:
    """From the first to the second, and from there to the third; the first two are gone."""
    await scene.one.stop_relay()
    await force(scene.ana, scene.two)
    await settle([scene.ana, scene.bo, scene.cai])
    await scene.two.stop_relay()
    await force(scene.ana, scene.three)


async def test_who_heard_of_neither_move_goes_home_to_the_hub_of_now(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """The hub between, which the log names first, is gone."""
    async with opened(tmp_path) as scene:
        ana, cai, dan = scene.ana, scene.cai, scene.dan
        await moves_twice(scene)
        dan._client.patience = math.inf  # as `ofc` waits
        await dan.move_home(scene.three.url)
        await dan.send("after")
        await settle([ana, cai, dan])
        agree([ana, cai, dan], ["before", "after"])
        assert home_of(cai, dan) == relay_of(scene.three)


async def test_who_heard_of_neither_move_goes_home_to_a_relay_that_follows(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """It lets nobody in who is not at home there, and says where the room went.

    Also where two histories of the first hub were proven: that root moved the room thaws it.
    """
    async with opened(tmp_path) as scene:
        ana, cai, dan = scene.ana, scene.cai, scene.dan
        await scene.one.stop_relay()
        await force(ana, scene.two)
        await settle([ana, scene.bo, cai])
        assert await told_to_a_liar(scene.three, dan) == []
        await frozen(dan)
        assert texts(dan) == ["before"], "what was proven by then can be read"
        await dan.move_home(scene.three.url)
        await dan.send("after")
        await settle([ana, scene.bo, cai, dan])
        agree([ana, scene.bo, cai, dan], ["before", "after"])
        assert (dan.relay_url, home_of(cai, dan)) == (scene.three.url, relay_of(scene.three))


async def test_who_heard_of_neither_move_goes_home_to_a_hub_between(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """It lives, and only follows now: HOME is said at the hub that it tells of."""
    async with opened(tmp_path) as scene:
        ana, bo, cai, dan = scene.ana, scene.bo, scene.cai, scene.dan
        await scene.one.stop_relay()
        await force(ana, scene.two)
        await force(ana, scene.three)
        await settle([ana, bo, cai])
        await dan.move_home(scene.two.url)
        await dan.send("after")
        await settle([ana, bo, cai, dan])
        agree([ana, bo, cai, dan], ["before", "after"])
        assert (dan.relay_url, home_of(cai, dan)) == (scene.two.url, relay_of(scene.two))


async def test_root_goes_home_from_a_hub_that_is_gone_at_the_next_move(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it could not do so at the first: the second says nothing of that hub."""
    async with opened(tmp_path) as scene:
        ana, bo, cai = scene.ana, scene.bo, scene.cai
        await scene.one.stop_relay()
        with monkeypatch.context() as patched:
            patched.setattr(forcing, "move_home", unreached)
            with pytest.raises(Offline):
                await force(ana, scene.two)
        await settle([ana, bo, cai])
        assert home_of(ana, ana) not in (relay_of(scene.two), relay_of(scene.three))
        await force(ana, scene.three)
        assert home_of(ana, ana) == relay_of(scene.three)


async def told_to_a_liar(world: World, room: Room) -> list[Moved]:
    """Who only claims to be this member hears nothing of where the room went."""
    async with open_raw(world) as raw:
        assert raw.session.welcome is not None
        record = records.Attach(
            v=1,
            room=room.id,
            mid=room.me,
            transport_key=raw.transport_key,
            relay_id=relay_of(world),
            challenge=raw.session.welcome.challenge,
            ts=0,
        )
        await raw.send(Attach(raw.rid(), forged(record), hub=room.hub_id))
        await raw.expect(Failure)
        return [frame for frame in raw.got if isinstance(frame, Moved)]


async def unreached(*_: object) -> None:
    """The link was lost."""
    raise Offline("lost")


async def test_who_is_at_home_nowhere_any_more_goes_to_the_hub_by_itself(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Its HOME is void, it was offline then, and the hub that it knows is gone."""
    async with opened(tmp_path) as scene:
        ana, bo, cai, dan = scene.ana, scene.bo, scene.cai, scene.dan
        await scene.one.stop_client("ana")
        part(scene.one, scene.two)
        await dan.move_home(scene.three.url)
        await dan.send("void")
        await settle([cai, dan])
        await scene.one.stop_client("dan")
        await scene.one.stop_relay()
        [ana] = (await scene.one.client("ana")).rooms
        await force(ana, scene.two)
        await settle([ana, bo, cai])
        [dan] = (await scene.one.client("dan")).rooms
        await settle([ana, bo, cai, dan])
        agree([ana, bo, cai, dan], ["before", "void"])
        assert dan.relay_url == scene.two.url
