"""What the rooms say, said there: by whom, in how many lines, with what proof (I5, I7; trio)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trio
from attrs import evolve, field, frozen

from bridge.core.formatting import plain_text
from bridge.core.model import Kind, LocalAuthor, Outgoing, Receipt, State
from bridge.irc import mirc
from bridge.irc.connection import Connection, Fence, Lost
from bridge.irc.multiline import packed
from bridge.irc.nicks import nick_bases, relayed_mark
from bridge.irc.paging import Paging
from bridge.irc.rendering import Piece, left_out, reaction_words, render, wants_link
from bridge.irc.shared import REACT, RELAYED, REPLY, Shared, msgids, tags_of
from bridge.irc.splitting import budget, split
from bridge.irc.wire import number_of, said_there
from ofcd.client import Offline

__all__ = ["Saying"]

_PROOF_SECONDS: Final = 90.0
_EMOJI: Final = 64
_NICK: Final = 64
"""Letters of a nick where the server does not say how many it takes."""
_UNREACT: Final = "+draft/unreact"
_REDACT: Final = "draft/message-redaction"


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
    pieces: list[Piece] = field(repr=False)

    @property
    def lines(self) -> list[str]:
        """As the server shows them."""
        return [one.text for one in self.pieces]


class Saying:
    """Says it through the bridge's own nick, and the puppets'."""

    def __init__(self, shared: Shared, paging: Paging) -> None:
        self._shared = shared
        self._paging = paging

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
            relay = self._shared.connection
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
        relay = self._shared.connection
        if relay is None:
            return one
        room = budget(relay.nick, relay.user, relay.host, one.place)
        if not wants_link(one, room, self._shared.places[one.place].options):
            return one
        return evolve(one, link=await self._shared.host.link(one))

    def _voice(self, one: Outgoing) -> _Voice | str | None:
        """Who says it: the member's puppet, or the bridge's own nick; None: nobody can now."""
        relay = self._shared.connection
        if relay is None or relay.lost or one.place not in self._shared.joined:
            return None
        mode, author = self._shared.places[one.place].options.mode, one.author
        if author is None or one.kind in (Kind.NOTE, Kind.TOPIC):
            return _Voice(relay)
        if mode == "relaymsg" and RELAYED in relay.caps and one.kind in (Kind.MESSAGE, Kind.EDIT):
            nick = self._relayed(relay, author)
            return _Voice(relay, relayed=nick)  # without one, it says for whom it is
        if self._shared.puppets is not None and mode == "puppets" and not author.network:
            found = self._shared.puppets.voice(one.place, author)
            if isinstance(found, str):
                return found
            if found is not None:
                return _Voice(found, author.mid.hex())
        return _Voice(relay)

    def _relayed(self, relay: Connection, author: LocalAuthor) -> str:
        """In which nick a member speaks by RELAYMSG; "": in none that were theirs alone."""
        if author.network:
            return ""  # a member may be called like somebody of another network
        shared = self._shared
        mark = relayed_mark(relay.login.offered.get(RELAYED, "") or "/")
        room = (number_of(relay.isupport.get("NICKLEN", "")) or _NICK) - len(mark)
        places = [one.place for one in shared.places.values() if one.options.mode == "relaymsg"]
        names = {
            one.author.mid: one.author.name
            for place in places
            for one in shared.host.members(place)
        }
        base = nick_bases(names, max(2, room)).get(author.mid)
        return f"{base}{mark}" if base else ""

    async def _deliver_one(self, voice: _Voice, one: Outgoing) -> Receipt | tuple[_Way, Fence]:
        if one.kind is Kind.REACTION or (
            one.kind is Kind.REDACTION
            and _REDACT in voice.connection.caps
            and msgids(one.remote_ids)
        ):
            fence = voice.connection.open_fence(one.place)
            await self._tell(one, voice.connection, fence)
            return _Way(voice, []), fence
        way = _Way(voice, self._lines(voice, one))
        if not way.pieces and one.kind is not Kind.TOPIC:
            return _unsayable(one)
        if one.kind is Kind.MESSAGE:
            self._paging.keep(one, self._left_out(voice, one))
        skipped: tuple[str, ...] = ()
        if one.again:
            found, skipped = self._arrived(one, way)
            if found is not None and len(skipped) == len(found.pieces):
                return Receipt(one.number, State.CONFIRMED, tuple(x for x in skipped if x))
            if found is not None and found.voice == voice:
                way = _Way(voice, found.pieces)  # the rest of it, as it was begun
            else:
                skipped = ()
        fence = voice.connection.open_fence(one.place)
        await self._say(one, _Way(voice, way.pieces[len(skipped) :]), fence)
        return way, fence

    def _reacts(self, connection: Connection, one: Outgoing) -> bool:
        """Whether a reaction can be told as such: the line has an id, and the tags pass."""
        denied = connection.isupport.get("CLIENTTAGDENY", "").split(",")
        refused = "*" in denied and f"-{REACT[1:]}" not in denied
        tags = "message-tags" in connection.caps and not refused and REACT[1:] not in denied
        return tags and bool(msgids(one.remote_ids))

    async def _tell(self, one: Outgoing, connection: Connection, fence: Fence) -> None:
        """Take a message back, or react to it, where the server knows what that is."""
        try:
            if one.kind is Kind.REDACTION:
                for msgid in msgids(one.remote_ids):
                    await connection.paced()
                    await connection.say(fence, "REDACT", (one.place, msgid), {})
            else:
                await connection.paced()
                name = _UNREACT if one.withdrawn else REACT
                tags = {name: one.emoji[:_EMOJI], REPLY: msgids(one.remote_ids)[0]}
                await connection.say(fence, "TAGMSG", (one.place,), tags)
            await connection.close_fence(fence)
        except Lost:
            fence.done.set()

    def _lines(self, voice: _Voice, one: Outgoing) -> list[Piece]:
        options = self._shared.places[one.place].options
        whole, named = _is_whole(voice), voice.attributed
        return render(one, self._room(voice, one), options, attributed=named, whole=whole)

    def _left_out(self, voice: _Voice, one: Outgoing) -> list[Piece]:
        options = self._shared.places[one.place].options
        whole, named = _is_whole(voice), voice.attributed
        return left_out(one, self._room(voice, one), options, attributed=named, whole=whole)

    def _room(self, voice: _Voice, one: Outgoing) -> int:
        """Bytes for a line's text."""
        connection, relay = voice.connection, self._shared.connection
        nick, user, host = connection.nick, connection.user, connection.host
        room = budget(voice.relayed or nick, user, host, one.place)
        if voice.relayed:
            room -= len(f" {voice.relayed}".encode())
        if self._shared.places[one.place].options.long == "more" and relay is not None:
            # The bridge's own nick says the rest.
            room = min(room, budget(relay.nick, relay.user, relay.host, one.place))
        return room

    def _arrived(self, one: Outgoing, now: _Way) -> tuple[_Way | None, tuple[str, ...]]:
        """How much of it the server has shown as said, and in which of the ways it may have been.

        When it was first said it had no mark of doubt, perhaps another time, another nick.
        """
        relay = self._shared.connection
        voices = [now.voice]
        if not now.voice.attributed and relay is not None:
            voices.append(_Voice(relay))
        elif one.author is not None and self._shared.puppets is not None and not one.author.network:
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
        at, ids = self._shared.own.claim(
            one.place, [(who, way.lines) for who, way in claims], one.ts
        )
        return (None, ()) if at < 0 else (ways[at], ids)

    async def _say(self, one: Outgoing, way: _Way, fence: Fence) -> None:
        """Say it; what is not said because the connection is lost has no proof, and waits."""
        connection = way.voice.connection
        tags = tags_of(connection, one)
        own = one.kind in (Kind.NOTE, Kind.REACTION)
        noted = own and self._shared.places[one.place].options.notes == "notice"
        try:
            if one.kind is Kind.TOPIC:
                await connection.paced()
                topic = self._topic(connection, one)
                await connection.say(fence, "TOPIC", (one.place, topic), {})
            limits = None if way.voice.relayed else connection.multiline
            alone = [[piece] for piece in way.pieces]
            for group in alone if limits is None else packed(way.pieces, limits):
                for piece in group:
                    await connection.paced(len(piece.text.encode()))
                command, text = "NOTICE" if noted else "PRIVMSG", group[0].text
                if way.voice.relayed:
                    params = (one.place, way.voice.relayed, text)
                    await connection.say(fence, "RELAYMSG", params, tags)
                elif len(group) > 1:
                    await connection.say_together(fence, command, one.place, group, tags)
                else:
                    await connection.say(fence, command, (one.place, text), tags)
            await connection.close_fence(fence)
        except Lost:
            fence.done.set()

    def _topic(self, connection: Connection, one: Outgoing) -> str:
        """As much of a topic as the server takes."""
        nick, user, host = connection.nick, connection.user, connection.host
        room = budget(nick, user, host, one.place, "TOPIC")
        room = min(room, number_of(connection.isupport.get("TOPICLEN", "")) or room)
        topic = mirc.clean(plain_text(one.document).replace("\n", " "))
        return topic.encode()[:room].decode("utf-8", "ignore")

    def _receipt(self, one: Outgoing, way: _Way, fence: Fence) -> Receipt:
        if fence.batch_refused:
            # Of several batches, some may have been taken.
            return Receipt(one.number, State.QUEUED, doubtful=len(fence.said) > 1)
        if fence.errors:
            reason = said_there(fence.errors[0], way.voice.connection.login.who.secrets)
            return Receipt(one.number, State.FAILED, (), reason or "it was refused")
        if not (fence.proven or fence.all_answered):
            return Receipt(one.number, State.QUEUED, doubtful=fence.began)
        # What came back of it proves nothing else.
        who = way.voice.who or (f"relayed/{way.voice.relayed}" if way.voice.relayed else "")
        self._shared.own.claim(one.place, [(who, way.lines)], one.ts)
        labelled = [said for said in fence.said if said.label]
        proven = not labelled or all(said.answered for said in labelled)
        return Receipt(one.number, State.CONFIRMED if proven else State.SENT, fence.ids)


def _unsayable(one: Outgoing) -> Receipt:
    """Of what no line is left to be said there."""
    match one.kind:
        case Kind.MESSAGE:
            return Receipt(one.number, State.FAILED, (), "there is nothing in it that can be shown")
        case Kind.REDACTION:
            return Receipt(one.number, State.DROPPED, (), "it still stands there, to be read")
        case _:
            return Receipt(one.number, State.DROPPED)


def _is_whole(voice: _Voice) -> bool:
    """Whether the server keeps several lines together, as this is said."""
    return voice.connection.multiline is not None and not voice.relayed


def _reaction_line(connection: Connection, several: Sequence[Outgoing]) -> list[Piece]:
    """One line, cut off where there are too many."""
    room = budget(connection.nick, connection.user, connection.host, several[0].place)
    return [Piece(one) for one in split([mirc.Run(reaction_words(several))], room)[:1]]


async def _wait(open_: Sequence[tuple[Outgoing, _Way, Fence]]) -> None:
    with trio.move_on_after(_PROOF_SECONDS):
        for _, _, fence in open_:
            await fence.done.wait()
