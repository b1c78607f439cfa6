"""One room's log, read in order: each event becomes entries of the journal, or an answer (trio).

An event's entries and the room's cursor are one transaction, so each event goes out to each place
once, wherever the process dies.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from bridge.core.sids import own_sid
from ofcd.client import (
    ClientClosed,
    ClientError,
    LoggedEvent,
    MessageReceived,
    Room,
    Text,
    VaultUnwritable,
)
from ofcd.client.feed import LoggedEvents

if TYPE_CHECKING:
    from bridge.core.engine import Engine

__all__ = ["APP", "RoomReader"]

APP: Final = "bridge"
"""The name of the bridge's cursor."""
_KEY_SECONDS: Final = (60.0, 3600.0)
"""For which a missing key is waited for, at least and at most."""
_AGAIN_SECONDS: Final = 5.0


class RoomReader:
    """Serves one room."""

    def __init__(self, engine: Engine, room: Room) -> None:
        self._engine = engine
        self._room = room
        self._events: LoggedEvents | None = None
        self._was_live = False

    async def run(self) -> None:
        """Read until cancelled."""
        with suppress(ClientClosed):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._introduce)
                nursery.start_soon(self._watch_live)
                nursery.start_soon(self._watch_keys)
                await self._read()

    async def _watch_live(self) -> None:
        """Tell what comes while the room is live from what was said during an outage."""
        whole = False
        while True:
            with suppress(ClientError):
                if whole and not self._room.is_live:
                    whole = False
                    self._engine.came_apart(self._room)
                await self._room.wait_live()
                if not whole:
                    whole = True
                    self._engine.came_whole(self._room)
            await trio.sleep(_AGAIN_SECONDS)

    async def _read(self) -> None:
        room = self._room
        cursor = room.cursor(APP)
        if cursor < 0:
            # A bridge begins with its own admission: what was said before is not for it (G4).
            cursor = await room.wait_admitted() - 1
        self._events = room.events_since(cursor, give_up_after=int(1000 * self._patience()))
        self._be_patient(self._events)
        async for event in self._events:
            await self._take(event)

    def _patience(self) -> float:
        """Seconds for which what can not be read yet holds up what was said after it.

        Keys come from other members' clients, most at once; one that comes later than a message may
        wait for its network comes too late, and the others have to go on.
        """
        engine, (least, most) = self._engine, _KEY_SECONDS
        portals = [one for one in engine.portals_of(self._room) if one.sends]
        ages = [one.max_age or engine.networks[one.network].max_age for one in portals]
        return max(least, min([most, *ages]))

    def _be_patient(self, events: LoggedEvents) -> None:
        """While the bridge was down, or its relay away, no key could come: now it may, at once."""
        if not self._was_live:
            self._was_live = self._room.is_live
            events.patient_until = self._engine.client.now() + int(1000 * _KEY_SECONDS[0])

    async def _watch_keys(self) -> None:
        """Tell the operator, once for each gap, that a room waits for a key.

        The room can not be told: without its key nothing can be sealed for it.
        """
        told, keyless = -1, self._engine.keyless
        try:
            while True:
                await trio.sleep(_AGAIN_SECONDS)
                if self._events is None:
                    continue
                self._be_patient(self._events)
                waits = self._events.waits_at
                (keyless.discard if waits is None else keyless.add)(self._room.id)
                if waits is not None and waits != told:
                    told = waits
                    self._engine.log.warning("a room waits for a key", seq=waits)
        finally:
            keyless.discard(self._room.id)

    async def _take(self, event: LoggedEvent) -> None:
        """Handle an event, once the disk takes what comes of it: nothing is kept of half of it."""
        while True:
            try:
                await self._handle(event)
                return
            except VaultUnwritable as error:
                self._engine.disk.failed(error)
            await trio.sleep(_AGAIN_SECONDS)

    async def _handle(self, event: LoggedEvent) -> None:
        engine, room = self._engine, self._room
        command, answer = None, None
        if isinstance(event, MessageReceived) and not event.again:
            command = engine.commands.words_of(room, event.message)
            if command is not None:
                # Before the cursor moves: a network does again what a crash may have undone.
                answer = await engine.commands.of_networks(room, event.message, command)
        with engine.client.transaction() as tx:
            if not room.holds(event):
                return  # it came to nothing meanwhile; said again, it comes again
            if command is None:
                engine.outbound.event(tx, room, event)
            room.set_cursor(tx, event.seq, APP, cuts=event.cuts)
            if command is not None and isinstance(event, MessageReceived):
                engine.commands.run(tx, room, event.message, command, answer)

    async def _introduce(self) -> None:
        """Be listed to all as what it is, and say so once for each change of it (G4)."""
        while True:
            with suppress(ClientError):
                await self._say_what_this_is()
            await trio.sleep(_AGAIN_SECONDS)

    async def _say_what_this_is(self) -> None:
        engine, room = self._engine, self._room
        await room.wait_live()
        if not engine.portals_of(room):
            return
        text, name = engine.commands.introduction(room)
        key, times = f"introduced/{room.id.hex()}", f"introductions/{room.id.hex()}"
        vault = engine.client.vault
        if engine.journal.fact(vault, key) == text:
            return
        if room.my_name != name:
            await room.set_name(name)
        count = engine.journal.fact(vault, times) or 0
        # What was said before may be so again: granted, taken back, granted.
        about = f"{count}/{text}" if count else text
        with engine.client.transaction() as tx:
            sid = own_sid("introduction", room.id, about.encode())
            room.queue(tx, Text(text), sid=sid, hops=1)
            engine.journal.keep_fact(tx, key, text)
            engine.journal.keep_fact(tx, times, count + 1)
        engine.log.info("said what this bridge may do in a room", granted=engine.is_open(room))
