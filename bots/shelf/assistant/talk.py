"""One answer on its way: read beside the room, shown by edits of one line, ended once (trio)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import trio
from attrs import define, field, frozen

from bots import InboundFailed, Inbox, NotServed
from bots.handlers import HandlerFunction
from bots.shelf.assistant.endpoint import Endpoint, Turn
from bots.web import Errands, WebError
from ofcd.client import ClientError, Edit, Room, TextFormat, visible_text
from ofcd.protocol.ids import EventId

__all__ = ["Ended", "Talks", "shown"]

FIRST_EDIT: Final = 1.5
"""Seconds from one edit to the next, and each time `SLOWER` more: edits stay in the room's log."""
SLOWER: Final = 0.5


@frozen
class Ended:
    """How an answer ended."""

    text: str = field(default="", repr=lambda text: f"<{len(text)}>")
    problem: str = ""
    """Why it is not whole; "" where it is."""


@define
class _Talk:
    """The answer so far."""

    text: str = ""
    changed: trio.Event = field(factory=trio.Event)
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    stopped_by: str = ""

    def add(self, piece: str) -> None:
        """One more piece."""
        self.text += piece
        self.changed.set()


@define(eq=False)
class Talks:
    """The answers under way."""

    endpoint: Endpoint
    inbox: Inbox
    errands: Errands
    _ended: HandlerFunction
    """The inbound handler that gets `Ended`, as JSON."""
    _talks: dict[str, _Talk] = field(factory=dict)

    def start(self, room: Room, name: str, line: EventId, turns: Sequence[Turn]) -> None:
        """Begin an answer, known by that name, that is shown in that line."""
        talk = _Talk()
        if self.errands.start(name, partial(self._run, room, name, line, turns, talk)):
            self._talks[name] = talk  # it may have to wait for its turn, and be stopped there

    def stop(self, name: str, who: str) -> None:
        """Break an answer off."""
        talk = self._talks.get(name)
        if talk is not None:
            talk.stopped_by = who
            talk.scope.cancel()

    async def _run(
        self, room: Room, name: str, line: EventId, turns: Sequence[Turn], talk: _Talk
    ) -> None:
        try:
            problem = await self._read(room, line, turns, talk)
        finally:
            del self._talks[name]
        ended = json.dumps({"line": name, "text": talk.text, "problem": problem})
        with suppress(NotServed, InboundFailed):  # the line's own timer says that it broke off
            await self.inbox.deliver(self._ended, name, ended, room=room.id)

    async def _read(self, room: Room, line: EventId, turns: Sequence[Turn], talk: _Talk) -> str:
        """Read and show an answer; why it is not whole."""
        limit = self.endpoint.settings.timeout
        with talk.scope, trio.move_on_after(limit.ms / 1000):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_show, room, line, talk)
                problem = await self._listen(turns, talk)
                nursery.cancel_scope.cancel()
            return problem
        return f"stopped by {talk.stopped_by}" if talk.stopped_by else f"not done in {limit}"

    async def _listen(self, turns: Sequence[Turn], talk: _Talk) -> str:
        try:
            await self.endpoint.answer(turns, talk.add)
        except WebError as error:
            return str(error)
        return "" if talk.text.strip() else "it said nothing"


async def _show(room: Room, line: EventId, talk: _Talk) -> None:
    """Edit the line while the answer grows; an edit that fails is made up for by the next."""
    pause = FIRST_EDIT
    while True:
        await talk.changed.wait()
        talk.changed = trio.Event()
        with suppress(ClientError):
            await room.send_body(Edit(line, shown(talk.text) + " …", TextFormat.LITE))
        await trio.sleep(pause)
        pause += SLOWER


def shown(text: str) -> str:
    """An answer as it is said: its lines, without what hides or reorders text."""
    return "\n".join(visible_text(line).rstrip() for line in text.strip().splitlines())
