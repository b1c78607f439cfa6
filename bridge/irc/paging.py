"""What is left of a long message, said when somebody there asks for it (`long = "more"`; trio).

One message a place, the last one, for ten minutes; not after its author took it back, edited it, or
lets no more of it out.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import trio
from attrs import field, frozen

from bridge.core.model import Author, Kind, Outgoing
from bridge.irc.connection import Connection, Fence, Lost
from bridge.irc.rendering import MORE, Piece
from bridge.irc.shared import Shared, tags_of
from ofcd.protocol.rates import TokenBuckets

__all__ = ["Paging"]

_KEPT_MS: Final = 600_000
_PROOF_SECONDS: Final = 90.0


@frozen
class _Rest:
    one: Outgoing
    until: int
    pieces: tuple[Piece, ...] = field(repr=False)


class Paging:
    """What was left out in the places of one network."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._rests: dict[str, _Rest] = {}
        self._ask: trio.MemorySendChannel[str] | None = None
        self._asked = TokenBuckets(burst=2, per_second=0.2, max_keys=100)

    def keep(self, one: Outgoing, pieces: list[Piece]) -> None:
        """A message of which the rest was not said; none: all of it was."""
        if one.kind is Kind.MESSAGE:
            self._rests.pop(one.place, None)
        if pieces:
            until = self._shared.host.now() + _KEPT_MS
            self._rests[one.place] = _Rest(one, until, tuple(pieces))

    def ask(self, place: str, who: Author) -> bool:
        """Somebody asked there; whether there was anything to ask for, for them.

        While lines are being said, who asks asks in vain.
        """
        rest = self._rest(place)
        if rest is None or self._shared.host.is_ignored(place, rest.one.room, who):
            return False
        if self._ask is not None and not self._asked.take(place, self._shared.host.now()):
            with suppress(trio.WouldBlock):
                self._ask.send_nowait(place)
        return True

    async def run(self, connection: Connection) -> None:
        """Say what is asked for, one request at a time, until cancelled.

        Not where it is read: what is said waits for its turn, and the server's PING does not.
        """
        self._ask, asked = trio.open_memory_channel[str](0)
        try:
            async for place in asked:
                await self._more(place, connection)
        finally:
            self._ask = None

    def _rest(self, place: str) -> _Rest | None:
        """What is left to be said there, and may be."""
        host, rest = self._shared.host, self._rests.get(place)
        if rest is None:
            return None
        if rest.until > host.now() and host.may_say(place, rest.one.room, rest.one.event_id):
            return rest
        del self._rests[place]
        return None

    async def _more(self, place: str, connection: Connection) -> None:
        rest = self._rest(place)
        if rest is None:
            return
        count = self._shared.places[place].options.max_lines
        texts = [one.text for one in rest.pieces[:count]]
        if len(rest.pieces) > count:
            texts.append(told(len(rest.pieces) - count))
        tags = tags_of(connection, rest.one)
        fence = connection.open_fence(place)
        try:
            for text in texts:
                await connection.paced(len(text.encode()))
                if self._rest(place) is not rest:
                    break  # taken back meanwhile, or another long message is there now
                await connection.say(fence, "PRIVMSG", (place, text), tags)
            await connection.close_fence(fence)
            with trio.move_on_after(_PROOF_SECONDS):
                await fence.done.wait()
        except Lost:
            pass
        finally:  # cancelled, too: the connection ends, and what was said is said
            said = self._arrived(connection, fence)
            self._shared.own.claim(place, [("", texts[:said])], rest.one.ts)
            if self._rests.get(place) is rest:
                self.keep(rest.one, list(rest.pieces[min(said, count) :]))

    def _arrived(self, connection: Connection, fence: Fence) -> int:
        """How many lines were said. What may have been, was: no line is said twice."""
        if fence.proven or "echo-message" not in connection.caps:
            return len(fence.said)
        return next((at for at, one in enumerate(fence.said) if not one.answered), len(fence.said))


def told(count: int) -> str:
    """How many lines are left."""
    return f"({count} more: say {MORE})"
