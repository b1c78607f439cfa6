"""A room that can not be moved, and relays that lie about one that was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from ofcd.client import AlarmKind, BadInvite, ClientError, Offline, Room, RoomStatus
from ofcd.client.moving import relocate
from ofcd.e2e.controls import make_hub_move
from ofcd.protocol import frames
from ofcd.protocol.codes import Code
from ofcd.protocol.frames import Head
from ofcd.protocol.ids import Hash32, InviteId, RoomId
from ofcd.protocol.records import LogHead
from ofcd.testing import World, open_net
from ofcd.themis.signed import SignedRecord, sign_record
from tests.daemon.rawlink import open_raw
from tests.federation.double import (
    identity,
    local,
    part,
    quickly,
    rejoin,
    say,
    shared,
    shared_by_three,
)
from tests.federation.test_home import relay_of
from tests.federation.test_move import hub_of, push_head, told_of
from tests.world.scene import agree, settle, stored, texts, until


async def test_a_move_that_can_not_be_done_holds_nothing_up(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """The two relays lost each other: root still evicts and rotates, and the move is given up."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        eve = await local(old, ana, "eve")
        await settle([ana, bo, eve])
        part(old, new)
        await trio.sleep(30)
        await ana.send("the new one lacks this")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(refused_to_move, ana, new)
            await trio.sleep(5)
            with trio.fail_after(20):
                await ana.evict(eve.me)
                await ana.rotate()
        controls = ana._client._machine(ana.id).controls
        assert not controls.has("move")
        epoch = ana._client._core(ana.id).state.epoch
        with trio.fail_after(20):
            await ana.rotate()
        assert ana._client._core(ana.id).state.epoch == epoch + 1
        rejoin(old, new)
        await settle([ana, bo])
        await trio.sleep(600)
        assert hub_of(ana) == (relay_of(old), 0), "what was given up was done later"
        await ana.move_hub(new.url)
        await settle([ana, bo])
        agree([ana, bo], ["the new one lacks this"])


async def test_a_busy_room_is_moved_at_once_where_it_could_not_be_moved_before(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Root's tries come while the room is kept for them, however often they came to nothing."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        part(old, new)
        await trio.sleep(30)
        await ana.send("the new one lacks this")
        await refused_to_move(ana, new)
        rejoin(old, new)
        await settle([ana, bo])
        for there, other in ((new, old), (old, new)):
            there.to_relays[other.url].delay = lambda: 0.2

        async def talk() -> None:
            while True:
                await say(ana, "again")
                await trio.sleep(0.3)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk)
            await trio.sleep(5)
            with trio.fail_after(10):
                await ana.move_hub(new.url)
            nursery.cancel_scope.cancel()
        await settle([ana, bo])
        agree([ana, bo])


def say_besides(monkeypatch: pytest.MonkeyPatch, url: str, *, alone: bool = False) -> None:
    """Root's client names another address first, or `alone`."""

    def with_two(*args: Any, urls: list[str], **more: Any) -> SignedRecord:
        return make_hub_move(*args, urls=[url] if alone else [url, *urls], **more)

    monkeypatch.setattr("ofcd.client.forcing.make_hub_move", with_two)


async def refused_to_move(room: Room, world: World) -> None:
    with pytest.raises(ClientError):
        await room.move_hub(world.url)


async def test_a_move_is_given_up_in_the_end(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """When nobody waits for it; for who waits for ever after some tries, with the reason."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        await settle([ana, bo])
        part(old, new)
        await trio.sleep(30)
        await ana.send("the new one lacks this")
        controls = ana._client._machine(ana.id).controls
        patience, ana._client.patience = ana._client.patience, 2
        with pytest.raises(Offline):
            await ana.move_hub(new.url)
        ana._client.patience = patience
        with trio.fail_after(20):
            await ana.rotate()
        assert not controls.has("move"), "nobody waits for it any more"
        ana._client.patience = 1_000_000
        with trio.fail_after(300), pytest.raises(ClientError) as refused:
            await ana.move_hub(new.url)
        assert refused.value.code in (Code.TRY_AGAIN, Code.HUB_AWAY)
        assert not controls.has("move")


async def test_what_a_hub_said_of_the_time_after_it_freezes_nobody(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """A head for an entry of the next hub's time, said before the move, and then the move."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        await settle([ana, bo])
        stolen = identity(old)
        lie = LogHead(1, ana.id, 0, ana.head + 3, Hash32(bytes(32)), old.now())
        push_head(old, ana.id, Head(ana.id, sign_record(stolen.keys.private, lie).envelope))
        assert old.daemon is not None
        old.daemon.hub._effects.publish = lambda *_: None  # type: ignore[method-assign]
        await trio.sleep(1)
        assert ana._client._machine(ana.id).ledger._word is not None
        await ana.move_hub(new.url)
        for number in range(6):
            await bo.send(f"{number}")
        await settle([ana, bo])
        assert ana.status is bo.status is RoomStatus.ACTIVE
        agree([ana, bo], [str(number) for number in range(6)])


async def test_a_head_that_is_no_record_is_told(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """It alarms, as any head does that does not hold."""
    async with open_net(tmp_path, "old", change=quickly) as (old,):
        client = await old.client("ana")
        ana = await client.create_room(old.url, "tea", my_name="Ana")
        bo = await local(old, ana, "bo")
        await settle([ana, bo])
        told = ana.events()
        push_head(old, ana.id, Head(ana.id, b"\x00" * 40, key=identity(old).public))
        alarm = await told_of(told)
        assert alarm.kind is AlarmKind.HUB_MISBEHAVES
        await bo.send("nobody minds")
        await settle([ana, bo])
        agree([ana, bo], ["nobody minds"])


async def test_a_stranger_does_not_say_where_the_new_hub_is(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root names two addresses, of which one is dead, and somebody who may be anybody a third."""
    async with open_net(tmp_path, "old", "new", "third", change=quickly) as (old, new, third):
        ana, bo, cai = await shared_by_three(old, new, third)
        third.to_relays[new.url].up = False

        say_besides(monkeypatch, "ws://nowhere.test")
        await ana.move_hub(new.url)
        await until(lambda: {copy.hub for copy in stored(third).replicas()} == {relay_of(new)})
        async with open_raw(third) as raw:
            nobody = (RoomId(bytes(32)), InviteId(bytes(16)), Hash32(bytes(32)))
            lie = {"hub": relay_of(new), "hub_url": "ws://elsewhere.test"}
            await raw.send(frames.Lookup(raw.rid(), *nobody, **lie))  # type: ignore[arg-type]
            await raw.expect(frames.Failure)
        third.to_relays[new.url].up = True
        await bo.send("from the new one")
        with trio.fail_after(7200):
            await until(lambda: "from the new one" in texts(cai), 7200)
        assert third.daemon is not None
        assert third.daemon.federation is not None
        assert third.daemon.federation.roster.peers[relay_of(new)].row.url == new.url


async def test_no_client_is_sent_into_a_private_network(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is at the hub because its own relay died goes on where the new one is in public."""
    async with open_net(tmp_path, "old", "new", "third", change=quickly) as (old, new, third):
        ana, bo, cai = await shared_by_three(old, new, third)
        await third.stop_client("cai")
        await third.stop_relay()
        say_besides(monkeypatch, "ws://10.0.0.7")
        await ana.move_hub(new.url)
        [cai] = (await third.client("cai")).rooms
        await cai.move_home(new.url)
        await cai.send("found")
        await settle([ana, bo, cai])
        agree([ana, bo, cai], ["found"])
        with pytest.raises(BadInvite):
            await ana.move_hub("ws://me@old.test")


async def test_who_is_sent_nowhere_knows_where_the_room_went(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is at the hub only because it was the hub stays there; invites name the new one."""
    async with open_net(tmp_path, "old", "new", "third", change=quickly) as (old, new, third):
        ana, _, cai = await shared_by_three(old, new, third)
        with cai._client._turn(cai._client._connection(cai.id)) as turn:
            relocate(turn, cai._client._core(cai.id), old.url, relay_of(old))
        await cai._client._live(cai.id, 60)
        say_besides(monkeypatch, "ws://10.0.0.7", alone=True)
        await ana.move_hub(new.url)
        await until(lambda: cai.hub_id == relay_of(new))
        core = cai._client._core(cai.id)
        assert (cai.relay_url, core.identity.invite_url) == (old.url, "ws://10.0.0.7")
