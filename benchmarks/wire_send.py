"""Server time to send one 300-byte message to 50 links, by three ways of sending.

    python benchmarks/wire_send.py [--rounds N] [--json]

Links are loopback TCP to a separate process that reads and discards. Each way runs in turn, five
times; the median of the server process's CPU time per send is shown, and its ratio to plain
trio-websocket in the same run. Read the ratios: the microseconds are one machine's.

One run (two shared cores, Python 3.11), us a send: plain 20.6 (1.00), MessageStream.send
8.9 (0.43), try_send first 4.4 (0.21); try_send with frames built by wsproto: 7.1 (0.35).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import selectors
import socket
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio
import trio_websocket

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ofcd import wire  # the checkout beside this file

LINKS = 50
PAYLOAD = bytes(300)
REQUEST = (
    b"GET /ofc HTTP/1.1\r\nHost: relay\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    b"Sec-WebSocket-Protocol: ofc.1\r\n\r\n"
)


def read_and_discard(ports: list[int]) -> None:
    """The other process: LINKS links to each port, all read until they close."""
    with selectors.DefaultSelector() as selector:
        for port in ports:
            for _ in range(LINKS):
                link = socket.create_connection(("127.0.0.1", port))
                link.sendall(REQUEST)
                selector.register(link, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                assert isinstance(key.fileobj, socket.socket)
                if not key.fileobj.recv(1 << 16):
                    selector.unregister(key.fileobj)
                    key.fileobj.close()


async def measure(fan_out: Callable[[], Awaitable[None]], rounds: int) -> float:
    """Microseconds of CPU a send."""
    begun = time.process_time()
    for _ in range(rounds):
        await fan_out()
    return (time.process_time() - begun) / (rounds * LINKS) * 1e6


class Bench:
    """Both servers, and the three ways to reach their links."""

    def __init__(self) -> None:
        self.plain: list[trio_websocket.WebSocketConnection] = []
        self.ours: list[wire.MessageStream] = []
        self.complete = trio.Event()

    async def _keep(self) -> None:
        if len(self.plain) == len(self.ours) == LINKS:
            self.complete.set()
        await trio.sleep_forever()

    async def plain_handler(self, request: trio_websocket.WebSocketRequest) -> None:
        """A link of plain trio-websocket."""
        self.plain.append(await request.accept(subprotocol="ofc.1"))
        await self._keep()

    async def our_handler(self, link: wire.MessageStream) -> None:
        """A link of ours."""
        self.ours.append(link)
        await self._keep()

    async def send_message(self) -> None:
        """Fan out through trio-websocket."""
        for link in self.plain:
            await link.send_message(PAYLOAD)

    async def send(self) -> None:
        """Fan out through `MessageStream.send`."""
        for link in self.ours:
            await link.send(PAYLOAD)

    async def try_send(self) -> None:
        """Fan out without waiting, one trip through the scheduler at the end."""
        for link in self.ours:
            if not link.try_send(PAYLOAD):
                await link.send(PAYLOAD)
        await trio.lowlevel.checkpoint()


async def run(rounds: int) -> dict[str, float]:
    """Median microseconds a send of each way."""
    bench = Bench()
    limits = wire.ServeLimits(handshakes_per_minute=LINKS, connections_per_ip=LINKS)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            trio_websocket.serve_websocket, bench.plain_handler, "127.0.0.1", 0, None
        )
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")

        async def serve(task_status: trio.TaskStatus[None]) -> None:
            await wire.serve(
                listeners,
                bench.our_handler,
                lambda request: wire.HttpResponse(404),
                limits=limits,
                task_status=task_status,
            )

        await nursery.start(serve)
        ports = [server.port, listeners[0].socket.getsockname()[1]]
        reader = multiprocessing.get_context("spawn").Process(
            target=read_and_discard, args=(ports,), daemon=True
        )
        reader.start()
        with trio.fail_after(20):
            await bench.complete.wait()
        ways = {
            "plain send_message": bench.send_message,
            "MessageStream.send": bench.send,
            "try_send first": bench.try_send,
        }
        figures: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(5):
            for name, fan_out in ways.items():
                figures[name].append(await measure(fan_out, rounds))
        reader.kill()
        await trio.to_thread.run_sync(reader.join)
        nursery.cancel_scope.cancel()
    return {name: statistics.median(times) for name, times in figures.items()}


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--rounds", type=int, default=400, help="fan-outs per measurement")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = parser.parse_args()
    figures = trio.run(run, options.rounds)
    if options.json:
        print(json.dumps({"us_per_send": figures}))
        return
    base = figures["plain send_message"]
    for name, microseconds in figures.items():
        print(f"{name:20} {microseconds:6.2f} us a send   {microseconds / base:5.2f} x plain")


if __name__ == "__main__":
    main()
