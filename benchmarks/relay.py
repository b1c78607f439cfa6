"""The relay against a bare fan-out, side by side in one run: `python -m benchmarks.relay`.

Rival: trio-websocket that sends what it gets to everyone, through a bounded channel and a task a
connection; it neither encrypts nor verifies, orders or stores. Server pinned to one processor, the
load to another. Figures drift with the machine: read the ratios.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from contextlib import AsyncExitStack

import trio
from trio_websocket import WebSocketConnection, open_websocket_url

from benchmarks.members import Member, full_room, open_link
from benchmarks.servers import LOAD_CPU, Server, bare_fanout, relay
from ofcd.protocol import frames

MEMBERS = 50
SIZE = 200
WINDOW = 16


# -- the relay -------------------------------------------------------------------------------------


async def relay_saturated(
    url: str, server: Server, events: int, senders: int
) -> tuple[float, float]:
    """Deliveries a second, and server microseconds a delivery, with everyone's window full."""
    async with full_room(url, MEMBERS) as members:
        total = events * senders
        async with trio.open_nursery() as nursery:
            cpu, started = server.cpu_seconds(), time.perf_counter()
            for number, member in enumerate(members):
                own = events if number < senders else 0
                nursery.start_soon(_take_part, member, own, total)
        seconds = time.perf_counter() - started
        deliveries = total * MEMBERS
        return deliveries / seconds, (server.cpu_seconds() - cpu) / deliveries * 1e6


async def _take_part(member: Member, own: int, total: int) -> None:
    window = trio.Semaphore(WINDOW)

    async def post() -> None:
        for _ in range(own):
            await window.acquire()
            await member.link.send(member.make_post(SIZE))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(post)
        delivered = acknowledged = 0
        while delivered < total or acknowledged < own:
            for frame in await member.link.receive():
                if isinstance(frame, frames.Delivery):
                    delivered += 1
                elif isinstance(frame, frames.Ack):
                    acknowledged += 1
                    member.seen = type(member.seen)(frame.seq, frame.log)
                    window.release()
                elif isinstance(frame, frames.Failure):
                    raise RuntimeError(str(frame))


async def relay_latency(url: str, events: int, pause: float) -> list[float]:
    """Milliseconds from a sender's send to each member's receipt, at a moderate rate."""
    times: list[float] = []
    async with full_room(url, MEMBERS) as members:
        sent: list[float] = []
        async with trio.open_nursery() as nursery:
            for member in members:
                nursery.start_soon(_listen, member, events, sent, times)
            sender = members[0]
            for _ in range(events):
                await trio.sleep(pause)
                post = sender.make_post(SIZE)
                sent.append(time.perf_counter())
                await sender.link.send(post)
    return times


async def _listen(member: Member, events: int, sent: list[float], times: list[float]) -> None:
    delivered = 0
    while delivered < events:
        for frame in await member.link.receive():
            if isinstance(frame, frames.Delivery):
                times.append((time.perf_counter() - sent[delivered]) * 1e3)
                delivered += 1


# -- the rival -------------------------------------------------------------------------------------


async def bare_saturated(
    url: str, server: Server, events: int, senders: int
) -> tuple[float, float]:
    """The same load on the bare fan-out."""
    total = events * senders

    async def take_part(socket: WebSocketConnection, own: int, prefix: bytes) -> None:
        window = trio.Semaphore(WINDOW)

        async def post() -> None:
            for _ in range(own):
                await window.acquire()
                await socket.send_message(prefix + bytes(SIZE - 1))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(post)
            for _ in range(total):
                message = await socket.get_message()
                if own and message[:1] == prefix:
                    window.release()

    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(open_websocket_url(url)) for _ in range(MEMBERS)]
        async with trio.open_nursery() as nursery:
            cpu, started = server.cpu_seconds(), time.perf_counter()
            for number, socket in enumerate(sockets):
                own = events if number < senders else 0
                nursery.start_soon(take_part, socket, own, bytes([number]))
        seconds = time.perf_counter() - started
    deliveries = total * MEMBERS
    return deliveries / seconds, (server.cpu_seconds() - cpu) / deliveries * 1e6


async def bare_latency(url: str, events: int, pause: float) -> list[float]:
    """The same rate on the bare fan-out."""
    times: list[float] = []
    sent: list[float] = []

    async def listen(socket: WebSocketConnection) -> None:
        for number in range(events):
            await socket.get_message()
            times.append((time.perf_counter() - sent[number]) * 1e3)

    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(open_websocket_url(url)) for _ in range(MEMBERS)]
        async with trio.open_nursery() as nursery:
            for socket in sockets:
                nursery.start_soon(listen, socket)
            for _ in range(events):
                await trio.sleep(pause)
                sent.append(time.perf_counter())
                await sockets[0].send_message(bytes(SIZE))
    return times


# -- links and resume ------------------------------------------------------------------------------


async def idle_memory(url: str, server: Server, links: int) -> float:
    """Server bytes an idle link, attached to nothing."""
    async with AsyncExitStack() as stack:
        for _ in range(20):
            await stack.enter_async_context(open_link(url))
        before = server.memory()
        for _ in range(links):
            await stack.enter_async_context(open_link(url))
        await trio.sleep(0.5)
        return (server.memory() - before) / links


async def resume(url: str, missed: int) -> float:
    """Milliseconds from Sync to the last of `missed` events, for a member who was away."""
    async with full_room(url, 2) as (sender, reader):
        start = (await reader.attach()).seq + 1
        await reader.link.send(frames.Detach(reader.link.next_rid(), reader.room))
        await reader.link.want(frames.Done)
        for _ in range(missed // WINDOW + 1):
            await sender.link.send(*(sender.make_post(SIZE) for _ in range(WINDOW)))
            for _ in range(WINDOW):
                ack = await sender.link.want(frames.Ack)
            sender.seen = type(sender.seen)(ack.seq, ack.log)
        await reader.attach()
        started = time.perf_counter()
        await reader.sync(start)
        got = 0
        while got < missed:
            got += sum(isinstance(f, frames.Delivery) for f in await reader.link.receive())
        return (time.perf_counter() - started) * 1e3


def percentile(times: list[float], part: float) -> float:
    """A percentile, by rank."""
    return sorted(times)[min(len(times) - 1, int(len(times) * part))]


def main() -> None:
    """Run what is asked for, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--events", type=int, default=200, help="events of each of 10 senders")
    parser.add_argument("--links", type=int, default=500)
    options = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CPU})
    _saturation(options.rounds, options.events)
    _latency(options.rounds)
    with relay() as server:
        each = trio.run(idle_memory, server.url, server, options.links)
        print(f"memory per idle link ({options.links} links): {each / 1024:.1f} kB")
    with relay() as server:
        print(f"resume of 1,000 missed messages: {trio.run(resume, server.url, 1000):.0f} ms")


def _saturation(rounds: int, events: int) -> None:
    ours: list[tuple[float, float]] = []
    theirs: list[tuple[float, float]] = []
    for _ in range(rounds):
        with bare_fanout() as server:
            theirs.append(trio.run(bare_saturated, server.url, server, events, 10))
        with relay() as server:
            ours.append(trio.run(relay_saturated, server.url, server, events, 10))
    rate, rival_rate = (statistics.median(r for r, _ in side) for side in (ours, theirs))
    cpu, rival_cpu = (statistics.median(c for _, c in side) for side in (ours, theirs))
    print(f"one room of {MEMBERS}, {SIZE} bytes, 10 senders with windows of {WINDOW}:")
    print(_row("deliveries a second", rate, rival_rate))
    print(_row("server us a delivery", cpu, rival_cpu))


def _row(what: str, ours: float, theirs: float) -> str:
    return f"  {what:20}  relay {ours:9.1f}  bare {theirs:9.1f}  {ours / theirs:.2f}x"


def _latency(rounds: int) -> None:
    pause = MEMBERS / 200
    print("200 deliveries a second, send to receive:")
    found: dict[str, list[float]] = {"bare": [], "relay": []}
    for _ in range(rounds):
        with bare_fanout() as server:
            found["bare"] += trio.run(bare_latency, server.url, 30, pause)
        with relay() as server:
            found["relay"] += trio.run(relay_latency, server.url, 30, pause)
    for name, part in (("p50", 0.5), ("p99", 0.99)):
        ours, theirs = (percentile(found[side], part) for side in ("relay", "bare"))
        print(_row(f"{name} ms", ours, theirs))


if __name__ == "__main__":
    main()
