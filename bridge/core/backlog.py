"""What waits for too long, or is too much: given up, counted, and told at its place (G2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.core.journal import Entry
from bridge.core.model import Kind, State
from bridge.core.places import PlaceQueue
from ofcd.client import Transaction
from ofcd.client.vault import Reader

if TYPE_CHECKING:
    from bridge.core.engine import Engine

__all__ = ["Backlog"]


class Backlog:
    """Keeps each place's queue within its limits."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

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
        limit = self._limit(queue)
        messages = [entry for entry in queue.waiting() if entry.kind is Kind.MESSAGE]
        if not queue.is_ready and len(messages) > limit:
            self._give_up(queue, messages[:-limit], f"too many were waiting ({queue.why})")

    def _limit(self, queue: PlaceQueue) -> int:
        here = (queue.network, queue.place)
        portals = self._engine.portals
        return max(one.backlog for one in portals if (one.network, one.place) == here)

    def _give_up(self, queue: PlaceQueue, entries: list[Entry], reason: str) -> None:
        with self._engine.client.transaction() as tx:
            count = self.skipped(tx, queue)
            for entry in entries:
                self._engine.ledger.finish(tx, entry, State.FAILED, reason)
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
            said=first.said,
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


def _skipped_key(queue: PlaceQueue) -> str:
    return f"skipped/{queue.network}/{queue.place}"
