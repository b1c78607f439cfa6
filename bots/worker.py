"""One room of a running bot: its log in order, its timers, and nothing that waits for another's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

import trio

from bots.backlog import Backlog
from bots.bot import Bot
from bots.dispatch import Call, Plan, Situation, dispatch
from bots.door import apply_decisions, decision_of, keep_asked, request_of
from bots.effects import APOLOGY, Pending, sid_of
from bots.errors import Conflict
from bots.events import Event, Member, Message
from bots.hands import Hands
from bots.inbound import Delivery
from bots.jobs import Run
from bots.lane import Item, Lane
from bots.limits import Bucket, Rate
from bots.reading import member_of, read
from bots.records import Draft, Writes
from bots.rooms import RoomSettings, settings_of
from bots.runs import Outcome, Subject
from bots.services import Services
from ofcd.client import (
    ClientClosed,
    JoinAsked,
    LoggedEvent,
    MemberJoined,
    MessageInvalid,
    MessageUnreadable,
    Reaction,
    RoleChanged,
    Room,
    Text,
    TooSlow,
)
from ofcd.client.feed import LoggedEvents
from ofcd.protocol.ids import EventId, MemberId, Sid
from ofcd.protocol.records import Cap, Role

__all__ = ["APP", "Worker"]

APP: Final = "bot"
"""The name of a bot's cursor."""
KEY_PATIENCE: Final = 60.0
"""Seconds a key may take before the log says that the bot waits for it."""
KEY_GIVE_UP: Final = 24 * 3_600_000
"""Milliseconds after which what can not be read is passed over."""
_SETTLE: Final = 2.0
"""Seconds of quiet after which a bot that was away has caught up."""
_LAZY: Final = 64
"""Entries that concern no handler, after which the cursor is written all the same."""
_TELL: Final = Rate(6, 60_000)


class Worker(Lane):
    """Serves one room."""

    room: Room

    def __init__(self, services: Services, room: Room) -> None:
        super().__init__(services)
        self.room = room
        self.room_id = room.id
        self._backlog = Backlog(self.vault, room.id)
        self._waiting_from = -1
        self._events: LoggedEvents | None = None
        self._fed = -1
        """The last entry that was put into the queue."""
        self._hands = Hands(services, room)
        self._asking: set[bytes] = set()
        """Join requests that are in the queue."""
        self._entry: LoggedEvent | None = None
        """What is being handled."""
        self._cuts = room.cuts
        self._kept = self._position = room.cursor(APP)

    # -- as a room view (reading.View) -----------------------------------------------------------

    @property
    def me(self) -> MemberId:
        """The bot itself."""
        return self.room.me

    def member(self, mid: MemberId) -> Member:
        """Who that is now."""
        return member_of(self.room, mid)

    def first_id(self, event_id: EventId) -> EventId:
        """The id under which the bot first had what has this one."""
        return self.room.first_id(event_id)

    def own_sid(self, target: EventId) -> Sid | None:
        """The sid of a message of the bot's own; None for others'."""
        message = self.room.message(target)
        return message.sid if message is not None and message.mine else None

    # -- running ---------------------------------------------------------------------------------

    @property
    def lag(self) -> int:
        """Log entries not handled yet."""
        position = self._position
        if position >= self._fed and self._events is not None:
            position = max(position, self._events.passed)  # entries that are no events
        return max(0, self.room.head - position)

    async def feed(self) -> None:
        """The room's log, and the word that it has been caught up with."""
        room = self.room
        if self._position < 0:
            # A bot begins with its own admission: what was said before is not for it.
            self._position = await room.wait_admitted() - 1
        events = self._events = room.events_since(self._position, give_up_after=KEY_GIVE_UP)
        while True:
            event: LoggedEvent | None = None
            with trio.move_on_after(_SETTLE if self._backlog else KEY_PATIENCE):
                event = await events.__anext__()
            if event is not None:
                self._fed = event.seq
                await self.put(event)
            elif self._backlog and room.is_live:
                await self.put(None)
            else:
                self._say_waiting(room)

    # -- one thing at a time ---------------------------------------------------------------------

    async def handle(self, item: Item) -> None:
        """Do one thing."""
        if item is None:
            await self._handle_backlog()
        elif isinstance(item, Run | Delivery):
            await super().handle(item)
        elif isinstance(item, JoinAsked):
            await self._handle_asked(item)
        else:
            await self._handle_entry(item)

    async def _handle_entry(self, entry: LoggedEvent) -> None:
        self._entry = entry
        try:
            if self._stands():
                await self._handle_standing(entry)
        finally:
            self._entry = None

    async def _handle_standing(self, entry: LoggedEvent) -> None:
        self._say_standing(entry)
        self._count(entry)
        if isinstance(entry, MessageUnreadable):
            lost = Outcome(Draft(self.vault), [self._say_lost(entry)])
            while self._stands() and not await self.commit(lost, entry.seq):
                pass
            return
        event = read(entry, self)
        plan = Plan() if event is None else self._dispatch(self.room, event)
        if plan.dropped:
            self.services.metrics.dropped.labels(self.services.bot.name, plan.dropped).inc()
        if self._backlog and (plan.calls or plan.answer):
            await self._handle_backlog()  # those came first
        if event is None or plan.is_empty:
            self._pass_over(entry.seq)
            return
        subject = Subject(event.id, self.room, event, owner=self.owner)
        answer = self._limit(event, plan)
        while self._stands():
            outcome = Outcome(Draft(self.vault))
            if answer is not None:
                outcome.pending.append(answer)
            else:
                self._answer(event, plan, outcome)
                self._keep_missed(event, plan, outcome)
                if not await self.run_all(subject, plan.calls, outcome):
                    continue
            if await self.commit(outcome, entry.seq):
                return

    def _dispatch(self, room: Room, event: Event) -> Plan:
        services = self.services
        bot, settings = services.bot, self._settings
        situation = Situation(
            room.me,
            room.my_name,
            settings.prefix,
            services.now(),
            settings.zone,
            known={Room: room, Member: event.sender, Bot: bot},
            only_addressed=Cap.ONLY_ADDRESSED in room.caps_of(room.me),
        )
        return dispatch(event, services.table.handlers, services.table.commands, situation)

    @property
    def _settings(self) -> RoomSettings:
        bot = self.services.bot
        return settings_of(self.vault, self.room.id).or_else(bot.prefix, bot.timezone)

    async def _handle_backlog(self) -> None:
        """The bot has caught up: say what was not done, and hand over what was kept."""
        while True:
            outcome = Outcome(Draft(self.vault))
            note = self._backlog.note(self._settings.prefix)
            if note is not None:
                text, last = note
                sid = sid_of(self.services.bot_id, last, "away", APOLOGY)
                outcome.pending.append(Pending(self.room.id, Text(text), sid, 1))
            done = [
                await self._hand_over(name, kept, outcome) for name, kept in self._backlog.kept()
            ]
            self._backlog.clear(outcome.draft)
            if all(done) and await self.commit(outcome, None):
                return

    async def _hand_over(self, name: str, kept: Sequence[EventId | int], outcome: Outcome) -> bool:
        """What was kept for one handler; False where all is to be done once more."""
        handler = self.services.table.summaries.get(name)
        missed = [event for one in kept for event in await self._again(self.room, one)]
        if handler is None or not missed:
            return True
        last = missed[-1]
        subject = Subject(last.id, self.room, last, None, tuple(missed), self.owner)
        return await self.run_all(subject, [Call(handler)], outcome)

    async def _again(self, room: Room, which: EventId | int) -> Sequence[Message]:
        """What was kept; nothing, where it came to nothing, and was not said again."""
        message = None if isinstance(which, int) else room.message(which)
        seq = which if isinstance(which, int) else -1 if message is None else message.seq
        if seq < 0:
            return []
        async for entry in room.events_since(seq - 1, follow=False):
            event = read(entry, self, kept=True)
            return [event] if isinstance(event, Message) and event.seq == seq else []
        return []

    # -- who asks in, and what is to be done to the room ------------------------------------------

    def tasks(self) -> Sequence[Callable[[], Awaitable[None]]]:
        """Doing what was decided; and, where the bot decides who comes in, the door."""
        door = [self._watch_door] if self.services.table.decides_joins else []
        return [self._hands.run, *door]

    async def settled(self) -> None:
        """What handlers decided is done, before an orderly stop."""
        await self._hands.idle()

    def committed(self) -> None:
        """Acts and decisions were written, perhaps."""
        self._hands.wake()
        if self.services.table.decides_joins:
            apply_decisions(self.vault, self.room)

    async def _watch_door(self) -> None:
        with suppress(trio.ClosedResourceError, ClientClosed):  # stopping
            while True:
                with suppress(TooSlow), self.room.events() as events:
                    await self._look_at_door()
                    async for event in events:
                        if isinstance(event, JoinAsked):
                            await self._look_at_door()

    async def _look_at_door(self) -> None:
        for asked in apply_decisions(self.vault, self.room):
            if asked.request not in self._asking:
                self._asking.add(asked.request)
                await self.put(asked)

    async def _handle_asked(self, asked: JoinAsked) -> None:
        self._asking.discard(asked.request)
        services = self.services
        request = request_of(self.room, asked, services.now())
        if request is None or decision_of(self.vault, self.room.id, asked.request) is not None:
            return
        calls = [Call(handler) for handler in services.table.handlers if handler.matches(request)]
        subject = Subject(request.id, self.room, request, owner=self.owner)
        while True:
            outcome = Outcome(Draft(self.vault))
            keep_asked(outcome.draft, self.room, request)
            if await self.run_all(subject, calls, outcome) and await self.commit(outcome, None):
                return

    # -- instead of running ----------------------------------------------------------------------

    def _limit(self, event: Event, plan: Plan) -> Pending | None:
        """A cool-down that a call has to wait for: the call is dropped, the caller told once."""
        services, room = self.services, self.room
        buckets = [
            limit.of(call.handler.name, member=event.sender.mid.hex(), room=room.id.hex())
            for call in plan.calls
            for limit in services.table.limits.get(call.handler.name, ())
        ]
        wait = services.limits.take(buckets, services.now()) if buckets else None
        if wait is None:
            return None
        services.metrics.dropped.labels(services.bot.name, "limit").inc()
        sid = sid_of(services.bot_id, event.id, "limit", APOLOGY)
        if wait.tell:
            return Pending(room.id, Text(wait.sentence, reply_to=event.id), sid, event.hops + 1)
        # A reaction says "not now" without a word.
        return Pending(room.id, Reaction(event.id, "⏳"), sid, event.hops + 1)

    def _answer(self, event: Event, plan: Plan, outcome: Outcome) -> None:
        """Words about how a command is used, at most six a minute to one member."""
        if plan.answer is None:
            return
        services, room = self.services, self.room
        sid = sid_of(services.bot_id, event.id, "answer", APOLOGY)
        text = Text(plan.answer.text, reply_to=event.id)
        if plan.answer.key:
            bucket = Bucket(f"told|{plan.answer.key}|{event.sender.mid.hex()}", _TELL)
            if services.limits.take([bucket], services.now()) is not None:
                return
        outcome.pending.append(Pending(room.id, text, sid, event.hops + 1))

    def _keep_missed(self, event: Event, plan: Plan, outcome: Outcome) -> None:
        if plan.skipped is not None:
            self.services.metrics.dropped.labels(self.services.bot.name, "age").inc()
            self._backlog.skip(outcome.draft, plan.skipped.name, event)
        for handler in plan.kept:
            self._backlog.keep(outcome.draft, handler.name, event)

    # -- committing ------------------------------------------------------------------------------

    def keep_position(self, tx: Writes, seq: int) -> None:
        """The cursor. Raises `Conflict` where what was handled has come to nothing meanwhile."""
        if not self._stands():
            raise Conflict
        self.room.set_cursor(tx, seq, APP)  # type: ignore[arg-type]  # it asks only for `put`
        self._position = self._kept = seq

    def ended(self) -> None:
        """The last thing in an orderly stop."""
        self._keep_cursor()

    def _pass_over(self, seq: int) -> None:
        """An entry without effects: its cursor is written with the next that has some."""
        if not self._stands():
            return
        self._position = seq
        if seq - self._kept >= _LAZY:
            self._keep_cursor()

    def _stands(self) -> bool:
        """Whether what is being handled still stands in the log; how far this has come does then.

        What came to nothing is not handled: it is brought once more if it is said again.
        """
        end = self.room.held_since(self._cuts)
        self._cuts = self.room.cuts
        if end is not None:
            self._position, self._kept = min(self._position, end), min(self._kept, end)
            self._fed = min(self._fed, end)
        return self._entry is None or self.room.holds(self._entry)

    def _keep_cursor(self) -> None:
        self._stands()
        if self._position > self._kept:
            with self.services.client.transaction() as tx:
                self.room.set_cursor(tx, self._position, APP)
            self._kept = self._position

    # -- keys, owner, counts ---------------------------------------------------------------------

    def _say_waiting(self, room: Room) -> None:
        """The log learns, once for each gap, that messages wait for a key.

        The room can not be told: without its key nothing can be sealed for it.
        """
        if room.head <= self._position or not room.is_live:
            return
        first = next(iter(room.messages(since=self._position + 1, limit=1)), None)
        if first is not None and first.unreadable and first.seq != self._waiting_from:
            self._waiting_from = first.seq
            self.services.log.warning("waiting for a key", seq=first.seq)

    def _say_lost(self, entry: MessageUnreadable) -> Pending:
        """The room learns, once for each key, that messages are lost on the bot (B4)."""
        text = "I could not read some messages: their key never reached me. I go on from here."
        # The same for all messages under one key: the outbox knows it from the first.
        sid = sid_of(self.services.bot_id, self.room.id, "keys", entry.epoch)
        return Pending(self.room.id, Text(text), sid, 1)

    def _say_standing(self, entry: LoggedEvent) -> None:
        """The log learns what the bot is here, where that is not as it should be."""
        if not isinstance(entry, MemberJoined | RoleChanged) or entry.member != self.room.me:
            return
        if Cap.BOT not in entry.caps:
            self.services.log.warning("not marked as a bot: invite it with the capability `bot`")
        if entry.role is Role.READONLY:
            self.services.log.warning("readonly in a room: nothing can be said there")

    @property
    def owner(self) -> MemberId | None:
        """Whose bot it is; root, if that member is gone."""
        sponsor = self.room.sponsor_of(self.room.me)
        if sponsor is not None and not sponsor.gone:
            return sponsor.mid
        roots = (m.mid for m in self.room.members() if m.role is Role.ROOT and not m.is_me)
        return next(roots, None)

    def _count(self, entry: LoggedEvent) -> None:
        name = self.services.bot.name
        if isinstance(entry, MessageInvalid):
            self.services.metrics.malformed.labels(name).inc()
        elif isinstance(entry, MessageUnreadable):
            self.services.metrics.undecryptable.labels(name).inc()
