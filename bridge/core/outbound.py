"""From a room's events to the journal, and from the journal to what a network is handed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from bridge.core.consent import Consent, consent_of, is_private
from bridge.core.formatting import document_of, excerpt, one_line
from bridge.core.guard import MAX_HOPS, room_tag
from bridge.core.journal import Entry, Passed
from bridge.core.model import FileOut, Kind, LocalAuthor, Outgoing, Receipt, ReplyTo, State
from bridge.core.names import carried_name, outside_name, remote_name
from bridge.core.places import PlaceQueue
from bridge.core.settings import Portal
from ofcd.client import (
    LoggedEvent,
    MemberLeft,
    Message,
    MessageEdited,
    MessageReacted,
    MessageReceived,
    MessageRedacted,
    NameChanged,
    NoSuchRoom,
    Reaction,
    Room,
    RoomRenamed,
    Text,
    TextFormat,
    Transaction,
)
from ofcd.client.vault import Reader
from ofcd.protocol.ids import EventId, MemberId
from ofcd.protocol.records import Cap

if TYPE_CHECKING:
    from bridge.core.engine import Engine

__all__ = ["FAILED_MARK", "Outbound"]

FAILED_MARK: Final = "⚠️"
"""The reaction on a message that did not arrive."""
_LATE_MS: Final = 60_000
_WITHHELD: Final = "its author is not bridged"
_RING: Final = "another bridge brought it from there"
_ENDED: Final = (State.SENT, State.CONFIRMED)


class Outbound:
    """Makes entries, changes and ends them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # -- from the room ---------------------------------------------------------------------------

    def event(self, tx: Transaction, room: Room, event: LoggedEvent) -> None:
        """Everything that an event of a room means for the places it is joined to."""
        engine = self._engine
        if event.again:
            return  # all that it means was done when it was first said
        portals = [one for one in engine.portals_of(room) if one.sends]
        engine.echoes.said(room, event)
        if isinstance(event, MessageRedacted):
            engine.links.revoke(tx, room.first_id(event.target))  # whatever else is told of it
        if isinstance(event, MessageEdited):
            engine.links.edited(tx, event.message)
        if not engine.is_open(room):
            return
        for portal in portals:
            match event:
                case MessageReceived():
                    self._message(tx, room, portal, event.message)
                case MessageEdited():
                    self._edit(tx, room, portal, event)
                case MessageRedacted():
                    self._redaction(tx, room, portal, event)
                case MessageReacted() if portal.reactions and event.mid != room.me:
                    self._reaction(tx, room, portal, event)
                case NameChanged() | MemberLeft() if portal.presence:
                    self._presence(tx, room, portal, event)
                case RoomRenamed() if portal.topic and event.mid != room.me:
                    if consent_of(tx, room.id, event.mid) is Consent.FULL:
                        entry = self._entry(room, portal, Kind.TOPIC, event)
                        self._add(tx, evolve(entry, mid=event.mid, text=event.topic))

    def _entry(self, room: Room, portal: Portal, kind: Kind, event: Any) -> Entry:
        engine = self._engine
        network = engine.networks[portal.network]
        now = engine.client.now()
        max_age = portal.max_age or network.max_age
        born = engine.born(room, event.seq, event.ts)
        return Entry(
            number=0,
            network=portal.network,
            place=portal.place,
            room=room.id,
            kind=kind,
            event_id=event.first_id,  # as what is kept of it is found, though it is said again
            seq=event.seq,
            ts=min(event.ts, now),
            due=now,
            expires=born + int(max_age * 1000),
        )

    def _add(self, tx: Transaction, entry: Entry) -> None:
        entry = self._engine.journal.add(tx, entry)
        queue = self._engine.places[entry.network, entry.place]
        tx.on_commit(lambda: queue.put(entry))

    def _replace(self, tx: Transaction, entry: Entry) -> None:
        self._engine.journal.keep(tx, entry)
        queue = self._engine.places[entry.network, entry.place]
        tx.on_commit(lambda: queue.put(entry))

    def _message(self, tx: Transaction, room: Room, portal: Portal, message: Message) -> None:
        engine, journal = self._engine, self._engine.journal
        path: tuple[str, ...] = ()
        if message.mine:
            outside = journal.outside_of(tx, message.sid)
            if outside is None:
                return  # the bridge's own word
            came = journal.came(tx, outside.network, outside.place, outside.id)
            path = () if came is None else came.path
            if (outside.network, outside.place) == (portal.network, portal.place):
                passed = Passed(
                    state=State.CONFIRMED, incoming=True, remote_ids=(outside.id,), ts=message.ts
                )
                self._keep_passed(tx, portal.network, portal.place, message.first_id, passed)
                return
        reason = self._why_not(tx, room, message)
        if not reason and engine.echoes.came_back(portal, message):
            reason = _RING
            who = room.name_of(message.mid)
            tx.on_commit(lambda: engine.ring(portal.network, portal.place, who))
        if reason:
            passed = Passed(state=State.DROPPED, reason=reason, ts=message.ts)
            self._keep_passed(tx, portal.network, portal.place, message.first_id, passed)
            return
        if message.file is not None and not portal.files and not message.text:
            passed = Passed(state=State.DROPPED, reason="a file, and files are not told there")
            self._keep_passed(tx, portal.network, portal.place, message.first_id, passed)
            return
        entry = self._said(tx, room, portal, message, (*path, room_tag(room.id)))
        hold = portal.hold if engine.networks[portal.network].holds_edits else 0.0
        self._add(tx, evolve(entry, due=entry.due + int(hold * 1000)))

    def _said(
        self, tx: Transaction, room: Room, portal: Portal, message: Message, path: tuple[str, ...]
    ) -> Entry:
        """A message as it is said at a place, the first time or again."""
        entry = self._entry(room, portal, Kind.MESSAGE, message)
        entry = self._said_by(tx, room, message, entry)
        file = message.file if portal.files and not entry.nick_only else None
        return evolve(
            entry,
            reply_to=_first(room, message.reply_to),
            thread=_first(room, message.thread),
            file=None if file is None else (file.name, file.media_type, file.size),
            path=path,
        )

    def _why_not(self, tx: Transaction, room: Room, message: Message) -> str:
        if message.unreadable or message.redacted_by is not None:
            return "taken back or unreadable"
        if message.via is None and Cap.BRIDGE in room.caps_of(message.mid):
            return "another bridge's own word"
        if is_private(message.text):
            return "its author says that it stays in the room"
        if consent_of(tx, room.id, message.mid) is Consent.WITHHELD and message.via is None:
            return _WITHHELD
        if message.hops >= MAX_HOPS:
            return "it has been through too many bridges or bots"
        return ""

    def _said_by(self, tx: Transaction, room: Room, message: Message, entry: Entry) -> Entry:
        """Who said what, as it may be shown outside."""
        nick_only = (
            message.via is None and consent_of(tx, room.id, message.mid) is Consent.NICK_ONLY
        )
        named = tuple(
            (mid, name)
            for mid in message.mentions
            if not nick_only
            and (name := room.name_of(mid))
            and consent_of(tx, room.id, mid) is not Consent.WITHHELD
        )
        return evolve(
            entry,
            mid=message.mid,
            name=self._engine.author(room, message.mid).name,
            via=message.via,
            nick_only=nick_only,
            file=None if nick_only else entry.file,
            text="" if nick_only else message.text,
            format=TextFormat(message.format),
            mentions=named,
        )

    def _waiting(self, portal: Portal, event_id: EventId) -> Entry | None:
        queue = self._engine.places[portal.network, portal.place]
        wanted = (Kind.MESSAGE, event_id, State.QUEUED)
        return next(
            (
                one
                for one in queue.entries.values()
                if (one.kind, one.event_id, one.state) == wanted
            ),
            None,
        )

    def _edit(self, tx: Transaction, room: Room, portal: Portal, event: MessageEdited) -> None:
        message = event.message
        waiting = self._waiting(portal, message.first_id)
        consent = consent_of(tx, room.id, message.mid) if message.via is None else Consent.FULL
        if waiting is not None and not waiting.again:
            if is_private(message.text):
                self.finish(tx, waiting, State.DROPPED, "its author says that it stays in the room")
            elif consent is Consent.WITHHELD:
                self.finish(tx, waiting, State.DROPPED, _WITHHELD)
            elif waiting.text != message.text:
                self._replace(tx, self._said_by(tx, room, message, waiting))
            return
        passed = self._engine.journal.passed(tx, portal.network, portal.place, message.first_id)
        if portal.edits == "off" or is_private(message.text) or consent is not Consent.FULL:
            return
        if passed is None or passed.incoming or passed.edits >= portal.max_edits:
            return
        if passed.state not in (*_ENDED, State.SENDING) or passed.text == message.text:
            return
        entry = self._entry(room, portal, Kind.EDIT, event)
        entry = evolve(
            self._said_by(tx, room, message, entry),
            target=message.first_id,
            before=passed.text if portal.edits == "diff" else "",
            before_format=passed.format,
            due=entry.due + int(portal.hold * 1000),
        )
        newest = self._newest_edit(portal, message.first_id)
        if newest is not None:
            kept = evolve(entry, number=newest.number, before=newest.before, due=newest.due)
            self._replace(tx, evolve(kept, before_format=newest.before_format))
            return
        self._add(tx, entry)

    def _newest_edit(self, portal: Portal, target: EventId) -> Entry | None:
        """An edit of the same message that was not said yet: the later one takes its place."""
        queue = self._engine.places[portal.network, portal.place]
        wanted = (Kind.EDIT, target, State.QUEUED, False)
        return next(
            (e for e in queue.entries.values() if (e.kind, e.target, e.state, e.again) == wanted),
            None,
        )

    def _redaction(
        self, tx: Transaction, room: Room, portal: Portal, event: MessageRedacted
    ) -> None:
        target = room.first_id(event.target)
        waiting = self._waiting(portal, target)
        if waiting is not None and not waiting.again:
            self.finish(tx, waiting, State.DROPPED, "taken back before it was sent")
            return
        passed = self._engine.journal.passed(tx, portal.network, portal.place, target)
        gone = passed is None or (passed.incoming and event.mid == room.me)
        if gone or passed is None or not portal.redactions:
            return
        if passed.state in (*_ENDED, State.SENDING):
            entry = self._entry(room, portal, Kind.REDACTION, event)
            # It goes whatever its author has said: it takes words away, and needs no name.
            if consent_of(tx, room.id, event.mid) is not Consent.WITHHELD:
                name = self._engine.author(room, event.mid).name
                entry = evolve(entry, mid=event.mid, name=name)
            self._add(tx, evolve(entry, target=target))

    def _reaction(self, tx: Transaction, room: Room, portal: Portal, event: MessageReacted) -> None:
        target = room.first_id(event.target)
        passed = self._engine.journal.passed(tx, portal.network, portal.place, target)
        if passed is None or passed.state not in (*_ENDED, State.SENDING):
            return
        if consent_of(tx, room.id, event.mid) is not Consent.FULL:
            return
        for waiting in self._engine.places[portal.network, portal.place].waiting():
            same = (Kind.REACTION, target, event.mid, event.reaction)
            is_same = (waiting.kind, waiting.target, waiting.mid, waiting.emoji) == same
            if is_same and waiting.withdrawn != event.withdrawn and not waiting.again:
                self.finish(tx, waiting, State.DROPPED, "taken back before it was sent")
                return
        entry = self._entry(room, portal, Kind.REACTION, event)
        name = self._engine.author(room, event.mid).name
        hold = self._engine.networks[portal.network].reaction_hold
        entry = evolve(entry, target=target, mid=event.mid, name=name)
        entry = evolve(entry, reply_to=target, due=entry.due + int(hold * 1000))
        self._add(tx, evolve(entry, emoji=event.reaction, withdrawn=event.withdrawn))

    def _presence(self, tx: Transaction, room: Room, portal: Portal, event: LoggedEvent) -> None:
        match event:
            case NameChanged(mid=mid, before=before):
                # Who is new says what they are called, and before that nobody knows.
                first, verb = (f"{outside_name(before)} is now ", "") if before else ("", " joined")
                who: tuple[MemberId, ...] = (mid,)
            case MemberLeft(members=who, evicted=evicted):
                was = " were" if len(who) > 1 else " was"
                first, verb = "", f"{was} removed" if evicted else " left"
            case _:
                return
        shown = [
            self._engine.author(room, mid).name
            for mid in who
            if consent_of(tx, room.id, mid) is not Consent.WITHHELD
            and mid != room.me
            and Cap.BRIDGE not in room.caps_of(mid)
        ]
        if shown:
            entry = self._entry(room, portal, Kind.NOTE, event)
            self._add(tx, evolve(entry, text=first + ", ".join(shown) + verb))

    # -- to the network --------------------------------------------------------------------------

    def outgoing(self, records: Reader, entry: Entry) -> Outgoing:
        """An entry as a network is handed it."""
        engine = self._engine
        target = entry.target
        remote_ids = (
            () if target is None else self.remote_ids(records, entry.network, entry.place, target)
        )
        file = None if entry.file is None else FileOut(*entry.file, seq=entry.seq)
        return Outgoing(
            number=entry.number,
            room=entry.room,
            place=entry.place,
            kind=entry.kind,
            event_id=entry.event_id,
            target=target,
            author=_author(entry),
            document=document_of(entry.text, entry.format, entry.mentions),
            before=document_of(entry.before, entry.before_format, entry.mentions),
            emoji=one_line(entry.emoji),
            withdrawn=entry.withdrawn,
            reply_to=self._reply(records, entry),
            thread=entry.thread,
            file=file,
            remote_ids=remote_ids,
            ts=entry.ts,
            late=engine.client.now() - entry.ts > _LATE_MS,
            again=entry.again,
            path=entry.path,
        )

    def _reply(self, records: Reader, entry: Entry) -> ReplyTo | None:
        if entry.reply_to is None:
            return None
        room = self._engine.client.room(entry.room)
        message = room.message(entry.reply_to)
        if message is None:
            return None
        remote_ids = self.remote_ids(records, entry.network, entry.place, entry.reply_to)
        if message.via is not None:
            name = carried_name(message.via.name, message.via.remote_id)
        elif consent_of(records, room.id, message.mid) is Consent.WITHHELD:
            return ReplyTo(remote_ids, remote_name(""))  # neither their words nor their name
        else:
            name = self._engine.author(room, message.mid).name
        there = self._engine.journal.passed(records, entry.network, entry.place, entry.reply_to)
        if there is None or there.state not in (*_ENDED, State.SENDING):
            return ReplyTo((), name)  # it is not there: no word of it gets there by a quote
        if there.incoming:
            return ReplyTo(remote_ids, name, excerpt(document_of(message.text, message.format)))
        # As it reads there: what its author kept in the room does not get out by a quote.
        return ReplyTo(remote_ids, name, excerpt(document_of(there.text, there.format)))

    def remote_ids(
        self, records: Reader, network: str, place: str, event_id: EventId
    ) -> tuple[str, ...]:
        """What a room event is called at a place."""
        passed = self._engine.journal.passed(records, network, place, event_id)
        return () if passed is None else passed.remote_ids

    # -- what became of it -----------------------------------------------------------------------

    def start(self, tx: Transaction, entry: Entry) -> Entry | None:
        """It is handed to the network now: recorded before.

        None where it may not go any more: what was agreed when it was queued, before an outage
        perhaps, may have been taken back since (G4).
        """
        agreed = self._as_agreed(tx, entry)
        if isinstance(agreed, str):
            self.finish(tx, entry, State.DROPPED, agreed)
            return None
        entry = evolve(agreed, state=State.SENDING)
        self._replace(tx, entry)
        if entry.kind is Kind.MESSAGE:
            passed = self._passed(entry, State.SENDING)
            self._keep_passed(tx, entry.network, entry.place, entry.event_id, passed)
        return entry

    def _as_agreed(self, records: Reader, entry: Entry) -> Entry | str:
        """An entry as it may go out by what is agreed now; or why it may not."""
        try:
            room = self._engine.client.room(entry.room)
        except NoSuchRoom:
            return "its room is gone"
        if not self._engine.is_open(room):
            return "its room is not bridged any more"
        if self._engine.echoes.is_there(entry, room):
            return _RING
        if entry.mid is None or entry.via is not None:
            return entry
        consent = consent_of(records, entry.room, entry.mid)
        if entry.kind is Kind.REDACTION:
            return entry if consent is not Consent.WITHHELD else evolve(entry, mid=None, name="")
        if consent is Consent.WITHHELD:
            return _WITHHELD
        if consent is Consent.NICK_ONLY:
            if entry.kind is not Kind.MESSAGE:
                return "its author lets only their name out"
            return evolve(entry, nick_only=True, text="", mentions=(), file=None)
        return entry

    def _passed(self, entry: Entry, state: State, reason: str = "") -> Passed:
        return Passed(
            state=state,
            reason=reason,
            ts=entry.ts,
            text=entry.text,
            format=entry.format,
            doubtful=entry.again,
            path=entry.path,
        )

    def _keep_passed(
        self, tx: Transaction, network: str, place: str, event: EventId, passed: Passed
    ) -> None:
        now = self._engine.client.now()
        self._engine.journal.keep_passed(tx, network, place, event, passed, now)

    def receipt(self, tx: Transaction, entry: Entry, receipt: Receipt) -> None:
        """What the network says of it: recorded after."""
        if receipt.state in (State.QUEUED, State.SENDING):
            again = entry.again or receipt.doubtful
            self._replace(tx, evolve(entry, state=State.QUEUED, again=again))
            return
        metrics = self._engine.metrics
        taken = max(0, self._engine.client.now() - entry.due) / 1000
        metrics.seconds.labels(entry.network).observe(taken)
        if entry.again and receipt.state in _ENDED:
            metrics.doubtful.labels(entry.network).inc()
        self.finish(tx, entry, receipt.state, receipt.reason, receipt.remote_ids)

    def finish(
        self,
        tx: Transaction,
        entry: Entry,
        state: State,
        reason: str = "",
        remote_ids: tuple[str, ...] = (),
    ) -> None:
        """It is over: the journal says how, and where it failed the room is told (G2)."""
        engine, journal = self._engine, self._engine.journal
        journal.remove(tx, entry.number)
        queue = engine.places.get((entry.network, entry.place))
        if queue is not None:
            tx.on_commit(lambda: queue.drop(entry.number))
        engine.metrics.went.labels(entry.network, state.value).inc()
        if entry.kind is Kind.MESSAGE:
            link_is = engine.links.told if state in _ENDED else engine.links.untold
            link_is(tx, entry.network, entry.place, entry.event_id)
            passed = evolve(self._passed(entry, state, reason), remote_ids=remote_ids)
            self._keep_passed(tx, entry.network, entry.place, entry.event_id, passed)
        elif entry.kind is Kind.EDIT and entry.target is not None and state in _ENDED:
            before = journal.passed(tx, entry.network, entry.place, entry.target)
            if before is not None:
                after = evolve(
                    before,
                    text=entry.text,
                    format=entry.format,
                    edits=before.edits + 1,
                    remote_ids=before.remote_ids or remote_ids,
                )
                self._keep_passed(tx, entry.network, entry.place, entry.target, after)
        if state is State.FAILED:
            self._failed(tx, entry, reason)

    def _failed(self, tx: Transaction, entry: Entry, reason: str) -> None:
        """Mark the original as not delivered, and say why."""
        if entry.kind is Kind.MESSAGE:
            self.mark_failed(tx, entry.network, entry.place, entry.event_id, reason)
        else:
            key = f"failed/{entry.kind.value}"
            where = self._engine.networks[entry.network].describe(entry.place)
            text = f"Not told to {where} ({entry.kind.value}): {reason}"
            tx.on_commit(lambda: self._engine.notice(entry.network, entry.place, text, key=key))

    def mark_failed(
        self, tx: Transaction, network: str, place: str, event_id: EventId, reason: str
    ) -> None:
        """A mark on the original, and (once a minute for the same reason) a sentence below it."""
        engine = self._engine
        for _, room in engine.portals_at(network, place):
            message = room.message(event_id)
            if message is None:
                continue
            about = event_id + f"{network}/{place}".encode()
            engine.say(tx, room, Reaction(event_id, FAILED_MARK), "failed", about)
            where = engine.networks[network].describe(place)
            text = f"Not delivered to {where}: {reason}"
            if not engine.is_told(f"{network}/{place}/{reason}"):
                engine.say(tx, room, Text(text, reply_to=event_id), "why failed", about)
        engine.log.warning("not delivered", network=network, place=place, reason=reason)

    def settle_late(self, network: str, place: str, event_id: EventId, receipt: Receipt) -> None:
        """Something that was said turns out to have arrived, or not."""
        journal = self._engine.journal
        with self._engine.client.transaction() as tx:
            passed = journal.passed(tx, network, place, event_id)
            if passed is None or passed.incoming or passed.state is State.FAILED:
                return
            ids = receipt.remote_ids or passed.remote_ids
            after = evolve(passed, state=receipt.state, reason=receipt.reason, remote_ids=ids)
            self._keep_passed(tx, network, place, event_id, after)
            if receipt.state is State.FAILED:
                self._engine.metrics.went.labels(network, State.FAILED.value).inc()
                self.mark_failed(tx, network, place, event_id, receipt.reason)

    def expire(self, queue: PlaceQueue) -> None:
        """Give up what has waited too long, and what is too much: marked, counted, told."""
        now = self._engine.client.now()
        old = [entry for entry in queue.waiting() if entry.expires <= now]
        # Where it was over before it was due, no place made it wait.
        before = [entry for entry in old if entry.expires <= entry.due]
        if before:
            self._give_up(queue, before, "it was said too long before the bridge came to it")
        if waited := [entry for entry in old if entry.expires > entry.due]:
            why = queue.why or "too many messages"
            self._give_up(queue, waited, f"it waited too long ({why})")
        limit = self._backlog(queue)
        messages = [entry for entry in queue.waiting() if entry.kind is Kind.MESSAGE]
        if not queue.is_ready and len(messages) > limit:
            self._give_up(queue, messages[:-limit], f"too many were waiting ({queue.why})")

    def _backlog(self, queue: PlaceQueue) -> int:
        here = (queue.network, queue.place)
        portals = self._engine.portals
        return max(one.backlog for one in portals if (one.network, one.place) == here)

    def _give_up(self, queue: PlaceQueue, entries: list[Entry], reason: str) -> None:
        with self._engine.client.transaction() as tx:
            count = self.skipped(tx, queue)
            for entry in entries:
                self.finish(tx, entry, State.FAILED, reason)
                count += entry.kind is Kind.MESSAGE
            self._engine.journal.keep_fact(tx, _skipped_key(queue), count)

    def skipped(self, records: Reader, queue: PlaceQueue) -> int:
        """How many messages were given up since the place was told."""
        return int(self._engine.journal.fact(records, _skipped_key(queue)) or 0)

    def tell_skipped(self, tx: Transaction, queue: PlaceQueue) -> None:
        """Say so first of all that is said there now."""
        count = self.skipped(tx, queue)
        first = next(iter(queue.entries.values()), None)
        if not count or first is None:
            return
        note = Entry(
            number=0,
            network=queue.network,
            place=queue.place,
            room=first.room,
            kind=Kind.NOTE,
            event_id=first.event_id,
            seq=first.seq,
            ts=first.ts,
            due=0,
            expires=first.expires,
            text=f"{count} earlier message{'s' if count > 1 else ''} from the room could not be "
            "brought here in time",
        )
        # Numbers are of all places: only the journal knows one that is free.
        note = self._engine.journal.add(tx, note)
        self._engine.journal.keep_fact(tx, _skipped_key(queue), None)

        def put_first() -> None:
            queue.entries = {note.number: note, **queue.entries}
            queue.stir()

        tx.on_commit(put_first)

    def resend(self, room: Room, tx: Transaction, event_id: EventId) -> int:
        """Say again what failed, by an admin's wish; how many places that is."""
        message = room.message(event_id)
        if message is None or not self._engine.is_open(room) or self._why_not(tx, room, message):
            return 0
        event_id, count = message.first_id, 0
        for portal in self._engine.portals_of(room):
            passed = self._engine.journal.passed(tx, portal.network, portal.place, event_id)
            if not portal.sends or passed is None or passed.state is not State.FAILED:
                continue
            if self._waiting(portal, event_id) is not None:
                continue  # it was asked for before, and waits
            network = self._engine.networks[portal.network]
            entry = self._said(tx, room, portal, message, passed.path)
            age = int((portal.max_age or network.max_age) * 1000)
            self._add(tx, evolve(entry, expires=entry.due + age))
            count += 1
        return count


def _first(room: Room, event_id: EventId | None) -> EventId | None:
    return None if event_id is None else room.first_id(event_id)


def _author(entry: Entry) -> LocalAuthor | None:
    if entry.mid is None:
        return None
    if entry.via is not None:
        name = carried_name(entry.via.name, entry.via.remote_id)
        network = one_line(entry.via.network)
        return LocalAuthor(entry.mid, f"{name}@{network}", network)
    return LocalAuthor(entry.mid, entry.name, nick_only=entry.nick_only)


def _skipped_key(queue: PlaceQueue) -> str:
    return f"skipped/{queue.network}/{queue.place}"
