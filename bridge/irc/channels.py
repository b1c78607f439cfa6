"""Where the bridge is: its channels, how far their history was taken, its nick (trio)."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from math import inf
from typing import Final

import trio
from attrs import define

from bridge.irc.connection import Connection, Lost
from bridge.irc.dialing import ask_in
from bridge.irc.kept import Kept
from bridge.irc.settings import IrcPlace
from bridge.irc.shared import Shared
from bridge.irc.wire import Line, said_there

__all__ = ["Channels"]

_JOIN_AGAIN_SECONDS: Final = (60.0, 1800.0)
_JOIN_LOOK_SECONDS: Final = 5.0
_INVITED_SECONDS: Final = 30.0
"""Between two tries, however often somebody invites the bridge."""
_FAREWELL: Final = (
    "This channel is not joined to its room any more: what is said here is not copied there, and "
    "nothing comes from there."
)
_STAYED_SECONDS: Final = 600.0
"""Who was in a channel for so long is not thrown out again and again."""
_REGAIN_SECONDS: Final = 60.0
_REGAIN_FIRST_SECONDS: Final = 2.0
_NICKSERV: Final = "NickServ"
_SEEN_SECONDS: Final = 1.0
_THERE_SECONDS: Final = 30.0
_GAP_MS: Final = 60_000
"""Away for so long, and no history of it: the room is told."""
_DAY_MS: Final = 86_400_000
_OVERLAP_MS: Final = 600
"""Of what was taken that is asked for again: lines come in no strict order of their times."""


@define
class _Tries:
    """How often the bridge has asked to be let into a channel, in a row."""

    count: int = 0
    due: float = 0.0
    asked_at: float = -inf
    since: float = 0.0
    """When it was let in."""

    def asked(self) -> None:
        """It asks now."""
        first, most = _JOIN_AGAIN_SECONDS
        self.asked_at = trio.current_time()
        self.due = self.asked_at + min(most, first * 2.0 ** min(20, self.count))
        self.count += 1

    def left(self) -> None:
        """It was thrown out."""
        if trio.current_time() - self.since > _STAYED_SECONDS:
            self.count = 0
            self.due = trio.current_time() + _JOIN_AGAIN_SECONDS[0]


class Channels:
    """Joins, and gets back, what one network's portals name."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._seen: dict[str, int] = {}
        """By place: when the last line there was said, milliseconds, not yet on disk."""
        self._kept = Kept(shared.host)
        self._tries: dict[str, _Tries] = {}
        self._told: dict[str, str] = {}
        """By place: why the bridge is not let in, as the room was told."""

    def none_ready(self, why: str) -> None:
        """Nothing can be said there."""
        for place in self._shared.places:
            self._shared.host.ready(place, False, why)

    async def join_all(self, connection: Connection) -> None:
        """Join what is not joined; where it is not let in, or thrown out, less and less often."""
        self._tries = {}
        self._told = {}
        with suppress(Lost):
            while True:
                for place, info in self._shared.places.items():
                    tries = self._tries.setdefault(place, _Tries())
                    if self._shared.host.is_over(place):
                        await self._leave(connection, place, info.options)
                    elif place not in self._shared.joined and tries.due <= trio.current_time():
                        tries.asked()
                        host = self._shared.host
                        if not await ask_in(connection, host, place, info.options):
                            host.ready(place, False, "its key can not be read")
                await trio.sleep(_JOIN_LOOK_SECONDS)

    async def _leave(self, connection: Connection, place: str, options: IrcPlace) -> None:
        """No room is left to be joined to; who is in the channel is told. Raises `Lost`."""
        if place not in self._shared.joined:
            return
        self._shared.joined.discard(place)
        self._shared.host.ready(place, False, "its room is gone")
        if options.farewell:
            await connection.paced()
            await connection.send("NOTICE", place, _FAREWELL)
        await connection.paced()
        await connection.send("PART", place)
        self._shared.host.log.info("left a channel whose room is gone")

    def invited(self, place: str) -> None:
        """Somebody invites the bridge to where it is to be: it asks soon."""
        tries = self._tries.get(place)
        if tries is not None:
            tries.due = min(tries.due, tries.asked_at + _INVITED_SECONDS)

    async def regain_nick(self, connection: Connection) -> None:
        """Get the own nick back while another is worn: MONITOR, services, and asking again."""
        wanted, words = self._shared.settings.nick, self._shared.settings.regain
        watching = False
        with suppress(Lost):
            await trio.sleep(_REGAIN_FIRST_SECONDS)  # ISUPPORT has come
            while True:
                if not connection.is_me(wanted):
                    if "MONITOR" in connection.isupport and not watching:
                        watching = True
                        await connection.send("MONITOR", "+", wanted)
                    if words and connection.login.account:
                        # Whose account this is, the services know from SASL: no password is said.
                        await connection.send("PRIVMSG", _NICKSERV, f"{words} {wanted}")
                    await trio.sleep(_REGAIN_FIRST_SECONDS)
                    if not connection.is_me(wanted):
                        await connection.send("NICK", wanted)
                await trio.sleep(_REGAIN_SECONDS)

    def refused(self, connection: Connection, line: Line) -> None:
        """A channel does not let the bridge in."""
        place = self._shared.place_of(connection, line[1])
        if place is not None and place not in self._shared.joined:  # else it answers a message
            why = said_there(line.last, connection.login.who.secrets)
            self._shared.host.ready(place, False, f"the channel: {why}")
            if self._told.get(place) != why:
                self._told[place] = why
                text = f"I can not get into {place}: {why}"
                self._shared.host.notice(place, text, key="join")

    async def nick_is_free(self, connection: Connection, line: Line) -> None:
        """MONITOR says who is not there any more."""
        gone = {connection.fold(one.partition("!")[0]) for one in line.last.split(",")}
        wanted = self._shared.settings.nick
        if connection.fold(wanted) in gone and not connection.is_me(wanted):
            with suppress(Lost):
                await connection.send("NICK", wanted)

    def is_in(self, nursery: trio.Nursery, connection: Connection, channel: str) -> None:
        """The bridge is in a channel."""
        place = self._shared.place_of(connection, channel)
        if place is None:
            return
        there = None if place in self._shared.joined else self.fact("there", place)
        self._shared.joined.add(place)
        self._note_there()
        self._told.pop(place, None)
        if place in self._tries:
            self._tries[place].since = trio.current_time()
        first = self.fact("since", place) is None
        if first:
            self._note_fact("since", place, self._shared.host.now())
            self.keep_seen()
        nursery.start_soon(self._ready_behind_history, connection, place, first, there)

    async def _ready_behind_history(
        self, connection: Connection, place: str, first: bool, there: int | None
    ) -> None:
        """What was under way when a link broke may be in what the server plays back now."""
        with suppress(Lost):
            history = self._shared.history
            if not first and "draft/chathistory" not in connection.caps:
                self._tell_of_gap(place, there)
            elif not first and history is not None:
                came = self.fact("since", place) or 0
                since = self.fact("seen", place) or came + self._shared.skew
                missing = await history.fill(place, max(0, since - _OVERLAP_MS))
                if missing:
                    text = f"{place} on {self._shared.settings.name}: {missing}"
                    self._shared.host.notice(place, text, key="gap")
            fence = connection.open_fence(place)
            await connection.close_fence(fence)
            await fence.done.wait()
            if fence.proven and place in self._shared.joined:
                self._shared.host.ready(place, True)
                self._shared.host.log.info("joined a channel")

    def _tell_of_gap(self, place: str, there: int | None) -> None:
        """What was said while the bridge was away is nowhere: the room is told so (I8).

        A vault of before `there` was kept does not know how long it was: the last line says nothing
        of it.
        """
        now, since = self._shared.host.now(), there
        if since is not None and now - since > _GAP_MS:
            form = "%H:%M" if now - since < _DAY_MS else "%Y-%m-%d %H:%M"
            first, last = (
                f"{datetime.fromtimestamp(one / 1000, UTC):{form}}" for one in (since, now)
            )
            text = (
                f"I was not in {place} on {self._shared.settings.name} from {first} to {last} UTC: "
                "what was said there meanwhile is not here"
            )
            self._shared.host.notice(place, text, key="gap")

    def _note_there(self) -> None:
        """Until when the bridge was in its channels: a link may have died with no word."""
        connection = self._shared.connection
        if connection is not None:
            there = self._shared.host.now() - int(1000 * connection.silent)
            for place in self._shared.joined:
                self._note_fact("there", place, there)

    def is_out(self, connection: Connection, channel: str, why: str) -> None:
        """The bridge is not in a channel any more."""
        place = self._shared.place_of(connection, channel)
        if place is not None and place in self._shared.joined:
            self._note_there()
            self._shared.joined.discard(place)
            if place in self._tries:
                self._tries[place].left()
            self._shared.host.ready(place, False, why)
            text = f"{place} on {self._shared.settings.name}: {why}"
            self._shared.host.notice(place, text, key="out")

    def fact(self, table: str, place: str) -> int | None:
        """A time that is kept of a place, milliseconds since 1970.

        `since`: when the bridge first came, and nothing before is taken, and `there`: when it was
        there last, and the server well, by our clock; `seen`: of the last line that was taken, by
        the server's.
        """
        raw = self._kept.get(self._shared.host.table(table), place)
        return None if raw is None else int.from_bytes(raw, "big")

    def _note_fact(self, table: str, place: str, ms: int) -> None:
        self._kept.note(self._shared.host.table(table), place, ms.to_bytes(8, "big"))

    async def note_seen(self) -> None:
        """Keep, now and then, how far history was taken, and that the bridge is there."""
        there = trio.current_time()
        while True:
            await trio.sleep(_SEEN_SECONDS)
            if trio.current_time() - there >= _THERE_SECONDS:
                there = trio.current_time()
                self._note_there()
            self.keep_seen()

    def left(self) -> None:
        """The link has ended; the connection is still known."""
        self._note_there()
        self._shared.joined.clear()
        self.keep_seen()

    def saw(self, place: str, ts: int) -> None:
        """A line of this time was taken."""
        self._seen[place] = max(ts, self._seen.get(place, 0))

    def keep_seen(self) -> None:
        """How far history was taken: an older mark asks for some lines twice, and no more."""
        seen, self._seen = self._seen, {}
        for place, ms in seen.items():
            self._note_fact("seen", place, ms)
        self._kept.keep()
