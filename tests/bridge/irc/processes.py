"""`ofc-bridge` as a real process between a real relay and a real IRC server."""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import trio

from ofcd.client import Client, Room, Vault, open_client
from ofcd.protocol.records import Cap
from tests.bridge.irc.servers import until
from tests.cli.support import ROOT
from tests.live.support import Relay
from tests.prefork import Program, run

__all__ = ["Bridge", "bridge", "relay_in", "room_of"]


@contextmanager
def relay_in(folder: Path) -> Iterator[Relay]:
    """A relay that runs, in a folder of its own there."""
    relay = Relay(folder / "relay")
    relay.folder.mkdir()
    relay.start()
    try:
        yield relay
    finally:
        relay.kill()


class Bridge:
    """The program, to be killed and started again."""

    def __init__(self, folder: Path, settings: str) -> None:
        self.folder = folder
        self.config = folder / "bridge.toml"
        self.log = folder / "bridge.log"
        self.config.write_text(settings)
        self._process: Program[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "bridge.cli", "--config", str(self.config)]
        with self.log.open("ab") as log:
            self._process = Program(command, stdout=log, stderr=log, cwd=ROOT)

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(how)
        return process.wait(timeout=60)

    def check(self) -> tuple[int, str]:
        """`ofc-bridge check`."""
        command = [sys.executable, "-m", "bridge.cli", "check", "--config", str(self.config)]
        done = run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
        return done.returncode, done.stdout + done.stderr


def settings(link: str, port: int, more: str = "", irc: str = "") -> str:
    """A bridge.toml that joins the room "books" to #books."""
    return (
        f'[bridge]\njoin = ["{link}"]\n[[irc]]\nname = "test"\nserver = "127.0.0.1"\n'
        f"port = {port}\ntls = false\nnick = 'ofcbridge'\nline_seconds = 0.1\nburst = 20\n{irc}\n"
        f'[[portal]]\nroom = "books"\nnetwork = "test"\nplace = "#books"\nhold = 0.0\n{more}\n'
    )


@contextmanager
def bridge(folder: Path, text: str, *, start: bool = True) -> Iterator[Bridge]:
    """A bridge that runs (or is still to be started); killed at the end."""
    folder.mkdir(exist_ok=True)
    program = Bridge(folder, text)
    if start:
        program.start()
    try:
        yield program
    finally:
        program.kill()


@asynccontextmanager
async def room_of(url: str, folder: Path) -> AsyncIterator[tuple[Client, Room, str]]:
    """Ana in a room of her own, and an invite for a bridge."""
    with Vault.create(folder / "ana.vault", bytes(32)) as vault:
        async with open_client(vault) as client:
            room = await client.create_room(url, "books", my_name="Ana")
            yield client, room, (await room.invite(caps={Cap.BRIDGE})).link()


async def is_in(room: Room) -> None:
    """Wait until the bridge is in the room: what is said on either side before is not carried."""
    await until(lambda: any("I copy this room" in one.text for one in room.messages()))


async def private_room(url: str, client: Client, room: Room) -> Room:
    """A room of Ana's own, for what is said to her nick alone."""
    private = await client.create_room(url, "private", my_name="Ana")
    invite = await private.invite(caps={Cap.BRIDGE})
    await room.send(f"!bridge test dm {invite.link()}")
    await until(lambda: any("I copy this room" in one.text for one in private.messages()))
    return private


def bridged(room: Room) -> list[str]:
    """What stands in the room of others, as `name: words`."""
    messages = room.messages(since=0, limit=100_000)
    return [f"{m.via.name}: {m.text}" for m in messages if m.via is not None]


__all__ += ["bridged", "is_in", "private_room", "settings", "trio"]
