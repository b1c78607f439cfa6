"""What the bridge to mail adds, side by side: `python -m benchmarks.mail`.

A relay, as a process; here a member, the bridge, and a mail server that does nothing but take mail.
Out: from a member's `send` to the mail at that server, against the same message at another member.
In: from a mail's first byte over LMTP to its words at a member, against a member's own message;
and mails a second over one link, each answered once it is on disk.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from attrs import define, field

from benchmarks.bridging import Tally, client, seen, timed
from benchmarks.relay import percentile
from benchmarks.servers import LOAD_CPU, relay
from bridge.core import Engine, Portal, Settings
from bridge.core.settings import BridgeSettings
from bridge.email.lmtp import LmtpServer
from bridge.email.network import EmailNetwork
from bridge.email.settings import EmailPlace, EmailSettings, Lmtp, Smtp
from ofcd.client import Room
from ofcd.protocol.records import Cap

PERSON = "bo@people.example"


@define
class Sink:
    """Takes mail, at once, and tells that it did."""

    port: int = 0
    taken: Tally = field(factory=Tally)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled."""
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._serve, [listener])

    async def _serve(self, stream: trio.SocketStream) -> None:
        server = LmtpServer("sink", lambda _: True)
        while not server.closing:
            await stream.send_all(server.to_send())
            raw = bytes(await stream.receive_some(65536))
            if not raw:
                return
            for _ in server.receive(raw):
                self.taken.add()
                server.answer(0, 250, "ok")


@define
class Stage:
    """Everything, running."""

    room: Room
    other: Room
    """The same room, as another member has it."""
    network: EmailNetwork
    sink: Sink
    secret: str

    async def mail(self, link: trio.SocketStream, number: int) -> None:
        """One mail over LMTP; returns once it is answered."""
        text = (
            f"Authentication-Results: mx.example; dmarc=pass header.from=people.example\r\n"
            f"From: Bo <{PERSON}>\r\nTo: {self.secret}\r\nSubject: x\r\n"
            f"Message-ID: <{number}.{time.monotonic_ns()}@people.example>\r\n\r\nword {number}\r\n"
        )
        await link.send_all(
            f"MAIL FROM:<{PERSON}>\r\nRCPT TO:<{self.secret}>\r\nDATA\r\n{text}.\r\n".encode()
        )
        answer = b""
        while answer.count(b"\r\n") < 4:
            answer += bytes(await link.receive_some(4096))
        assert answer.splitlines()[-1].startswith(b"250"), answer


@asynccontextmanager
async def stage(url: str, folder: Path) -> AsyncIterator[Stage]:
    """A room of two members and a bridge."""
    async with trio.open_nursery() as nursery:
        sink = Sink()
        await nursery.start(sink.run)
        async with (
            client(folder / "ana") as ana,
            client(folder / "bo") as bo,
            client(folder / "bridge") as bridge,
        ):
            room = await ana.create_room(url, "Bench", my_name="Ana")
            other = await bo.join(await room.invite(), name="Bo")
            await bridge.join(await room.invite(caps={Cap.BRIDGE}), name="Bridge")
            [probe] = await trio.open_tcp_listeners(0, host="127.0.0.1")
            port = probe.socket.getsockname()[1]
            await probe.aclose()
            network = _network(sink, port)
            settings = Settings(
                BridgeSettings(), (network.settings,), {"mail": EmailNetwork}, (_PORTAL,)
            )
            async with trio.open_nursery() as running:
                running.start_soon(Engine(settings, bridge, {"mail": network}).run)
                await trio.sleep(2)
                await network.command(room.id, ["mail", "full", "on"])
                one = network.store.subscriber(bridge.vault, "books", PERSON)
                assert one is not None
                yield Stage(room, other, network, sink, f"books+{one.token}@bridge.example")
                running.cancel_scope.cancel()
        nursery.cancel_scope.cancel()


_PORTAL = Portal(
    room="Bench",
    network="mail",
    place="books",
    in_per_second=100_000,
    in_burst=100_000,
    out_per_second=100_000,
    out_burst=100_000,
    options=EmailPlace(subscribers=(PERSON,), hold=0.0, notice_every=0.0),
)


def _network(sink: Sink, port: int) -> EmailNetwork:
    settings = EmailSettings(
        domain="bridge.example",
        authserv_id="mx.example",
        per_hour=10**6,
        smtp=Smtp(port=sink.port, tls="none"),
        lmtp=Lmtp(port=port),
    )
    [place] = Settings(BridgeSettings(), (settings,), {"mail": EmailNetwork}, (_PORTAL,))._places(
        "mail"
    )
    return EmailNetwork(settings, [place])


async def measure(url: str, count: int) -> dict[str, list[float]]:
    """Milliseconds of each way, and seconds for all at once."""
    found: dict[str, list[float]] = {name: [] for name in ("out", "member", "in", "rate")}
    with tempfile.TemporaryDirectory() as folder:
        async with stage(url, Path(folder)) as all_:
            port = all_.network.settings.lmtp.port
            link = await trio.open_tcp_stream("127.0.0.1", port)
            await link.receive_some(4096)
            await link.send_all(b"LHLO bench\r\n")
            await link.receive_some(4096)
            for number in range(count):
                await trio.sleep(0.05)
                taken = all_.sink.taken
                head, before, started = all_.other.head, taken.count, time.perf_counter()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(timed, found["member"], started, seen, all_.other, head)
                    nursery.start_soon(timed, found["out"], started, taken.until, before + 1)
                    await all_.room.send(f"word {number}")
                head, started = all_.room.head, time.perf_counter()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(timed, found["in"], started, seen, all_.room, head)
                    await all_.mail(link, number)
            started = time.perf_counter()
            for number in range(count):
                await all_.mail(link, count + number)
            found["rate"].append(count / (time.perf_counter() - started))
            await link.aclose()
    return found


def main() -> None:
    """Run it, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--mails", type=int, default=100)
    options = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CPU})
    with relay() as server:
        found = trio.run(measure, server.url, options.mails)
    member = statistics.median(found["member"])
    for name, label in (
        ("member", "a message, to another member"),
        ("out", "a message, to the mail server"),
        ("in", "a mail, to a member"),
    ):
        middle = statistics.median(found[name])
        print(
            f"{label:32} {middle:8.1f} ms   p95 {percentile(found[name], 0.95):8.1f} ms"
            f"   {middle / member:5.2f} of a message"
        )
    print(f"{'mails a second, over one link':32} {found['rate'][0]:8.1f}")


if __name__ == "__main__":
    main()
