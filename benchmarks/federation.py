"""A delivery to another relay's member against a local one: `python -m benchmarks.federation`.

Two relays, each a process; the founder of a room at one of them, and readers either there too or at
home at the other one. Real clients, with their vaults, in this process. What is compared: the time
from `send` until a reader has the words, one at a time; messages a second when all are queued at
once; the same for what a reader says; and the hub's time for a message with some readers, which for
remote ones is that of one copy, however many they are.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import trio

from benchmarks.relay import percentile
from benchmarks.servers import Server, relay
from ofcd.client import MessageReceived, Room, Vault, open_client

PAUSE_SECONDS = 0.05
PATIENCE_SECONDS = 300
FEDERATION = '[federation]\nmode = "open"\nallow_private = ["127.0.0.0/8"]\n'


@asynccontextmanager
async def shared_room(hub: str, home: str, readers: int) -> AsyncIterator[tuple[Room, list[Room]]]:
    """A room at `hub`, and members of it who are at home at `home`."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        rooms: list[Room] = []
        for number in range(readers + 1):
            vault = stack.enter_context(Vault.create(folder / f"{number}.vault", bytes(32)))
            client = await stack.enter_async_context(open_client(vault))
            if not rooms:
                rooms.append(await client.create_room(hub, "bench", my_name="founder"))
                continue
            link = (await rooms[0].invite()).link()
            rooms.append(await client.join(link, name=f"reader {number}", via=home))
        await trio.sleep(2)
        yield rooms[0], rooms[1:]


async def heard(room: Room, since: int, count: int) -> None:
    """Return once `count` messages of others have come after entry `since`."""
    with trio.fail_after(PATIENCE_SECONDS):
        async for event in room.events_since(since):
            if isinstance(event, MessageReceived) and not event.message.mine:
                count -= 1
                if not count:
                    return


async def latency(sender: Room, reader: Room, count: int) -> list[float]:
    """Milliseconds from `send` until the reader has it, of each."""
    times: list[float] = []
    for number in range(count):
        await trio.sleep(PAUSE_SECONDS)
        since = reader.head
        started = time.perf_counter()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(heard, reader, since, 1)
            await sender.send(f"message {number} {'x' * 100}")
        times.append((time.perf_counter() - started) * 1e3)
    return times


async def throughput(sender: Room, readers: Iterable[Room], count: int) -> float:
    """Messages a second, all queued at once, until every reader has them."""
    readers = list(readers)
    since = [reader.head for reader in readers]
    started = time.perf_counter()
    with sender._client.transaction() as tx:
        for number in range(count):
            sender.queue(tx, f"message {number} {'x' * 100}")
    async with trio.open_nursery() as nursery:
        for reader, head in zip(readers, since, strict=True):
            nursery.start_soon(heard, reader, head, count)
    return count / (time.perf_counter() - started)


async def measure(hub: Server, home: Server, count: int, readers: int) -> dict[str, float]:
    """All figures for readers who are at home at `home`."""
    async with shared_room(hub.url, home.url, readers) as (founder, others):
        down = await latency(founder, others[0], count)
        up = await latency(others[0], founder, count)
        rate = await throughput(founder, others[:1], 4 * count)
        back = await throughput(others[0], [founder], 4 * count)
        before = hub.cpu_seconds()
        await throughput(founder, others, 4 * count)
        cost = (hub.cpu_seconds() - before) / (4 * count) * 1e6
    return {
        "to the reader, median ms": statistics.median(down),
        "to the reader, p95 ms": percentile(down, 0.95),
        "from the reader, median ms": statistics.median(up),
        "from the reader, p95 ms": percentile(up, 0.95),
        "to the reader, messages/s": rate,
        "from the reader, messages/s": back,
        f"hub's µs a message, {readers} readers": cost,
    }


def main() -> None:
    """Measure both, and print them side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=50)
    parser.add_argument("--readers", type=int, default=8)
    options = parser.parse_args()
    with relay(more=FEDERATION) as hub, relay(more=FEDERATION) as home:
        local = trio.run(measure, hub, hub, options.messages, options.readers)
        remote = trio.run(measure, hub, home, options.messages, options.readers)
    print(f"{'':36}{'local':>10}{'federated':>12}{'ratio':>8}")
    for name, ours in local.items():
        print(f"{name:36}{ours:10.1f}{remote[name]:12.1f}{remote[name] / ours:8.2f}")


if __name__ == "__main__":
    main()
