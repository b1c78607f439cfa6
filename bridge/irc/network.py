"""IRC as a network of the bridge: one connection, one nick, attributed lines (trio)."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from typing import ClassVar, Final

import trio
from attrs import evolve, field, frozen

from bridge.core.errors import NetworkError
from bridge.core.formatting import plain_text
from bridge.core.guard import MAX_HOPS
from bridge.core.model import (
    Author,
    Kind,
    Outgoing,
    Receipt,
    RemoteMessage,
    RemoteNote,
    RemoteReaction,
    RemoteRedaction,
    RemoteTopic,
    State,
)
from bridge.core.network import Finding, Network, PlaceInfo
from bridge.irc import mirc
from bridge.irc.connection import Connection, Fence, Lost, open_stream
from bridge.irc.dialing import Dialer, Policies, credentials_of
from bridge.irc.history import History
from bridge.irc.nicks import relayed_nick
from bridge.irc.presence import Presence
from bridge.irc.proof import OwnLines
from bridge.irc.puppets import JOIN_ERRORS, Puppets
from bridge.irc.rendering import reaction_words, render, wants_link
from bridge.irc.settings import IrcPlace, IrcSettings
from bridge.irc.splitting import budget, split
from bridge.irc.wire import Line, fold, time_of
from ofcd.client import Offline, lite
from ofcd.errors import ConfigError
from ofcd.protocol.ids import MemberId
from ofcd.protocol.rates import TokenBuckets

__all__ = ["ORIGIN_TAG", "IrcNetwork"]

ORIGIN_TAG: Final = "+ofcd/origin"
_BACK_OFF: Final = (1.0, 300.0)
_THROTTLED_SECONDS: Final = 60.0
_PROOF_SECONDS: Final = 90.0
_JOIN_AGAIN_SECONDS: Final = 60.0
_REGAIN_SECONDS: Final = 60.0
_REGAIN_FIRST_SECONDS: Final = 2.0
_NICKSERV: Final = "NickServ"
_HOP_CHARACTERS: Final = 16
_CHECK_SECONDS: Final = 30.0
_SEEN_SECONDS: Final = 1.0
_RELAYED: Final = "draft/relaymsg"
_REPLY: Final = "+draft/reply"
_REACT: Final = "+draft/react"
_UNREACT: Final = "+draft/unreact"
_REDACT: Final = "draft/message-redaction"
_SECONDS_APART: Final = 600


@frozen
class _Voice:
    """Who says something, and how the line then looks."""

    connection: Connection
    who: str = ""
    """"": the bridge's own nick; else the member whose puppet it is."""
    relayed: str = ""
    """In this nick, by RELAYMSG."""

    @property
    def attributed(self) -> bool:
        """Each line says for whom it is."""
        return not self.who and not self.relayed


@frozen
class _Way:
    """One way in which something may be said, or may have been said."""

    voice: _Voice
    lines: list[str] = field(repr=False)


class IrcNetwork(Network[IrcSettings, IrcPlace]):
    """One IRC network."""

    kind: ClassVar[str] = "irc"
    Settings = IrcSettings
    PlaceSettings = IrcPlace
    max_age: ClassVar[int] = 600
    reaction_hold: ClassVar[float] = 10.0

    def __init__(self, settings: IrcSettings, places: Sequence[PlaceInfo[IrcPlace]]) -> None:
        super().__init__(settings, places)
        self._connection: Connection | None = None
        self._joined: set[str] = set()
        self._by_fold: dict[str, str] = {}
        self._own = OwnLines(self._is_known)
        self._history: History | None = None
        self._seen: dict[str, int] = {}
        """By place: when the last line there was said, milliseconds, not yet on disk."""
        self._skew = 0
        """What the server's clock is ahead of ours, milliseconds."""
        self._puppets: Puppets | None = None
        self._dialer: Dialer | None = None
        self.open_stream: Callable[..., Awaitable[trio.abc.Stream]] = open_stream
        self._number = 0
        self._life = f"{random.getrandbits(64):016x}"
        self._ctcp = TokenBuckets(burst=3, per_second=0.1, max_keys=1)
        self._private_told = TokenBuckets(burst=1, per_second=1 / 600, max_keys=1000)
        self._presence = Presence()
        self._nursery: trio.Nursery | None = None

    def same_place(self, place: str) -> str:
        """Channels compare without case."""
        if not place or place[0] not in "#&+!" or any(one in place for one in " ,\7\r\n\0"):
            raise ValueError("is no channel: it begins with #, and has no space or comma")
        return fold(place)

    def describe(self, place: str) -> str:
        """A channel in a sentence."""
        return f"{place} on {self.name} ({self.settings.server})"

    # -- the connection's life -------------------------------------------------------------------

    async def run(self) -> None:
        """Connect and stay connected."""
        wait = _BACK_OFF[0]
        while True:
            began = trio.current_time()
            why = await self._one_life()
            self._all_ready(False, why)
            if trio.current_time() - began > 10 * wait:
                wait = _BACK_OFF[0]
            if "throttl" in why.casefold() or "too fast" in why.casefold():
                wait = max(wait, _THROTTLED_SECONDS)
            self.host.log.warning("not connected", reason=why, again_in=round(wait))
            await trio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            wait = min(_BACK_OFF[1], wait * 2)

    async def _one_life(self) -> str:
        connection: Connection | None = None
        dialer = self._dial()
        try:
            connection = await dialer.connect(credentials_of(self.settings))
            self._connection = connection
            self._joined.clear()
            self._history = History(connection)
            self.host.log.info("connected", nick=connection.nick, caps=sorted(connection.caps))
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._join_all, connection)
                nursery.start_soon(self._regain_nick, connection)
                nursery.start_soon(self._tell_presence)
                nursery.start_soon(self._note_seen)
                if self._puppets is not None:
                    nursery.start_soon(self._puppets.run, connection.isupport)
                why = await connection.run(self._take)
                nursery.cancel_scope.cancel()
            return why
        except (NetworkError, ConfigError) as error:
            return str(error)
        finally:
            self._connection = None
            self._keep_seen()
            if connection is not None:
                dialer.ended(connection)
                with trio.CancelScope(shield=True):
                    await connection.aclose()

    def _dial(self) -> Dialer:
        if self._dialer is None:
            self._dialer = Dialer(self.settings, Policies(self.host), self.open_stream)
            if any(one.options.mode == "puppets" for one in self.places.values()):
                self._puppets = Puppets(
                    self.settings,
                    self.host,
                    self._dialer,
                    lambda place: self.places[place].options.key,
                    self._private,
                )
        return self._dialer

    # -- channels and nick -----------------------------------------------------------------------

    def _all_ready(self, on: bool, why: str) -> None:
        for place in self.places:
            self.host.ready(place, on, why)

    async def _join_all(self, connection: Connection) -> None:
        """Join what is not joined, now and again."""
        self._by_fold = {connection.fold(place): place for place in self.places}
        with suppress(Lost):
            while True:
                for place, info in self.places.items():
                    if place not in self._joined:
                        await connection.paced()
                        key = [info.options.key] if info.options.key else []
                        await connection.send("JOIN", place, *key)
                await trio.sleep(_JOIN_AGAIN_SECONDS)

    async def _regain_nick(self, connection: Connection) -> None:
        """Get the own nick back while another is worn: MONITOR, services, and asking again."""
        wanted, words = self.settings.nick, self.settings.regain
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

    async def _nick_is_free(self, connection: Connection, line: Line) -> None:
        """MONITOR says who is not there any more."""
        gone = {connection.fold(one.partition("!")[0]) for one in line.params[-1].split(",")}
        wanted = self.settings.nick
        if connection.fold(wanted) in gone and not connection.is_me(wanted):
            with suppress(Lost):
                await connection.send("NICK", wanted)

    # -- what comes in ---------------------------------------------------------------------------

    async def _take(self, line: Line) -> None:
        connection, history = self._connection, self._history
        if connection is None or history is None:
            return
        played = history.is_played(line)
        if not played and (at := time_of(line)) is not None:
            self._skew = at - self.host.now()
        match line.command:
            case "BATCH":
                history.batch(line)
            case "FAIL" if line[0].upper() == "CHATHISTORY":
                history.failed(line)
            case "PRIVMSG" | "NOTICE":
                await self._message(connection, line, history)
            case _ if played:
                pass  # who came and went then, is no news
            case "JOIN" if connection.is_me(line.nick):
                await self._is_in(connection, line[0])
            case "PART" if connection.is_me(line.nick):
                self._is_out(connection, line[0], "the bridge was made to leave the channel")
            case "KICK" if connection.is_me(line[1]):
                why = f"{line.nick} kicked the bridge out: {line[2]}"
                self._is_out(connection, line[0], why)
            case "JOIN" | "PART" | "QUIT" | "NICK" if self._own_nick(connection, line) is not None:
                pass  # members are in the room anyway
            case "KICK" if self._puppets is not None and self._puppets.member(line[1]) is not None:
                pass
            case "JOIN" | "PART" | "KICK" | "QUIT" | "NICK" | "353" | "366":
                self._presence.take(line, connection.fold, trio.current_time())
            case "TAGMSG" | "REDACT" if self._own_nick(connection, line) is None:
                await self._about(connection, line)
            case "731":
                await self._nick_is_free(connection, line)
            case "TOPIC" if not connection.is_me(line.nick):
                await self._topic(connection, line)
            case command if command in JOIN_ERRORS:
                place = self._by_fold.get(connection.fold(line[1]))
                if place is not None and place not in self._joined:  # else it answers a message
                    self.host.ready(place, False, f"the channel: {line.params[-1]}")
                    text = f"I can not get into {place}: {line.params[-1]}"
                    self.host.notice(place, text, key="join")

    async def _is_in(self, connection: Connection, channel: str) -> None:
        place = self._by_fold.get(connection.fold(channel))
        if place is None:
            return
        self._joined.add(place)
        first = self._fact("since", place) is None
        if first:
            self._keep_fact("since", place, self.host.now())
        if self._nursery is not None:
            self._nursery.start_soon(self._ready_behind_history, connection, place, first)

    async def _ready_behind_history(self, connection: Connection, place: str, first: bool) -> None:
        """What was under way when a link broke may be in what the server plays back now."""
        with suppress(Lost):
            if not first and "draft/chathistory" in connection.caps and self._history is not None:
                since = self._fact("seen", place) or self._fact("since", place) or 0
                missing = await self._history.fill(place, max(0, since - _SECONDS_APART))
                if missing:
                    self.host.notice(place, f"{place} on {self.name}: {missing}", key="gap")
            fence = connection.open_fence(place)
            await connection.close_fence(fence)
            await fence.done.wait()
            if fence.proven and place in self._joined:
                self.host.ready(place, True)
                self.host.log.info("joined a channel")

    def _is_out(self, connection: Connection, channel: str, why: str) -> None:
        place = self._by_fold.get(connection.fold(channel))
        if place is not None:
            self._joined.discard(place)
            self.host.ready(place, False, why)
            self.host.notice(place, f"{place} on {self.name}: {why}", key="out")

    def _fact(self, table: str, place: str) -> int | None:
        """A time that is kept of a place, milliseconds since 1970.

        `since`: when the bridge first came, and nothing before is taken; `seen`: of the last line
        that was taken.
        """
        raw = self.host.vault.get(self.host.table(table), place.encode())
        return None if raw is None else int.from_bytes(raw, "big")

    def _keep_fact(self, table: str, place: str, ms: int) -> None:
        with self.host.transaction() as tx:
            tx.put(self.host.table(table), place.encode(), ms.to_bytes(8, "big"))

    async def _note_seen(self) -> None:
        while True:
            await trio.sleep(_SEEN_SECONDS)
            self._keep_seen()

    def _keep_seen(self) -> None:
        """How far history was taken: an older mark asks for some lines twice, and no more."""
        seen, self._seen = self._seen, {}
        for place, ms in seen.items():
            self._keep_fact("seen", place, ms)

    def _is_known(self, place: str, msgid: str) -> bool:
        return self.host.event_of(place, msgid) is not None

    def _own_nick(self, connection: Connection, line: Line) -> str | None:
        """Which of the bridge's nicks this is: "" its own, a member's; None: somebody else."""
        if connection.is_me(line.nick):
            return ""
        if self._puppets is not None and (owner := self._puppets.owner(line)) is not None:
            return owner
        relayed = line.tags.get(_RELAYED, "")
        return f"relayed/{line.nick}" if relayed and connection.is_me(relayed) else None

    async def _private(self, connection: Connection, who: str, line: Line) -> None:
        """Something was said to a member's puppet alone."""
        if line[1].startswith("\1"):
            command, _, rest = line[1].strip("\1").partition(" ")
            await self._answer_ctcp(connection, line.nick, command.upper(), rest)
        elif not self._private_told.take(fold(line.nick), self.host.now()):
            words = "Nobody reads this: private messages are not bridged. Write in the channel."
            with suppress(Lost):
                await connection.send("NOTICE", line.nick, words)

    async def _message(self, connection: Connection, line: Line, history: History) -> None:
        place = self._by_fold.get(connection.fold(line[0]))
        text = line[1]
        action = False
        played = history.is_played(line)
        counted = played and history.counts(line)
        if text.startswith("\1"):
            command, _, rest = text.strip("\1").partition(" ")
            if command.upper() != "ACTION":
                if line.command == "PRIVMSG" and not connection.is_me(line.nick) and not played:
                    await self._answer_ctcp(connection, line.nick, command.upper(), rest)
                return
            text, action = rest, True
        if place is None or counted:
            return
        ts = time_of(line)
        own = self._own_nick(connection, line)
        if own is not None:
            # Layer 1 of the loop guard: the bridge's own words, echoed or played back.
            at = None if ts is None else ts - self._skew
            self._own.saw(place, own, text, line.tags.get("msgid", "")[:200], at)
            return
        since = self._fact("since", place) if played else None
        if since is not None and ts is not None and ts < since + self._skew:
            return
        runs = mirc.decode(text)
        document: lite.Document = (lite.Paragraph((mirc.line_of(runs),)),) if runs else ()
        await self.host.take(
            RemoteMessage(
                place=place,
                id=self._id_of(line, place),
                author=_author(line),
                ts=ts,
                path=_path(line.tags.get(ORIGIN_TAG, "")),
                late=played,
                document=document,
                action=action,
                notice=line.command == "NOTICE",
                reply_to=line.tags.get(_REPLY, "")[:200],
                mentions=self._mentions(place, mirc.plain(runs)),
            )
        )
        if ts is not None:
            self._seen[place] = max(ts, self._seen.get(place, 0))

    def _id_of(self, line: Line, place: str) -> str:
        if "msgid" in line.tags:
            return line.tags["msgid"][:200]
        if "time" in line.tags:
            seen = "\0".join((line.tags["time"], line.nick, place, line[1])).encode()
            return sha256(seen).hexdigest()
        self._number += 1
        return f"{self._life}/{self._number}"

    def _mentions(self, place: str, text: str) -> tuple[MemberId, ...]:
        """The members whose names stand in the text: at its beginning, or behind an @."""
        names = [(one.author.name, one.author.mid) for one in self.host.members(place)]
        if self._puppets is not None:
            names.extend(self._puppets.nicks().items())
        found = []
        for name, mid in names:
            at = text.casefold().find(name.casefold())
            begins = at == 0 and text[len(name) : len(name) + 1] in (":", ",", "")
            if begins or f"@{name.casefold()}" in text.casefold():
                found.append(mid)
        return tuple(dict.fromkeys(found))[:16]

    async def _answer_ctcp(
        self, connection: Connection, nick: str, command: str, rest: str
    ) -> None:
        """VERSION, PING and TIME, now and then; nothing else, DCC least of all (I9)."""
        if command not in ("VERSION", "PING", "TIME"):
            return
        if self._ctcp.take("", self.host.now()):
            return
        now = datetime.fromtimestamp(self.host.now() / 1000, UTC)
        answers = {"VERSION": "ofc-bridge", "PING": rest[:100], "TIME": f"{now:%c} UTC"}
        with suppress(Lost):
            answer = mirc.clean(answers[command])
            await connection.send("NOTICE", nick, f"\1{command} {answer}\1")

    async def _topic(self, connection: Connection, line: Line) -> None:
        place = self._by_fold.get(connection.fold(line[0]))
        if place is None:
            return
        await self.host.take(
            RemoteTopic(
                place=place,
                id=self._id_of(line, place),
                author=_author(line),
                ts=time_of(line),
                topic=mirc.plain(mirc.decode(line[1])),
            )
        )

    async def _about(self, connection: Connection, line: Line) -> None:
        """A reaction to a line, or a line that was taken back."""
        place = self._by_fold.get(connection.fold(line[0]))
        if place is None:
            return
        ident, author = self._id_of(line, place), _author(line)
        target = line.tags.get(_REPLY, "")[:200]
        if line.command == "REDACT":
            taken = RemoteRedaction(place=place, id=ident, author=author, target=line[1][:200])
            await self.host.take(taken)
        elif target and line.tags.get(_REACT):
            emoji = line.tags[_REACT]
            await self.host.take(
                RemoteReaction(place=place, id=ident, author=author, target=target, emoji=emoji)
            )

    async def _tell_presence(self) -> None:
        """Who came and went, folded."""
        while True:
            await trio.sleep(1.0)
            for note in self._presence.due(trio.current_time()):
                place = self._by_fold.get(note.channel)
                if place is None:
                    continue
                self._number += 1
                ident = f"{self._life}/{self._number}"
                author = Author(note.who, note.who)
                await self.host.take(
                    RemoteNote(place=place, id=ident, author=author, text=note.text)
                )

    # -- what goes out ---------------------------------------------------------------------------

    async def deliver(self, batch: Sequence[Outgoing]) -> Sequence[Receipt]:
        """Say each, and wait for what the server answers."""
        receipts: dict[int, Receipt] = {}
        open_: list[tuple[Outgoing, _Way, Fence]] = []
        together: dict[int, list[Outgoing]] = {}
        """Reactions that are told in one line, by the first of them."""
        for plain in batch:
            try:
                one = await self._linked(plain)
            except Offline:
                break  # the relay has the file: this waits for it, and what is behind it too
            voice = self._voice(one)
            told = isinstance(voice, _Voice) and self._reacts(voice.connection, one)
            if one.kind is Kind.REACTION and isinstance(voice, _Voice) and not told:
                same = (x[0] for x in together.values() if x[0].target == one.target)
                together.setdefault(next(same, one).number, []).append(one)
                continue
            if isinstance(voice, str):
                receipts[one.number] = Receipt(one.number, State.FAILED, (), voice)
                continue
            if open_ and (voice is None or voice.connection is not open_[-1][1].voice.connection):
                # Nothing overtakes what another connection says.
                await _wait(open_)
                if not all(fence.proven for _, _, fence in open_):
                    voice = None
            if voice is None:
                break
            said = await self._deliver_one(voice, one)
            if isinstance(said, Receipt):
                receipts[one.number] = said
            else:
                open_.append((one, *said))
        for several in together.values():
            voice = self._voice(several[0])
            relay = self._connection
            if isinstance(voice, _Voice) and relay is not None:
                way = _Way(_Voice(relay), _reaction_line(relay, several))
                fence = way.voice.connection.open_fence(several[0].place)
                await self._say(several[0], way, fence)
                open_.extend((one, way, fence) for one in several)
        await _wait(open_)
        for one, way, fence in open_:
            receipts[one.number] = self._receipt(one, way, fence)
        for one in batch:
            receipts.setdefault(one.number, Receipt(one.number, State.QUEUED))
        return list(receipts.values())

    async def _linked(self, one: Outgoing) -> Outgoing:
        """With the link that it is told with, if that is how it is told. Raises `Offline`."""
        relay = self._connection
        if relay is None:
            return one
        room = budget(relay.nick, relay.user, relay.host, one.place)
        if not wants_link(one, room, self.places[one.place].options):
            return one
        return evolve(one, link=await self.host.link(one))

    def _voice(self, one: Outgoing) -> _Voice | str | None:
        """Who says it: the member's puppet, or the bridge's own nick; None: nobody can now."""
        relay = self._connection
        if relay is None or relay.lost or one.place not in self._joined:
            return None
        mode, author = self.places[one.place].options.mode, one.author
        if author is None or one.kind in (Kind.NOTE, Kind.TOPIC):
            return _Voice(relay)
        if mode == "relaymsg" and _RELAYED in relay.caps and one.kind in (Kind.MESSAGE, Kind.EDIT):
            separators = relay.login.offered.get(_RELAYED, "") or "/"
            length = relay.isupport.get("NICKLEN", "")
            limit = int(length) if length.isdecimal() else 0
            return _Voice(relay, relayed=relayed_nick(author.name, separators, limit))
        if self._puppets is not None and mode == "puppets" and not author.network:
            found = self._puppets.voice(one.place, author)
            if isinstance(found, str):
                return found
            if found is not None:
                return _Voice(found, author.mid.hex())
        return _Voice(relay)

    async def _deliver_one(self, voice: _Voice, one: Outgoing) -> Receipt | tuple[_Way, Fence]:
        if one.kind is Kind.REACTION or (
            one.kind is Kind.REDACTION and _REDACT in voice.connection.caps and one.remote_ids
        ):
            fence = voice.connection.open_fence(one.place)
            await self._tell(one, voice.connection, fence)
            return _Way(voice, []), fence
        way = _Way(voice, self._lines(voice, one))
        if not way.lines and one.kind is not Kind.TOPIC:
            return Receipt(one.number, State.DROPPED)
        skipped: tuple[str, ...] = ()
        if one.again:
            found, skipped = self._arrived(one, way)
            if found is not None and len(skipped) == len(found.lines):
                return Receipt(one.number, State.CONFIRMED, tuple(x for x in skipped if x))
            if found is not None and found.voice == voice:
                way = _Way(voice, found.lines)  # the rest of it, as it was begun
            else:
                skipped = ()
        fence = voice.connection.open_fence(one.place)
        await self._say(one, _Way(voice, way.lines[len(skipped) :]), fence)
        return way, fence

    def _reacts(self, connection: Connection, one: Outgoing) -> bool:
        """Whether a reaction can be told as such: the line has an id, and the tags pass."""
        denied = connection.isupport.get("CLIENTTAGDENY", "").split(",")
        refused = "*" in denied and f"-{_REACT[1:]}" not in denied
        tags = "message-tags" in connection.caps and not refused and _REACT[1:] not in denied
        return tags and bool(one.remote_ids)

    async def _tell(self, one: Outgoing, connection: Connection, fence: Fence) -> None:
        """Take a message back, or react to it, where the server knows what that is."""
        try:
            if one.kind is Kind.REDACTION:
                for msgid in one.remote_ids:
                    await connection.paced()
                    await connection.say(fence, "REDACT", (one.place, msgid), {})
            else:
                await connection.paced()
                name = _UNREACT if one.withdrawn else _REACT
                tags = {name: one.emoji, _REPLY: one.remote_ids[0]}
                await connection.say(fence, "TAGMSG", (one.place,), tags)
            await connection.close_fence(fence)
        except Lost:
            fence.done.set()

    def _lines(self, voice: _Voice, one: Outgoing) -> list[str]:
        connection = voice.connection
        options = self.places[one.place].options
        nick, user, host = connection.nick, connection.user, connection.host
        room = budget(voice.relayed or nick, user, host, one.place)
        if voice.relayed:
            room -= len(f" {voice.relayed}".encode())
        return render(one, room, options, attributed=voice.attributed)

    def _arrived(self, one: Outgoing, now: _Way) -> tuple[_Way | None, tuple[str, ...]]:
        """How much of it the server has shown as said, and in which of the ways it may have been.

        When it was first said it had no mark of doubt, perhaps another time, another nick.
        """
        relay = self._connection
        voices = [now.voice]
        if not now.voice.attributed and relay is not None:
            voices.append(_Voice(relay))
        elif one.author is not None and self._puppets is not None and not one.author.network:
            voices.append(_Voice(now.voice.connection, one.author.mid.hex()))
        ways = [
            _Way(voice, self._lines(voice, evolve(one, again=again, late=late)))
            for voice in voices
            for again in (False, True)
            for late in (False, True)
        ]
        claims = [
            (one.voice.who or (f"relayed/{one.voice.relayed}" if one.voice.relayed else ""), one)
            for one in ways
        ]
        at, ids = self._own.claim(one.place, [(who, way.lines) for who, way in claims], one.ts)
        return (None, ()) if at < 0 else (ways[at], ids)

    async def _say(self, one: Outgoing, way: _Way, fence: Fence) -> None:
        """Say it; what is not said because the connection is lost has no proof, and waits."""
        connection = way.voice.connection
        tags = {}
        if "message-tags" in connection.caps:
            if one.path:
                tags[ORIGIN_TAG] = ",".join(one.path)
            if one.reply_to is not None and one.reply_to.remote_ids:
                tags[_REPLY] = one.reply_to.remote_ids[0]
        own = one.kind in (Kind.NOTE, Kind.REACTION)
        noted = own and self.places[one.place].options.notes == "notice"
        try:
            if one.kind is Kind.TOPIC:
                await connection.paced()
                topic = plain_text(one.document).replace("\n", " ")
                await connection.say(fence, "TOPIC", (one.place, mirc.clean(topic)), {})
            for text in way.lines:
                await connection.paced(len(text))
                if way.voice.relayed:
                    params = (one.place, way.voice.relayed, text)
                    await connection.say(fence, "RELAYMSG", params, tags)
                else:
                    command = "NOTICE" if noted else "PRIVMSG"
                    await connection.say(fence, command, (one.place, text), tags)
            await connection.close_fence(fence)
        except Lost:
            fence.done.set()

    def _receipt(self, one: Outgoing, way: _Way, fence: Fence) -> Receipt:
        if fence.errors:
            return Receipt(one.number, State.FAILED, (), fence.errors[0])
        if not (fence.proven or fence.all_answered):
            return Receipt(one.number, State.QUEUED, doubtful=fence.began)
        # What came back of it proves nothing else.
        who = way.voice.who or (f"relayed/{way.voice.relayed}" if way.voice.relayed else "")
        self._own.claim(one.place, [(who, way.lines)], one.ts)
        labelled = [said for said in fence.said if said.label]
        proven = not labelled or all(said.answered for said in labelled)
        return Receipt(one.number, State.CONFIRMED if proven else State.SENT, fence.ids)

    # -- check -----------------------------------------------------------------------------------

    async def check(self, report: Callable[[Finding], None]) -> None:
        """Connect, log in, join each channel."""
        settings = self.settings
        where = f"{settings.server}:{settings.port}"
        try:
            dialer = Dialer(settings, open_=self.open_stream)
            connection = await dialer.connect(credentials_of(settings))
        except (NetworkError, ConfigError) as error:
            report(Finding(False, f"{where}: {error}"))
            return
        report(Finding(True, f"{where}: connected as {connection.nick}"))
        if not connection.login.secure:
            report(Finding(False, f"{where}: without TLS anybody on the way reads along"))
        if connection.nick != settings.nick:
            report(Finding(False, f"{where}: the nick {settings.nick} is taken"))
        missing = {"message-tags", "server-time"} - connection.caps
        if missing:
            report(
                Finding(True, f"{where}: without {', '.join(sorted(missing))}, and that is fine")
            )
        await self._check_places(connection, report)
        await connection.aclose()

    async def _check_places(
        self, connection: Connection, report: Callable[[Finding], None]
    ) -> None:
        open_places = {connection.fold(place): place for place in self.places}
        joined = trio.Event()

        async def look(line: Line) -> None:
            if line.command == "JOIN" and connection.is_me(line.nick):
                report(Finding(True, f"{open_places.pop(connection.fold(line[0]))}: joined"))
            elif line.command in JOIN_ERRORS:
                place = open_places.pop(connection.fold(line[1]), line[1])
                report(Finding(False, f"{place}: {line.params[-1]}"))
            if not open_places:
                joined.set()

        with trio.move_on_after(_CHECK_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connection.run, look)
                for place, info in self.places.items():
                    key = [info.options.key] if info.options.key else []
                    await connection.send("JOIN", place, *key)
                await joined.wait()
                nursery.cancel_scope.cancel()
        for place in open_places.values():
            report(Finding(False, f"{place}: the server does not answer the JOIN"))


def _reaction_line(connection: Connection, several: Sequence[Outgoing]) -> list[str]:
    """One line, cut off where there are too many."""
    room = budget(connection.nick, connection.user, connection.host, several[0].place)
    return split([mirc.Run(reaction_words(several))], room)[:1]


async def _wait(open_: Sequence[tuple[Outgoing, _Way, Fence]]) -> None:
    with trio.move_on_after(_PROOF_SECONDS):
        for _, _, fence in open_:
            await fence.done.wait()


def _path(tag: str) -> tuple[str, ...]:
    """Where a line has been, as it says; as much of it as counts, for it goes on to others."""
    return tuple(one[:_HOP_CHARACTERS] for one in tag.split(",") if one)[:MAX_HOPS]


def _author(line: Line) -> Author:
    return Author(line.mask, line.nick, line.tags.get("account", ""))
