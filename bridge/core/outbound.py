"""From a room's events to the journal: what each means for the places it is joined to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from bridge.core.consent import WHY_WITHHELD, Consent, consent_of, is_private
from bridge.core.guard import MAX_HOPS, WHY_RING, room_tag
from bridge.core.journal import Entry, Passed
from bridge.core.ledger import ENDED
from bridge.core.model import Kind, State
from bridge.core.names import outside_name
from bridge.core.settings import Portal
from ofcd.client import (
    LoggedEvent,
    MemberLeft,
    Message,
    MessageEdited,
    MessageReacted,
    MessageReceived,
    MessageRedacted,
    MessageUnreadable,
    NameChanged,
    Room,
    RoomRenamed,
    Text,
    TextFormat,
    Transaction,
)
from ofcd.protocol.ids import EventId, MemberId
from ofcd.protocol.records import Cap

if TYPE_CHECKING:
    from bridge.core.engine import Engine

__all__ = ["Outbound"]

_UNKNOWN: Final = "unknown_type"
"""Why a message can not be read that is of a kind this version does not know."""


class Outbound:
    """Makes entries of what is said, and of what is changed or taken back."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

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
                case MessageUnreadable():
                    self._keyless(tx, room, portal, event)
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
                        self._engine.ledger.add(tx, evolve(entry, mid=event.mid, text=event.topic))

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
            said=min(born, room.received(event.seq)),
        )

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
                self._engine.ledger.keep_passed(
                    tx, portal.network, portal.place, message.first_id, passed
                )
                return
        reason = self._why_not(tx, room, message)
        if not reason and message.unreadable:
            if message.unreadable == _UNKNOWN:
                why = "it is of a kind that this bridge does not know"
                self._lost(tx, portal, message.first_id, message.ts, why)
                return
            reason = "it is not there any more"
        if not reason and engine.echoes.came_back(portal, message):
            reason = WHY_RING
            who = room.name_of(message.mid)
            tx.on_commit(lambda: engine.ring(portal.network, portal.place, who))
        if not reason and message.file is not None and not portal.files and not message.text:
            reason = "a file, and files are not told there"
        if reason:
            self._dropped(tx, portal, message, reason)
            return
        entry = self._said(tx, room, portal, message, (*path, room_tag(room.id)))
        hold = portal.hold if engine.networks[portal.network].holds_edits else 0.0
        self._engine.ledger.add(tx, evolve(entry, due=entry.due + int(hold * 1000)))

    def _keyless(
        self, tx: Transaction, room: Room, portal: Portal, event: MessageUnreadable
    ) -> None:
        """No key came for it: what would not have been told anyway is none that is lost."""
        message = room.message(event.event_id)
        reason = "it is not there any more"
        if message is None or (reason := self._why_not(tx, room, message)):
            self._dropped(tx, portal, event, reason)
            return
        why = "its key did not reach the bridge in time"
        self._lost(tx, portal, event.first_id, event.ts, why)

    def _dropped(
        self, tx: Transaction, portal: Portal, what: Message | MessageUnreadable, reason: str
    ) -> None:
        """It is not told there, and not to be: that is kept and counted, and nobody is told."""
        passed = Passed(state=State.DROPPED, reason=reason, ts=what.ts)
        here = (portal.network, portal.place)
        self._engine.ledger.keep_passed(tx, *here, what.first_id, passed)
        self._engine.metrics.dropped(portal.network)

    def _lost(self, tx: Transaction, portal: Portal, event_id: EventId, ts: int, why: str) -> None:
        """What can not be read can not be told: as what the network refuses, it is marked (G2)."""
        ledger, here = self._engine.ledger, (portal.network, portal.place)
        ledger.keep_passed(tx, *here, event_id, Passed(state=State.FAILED, reason=why, ts=ts))
        self._engine.metrics.went.labels(portal.network, State.FAILED.value).inc()
        ledger.mark_failed(tx, *here, event_id, why)

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
        if message.redacted_by is not None:
            return "it was taken back"
        if message.via is None and Cap.BRIDGE in room.caps_of(message.mid):
            return "another bridge's own word"
        if is_private(message.text):
            return "its author says that it stays in the room"
        if consent_of(tx, room.id, message.mid) is Consent.WITHHELD and message.via is None:
            return WHY_WITHHELD
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
                self._engine.ledger.finish(
                    tx, waiting, State.DROPPED, "its author says that it stays in the room"
                )
            elif consent is Consent.WITHHELD:
                self._engine.ledger.finish(tx, waiting, State.DROPPED, WHY_WITHHELD)
            elif waiting.text != message.text:
                self._engine.ledger.replace(tx, self._said_by(tx, room, message, waiting))
            return
        passed = self._engine.journal.passed(tx, portal.network, portal.place, message.first_id)
        if passed is None or passed.incoming or passed.text == message.text:
            return
        is_told = portal.edits != "off" and portal.max_edits > 0 and consent is Consent.FULL
        if not is_told or is_private(message.text) or passed.state not in (*ENDED, State.SENDING):
            self._engine.metrics.dropped(portal.network)
            return
        if passed.edits >= portal.max_edits:
            self._engine.metrics.dropped(portal.network)
            self._say_no_more_edits(tx, room, portal, message)
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
            self._engine.ledger.replace(tx, evolve(kept, before_format=newest.before_format))
            return
        self._engine.ledger.add(tx, entry)

    def _say_no_more_edits(
        self, tx: Transaction, room: Room, portal: Portal, message: Message
    ) -> None:
        """Who edits on has to know that nobody outside reads it: once for each message."""
        where = self._engine.networks[portal.network].describe(portal.place)
        text = f"{where} was told {portal.max_edits} edits of this message, and is told no more."
        about = message.first_id + f"{portal.network}/{portal.place}".encode()
        self._engine.say(tx, room, Text(text, reply_to=message.event_id), "no more edits", about)

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
            self._engine.ledger.finish(tx, waiting, State.DROPPED, "taken back before it was sent")
            return
        passed = self._engine.journal.passed(tx, portal.network, portal.place, target)
        if passed is None or (passed.incoming and event.mid == room.me):
            return
        if not portal.redactions:
            self._engine.metrics.dropped(portal.network)
            return
        if passed.state in (*ENDED, State.SENDING):
            entry = self._entry(room, portal, Kind.REDACTION, event)
            # It goes whatever its author has said: it takes words away, and needs no name.
            if consent_of(tx, room.id, event.mid) is not Consent.WITHHELD:
                name = self._engine.author(room, event.mid).name
                entry = evolve(entry, mid=event.mid, name=name)
            self._engine.ledger.add(tx, evolve(entry, target=target))

    def _reaction(self, tx: Transaction, room: Room, portal: Portal, event: MessageReacted) -> None:
        target = room.first_id(event.target)
        passed = self._engine.journal.passed(tx, portal.network, portal.place, target)
        is_there = passed is not None and passed.state in (*ENDED, State.SENDING)
        # What waits there yet stands before it, in the same queue.
        is_there = is_there or self._waiting(portal, target) is not None
        if not is_there or consent_of(tx, room.id, event.mid) is not Consent.FULL:
            self._engine.metrics.dropped(portal.network)
            return
        for waiting in self._engine.places[portal.network, portal.place].waiting():
            same = (Kind.REACTION, target, event.mid, event.reaction)
            is_same = (waiting.kind, waiting.target, waiting.mid, waiting.emoji) == same
            if is_same and waiting.withdrawn != event.withdrawn and not waiting.again:
                self._engine.ledger.finish(
                    tx, waiting, State.DROPPED, "taken back before it was sent"
                )
                return
        entry = self._entry(room, portal, Kind.REACTION, event)
        name = self._engine.author(room, event.mid).name
        hold = self._engine.networks[portal.network].reaction_hold
        entry = evolve(entry, target=target, mid=event.mid, name=name)
        entry = evolve(entry, reply_to=target, due=entry.due + int(hold * 1000))
        self._engine.ledger.add(tx, evolve(entry, emoji=event.reaction, withdrawn=event.withdrawn))

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
            self._engine.ledger.add(tx, evolve(entry, text=first + ", ".join(shown) + verb))

    def resend(self, room: Room, tx: Transaction, event_id: EventId) -> int:
        """Say again what failed, by an admin's wish; how many places that is."""
        message = room.message(event_id)
        if message is None or message.unreadable or not self._engine.is_open(room):
            return 0
        if self._why_not(tx, room, message):
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
            self._engine.ledger.add(tx, evolve(entry, expires=entry.due + age))
            count += 1
        return count


def _first(room: Room, event_id: EventId | None) -> EventId | None:
    return None if event_id is None else room.first_id(event_id)
