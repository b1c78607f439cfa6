"""What waits to go out and what became of it, in journal and memory together (G1, G2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import evolve

from bridge.core.journal import Entry, Passed
from bridge.core.model import Kind, Receipt, State
from ofcd.client import Reaction, Text, Transaction
from ofcd.protocol.ids import EventId

if TYPE_CHECKING:
    from bridge.core.engine import Engine

__all__ = ["ENDED", "FAILED_MARK", "Ledger"]

FAILED_MARK: Final = "⚠️"
"""The reaction on a message that did not arrive."""
ENDED: Final = (State.SENT, State.CONFIRMED)
"""It is there."""


class Ledger:
    """Adds entries, changes and ends them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, tx: Transaction, entry: Entry) -> None:
        """It is to go out: behind all else."""
        entry = self._engine.journal.add(tx, entry)
        queue = self._engine.places[entry.network, entry.place]
        tx.on_commit(lambda: queue.put(entry))

    def replace(self, tx: Transaction, entry: Entry) -> None:
        """Another one in the place of what has its number."""
        self._engine.journal.keep(tx, entry)
        queue = self._engine.places[entry.network, entry.place]
        tx.on_commit(lambda: queue.put(entry))

    def keep_passed(
        self, tx: Transaction, network: str, place: str, event: EventId, passed: Passed
    ) -> None:
        """Keep what became of a room event at a place."""
        now = self._engine.client.now()
        self._engine.journal.keep_passed(tx, network, place, event, passed, now)

    def started(self, tx: Transaction, entry: Entry) -> Entry:
        """It is handed to the network now: recorded before."""
        entry = evolve(entry, state=State.SENDING)
        self.replace(tx, entry)
        if entry.kind is Kind.MESSAGE:
            passed = _passed(entry, State.SENDING)
            self.keep_passed(tx, entry.network, entry.place, entry.event_id, passed)
        return entry

    def receipt(self, tx: Transaction, entry: Entry, receipt: Receipt) -> None:
        """What the network says of it: recorded after."""
        if receipt.state in (State.QUEUED, State.SENDING):
            again = entry.again or receipt.doubtful
            self.replace(tx, evolve(entry, state=State.QUEUED, again=again))
            return
        metrics = self._engine.metrics
        taken = max(0, self._engine.client.now() - entry.due) / 1000
        metrics.seconds.labels(entry.network).observe(taken)
        if entry.again and receipt.state in ENDED:
            metrics.doubtful.labels(entry.network).inc()
        self.finish(tx, entry, receipt.state, receipt.reason, receipt.remote_ids)
        if receipt.state is State.DROPPED and receipt.reason:
            self._notice(tx, entry, receipt.reason)

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
            link_is = engine.links.told if state in ENDED else engine.links.untold
            link_is(tx, entry.network, entry.place, entry.event_id)
            passed = evolve(_passed(entry, state, reason), remote_ids=remote_ids)
            self.keep_passed(tx, entry.network, entry.place, entry.event_id, passed)
        elif entry.kind is Kind.EDIT and entry.target is not None and state in ENDED:
            before = journal.passed(tx, entry.network, entry.place, entry.target)
            if before is not None:
                after = evolve(
                    before,
                    text=entry.text,
                    format=entry.format,
                    edits=before.edits + 1,
                    remote_ids=before.remote_ids or remote_ids,
                )
                self.keep_passed(tx, entry.network, entry.place, entry.target, after)
        if state is State.FAILED:
            self._failed(tx, entry, reason)

    def _failed(self, tx: Transaction, entry: Entry, reason: str) -> None:
        """Mark the original as not delivered, and say why."""
        if entry.kind is Kind.MESSAGE:
            self.mark_failed(tx, entry.network, entry.place, entry.event_id, reason)
        else:
            self._notice(tx, entry, reason)

    def _notice(self, tx: Transaction, entry: Entry, reason: str) -> None:
        """Say in its room, once a minute, what of this kind is not told there."""
        key, room = f"failed/{entry.kind.value}", entry.room
        where = self._engine.networks[entry.network].describe(entry.place)
        text = f"Not told to {where} ({entry.kind.value}): {reason}"
        notice = self._engine.notice
        tx.on_commit(lambda: notice(entry.network, entry.place, text, key=key, room=room))

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
            self.keep_passed(tx, network, place, event_id, after)
            if receipt.state is State.FAILED:
                self._engine.metrics.went.labels(network, State.FAILED.value).inc()
                self.mark_failed(tx, network, place, event_id, receipt.reason)


def _passed(entry: Entry, state: State, reason: str = "") -> Passed:
    return Passed(
        state=state,
        reason=reason,
        ts=entry.ts,
        text=entry.text,
        format=entry.format,
        doubtful=entry.again,
        path=entry.path,
    )
