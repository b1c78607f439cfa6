"""What the bridge to IRC adds, side by side: `python -m benchmarks.irc`. Needs ngIRCd.

A relay and an ngIRCd, as processes; here two members, the bridge, and somebody on IRC. Out: from a
member's `send` to the line at somebody on IRC, against the same message at the other member. In:
from a line on IRC to its words at a member. Then lines a second, each proven: as fast as the bridge
can, and at the pace that networks let through (5 at once, then one in 2 seconds).
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import trio
from attrs import define, field, frozen

from benchmarks.bridging import PATIENCE_SECONDS, Tally, client, seen, timed
from benchmarks.relay import percentile
from benchmarks.servers import LOAD_CPU, relay
from bridge.core import Engine, Portal, Settings
from bridge.core.settings import BridgeSettings
from bridge.irc import IrcNetwork
from bridge.irc.settings import IrcPlace, IrcSettings
from bridge.irc.wire import Framer, encode
from ofcd.client import Client, Room
from ofcd.protocol.records import Cap

CHANNEL = "#bench"
_PATH = "/usr/sbin:/usr/bin"


@contextmanager
def ngircd(folder: Path) -> Iterator[int]:
    """An ngIRCd that punishes nobody; its port."""
    program = shutil.which("ngircd", path=_PATH)
    if program is None:
        sys.exit("ngircd is not installed: apt-get install ngircd")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    config = folder / "ngircd.conf"
    config.write_text(
        f"[Global]\nName = irc.bench.example\nInfo = bench\nListen = 127.0.0.1\nPorts = {port}\n"
        f"MotdPhrase = hello\nServerUID = {os.getuid()}\nServerGID = {os.getgid()}\n"
        "AdminEMail = a@b.example\n[Limits]\nMaxConnectionsIP = 0\nMaxNickLength = 20\n"
        "MaxPenaltyTime = 0\n[Options]\nDNS = no\nIdent = no\nPAM = no\nChrootDir =\n"
    )
    with (folder / "ngircd.log").open("wb") as log:
        process = subprocess.Popen([program, "-n", "-f", str(config)], stdout=log, stderr=log)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


@define
class Listener:
    """Somebody on IRC, who counts what is said."""

    stream: trio.SocketStream
    heard: Tally = field(factory=Tally)
    ready: trio.Event = field(factory=trio.Event)

    async def run(self) -> None:
        """Read until cancelled."""
        framer = Framer()
        for command, *params in (("NICK", "kim"), ("USER", "kim", "0", "*", "kim")):
            await self.stream.send_all(encode(command, params))
        while data := await self.stream.receive_some():
            for line in framer.feed(bytes(data)):
                if line.command == "001":
                    await self.stream.send_all(encode("JOIN", [CHANNEL]))
                elif line.command == "366":
                    self.ready.set()
                elif line.command == "PING":
                    await self.stream.send_all(encode("PONG", line.params))
                elif line.command == "PRIVMSG":
                    self.heard.add()

    async def say(self, text: str) -> None:
        """A line to the channel."""
        await self.stream.send_all(encode("PRIVMSG", [CHANNEL, text]))


@frozen
class Stage:
    """Everything, running."""

    client: Client
    room: Room
    other: Room
    """The same room, as another member has it."""
    kim: Listener


@asynccontextmanager
async def stage(url: str, folder: Path, irc: IrcSettings) -> AsyncIterator[Stage]:
    """A room of two members and a bridge, and somebody on IRC."""
    await trio.Path(folder).mkdir()
    async with trio.open_nursery() as nursery:
        kim = Listener(await trio.open_tcp_stream("127.0.0.1", irc.port))
        nursery.start_soon(kim.run)
        await kim.ready.wait()
        async with (
            client(folder / "ana") as ana,
            client(folder / "bo") as bo,
            client(folder / "bridge") as bridge,
        ):
            room = await ana.create_room(url, "Bench", my_name="Ana")
            other = await bo.join(await room.invite(), name="Bo")
            await bridge.join(await room.invite(caps={Cap.BRIDGE}), name="Bridge")
            portal = Portal(
                room="Bench",
                network="irc",
                place=CHANNEL,
                hold=0.0,
                backlog=100_000,
                in_per_second=100_000,
                in_burst=100_000,
                out_per_second=100_000,
                out_burst=100_000,
                options=IrcPlace(),
            )
            settings = Settings(BridgeSettings(), (irc,), {"irc": IrcNetwork}, (portal,))
            engine = Engine(settings, bridge, settings.make_networks())
            async with trio.open_nursery() as running:
                running.start_soon(engine.run)
                with trio.fail_after(PATIENCE_SECONDS):
                    while not engine.places["irc", CHANNEL].is_ready:  # noqa: ASYNC110
                        await trio.sleep(0.05)
                yield Stage(ana, room, other, kim)
                running.cancel_scope.cancel()
        nursery.cancel_scope.cancel()
    await trio.aclose_forcefully(kim.stream)


def _settings(port: int, *, burst: int, line_seconds: float) -> IrcSettings:
    return IrcSettings(
        name="irc",
        server="127.0.0.1",
        port=port,
        tls=False,
        burst=burst,
        line_seconds=line_seconds,
    )


async def _latency(all_: Stage, count: int) -> dict[str, list[float]]:
    """Milliseconds of each way."""
    found: dict[str, list[float]] = {name: [] for name in ("out", "member", "in")}
    for number in range(count):
        await trio.sleep(0.05)
        head, heard, started = all_.other.head, all_.kim.heard.count, time.perf_counter()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(timed, found["member"], started, seen, all_.other, head)
            nursery.start_soon(timed, found["out"], started, all_.kim.heard.until, heard + 1)
            await all_.room.send(f"word {number}")
        head, started = all_.room.head, time.perf_counter()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(timed, found["in"], started, seen, all_.room, head)
            await all_.kim.say(f"word {number}")
    return found


async def _rate(all_: Stage, count: int) -> float:
    """Lines a second, of many at once."""
    heard, started = all_.kim.heard.count, time.perf_counter()
    with all_.client.transaction() as tx:
        for number in range(count):
            all_.room.queue(tx, f"word {number}")
    await all_.kim.heard.until(heard + count)
    return count / (time.perf_counter() - started)


async def measure(url: str, port: int, folder: Path, count: int, paced: int) -> None:
    """Measure, and print a table."""
    free = _settings(port, burst=100, line_seconds=0.01)
    async with stage(url, folder / "free", free) as all_:
        found = await _latency(all_, count)
        fast = await _rate(all_, 5 * count)
    async with stage(url, folder / "paced", _settings(port, burst=5, line_seconds=2.0)) as all_:
        await trio.sleep(12)  # the lines of its login are paid for
        slow = await _rate(all_, paced)
    member = statistics.median(found["member"])
    for name, label in (
        ("member", "a message, to another member"),
        ("out", "a message, to somebody on IRC"),
        ("in", "a line, to a member"),
    ):
        middle = statistics.median(found[name])
        print(
            f"{label:40} {middle:8.1f} ms   p95 {percentile(found[name], 0.95):8.1f} ms"
            f"   {middle / member:5.2f} of a message"
        )
    print(f"{'lines a second, no limit':40} {fast:8.1f}")
    most = paced / (2.0 * max(1, paced - 5))
    print(f"{'lines a second, 5 and then 1 in 2 s':40} {slow:8.2f}   (at most {most:.2f})")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--lines", type=int, default=100)
    parser.add_argument("--paced", type=int, default=30, help="lines at the pace of networks")
    options = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CPU})
    with (
        tempfile.TemporaryDirectory() as folder,
        ngircd(Path(folder)) as port,
        relay() as server,
    ):
        trio.run(measure, server.url, port, Path(folder), options.lines, options.paced)


if __name__ == "__main__":
    main()
