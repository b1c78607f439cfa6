"""Everything a handler may want of the event it handles, in one object."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import trio
from attrs import define, field

from bots.effects import Effects, check_text
from bots.errors import BotError
from bots.events import Event, Member, Message, Tick
from bots.inbound import Inbound
from bots.jobs import Job, job_id, save_job
from bots.memory import Memory
from bots.powers import Powers
from bots.records import JOBS, Draft
from bots.rooms import RoomSettings, settings_of
from bots.schedule import Once, Schedule, Timer
from ofcd.client import (
    Content,
    Edit,
    Reaction,
    Redaction,
    Room,
    Sent,
    SignalKind,
    Text,
    TextFormat,
)
from ofcd.protocol.ids import EventId, MemberId, RoomId, Sid, tagged_hash

if TYPE_CHECKING:
    from bots.bot import Bot
    from bots.log import Log
    from bots.tables import Tables

__all__ = ["Context", "Progress"]


@define
class Progress:
    """A line that says how far something is; see `Context.working`."""

    _ctx: Context
    event_id: EventId

    async def update(self, text: str) -> None:
        """Put other words into the line, at once."""
        await self._ctx.at_once(Edit(self.event_id, check_text(text), TextFormat.LITE))

    async def done(self, text: str) -> Sid:
        """The line's last words, sent when the handler has ended."""
        return await self._ctx.edit(self.event_id, text)


@define(eq=False, slots=False)
class Context(Powers):
    """One run of one handler. What it sends and remembers takes effect together, when it ends.

    A handler that raises, is cancelled, or dies with its process has sent nothing and changed
    nothing, but for what is said to happen at once; run again, it sends the same under the same
    ids.
    """

    bot: Bot
    handler: str
    """Its name."""
    now: int
    """Milliseconds since 1970."""
    log: Log = field(repr=False)
    """For what is worth a line; never message text."""
    memory: Memory = field(repr=False)
    effects: Effects = field(repr=False)
    records: Draft = field(repr=False)
    event: Event | None = None
    tick: Tick | None = None
    inbound: Inbound | None = None
    missed: tuple[Message, ...] = ()
    """For `missed=SUMMARISE`: what came while the bot was away, in order."""
    owner: MemberId | None = None
    """Whose bot it is, who signed for its keys; the room's root, if that member is gone."""
    lag: int = 0
    """For a timer: log entries of its room that the bot has received, and not handled yet."""
    _room: Room | None = None
    _rooms: Callable[[], list[Room]] = field(default=list, repr=False)
    _tables: Tables | None = field(default=None, repr=False)

    # -- where and who ---------------------------------------------------------------------------

    @property
    def room(self) -> Room:
        """The room. What is done through it happens at once, and again if this runs again.

        So change it by the context's own `evict`, `rotate` and so on.
        """
        if self._room is None:
            raise BotError("this timer belongs to no room")
        return self._room

    @property
    def rooms(self) -> list[Room]:
        """All rooms that the bot is in, for `send(room=…)`: a timer of no room has them, too."""
        return [room for room in self._rooms() if room.status.is_open]

    @property
    def message(self) -> Message:
        """The message being handled. Raises `BotError` where the event is none."""
        if not isinstance(self.event, Message):
            raise BotError(f"{self.handler} is not handling a message")
        return self.event

    @property
    def sender(self) -> Member:
        """Who caused the event."""
        if self.event is None:
            raise BotError(f"{self.handler} handles a timer: no member caused it")
        return self.event.sender

    @property
    def is_caught_up(self) -> bool:
        """For a timer: whether all that was said in its room, as far as one knows, is handled.

        A timer that is due while the bot is away runs before what came meanwhile.
        """
        return self.room.is_live and self.lag == 0

    @property
    def prefix(self) -> str:
        """What the bot's commands begin with in this room."""
        return self._settings.prefix

    @property
    def zone(self) -> ZoneInfo:
        """The time zone in which times are read in this room."""
        return self._settings.zone

    @property
    def _settings(self) -> RoomSettings:
        kept = RoomSettings() if self._room is None else settings_of(self.records, self._room.id)
        return kept.or_else(self.bot.prefix, self.bot.timezone)

    @property
    def tables(self) -> Tables:
        """The bot's own tables. Raises `BotError` where it has declared none."""
        if self._tables is None:
            raise BotError("this bot has no tables: declare them with bot.tables(metadata)")
        return self._tables

    @property
    def idempotency_key(self) -> str:
        """The same for every run of this handler on this event: for effects elsewhere (B1).

        Hand it to the service you call, so that a second run is not a second order.
        """
        effects = self.effects
        key = tagged_hash(
            "bot", effects.bot_id, effects.event_id, effects.handler.encode(), b"idempotency"
        )
        return key[:16].hex()

    # -- saying something, when the handler has ended --------------------------------------------

    async def reply(self, text: str, *, markdown: bool = True, mention: bool = False) -> Sid:
        """Answer the message (or say something in the room, where the event is none).

        `markdown`: **bold**, *italic*, `code`, > quotes, links: the markdown-lite of every
        client. In a thread the answer stays there. Raises `TextTooLong`.
        """
        message = self.event if isinstance(self.event, Message) else None
        return await self.answer(message, text, markdown=markdown, mention=mention)

    async def answer(
        self,
        message: Message | None,
        text: str,
        *,
        markdown: bool = True,
        mention: bool = False,
        thread: EventId | None = None,
    ) -> Sid:
        """Answer any message; see `reply`. `thread` is its first event."""
        return await self._say(self._text(message, text, markdown, mention, thread))

    async def send(
        self,
        text: str,
        *,
        room: Room | RoomId | None = None,
        markdown: bool = True,
        mentions: Sequence[MemberId] = (),
        thread: EventId | None = None,
    ) -> Sid:
        """Say something in this room, or in another one of the bot's."""
        form = TextFormat.LITE if markdown else TextFormat.PLAIN
        content = Text(text, form, None, thread, tuple(mentions))
        return await self._say(content, room)

    async def react(
        self, emoji: str, *, target: EventId | None = None, remove: bool = False
    ) -> Sid:
        """Put a reaction on the message handled (or another), or withdraw it."""
        return await self._say(Reaction(target or self._target(), emoji, remove))

    async def edit(self, target: EventId, text: str, *, markdown: bool = True) -> Sid:
        """New words for an earlier message of the bot's."""
        form = TextFormat.LITE if markdown else TextFormat.PLAIN
        return await self._say(Edit(target, text, form))

    async def redact(self, target: EventId | None = None, reason: str = "") -> Sid:
        """Take a message back: the bot's own, or anyone's if the bot is an owner."""
        return await self._say(Redaction(target or self._target(), reason))

    async def send_file(
        self,
        path: Path | str | bytes,
        *,
        name: str | None = None,
        mime: str = "application/octet-stream",
        caption: str = "",
    ) -> Sid:
        """Seal a file and store it now; tell the room of it when the handler has ended.

        `path` is where it stands, or what is in it, as bytes: those touch no disk, and want a name.
        """
        ref = await self.room.upload(path, name=name, mime=mime, caption=caption)
        return await self._say(ref)

    # -- later -----------------------------------------------------------------------------------

    def once(self, timer: Callable[..., object], when: Schedule | int, payload: str = "") -> str:
        """Set off a `@bot.timer()` function at a moment (ms since 1970) or by a schedule.

        It is kept with the rest of what this handler does. Returns an id for `cancel`. `payload`
        comes back as `ctx.tick.payload`; inside a room, the timer belongs to that room.
        """
        schedule = Once(when) if isinstance(when, int) else when
        spec = self.bot.timer_of(timer)
        number = self.effects.next_sid().hex()
        job = Job(spec.handler.name, Timer(schedule, self.now, spec.overdue), payload)
        self.records.put(JOBS, job_id(self._room_id, job.name, number), save_job(job))
        return number

    def cancel(self, timer: Callable[..., object], number: str) -> bool:
        """Cancel what `once` set in this room; False if it is over."""
        key = job_id(self._room_id, self.bot.timer_of(timer).handler.name, number)
        there = self.records.get(JOBS, key) is not None
        self.records.delete(JOBS, key)
        return there

    # -- at once ---------------------------------------------------------------------------------

    def typing(self) -> None:
        """Show that an answer is being made: ephemeral, not stored, not waited for."""
        self.room.typing(SignalKind.TYPING)

    async def at_once(self, content: Content | str) -> Sent:
        """Send now and wait for the relay's word, whatever becomes of this handler.

        Run again, the handler sends it no second time (its id is the same), and gets the first
        answer. Raises what `Room.send` does.
        """
        made = Text(content, TextFormat.LITE) if isinstance(content, str) else content
        sid = self.effects.next_sid_at_once()
        return await self.room.send_body(made, sid=sid, hops=self.effects.hops)

    @asynccontextmanager
    async def working(self, text: str) -> AsyncIterator[Progress]:
        """A line that says what goes on, sent at once, and changed as you go.

        async with ctx.working("rolling out") as progress:
            await progress.update("half done")
            await progress.done("rolled out")
        """
        message = self.event if isinstance(self.event, Message) else None
        self.typing()
        sent = await self.at_once(self._text(message, text, True, False, None))
        yield Progress(self, sent.event_id)

    @property
    def _room_id(self) -> RoomId | None:
        return None if self._room is None else self._room.id

    # -- inside ----------------------------------------------------------------------------------

    def _text(
        self,
        message: Message | None,
        text: str,
        markdown: bool,
        mention: bool,
        thread: EventId | None,
    ) -> Text:
        form = TextFormat.LITE if markdown else TextFormat.PLAIN
        if message is None:
            return Text(check_text(text), form, thread=thread)
        mentions = (message.sender.mid,) if mention else ()
        return Text(check_text(text), form, message.id, thread or message.thread, mentions)

    async def _say(self, content: Any, room: Room | RoomId | None = None) -> Sid:
        await trio.lowlevel.checkpoint()
        where = room.id if isinstance(room, Room) else room or self.room.id
        return self.effects.say(RoomId(where), content)

    def _target(self) -> EventId:
        if self.event is None:
            raise BotError(f"{self.handler} handles a timer: name the message")
        target: EventId = getattr(self.event, "target", self.event.id)
        return target
