"""From the journal to what a network is handed, as far as that is still agreed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import evolve

from bridge.core.consent import WHY_WITHHELD, Consent, consent_of
from bridge.core.formatting import document_of, excerpt, one_line
from bridge.core.guard import WHY_RING
from bridge.core.journal import Entry
from bridge.core.ledger import ENDED
from bridge.core.model import FileOut, Kind, LocalAuthor, Outgoing, ReplyTo, State
from bridge.core.names import carried_name, remote_name
from ofcd.client import NoSuchRoom, Transaction
from ofcd.client.vault import Reader
from ofcd.protocol.ids import EventId

if TYPE_CHECKING:
    from bridge.core.engine import Engine

__all__ = ["Handing"]

_LATE_MS: Final = 60_000


class Handing:
    """Hands entries over."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def start(self, tx: Transaction, entry: Entry) -> Entry | None:
        """It is handed to the network now: recorded before.

        None where it may not go any more: what was agreed when it was queued, before an outage
        perhaps, may have been taken back since (G4).
        """
        agreed = self._as_agreed(tx, entry)
        if isinstance(agreed, str):
            self._engine.ledger.finish(tx, entry, State.DROPPED, agreed)
            return None
        return self._engine.ledger.started(tx, agreed)

    def _as_agreed(self, records: Reader, entry: Entry) -> Entry | str:
        """An entry as it may go out by what is agreed now; or why it may not."""
        try:
            room = self._engine.client.room(entry.room)
        except NoSuchRoom:
            return "its room is gone"
        if not self._engine.is_open(room):
            return "its room is not bridged any more"
        if self._engine.echoes.is_there(entry, room):
            return WHY_RING
        if entry.kind is Kind.REACTION and not self._is_target_there(records, entry):
            return "what it is about is not there"
        if entry.mid is None or entry.via is not None:
            return entry
        consent = consent_of(records, entry.room, entry.mid)
        if entry.kind is Kind.REDACTION:
            return entry if consent is not Consent.WITHHELD else evolve(entry, mid=None, name="")
        if consent is Consent.WITHHELD:
            return WHY_WITHHELD
        if consent is Consent.NICK_ONLY:
            if entry.kind is not Kind.MESSAGE:
                return "its author lets only their name out"
            return evolve(entry, nick_only=True, text="", mentions=(), file=None)
        return entry

    def _is_target_there(self, records: Reader, entry: Entry) -> bool:
        """Whether it was said: it may have waited before this did, and been given up."""
        if entry.target is None:
            return False
        passed = self._engine.journal.passed(records, entry.network, entry.place, entry.target)
        return passed is not None and passed.state in (*ENDED, State.SENDING)

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
            late=engine.client.now() - entry.said > _LATE_MS,
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
        if there is None or there.state not in (*ENDED, State.SENDING):
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


def _author(entry: Entry) -> LocalAuthor | None:
    if entry.mid is None:
        return None
    if entry.via is not None:
        name = carried_name(entry.via.name, entry.via.remote_id)
        network = one_line(entry.via.network)
        return LocalAuthor(entry.mid, f"{name}@{network}", network)
    return LocalAuthor(entry.mid, entry.name, nick_only=entry.nick_only)
