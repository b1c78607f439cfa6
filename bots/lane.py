"""One lane of a running bot: a bounded queue, and one thing at a time from it, each one commit.

    timers due, what comes from outside   -> queue -> run, commit

A commit is one vault transaction: what the handlers remember, what they say, and how far the lane
has come. Dies the process before it, nothing has happened and the same is done again; after it,
it is done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import trio

from bots.dispatch import Call
from bots.errors import Conflict, InboundFailed, NotServed, Unsayable
from bots.events import Tick
from bots.inbound import Delivery, forget_old, is_known, keep_known
from bots.jobs import Run, keep_rest, next_runs
from bots.poison import is_poison
from bots.records import Draft, Writes
from bots.runs import Outcome, Subject, run_call
from bots.services import Services
from ofcd.client import ClientClosed, JoinAsked, LoggedEvent, Room, RoomFrozen, VaultError
from ofcd.errors import OfcError
from ofcd.protocol.ids import EventId, MemberId, RoomId

__all__ = ["Item", "Lane"]

QUEUE: Final = 16
_LONG_SECONDS: Final = 3_600.0

Item = LoggedEvent | Run | Delivery | JoinAsked | None
"""None: caught up."""


class Lane:
    """The timers that belong to no room; and what a room's worker shares with it."""

    room: Room | None = None
    room_id: RoomId | None = None

    def __init__(self, services: Services) -> None:
        self.services = services
        self.scope = trio.CancelScope()
        self.vault = services.client.vault
        self._send, self._receive = trio.open_memory_channel[Item](QUEUE)
        self._jobs_changed = trio.Event()
        self._deliveries: set[Delivery] = set()

    @property
    def lag(self) -> int:
        """Log entries not handled yet."""
        return 0

    @property
    def owner(self) -> MemberId | None:
        """Who is to be told of trouble."""
        return None

    # -- running ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until told to stop (then what is begun is ended) or cancelled."""
        try:
            await self._serve()
        finally:
            self._send.close()
            for delivery in self._deliveries:
                delivery.fail(NotServed("the bot stopped serving that room"))

    async def _serve(self) -> None:
        with self.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._feed)
                nursery.start_soon(self._clock)
                nursery.start_soon(self._until_stopping)
                for task in self.tasks():
                    nursery.start_soon(task)
                async for item in self._receive:
                    await self.handle(item)
                    self.services.measure()
                    if self.services.stopping.is_set():
                        break
                await self.settled()
                self.ended()
                nursery.cancel_scope.cancel()

    async def handle(self, item: Item) -> None:
        """Do one thing."""
        if isinstance(item, Run):
            await self._handle_run(item)
        elif isinstance(item, Delivery):
            await self._handle_delivery(item)

    def tasks(self) -> Sequence[Callable[[], Awaitable[None]]]:
        """What else goes on beside the queue."""
        return ()

    async def settled(self) -> None:
        """In an orderly stop, wait for what handlers have left to be done."""

    def committed(self) -> None:
        """What came of something is durable now."""

    def ended(self) -> None:
        """The last thing in an orderly stop."""

    async def feed(self) -> None:
        """Whatever comes besides timers."""

    async def put(self, item: Item) -> None:
        """Queue something; waits while the queue is full."""
        await self._send.send(item)

    async def deliver(self, delivery: Delivery) -> None:
        """Queue something from outside, and wait until it is settled."""
        self._deliveries.add(delivery)
        try:
            await self.put(delivery)
            await delivery.settled.wait()
        except trio.ClosedResourceError:
            delivery.fail(NotServed("the bot is stopping"))
        finally:
            self._deliveries.discard(delivery)

    async def _until_stopping(self) -> None:
        await self.services.stopping.wait()
        self._send.close()

    async def _feed(self) -> None:
        try:
            await self.feed()
        except trio.ClosedResourceError:
            return  # stopping

    async def _clock(self) -> None:
        try:
            while True:
                await self._until_next_run()
        except trio.ClosedResourceError:
            return  # stopping

    async def _until_next_run(self) -> None:
        self._jobs_changed = trio.Event()
        runs, coming = next_runs(self.vault, self.room_id, self.services.now())
        for run in runs[:1]:  # one at a time: the next is looked for once this one is committed
            await self.put(run)
        wait = _LONG_SECONDS
        if not runs and coming is not None:
            wait = max(0.0, min(wait, (coming - self.services.now()) / 1000))
        with trio.move_on_after(wait):
            await self._jobs_changed.wait()

    async def _handle_run(self, run: Run) -> None:
        services = self.services
        handler = services.table.timers.get(run.job.name)
        tick = Tick(run.job.name, run.planned, run.job.payload)
        subject = Subject(
            run.event_id(services.bot_id), self.room, tick=tick, owner=self.owner, lag=self.lag
        )
        while True:
            outcome = Outcome(Draft(self.vault))
            if outcome.draft.get(*run.place) is None:
                break  # cancelled while it was queued
            keep_rest(outcome.draft, run)
            calls = [Call(handler)] if handler is not None and run.planned else []
            if await self.run_all(subject, calls, outcome) and await self.commit(outcome, None):
                break
        self._jobs_changed.set()

    async def _handle_delivery(self, delivery: Delivery) -> None:
        services = self.services
        event_id = delivery.event_id(services.bot_id, self.room_id)
        subject = Subject(
            event_id, self.room, owner=self.owner, lag=self.lag, inbound=delivery.inbound
        )
        while not delivery.settled.is_set():
            outcome = Outcome(Draft(self.vault))
            if is_known(outcome.draft, event_id):
                delivery.settle(fresh=False)
            elif await self.run_all(subject, [Call(delivery.handler)], outcome):
                await self._commit_delivery(delivery, event_id, outcome)

    async def _commit_delivery(
        self, delivery: Delivery, event_id: EventId, outcome: Outcome
    ) -> None:
        name, now = delivery.handler.name, self.services.now()
        if not outcome.given_up:
            keep_known(outcome.draft, event_id, now)
            forget_old(self.vault, outcome.draft, now)
        try:
            if not await self.commit(outcome, None, or_raise=True):
                return
        except (VaultError, ClientClosed):
            raise
        except OfcError as error:
            delivery.fail(InboundFailed(f"{name} could not say it in its room ({error.code})"))
            return
        if outcome.given_up:
            delivery.fail(InboundFailed(f"{name} failed; the bot's log says why"))
        delivery.settle(fresh=True)

    async def run_all(self, subject: Subject, calls: Sequence[Call], outcome: Outcome) -> bool:
        """Run the handlers of one event; False where another's commit undid one: all once more."""
        if is_poison(self.services, subject, calls, outcome):
            return True
        try:
            for call in calls:
                await run_call(self.services, subject, call, outcome)
        except Conflict:
            return False
        return True

    # -- committing ------------------------------------------------------------------------------

    async def commit(self, outcome: Outcome, seq: int | None, *, or_raise: bool = False) -> bool:
        """One transaction; False where another handler got in between: all of it once more.

        A message that can not be said stays unsaid, and the rest is written all the same; with
        `or_raise` nothing is, and the `OfcError` that says why is raised.
        """
        services = self.services
        count = len(outcome.pending)
        if count:
            pause = services.limits.reserve(services.outbound, services.now(), cost=count)
            await trio.sleep(pause / 1000)
        while True:
            try:
                self._write(outcome, seq)
            except Conflict:
                return False
            except Unsayable as one:
                if isinstance(one.why, RoomFrozen) and one.pending.room == self.room_id:
                    self.scope.cancel()  # the cursor stays: a person has to look first
                    if or_raise:
                        raise one.why from None
                    return True
                if or_raise:
                    raise one.why from None
                services.log.error("could not be said", code=one.why.code)
                outcome.pending.remove(one.pending)
            else:
                break
        self._jobs_changed.set()
        self.committed()
        return True

    def _write(self, outcome: Outcome, seq: int | None) -> None:
        with self.services.transaction(outcome.ops) as tx:
            outcome.draft.write(tx)
            self.services.say(tx, outcome.pending)
            self.services.keep_limits(tx)
            if seq is not None:
                self.keep_position(tx, seq)

    def keep_position(self, tx: Writes, seq: int) -> None:
        """How far this lane has come, in the transaction that does what was to be done."""
