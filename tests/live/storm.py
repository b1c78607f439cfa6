"""Members who talk through bad roads while relays are killed, and what must be true afterwards."""

from __future__ import annotations

import hashlib
import os
import random
from collections import Counter
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import trio
from attrs import define, field

from ofcd.client import Client, Offline, Room
from ofcd.client.connection import Dial
from ofcd.wire import MessageStream, dial
from tests.live.chaos import Road, weathers
from tests.live.places import Place
from tests.live.support import Relay, settle, texts, until

__all__ = ["Member", "Storm", "clocked", "dial_by", "digest", "storm_seconds"]


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

    async def talk(self, chance: random.Random) -> None:
        """Say one thing after the other, until cancelled; each waits in the vault if it must."""
        number = 0
        while True:
            text = f"{self.name} says {number}"
            with self.client.transaction() as tx:
                self.room.queue(tx, text)
            self.said.append(text)
            number += 1
            await trio.sleep(chance.uniform(0.1, 0.5))

    async def keep_trying(self) -> None:
        """Tests do not wait for back-off."""
        while True:
            if not all(relay.online for relay in self.client.relays):
                self.client.retry_now()
            await trio.sleep(0.1)

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
        """Everyone talks while something goes wrong all the time; then all is mended."""
        chance = random.Random(f"{self.seed} storm")
        async with trio.open_nursery() as nursery:
            for member in self.members:
                nursery.start_soon(member.keep_trying)
                nursery.start_soon(member.talk, random.Random(f"{self.seed} {member.name}"))
            nursery.start_soon(self.members[0].rotate, random.Random(f"{self.seed} rotate"))
            until_then = trio.current_time() + seconds
            weather = weathers(self.seed)
            deeds = [self._weather, self._cut, self._hang, self._close, self._flood, self._kill]
            if all(place.is_isolated for place in self.places):
                deeds.append(self._pull)
            while trio.current_time() < until_then:
                for deed in chance.sample(deeds, len(deeds)):
                    for road in self.roads:
                        road.faults = next(weather) if chance.random() < 0.5 else road.faults
                    self.happened[deed.__name__] += 1
                    await deed(chance)
                    await trio.sleep(chance.uniform(0.2, 1.0))
                    if trio.current_time() >= until_then:
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
        """Everything said has come to everyone."""
        async with trio.open_nursery() as nursery:
            for member in self.members:
                nursery.start_soon(member.keep_trying)
            await settle(*(member.room for member in self.members), seconds=seconds)
            await until(self._all_heard, seconds)
            nursery.cancel_scope.cancel()

    def _all_heard(self) -> bool:
        said = {text for member in self.members for text in member.said}
        return all(said <= set(texts(member.room)) for member in self.members)

    def check(self) -> None:
        """Every member has the same events, in the same order, everything said, once."""
        digests = {member.name: digest(member.room) for member in self.members}
        assert len(set(digests.values())) == 1, digests
        said = Counter(text for member in self.members for text in member.said)
        for member in self.members:
            assert Counter(texts(member.room)) == said, f"{member.name} lost or doubled something"
            kept = [text for text in texts(member.room) if text.startswith(f"{member.name} says")]
            assert kept == member.said, f"{member.name}'s own words are out of order"


def digest(room: Room) -> str:
    """SHA-256 over the log's end and every message: seq, id, sender, text."""
    core = room._client._core(room.id)
    whole = hashlib.sha256(core.log.log)
    for message in room.messages(since=0, limit=1_000_000):
        fields = (message.seq, message.event_id.hex(), message.mid.hex(), message.text)
        whole.update(repr(fields).encode())
    return whole.hexdigest()
