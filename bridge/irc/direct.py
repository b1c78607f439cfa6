"""Private messages between people on IRC and members, by the members' puppets (trio).

Only for a member who asked for it: they make a room of their own, and give the bridge an invite to
it. What is said to their puppet alone stands there and nowhere else, and what they answer goes from
the puppet's nick to who wrote, if that nick still is theirs. Nothing is carried while anybody else
is in that room, and nothing that anybody else said there.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Final

import trio
from attrs import evolve

from bridge.core.model import Author, Kind, Outgoing, Receipt, RemoteMessage, State, Verdict
from bridge.irc import mirc
from bridge.irc.answers import Answers
from bridge.irc.asking import Who
from bridge.irc.connection import Connection, Lost
from bridge.irc.people import People, is_same
from bridge.irc.rendering import render
from bridge.irc.settings import IrcPlace
from bridge.irc.shared import Shared
from bridge.irc.splitting import budget
from bridge.irc.wire import Line, fold, said_there, time_of
from ofcd.client import Offline, lite
from ofcd.errors import OfcError
from ofcd.protocol.ids import MemberId, RoomId
from ofcd.protocol.rates import TokenBuckets

__all__ = ["PLACE", "Direct", "is_service"]

PLACE: Final = "private/"
"""Begins a place of this kind; the member's id follows."""
_WORD: Final = "dm"
_OPTIONS: Final = IrcPlace(long="clip", max_lines=10)
_ADDRESSED: Final = re.compile(r"([^\s:,]{1,64}):\s+")
_ANYBODY: Final = re.compile(r"!msg\s+([^\s:,]{1,64})\s+")
_NICK: Final = re.compile(r"[A-Za-z\[\]\\`_^{|}][A-Za-z0-9\[\]\\`_^{|}-]*")
_CLOSED: Final = "They do not read private messages from here. Write in the channel."
_FAILED: Final = "That was not delivered."
_PROOF_SECONDS: Final = 90.0
_OWNER_TABLE: Final = "private"
_QUESTION_BYTES: Final = 512
"""What asking for somebody's address costs, in the pace of a line."""
_SERVICES: Final = frozenset({"q", "x", "l", "w", "global"})
"""Services that do not end with "serv"; those of a bouncer begin with `*`."""
_NO_SERVICE: Final = "that nick is one of services, which take commands: I do not write to it"
_HOW: Final = "answer a message, or begin with the nick and a colon: kim: hi"
_HELP: Final = (
    "Private messages on {name}: make a room of your own here, an invite for a bridge, and say "
    "!bridge {name} dm LINK; what is said to your nick there alone then stands in that room. "
    "!bridge {name} dm off ends it."
)


_Named = tuple[str, lite.Document, bool]


class Direct:
    """Private messages of one network."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._people = People(shared.host)
        self._asked = TokenBuckets(burst=3, per_second=3 / 3600, max_keys=1000)
        self._told = Answers(shared.host.now)
        """Of their own: however many strangers ask, who was not delivered hears so."""
        self._life = f"{random.getrandbits(64):016x}"
        self._number = 0
        self._is_up = False
        self._why = "not connected yet"

    # -- what members say of it ------------------------------------------------------------------

    def command(self, room: RoomId, mid: MemberId, words: Sequence[str]) -> str | None:
        """`!bridge NAME dm …`: the answer; None: it is something else."""
        if [one.casefold() for one in words[1:2]] != [_WORD]:
            return None
        name, host, place = self._shared.settings.name, self._shared.host, PLACE + mid.hex()
        if self._shared.puppets is None:
            return f"On {name} members have no nicks of their own, and so no private messages."
        if [one.casefold() for one in words[2:]] == ["off"]:
            gone = host.detach(place)
            self._people.forget(place)
            return f"Private messages on {name}: {'no more' if gone else 'there were none'}."
        if len(words) != 3:
            return _HELP.format(name=name)
        if self._asked.take(mid, host.now()):
            return "Not so often: try again in a while."
        try:
            owner = host.attach(place, room, mid, words[2])
        except OfcError as error:
            return f"That does not work: {error}"
        with host.transaction() as tx:
            tx.put(host.table(_OWNER_TABLE), place.encode(), bytes(owner))
        self.ready(self._is_up, self._why)
        return f"I join that room: private messages to you on {name} will stand there."

    def ready(self, on: bool, why: str = "") -> None:
        """Whether the network is there."""
        self._is_up, self._why = on, why
        for place in self._shared.host.attached():
            self._shared.host.ready(place, on, why)

    def _owner(self, place: str) -> MemberId | None:
        """Whose room that of a place is."""
        host = self._shared.host
        owner = host.vault.get(host.table(_OWNER_TABLE), place.encode())
        return None if owner is None else MemberId(owner)

    def _is_alone(self, place: str) -> bool:
        """Whether nobody but its owner, and the bridge itself, is in the room of a place."""
        owner = self._owner(place)
        return owner is not None and self._shared.host.is_alone(place, owner)

    # -- what comes in ---------------------------------------------------------------------------

    async def hear(self, connection: Connection, who: str, line: Line) -> None:
        """Something was said to a member's puppet alone, and is no CTCP but an action."""
        place, text = PLACE + who, line[1]
        if not line.user:
            return  # the server's own word
        if place not in self._shared.host.attached() or not self._is_alone(place):
            await self._shared.answers.tell(connection, line, _CLOSED)
            return
        action = text.startswith("\1")
        words = text.strip("\1").partition(" ")[2] if action else text
        rows = [runs for one in words.split("\n") if (runs := mirc.decode(one))]
        lines = tuple(mirc.line_of(runs) for runs in rows)
        document: lite.Document = (lite.Paragraph(lines),) if lines else ()
        account = line.tags.get("account", "")
        verdict = await self._shared.host.take(
            RemoteMessage(
                place=place,
                id=f"{line.mask} {self._id_of(line)} {account}".rstrip(),
                author=Author(line.mask, line.nick, account),
                ts=time_of(line),
                document=document,
                action=action,
            )
        )
        if verdict is Verdict.TAKEN:
            warning = self._people.remember(place, line)
            if warning is not None:
                self._shared.host.notice(place, warning, key=f"somebody else/{fold(line.nick)}")
        elif verdict is not Verdict.DUPLICATE:
            await self._told.tell(connection, line, _FAILED)

    def _id_of(self, line: Line) -> str:
        if msgid := line.tags.get("msgid"):
            return sha256(msgid.encode()).hexdigest()[:32]
        self._number += 1
        return f"{self._life}/{self._number}"

    # -- what goes out ---------------------------------------------------------------------------

    async def deliver(self, batch: Sequence[Outgoing]) -> list[Receipt]:
        """What the member says in that room, one after the other."""
        receipts: list[Receipt] = []
        for one in batch:
            waits = bool(receipts) and receipts[-1].state is State.QUEUED
            receipts.append(Receipt(one.number, State.QUEUED) if waits else await self._one(one))
        return receipts

    async def _one(self, one: Outgoing) -> Receipt:
        if one.kind in (Kind.EDIT, Kind.REDACTION):
            return self._failed(one, "what was said to one alone stays as it was said")
        if one.kind is not Kind.MESSAGE or one.author is None:
            return Receipt(one.number, State.DROPPED)
        if not self._is_alone(one.place):
            return self._failed(one, "somebody else is in this room: it has to be yours alone")
        if one.author.network or one.author.mid != self._owner(one.place):
            return self._failed(one, "only whose room this is speaks from their nick")
        found = self._addressee(one)
        if isinstance(found, str):
            return self._failed(one, found)
        nick, whom, said = found
        connection = self._connection(one.place)
        if isinstance(connection, str):
            return self._failed(one, connection)
        if connection is None:
            return Receipt(one.number, State.QUEUED)
        try:
            said = evolve(said, link=await self._link(said))
            return await self._say(connection, nick, whom, said)
        except (Lost, Offline):
            return Receipt(one.number, State.QUEUED)

    def _addressee(self, one: Outgoing) -> tuple[str, Who | None, Outgoing] | str:
        """Whom it is for, who that was when they wrote (None: whoever has the nick), what it says.

        Nobody is guessed: what was meant for one must not reach another. Words: why nobody.
        """
        named = _named(one)
        if one.reply_to is not None and one.reply_to.remote_ids:
            mask, *more = one.reply_to.remote_ids[0].split(" ")
            nick, _, where = mask.partition("!")
            if not where:
                return _HOW
            if named is not None and self._is_another(one.place, nick, named):
                return f"it answers {nick} and begins with {named[0]}: whom is it for?"
            whom = Who(where, more[1] if len(more) > 1 else "")
            return _NO_SERVICE if is_service(nick) else (nick, whom, evolve(one, reply_to=None))
        if named is None:
            return _HOW
        nick, document, anybody = named
        if is_service(nick):
            return _NO_SERVICE
        known = self._people.of(one.place, nick)
        if known is None and not anybody:
            return (
                f"{nick} has not written to you here: for whoever has that nick now, begin with "
                f"!msg {nick}"
            )
        return nick, None if anybody else known, evolve(one, document=document, reply_to=None)

    def _is_another(self, place: str, nick: str, named: _Named) -> bool:
        """Whether a message names somebody known here who is not who has `nick`."""
        known = named[2] or self._people.of(place, named[0]) is not None
        return known and fold(named[0]) != fold(nick)

    def _failed(self, one: Outgoing, why: str) -> Receipt:
        return Receipt(one.number, State.FAILED, (), why)

    def _connection(self, place: str) -> Connection | str | None:
        shared = self._shared
        if shared.puppets is None:
            return "members have no nicks of their own there any more"
        places = [one for one, info in shared.places.items() if info.options.mode == "puppets"]
        return shared.puppets.direct(MemberId(bytes.fromhex(place.removeprefix(PLACE))), places)

    async def _link(self, one: Outgoing) -> str | None:
        return await self._shared.host.link(one) if one.file is not None else None

    async def _say(
        self, connection: Connection, nick: str, whom: Who | None, one: Outgoing
    ) -> Receipt:
        """Say it to `whom`; None: to whoever has the nick when it begins, and nobody else.

        Before each line the server is asked who has the nick: what waits for its turn may wait
        for long, and nicks change hands.
        """
        room = budget(connection.nick, connection.user, connection.host, nick)
        pieces = render(one, room, _OPTIONS, attributed=False)
        if not pieces:
            return self._failed(one, "there is nothing in it that can be shown")
        fence = connection.open_fence(nick)
        wrong: str | None = None
        with suppress(Lost):
            for piece in pieces:
                await connection.paced(len(piece.text.encode()) + _QUESTION_BYTES)
                by_account = whom is not None and bool(whom.account)
                there = await connection.who_is(nick, account=by_account)
                whom = whom or there
                if there is None or whom is None or not is_same(whom, there):
                    wrong = "" if there is None else _wrong(nick, whom)
                    break
                await connection.say(fence, "PRIVMSG", (nick, piece.text), {})
            await connection.close_fence(fence)
            with trio.move_on_after(_PROOF_SECONDS):
                await fence.done.wait()
        if wrong:
            began = f": {len(fence.said)} of {len(pieces)} lines were said" if fence.began else ""
            return self._failed(one, wrong + began)
        if fence.errors:
            reason = said_there(fence.errors[0], connection.login.who.secrets)
            return self._failed(one, reason or "it was refused")
        if wrong is not None or not (fence.proven or fence.all_answered):
            return Receipt(one.number, State.QUEUED, doubtful=fence.began)
        return Receipt(one.number, State.SENT)


def _named(one: Outgoing) -> _Named | None:
    """The nick that a message begins with, the words behind it, and whether anybody is meant."""
    match one.document:
        case (lite.Paragraph(lines=((lite.Text(text), *line), *lines)), *blocks):
            anybody = _ANYBODY.match(text)
            found = anybody or _ADDRESSED.match(text)
            if found is None or not _NICK.fullmatch(found[1]):
                return None
            first = (lite.Text(text[found.end() :]), *line)
            return found[1], (lite.Paragraph((first, *lines)), *blocks), anybody is not None
        case _:
            return None


def _wrong(nick: str, whom: Who | None) -> str:
    if whom is not None and whom.account:
        return f"{nick} is not there now, or is not logged in as {whom.account}"
    return f"{nick} is not there now, or is somebody else"


def is_service(nick: str) -> bool:
    """Whether it takes commands: those for the bridge's connections are not a member's."""
    folded = nick.casefold()
    return folded.endswith("serv") or folded.startswith("*") or folded in _SERVICES
