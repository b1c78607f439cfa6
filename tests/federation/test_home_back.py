"""HOME to a relay that has an old copy of the room, and heard no more of it: a hub of before."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from ofcd.client import Offline, Room
from ofcd.client.moving import relocate
from ofcd.daemon.peers.link import PeerLink
from ofcd.protocol import frames
from ofcd.protocol.codes import Code
from ofcd.relay import HubLied
from ofcd.testing import World, open_net
from tests.federation.double import federated, part, quickly, rejoin, shared, shared_by_three
from tests.federation.test_home import home_of, relay_of
from tests.federation.test_hostile import copy_head
from tests.federation.test_strangers import known
from tests.world.scene import agree, settle, stored, texts, until


async def left_behind(old: World, new: World) -> tuple[Room, Room]:
    """Ana's room, and Bo in it: moved away from its hub, where nobody is at home any more."""
    ana, bo = await shared(old, new)
    await ana.move_hub(new.url)
    await ana.move_home(new.url)
    await settle([ana, bo])
    await until(lambda: not follows(old, new, ana))
    await bo.send("not for the old one")
    await settle([ana, bo])
    assert copy_head(old, ana.id)[0] < copy_head(new, ana.id)[0]
    return ana, bo


def follows(world: World, hub: World, room: Room) -> bool:
    """Whether this world's relay keeps up its copy of a room of the other's."""
    return room.id in known(world).following(relay_of(hub)).rooms


async def is_served(old: World, new: World, rooms: list[Room]) -> None:
    """The first of them is at home at the old relay, and all goes on."""
    await rooms[0].send("here again")
    await settle(rooms)
    agree(rooms)
    assert texts(rooms[1])[-1] == "here again"
    assert home_of(rooms[1], rooms[0]) == relay_of(old)
    await until(lambda: copy_head(old, rooms[0].id) == copy_head(new, rooms[0].id))


async def come_in_vain(room: Room, world: World) -> None:
    """HOME stands in the log; the relay can not serve the member yet."""
    with pytest.raises(Offline):
        await room.move_home(world.url)
    assert home_of(room, room) == relay_of(world)


async def test_a_member_comes_back_to_a_hub_of_before(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """It follows the new hub from where it was the hub itself; and no more when they go again."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await left_behind(old, new)
        await ana.move_home(old.url)
        await is_served(old, new, [ana, bo])
        await ana.move_home(new.url)
        await until(lambda: not follows(old, new, ana))


async def test_the_new_hub_can_not_be_reached_at_that_moment(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """The member is served once there is a link again, however long that took."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await left_behind(old, new)
        part(old, new)
        await come_in_vain(ana, old)
        await trio.sleep(7200)
        assert not ana.is_live
        rejoin(old, new)
        await until(lambda: ana.is_live, seconds=1200)
        await is_served(old, new, [ana, bo])


@pytest.mark.parametrize("is_away", [True, False])
async def test_it_was_started_anew_meanwhile(
    tmp_path: Path, autojump_clock: trio.abc.Clock, *, is_away: bool
) -> None:
    """The copy is in the store alone; the new hub is there at once, or only later."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await left_behind(old, new)
        if is_away:
            part(old, new)
        await old.restart_relay()
        if not is_away:
            await until(lambda: not follows(old, new, ana))
            await ana.move_home(old.url)
        else:
            await come_in_vain(ana, old)
            await old.restart_relay()
            rejoin(old, new)
        await until(lambda: ana.is_live, seconds=120)
        await is_served(old, new, [ana, bo])


async def test_the_copy_had_left_memory(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    """It is read from the store for the member who comes."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await left_behind(old, new)
        relay = known(old)._relay
        relay.forget([ana.id])
        assert not relay.is_loaded(ana.id)
        await ana.move_home(old.url)
        await is_served(old, new, [ana, bo])


async def test_where_the_new_hub_is_was_forgotten(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Among thousands of others, while nobody needed it: HUB_MOVE says it still."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await left_behind(old, new)
        part(old, new)
        peers = known(old).roster.peers
        await until(lambda: peers[relay_of(new)].link is None)
        await until(lambda: not peers[relay_of(new)].keeping)
        del peers[relay_of(new)]
        old.to_relays[new.url].up = True  # by this one alone: the other does not dial
        await ana.move_home(old.url)
        await is_served(old, new, [ana, bo])


@pytest.mark.parametrize("was_hub", [True, False])
async def test_one_comes_who_joined_after_it_had_gone(
    tmp_path: Path, autojump_clock: trio.abc.Clock, *, was_hub: bool
) -> None:
    """The copy does not know the member: the relay follows first, and then looks."""
    async with open_net(tmp_path, "old", "new", "third", change=quickly) as (old, new, third):
        if was_hub:
            ana, bo = await left_behind(old, new)
        else:
            ana, bo, cai = await shared_by_three(new, third, old)
            await cai.move_home(new.url)
            await cai.leave()
            await until(lambda: not follows(old, new, ana))
        dan = await federated(new, third, "dan", ana)
        await settle([ana, bo, dan])
        await dan.move_home(old.url)
        await is_served(old, new, [dan, ana, bo])


async def test_who_is_not_at_home_there_has_nothing_followed(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """The hub says that nobody is, and gives nothing; the relay leaves it at that."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await left_behind(old, new)
        before = copy_head(old, ana.id)
        core = bo._client._core(bo.id)
        with bo._client._turn(bo._client._connection(bo.id)) as turn:
            relocate(turn, core, old.url, relay_of(old))
        await trio.sleep(600)
        await ana.send("not for the old one, too")
        await trio.sleep(600)
        assert not bo.is_live
        await bo.move_home(new.url)
        await settle([ana, bo])
        await until(lambda: not follows(old, new, ana))
        assert copy_head(old, ana.id) == before
        assert not any(row.quarantined for row in stored(new).peers())


async def test_who_asks_in_the_lane_of_another_relay_is_not_at_home_there(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for an attachment of before the move: it gives no cause to ask the new hub."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        _, bo = await left_behind(old, new)
        wishes: list[frames.Follow] = []
        monkeypatch.setattr(PeerLink, "_queue_follow", lambda _, frame: wishes.append(frame))
        answers: list[frames.RelayFrame] = []

        async def answered(frame: frames.RelayFrame) -> None:
            answers.append(frame)

        ask = frames.ChainGet(0, bo.id, 0)
        known(new).following(relay_of(old)).ask(bo.id, bo.me, ask, answered)
        await until(lambda: bool(answers))
        await trio.sleep(60)
        assert not isinstance(answers[0], frames.Failure)
        assert wishes == []


async def test_a_copy_that_stands_still_goes_on_standing_still(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """What proves two histories is not passed over because somebody comes back."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await left_behind(old, new)
        before = copy_head(old, ana.id)
        hub, relay = known(old)._hub, known(old)._relay
        lied = HubLied(Code.FORK, "two histories", (b"one", b"other"))
        await hub.do(lambda: relay.freeze(ana.id, lied, None, old.now()), ana.id)
        await come_in_vain(ana, old)
        await trio.sleep(600)
        assert copy_head(old, ana.id) == before
        assert not follows(old, new, ana), "a link is kept for nothing"
        await bo.send("without her")
