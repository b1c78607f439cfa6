"""The hub is away: what is here is read, what is said waits, and all of it arrives, once."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from ofcd.client import MessageFailed, MessageHeld, Room, Stage
from ofcd.e2e.invites import InviteCode
from ofcd.protocol.records import Role
from ofcd.testing import World, open_net
from tests.federation.double import federated, given, quickly, say, shared, shared_by_three
from tests.world.scene import agree, settle, stored, texts, told, until


def stages(room: Room) -> set[Stage]:
    return {item.stage for item in room.outbox()}


async def test_hub_away_members_read_and_what_they_write_waits_at_their_relay(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Held at the follower, on its disk, in order; when the hub is back all of it is there once."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        ana, bo = await shared(hub, home)
        cai = await federated(hub, home, "cai", ana)
        await ana.send("before")
        await settle([ana, bo, cai])
        await hub.stop_relay()
        heard = bo._client.events()
        await say(bo, "one", "two", "three")
        await say(cai, "four")
        await until(lambda: stages(bo) == stages(cai) == {Stage.HELD})
        assert {type(e) for e in told(heard)} >= {MessageHeld}
        assert texts(bo) == ["before"], "nobody but the hub orders a room"
        waiting = stored(home).replicas()
        assert [copy.waiting for copy in waiting] == [4]
        await trio.sleep(3600)
        await home.restart_relay()  # the outbox is on the disk
        await home.stop_client("cai")  # and needs no client of its sender's
        await trio.sleep(3600)
        await hub.start_relay()
        await until(lambda: "four" in texts(ana), seconds=900)  # the longest wait between two dials
        [cai] = (await home.client("cai")).rooms
        await settle([ana, bo, cai])
        agree([ana, bo, cai], ["before", "one", "two", "three", "four"])
        assert [t for t in texts(ana) if t in ("one", "two", "three")] == ["one", "two", "three"]
        assert stored(home).replicas()[0].waiting == 0


async def test_a_message_is_held_then_in_the_log_then_delivered_across_relays(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """The sender is told each step, and the last one only by who has the message."""
    async with open_net(tmp_path, "hub", "home", "far", change=quickly) as (hub, home, far):
        ana, bo, cai = await shared_by_three(hub, home, far)
        await hub.stop_relay()
        await say(bo, "are you there?")
        await until(lambda: stages(bo) == {Stage.HELD})
        await far.stop_client("cai")
        await hub.start_relay()
        await until(lambda: not bo.outbox())
        await until(lambda: bo.delivery(bo.head).reached == (ana.me,))
        await trio.sleep(3600)
        seq = bo.messages()[-1].seq
        [far_away] = bo.delivery(seq).awaited
        assert bo.delivery(seq).state == "delivered"
        [cai] = (await far.client("cai")).rooms
        assert cai.me == far_away
        await until(lambda: bo.delivery(seq).state == "delivered_to_all")


async def test_what_waited_across_a_rotation_is_sealed_again(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """The relay can not; it goes back to its sender, and comes again under the new key, once."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        ana, bo = await shared(hub, home)
        home.to_relays[hub.url].up = False
        home.cut_links()
        hub.cut_links()
        await say(bo, "one", "two")
        await until(lambda: stages(bo) == {Stage.HELD})
        await ana.rotate()
        await ana.send("meanwhile")
        home.to_relays[hub.url].up = True
        await settle([ana, bo])
        agree([ana, bo], ["meanwhile", "one", "two"])
        assert bo._client._core(bo.id).state.epoch == 1


async def test_what_could_not_be_handed_over_in_time_comes_back_with_a_notice(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """After the days that the settings say: no relay keeps it, and its sender is told."""

    async with open_net(tmp_path, "hub", "home", change=given(outbox_days=1)) as (hub, home):
        _, bo = await shared(hub, home)
        await hub.stop_relay()
        heard = bo._client.events()
        await say(bo, "too late")
        await until(lambda: stages(bo) == {Stage.HELD})
        assert home.daemon is not None
        hours = 23
        # A day later for the relay: its clients and links need not live through it.
        home.daemon.hub._now = lambda: home.now() + hours * 3_600_000
        await trio.sleep(60)
        assert stages(bo) == {Stage.HELD}
        hours = 25
        await until(lambda: stages(bo) == {Stage.FAILED})
        failed = [event for event in told(heard) if isinstance(event, MessageFailed)]
        assert [event.code for event in failed] == ["expired"]
        assert stored(home).replicas()[0].waiting == 0


async def test_a_full_outbox_refuses_and_loses_nothing(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """What is over a sender's half stays in its client's own outbox, and goes out later."""

    async with open_net(tmp_path, "hub", "home", change=given(outbox_events_per_room=6)) as (
        hub,
        home,
    ):
        ana, bo = await shared(hub, home)
        await hub.stop_relay()
        words = [f"word {number}" for number in range(8)]
        await say(bo, *words)
        await until(lambda: sum(i.stage is Stage.HELD for i in bo.outbox()) == 3)
        await trio.sleep(600)
        assert stored(home).replicas()[0].waiting == 3
        await hub.start_relay()
        await settle([ana, bo])
        agree([ana, bo], words)


async def test_changes_of_the_room_wait_for_the_hub(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """An invite asked for while the hub is away is made when it is back, once."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        ana, bo = await shared(hub, home)
        await ana.grant(bo.me, Role.CO_OWNER)
        await settle([ana, bo])
        await hub.stop_relay()
        bo._client.patience = 3 * 3600.0
        async with trio.open_nursery() as nursery:
            links: list[InviteCode] = []

            async def invite() -> None:
                links.append(await bo.invite())

            nursery.start_soon(invite)
            await trio.sleep(900)
            assert not links
            await hub.start_relay()
        assert len(links) == 1
        await settle([ana, bo])
        assert len(ana._client._core(ana.id).state.invites) == 1


@pytest.mark.parametrize("killed", ["hub", "home"])
async def test_either_relay_dies_while_much_is_said(
    tmp_path: Path, autojump_clock: trio.abc.Clock, killed: str
) -> None:
    """In the midst of it, twice: every word is there once, in one order, at both."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        ana, bo = await shared(hub, home)
        dying = hub if killed == "hub" else home
        words: list[str] = []
        for number in range(40):
            for room, name in ((ana, "ana"), (bo, "bo")):
                words.append(f"{name} {number}")
                await say(room, words[-1])
            await trio.sleep(0.05)
            if number in (10, 25):
                kill(dying)
        await settle([ana, bo])
        agree([ana, bo], words)


def kill(world: World) -> None:
    for line in world.to_relays.values():
        line.cut()
    world.kill_relay(3.0)
