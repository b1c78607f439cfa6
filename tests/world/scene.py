"""People in a world, and what must be true of them all once nothing is under way."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import trio
from attrs import evolve

from ofcd.client import AppEvent, EventStream, LoggedEvent, Room, Stage
from ofcd.config import Settings
from ofcd.protocol.ids import MemberId, RoomId
from ofcd.protocol.records import Policy
from ofcd.store import LogRow, Store
from ofcd.testing import World

__all__ = [
    "again",
    "agree",
    "database",
    "everything",
    "join",
    "patient",
    "people",
    "quick",
    "rows",
    "settle",
    "stored",
    "texts",
    "told",
    "until",
    "waits",
]

People = dict[str, Room]


async def people(world: World, *names: str, policy: Policy | None = None) -> People:
    """A room founded by the first of these, which the others have joined."""
    founder, *others = names
    client = await world.client(founder)
    there = {founder: await client.create_room(world.url, "tea", my_name=founder, policy=policy)}
    for name in others:
        there[name] = await join(world, there[founder], name)
    await settle(there.values())
    return there


async def join(world: World, host: Room, name: str) -> Room:
    """One more member, by an invite of `host`."""
    client = await world.client(name)
    return await client.join(await host.invite(), name=name)


async def again(world: World, name: str, *, die_after: int | None = None) -> Room:
    """This person's client, started anew on the same vault; see `World.client`."""
    client = await world.client(name, die_after=die_after)
    [room] = client.rooms
    return room


async def until(condition: Callable[[], object], seconds: float = 600) -> None:
    """Wait for what the tasks under way bring about; fails the test if they never do."""
    began = trio.current_time()
    patience = 50 if seconds > 600 else float("inf")  # where hours may pass: not 36,000 looks each
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - it watches others from outside
            await trio.sleep(max(0.1, (trio.current_time() - began) / patience))


async def settle(rooms: Iterable[Room]) -> None:
    """Everything said has been taken by everyone: outboxes empty, all at one head, and quiet."""
    rooms = list(rooms)

    def done() -> bool:
        return not any(map(waits, rooms)) and len({room.head for room in rooms}) == 1

    while True:
        await until(done)
        head = rooms[0].head
        await trio.sleep(12)  # a link that holds so long forgets its failures
        if done() and rooms[0].head == head:
            return


def waits(room: Room) -> bool:
    """Whether something queued is neither accepted nor refused for good."""
    return any(queued.stage is not Stage.FAILED for queued in room.outbox())


def texts(room: Room) -> list[str]:
    """All texts of the room, as it reads now."""
    return [message.text for message in room.messages(since=0, limit=100_000)]


async def everything(room: Room, cursor: int = -1) -> list[LoggedEvent]:
    """All logged events that are here after `cursor`."""
    return [event async for event in room.events_since(cursor, follow=False)]


def told(stream: EventStream) -> list[AppEvent]:
    """What waits in a stream of live events; ends the stream."""
    events: list[AppEvent] = []
    while True:
        try:
            events.append(stream._receive.receive_nowait())
        except (trio.WouldBlock, trio.EndOfChannel):
            stream.close()
            return events


def agree(rooms: Iterable[Room], said: Collection[str] | None = None) -> None:
    """All have the same log, members, epoch and texts; `said` are all texts, each once."""
    rooms = list(rooms)
    cores = [room._client._core(room.id) for room in rooms]
    assert len({core.log.log for core in cores}) == 1, "the logs differ"
    assert len({core.state.ctl for core in cores}) == 1, "the control logs differ"
    assert len({core.keys.get(core.state.epoch) for core in cores}) == 1, "the keys differ"
    if said is not None:
        for room in rooms:
            mine = texts(room)
            assert sorted(mine) == sorted(said), room
            assert mine == texts(rooms[0]), "the order differs"


def patient(settings: Settings) -> Settings:
    """A relay where an idle link is hardly asked for a sign of life: most of what a day costs."""
    return evolve(settings, limits=evolve(settings.limits, idle_ping_seconds=3600))


def quick(settings: Settings) -> Settings:
    """A `patient` relay that does not slow fast members down: for tests of something else."""
    settings = patient(settings)
    limits = evolve(
        settings.limits,
        events_per_second_per_member=10_000,
        events_burst_per_member=100_000,
        events_per_second_per_room=100_000,
        control_per_minute_per_member=10_000,
        handshakes_per_minute_per_ip=1_000_000,
    )
    return evolve(settings, limits=limits)


def stored(world: World) -> Store:
    """The running relay's store."""
    assert world.daemon is not None
    return world.daemon.store


def database(world: World) -> bytes:
    """Every byte of the relay's database and its write-ahead log."""
    folder = Path(world.settings.data_dir)
    return b"".join(path.read_bytes() for path in sorted(folder.glob("ofcd.db*")))


def rows(world: World, room: RoomId, mid: MemberId) -> list[LogRow]:
    """The relay's whole log of a room, as it would deliver it to `mid`."""
    store, start = stored(world), 0
    found: list[LogRow] = []
    head = store.load_room(room)
    assert head is not None
    while start <= head.seq:
        page = store.read_log(room, start, mid=mid, max_events=500, max_bytes=1 << 24)
        found += page.rows
        start = page.next_seq
    return found
