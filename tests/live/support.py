"""Relays as real processes on real sockets, and clients beside them in the test's own process."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Final

import pytest
import trio

from ofcd.client import Client, Room, Stage, Vault, open_client
from ofcd.client.connection import Dial
from ofcd.daemon.run import milliseconds
from ofcd.wire import dial as dial_relay
from tests.prefork import Program, run

ROOT: Final = Path(__file__).parents[2]
KEY: Final = bytes(range(32))
QUICK: Final = """
handshakes_per_minute_per_ip = 1000000
connections_per_ip = 5000
connections = 5000
events_per_second_per_member = 5000
events_burst_per_member = 100000
events_per_second_per_room = 100000
control_per_minute_per_member = 10000
"""
"""Limits that let one machine play everybody."""


class Relay:
    """`ofcd` as a process that can be killed and started again at the same address."""

    def __init__(
        self,
        folder: Path,
        *,
        limits: str = QUICK,
        more: str = "",
        log: str = "info",
        wrap: tuple[str, ...] = (),
        host: str = "127.0.0.1",
    ) -> None:
        """`folder` takes its settings and its data; `wrap` is a command to run it by."""
        self.host = host
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "ofcd.log"
        self.config = folder / "config.toml"
        self.port = 0
        self.wrap = wrap
        self.starts = 0
        self._process: Program[str] | None = None
        self._settings = (
            f'[log]\nlevel = "{log}"\n[limits]\n{limits}\n{more}\n'
            f'[relay]\nhost = "{host}"\ndata_dir = "{self.data}"\n'
        )

    @property
    def url(self) -> str:
        """Where clients reach it."""
        return f"ws://{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self._process is not None
        return self._process.pid

    def command(self) -> list[str]:
        """What starts it."""
        self.config.write_text(f"{self._settings}port = {self.port}\n")
        return [*self.wrap, sys.executable, "-m", "ofcd", "--config", str(self.config)]

    def start(self) -> None:
        """Start it; returns once it listens. A relay that does not fails the test."""
        with self.log.open("a") as log:
            self._process = Program[str](
                self.command(), stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT
            )
        assert self._process.stdout is not None
        greeting = self._process.stdout.readline()
        assert "listens on" in greeting, self.log.read_text()[-2000:]
        self.port = int(greeting.rsplit(":", 1)[1])
        self.starts += 1

    def run(self) -> tuple[int, str]:
        """Start it where it can not run: its exit code, and what it says."""
        done = run(self.command(), capture_output=True, text=True, cwd=ROOT, timeout=30)
        return done.returncode, done.stderr

    def kill(self) -> None:
        """kill -9, and nothing else."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> int:
        process = self._process
        if process is None:
            return 0
        self._process = None
        process.send_signal(how)
        with process:
            return process.wait(timeout=20)

    def rss(self) -> int:
        """Bytes of memory that it holds now."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        [line] = [line for line in status.splitlines() if line.startswith("VmRSS")]
        return int(line.split()[1]) * 1024

    def get(self, path: str) -> tuple[int, bytes]:
        """One of its plain pages: status and body."""
        with socket.create_connection((self.host, self.port), timeout=10) as stream:
            stream.sendall(f"GET {path} HTTP/1.1\r\nHost: relay\r\n\r\n".encode())
            answer = b"".join(iter(lambda: stream.recv(65536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), body


@asynccontextmanager
async def client(
    path: Path,
    *,
    dial: Dial = dial_relay,
    patience: float = 30.0,
    secret: bytes | str = KEY,
    skew: float = 0.0,
) -> AsyncIterator[Client]:
    """A real client on the vault at `path`, which is made if there is none.

    Its clock is `skew` seconds ahead of this machine's.
    """
    with open_vault(path, secret) as vault:
        async with open_client(
            vault,
            dial=dial,
            patience=patience,
            clock=lambda: milliseconds() + int(skew * 1000),
        ) as running:
            yield running


def open_vault(path: Path, secret: bytes | str = KEY) -> Vault:
    """The vault at `path`, made if there is none."""
    return Vault.open(path, secret) if path.exists() else Vault.create(path, secret)


async def until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Wait for what other processes bring about; fails the test if they never do."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - it watches others from outside
            await trio.sleep(0.01)


async def settle(*rooms: Room, seconds: float = 30) -> None:
    """Everything said has been taken by everyone."""

    def done() -> bool:
        waits = [q for room in rooms for q in room.outbox() if q.stage is not Stage.FAILED]
        return not waits and len({room.head for room in rooms}) == 1

    for room in rooms:
        room._client.retry_now()
    await until(done, seconds)


def rows_of(relay: Relay, room: Room) -> dict[int, tuple[bytes, bytes]]:
    """Event id and running hash of each entry that this relay has from where it began to read."""
    with closing(sqlite3.connect(f"file:{relay.data}/ofcd.db?mode=ro", uri=True)) as database:
        rows = database.execute(
            "SELECT log.seq, event_id, log.log FROM log JOIN rooms ON log.room = rooms.id"
            " WHERE rooms.room = ? AND length(log.log) > 0",
            (room.id,),
        )
        return {seq: (event_id, log) for seq, event_id, log in rows}


def texts(room: Room) -> list[str]:
    """All texts of the room."""
    return [message.text for message in room.messages(since=0, limit=1_000_000)]


async def keep_trying(*clients: Client) -> None:
    """Dial again at once whenever a link is lost: tests do not wait for back-off."""
    while True:
        for running in clients:
            if not all(relay.online for relay in running.relays):
                running.retry_now()
        await trio.sleep(0.02)


def namespace() -> tuple[str, ...]:
    """A command that runs another where it may mount; skips where this machine forbids that."""
    for flags in (("--mount",), ("--user", "--map-root-user", "--mount")):
        probe = ["unshare", *flags, "true"]
        try:
            if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
                return ("unshare", *flags)
        except FileNotFoundError:
            break
    pytest.skip("this machine does not let a test mount a disk of its own")


def seed() -> int:
    """The seed of a test's randomness: `OFCD_SEED`, or a new one; printed either way."""
    number = int(os.environ.get("OFCD_SEED", "0")) or int.from_bytes(os.urandom(4), "big")
    print(f"OFCD_SEED={number}")
    return number
