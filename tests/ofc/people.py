"""People who type `ofc` commands, in the world of `ofcd.testing`: no process, no socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio
from attrs import Factory, define

from ofcd.client import Client
from ofcd.ofc.console import Fields, Output, Shape
from ofcd.ofc.inputs import no_input
from ofcd.ofc.parser import parse
from ofcd.ofc.runner import Host
from ofcd.testing import World

__all__ = ["Person", "Recorder", "Street"]

Record = dict[str, Any]
_PATIENCE = 600
"""Seconds of the world's clock, which passes at once."""


@define
class Recorder(Output):
    """Keeps what a command says."""

    records: list[tuple[Shape, Record]] = Factory(list)
    notes: list[str] = Factory(list)
    progressed: list[tuple[str, int, int]] = Factory(list)
    said: trio.Event = Factory(trio.Event)

    async def record(self, shape: Shape, fields: Fields) -> None:
        self.records.append((shape, dict(fields)))
        self._tell()

    async def note(self, text: str) -> None:
        self.notes.append(text)
        self._tell()

    async def progress(self, what: str, done: int, total: int) -> None:
        self.progressed.append((what, done, total))

    def _tell(self) -> None:
        self.said.set()
        self.said = trio.Event()

    def of(self, shape: Shape) -> list[Record]:
        """The objects of one shape."""
        return [fields for known, fields in self.records if known is shape]

    def one(self, shape: Shape) -> Record:
        """The only object of this shape."""
        [fields] = self.of(shape)
        return fields

    @property
    def texts(self) -> list[str]:
        """What people said."""
        return [e["text"] for e in self.of(Shape.EVENT) if e["kind"] == "message"]

    @property
    def kinds(self) -> list[str]:
        """The kinds of the events."""
        return [e["kind"] for e in self.of(Shape.EVENT)]

    async def until_text(self, text: str) -> Record:
        """Wait until somebody said this; the event."""
        return await self.until_event(lambda e: e["text"] == text)

    async def until_event(self, wanted: Callable[[Record], bool]) -> Record:
        """Wait for an event."""
        with trio.fail_after(_PATIENCE):
            while True:
                for event in self.of(Shape.EVENT):
                    if wanted(event):
                        return event
                await self.said.wait()

    async def until_note(self, words: str) -> None:
        """Wait for a note that holds these words."""
        with trio.fail_after(_PATIENCE):
            while not any(words in note for note in self.notes):
                await self.said.wait()


@define
class Person:
    """Somebody with a running client."""

    client: Client

    async def ofc(self, *words: str) -> Recorder:
        """Run a command line to its end; raises what it raises."""
        output = Recorder()
        await self.run(output, *words)
        return output

    async def run(self, output: Recorder, *words: str, inputs: Any = None) -> None:
        """Run a command line into `output`."""
        invocation = parse(words)
        with trio.fail_after(_PATIENCE):
            await Host(self.client).execute(
                invocation.command, invocation.options, output, inputs or no_input()
            )


@define
class Street:
    """A relay that runs, and people."""

    world: World
    nursery: trio.Nursery

    async def person(self, name: str) -> Person:
        """Somebody with a vault of their own."""
        return Person(await self.world.client(name))

    async def pair(self) -> tuple[Person, Person]:
        """Ana, who made the room Club, and Bo, who is in it."""
        ana, bo = await self.person("ana"), await self.person("bo")
        await ana.ofc("create", "Club", "--name", "Ana", "--relay", self.world.url)
        invited = await ana.ofc("invite", "Club")
        await bo.ofc("join", invited.one(Shape.INVITE)["link"], "--name", "Bo")
        return ana, bo

    def start(self, person: Person, *words: str, inputs: Any = None) -> Recorder:
        """Run a command line in the background."""
        output = Recorder()

        async def run() -> None:
            await person.run(output, *words, inputs=inputs)

        self.nursery.start_soon(run)
        return output
