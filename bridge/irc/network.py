"""IRC as a network of the bridge: one connection, one nick, attributed lines (trio)."""

from __future__ import annotations

import random
import re
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import ClassVar, Final

import trio

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
    RemoteTopic,
    State,
)
from bridge.core.network import Finding, Network, PlaceInfo
from bridge.irc import mirc
from bridge.irc.connection import Connection, Fence, Lost, open_stream
from bridge.irc.login import Credentials, Login
from bridge.irc.presence import Presence
from bridge.irc.rendering import render
from bridge.irc.settings import IrcPlace, IrcSettings
from bridge.irc.splitting import budget
from bridge.irc.wire import Line, fold
from ofcd.client import lite
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
_OWN_LINES: Final = 500
_HOP_CHARACTERS: Final = 16
_PAGE: Final = 100
_JOIN_ERRORS: Final = frozenset({"403", "405", "471", "473", "474", "475", "476", "477", "489"})
_HISTORY: Final = frozenset({"chathistory", "playback", "znc.in/playback"})
_CHECK_SECONDS: Final = 30.0
_LATE: Final = re.compile(r"^\[\d\d:\d\d UTC\] ")


class IrcNetwork(Network[IrcSettings, IrcPlace]):
    """One IRC network."""

    kind: ClassVar[str] = "irc"
    Settings = IrcSettings
    PlaceSettings = IrcPlace
    max_age: ClassVar[int] = 600

    def __init__(self, settings: IrcSettings, places: Sequence[PlaceInfo[IrcPlace]]) -> None:
        super().__init__(settings, places)
        self._connection: Connection | None = None
        self._joined: set[str] = set()
        self._by_fold: dict[str, str] = {}
        self._own: dict[str, deque[str]] = {}
        """Own lines that were seen at a place, in echoes and in played-back history."""
        self._batches: dict[str, str] = {}
        self._number = 0
        self._life = f"{random.getrandbits(64):016x}"
        self._ctcp = TokenBuckets(burst=3, per_second=0.1, max_keys=1)
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
            if trio.current_time() - began > 120:
                wait = _BACK_OFF[0]
            if "throttl" in why.casefold() or "too fast" in why.casefold():
                wait = max(wait, _THROTTLED_SECONDS)
            self.host.log.warning("not connected", reason=why, again_in=round(wait))
            await trio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            wait = min(_BACK_OFF[1], wait * 2)

    async def _one_life(self) -> str:
        connection: Connection | None = None
        try:
            connection = await self._connect()
            self._connection = connection
            self._joined.clear()
            self.host.log.info("connected", nick=connection.nick, caps=sorted(connection.caps))
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._join_all, connection)
                nursery.start_soon(self._regain_nick, connection)
                nursery.start_soon(self._tell_presence)
                why = await connection.run(self._take)
                nursery.cancel_scope.cancel()
            return why
        except (NetworkError, ConfigError) as error:
            return str(error)
        finally:
            self._connection = None
            if connection is not None:
                with trio.CancelScope(shield=True):
                    await connection.aclose()

    async def _connect(self) -> Connection:
        settings = self.settings
        tls, port = settings.tls, settings.port
        policy = self._policy()
        if policy is not None and not tls:
            tls, port = True, policy
        stream = await open_stream(settings, tls=tls, port=port)
        connection = Connection(settings, stream, Login(_credentials(settings)))
        try:
            await connection.register()
            sts = connection.login.offered.get("sts", "")
            upgrade = self._obey_sts(sts, tls=tls)
            if upgrade is not None:
                await connection.aclose()
                stream = await open_stream(settings, tls=True, port=upgrade)
                connection = Connection(settings, stream, Login(_credentials(settings)))
                await connection.register()
                self._obey_sts(connection.login.offered.get("sts", ""), tls=True)
        except BaseException:
            with trio.CancelScope(shield=True):
                await connection.aclose()
            raise
        return connection

    # -- STS -------------------------------------------------------------------------------------

    def _policy(self) -> int | None:
        """The port at which this server wants TLS, if it has said so and that still holds."""
        raw = self.host.vault.get(self.host.table("sts"), self.settings.server.encode())
        if raw is None:
            return None
        port, _, until = raw.decode().partition(" ")
        return int(port) if int(until) > self.host.now() else None

    def _obey_sts(self, value: str, *, tls: bool) -> int | None:
        """Keep what the server says by TLS; without it, the port to go to at once."""
        said = dict(one.partition("=")[::2] for one in value.split(",") if one)
        if not tls:
            return int(said["port"]) if said.get("port", "").isdecimal() else None
        if said.get("duration", "").isdecimal():
            seconds = int(said["duration"])
            with self.host.transaction() as tx:
                key = self.settings.server.encode()
                if seconds:
                    until = self.host.now() + seconds * 1000
                    record = f"{self.settings.port} {until}".encode()
                    tx.put(self.host.table("sts"), key, record)
                else:
                    tx.delete(self.host.table("sts"), key)
        return None

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
        """Ask for the own nick again while another is worn."""
        with suppress(Lost):
            while True:
                await trio.sleep(_REGAIN_SECONDS)
                if not connection.is_me(self.settings.nick):
                    await connection.send("NICK", self.settings.nick)

    # -- what comes in ---------------------------------------------------------------------------

    async def _take(self, line: Line) -> None:
        connection = self._connection
        if connection is None:
            return
        match line.command:
            case "PRIVMSG" | "NOTICE":
                await self._message(connection, line)
            case "JOIN" if connection.is_me(line.nick):
                await self._is_in(connection, line[0])
            case "PART" if connection.is_me(line.nick):
                self._is_out(connection, line[0], "the bridge was made to leave the channel")
            case "KICK" if connection.is_me(line[1]):
                why = f"{line.nick} kicked the bridge out: {line[2]}"
                self._is_out(connection, line[0], why)
            case "JOIN" | "PART" | "KICK" | "QUIT" | "NICK" | "353" | "366":
                self._presence.take(line, connection.fold, trio.current_time())
            case "TOPIC" if not connection.is_me(line.nick):
                await self._topic(connection, line)
            case "BATCH":
                if line[0].startswith("+"):
                    self._batches[line[0][1:]] = line[1]
                else:
                    self._batches.pop(line[0][1:], None)
            case command if command in _JOIN_ERRORS:
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
        if "draft/chathistory" in connection.caps:
            await connection.send("CHATHISTORY", "LATEST", place, "*", str(_PAGE))
        if self._since(place) is None:
            with self.host.transaction() as tx:
                now = self.host.now().to_bytes(8, "big")
                tx.put(self.host.table("since"), place.encode(), now)
        if self._nursery is not None:
            self._nursery.start_soon(self._ready_behind_history, connection, place)

    async def _ready_behind_history(self, connection: Connection, place: str) -> None:
        """What was under way when a link broke may be in what the server plays back now."""
        with suppress(Lost):
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

    def _since(self, place: str) -> int | None:
        """When the bridge first came: nothing that was said before is taken."""
        raw = self.host.vault.get(self.host.table("since"), place.encode())
        return None if raw is None else int.from_bytes(raw, "big")

    async def _message(self, connection: Connection, line: Line) -> None:
        place = self._by_fold.get(connection.fold(line[0]))
        text = line[1]
        action = False
        if text.startswith("\1"):
            command, _, rest = text.strip("\1").partition(" ")
            if command.upper() != "ACTION":
                if line.command == "PRIVMSG" and not connection.is_me(line.nick):
                    await self._answer_ctcp(connection, line.nick, command.upper(), rest)
                return
            text, action = rest, True
        if place is None:
            return
        if connection.is_me(line.nick):
            # Layer 1 of the loop guard: the bridge's own words, echoed or played back.
            self._own.setdefault(place, deque(maxlen=_OWN_LINES)).append(text)
            return
        ts = _time_of(line)
        played = self._batches.get(line.tags.get("batch", ""), "") in _HISTORY
        since = self._since(place)
        if played and ts is not None and since is not None and ts < since:
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
                reply_to=line.tags.get("+draft/reply", ""),
                mentions=self._mentions(place, mirc.plain(runs)),
            )
        )

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
        found = []
        for one in self.host.members(place):
            name = one.author.name
            at = text.casefold().find(name.casefold())
            begins = at == 0 and text[len(name) : len(name) + 1] in (":", ",", "")
            if begins or f"@{name.casefold()}" in text.casefold():
                found.append(one.author.mid)
        return tuple(found[:16])

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
                ts=_time_of(line),
                topic=mirc.plain(mirc.decode(line[1])),
            )
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
        """Say each, with a fence behind it, and wait for what the server answers."""
        connection = self._connection
        receipts: dict[int, Receipt] = {}
        fences: list[tuple[Outgoing, Fence]] = []
        for one in batch:
            if connection is None or connection.lost or one.place not in self._joined:
                receipts[one.number] = Receipt(one.number, State.QUEUED)
                continue
            lines = self._lines(connection, one)
            if not lines and one.kind is not Kind.TOPIC:
                receipts[one.number] = Receipt(one.number, State.DROPPED)
            elif one.again and self._arrived(one.place, lines):
                receipts[one.number] = Receipt(one.number, State.CONFIRMED)
            else:
                fence = connection.open_fence(one.place)
                fences.append((one, fence))
                await self._say(connection, one, lines, fence)
        with trio.move_on_after(_PROOF_SECONDS):
            for _, fence in fences:
                await fence.done.wait()
        for one, fence in fences:
            receipts[one.number] = _receipt(one, fence)
        return list(receipts.values())

    def _lines(self, connection: Connection, one: Outgoing) -> list[str]:
        options = self.places[one.place].options
        room = budget(connection.nick, connection.user, connection.host, one.place)
        return render(one, room, options)

    async def _say(
        self, connection: Connection, one: Outgoing, lines: Sequence[str], fence: Fence
    ) -> None:
        """Say it; what is not said because the connection is lost has no proof, and waits."""
        tags = {}
        if "message-tags" in connection.caps and one.path:
            tags[ORIGIN_TAG] = ",".join(one.path)
        noted = one.kind is Kind.NOTE and self.places[one.place].options.notes == "notice"
        try:
            if one.kind is Kind.TOPIC:
                await connection.paced()
                topic = plain_text(one.document).replace("\n", " ")
                await connection.send("TOPIC", one.place, mirc.clean(topic))
            for text in lines:
                await connection.paced(len(text))
                fence.began = True
                command = "NOTICE" if noted else "PRIVMSG"
                await connection.send(command, one.place, text, tags=tags)
            await connection.close_fence(fence)
        except Lost:
            fence.done.set()

    def _arrived(self, place: str, lines: Sequence[str]) -> bool:
        """Whether the server has shown these lines as said, in its history."""
        seen = list(self._own.get(place, ()))
        plain = [mirc.plain(mirc.decode(one)).replace("(again?) ", "", 1) for one in lines]
        known = {_without_time(mirc.plain(mirc.decode(one))) for one in seen}
        return all(_without_time(one) in known for one in plain)

    # -- check -----------------------------------------------------------------------------------

    async def check(self, report: Callable[[Finding], None]) -> None:
        """Connect, log in, join each channel."""
        settings = self.settings
        where = f"{settings.server}:{settings.port}"
        try:
            stream = await open_stream(settings, tls=settings.tls, port=settings.port)
            connection = Connection(settings, stream, Login(_credentials(settings)))
            try:
                await connection.register()
            except BaseException:
                await connection.aclose()
                raise
        except (NetworkError, ConfigError) as error:
            report(Finding(False, f"{where}: {error}"))
            return
        report(Finding(True, f"{where}: connected as {connection.nick}"))
        if not settings.tls:
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
            elif line.command in _JOIN_ERRORS:
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


def _receipt(one: Outgoing, fence: Fence) -> Receipt:
    if fence.errors:
        return Receipt(one.number, State.FAILED, (), fence.errors[0])
    if fence.proven:
        return Receipt(one.number, State.CONFIRMED, tuple(fence.ids))
    return Receipt(one.number, State.QUEUED, doubtful=fence.began)


def _path(tag: str) -> tuple[str, ...]:
    """Where a line has been, as it says; as much of it as counts, for it goes on to others."""
    return tuple(one[:_HOP_CHARACTERS] for one in tag.split(",") if one)[:MAX_HOPS]


def _author(line: Line) -> Author:
    return Author(line.mask, line.nick, line.tags.get("account", ""))


def _time_of(line: Line) -> int | None:
    try:
        return int(datetime.fromisoformat(line.tags["time"]).timestamp() * 1000)
    except (KeyError, ValueError, OverflowError):
        return None


def _without_time(text: str) -> str:
    return _LATE.sub("", text, count=1)


def _credentials(settings: IrcSettings) -> Credentials:
    return Credentials(
        nick=settings.nick,
        username=settings.username,
        realname=settings.realname,
        server_password=_secret(settings.password_file),
        account=settings.account,
        password=_secret(settings.account_password_file),
        has_certificate=bool(settings.client_cert_file),
        sasl_required=settings.sasl == "required",
    )


def _secret(file: str) -> str:
    if not file:
        return ""
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"the password file {file} can not be read: {error.strerror}") from None
