"""The servers that `benchmarks.relay` measures, each in a process pinned to one processor."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import trio
from attrs import frozen
from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket

__all__ = ["Server", "bare_fanout", "relay"]

SERVER_CPU, LOAD_CPU = 0, 1
SETTINGS = """\
[relay]
port = 0
data_dir = "{data_dir}"
[storage]
durability = "{durability}"
[limits]
events_per_second_per_member = 10000
events_burst_per_member = 10000
events_per_second_per_room = 10000
control_per_minute_per_member = 10000
connections_per_ip = 5000
handshakes_per_minute_per_ip = 10000
[log]
level = "error"
"""


@frozen
class Server:
    """A server under test."""

    url: str
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """User and system time it has used, all threads."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def memory(self) -> int:
        """Resident bytes."""
        return int(self.process.memory_info().rss)


@contextmanager
def _run(arguments: list[str]) -> Iterator[Server]:
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        try:
            os.sched_setaffinity(process.pid, {SERVER_CPU})
            assert process.stdout is not None
            first = process.stdout.readline()
            yield Server(first.split()[-1], psutil.Process(process.pid))
        finally:
            process.terminate()


@contextmanager
def relay(durability: str = "full", more: str = "") -> Iterator[Server]:
    """`ofcd` with its limits out of the way; `more` are other settings."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.toml"
        config.write_text(SETTINGS.format(data_dir=f"{folder}/var", durability=durability) + more)
        with _run([sys.executable, "-m", "ofcd", "--config", str(config)]) as server:
            yield server


@contextmanager
def bare_fanout() -> Iterator[Server]:
    """trio-websocket that sends what it gets to everyone: no keys, no order, nothing stored."""
    with _run([sys.executable, "-m", "benchmarks.servers"]) as server:
        yield server


async def _serve_bare() -> None:
    peers: set[trio.MemorySendChannel[str | bytes]] = set()

    async def handle(request: WebSocketRequest) -> None:
        socket = await request.accept()
        outbox, waiting = trio.open_memory_channel[str | bytes](10_000)
        peers.add(outbox)

        async def write() -> None:
            async for message in waiting:
                await socket.send_message(message)

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(write)
                while True:
                    message = await socket.get_message()
                    for peer in peers:
                        peer.send_nowait(message)
                    await trio.lowlevel.checkpoint()
        except* ConnectionClosed:
            peers.discard(outbox)

    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, handle, "127.0.0.1", 0, None)
        sys.stdout.write(f"ws://127.0.0.1:{server.port}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    trio.run(_serve_bare)
