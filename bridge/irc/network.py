"""IRC as a network of the bridge: the life of its own nick's connection (trio).

What comes in goes to `channels` (where the bridge is) and `hearing` (what others say); what goes
out is `saying`'s; `puppets` are the members' own connections.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import ClassVar, Final

import trio

from bridge.core.errors import NetworkError
from bridge.core.model import Outgoing, Receipt, State
from bridge.core.network import Finding, Network, PlaceInfo
from bridge.irc.channels import Channels
from bridge.irc.checking import check
from bridge.irc.connection import Connection, guarded, open_stream
from bridge.irc.dialing import Dialer, Policies, credentials_of
from bridge.irc.direct import PLACE, Direct
from bridge.irc.hearing import Hearing
from bridge.irc.history import History
from bridge.irc.paging import Paging
from bridge.irc.puppets import JOIN_ERRORS, Puppets
from bridge.irc.saying import Saying
from bridge.irc.settings import IrcPlace, IrcSettings
from bridge.irc.shared import Shared
from bridge.irc.wire import Line, fold, said_there, time_of
from ofcd.errors import ConfigError
from ofcd.protocol.ids import MemberId, RoomId

__all__ = ["IrcNetwork"]

_BACK_OFF: Final = (1.0, 300.0)
_THROTTLED_SECONDS: Final = 60.0


class IrcNetwork(Network[IrcSettings, IrcPlace]):
    """One IRC network."""

    kind: ClassVar[str] = "irc"
    Settings = IrcSettings
    PlaceSettings = IrcPlace
    max_age: ClassVar[int] = 600
    reaction_hold: ClassVar[float] = 10.0

    def __init__(self, settings: IrcSettings, places: Sequence[PlaceInfo[IrcPlace]]) -> None:
        super().__init__(settings, places)
        self.open_stream: Callable[..., Awaitable[trio.abc.Stream]] = open_stream
        self._shared: Shared | None = None
        self._saying: Saying | None = None
        self._direct: Direct | None = None

    def same_place(self, place: str) -> str:
        """Channels compare without case."""
        if not place or place[0] not in "#&+!" or any(one in place for one in " ,\7\r\n\0"):
            raise ValueError("is no channel: it begins with #, and has no space or comma")
        return fold(place, "ascii")

    def describe(self, place: str) -> str:
        """A channel in a sentence, or what people there say to a member alone."""
        if place.startswith(PLACE):
            return f"people on {self.name} ({self.settings.server}), one by one"
        return f"{place} on {self.name} ({self.settings.server})"

    async def run(self) -> None:
        """Connect and stay connected."""
        shared = self._shared = Shared(self.settings, self.places, self.host)
        paging = Paging(shared)
        self._saying, self._direct = Saying(shared, paging), Direct(shared)
        life = _Life(shared, self._direct, paging, self.open_stream)
        await life.run()

    def title(self, place: str) -> str:
        """A channel, or what it is that has none."""
        return f"private on {self.name}" if place.startswith(PLACE) else place

    def is_own(self, author: str) -> bool:
        """Whether a mask is that of the bridge's own nick, or of a member's."""
        return self._shared is not None and self._shared.is_own_mask(author)

    def member_command(self, room: RoomId, mid: MemberId, words: Sequence[str]) -> str | None:
        """`!bridge NAME dm …`."""
        return None if self._direct is None else self._direct.command(room, mid, words)

    async def command(self, room: RoomId, words: Sequence[str]) -> str | None:
        """`!bridge NAME names`: who reads there."""
        if self._shared is None or [one.casefold() for one in words[1:]] != ["names"]:
            return f"!bridge {self.name} names: who is in the channel and reads this room"
        places = [place for place in self.places if room in self.host.rooms(place)]
        return "\n".join(self._shared.names(place) for place in places)

    async def deliver(self, batch: Sequence[Outgoing]) -> Sequence[Receipt]:
        """Say each, and wait for what the server answers."""
        if self._saying is None or self._direct is None:
            return [Receipt(one.number, State.QUEUED) for one in batch]
        if batch and batch[0].place.startswith(PLACE):
            return await self._direct.deliver(batch)
        return await self._saying.deliver(batch)

    async def check(self, report: Callable[[Finding], None]) -> None:
        """Connect, log in, join each channel."""
        await check(self.settings, self.places, self.open_stream, report)


class _Life:
    """Connects, and connects again."""

    def __init__(
        self,
        shared: Shared,
        direct: Direct,
        paging: Paging,
        open_: Callable[..., Awaitable[trio.abc.Stream]],
    ) -> None:
        self._shared = shared
        self._channels = Channels(shared)
        self._direct = direct
        self._paging = paging
        self.hearing = Hearing(shared, self._channels, direct, paging)
        self._dialer = Dialer(shared.settings, Policies(shared.host), open_)
        if any(one.options.mode == "puppets" for one in shared.places.values()):
            shared.puppets = Puppets(
                shared.settings,
                shared.host,
                self._dialer,
                {
                    place: one.options
                    for place, one in shared.places.items()
                    if one.options.mode == "puppets"
                },
                self.hearing.private,
            )

    async def run(self) -> None:
        """Connect and stay connected."""
        wait = _BACK_OFF[0]
        while True:
            began = trio.current_time()
            why = await self._one_life()
            self._channels.none_ready(why)
            self._direct.ready(False, why)
            if trio.current_time() - began > 10 * wait:
                wait = _BACK_OFF[0]
            if "throttl" in why.casefold() or "too fast" in why.casefold():
                wait = max(wait, _THROTTLED_SECONDS)
            self._shared.host.log.warning("not connected", reason=why, again_in=round(wait))
            await trio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            wait = min(_BACK_OFF[1], wait * 2)

    async def _one_life(self) -> str:
        shared, channels = self._shared, self._channels
        connection: Connection | None = None
        why = ""
        try:
            connection = await self._dialer.connect(credentials_of(shared.settings))
            shared.connection, shared.history = connection, History(connection)
            shared.joined.clear()
            self._direct.ready(True)
            shared.host.log.info("connected", nick=connection.nick, caps=sorted(connection.caps))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(channels.join_all, connection)
                nursery.start_soon(channels.regain_nick, connection)
                nursery.start_soon(self.hearing.tell_presence)
                nursery.start_soon(channels.note_seen)
                nursery.start_soon(self._paging.run, connection)
                if shared.puppets is not None:
                    nursery.start_soon(shared.puppets.run, connection.isupport)
                take = partial(self._take, nursery, connection)
                why = await connection.run(partial(guarded, shared.host.log, take))
                nursery.cancel_scope.cancel()
            return why
        except ConfigError as error:
            shared.host.log.error("a file of the settings can not be read", why=str(error))
            return "a file of its settings can not be read"  # no path for the rooms
        except NetworkError as error:
            return str(error)
        finally:
            channels.left()
            shared.connection = None
            if connection is not None:
                self._dialer.ended(connection, why)
                with trio.CancelScope(shield=True):
                    await connection.aclose()

    async def _take(self, nursery: trio.Nursery, connection: Connection, line: Line) -> None:
        shared, channels, hearing = self._shared, self._channels, self.hearing
        history = shared.history
        if shared.connection is None or history is None:
            return
        played = history.is_played(line)
        # The server's own word, of now; and behind no JOIN of ours without it: history is next.
        is_now = not line.user or (line.command == "JOIN" and connection.is_me(line.nick))
        if is_now and not played and (at := time_of(line)) is not None:
            shared.skew = at - shared.host.now()
        match line.command:
            case "BATCH":
                whole = history.batch(line)
                if whole is not None:
                    await hearing.message(connection, whole, history)
            case "FAIL" if line[0].upper() == "CHATHISTORY":
                history.failed(line)
            case "PRIVMSG" | "NOTICE":
                if not history.gathers(line):
                    await hearing.message(connection, line, history)
            case _ if played:
                pass  # who came and went then, is no news
            case "JOIN" if connection.is_me(line.nick):
                hearing.presence.forget(shared.place_of(connection, line[0]) or "")
                channels.is_in(nursery, connection, line[0])
            case "PART" if connection.is_me(line.nick):
                channels.is_out(connection, line[0], "the bridge was made to leave the channel")
            case "KICK" if connection.is_me(line[1]):
                words = f": “{said_there(line[2])}”" if line[2] else ""
                why = f"{said_there(line.nick)} kicked the bridge out{words}"
                channels.is_out(connection, line[0], why)
            case "JOIN" | "PART" | "QUIT" | "NICK" if shared.own_nick(connection, line) is not None:
                pass  # members are in the room anyway
            case "KICK" if (
                shared.puppets is not None and shared.puppets.member(line[1]) is not None
            ):
                pass
            case "JOIN" | "PART" | "KICK" | "QUIT" | "NICK" | "353" | "366":
                place_of = partial(shared.place_of, connection)
                hearing.presence.take(line, connection.fold, place_of, trio.current_time())
            case "TAGMSG" | "REDACT" if shared.own_nick(connection, line) is None:
                await hearing.about(connection, line)
            case "INVITE" if connection.is_me(line[0]):
                await hearing.strangers.invited(connection, line)
            case "731":
                await channels.nick_is_free(connection, line)
            case "TOPIC" if not connection.is_me(line.nick):
                await hearing.topic(connection, line)
            case command if command in JOIN_ERRORS:
                channels.refused(connection, line)
