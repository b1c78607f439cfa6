"""A connection and a nick for each member who speaks (I5; trio).

Connected when a member first speaks, one at a time; gone when they are silent for long, leave the
room or make room for others. Until a puppet is in the channel, and whenever it is not, the bridge's
own nick speaks and says for whom: nothing waits for a puppet.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from math import inf
from typing import Final

import trio
from attrs import define, field

from bridge.core.errors import NetworkError
from bridge.core.model import LocalAuthor
from bridge.core.network import Host
from bridge.irc.connection import Connection, Lost, guarded
from bridge.irc.dialing import Dialer, ask_in, member_credentials, nick_room
from bridge.irc.history import History
from bridge.irc.kept import Kept
from bridge.irc.login import Credentials
from bridge.irc.nicks import nick_bases
from bridge.irc.settings import IrcPlace, IrcSettings
from bridge.irc.wire import Line, fold, number_of
from ofcd.errors import ConfigError
from ofcd.protocol.ids import MemberId

__all__ = ["JOIN_ERRORS", "Puppets"]

JOIN_ERRORS: Final = frozenset(
    {
        "403",
        "405",
        "407",
        "437",
        "470",
        "471",
        "473",
        "474",
        "475",
        "476",
        "477",
        "479",
        "480",
        "489",
        "490",
        "495",
        "520",
        "926",
    }
)
"""What answers a JOIN that leads nowhere, or elsewhere (470), and names the channel."""
_BANNED: Final = "474"
_TABLE: Final = "puppets"
_KNOWN: Final = 5000
_LOOK_SECONDS: Final = 2.0
_LEAST_SECONDS: Final = 60.0
"""Who spoke within this time is not disconnected to make room for others."""
_REFUSED_SECONDS: Final = 300.0
_FORGET_SECONDS: Final = 43_200.0
_AGAIN_SECONDS: Final = (5.0, 300.0)
_KILLED_SECONDS: Final = (600.0, 21_600.0)
_THROTTLED_SECONDS: Final = (60.0, 1800.0)
_KILLED: Final = ("kill", "banned", "-line", ":line", "not welcome")
_THROTTLED: Final = ("throttl", "too fast", "too many", "max sessions", "session limit")


@define(eq=False)
class _Puppet:
    mid: MemberId
    name: str
    used: float
    places: set[str] = field(factory=set)
    """Where it is to speak."""
    joined: set[str] = field(factory=set)
    refused: dict[str, tuple[str, float]] = field(factory=dict)
    """By place: with what error it was not let in, and until when that is taken for true."""
    connection: Connection | None = None
    runs: bool = False
    retiring: bool = False
    failures: int = 0
    base: str = ""
    """What its nick is made from."""
    rename_from: float = 0.0
    not_before: float = 0.0
    changed: trio.Event = field(factory=trio.Event)

    @property
    def who(self) -> str:
        return self.mid.hex()

    def speaks_at(self, place: str) -> None:
        """It is to speak there too."""
        if place not in self.places:
            self.places.add(place)
            self.stir()

    def stir(self) -> None:
        """Where it is to be is not where it is any more: who joins for it looks again."""
        self.changed.set()
        self.changed = trio.Event()


class Puppets:
    """The members' connections of one network."""

    def __init__(
        self,
        settings: IrcSettings,
        host: Host,
        dialer: Dialer,
        places: Mapping[str, IrcPlace],
        on_private: Callable[[Connection, str, Line], Awaitable[None]],
    ) -> None:
        """What puppets need of the network.

        `places`: the channels with puppets; `on_private(connection, who, line)` is told what is
        said to a puppet alone.
        """
        self._settings = settings
        self._host = host
        self._dialer = dialer
        self._places = places
        self._on_private = on_private
        self._all: dict[MemberId, _Puppet] = {}
        self._known: dict[str, tuple[str, str]] = {}
        """By folded nick: whose it is, and as whom (user@host) the server showed it."""
        self._kept, self._table = Kept(host), host.table(_TABLE, large=True)
        self._gate = trio.Lock()
        self._last = -1e9
        self._not_before = 0.0
        self._throttled = 0
        self._isupport: Mapping[str, str] = {}
        self._nursery: trio.Nursery | None = None
        for key, raw in list(host.vault.items(self._table)):
            who, _, mask = raw.decode().partition(" ")
            self._known[key.decode()] = (who, mask)

    # -- for the network -------------------------------------------------------------------------

    async def run(self, isupport: Mapping[str, str]) -> None:
        """Serve until cancelled; `isupport` is what the server says to the bridge's own nick."""
        self._isupport = isupport
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                while True:
                    await trio.sleep(_LOOK_SECONDS)
                    self._look(nursery)
            finally:
                self._nursery = None

    def voice(self, place: str, author: LocalAuthor) -> Connection | str | None:
        """Who speaks for a member at a place now: their puppet; None: the bridge's own nick.

        Words: why the channel lets nobody speak for them.
        """
        now = trio.current_time()
        puppet = self._all.get(author.mid)
        if puppet is None:
            puppet = self._all[author.mid] = _Puppet(author.mid, author.name, now)
        puppet.name, puppet.used = author.name, now
        command, until = puppet.refused.get(place, ("", 0.0))
        if until > now:
            if command == _BANNED:
                return f"the channel does not let {author.name} in (+b)"
            return None
        puppet.speaks_at(place)
        connection = puppet.connection
        if connection is not None and not connection.lost and not puppet.retiring:
            return connection if place in puppet.joined else None
        self._start(puppet)
        return None

    def direct(self, mid: MemberId, places: Sequence[str]) -> Connection | str | None:
        """A member's puppet, to speak with somebody alone; None: it is not connected yet.

        `places` are those with puppets; words: why there is none for this member.
        """
        now = trio.current_time()
        found = [(place, name) for place in places if (name := self._members(place).get(mid))]
        if not found:
            return "you are not bridged there any more"
        place, name = found[0]
        puppet = self._all.setdefault(mid, _Puppet(mid, name, now))
        puppet.name, puppet.used = name, now
        puppet.speaks_at(place)
        connection = puppet.connection
        if connection is not None and not connection.lost and not puppet.retiring:
            return connection
        self._start(puppet)
        return None

    def owner(self, line: Line) -> str | None:
        """Whose puppet said this, as far as it is one of this bridge's."""
        if not line.nick:
            return None
        for puppet in self._all.values():
            if puppet.connection is not None and puppet.connection.is_me(line.nick):
                return puppet.who
        who, mask = self._known.get(fold(line.nick), ("", ""))
        return who if who and mask == f"{line.user}@{line.host}" else None

    def member(self, nick: str) -> MemberId | None:
        """The member whose puppet bears a nick now."""
        for puppet in self._all.values():
            if puppet.connection is not None and puppet.connection.is_me(nick):
                return puppet.mid
        return None

    def nicks(self) -> dict[str, MemberId]:
        """The nicks that are borne now."""
        live = [one for one in self._all.values() if one.connection is not None]
        return {one.connection.nick: one.mid for one in live if one.connection is not None}

    # -- who is connected ------------------------------------------------------------------------

    def _start(self, puppet: _Puppet) -> None:
        now = trio.current_time()
        wait = max(puppet.not_before, self._not_before)
        if puppet.runs or self._nursery is None or wait > now or not self._has_room(now):
            return
        puppet.runs, puppet.retiring = True, False
        self._nursery.start_soon(self._life, puppet)

    def _has_room(self, now: float) -> bool:
        running = [one for one in self._all.values() if one.runs]
        if len(running) < self._settings.max_puppets:
            return True
        idle = [one for one in running if now - one.used >= _LEAST_SECONDS and not one.retiring]
        if idle:
            self._retire(min(idle, key=lambda one: one.used))
        return False  # the room is there once it has left

    def _retire(self, puppet: _Puppet) -> None:
        puppet.retiring = True
        if puppet.connection is not None and self._nursery is not None:
            self._nursery.start_soon(puppet.connection.quit)

    def _look(self, nursery: trio.Nursery) -> None:
        """Who is silent for long, has left the room or is not bridged any more, goes."""
        self._kept.keep()
        now = trio.current_time()
        allowed = {
            mid: name for place in self._host_places() for mid, name in self._members(place).items()
        }
        bases = self._bases()
        for puppet in list(self._all.values()):
            gone = puppet.mid not in allowed
            connection, base = puppet.connection, bases.get(puppet.mid, puppet.base)
            if connection is not None and base != puppet.base and now >= puppet.rename_from:
                nursery.start_soon(self._rename, puppet, connection)
            if puppet.runs and not puppet.retiring:
                if gone or now - puppet.used > self._settings.puppet_idle:
                    self._retire(puppet)
            elif not puppet.runs and (gone or now > puppet.not_before + _FORGET_SECONDS):
                del self._all[puppet.mid]

    def _host_places(self) -> set[str]:
        return {place for puppet in self._all.values() for place in puppet.places}

    def _members(self, place: str) -> dict[MemberId, str]:
        rooms = self._host.rooms(place)
        return {
            one.author.mid: one.author.name
            for one in self._host.members(place)
            if any(self._host.consent(room, one.author.mid) != "withheld" for room in rooms)
        }

    # -- one puppet's life -----------------------------------------------------------------------

    async def _life(self, puppet: _Puppet) -> None:
        connection: Connection | None = None
        why = ""
        try:
            await self._turn()
            connection = await self._dialer.connect(self._credentials(puppet))
            self._throttled = 0
            puppet.connection = connection
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._join, puppet, connection)
                take = partial(self._take, puppet, connection, History(connection))
                why = await connection.run(partial(guarded, self._host.log, take))
                nursery.cancel_scope.cancel()
        except (NetworkError, ConfigError) as error:
            why = str(error)
        finally:
            puppet.connection, puppet.runs = None, False
            puppet.joined.clear()
            if connection is not None:
                self._dialer.ended(connection, why)
                with trio.CancelScope(shield=True):
                    await connection.aclose()
        self._ended(puppet, why)

    async def _turn(self) -> None:
        """One after the other, with a pause between."""
        async with self._gate:
            while True:
                due = max(self._last + self._settings.puppet_seconds, self._not_before)
                if due <= trio.current_time():
                    break
                await trio.sleep_until(due)
            self._last = trio.current_time()

    def _length(self) -> int:
        return number_of(self._isupport.get("NICKLEN", ""))

    def _bases(self) -> dict[MemberId, str]:
        """What each member's nick begins with: of all who may ever have one here, no two alike."""
        people = (one.author for place in self._places for one in self._host.members(place))
        names = {author.mid: author.name for author in people}
        return nick_bases(names, nick_room(self._settings, self._length()))

    def _credentials(self, puppet: _Puppet) -> Credentials:
        """Who it is at the server; raises `NetworkError` where no nick is left for it alone."""
        bases = self._bases()
        base = bases.pop(puppet.mid, "")
        if not base:
            raise NetworkError("no nick is left that is this member's alone")
        puppet.base = base
        suffix = self._settings.puppet_suffix
        others = {fold(f"{one}{suffix}") for one in bases.values()}
        borne = {fold(nick) for nick, mid in self.nicks().items() if mid != puppet.mid}
        members = {mid.hex() for mid in bases}

        def is_taken(nick: str) -> bool:
            # Also one that another member bore, and may bear again: people there know it as theirs.
            owner, _ = self._known.get(fold(nick), ("", ""))
            return owner in members or fold(nick) in others | borne

        return member_credentials(
            self._settings, puppet.name, base, puppet.mid, self._length(), is_taken
        )

    async def _join(self, puppet: _Puppet, connection: Connection) -> None:
        """Be where it is to speak."""
        asked: dict[str, float] = {}
        with suppress(Lost):
            while True:
                changed, now, again = puppet.changed, trio.current_time(), inf
                for place in sorted(puppet.places - puppet.joined):
                    refused = puppet.refused.get(place, ("", 0.0))[1]
                    due = max(refused, asked.get(place, 0.0))
                    if due <= now:
                        asked[place] = due = now + _LEAST_SECONDS
                        await ask_in(connection, self._host, place, self._places[place])
                    again = min(again, due)
                with trio.move_on_at(again):
                    await changed.wait()

    async def _rename(self, puppet: _Puppet, connection: Connection) -> None:
        """The member has another name; where its nick is taken, the old one stays.

        Servers count changes of nick, and rooms may hold members who change theirs all the time.
        """
        puppet.rename_from = trio.current_time() + _LEAST_SECONDS
        # A password file that is gone matters at the next login.
        with suppress(Lost, ConfigError, NetworkError):
            await connection.send("NICK", self._credentials(puppet).nick)

    async def _take(
        self, puppet: _Puppet, connection: Connection, batches: History, line: Line
    ) -> None:
        match line.command:
            case "BATCH":
                whole = batches.batch(line)
                if whole is not None:
                    await self._take(puppet, connection, batches, whole)
            case "PRIVMSG" | "NOTICE" if batches.gathers(line):
                pass  # one of several, of which the last is still to come
            case "JOIN" if connection.is_me(line.nick):
                place = self._place(puppet, connection, line[0])
                if place is not None:
                    puppet.failures = 0
                    puppet.joined.add(place)
                    puppet.stir()
                    self._remember(puppet, connection)
            case "NICK" | "CHGHOST" | "396":
                self._remember(puppet, connection)
            case "PART" if connection.is_me(line.nick):
                self._refuse(puppet, connection, line[0], line.command)
            case "KICK" if connection.is_me(line[1]):
                self._refuse(puppet, connection, line[0], line.command)
            case command if command in JOIN_ERRORS:
                self._refuse(puppet, connection, line[1], command)
            case "PRIVMSG" if connection.is_me(line[0]) and not connection.is_me(line.nick):
                await self._on_private(connection, puppet.who, line)

    def _place(self, puppet: _Puppet, connection: Connection, channel: str) -> str | None:
        folded = connection.fold(channel)
        return next((one for one in puppet.places if connection.fold(one) == folded), None)

    def _refuse(self, puppet: _Puppet, connection: Connection, channel: str, why: str) -> None:
        place = self._place(puppet, connection, channel)
        if place is None or (why in JOIN_ERRORS and place in puppet.joined):
            return
        puppet.joined.discard(place)
        puppet.refused[place] = (why, trio.current_time() + _REFUSED_SECONDS)
        puppet.stir()

    def _remember(self, puppet: _Puppet, connection: Connection) -> None:
        """Whose this nick is: known again in what is played back after a restart."""
        if not connection.user and not connection.host:
            return
        key, value = fold(connection.nick), (puppet.who, f"{connection.user}@{connection.host}")
        if self._known.get(key) == value:
            return
        self._known.pop(key, None)
        self._known[key] = value
        self._kept.note(self._table, key, " ".join(value).encode())
        while len(self._known) > _KNOWN:
            oldest = next(iter(self._known))
            del self._known[oldest]
            self._kept.note(self._table, oldest, None)
        self._kept.keep()

    def _ended(self, puppet: _Puppet, why: str) -> None:
        now = trio.current_time()
        if puppet.retiring:
            puppet.retiring = False
            return
        puppet.failures += 1
        said = why.casefold()
        if any(one in said for one in _THROTTLED):
            self._throttled += 1
            self._not_before = now + _grown(_THROTTLED_SECONDS, self._throttled)
        elif any(one in said for one in _KILLED):
            puppet.not_before = now + _grown(_KILLED_SECONDS, puppet.failures)
            for place in puppet.places:
                text = (
                    f"{self._settings.name} does not let the nick of {puppet.name} in ({why}): my "
                    "own nick speaks for them"
                )
                self._host.notice(place, text, key=f"killed/{puppet.who}")
        else:
            puppet.not_before = now + _grown(_AGAIN_SECONDS, puppet.failures)
        self._host.log.warning("a member's nick is not connected", reason=why)


def _grown(bounds: tuple[float, float], times: int) -> float:
    return min(bounds[1], bounds[0] * 2.0 ** min(20, times - 1))
