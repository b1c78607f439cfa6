"""What strangers say of relays: believed no longer than until somebody proves otherwise."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
from attrs import evolve

from ofcd.client import JoinFailed
from ofcd.config.fields import Words
from ofcd.daemon.peers import federation, roster
from ofcd.protocol import frames
from ofcd.protocol.codes import SENTENCES, Code
from ofcd.protocol.ids import Hash32, InviteId, MemberId, RelayId, RoomId
from ofcd.testing import World, open_net
from tests.daemon.rawlink import Founder, open_raw
from tests.federation.double import dialling, federated, identity, quickly, shared
from tests.world.scene import agree, settle, stored

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
    monkeypatch.setattr(roster, "_PEERS", 5)
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
        assert len(there.roster.peers) <= 5
        assert ana._client._core(ana.id).identity.relay_id in there.roster.peers
        await bo.send("still here")
        await settle([ana, bo])
        agree([ana, bo], ["still here"])


async def test_nobody_learns_what_came_of_dialling_where_they_said(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Else strangers could ask a relay what there is in its own network: the operator is told."""
    async with open_net(tmp_path, "home") as (home,):
        async with open_raw(home) as raw:
            relay_id, invite_id = RelayId(b"\x05" * 32), InviteId(bytes(16))
            for url in (NOWHERE, home.url):
                ask = frames.Lookup(
                    raw.rid(), RoomId(bytes(32)), invite_id, Hash32(bytes(32)), 0, relay_id, url
                )
                began = trio.current_time()
                await raw.send(ask)
                [failure] = await raw.expect(frames.Failure)
                assert (failure.code, failure.text) == ("hub_away", SENTENCES[Code.HUB_AWAY])
                assert trio.current_time() - began == pytest.approx(10, abs=1)
        assert known(home).roster.peers[relay_id].row.detail


async def test_an_attach_tells_nothing_of_dialling_either(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Its signature is not checked before the room is here, so anybody may name any address."""
    async with open_net(tmp_path, "home") as (home,), open_raw(home) as raw:
        member = Founder(home)
        relay_id = RelayId(b"\x05" * 32)
        await raw.send(evolve(member.attach(raw), hub=relay_id, hub_url=NOWHERE))
        [failure] = await raw.expect(frames.Failure)
        assert (failure.code, failure.text) == ("hub_away", SENTENCES[Code.HUB_AWAY])
        assert known(home).roster.peers[relay_id].row.detail, "the operator is told"


async def test_a_relay_that_a_stranger_names_is_asked_for_no_other_relays_room(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Else it could take the room's log from here by saying that it has lost it, or freeze it."""
    async with open_net(tmp_path, "hub", "home", "other", change=quickly) as (hub, home, other):
        ana, bo = await shared(hub, home)
        eve = await (await other.client("eve")).create_room(other.url, "soup", my_name="eve")
        bob = await federated(other, home, "bob", eve)
        own = await (await home.client("cy")).create_room(home.url, "own", my_name="cy")
        await settle([eve, bob])
        following = known(home).roster.peers[identity(other).relay_id].following
        for room, mid in ((ana.id, bo.me), (ana.id, MemberId(bytes(32))), (own.id, own.me)):
            with trio.fail_after(1):
                assert not await following.have(room, mid)
        assert await following._hub.room(ana.id) is not None
        following.copies.follow(ana.id)
        await following.copies.resume_now(own.id)
        assert set(following.rooms) == {eve.id}, "nothing is asked of it for others' rooms"
        await ana.send("still here")
        await settle([ana, bo])
        agree([ana, bo], ["still here"])


async def test_relays_that_are_forgotten_are_forgotten_on_disk_too(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who dials under one key after another leaves no more behind than there is room for."""
    monkeypatch.setattr(roster, "_PEERS", 3)
    async with open_net(tmp_path, "hub", change=quickly) as (hub,):
        for _ in range(7):
            async with dialling(hub) as double:
                assert double.refusal is None
                await trio.sleep(11)
            await trio.sleep(1)
        await trio.sleep(11)
        assert {peer.relay_id for peer in stored(hub).peers()} == set(known(hub).roster.peers)
        assert len(known(hub).roster.peers) == 3
        monkeypatch.setattr(roster, "_PEERS", 1)
        await hub.restart_relay()
        await trio.sleep(11)
        assert len(stored(hub).peers()) == 1


async def test_relays_that_are_needed_are_known_however_many_there_are(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start refuses neither what is configured nor where rooms are."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        ana, bo = await shared(hub, home)
        monkeypatch.setattr(roster, "_PEERS", 0)
        peer = f"other!{'ab' * 32} {NOWHERE}"
        given = home.settings
        home.settings = evolve(given, federation=evolve(given.federation, peers=Words((peer,))))
        await home.restart_relay()
        await bo.send("still here")
        await settle([ana, bo])
        agree([ana, bo], ["still here"])
        assert len(known(home).roster.peers) == 2


async def test_a_copy_is_begun_only_of_a_room_that_the_relay_orders(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Whose control log names another as its hub: who passes it off as his own is left."""
    async with open_net(tmp_path, "hub", "home", "other", change=quickly) as (hub, home, other):
        ana = await (await hub.client("ana")).create_room(hub.url, "tea", my_name="ana")
        await shared(other, home)
        chain = list(stored(hub).read_chain(ana.id, 0, 100, max_bytes=1 << 20).records)
        told = frames.Synced(1, ana.id, 1, 0, Hash32(ana.id), 5)
        said: list[str] = []
        for world, is_hubs in ((other, False), (hub, True)):
            following = known(home).roster.peer(identity(world).relay_id, needed=True).following
            following.line.link = cast(Any, SimpleNamespace(offend=said.append))
            assert await following._founding._begin(ana.id, chain, told) is is_hubs
            following.line.link = None
        assert said == ["the room is another relay's"]
