"""From something outside to a room's message, once (G1, G3, G5)."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import trio

from bridge.core.formatting import one_line, plain_document, plain_text, to_lite, upright
from bridge.core.guard import is_echo_by_path
from bridge.core.journal import Came, sid_of
from bridge.core.model import (
    Remote,
    RemoteEdit,
    RemoteFile,
    RemoteMessage,
    RemoteNote,
    RemoteReaction,
    RemoteRedaction,
    RemoteTopic,
    Verdict,
)
from bridge.core.names import remote_name
from bridge.core.settings import Portal
from ofcd.client import (
    BadAttachment,
    Content,
    Edit,
    FileRef,
    NotAllowed,
    Offline,
    Redaction,
    RelayRefused,
    Room,
    RoomInfo,
    Text,
    TextFormat,
    Transaction,
    VaultError,
    VaultUnwritable,
    Via,
    lite,
)
from ofcd.client.vault import Reader
from ofcd.errors import OfcError
from ofcd.protocol.ids import EventId, RoomId
from ofcd.protocol.rates import TokenBuckets

if TYPE_CHECKING:
    from bridge.core.engine import Engine

__all__ = ["Inbound"]

_TEXT_BYTES: Final = 40 * 1024
_NAME: Final = 256
_LATE_BURST: Final = 2000
_SHARE: Final = 0.75
"""Of what a place may bring, that one of the people there may: others are heard through a flood."""
_SHARED: Final = 4
"""Of less there are no shares."""
_SPEAKERS: Final = 1000
_NOTES: Final = 20
_TELL_EVERY_MS: Final = 10_000
_NO_SPACE: Final = "disk"
_LEFT_OUT: Final = "left out"
_WHY: Final = {
    Verdict.LIMITED.value: "too many at once",
    Verdict.FULL.value: "the relay was away too long",
    _NO_SPACE: "the bridge had no space to keep them",
}


class Inbound:
    """Takes what networks bring."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._rates: dict[tuple[str, str, str, str], TokenBuckets] = {}
        self._skipped: Counter[tuple[str, str, str]] = Counter()
        """How many were left out, by network, place and why; also of an earlier life."""
        self._is_kept = True
        for network, place, why, count in engine.journal.fact(engine.client.vault, _LEFT_OUT) or ():
            if network in engine.networks:
                self._skipped[network, place, why] = count
        self._told = 0

    async def take(self, network: str, remote: Remote) -> Verdict:
        """See `Host.take`."""
        try:
            verdicts = await self._take(network, remote, None)
        except VaultUnwritable as error:
            self._engine.disk.failed(error)
            self._skip(network, remote.place, _NO_SPACE)
            return Verdict.FULL
        for one in verdicts.values():
            if one.comes_again:
                self._skip(network, remote.place, one.value)
        return Verdict.of_all(verdicts.values())

    def _skip(self, network: str, place: str, why: str) -> None:
        self._skipped[network, place, why] += 1
        self._is_kept = False

    async def take_in(
        self, network: str, remote: Remote, rooms: frozenset[RoomId]
    ) -> dict[RoomId, Verdict]:
        """See `Host.take_in`."""
        return await self._take(network, remote, rooms)

    async def _take(
        self, network: str, remote: Remote, only: frozenset[RoomId] | None
    ) -> dict[RoomId, Verdict]:
        portals = {
            room.id: (portal, room)
            for portal, room in self._engine.portals_at(network, remote.place)
            if portal.takes and self._engine.is_open(room)
        }
        if portals and isinstance(remote, RemoteMessage):
            self._engine.echoes.heard(network, remote)
        wanted = [one for one in portals if only is None or one in only]
        verdicts = {one: self._look(network, *portals[one], remote) for one in wanted}
        rooms = [portals[room] for room, verdict in verdicts.items() if verdict is None]
        refs = await self._upload(remote, rooms)
        with self._engine.client.transaction() as tx:
            made = {
                room: verdict or self._say(tx, network, *portals[room], remote, refs.get(room))
                for room, verdict in verdicts.items()
            }
            self._keep(tx, network, remote, made, list(portals))
        verdict = Verdict.of_all(made.values())
        self._engine.metrics.taken.labels(network, verdict.value).inc()
        if verdict is Verdict.ECHO:
            who = remote_name(remote.author.name, remote.author.id)
            self._engine.ring(network, remote.place, who)
        await trio.lowlevel.checkpoint()
        return made

    def _look(self, network: str, portal: Portal, room: Room, remote: Remote) -> Verdict | None:
        """Why a room takes it not, or not now; None: it does.

        Asked before a file is stored at the relay, where nobody would ever fetch it.
        """
        engine, now = self._engine, self._engine.client.now()
        if (known := self._known(engine.client.vault, network, room, remote)) is not None:
            return known
        if engine.is_ignored(portal, room, remote.author) or not _is_wanted(portal, remote):
            return Verdict.IGNORED
        if is_echo_by_path(remote.path, room.id) or self._is_brought_back(room, network, remote):
            return Verdict.ECHO
        if len(room.outbox()) >= portal.in_backlog:
            return Verdict.FULL
        if isinstance(remote, RemoteMessage) and remote.file is not None and not room.is_live:
            return Verdict.FULL  # its relay is away: to ask it would take a minute
        return Verdict.LIMITED if self._is_too_much(portal, remote, now) else None

    def _known(self, records: Reader, network: str, room: Room, remote: Remote) -> Verdict | None:
        """What a room that has it already, or had it first, says of it."""
        journal = self._engine.journal
        before = journal.came(records, network, remote.place, remote.id)
        if before is not None:
            return None if room.id in before.waits else Verdict.DUPLICATE
        went = journal.went(records, network, remote.place, remote.id)
        return None if went is None else Verdict.ECHO

    def _keep(
        self,
        tx: Transaction,
        network: str,
        remote: Remote,
        verdicts: dict[RoomId, Verdict],
        rooms: list[RoomId],
    ) -> None:
        """Where it is, and for which of these rooms it is to come again."""
        engine, journal = self._engine, self._engine.journal
        before = journal.came(tx, network, remote.place, remote.id)
        taken = [room for room, one in verdicts.items() if one is Verdict.TAKEN]
        if not taken and (before is None or not before.waits):
            return
        waits = [
            room
            for room in (rooms if before is None else before.waits)
            if room in rooms and verdicts.get(room, Verdict.FULL).comes_again
        ]
        came = Came(
            ts=remote.ts or engine.client.now(),
            rooms=(*(() if before is None else before.rooms), *taken),
            author=remote.author.id,
            path=remote.path,
            waits=tuple(waits),
        )
        journal.keep_came(tx, network, remote.place, remote.id, came, engine.client.now())

    def _say(
        self,
        tx: Transaction,
        network: str,
        portal: Portal,
        room: Room,
        remote: Remote,
        ref: FileRef | str | None,
    ) -> Verdict:
        engine = self._engine
        if (known := self._known(tx, network, room, remote)) is not None:
            return known  # it came over another link while its file was stored
        if ref is None and isinstance(remote, RemoteMessage) and remote.file is not None:
            return Verdict.FULL  # its relay went away: who brought it comes again for this room
        # Asked again: it may have changed while a file was stored.
        if not engine.is_open(room):
            return Verdict.CLOSED
        if engine.is_ignored(portal, room, remote.author):
            return Verdict.IGNORED
        content = self._content(tx, network, room, remote, ref)
        if content is None:
            return Verdict.INVALID
        sid = sid_of(network, remote.place, remote.id)
        via = Via(
            one_line(network)[:_NAME],
            remote.author.id[:_NAME],
            remote_name(remote.author.name, remote.author.id)[:_NAME],
        )
        try:
            room.queue(tx, content, sid=sid, hops=len(remote.path), via=via)
        except VaultError:
            raise  # the transaction is not to be kept
        except OfcError as error:
            engine.log.warning("something from outside was not taken", code=error.code)
            return Verdict.INVALID
        return Verdict.TAKEN

    def _is_too_much(self, portal: Portal, remote: Remote, now: int) -> bool:
        """Whether the place brings too much, or one of the people there more than their share.

        What fills a gap comes all at once, and not without end; who comes and goes takes no words'
        place.
        """
        burst, pace = portal.in_burst, portal.in_per_second
        if isinstance(remote, RemoteNote):
            return self._rate(portal, "notes", min(burst, _NOTES), pace / 5).take("", now) > 0
        if remote.late:
            return self._rate(portal, "late", max(_LATE_BURST, burst), pace).take("", now) > 0
        share = _SHARE if burst >= _SHARED else 1.0
        one = self._rate(portal, "one", int(burst * share), pace * share, _SPEAKERS)
        who = remote.author.origin or remote.author.id
        if one.wait(who, now):
            return True
        if self._rate(portal, "all", burst, pace).take("", now):
            return True
        one.take(who, now)
        return False

    def _rate(
        self, portal: Portal, what: str, burst: int, pace: float, keys: int = 1
    ) -> TokenBuckets:
        key = (portal.room, portal.network, portal.place, what)
        if key not in self._rates:
            self._rates[key] = TokenBuckets(burst=burst, per_second=pace, max_keys=keys)
        return self._rates[key]

    def _is_brought_back(self, room: Room, network: str, remote: Remote) -> bool:
        if not isinstance(remote, RemoteMessage) or remote.file is not None:
            return False
        return self._engine.echoes.is_brought_back(room, network, remote)

    # -- content ---------------------------------------------------------------------------------

    def _content(
        self, tx: Transaction, network: str, room: Room, remote: Remote, ref: FileRef | str | None
    ) -> Content | None:
        match remote:
            case RemoteMessage():
                return self._message(tx, network, room, remote, ref)
            case RemoteEdit():
                target = self._own(tx, network, room, remote, remote.target)
                text, form = to_lite(remote.document)
                if target is not None:
                    return Edit(target, _cut(text), form)
                return Text(_cut(f"[edit] {text}"), form)
            case RemoteRedaction():
                target = self._own(tx, network, room, remote, remote.target)
                return None if target is None else Redaction(target, "taken back there")
            case RemoteReaction():
                return self._reaction(network, room, remote)
            case RemoteNote():
                text = one_line(remote.text)
                return Text(f"*{lite.escape(text)}*", TextFormat.LITE) if text else None
            case RemoteTopic():
                return self._topic(room, remote)
        return None

    def _message(
        self,
        tx: Transaction,
        network: str,
        room: Room,
        remote: RemoteMessage,
        ref: FileRef | str | None,
    ) -> Content | None:
        document = remote.document
        if isinstance(ref, FileRef):
            return ref
        if isinstance(ref, str):
            document = (*document, *plain_document(ref))
        if remote.action:
            document = _as_action(document)
        if remote.late and remote.ts is not None:
            at = datetime.fromtimestamp(remote.ts / 1000, UTC)
            document = _begun_with(document, f"({at:%H:%M} UTC) ")
        text, form = to_lite(document)
        if not text.strip():
            return None
        reply_to = remote.event
        if reply_to is None and remote.reply_to:
            reply_to = self.event_of(network, remote.place, remote.reply_to, room)
        if reply_to is not None and room.message(reply_to) is None:
            reply_to = None
        return Text(_cut(text), form, reply_to, None, remote.mentions)

    def _reaction(self, network: str, room: Room, remote: RemoteReaction) -> Content | None:
        """As words: a reaction in the bridge's own name could not be told from somebody else's."""
        target = self.event_of(network, remote.place, remote.target, room)
        emoji = one_line(remote.emoji)[:32]
        if target is None or not emoji or remote.withdrawn:
            return None
        return Text(emoji, reply_to=target)

    def _topic(self, room: Room, remote: RemoteTopic) -> Content | None:
        topic = one_line(remote.topic)[:1000]
        if topic == room.topic:
            return None
        if room.is_owner:
            return RoomInfo(room.name, topic)
        return Text(f"*set the topic to:* {lite.escape(topic)}", TextFormat.LITE)

    def event_of(self, network: str, place: str, remote_id: str, room: Room) -> EventId | None:
        """The room's event of something outside, whichever way it went."""
        sent = room.sent(sid_of(network, place, remote_id))
        if sent is not None:
            return sent.event_id
        went = self._engine.journal.went(self._engine.client.vault, network, place, remote_id)
        return went if went is not None and room.message(went) is not None else None

    def _own(
        self, tx: Transaction, network: str, room: Room, remote: Remote, target: str
    ) -> EventId | None:
        """The event of something that the same author said before."""
        came = self._engine.journal.came(tx, network, remote.place, target)
        if came is None or came.author != remote.author.id:
            return None
        sent = room.sent(sid_of(network, remote.place, target))
        return None if sent is None else sent.event_id

    # -- files -----------------------------------------------------------------------------------

    async def _upload(
        self, remote: Remote, rooms: list[tuple[Portal, Room]]
    ) -> dict[RoomId, FileRef | str]:
        """A file that came along, stored at the relay for each room; or why it can not be.

        A room whose relay is away has none, and the others do not wait for it.
        """
        made: dict[RoomId, FileRef | str] = {}
        if isinstance(remote, RemoteMessage) and remote.file is not None:
            caption = upright(plain_text(remote.document))[:1000]
            for portal, room in rooms:
                with suppress(Offline):
                    limit = portal.file_bytes
                    made[room.id] = await self._upload_to(room, remote.file, caption, limit)
        return made

    async def _upload_to(
        self, room: Room, file: RemoteFile, caption: str, limit: int
    ) -> FileRef | str:
        name = one_line(file.name)[:200] or "file"
        if len(file.content) > limit:
            why = f"files are taken up to {limit} bytes"
            return f"[file {name}, {len(file.content)} bytes, was not taken: {why}]"
        try:
            return await room.upload(file.content, name=name, mime=file.media_type, caption=caption)
        except (BadAttachment, NotAllowed, RelayRefused) as error:
            return f"[file {name}, {len(file.content)} bytes, was not taken: {error}]"

    # -- what was left out -----------------------------------------------------------------------

    def tell_skipped(self) -> None:
        """Say how many were left out, now and then. Raises `VaultUnwritable`."""
        if not self._is_kept:
            self._keep_skipped()
        now = self._engine.client.now()
        if not self._skipped or now - self._told < _TELL_EVERY_MS:
            return
        for (network, place, why), count in list(self._skipped.items()):
            rooms = [room for _, room in self._engine.portals_at(network, place)]
            if any(not room.is_live or len(room.outbox()) > 1 for room in rooms):
                continue  # later, when it can be heard
            where = self._engine.networks[network].describe(place)
            lines = "message was" if count == 1 else "messages were"
            text = f"{count} {lines} left out from {where}: {_WHY[why]}"
            with self._engine.client.transaction() as tx:  # neither without the other
                self._engine.notice_with(tx, network, place, text)
                self._put_skipped(tx, but=(network, place, why))
            del self._skipped[network, place, why]
            self._told, self._is_kept = now, True

    def _keep_skipped(self) -> None:
        with self._engine.client.transaction() as tx:
            self._put_skipped(tx)
        self._is_kept = True

    def _put_skipped(self, tx: Transaction, but: tuple[str, str, str] | None = None) -> None:
        kept = [[*key, count] for key, count in self._skipped.items() if key != but]
        self._engine.journal.keep_fact(tx, _LEFT_OUT, kept or None)


def _is_wanted(portal: Portal, remote: Remote) -> bool:
    match remote:
        case RemoteNote():
            return portal.presence
        case RemoteTopic():
            return portal.topic
        case RemoteMessage(notice=True):
            return portal.notices
        case _:
            return True


def _cut(text: str) -> str:
    """As much of it as a room takes, and nothing that would reorder what stands around it."""
    text = upright(text)
    raw = text.encode("utf-8", "replace")
    return text if len(raw) <= _TEXT_BYTES else raw[:_TEXT_BYTES].decode("utf-8", "ignore") + " […]"


def _as_action(document: lite.Document) -> lite.Document:
    return tuple(
        lite.Paragraph(tuple((lite.Italic(line),) for line in block.lines))
        if isinstance(block, lite.Paragraph)
        else block
        for block in document
    )


def _begun_with(document: lite.Document, mark: str) -> lite.Document:
    match document:
        case (lite.Paragraph(lines=(first, *rest)), *others):
            return (lite.Paragraph(((lite.Text(mark), *first), *rest)), *others)
        case _:
            return (lite.Paragraph(((lite.Text(mark),),)), *document)
