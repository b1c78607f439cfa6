"""Bots as real processes on a real relay: `ofc-bot run`, its log, and a person to talk to."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import trio
from attrs import frozen

from ofcd.client import MessageReceived, Room, Vault, open_client
from ofcd.protocol.records import Cap
from tests.cli.support import ROOT
from tests.prefork import Program

__all__ = ["PATIENCE", "Process", "answer", "bot_link", "ofc_bot", "person"]

PATIENCE = 30.0


@frozen
class Process:
    """`ofc-bot run`, and where its log goes."""

    process: Program[bytes]
    log: Path

    def lines(self, event: str) -> list[dict[str, Any]]:
        """What it has logged of a kind."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line[:1] == "{"]
        return [line for line in lines if line["event"] == event]

    async def logged(self, event: str, times: int = 1) -> list[dict[str, Any]]:
        """Wait for so many lines of a kind."""
        with trio.fail_after(PATIENCE):
            while len(self.lines(event)) < times:  # noqa: ASYNC110 - another process writes
                await trio.sleep(0.05)
        return self.lines(event)

    async def stop(self) -> int:
        """End it in order; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await trio.to_thread.run_sync(self.process.wait, PATIENCE)


@contextmanager
def ofc_bot(folder: Path, settings: str, *arguments: str) -> Iterator[Process]:
    """The program with these settings in `folder`; killed at the end if it still runs."""
    (folder / "bot.toml").write_text(settings + "\n[log]\nformat = 'json'\n")
    command = [sys.executable, "-m", "bots.cli", "run", "--config", str(folder / "bot.toml")]
    with (
        (folder / "log").open("wb") as log,
        Program[bytes]([*command, *arguments], stderr=log, cwd=ROOT) as process,
    ):
        try:
            yield Process(process, folder / "log")
        finally:
            process.kill()


@asynccontextmanager
async def person(url: str, folder: Path) -> AsyncIterator[Room]:
    """Alice, in a room of her own."""
    with Vault.create(folder / "alice.vault", bytes(32)) as vault:
        async with open_client(vault) as client:
            yield await client.create_room(url, "room", my_name="alice")


async def bot_link(room: Room) -> str:
    """An invite for a bot."""
    return (await room.invite(caps=(Cap.BOT,))).link()


async def answer(room: Room, wanted: str) -> str:
    """Wait for a message that begins like this."""
    with trio.fail_after(PATIENCE):
        async for event in room.events_since():
            if isinstance(event, MessageReceived) and event.message.text.startswith(wanted):
                return event.message.text
    raise AssertionError("a room's events do not end")
