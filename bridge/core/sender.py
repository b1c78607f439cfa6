"""What says the journal's entries at one place, in order, at the pace that is allowed (trio)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import trio

from bridge.core.journal import Entry
from bridge.core.model import Outgoing, Receipt, State
from bridge.core.network import Network
from bridge.core.places import PlaceQueue
from ofcd.client import VaultUnwritable
from ofcd.client.applog import traceback_of
from ofcd.protocol.rates import TokenBuckets

if TYPE_CHECKING:
    from bridge.core.engine import Engine

__all__ = ["PlaceSender"]

BATCH: Final = 8
"""Entries handed over together."""
_PAUSE_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 5.0


class PlaceSender:
    """Serves one place."""

    def __init__(self, engine: Engine, network: Network[Any, Any], queue: PlaceQueue) -> None:
        self._engine = engine
        self._network = network
        self._queue = queue
        here = (queue.network, queue.place)
        portals = [p for p in engine.portals if (p.network, p.place) == here]
        self._rate = TokenBuckets(
            burst=max(one.out_burst for one in portals),
            per_second=max(one.out_per_second for one in portals),
            max_keys=1,
        )

    async def run(self) -> None:
        """Say what is due until cancelled."""
        while True:
            changed = self._queue.changed
            try:
                batch = await self._next_batch() if self._queue.is_ready else []
                if batch:
                    await self._send(batch)
                    continue
            except VaultUnwritable as error:  # before any of it was handed over
                self._engine.disk.failed(error)
            with trio.move_on_after(self._look_again()):
                await changed.wait()

    def _look_again(self) -> float:
        due = self._queue.next_due()
        if due is None or not self._queue.is_ready:
            return _LOOK_SECONDS
        return min(_LOOK_SECONDS, max(0.0, (due - self._engine.client.now()) / 1000) + 0.001)

    async def _next_batch(self) -> list[Entry]:
        engine, queue = self._engine, self._queue
        engine.backlog.expire(queue)
        with engine.client.transaction() as tx:
            engine.backlog.tell_skipped(tx, queue)
        due = queue.due(engine.client.now(), BATCH)
        batch: list[Entry] = []
        for entry in due:
            if entry.target is not None and any(one.event_id == entry.target for one in batch):
                break  # first that has to have its id there
            wait = self._rate.take("", engine.client.now())
            if wait and not batch:
                await trio.sleep(wait / 1000)
                self._rate.take("", engine.client.now())
            elif wait:
                break
            batch.append(entry)
        # What waited for its turn may have been taken back meanwhile.
        return [queue.entries[one.number] for one in batch if one.number in queue.entries]

    async def _send(self, batch: Sequence[Entry]) -> None:
        engine = self._engine
        with engine.client.transaction() as tx:
            begun = [engine.handing.start(tx, entry) for entry in batch]
        started = [entry for entry in begun if entry is not None]
        if not started:
            return
        outgoing = [engine.handing.outgoing(engine.client.vault, one) for one in started]
        receipts = await self._deliver(outgoing)
        known = [receipts.get(entry.number, _unknown(entry)) for entry in started]

        def keep() -> None:
            with engine.client.transaction() as tx:
                for entry, receipt in zip(started, known, strict=True):
                    engine.ledger.receipt(tx, entry, receipt)

        # It was said: what became of it is kept, however long the disk takes.
        await engine.disk.again(keep)
        if any(receipt.state is State.QUEUED for receipt in known):
            changed = self._queue.changed
            with trio.move_on_after(_PAUSE_SECONDS):
                await changed.wait()

    async def _deliver(self, batch: Sequence[Outgoing]) -> dict[int, Receipt]:
        try:
            receipts = await self._network.deliver(batch)
        except Exception as error:  # a network's mistake must not end the others
            self._engine.log.error(
                "a network failed to deliver", network=self._network.name, trace=traceback_of(error)
            )
            await trio.sleep(_PAUSE_SECONDS)
            return {}
        return {receipt.number: receipt for receipt in receipts}


def _unknown(entry: Entry) -> Receipt:
    """The network does not say what became of it: it may be there."""
    return Receipt(entry.number, State.QUEUED, doubtful=True)
