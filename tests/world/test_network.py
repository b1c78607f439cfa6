"""The network fails at every moment: each thing ends in a state that is defined, and heals."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from ofcd.client import Alarm, AlarmKind, ClientError, Content, Offline, Redaction, Room
from ofcd.daemon.connection import Connection
from ofcd.protocol.records import Policy
from ofcd.testing import World, open_world
from tests.sweeps import fewer
from tests.world.scene import again, agree, join, people, quick, settle, texts, told, until

LIFE_STORIES = 4
LIVES = 25
LIFE_STEPS = 120
"""What a client makes of them from its start until it has nothing left to do."""
CUTS = 15
"""Places at which a run is cut: evenly over all the bytes that a whole run carries."""


async def test_a_link_cut_at_any_byte_of_a_join_ends_with_one_member(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Mid-handshake, mid-frame, mid-join: cut once at each of many bytes, the joiner gets in."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")
        await there["bo"].send("how many bytes is that?")
        whole = world.lines["bo"].carried
        for number in range(CUTS):
            name = f"p{number}"
            world.lines[name].cut_after(1 + whole * number // CUTS)
            there[name] = await join(world, there["ana"], name)
            await there[name].send(name)
            assert world.lines[name].cuts == 1
            await settle(there.values())
            assert len(there["ana"].members()) == len(there)
            agree(there.values())
            assert texts(there[name])[-1] == name
            await world.stop_client(name)
            del there[name]
            await there["ana"].evict(there["ana"].members()[-1].mid)


async def test_an_admitter_cut_at_any_byte_of_a_join_finishes_it(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """The same for who lets in: the owner's line breaks once at each of many bytes of a join."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana")
        line = world.lines["ana"]
        before = line.carried
        there["bo"] = await join(world, there["ana"], "bo")
        whole = line.carried - before
        for number in range(CUTS):
            name = f"p{number}"
            line.cut_after(1 + whole * number // CUTS)
            joined = await join(world, there["ana"], name)
            line.cut_after(None)
            await settle([*there.values(), joined])
            agree([*there.values(), joined])
            me = joined.me
            await world.stop_client(name)
            await there["ana"].evict(me)
            assert len(there["ana"].members()) == 2
        assert line.cuts >= CUTS * 2 // 3, "the rest passed before they struck"


async def test_messages_cut_at_any_byte_arrive_once(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """A sender's line breaks at every few dozen bytes of a message's way: each arrives once."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")
        line = world.lines["bo"]
        await trio.sleep(60)  # no receipts are under way
        before = line.carried
        await there["bo"].send("one whole message")
        await trio.sleep(0.5)
        whole = line.carried - before
        said = ["one whole message"]
        for number in range(CUTS):
            line.cut_after(1 + whole * number // CUTS)
            said.append(f"message {number}")
            await there["bo"].send(said[-1])
            line.cut_after(None)
            await settle(there.values())
        assert line.cuts >= CUTS * 2 // 3, "the rest may pass after the answer"
        agree(there.values(), said)


@pytest.mark.parametrize("boxed", [False, True])
async def test_a_rotation_cut_at_any_byte_happens_once(
    tmp_path: Path, autojump_clock: trio.abc.Clock, boxed: bool
) -> None:
    """The owner's line breaks within each part of a rotation: it is done, once, and known."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")
        line = world.lines["ana"]
        before = line.carried
        await there["ana"].rotate(boxed=boxed)
        whole = line.carried - before
        for number in range(CUTS):
            epoch = there["ana"].epoch
            line.cut_after(1 + whole * number // CUTS)
            try:
                await there["ana"].rotate(boxed=boxed)
            except Offline:
                await until(lambda epoch=epoch: there["ana"].epoch > epoch)  # type: ignore[misc]
            line.cut_after(None)
            await settle(there.values())
            assert there["ana"].epoch == epoch + 1
            agree(there.values())
        await there["bo"].send("still here")
        await settle(there.values())
        agree(there.values(), ["still here"])


async def test_lines_that_break_all_the_time_lose_and_double_nothing(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Everybody's line breaks again and again, the relay restarts: each message once, in order."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo", "cy")
        for name in there:
            world.lines[name].delay = lambda: world.random.random() * 0.3
        said = [f"{name} {n}" for n in range(30) for name in there]
        for text in said:
            room = there[text.split()[0]]
            queue(room, text)
        for step in range(40):
            await trio.sleep(world.random.random() * 5)
            if step % 10 == 9:
                await world.restart_relay()
            elif step % 13 == 12:
                world.kill_relay()
            else:
                world.lines[world.random.choice(list(there))].cut_after(
                    world.random.randrange(5000)
                )
        for line in world.lines.values():
            line.cut_after(None)
        await settle(there.values())
        agree(there.values(), said)


async def test_a_relay_restarted_is_resumed_where_each_was(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """After each restart everyone goes on at its own place: nothing is missing, nothing twice."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")
        said: list[str] = []
        for number in range(10):
            said.append(f"before restart {number}")
            await there["ana"].send(said[-1])
            await world.restart_relay()
            said.append(f"after restart {number}")
            await there["bo"].send(said[-1])
            await settle(there.values())
        agree(there.values(), said)
        assert texts(there["ana"]) == said, "in the order they were sent"


async def test_what_is_said_offline_is_sent_later(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Without a network sending raises Offline, keeps the message, and sends it by itself later."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")
        offline(world, "bo")
        for number in range(3):
            with pytest.raises(Offline):
                await there["bo"].send(f"later {number}")
        assert len(there["bo"].outbox()) == 3
        await world.stop_client("bo")
        client = await world.client("bo")
        [there["bo"]] = client.rooms
        assert len(there["bo"].outbox()) == 3
        world.lines["bo"].up = True
        await settle(there.values())
        agree(there.values(), [f"later {number}" for number in range(3)])


@pytest.mark.parametrize("seed", range(fewer(LIFE_STORIES)))
async def test_a_client_stopped_at_any_moment_says_everything_once(
    tmp_path: Path, autojump_clock: trio.abc.Clock, seed: int
) -> None:
    """bo's client is killed at any of its awaits, again and again, while it sends: what it took in
    reaches ana once, in order, through rotations, refusals and other people's words; and nothing of
    it looks as if bo had two devices."""
    chance = random.Random(seed)
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo", policy=Policy(rotate_after=7, boxed_every=3))
        for line in world.lines.values():
            line.delay = lambda: chance.random() * 0.05
        hers = await there["ana"].send("hers")
        heard = there["ana"].events(queue=100_000)
        await world.stop_client("bo")
        said: list[str] = []
        deaths = 0
        for _ in range(LIVES):
            bo = await again(world, "bo", die_after=chance.randrange(1, LIFE_STEPS))
            for _ in range(chance.choice((1, 3, 12))):
                with suppress(ClientError):  # it died meanwhile: it took nothing in
                    queue(bo, f"bo {len(said)}")
                    said.append(f"bo {len(said)}")
                    if chance.random() < 0.1:
                        queue(bo, Redaction(hers.event_id))  # refused for good
                await trio.sleep(chance.random() * 0.05)
            queue(there["ana"], f"ana {deaths}")
            deaths += await world.client_dies("bo", within=5)
            await world.stop_client("bo")
        there["bo"] = await again(world, "bo")
        await settle(there.values())
        assert deaths > LIVES // 3
        for room in there.values():
            assert [text for text in texts(room) if text.startswith("bo")] == said
        agree(there.values())
        alarms = [event for event in told(heard) if isinstance(event, Alarm)]
        assert {alarm.kind for alarm in alarms} <= {AlarmKind.KEY_OLD}


async def test_who_does_not_read_delays_nobody_and_resumes(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """bo hangs while more is said than the relay keeps in memory: the others hear it at once."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo", "cy")
        world.lines["bo"].hold()
        said = [f"{number} " + "x" * 12_000 for number in range(100)]
        for text in said:
            before = world.now()
            sent = await there["ana"].send(text)
            await until(lambda seq=sent.seq: there["cy"].head >= seq)  # type: ignore[misc]
            assert world.now() - before < 1000
            for _ in range(100):
                there["cy"].typing()
        assert texts(there["bo"]) == []
        assert link_bytes(world) < 8 * 2**20, "what waits for bo is bounded"
        world.lines["bo"].release()
        await settle(there.values())
        agree(there.values(), said)


async def test_who_hangs_for_minutes_is_cut_and_loses_nothing(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """A peer that takes no byte for half a minute is dropped; back again, it resumes."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")
        world.lines["bo"].hold()
        said = [f"message {number}" for number in range(20)]
        for text in said:
            await there["ana"].send(text)
        await trio.sleep(120)
        assert world.daemon is not None
        assert world.daemon.metrics.links._value.get() <= 2
        world.lines["bo"].release()
        await settle(there.values())
        agree(there.values(), said)


async def test_a_request_cut_for_good_ends_in_a_typed_error(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Inviting, rotating, evicting without a network: each raises Offline within its patience."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")
        offline(world, "ana")
        room = there["ana"]
        bo = there["bo"].me
        for ask in (room.invite, room.rotate, lambda: room.evict(bo)):
            before = world.now()
            with pytest.raises(ClientError) as caught:
                await ask()
            assert isinstance(caught.value, Offline)
            assert world.now() - before <= 31_000


def offline(world: World, name: str) -> None:
    """This person has no network any more."""
    world.lines[name].up = False
    world.lines[name].cut()


def link_bytes(world: World) -> int:
    """What waits in the relay's memory for all its links."""
    assert world.daemon is not None
    links = [one for one in world.daemon.hub._links if isinstance(one, Connection)]
    return sum(link._outbox_bytes + sum(map(len, link._page)) for link in links)


def queue(room: Room, said: str | Content) -> None:
    """Have the client take a message in: from then on it is to be sent, come what may."""
    with room._client.transaction() as tx:
        room.queue(tx, said)
