"""The rest of a long message, said when somebody in the channel asks for it (I2, `long = "more"`).

One message a place, the last one, for ten minutes; not after its author took it back, or lets no
more of it out.
"""

from __future__ import annotations

from typing import Final

from attrs import field, frozen

from bridge.core.model import Kind, Outgoing
from bridge.irc.connection import Lost
from bridge.irc.rendering import MORE, Piece
from bridge.irc.shared import Shared
from ofcd.protocol.rates import TokenBuckets

__all__ = ["Paging"]

_KEPT_MS: Final = 600_000


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
        self._asked = TokenBuckets(burst=2, per_second=0.2, max_keys=100)

    def keep(self, one: Outgoing, pieces: list[Piece]) -> None:
        """A message of which the rest was not said; none: all of it was."""
        if one.kind is Kind.MESSAGE:
            self._rests.pop(one.place, None)
        if pieces:
            until = self._shared.host.now() + _KEPT_MS
            self._rests[one.place] = _Rest(one, until, tuple(pieces))

    async def more(self, place: str) -> bool:
        """Somebody asked there; whether there was anything to ask for."""
        host, connection = self._shared.host, self._shared.connection
        rest = self._rests.get(place)
        if rest is None or connection is None:
            return False
        if rest.until <= host.now() or not host.may_say(rest.one.room, rest.one.event_id):
            del self._rests[place]
            return False
        if self._asked.take(place, host.now()):
            return True
        count = self._shared.places[place].options.max_lines
        said, left = rest.pieces[:count], rest.pieces[count:]
        words = [one.text for one in said]
        if left:
            words.append(told(len(left)))
        self.keep(rest.one, list(left))
        try:
            for text in words:
                await connection.paced(len(text.encode()))
                await connection.send("PRIVMSG", place, text)
        except Lost:
            self._rests[place] = rest
        return True


def told(count: int) -> str:
    """How many lines are left."""
    return f"({count} more: say {MORE})"
