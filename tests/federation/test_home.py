"""HOME: a member is at home at another relay from now on, and stays the same member."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import trio
from attrs import evolve

from ofcd.client import NotAllowed, Offline, RelayRefused, Room, RoomStatus, Stage
from ofcd.client.moving import relocate
from ofcd.config import Settings
from ofcd.config.fields import Words
from ofcd.protocol.ids import RelayId
from ofcd.protocol.records import Policy
from ofcd.testing import World, open_net
from tests.federation.double import federated, quickly, say, shared
from tests.federation.test_hostile import copy_head
from tests.world.renewing import HOUR, all_renewed, short_days
from tests.world.scene import agree, settle, stored, texts, until


def home_of(room: Room, member: Room) -> RelayId:
    """Where a member is at home, as this client knows it."""
    return room._client._core(room.id).state.member(member.me).home


def relay_of(world: World) -> RelayId:
    assert world.daemon is not None
    return world.daemon.identity.relay_id


async def test_a_member_moves_to_another_relay_and_back_to_the_hub(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """The same member, history and all; each relay follows as long as somebody is at home there."""
    async with open_net(tmp_path, "hub", "old", "new", change=quickly) as (hub, old, new):
        ana, bo = await shared(hub, old)
        await ana.send("before")
        await settle([ana, bo])
        me = bo.me
        await bo.move_home(new.url)
        assert (bo.me, bo.relay_url, bo.is_live) == (me, new.url, True)
        await bo.send("from the new one")
        await ana.send("heard")
        await settle([ana, bo])
        agree([ana, bo], ["before", "from the new one", "heard"])
        assert home_of(ana, bo) == relay_of(new)
        assert copy_head(new, ana.id) == copy_head(hub, ana.id)
        await until(lambda: copy_head(old, ana.id)[0] < copy_head(hub, ana.id)[0])
        await bo.move_home(hub.url)
        await bo.send("from the hub itself")
        await settle([ana, bo])
        agree([ana, bo], ["before", "from the new one", "heard", "from the hub itself"])
        behind = copy_head(new, ana.id)[0]
        await trio.sleep(60)
        assert copy_head(new, ana.id)[0] == behind < ana.head, "nobody is at home there any more"


async def test_a_relay_that_is_gone_is_left_by_way_of_the_hub(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """What it kept for the hub is sent from the new one: nothing is lost, nothing said twice."""
    async with open_net(tmp_path, "hub", "old", "new", change=quickly) as (hub, old, new):
        ana, bo = await shared(hub, old)
        await settle([ana, bo])
        old.to_relays[hub.url].up = False
        old.cut_links()
        hub.cut_links()
        await say(bo, "one", "two")
        await until(lambda: {item.stage for item in bo.outbox()} == {Stage.HELD})
        await old.stop_relay()
        bo._client.patience = (
            math.inf
        )  # as `ofc` waits: the relay that is gone is left all the same
        await bo.move_home(new.url)
        await settle([ana, bo])
        agree([ana, bo], ["one", "two"])
        old.to_relays[hub.url].up = True
        await old.start_relay()  # it still has them in its outbox, and nobody at home
        await trio.sleep(1200)
        await ana.send("three")
        await settle([ana, bo])
        agree([ana, bo], ["one", "two", "three"])


async def test_a_move_outlives_a_restart_in_the_middle(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """The record is in the log, the new relay not there: the client goes on there when it is."""
    async with open_net(tmp_path, "hub", "old", "new", change=quickly) as (hub, old, new):
        ana, bo = await shared(hub, old)
        await settle([ana, bo])
        new.to_relays[hub.url].up = False
        with pytest.raises(Offline):
            await bo.move_home(new.url)
        assert home_of(ana, bo) == relay_of(new)
        await old.stop_client("bo")
        [bo] = (await old.client("bo")).rooms
        assert bo.relay_url == new.url
        await say(bo, "still here")
        new.to_relays[hub.url].up = True
        await settle([ana, bo])
        agree([ana, bo], ["still here"])


async def test_it_need_not_be_a_new_copy(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    """The new relay follows the room already; the member waits until it has the record."""
    async with open_net(tmp_path, "hub", "old", "new", change=quickly) as (hub, old, new):
        ana, bo = await shared(hub, old)

        cai = await federated(hub, new, "cai", ana)
        await settle([ana, bo, cai])
        await bo.move_home(new.url)
        await cai.send("welcome")
        await settle([ana, bo, cai])
        agree([ana, bo, cai], ["welcome"])


# -- who may not -----------------------------------------------------------------------------------


async def test_a_room_that_never_leaves_its_relay_stays_there(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Refused by the client that asks, and by the hub."""
    async with open_net(tmp_path, "hub", "new", change=quickly) as (hub, new):
        client = await hub.client("ana")
        policy = Policy(local_only=True)
        ana = await client.create_room(hub.url, "kept", my_name="Ana", policy=policy)
        with pytest.raises(NotAllowed):
            await ana.move_home(new.url)
        assert (ana.relay_url, ana.status) == (hub.url, RoomStatus.ACTIVE)
        await ana.send("still here")


async def test_a_relay_that_does_not_federate_takes_nobody_in(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """The member is not lost: by way of the hub it goes back, or anywhere else."""

    def alone(name: str, settings: Settings) -> Settings:
        settings = quickly(name, settings)
        if name != "new":
            return settings
        return evolve(settings, federation=evolve(settings.federation, mode="off"))

    async with open_net(tmp_path, "hub", "old", "new", change=alone) as (hub, old, new):
        ana, bo = await shared(hub, old)
        await settle([ana, bo])
        with pytest.raises(Exception, match=r"relay|federat|talk"):
            await bo.move_home(new.url)
        await bo.move_home(old.url)
        await bo.send("back again")
        await settle([ana, bo])
        assert texts(ana) == ["back again"]
        assert [copy.room for copy in stored(new).replicas()] == []


@pytest.mark.parametrize("lists", ["allow", "deny"])
async def test_nobody_goes_home_to_a_relay_that_the_hub_does_not_talk_to(
    tmp_path: Path, autojump_clock: trio.abc.Clock, lists: str
) -> None:
    """It would be stranded there; it stays where it is, and hears why."""
    async with open_net(tmp_path, "hub", "old", "new", "other", change=quickly) as worlds:
        hub, old, new, other = worlds
        ana, bo = await shared(hub, old)
        await settle([ana, bo])
        given, peers = hub.settings, [f"old.test!{relay_of(old).hex()} {old.url}"]
        if lists == "allow":
            listed = evolve(given.federation, mode="allowlist", peers=Words(tuple(peers)))
        else:
            listed = evolve(given.federation, deny=Words((relay_of(new).hex(),)))
        hub.settings = evolve(given, federation=listed)
        await hub.restart_relay()
        bo._client.patience = 120
        with pytest.raises(RelayRefused, match="does not talk to the one") as refused:
            await bo.move_home(new.url)
        assert refused.value.code == "not_federated"
        assert (bo.relay_url, home_of(ana, bo)) == (old.url, relay_of(old))
        await bo.send("still here")
        await settle([ana, bo])
        agree([ana, bo], ["still here"])
        if lists == "deny":
            await bo.move_home(other.url)
            assert home_of(bo, bo) == relay_of(other)


async def test_nobody_is_brought_to_a_relay_by_claiming_to_be_somebody(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """A relay fetches no room for a member who is at home elsewhere, and lets nobody in as them."""
    async with open_net(tmp_path, "hub", "old", "new", change=quickly) as (hub, old, new):
        ana, bo = await shared(hub, old)
        await settle([ana, bo])
        core = bo._client._core(bo.id)
        with bo._client._turn(bo._client._connection(bo.id)) as turn:
            relocate(turn, core, new.url, relay_of(new))
        await trio.sleep(120)
        assert not bo.is_live
        assert [copy.room for copy in stored(new).replicas()] == []
        await bo.move_home(old.url)
        await bo.send("at home")
        await settle([ana, bo])
        assert texts(ana) == ["at home"]


async def test_a_member_behind_another_relay_renews_its_key_too(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through its own relay, at home and after a move; boxes for the new key come that way too."""
    short_days(monkeypatch)
    async with open_net(tmp_path, "hub", "old", "new", change=quickly) as (hub, old, new):
        ana, bo = await shared(hub, old)
        await all_renewed(ana)
        await trio.sleep(1.1 * HOUR)
        assert bo._client._core(bo.id).mine.others == ()
        await ana.rotate(boxed=True)
        await ana.send("for the new key")
        await settle([ana, bo])
        assert copy_head(old, ana.id) == copy_head(hub, ana.id)
        before = ana._client._core(ana.id).state.member(bo.me).enc_key
        await bo.move_home(new.url)
        await trio.sleep(1.1 * HOUR)
        assert ana._client._core(ana.id).state.member(bo.me).enc_key != before
        await ana.rotate(boxed=True)
        await bo.send("and from here")
        await settle([ana, bo])
        agree([ana, bo], ["for the new key", "and from here"])
        assert copy_head(new, ana.id) == copy_head(hub, ana.id)
