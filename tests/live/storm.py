"""Members who talk through bad roads while relays are killed, and what must be true afterwards."""

from __future__ import annotations

import hashlib
import math
import os
import random
from collections import Counter
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Final

import pytest
import trio
from attrs import define, field

from ofcd.client import Client, Offline, Room
from ofcd.client.connection import Dial
from ofcd.protocol.ids import RoomId, Sid
from ofcd.wire import MessageStream, dial
from tests.live.chaos import Road, weathers
from tests.live.places import Place
from tests.live.support import Relay, settle, texts, until

__all__ = ["WORD", "Member", "Storm", "clocked", "dial_by", "digest", "storm_seconds"]

_SLOWEST: Final = 1800
"""Seconds that a storm, or its end, may take beyond what was asked for."""
WORD: Final = "marker-storm walrus"
"""Stands in everything that is said: no relay may ever see it."""


def clocked(place: Place, skew: str = "") -> tuple[str, ...]:
    """A command to run a relay by: in its place, its clock ahead or behind by `skew` ("+2h")."""
    if not skew:
        return place.wrap
    # The program `faketime` stays between us and the process, and would be killed in its stead.
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if library is None:
        pytest.skip("faketime is not installed: apt-get install faketime")
    settings = (f"LD_PRELOAD={library}", f"FAKETIME={skew}", "FAKETIME_DONT_FAKE_MONOTONIC=1")
    return (*place.wrap, "env", *settings)


def dial_by(roads: dict[str, Road]) -> Dial:
    """Dials a relay by its address, and goes by the road for that address."""

    def go(url: str) -> AbstractAsyncContextManager[MessageStream]:
        road = roads.get(url.removesuffix("/ofc"))
        return dial(url if road is None else road.url)

    return go


def storm_seconds(usual: float) -> float:
    """How long a storm lasts: `OFCD_SOAK` seconds, or as long as is usual in the suite."""
    return float(os.environ.get("OFCD_SOAK", usual))


@define(eq=False)
class Member:
    """One member, in one room, at one client."""

    name: str
    client: Client
    room: Room
    said: list[str] = field(factory=list)
    sids: dict[str, Sid] = field(factory=dict)
    pause: tuple[float, float] = (0.1, 0.5)
    """Seconds between two things it says, from and to."""

    def __str__(self) -> str:
        waiting = [(queued.stage.value, queued.counter) for queued in self.room.outbox()]
        here = set(self.texts)
        missing = [
            (n, self.room.sent(self.sids[t])) for n, t in enumerate(self.said) if t not in here
        ]
        return (
            f"{self.name}: {self.room.status.value} {self.room.status_code} head {self.room.head}, "
            f"missing {missing} of its own, waiting {waiting[:5]}, "
            f"online {[relay.online for relay in self.client.relays]}"
        )

    async def talk(self, chance: random.Random) -> None:
        """Say one thing after the other, until cancelled; each waits in the vault if it must."""
        number = 0
        while True:
            text = f"{self.name} says {number} {WORD}"
            with self.client.transaction() as tx:
                self.sids[text] = Sid(os.urandom(16))
                self.room.queue(tx, text, sid=self.sids[text])
            self.said.append(text)
            number += 1
            await trio.sleep(chance.uniform(*self.pause))

    async def keep_trying(self) -> None:
        """Tests do not wait for back-off."""
        while True:
            if not all(relay.online for relay in self.client.relays):
                self.client.retry_now()
            await trio.sleep(0.1)

    @property
    def texts(self) -> list[str]:
        """What of the room was said in the storm."""
        return [text for text in texts(self.room) if text.endswith(WORD)]

    async def rotate(self, chance: random.Random) -> None:
        """Renew the key now and then."""
        while True:
            await trio.sleep(chance.uniform(2, 5))
            try:
                with trio.move_on_after(20):
                    await self.room.rotate()
            except Offline:
                continue


@define(eq=False)
class Storm:
    """Relays, the roads between all of them and to their members, and everyone who talks."""

    seed: int
    relays: list[Relay]
    roads: list[Road]
    places: list[Place]
    members: list[Member] = field(factory=list)
    happened: Counter[str] = field(factory=Counter)

    async def rage(self, seconds: float) -> None:
        """Everyone talks while something goes wrong all the time; then all is mended.

        It lasts until each thing has gone wrong once, however slow the machine is.
        """
        with trio.fail_after(seconds + _SLOWEST):
            await self._rage(seconds)

    async def _rage(self, seconds: float) -> None:
        chance = random.Random(f"{self.seed} storm")
        async with trio.open_nursery() as nursery:
            for member in self.members:
                nursery.start_soon(member.keep_trying)
                nursery.start_soon(member.talk, random.Random(f"{self.seed} {member.name}"))
            nursery.start_soon(self.members[0].rotate, random.Random(f"{self.seed} rotate"))
            end = trio.current_time() + seconds
            weather = weathers(self.seed)
            deeds = [self._weather, self._cut, self._hang, self._close, self._flood, self._kill]
            if all(place.is_isolated for place in self.places):
                deeds.append(self._pull)

            def is_over() -> bool:
                return trio.current_time() >= end and len(self.happened) == len(deeds)

            while not is_over():
                for deed in chance.sample(deeds, len(deeds)):
                    for road in self.roads:
                        road.faults = next(weather) if chance.random() < 0.5 else road.faults
                    self.happened[deed.__name__] += 1
                    await deed(chance)
                    await trio.sleep(chance.uniform(0.2, 1.0))
                    if is_over():
                        break
                self._mend()
                await trio.sleep(1.0)
            nursery.cancel_scope.cancel()
        self._mend()

    def _mend(self) -> None:
        for road in self.roads:
            road.mend()
        for place in self.places:
            place.plug()

    async def _weather(self, chance: random.Random) -> None:
        weather = weathers(chance.getrandbits(32))
        for road in self.roads:
            road.faults = next(weather)

    async def _cut(self, chance: random.Random) -> None:
        for road in chance.sample(self.roads, (len(self.roads) + 1) // 2):
            road.cut()

    async def _hang(self, chance: random.Random) -> None:
        road = chance.choice(self.roads)
        road.hang()
        await trio.sleep(chance.uniform(0.5, 2.0))
        road.mend()

    async def _close(self, chance: random.Random) -> None:
        road = chance.choice(self.roads)
        road.close()
        await trio.sleep(chance.uniform(0.5, 2.0))
        road.mend()

    async def _flood(self, chance: random.Random) -> None:
        await chance.choice(self.roads).flood(connections=20, seconds=1.0)

    async def _kill(self, chance: random.Random) -> None:
        relay = chance.choice(self.relays)
        relay.kill()
        await trio.sleep(chance.uniform(0.0, 1.0))
        await trio.to_thread.run_sync(relay.start)

    async def _pull(self, chance: random.Random) -> None:
        place = chance.choice(self.places)
        place.pull()
        await trio.sleep(chance.uniform(0.5, 2.0))
        place.plug()

    async def calm(self, seconds: float = 120) -> None:
        """Everything said has come to everyone; given up once nothing has come for so long."""
        with trio.fail_after(_SLOWEST):
            await self._calm(seconds)

    async def _calm(self, seconds: float) -> None:
        async with trio.open_nursery() as nursery:
            for member in self.members:
                nursery.start_soon(member.keep_trying)
            with trio.CancelScope() as patience:
                nursery.start_soon(self._while_it_flows, patience, seconds)
                for there in self.rooms():
                    await settle(*(member.room for member in there), seconds=math.inf)
                    await until(partial(_all_heard, there), math.inf)
            if patience.cancelled_caught:
                raise AssertionError("\n".join(map(str, self.members)))
            nursery.cancel_scope.cancel()

    async def _while_it_flows(self, patience: trio.CancelScope, seconds: float) -> None:
        """However slow the machine: as long as anything moves, it is waited for."""
        before: list[tuple[int, int]] = []
        while True:
            now = [(member.room.head, len(member.room.outbox())) for member in self.members]
            if now != before:
                before, patience.deadline = now, trio.current_time() + seconds
            await trio.sleep(0.5)

    def rooms(self) -> list[list[Member]]:
        """The members of each room."""
        by_room: dict[RoomId, list[Member]] = {}
        for member in self.members:
            by_room.setdefault(member.room.id, []).append(member)
        return list(by_room.values())

    def check(self) -> None:
        """In each room all have the same events, in the same order, everything said, once."""
        for there in self.rooms():
            digests = {member.name: digest(member.room) for member in there}
            assert len(set(digests.values())) == 1, digests
            said = Counter(text for member in there for text in member.said)
            for member in there:
                assert Counter(member.texts) == said, f"{member.name} lost or doubled something"
                own = [text for text in member.texts if text.startswith(f"{member.name} says")]
                assert own == member.said, f"{member.name}'s own words are out of order"


def _all_heard(there: list[Member]) -> bool:
    said = {text for member in there for text in member.said}
    return all(said <= set(member.texts) for member in there)


def digest(room: Room) -> str:
    """SHA-256 over the log's end and every message: seq, id, sender, text."""
    core = room._client._core(room.id)
    whole = hashlib.sha256(core.log.log)
    for message in room.messages(since=0, limit=1_000_000):
        fields = (message.seq, message.event_id.hex(), message.mid.hex(), message.text)
        whole.update(repr(fields).encode())
    return whole.hexdigest()
