"""Running one handler: tries, time limit, middleware, injection; and giving up on it (B3)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import trio
from attrs import define, field, frozen

from bots.context import Context
from bots.dispatch import Call
from bots.effects import APOLOGY, Effects, Pending, sid_of
from bots.errors import Conflict, HandlerTimeout
from bots.events import Event, Message, Tick
from bots.handlers import Handler, Kind
from bots.inbound import Inbound
from bots.limits import Bucket, Rate
from bots.log import traceback_of
from bots.memory import Memory
from bots.middleware import Next, wrap
from bots.records import BOT, DEAD, Draft
from bots.services import Services
from ofcd.client import ClientClosed, Room, Text, Vault, VaultError
from ofcd.protocol.ids import EventId, MemberId, RoomId, tagged_hash

if TYPE_CHECKING:
    from bots.tables.ops import Op

__all__ = ["Outcome", "Subject", "bury", "dead_letters", "run_call"]

_PAUSE_SECONDS: Final = (0.5, 2.0, 5.0)
"""Between one try and the next."""
_APOLOGIES: Final = Rate(5, 60_000)
_DEAD_LETTERS: Final = 1_000
"""Kept; the oldest makes room for a new one."""
_LETTERS: Final = b"letters"
"""In `BOT`: how many there have been."""


@frozen
class Subject:
    """What is being handled."""

    event_id: EventId
    room: Room | None = None
    event: Event | None = None
    tick: Tick | None = None
    missed: tuple[Message, ...] = ()
    owner: MemberId | None = None
    lag: int = 0
    """Log entries of the room that wait to be handled."""
    inbound: Inbound | None = None

    @property
    def room_id(self) -> RoomId | None:
        """The room's id."""
        return None if self.room is None else self.room.id


@define
class Outcome:
    """What came of handling something, to be committed together."""

    draft: Draft
    pending: list[Pending] = field(factory=list)
    ops: list[Op] = field(factory=list)
    """What was done to the bot's own tables."""
    given_up: bool = False
    """A handler failed for good."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to commit but the cursor."""
        return not (self.pending or self.draft.changed or self.ops)


async def run_call(services: Services, subject: Subject, call: Call, outcome: Outcome) -> bool:
    """Run a handler until it ends well, its tries are used up, or its time is: then give up.

    Raises only what no handler is to blame for: `ClientClosed`, `VaultError`, and `Conflict`, after
    which all of the event's handlers are to be run again.
    """
    handler = call.handler
    attempt = 0
    while True:
        error = await _try(services, subject, call, outcome)
        if error is None:
            return True
        attempt += 1
        services.log.warning(
            "handler failed", handler=handler.name, attempt=attempt, exc_info=error
        )
        if isinstance(error, HandlerTimeout) or attempt >= handler.options.tries:
            bury(services, subject, handler, error, outcome)
            return False
        await trio.sleep(_PAUSE_SECONDS[min(attempt, len(_PAUSE_SECONDS)) - 1])


async def _try(
    services: Services, subject: Subject, call: Call, outcome: Outcome
) -> BaseException | None:
    handler = call.handler
    draft = Draft(outcome.draft)
    ctx = make_context(services, subject, call, draft, outcome.ops)
    labels = (services.bot.name, handler.name)
    try:
        async with AsyncExitStack() as stack:
            turn = services.turn(handler)
            if turn is not None:
                await stack.enter_async_context(turn)
            started = trio.current_time()
            with trio.move_on_after(handler.options.timeout) as scope:
                await wrap(services.table.middlewares, _core(services, call))(ctx)
            services.metrics.seconds.labels(*labels).observe(trio.current_time() - started)
    except (ClientClosed, VaultError, Conflict):
        raise
    except (Exception, SystemExit) as error:  # a handler is not asked whether the bot ends
        services.metrics.handled.labels(*labels, "failed").inc()
        return error
    if scope.cancelled_caught:
        services.metrics.handled.labels(*labels, "timeout").inc()
        return HandlerTimeout(f"{handler.name} took over {handler.options.timeout:g} s")
    services.metrics.handled.labels(*labels, "done").inc()
    draft.write(outcome.draft)
    outcome.pending += ctx.effects.pending
    if services.store is not None:
        outcome.ops = ctx.tables.ops
    return None


def make_context(
    services: Services, subject: Subject, call: Call, draft: Draft, ops: Sequence[Op] = ()
) -> Context:
    """The context of one try; `ops` is what was done to the tables before it."""
    event = subject.event
    hops = event.hops + 1 if event is not None else 1
    handler = call.handler
    member = event.sender.mid if event is not None else None
    ctx = Context(
        bot=services.bot,
        handler=handler.name,
        now=services.now(),
        log=services.log.bind(handler=handler.name),
        memory=Memory(draft, subject.room_id, member),
        effects=Effects(services.bot_id, subject.event_id, handler.name, hops),
        records=draft,
        event=event,
        tick=subject.tick,
        inbound=subject.inbound,
        missed=subject.missed,
        owner=subject.owner,
        lag=subject.lag,
        room=subject.room,
        rooms=lambda: services.client.rooms,
        tables=services.tables(ops),
    )
    if isinstance(event, Message):
        ctx.event = event.bound(ctx)
    return ctx


def _core(services: Services, call: Call) -> Next:
    async def core(ctx: Context) -> None:
        given = services.table.injections(call.handler, ctx, services.resources)
        if call.command is None:
            await call.handler.function(**given)
        else:
            await call.command.call(given)

    return core


# -- giving up -------------------------------------------------------------------------------------


def bury(
    services: Services, subject: Subject, handler: Handler, error: BaseException, outcome: Outcome
) -> None:
    """Keep what could not be handled as a dead letter, and say so."""
    letter = tagged_hash("bot", services.bot_id, subject.event_id, handler.name.encode(), b"dead")
    number = letter[:4].hex()
    seq = subject.event.seq if subject.event is not None else None
    where = subject.room_id.hex() if subject.room_id is not None else ""
    draft = outcome.draft
    count = int.from_bytes(draft.get(BOT, _LETTERS) or b"", "big")
    record = {
        "id": number,
        "number": count,
        "room": where,
        "seq": seq,
        "handler": handler.name,
        "error": type(error).__name__,
        "traceback": traceback_of(error),
        "at": services.now(),
    }
    outcome.given_up = True
    draft.put(DEAD, (count % _DEAD_LETTERS).to_bytes(4, "big"), json.dumps(record).encode())
    draft.put(BOT, _LETTERS, (count + 1).to_bytes(8, "big"))
    services.metrics.dead_letters.labels(services.bot.name, handler.name).inc()
    services.log.error("handler given up", handler=handler.name, id=number, seq=seq, exc_info=error)
    _apologise(services, subject, handler, number, outcome)


def _apologise(
    services: Services, subject: Subject, handler: Handler, number: str, outcome: Outcome
) -> None:
    """A short word in the room, which names its owner: who can look into the log."""
    room, event = subject.room, subject.event
    if room is None:
        return
    bucket = Bucket(f"apology|{room.id.hex()}", _APOLOGIES)
    if services.limits.take([bucket], services.now()) is not None:
        return
    asked = handler.kind is Kind.COMMAND and event is not None
    text = (
        f"Sorry, that went wrong (error {number}); nothing was done. My owner is told."
        if asked
        else f"Something went wrong in {handler.name!r} (error {number}); it was left undone."
    )
    content = Text(
        text,
        reply_to=event.id if asked and event is not None else None,
        mentions=() if subject.owner is None else (subject.owner,),
    )
    sid = sid_of(services.bot_id, subject.event_id, handler.name, APOLOGY)
    hops = event.hops + 1 if event is not None else 1
    outcome.pending.append(Pending(room.id, content, sid, hops))


def dead_letters(vault: Vault) -> list[Mapping[str, object]]:
    """What was given up, oldest first."""
    letters = [json.loads(raw) for _, raw in vault.items(DEAD)]
    return sorted(letters, key=lambda letter: int(letter["number"]))
