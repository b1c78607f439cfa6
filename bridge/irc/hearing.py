"""What others say and do, handed to the rooms: words, topics, reactions, presence (trio)."""

from __future__ import annotations

import random
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

import trio

from bridge.core.guard import MAX_HOPS
from bridge.core.model import (
    Author,
    RemoteMessage,
    RemoteNote,
    RemoteReaction,
    RemoteRedaction,
    RemoteTopic,
)
from bridge.irc import mirc
from bridge.irc.channels import Channels
from bridge.irc.connection import Connection, Lost
from bridge.irc.direct import Direct
from bridge.irc.history import History
from bridge.irc.paging import Paging
from bridge.irc.rendering import MORE
from bridge.irc.shared import MADE, ORIGIN_TAG, REACT, REPLY, Shared
from bridge.irc.strangers import Strangers
from bridge.irc.wire import Line, time_of
from ofcd.client import lite
from ofcd.protocol.ids import MemberId
from ofcd.protocol.rates import TokenBuckets

__all__ = ["Hearing"]

_HOP_CHARACTERS: Final = 16
_OLD_MS: Final = 300_000
"""By which a line's time shows that it is not of now."""


class Hearing:
    """Takes what one network's server passes on."""

    def __init__(self, shared: Shared, channels: Channels, direct: Direct, paging: Paging) -> None:
        self._shared = shared
        self._paging = paging
        self._direct = direct
        self._channels = channels
        self.strangers = Strangers(shared, channels)
        self.presence = shared.presence
        self._number = 0
        self._life = f"{random.getrandbits(64):016x}"
        self._ctcp = TokenBuckets(burst=1, per_second=0.1, max_keys=1)
        self._mentioned = TokenBuckets(burst=16, per_second=16 / 60, max_keys=1000)

    async def private(self, connection: Connection, who: str, line: Line) -> None:
        """Something was said to a member's puppet alone."""
        if line[1].startswith("\1") and not line[1].upper().startswith("\1ACTION "):
            command, _, rest = line[1].strip("\1").partition(" ")
            await self._answer_ctcp(connection, line.nick, command.upper(), rest)
        else:
            await self._direct.hear(connection, who, line)

    async def message(self, connection: Connection, line: Line, history: History) -> None:
        """A PRIVMSG or NOTICE, of now or played back."""
        place = self._shared.place_of(connection, line[0])
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
        if place is None and not played and connection.is_me(line[0]):
            if line.command == "PRIVMSG":
                await self.strangers.wrote(connection, line)
            return
        if place is None or counted:
            return
        ts = time_of(line)
        own = self._shared.own_nick(connection, line)
        if own is not None:
            # Layer 1 of the loop guard: the bridge's own words, echoed or played back.
            at = None if ts is None else ts - self._shared.skew
            msgid = line.tags.get("msgid", "")[:200]
            for number, part in enumerate(line.parts or (text,)):
                self._shared.own.saw(place, own, part, "" if number else msgid, at, number)
            return
        # Some that play back say so by the time alone.
        there = self._shared.host.now() + self._shared.skew
        late = played or (ts is not None and ts < there - _OLD_MS)
        since = self._channels.fact("since", place) if late else None
        if since is not None and ts is not None and ts < since + self._shared.skew:
            return
        asked = line.command == "PRIVMSG" and text.strip().casefold() == MORE
        if asked and not late and self._paging.ask(place, _author(line)):
            return
        rows = [runs for one in text.split("\n") if (runs := mirc.decode(one))]
        lines = tuple(mirc.line_of(runs) for runs in rows)
        document: lite.Document = (lite.Paragraph(lines),) if lines else ()
        await self._shared.host.take(
            RemoteMessage(
                place=place,
                id=self._id_of(line, place),
                author=_author(line),
                ts=ts,
                path=_path(line.tags.get(ORIGIN_TAG, "")),
                late=late,
                document=document,
                action=action,
                notice=line.command == "NOTICE",
                reply_to=line.tags.get(REPLY, "")[:200],
                mentions=self._mentions(
                    place, "\n".join(map(mirc.plain, rows)), line.host or line.nick
                ),
            )
        )
        if ts is not None:
            self._channels.saw(place, min(ts, there))

    def _id_of(self, line: Line, place: str) -> str:
        if msgid := line.tags.get("msgid"):
            return msgid[:200]
        if line.tags.get("time"):
            seen = "\0".join((line.tags["time"], line.nick, place, line[1])).encode()
            return MADE + sha256(seen).hexdigest()
        self._number += 1
        return f"{MADE}{self._life}/{self._number}"

    def _mentions(self, place: str, text: str, who: str) -> tuple[MemberId, ...]:
        """The members that are named: at the beginning, behind an @, or a puppet's nick anywhere.

        Nobody can call up members without end: `who` has so many mentions a minute.
        """
        members = self._shared.host.members(place)
        names = [(one.author.name, one.author.mid, False) for one in members]
        if self._shared.puppets is not None:
            names.extend((nick, mid, True) for nick, mid in self._shared.puppets.nicks().items())
        found = dict.fromkeys(mid for name, mid, sure in names if _names(text, name, sure))
        now = self._shared.host.now()
        return tuple(mid for mid in found if not self._mentioned.take(who, now))

    async def _answer_ctcp(
        self, connection: Connection, nick: str, command: str, rest: str
    ) -> None:
        """VERSION, PING and TIME, now and then; nothing else, DCC least of all (I9)."""
        if command not in ("VERSION", "PING", "TIME"):
            return
        if self._ctcp.take("", self._shared.host.now()):
            return
        now = datetime.fromtimestamp(self._shared.host.now() / 1000, UTC)
        answers = {"VERSION": "ofc-bridge", "PING": rest[:100], "TIME": f"{now:%c} UTC"}
        with suppress(Lost):
            answer = mirc.clean(answers[command])
            await connection.send("NOTICE", nick, f"\1{command} {answer}\1")

    async def topic(self, connection: Connection, line: Line) -> None:
        """A channel has another topic."""
        place = self._shared.place_of(connection, line[0])
        if place is None:
            return
        await self._shared.host.take(
            RemoteTopic(
                place=place,
                id=self._id_of(line, place),
                author=_author(line),
                ts=time_of(line),
                topic=mirc.plain(mirc.decode(line[1])),
            )
        )

    async def about(self, connection: Connection, line: Line) -> None:
        """A reaction to a line, or a line that was taken back."""
        place = self._shared.place_of(connection, line[0])
        if place is None:
            return
        ident, author = self._id_of(line, place), _author(line)
        target = line.tags.get(REPLY, "")[:200]
        if line.command == "REDACT":
            taken = RemoteRedaction(place=place, id=ident, author=author, target=line[1][:200])
            await self._shared.host.take(taken)
        elif target and line.tags.get(REACT):
            emoji = line.tags[REACT]
            await self._shared.host.take(
                RemoteReaction(place=place, id=ident, author=author, target=target, emoji=emoji)
            )

    async def tell_presence(self) -> None:
        """Who came and went, folded."""
        while True:
            await trio.sleep(1.0)
            for note in self.presence.due(trio.current_time()):
                self._number += 1
                ident = f"{self._life}/{self._number}"
                author = Author(note.mask or note.who, note.who)
                await self._shared.host.take(
                    RemoteNote(place=note.place, id=ident, author=author, text=note.text)
                )


def _names(text: str, name: str, sure: bool) -> bool:
    """Whether a text names somebody; `sure`: by a name that is no word of any language."""
    text, name = text.casefold(), name.casefold()
    at = text.find(name)
    while at >= 0:
        before, after = text[at - 1 : at] if at else "", text[at + len(name) :][:1]
        begins = not before and after in ("", ":", ",")
        if not after.isalnum() and (begins or before == "@" or (sure and not before.isalnum())):
            return True
        at = text.find(name, at + 1)
    return False


def _path(tag: str) -> tuple[str, ...]:
    """Where a line has been, as it says; as much of it as counts, for it goes on to others."""
    return tuple(one[:_HOP_CHARACTERS] for one in tag.split(",") if one)[:MAX_HOPS]


def _author(line: Line) -> Author:
    return Author(line.mask, line.nick, line.tags.get("account", ""), line.host)
