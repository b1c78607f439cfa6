"""A relay's key is replaced, and everybody goes on: members, relays, rooms, invites."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import trio

from ofcd.client import LinkStateChanged, RelayKeyChanged, Room
from ofcd.client.lineages import lineage_of
from ofcd.daemon.identity import KEY_FILE, Identity, replace_key
from ofcd.protocol import frames
from ofcd.protocol.ids import PublicKey
from ofcd.testing import World, open_net, open_world
from ofcd.themis import generate_keypair
from ofcd.themis.lineage import Lineage, succeed
from tests.federation.double import dialling, federated, identity, local, quickly, say, shared
from tests.federation.test_gaps import away
from tests.federation.test_home import relay_of
from tests.federation.test_hostile import copy_head
from tests.world.scene import again, agree, quick, settle, stored, texts, told, until


def key_file(world: World) -> Path:
    return Path(world.settings.data_dir) / KEY_FILE


async def replace(world: World) -> Identity:
    """Stop the relay, replace its key, start it."""
    await world.stop_relay()
    after = replace_key(Path(world.settings.data_dir), world.now())
    await world.start_relay()
    assert identity(world) == after
    return after


def known_by(room: Room, world: World) -> Lineage:
    """What the member's client knows of this relay's keys."""
    return lineage_of(room._client.vault, relay_of(world))


def seen_by(world: World, other: World) -> PublicKey | None:
    """The key that this relay has last seen the other one prove."""
    assert world.daemon is not None
    assert world.daemon.federation is not None
    return world.daemon.federation.key_of(relay_of(other))


def state_of(world: World, other: World) -> tuple[str, str]:
    assert world.daemon is not None
    assert world.daemon.federation is not None
    row = world.daemon.federation.roster.peers[relay_of(other)].row
    return row.state, row.detail


def word_seen(room: Room) -> int:
    """Up to where the hub has signed the log, as this member's client has checked."""
    word = room._client._machine(room.id).ledger._word
    return -1 if word is None else word.head.seq


async def talk(*rooms: Room, words: str) -> None:
    """Each says something; all hear all of it, and the hub's signature for it."""
    for number, room in enumerate(rooms):
        await say(room, f"{words} {number}")
    await settle(rooms)
    agree(rooms)
    assert {f"{words} {number}" for number in range(len(rooms))} <= set(texts(rooms[0]))
    await until(lambda: all(word_seen(room) >= room.head - 1 for room in rooms))


@pytest.mark.parametrize("turned", ["hub", "home"])
async def test_a_key_is_replaced_and_all_go_on(
    turned: str, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """The hub's, or a follower's: no message is lost, old invites hold, and newcomers come."""
    async with open_net(tmp_path, "hub", "home", "third", change=quickly) as (hub, home, third):
        ana, bo = await shared(hub, home)
        cai = await federated(hub, third, "cai", ana)
        invite = await ana.invite()
        await talk(ana, bo, cai, words="before")
        world = hub if turned == "hub" else home
        before, was = identity(world), relay_of(world)
        for room in (ana, bo, cai):
            await say(room, "meanwhile")
        after = await replace(world)
        assert relay_of(world) == was
        assert after.public != before.public
        await talk(ana, bo, cai, words="after")
        others = [one for one in (hub, home, third) if one is not world and (hub in (one, world))]
        await until(lambda: all(seen_by(one, world) == after.public for one in others))
        dan = await (await third.client("dan")).join(invite, name="dan", via=third.url)
        eve = await local(world if turned == "hub" else hub, ana, "eve")
        await talk(ana, bo, cai, dan, eve, words="with newcomers")
        for one in (hub, home, third):
            await one.restart_relay()
        await talk(ana, bo, cai, dan, eve, words="after a restart")
        if turned == "hub":
            assert all(known_by(room, hub).statements for room in (ana, bo, cai, dan, eve))
        await until(
            lambda: copy_head(hub, ana.id) == copy_head(home, ana.id) == copy_head(third, ana.id)
        )


async def test_who_was_away_through_several_goes_on(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """A relay that was cut off, a client that slept, and a vault put back from before."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        ana, bo = await shared(hub, home)
        cai = await local(hub, ana, "cai")
        await talk(ana, bo, cai, words="before")
        await hub.stop_client("cai")
        await home.stop_client("bo")
        shutil.copyfile(home.folder / "bo.vault", home.folder / "before.vault")
        bo = await again(home, "bo")
        away(hub, home)
        await say(bo, "from far")
        await replace(hub)
        await replace(hub)
        last = await replace(hub)
        await home.restart_relay()
        home.to_relays[hub.url].up = True
        cai = await again(hub, "cai")
        await talk(ana, bo, cai, words="after")
        assert "from far" in texts(ana)
        assert seen_by(home, hub) == last.public
        assert {known_by(room, hub) for room in (ana, bo, cai)} == {last.relay}
        await home.stop_client("bo")
        shutil.copyfile(home.folder / "before.vault", home.folder / "bo.vault")
        bo = await again(home, "bo")
        await settle([ana, bo, cai])
        assert known_by(bo, hub) == last.relay
        agree([ana, bo, cai])


async def test_people_are_told_once(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    """One sentence to who knew the relay; none to who comes later, and none after a restart."""
    async with open_world(tmp_path, quick) as world:
        ana = await (await world.client("ana")).create_room(world.url, "tea", my_name="ana")
        heard = ana._client.events()
        after = await replace(world)
        await talk(ana, words="hello")
        told_of = [event for event in told(heard) if isinstance(event, RelayKeyChanged)]
        assert [(one.relay_id, one.disputed) for one in told_of] == [(after.relay_id, False)]
        assert world.url in told_of[0].text
        assert "nothing is to be done" in told_of[0].text
        client = await world.client("bo")
        heard, again_heard = client.events(), ana._client.events()
        bo = await client.join(await ana.invite(), name="bo")
        await world.restart_relay()
        await talk(ana, bo, words="again")
        assert known_by(bo, world) == after.relay
        for stream in (heard, again_heard):
            assert not [event for event in told(stream) if isinstance(event, RelayKeyChanged)]


async def test_an_old_key_is_not_talked_to_again(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """A relay.key put back from before: everyone who knew better waits, says why, and goes on."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        ana, bo = await shared(hub, home)
        old = key_file(hub).read_bytes()
        await replace(hub)
        await talk(ana, bo, words="before")
        new = key_file(hub).read_bytes()
        await hub.stop_relay()
        key_file(hub).write_bytes(old)
        heard = ana._client.events()
        await hub.start_relay()
        await say(ana, "one")
        await say(bo, "two")
        await trio.sleep(60)
        assert [texts(room)[-1][:6] for room in (ana, bo)] == ["before", "before"]
        details = {e.detail for e in told(heard) if isinstance(e, LinkStateChanged)}
        assert any("a key that it has replaced" in detail for detail in details)
        assert "a key that it has replaced" in state_of(home, hub)[1]
        await hub.stop_relay()
        key_file(hub).write_bytes(new)
        await hub.start_relay()
        await settle([ana, bo])
        agree([ana, bo])
        assert {"one", "two"} <= set(texts(ana))


async def test_two_successors_are_shown_to_operator_and_people(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Who met the one first stays with it, keeps the proof, and tells it once; members too."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        ana, bo = await shared(hub, home)
        stolen = key_file(hub).read_bytes()
        first = await replace(hub)
        await talk(ana, bo, words="before")
        right = key_file(hub).read_bytes()
        heard = {room: room._client.events() for room in (ana, bo)}
        await hub.stop_relay()
        key_file(hub).write_bytes(stolen)
        replace_key(Path(hub.settings.data_dir), hub.now())
        await hub.start_relay()
        await trio.sleep(120)
        for room, stream in heard.items():
            disputes = [e for e in told(stream) if isinstance(e, RelayKeyChanged) and e.disputed]
            assert len(disputes) == 1, "once, however often it is dialled"
            assert known_by(room, hub) == first.relay
        [row] = [row for row in stored(home).peers() if row.relay_id == relay_of(hub)]
        assert tuple(row.statements) == first.relay.statements
        [other] = row.branch
        assert other not in first.relay.statements
        await hub.stop_relay()
        key_file(hub).write_bytes(right)
        await hub.start_relay()
        await home.restart_relay()
        again_heard = bo._client.events()
        await talk(ana, bo, words="with the right one")
        assert not [e for e in told(again_heard) if isinstance(e, RelayKeyChanged)]


async def test_a_relay_proves_its_key_when_it_dials(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """With the statements it is let in as who it was; without, half-signed or as another, not."""
    async with open_net(tmp_path, "home", change=quickly) as (home,):
        old, new, thief = generate_keypair(), generate_keypair(), generate_keypair()
        relay = Identity.of(old).relay
        after = succeed(relay, old, new, 1)
        own = relay.relay_id
        async with dialling(home, old, introduce=False) as double:
            assert isinstance(await double.introduce(home.now()), frames.Peered)
        for keys, shown in ((new, ()), (thief, after.statements), (new, ("x" * 600).encode())):
            said = (shown,) if isinstance(shown, bytes) else shown
            async with dialling(home, keys, introduce=False) as double:
                answer = await double.introduce(home.now(), succession=said, relay_id=own)
                assert isinstance(answer, frames.Failure), answer
        async with dialling(home, new, introduce=False) as double:
            answer = await double.introduce(home.now(), succession=after.statements, relay_id=own)
            assert isinstance(answer, frames.Peered)
        async with dialling(home, old, introduce=False) as double:
            answer = await double.introduce(home.now(), relay_id=own)
            assert isinstance(answer, frames.Failure)
            assert answer.code == "wrong_relay"
        async with dialling(home, thief, introduce=False) as double:
            fork = succeed(relay, old, thief, 2).statements
            answer = await double.introduce(home.now(), succession=fork, relay_id=own)
            assert isinstance(answer, frames.Failure)
            assert "two different" in answer.text
        assert home.daemon is not None
        assert home.daemon.federation is not None
        row = home.daemon.federation.roster.peers[relay.relay_id].row
        assert (tuple(row.statements), tuple(row.branch)) == (after.statements, fork)
