"""Who writes to the bridge's own nick, or invites it: a short answer, in a notice (trio).

Nothing that is said to it alone goes anywhere. Notices, programs and services are not answered, so
that no two programs talk to each other.
"""

from __future__ import annotations

from typing import Final

from bridge.irc.channels import Channels
from bridge.irc.connection import Connection
from bridge.irc.direct import is_service
from bridge.irc.rendering import MORE
from bridge.irc.shared import Shared
from bridge.irc.wire import Line, said_there
from ofcd.protocol.rates import TokenBuckets

__all__ = ["Strangers"]

_WHAT: Final = (
    "I am a bridge, a program: what is said in {where} is copied to a room elsewhere, and back. "
    "What is said to me alone goes nowhere."
)
_MORE: Final = " In {where}, {word} says the rest of a long message."
_NOT_THERE: Final = "I am a bridge, and join only the channels that who runs me has named."


class Strangers:
    """Answers for one network."""

    def __init__(self, shared: Shared, channels: Channels) -> None:
        self._shared = shared
        self._channels = channels
        self._logged = TokenBuckets(burst=5, per_second=1 / 60, max_keys=1)

    async def wrote(self, connection: Connection, line: Line) -> None:
        """Somebody wrote to the bridge's nick, and it is no CTCP but an action."""
        if self._is_person(connection, line):
            self._shared.host.declined()
            words = self._what_this_is(connection.fold(line.nick))
            await self._shared.answers.tell(connection, line, words)

    async def invited(self, connection: Connection, line: Line) -> None:
        """Somebody invites the bridge to a channel."""
        place = self._shared.place_of(connection, line[1])
        if place is not None:
            self._channels.invited(place)
            return
        host = self._shared.host
        host.declined()
        if not self._logged.take("", host.now()):
            where, who = said_there(line[1]), said_there(line.mask)
            host.log.warning("an invitation to a channel is declined", channel=where, by=who)
        if self._is_person(connection, line):
            await self._shared.answers.tell(connection, line, _NOT_THERE)

    def _is_person(self, connection: Connection, line: Line) -> bool:
        """Whether somebody may be behind it who reads an answer."""
        is_bot = any(one == "bot" or one.endswith("/bot") for one in line.tags)
        is_known = bool(line.user) and not is_bot and not is_service(line.nick)
        return is_known and self._shared.own_nick(connection, line) is None

    def _what_this_is(self, nick: str) -> str:
        """Names only channels in which who asks is, too: others may be secret."""
        shared = self._shared
        there = [one for one in shared.joined if nick in shared.presence.members.get(one, {})]
        where = ", ".join(sorted(there)) or "some channels here"
        paged = [one for one in there if shared.places[one].options.long == "more"]
        more = _MORE.format(where=", ".join(sorted(paged)), word=MORE) if paged else ""
        return _WHAT.format(where=where) + more
