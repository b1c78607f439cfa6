"""Test 16: tiny frames without end, through the whole relay but its sockets."""

from __future__ import annotations

import os
from collections import Counter
from itertools import count
from pathlib import Path

import pytest
import trio

from ofcd.protocol import frames
from ofcd.protocol.ids import Hash32, InviteId, RoomId
from ofcd.relay import RelayPolicy
from ofcd.testing import World, open_world
from ofcd.testing.line import Line
from ofcd.wire import WireError
from tests.daemon.rawlink import Founder, RawLink, open_raw

FRAMES = int(os.environ.get("OFCD_FRAMES", "30000"))
"""A million in `make soak`."""
MEMORY = 4 << 20
"""Bytes by which the process may grow once the first tenth is through."""
_AHEAD = 64 * 1024
"""Bytes on their way at once: what a socket holds."""
_UNREAD = 3000
"""Frames that may be on their way: what the socket holds, and what the relay takes in advance."""
_BATCH = 200
_LOOKUPS = 2000
"""So many of them are requests, which are answered each."""
ROOM = RoomId(bytes(32))


@pytest.mark.slow
@pytest.mark.timeout(max(120, FRAMES // 1000))
async def test_16_tiny_frames_without_end_cost_their_sender_alone(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Answered or not, they are taken no faster than the limit, in memory that does not grow."""
    flood, began = Flood(), trio.current_time()
    sizes: list[int] = []
    async with open_world(tmp_path) as world, open_raw(world) as link:
        honest = Founder(world)
        await honest.come(link)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood.ask, world)
            nursery.start_soon(flood.pour, world)
            for tenth in range(1, 11):
                while taken(world) < FRAMES * tenth // 10:  # noqa: ASYNC110 - it watches
                    await trio.sleep(1)
                sizes.append(rss())
                before = trio.current_time()
                await honest.post(link)
                assert trio.current_time() - before < 1, "who floods holds nobody else up"
            nursery.cancel_scope.cancel()
    grown = [size - sizes[0] for size in sizes]
    assert max(grown) < MEMORY, grown
    limits = RelayPolicy()
    burst = limits.refusals_burst_per_link * (1 + flood.links)
    least = (FRAMES - burst) / limits.refusals_per_second_per_link
    assert trio.current_time() - began > least * 0.9, "it was read faster than it may be refused"
    assert flood.answers.total() == _LOOKUPS, "each request is answered once"
    assert flood.answers["rate_limited"] > 10 * flood.answers["invite_unknown"] > 0


class Flood:
    """A client that sends as fast as the relay takes it, and begins anew when it has had enough."""

    def __init__(self) -> None:
        self.links = 0
        self.answers: Counter[str] = Counter()

    async def pour(self, world: World) -> None:
        """Frames that nobody answers, on one link after another: those that do not read go."""
        while True:
            self.links += 1
            line = Line()
            try:
                async with open_raw(world, line) as link:
                    await self._pour(world, line, link)
            except WireError:
                await trio.sleep(1)

    async def _pour(self, world: World, line: Line, link: RawLink) -> None:
        cursor, poured = frames.encode_frame(frames.Cursor(ROOM, 1)), 0
        for number in count(taken(world), _BATCH):
            assert number - taken(world) < _UNREAD, "the relay holds what it has not looked at"
            message = link.session.send([cursor] * _BATCH)
            poured += len(message)
            await link.stream.send(message)
            while line.carried + _AHEAD < poured:
                await trio.sleep(0.5)
                await link.stream.flush()

    async def ask(self, world: World) -> None:
        """Requests that are wrong, some hundred at a time."""
        async with open_raw(world) as link:
            for _ in range(0, _LOOKUPS, _BATCH):
                await link.send(*(lookup(link.rid()) for _ in range(_BATCH)))
                for failure in await link.expect(frames.Failure, _BATCH):
                    self.answers[failure.code] += 1
            await trio.sleep_forever()


def lookup(rid: int) -> frames.Lookup:
    return frames.Lookup(rid, ROOM, InviteId(bytes(16)), Hash32(bytes(32)))


def taken(world: World) -> int:
    """Frames that the relay has looked at."""
    assert world.daemon is not None
    return int(world.daemon.metrics.requests.labels("Cursor")._value.get())


def rss() -> int:
    """Bytes of memory that this process holds."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
