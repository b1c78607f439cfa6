"""Bad roads: a TCP proxy between processes that cuts, delays, throttles, loses, doubles and swaps.

What happens to each piece of data is drawn from a generator of the road's name, its seed, the
connection's number and its direction: the same seed is the same weather, as far as the pieces are
the same (how TCP cuts a stream into pieces is the machine's affair).
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Final

import trio
from attrs import define, field

from tests.live.wiretap import Wiretap

__all__ = ["Faults", "Road", "open_road", "open_roads", "open_wiretap", "weathers"]

_PIECE: Final = 16 * 1024
_DAMAGED_SECONDS: Final = 10.0
"""A stream that was damaged is cut so soon after. In plain ws a false length in a frame's head may
swallow all that follows, pings too, until a MiB has come: no message of it is taken, but the link
looks alive meanwhile. TLS would end it at once."""
_OUT_OF_ORDER: Final = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)


@define
class Faults:
    """What a road does to what it carries. Chances are for each piece of data."""

    delay: tuple[float, float] = (0.0, 0.0)
    """Seconds that a piece takes, from and to; pieces of one direction stay in order."""
    rate: int = 0
    """Bytes a second; 0 for as many as there are."""
    lose: float = 0.0
    """Chance that a piece is lost, though TCP never loses one: as a broken middle box does."""
    double: float = 0.0
    """Chance that it comes twice."""
    swap: float = 0.0
    """Chance that its second half comes first."""
    flip: float = 0.0
    """Chance that one bit of it is another."""

    def damaged(self, piece: bytes, rng: random.Random) -> bytes:
        """The piece as it comes out at the other end."""
        if rng.random() < self.lose:
            return b""
        if rng.random() < self.double:
            piece += piece
        if rng.random() < self.swap:
            half = len(piece) // 2
            piece = piece[half:] + piece[:half]
        if rng.random() < self.flip and piece:
            at = rng.randrange(len(piece))
            piece = piece[:at] + bytes([piece[at] ^ 1 << rng.randrange(8)]) + piece[at + 1 :]
        return piece

    def seconds(self, size: int, rng: random.Random) -> float:
        """How long a piece of this size takes."""
        return rng.uniform(*self.delay) + (size / self.rate if self.rate else 0.0)


@define(eq=False)
class Road:
    """A way from whoever dials `url` to one process."""

    name: str
    seed: int
    host: str = "127.0.0.1"
    """Where it listens."""
    port: int = 0
    faults: Faults = field(factory=Faults)
    tap: Wiretap | None = None
    """Keeps what goes by."""
    carried: int = 0
    """Bytes carried so far."""
    links: int = 0
    """Connections so far."""
    _target: tuple[str, int] | None = None
    _up: bool = True
    _open: trio.Event = field(factory=trio.Event)
    _scopes: set[trio.CancelScope] = field(factory=set)

    def __attrs_post_init__(self) -> None:
        self._open.set()

    @property
    def url(self) -> str:
        """Where to dial."""
        return f"ws://{self.host}:{self.port}"

    def leads_to(self, host: str, port: int) -> None:
        """From now on this is the other end."""
        self._target = host, port

    # -- what can be done to it --------------------------------------------------------------------

    def cut(self) -> None:
        """Break all that is open, at once; new connections come through."""
        for scope in list(self._scopes):
            scope.cancel()

    def close(self) -> None:
        """Break all, and let nothing through any more."""
        self._up = False
        self.cut()

    def hang(self) -> None:
        """From now on nothing comes through, and nobody is told: as when a cable is pulled."""
        self._open = trio.Event()

    def mend(self) -> None:
        """Whole again, and as fast as before; what hung comes through."""
        self._up = True
        self._open.set()
        self.faults = Faults()

    async def flood(self, connections: int, seconds: float) -> None:
        """Strangers at the other end: noise, half requests, and silence, from so many at once."""
        rng = random.Random(f"{self.seed} {self.name} flood")
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                for _ in range(connections):
                    nursery.start_soon(self._stranger, rng)

    async def _stranger(self, rng: random.Random) -> None:
        while self._target is not None:
            try:
                async with await trio.open_tcp_stream(*self._target) as stream:
                    head = b"GET /ofc HTTP/1.1\r\nHost: r\r\n"
                    await stream.send_all(rng.choice((head, rng.randbytes(2000), b"")))
                    await trio.sleep(rng.random())
            except _OUT_OF_ORDER:
                await trio.sleep(0.05)

    # -- carrying --------------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[list[trio.SocketListener]]) -> None:
        """Listen until cancelled."""
        listeners = await trio.open_tcp_listeners(self.port, host=self.host)
        self.port = listeners[0].socket.getsockname()[1]
        if self.tap is not None:
            self.tap.port = self.port
        await trio.serve_listeners(self._serve, listeners, task_status=task_status)

    async def _serve(self, near: trio.SocketStream) -> None:
        if not self._up or self._target is None:
            return
        self.links += 1
        name = f"{self.seed} {self.name} {self.links}"
        try:
            far = await trio.open_tcp_stream(*self._target)
        except OSError:
            return
        async with far, trio.open_nursery() as nursery:
            scope = nursery.cancel_scope
            self._scopes.add(scope)
            try:
                nursery.start_soon(self._carry, near, far, random.Random(f"{name} in"), scope)
                nursery.start_soon(self._carry, far, near, random.Random(f"{name} out"), scope)
                await trio.sleep_forever()
            finally:
                self._scopes.discard(scope)

    async def _carry(
        self,
        source: trio.SocketStream,
        target: trio.SocketStream,
        rng: random.Random,
        scope: trio.CancelScope,
    ) -> None:
        kept = bytearray()
        if self.tap is not None:
            self.tap.streams.append(kept)
        try:
            while data := await source.receive_some(_PIECE):
                if self.tap is not None:
                    kept += data
                await self._open.wait()
                await trio.sleep(self.faults.seconds(len(data), rng))
                self.carried += len(data)
                piece = self.faults.damaged(bytes(data), rng)
                if piece != data:
                    scope.deadline = min(scope.deadline, trio.current_time() + _DAMAGED_SECONDS)
                await target.send_all(piece)
        except _OUT_OF_ORDER:
            pass
        scope.cancel()


@asynccontextmanager
async def open_road(
    name: str, seed: int, *, host: str = "127.0.0.1", target: tuple[str, int] | None = None
) -> AsyncIterator[Road]:
    """A road, whole at first."""
    road = Road(name, seed, host)
    if target is not None:
        road.leads_to(*target)
    async with open_roads(road):
        yield road


@asynccontextmanager
async def open_roads(*roads: Road) -> AsyncIterator[None]:
    """All of these roads, for as long as the block lasts."""
    async with trio.open_nursery() as nursery:
        for road in roads:
            await nursery.start(road.run)
        yield
        nursery.cancel_scope.cancel()


def weathers(seed: int) -> Iterator[Faults]:
    """Weather without end, bad in one way or another; the same for the same seed."""
    rng = random.Random(f"{seed} weather")
    while True:
        yield rng.choice(
            (
                Faults(delay=(0.0, rng.uniform(0.02, 0.3))),
                Faults(rate=rng.randrange(4_000, 60_000)),
                Faults(lose=0.05),
                Faults(double=0.05),
                Faults(swap=0.05),
                Faults(flip=0.05),
                Faults(delay=(0.01, 0.1), lose=0.02, swap=0.02),
            )
        )


@asynccontextmanager
async def open_wiretap(relay_port: int) -> AsyncIterator[Wiretap]:
    """A good road before a relay on this machine, that keeps everything."""
    tap = Wiretap()
    road = Road("wiretap", 0, tap=tap)
    road.leads_to("127.0.0.1", relay_port)
    async with open_roads(road):
        yield tap
