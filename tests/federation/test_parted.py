"""A relay whose last member goes while it is away: who was there is told all the same."""

from __future__ import annotations

from pathlib import Path

import trio

from ofcd.client import Room, RoomStatus
from ofcd.protocol import frames
from ofcd.protocol.codes import Code
from ofcd.testing import World, open_net
from ofcd.themis import generate_keypair
from tests.federation.double import (
    dialling,
    identity,
    part,
    quickly,
    rejoin,
    say,
    shared,
    shared_by_three,
)
from tests.federation.test_gaps import forgetful
from tests.federation.test_hostile import copy_head
from tests.world.scene import settle, stored, texts, until


def follows(home: World, room: Room) -> bool:
    """Whether the relay still asks for the room."""
    assert home.daemon is not None
    federation = home.daemon.federation
    assert federation is not None
    return any(room.id in peer.following.rooms for peer in federation.roster.peers.values())


async def test_who_was_evicted_while_their_relay_was_away_is_shown_the_record(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Their relay gets the log up to the eviction, no further, and lets the room go."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        ana, bo, cai = await shared_by_three(hub, home, home)
        part(hub, home)
        await ana.send("before")
        await ana.evict(bo.me)
        await ana.evict(cai.me)
        end = ana.head
        await ana.send("after")
        await settle([ana])
        rejoin(hub, home)
        await until(lambda: bo.status is cai.status is RoomStatus.EVICTED)
        await until(lambda: not follows(home, bo))
        assert copy_head(home, ana.id)[0] == end < ana.head


async def test_they_are_told_even_if_the_hub_no_longer_keeps_what_was_said_before(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Of the time until then it has the control records, and nothing else."""
    async with open_net(tmp_path, "hub", "home", change=forgetful) as (hub, home):
        ana, bo = await shared(hub, home)
        await ana.send("early")
        await settle([ana, bo])
        part(hub, home)
        for number in range(6):
            await ana.send(f"lost {number}")
        await ana.rotate()
        await ana.evict(bo.me)
        end = ana.head
        for number in range(6):
            await ana.send(f"after {number}")
        await trio.sleep(200)  # retention runs
        assert stored(hub).floor(ana.id) > end + 1
        rejoin(hub, home)
        await until(lambda: bo.status is RoomStatus.EVICTED, seconds=1200)
        assert texts(bo) == ["early"]
        await until(lambda: not follows(home, bo))
        assert copy_head(home, ana.id)[0] == end
        assert stored(home).evidence() == []


async def test_who_has_gone_is_given_nothing_after_the_record_that_says_so(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Whatever that relay asks for, and as long as nobody is at home there."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        ana, bo = await shared(hub, home)
        await settle([ana, bo])
        room, keys = ana.id, identity(home).keys
        await home.stop_relay()
        await ana.evict(bo.me)
        end = ana.head
        await ana.send("after")
        await settle([ana])
        async with dialling(hub, keys) as double:
            answer = await double.follow(room, end - 1)
            assert isinstance(answer, frames.Synced)
            assert (answer.start, answer.head) == (end - 1, end)
            await double.expect(frames.Unfollowed)
            seqs = [f.seq for f in double.seen if isinstance(f, frames.Delivery)]
            assert seqs == [end - 1, end]
            for start in (end + 1, end + 2):
                refused = await double.follow(room, start)
                assert isinstance(refused, frames.Failure)
                assert refused.code == Code.NOT_FOUND
            assert await double.enter(7, room, bo.me) is not None
            assert not [f for f in double.seen if isinstance(f, frames.Head)]
        async with dialling(hub, generate_keypair()) as stranger:
            refused = await stranger.follow(room, 1)
            assert isinstance(refused, frames.Failure)
            assert refused.code == Code.NOT_FOUND


async def test_a_relay_that_was_left_while_it_was_away_lets_the_room_go(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """The member has gone home elsewhere: the copy gets that record, and what waited is dropped."""
    async with open_net(tmp_path, "hub", "home", "new", change=quickly) as (hub, home, new):
        ana, bo = await shared(hub, home)
        await settle([ana, bo])
        part(hub, home)
        home.cut_links()
        await say(bo, "kept for the hub")
        await until(lambda: stored(home).replicas()[0].waiting == 1)
        await home.stop_relay()
        await bo.move_home(new.url)
        await settle([ana, bo])
        rejoin(hub, home)
        await home.start_relay()
        await until(lambda: stored(home).replicas()[0].waiting == 0)
        await until(lambda: not follows(home, bo))
        assert texts(ana) == texts(bo) == ["kept for the hub"]
