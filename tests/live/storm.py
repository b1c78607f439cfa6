"""Members who talk through bad roads while relays are killed, and what must be true afterwards."""

from __future__ import annotations

import math
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Final

import pytest
import trio
from attrs import define, field

from ofcd.client import Client, Offline, Room
from ofcd.client.connection import Dial
from ofcd.e2e.bodies import Content
from ofcd.protocol.ids import RoomId, Sid
from ofcd.wire import MessageStream, dial
from tests.live.chaos import Road, weathers
from tests.live.places import Place
from tests.live.support import Relay, settle, texts, until

__all__ = ["WORD", "Member", "Storm", "clocked", "dial_by", "storm_seconds"]

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
    since: int = 0
    """Where in the log it came, if later than the others: what follows it has all of."""
    is_out: bool = False
    """Whether it was put out, and has the log up to there alone."""

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
        while self.room.status.is_open:
            self.say(f"{self.name} says {number} {WORD}")
            number += 1
            await trio.sleep(chance.uniform(*self.pause))

    def say(self, text: str, content: Content | None = None) -> None:
        """Queue this; `text` is what is read of it."""
        with self.client.transaction() as tx:
            self.sids[text] = Sid(os.urandom(16))
            self.room.queue(tx, content or text, sid=self.sids[text])
        self.said.append(text)

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
    happenings: list[Callable[[trio.Event], Awaitable[None]]] = field(factory=list)
    """What people do meanwhile; each ends soon after its event is set."""
    _people: trio.Nursery | None = None
    _talking: trio.Nursery | None = None

    def take_in(self, member: Member) -> None:
        """One more member, who talks as the others do."""
        self.members.append(member)
        if self._people is not None:
            self._people.start_soon(member.keep_trying)
        if self._talking is not None:
            self._talking.start_soon(member.talk, random.Random(f"{self.seed} {member.name}"))

    async def rage(self, seconds: float) -> None:
        """Everyone talks while something goes wrong all the time; then all is mended.

        It lasts until each thing has gone wrong once, however slow the machine is.
        """
        with trio.fail_after(seconds + _SLOWEST):
            await self._rage(seconds)

    async def _rage(self, seconds: float) -> None:
        over = trio.Event()
        async with trio.open_nursery() as self._people:
            async with trio.open_nursery() as acting:
                for happens in self.happenings:
                    acting.start_soon(happens, over)
                async with trio.open_nursery() as self._talking:
                    members, self.members = self.members, []
                    for member in members:
                        self.take_in(member)
                    rotates = random.Random(f"{self.seed} rotate")
                    self._talking.start_soon(members[0].rotate, rotates)
                    await self._go_wrong(seconds)
                    self._talking.cancel_scope.cancel()
                self._talking = None
                self._mend()
                over.set()
            self._people.cancel_scope.cancel()
        self._people = None

    async def _go_wrong(self, seconds: float) -> None:
        chance, weather = random.Random(f"{self.seed} storm"), weathers(self.seed)
        end = trio.current_time() + seconds
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
                await until(self._is_out_known, math.inf)
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

    def _is_out_known(self) -> bool:
        return not any(member.is_out and member.room.status.is_open for member in self.members)

    def rooms(self) -> list[list[Member]]:
        """The members that each room has now; the first has been there from its beginning."""
        by_room: dict[RoomId, list[Member]] = {}
        for member in self.members:
            if not member.is_out:
                by_room.setdefault(member.room.id, []).append(member)
        return list(by_room.values())

    def check(self) -> None:
        """In each room all have the same events, in the same order, everything said, once.

        Who came later has what followed, and who was put out what came before.
        """
        for there in self.rooms():
            ends = {m.name: m.room._client._core(m.room.id).log.log for m in there}
            assert len(set(ends.values())) == 1, ends
            whole = shown(there[0].room)
            for member in self.members:
                if member.room.id == there[0].room.id:
                    _check_one(member, whole)


def _check_one(member: Member, whole: list[Shown]) -> None:
    mine = shown(member.room)
    first = min([member.since + 1, *(seq for seq, *_ in mine)])  # it may read what came before
    last = member.room.head if member.is_out else math.inf
    assert mine == [one for one in whole if first <= one[0] <= last], f"{member.name} differs"
    by_it = member.room.me.hex()
    own = [text for _, _, mid, text in whole if mid == by_it and text.endswith(WORD)]
    said = member.said[: len(own)] if member.is_out else member.said
    assert own == said, f"{member.name}'s own words are lost, doubled or out of order"


def _all_heard(there: list[Member]) -> bool:
    said = {text for member in there for text in member.said}
    return all(said <= set(member.texts) for member in there if not member.since)


Shown = tuple[int, str, str, str]
"""Of a message: seq, id, sender, text."""


def shown(room: Room) -> list[Shown]:
    """All messages of the room, as they stand in the log."""
    messages = room.messages(since=0, limit=1_000_000)
    return [(m.seq, m.event_id.hex(), m.mid.hex(), m.text) for m in messages]
