"""A running bot: its resources, one worker for each of its rooms, start and stop (trio)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

from bots.bot import Bot
from bots.context import Context
from bots.dispatch import Call
from bots.handlers import Handler
from bots.inbound import Inbox
from bots.inject import Resources
from bots.jobs import plan
from bots.lane import Lane
from bots.log import get_log
from bots.metrics import Metrics
from bots.records import Draft
from bots.runs import Subject, make_context
from bots.schedule import Timer
from bots.services import Services, bot_id_of, load_limits
from bots.table import build
from bots.worker import Worker
from ofcd.client import (
    Client,
    ClientClosed,
    ClientError,
    Room,
    RoomStateChanged,
    RoomStatus,
    TooSlow,
)
from ofcd.protocol.ids import EventId, RoomId, tagged_hash

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bots.tables.store import TableStore

__all__ = ["Engine", "open_engine"]

GRACE: Final = 10.0
"""Seconds that a stop leaves to handlers under way, and to what they said."""
_OVER: Final = frozenset({RoomStatus.EVICTED, RoomStatus.LEFT, RoomStatus.CLOSED})


class Engine:
    """One bot on one client. Made by `open_engine`."""

    def __init__(self, services: Services, nursery: trio.Nursery) -> None:
        """Use `open_engine`."""
        self.services = services
        self.workers: dict[RoomId | None, Lane] = {}
        self._nursery = nursery
        self._running = 0
        self._idle = trio.Event()
        self._leaving = trio.CancelScope(shield=True)

    def start(self) -> None:
        """Serve every room there is, and the timers of none."""
        for room in self.services.client.rooms:
            self.serve(room)
        self._start_worker(None, None)

    def serve(self, room: Room) -> None:
        """Serve a room, unless it is served already or nothing can be done there."""
        if room.id in self.workers or self.services.stopping.is_set():
            return
        self._say_status(room, room.status)
        if not room.status.is_open:
            return
        room.hold_joins(self.services.table.decides_joins)
        self._start_worker(room.id, room)

    def _start_worker(self, key: RoomId | None, room: Room | None) -> None:
        services = self.services
        timers = {
            spec.handler.name: Timer(spec.schedule, services.now(), spec.overdue)
            for spec in services.bot.timers
            if spec.schedule is not None and spec.for_each_room == (room is not None)
        }
        draft = Draft(services.client.vault)
        if plan(draft, key, timers):
            with services.client.transaction() as tx:
                draft.write(tx)
        worker = Lane(services) if room is None else Worker(services, room)
        self.workers[key] = worker
        self._running += 1
        self._nursery.start_soon(self._run_worker, key, worker)

    async def _run_worker(self, key: RoomId | None, worker: Lane) -> None:
        try:
            await worker.run()
        except ClientClosed:
            self.services.log.debug("the client is closed")
        finally:
            self.workers.pop(key, None)
            self._running -= 1
            self._idle.set()

    async def watch(self) -> None:
        """Follow what happens to the rooms: new ones, evictions, forks."""
        client = self.services.client
        while True:
            try:
                with client.events() as events:
                    async for event in events:
                        if isinstance(event, RoomStateChanged):
                            self._status_changed(event)
                        self.look_for_rooms()
                        self.measure()
            except TooSlow:
                self.services.log.warning("live events came too fast; looking anew")
            except ClientClosed:
                return

    def look_for_rooms(self) -> None:
        """Serve what rooms have come; it is done by itself, too, with the next event."""
        for room in self.services.client.rooms:
            if room.id not in self.workers and room.status.is_open:
                self.serve(room)

    def measure(self) -> None:
        """Put how many log entries are not handled yet, all rooms together, into the metrics.

        Whenever that changes, and not when somebody asks: they do so from another thread.
        """
        lag = sum(worker.lag for worker in self.workers.values())
        self.services.metrics.lag.labels(self.services.bot.name).set(lag)

    def _status_changed(self, event: RoomStateChanged) -> None:
        room = self.services.client.room(event.room)
        self._say_status(room, event.status)
        if event.status in _OVER or event.status is RoomStatus.FROZEN:
            worker = self.workers.get(event.room)
            if worker is not None:
                worker.scope.cancel()

    def _say_status(self, room: Room, status: RoomStatus) -> None:
        if status is RoomStatus.ACTIVE:
            return
        words = {
            RoomStatus.EVICTED: "evicted from a room: nothing is tried there any more",
            RoomStatus.FROZEN: "a room is frozen: its log contradicts itself, a person has to look",
            RoomStatus.HIDDEN: "the relay says there is no such room",
            RoomStatus.WAITING: "a room waits: what its relay says does not fit, nor is it proven",
        }
        self.services.log.error(
            words.get(status, f"a room is {status.value}"), code=room.status_code
        )

    def abandon(self) -> None:
        """On the way out nothing is waited for: for crashes in tests."""
        self._leaving.cancel()

    async def stop(self, grace: float = GRACE) -> None:
        """Let handlers under way end and what they said be sent, for `grace` seconds at most."""
        self.services.stopping.set()
        with trio.move_on_after(grace):
            while self._running:
                self._idle = trio.Event()
                await self._idle.wait()
            await self._flushed()
        for worker in self.workers.values():
            worker.scope.cancel()

    async def leave(self, grace: float) -> None:
        """Stop in order, though the task be cancelled already."""
        with self._leaving as scope:
            scope.deadline = trio.current_time() + 2 * grace
            await self.stop(grace)
            await _all(self.services, self.services.bot.stops)

    async def _flushed(self) -> None:
        client = self.services.client
        for room in client.rooms:
            for queued in room.outbox():
                try:
                    await room.wait_sent(queued.sid)
                except ClientError as error:
                    self.services.log.info("still queued at the end", code=error.code)
                    break


@asynccontextmanager
async def open_engine(
    bot: Bot,
    client: Client,
    *,
    metrics: Metrics | None = None,
    grace: float = GRACE,
    careful: bool = False,
) -> AsyncIterator[Engine]:
    """A bot that serves all rooms of `client`; on the way out it stops in order.

    `careful`: it ended badly last time; what it then does again and again is given up.

    Raises `SetupError` before anything runs, if the bot's code contradicts itself.
    """
    table = build(bot)
    inbox = Inbox(bot)
    given: dict[type, object] = {Bot: bot, Client: client, Inbox: inbox, **bot.overrides}
    resources = Resources(bot.factories, given)
    handlers = [*table.summaries.values(), *table.timers.values()]
    services = Services(
        bot=bot,
        client=client,
        bot_id=bot_id_of(client.vault),
        table=table,
        resources=resources,
        log=get_log(bot.name),
        metrics=metrics or Metrics(),
        limits=load_limits(client.vault),
        careful=careful,
        turns={
            handler.name: trio.Semaphore(handler.options.concurrency)
            for handler in handlers
            if handler.options.concurrency is not None
        },
    )
    async with _tables(bot, client) as services.store, resources.open():
        await _all(services, bot.starts)
        async with trio.open_nursery() as nursery:
            engine = Engine(services, nursery)
            inbox.lanes = engine.workers
            nursery.start_soon(engine.watch)
            if services.store is not None:
                nursery.start_soon(services.store.keep_small)
            engine.start()
            services.measure = engine.measure
            try:
                yield engine
            finally:
                await engine.leave(grace)
                services.metrics.lag.labels(bot.name).set(0)
                nursery.cancel_scope.cancel()


@asynccontextmanager
async def _tables(bot: Bot, client: Client) -> AsyncIterator[TableStore | None]:
    if bot.tables_spec is None:
        yield None
        return
    from bots.tables.store import open_store  # SQLAlchemy, only for bots that have tables

    begin, spec = client.transaction, bot.tables_spec
    async with open_store(client.vault, begin, spec, bot.tables_limit) as store:
        yield store


async def _all(services: Services, handlers: list[Handler]) -> None:
    """Run what is to be run at start or stop; what they remember is kept. Raises what they do."""
    for handler in handlers:
        draft = Draft(services.client.vault)
        event_id = EventId(tagged_hash("bot", services.bot_id, services.now()))
        subject = Subject(event_id)
        ctx = make_context(services, subject, Call(handler), draft)
        given = services.table.injections(handler, ctx, services.resources)
        with trio.fail_after(handler.options.timeout):
            await handler.function(**given)
        _keep(services, draft, ctx)


def _keep(services: Services, draft: Draft, ctx: Context) -> None:
    ops = () if services.store is None else ctx.tables.ops
    with services.transaction(ops) as tx:
        draft.write(tx)
        services.say(tx, ctx.effects.pending)
