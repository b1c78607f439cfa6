"""Anything, in any order: whatever happens to a room, what was promised holds in the end.

The model is plain Python: who is a member, and which texts were acknowledged. Hypothesis makes the
story; a virtual clock plays it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
import trio.testing
from attrs import define, field
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ofcd.client import ClientError, JoinFailed, NotAllowed, Offline, Room, RoomStatus
from ofcd.client.controls import Change, Made
from ofcd.client.turn import Turn
from ofcd.e2e.controls import make_key_update
from ofcd.protocol.ids import PublicKey
from ofcd.protocol.limits import KEY_RENEWALS
from ofcd.protocol.records import Policy, Role
from ofcd.testing import World, open_world
from tests.world.scene import agree, join, people, quick, settle, texts

NAMES = ("ana", "bo", "cy", "di")
person = st.sampled_from(NAMES)
STEPS = st.one_of(
    st.tuples(st.just("say"), person),
    st.tuples(st.just("say"), person),
    st.tuples(st.just("say"), person),
    st.tuples(st.just("rotate"), person),
    st.tuples(st.just("box"), person),
    st.tuples(st.just("renew"), person),
    st.tuples(st.just("evict"), person),
    st.tuples(st.just("join"), person),
    st.tuples(st.just("cut"), person),
    st.tuples(st.just("offline"), person),
    st.tuples(st.just("online"), person),
    st.tuples(st.just("kill relay"), st.just("")),
    st.tuples(st.just("wait"), st.just("")),
)


@define
class Model:
    """What must be true."""

    members: dict[str, Room]
    out: dict[str, tuple[Room, int]] = field(factory=dict)
    """Who was evicted, and the head of the log then."""
    said: list[str] = field(factory=list)
    """Queued by members: it may be in the log once, and must be if its sender stayed."""
    acknowledged: list[str] = field(factory=list)


@settings(
    max_examples=12,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(steps=st.lists(STEPS, min_size=5, max_size=25), seed=st.integers(0, 2**16))
@example(
    steps=[("cut", "ana"), ("evict", "cy"), ("offline", "ana"), ("kill relay", ""), ("wait", "")],
    seed=0,
)
def test_every_story_ends_with_one_log_and_every_promise_kept(
    tmp_path_factory: pytest.TempPathFactory, steps: Sequence[tuple[str, str]], seed: int
) -> None:
    """One log, one key; no acknowledged text lost, none twice; who is out is out."""
    folder = tmp_path_factory.mktemp("story")
    clock = trio.testing.MockClock(autojump_threshold=0)
    trio.run(play, folder, steps, seed, clock=clock)


async def play(folder: Path, steps: Sequence[tuple[str, str]], seed: int) -> None:
    """One story."""
    async with open_world(folder, quick) as world:
        world.random.seed(seed)
        there = await people(world, *NAMES[:3], policy=Policy(rotate_after=8, boxed_every=3))
        await there["ana"].grant(there["bo"].me, Role.CO_OWNER)
        await settle(there.values())
        model = Model(there)
        async with trio.open_nursery() as nursery:
            for number, (what, who) in enumerate(steps):
                await step(world, nursery, model, number, what, who)
                await trio.sleep(world.random.random())
            await heal(world)
        await check(model)


async def step(
    world: World, nursery: trio.Nursery, model: Model, number: int, what: str, who: str
) -> None:
    """One thing happens."""
    room = model.members.get(who)
    match what:
        case "say" if room is not None:
            nursery.start_soon(say, model, room, f"{who} {number}")
        case "rotate" | "box" if room is not None:
            nursery.start_soon(rotate, room, what == "box")
        case "renew" if room is not None:
            renew(room)
        case "evict" if room is not None and who in ("cy", "di"):
            nursery.start_soon(evict, model, who)
        case "join" if who == "di" and who not in model.members and who not in model.out:
            nursery.start_soon(enter, world, model, who)
        case "cut":
            world.lines[who].cut_after(world.random.randrange(3000))
        case "offline":
            world.lines[who].up = False
            world.lines[who].cut()
        case "online":
            world.lines[who].up = True
        case "kill relay" if world.daemon is not None:
            world.kill_relay()
        case "wait":
            await trio.sleep(world.random.random() * 60)


async def say(model: Model, room: Room, text: str) -> None:
    """Say something; it is in the log if it was acknowledged."""
    try:
        model.said.append(text)
        await room.send(text)
    except Offline:
        return
    except ClientError:
        model.said.remove(text)
        return
    model.acknowledged.append(text)


async def rotate(room: Room, boxed: bool) -> None:
    """Try to rotate."""
    try:
        await room.rotate(boxed=boxed)
    except ClientError:
        return


def renew(room: Room) -> None:
    """Let the room's client renew its key at the next moment, as if a day had passed."""
    machine = room._client._connection(room.id).machine.rooms.get(room.id)
    if machine is not None:
        core = machine.core

        def make(turn: Turn) -> Made | None:
            if core.state.members[core.me].renewals >= KEY_RENEWALS - 1:
                return None
            enc_key = PublicKey(core.next_own_pair(turn).public)
            return Made(make_key_update(core.state, core.mine, core.log.seen, turn.now, enc_key))

        machine.controls.add(Change("renew", make))
        room._client._connection(room.id).stir()


async def evict(model: Model, who: str) -> None:
    """Ana shows someone out."""
    room = model.members[who]
    try:
        await model.members["ana"].evict(room.me)
    except ClientError:
        return
    if who in model.members:
        del model.members[who]
        model.out[who] = (room, model.members["ana"].head)


async def enter(world: World, model: Model, who: str) -> None:
    """Someone joins."""
    try:
        model.members[who] = await join(world, model.members["ana"], who)
    except (Offline, JoinFailed, NotAllowed):
        return


async def heal(world: World) -> None:
    """Whatever was broken works again."""
    for line in world.lines.values():
        line.cut_after(None)
        line.up = True
    await trio.sleep(3600)


async def check(model: Model) -> None:
    """What must be true in the end."""
    for who, room in list(model.members.items()):
        if room.status is RoomStatus.EVICTED:  # by an eviction that was given up, and still came
            del model.members[who]
            model.out[who] = (room, model.members["ana"].head)
    there = list(model.members.values())
    await settle(there)
    agree(there)
    full = texts(model.members["ana"])
    assert len(full) == len(set(full)), "nothing twice"
    assert set(model.acknowledged) <= set(full), "nothing lost that was acknowledged"
    assert set(full) <= set(model.said)
    stayed = [text for text in model.said if text.split()[0] in model.members]
    assert set(stayed) <= set(full), "what waited was sent"
    for room, head in model.out.values():
        assert room.head <= head
        assert room.status is not RoomStatus.ACTIVE
