"""What happens just when something else does: nothing breaks, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import trio

from ofcd.daemon.peers.following import Following
from ofcd.protocol import frames
from ofcd.protocol.ids import Hash32, MemberId, RoomId
from ofcd.testing import World, open_net
from ofcd.testing.world import Inline
from tests.federation.double import identity, quickly, say, shared
from tests.federation.test_blame import link_of
from tests.federation.test_hostile import Scene, hub_gone_bad
from tests.federation.test_strangers import known
from tests.world.scene import again, agree, settle, stored, texts, until

T = TypeVar("T")


class Forgetful(Inline):
    """While a thread works, the copy leaves memory."""

    def __init__(self, world: World, room: RoomId) -> None:
        self.world = world
        self.room = room
        self.times = 0

    async def run(self, work: Callable[[], T], limiter: trio.CapacityLimiter | None = None) -> T:
        done = await super().run(work, limiter)
        assert self.world.daemon is not None
        core = self.world.daemon.hub._relay._core
        self.times += core.rooms.pop(self.room, None) is not None
        return done


def following(scene: Scene) -> Following:
    [peer] = [peer for peer in known(scene.home).roster.peers.values() if peer.link is not None]
    return peer.following


async def test_a_copy_that_leaves_memory_while_it_is_verified_is_loaded_anew(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Entries, heads and evidence are taken even so; nothing is our mistake, or the hub's."""
    async with hub_gone_bad(tmp_path) as (scene, double):
        await scene.lying(double)
        forgetful = Forgetful(scene.home, scene.room)
        following(scene).copies._workers = forgetful
        last = scene.rows[-1].seq
        await scene.deliver(double, *scene.rows)
        await double.expect(frames.Cursor, lambda c: c.seq == last)
        await scene.head(double, last, scene.state()[1])
        await until(lambda: "cai 2" in texts(scene.bo))
        await scene.head(double, last, Hash32(b"\x07" * 32))
        await until(lambda: stored(scene.home).replicas()[0].frozen == "fork")
        assert forgetful.times >= 3
        daemon = scene.home.daemon
        assert daemon is not None
        assert "internal_errors_total 0.0" in daemon.hub.metrics.render().decode()


async def test_who_waits_to_be_let_in_does_not_wait_for_a_room_that_is_followed_no_more(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """`unfollowed` comes in between, for members who went before: the room is asked for again."""
    async with hub_gone_bad(tmp_path) as (scene, double):
        await scene.lying(double)
        nobody_yet = MemberId(b"\x01" * 32)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(following(scene).have, scene.room, nobody_yet)
            await trio.sleep(1)
            await double.send(frames.Unfollowed(scene.room, "not_found"))
            await double.expect(frames.Follow, seconds=5)
            nursery.cancel_scope.cancel()
        await double.send(frames.Unfollowed(scene.room, "not_found"))
        await trio.sleep(50)
        assert not [frame for frame in double.seen if isinstance(frame, frames.Follow)]
        await double.expect(frames.Follow, seconds=20)  # Bo is still a member, and at home here


async def test_what_is_to_be_done_on_a_link_that_is_gone_is_not_done(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Work that comes too late ends nothing but itself."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        ana, bo = await shared(hub, home)
        link = link_of(hub, home)
        home.to_relays[hub.url].cut()
        await link.gone.wait()
        done = trio.Event()

        async def late() -> None:
            done.set()

        link.spawn(late)
        await bo.send("on another link")
        await settle([ana, bo])
        assert not done.is_set()


async def test_what_came_back_while_its_sender_was_away_is_signed_anew_when_it_is_here(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """The hub refuses what was said under an old key, and nobody is there to be told."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        ana, bo = await shared(hub, home)
        line = home.to_relays[hub.url]
        line.up = False
        home.cut_links()
        hub.cut_links()
        await say(bo, "said before", "and after it")
        await until(lambda: stored(home).replicas()[0].waiting == 2)
        await home.stop_client("bo")
        await ana.rotate()
        line.up = True
        await until(lambda: stored(home).replicas()[0].waiting == 0, seconds=3600)
        assert texts(ana) == []
        bo = await again(home, "bo")
        await settle([ana, bo])
        agree([ana, bo], ["said before", "and after it"])
        assert identity(home).relay_id in known(hub).roster.peers
