"""`ofc chat`: one room, live. What is typed comes in as objects, what is to be seen goes out.

It runs where the vault is open, which need not be the process that has the terminal (agent.py);
screen.py is that side. A line that begins with `/` is a command, with `//` a text that begins
with `/`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import trio
from attrs import define, field, frozen

from ofcd.client import (
    AppEvent,
    Content,
    Edit,
    LinkState,
    LinkStateChanged,
    LoggedEvent,
    MemberReached,
    Message,
    MessageAccepted,
    MessageHeld,
    MessageReceived,
    NotAllowed,
    Reaction,
    Redaction,
    Room,
    RoomStateChanged,
    RoomStatus,
    SignalKind,
    SignalReceived,
    Stage,
    Text,
    TooSlow,
)
from ofcd.errors import OfcError
from ofcd.ofc.console import Shape
from ofcd.ofc.context import Context, room_label
from ofcd.ofc.errors import CommandError, TimedOut, UsageError
from ofcd.ofc.files import fetch_file, send_file
from ofcd.ofc.history import last_events
from ofcd.ofc.layout import marks
from ofcd.ofc.records import member_record
from ofcd.ofc.sentences import delivery_sentence, label
from ofcd.ofc.text import aligned
from ofcd.protocol.ids import MemberId

__all__ = ["COMMANDS", "Chat", "Typed", "parse_line"]

TYPING_SECONDS: Final = 6.0
"""How long a member is shown as typing after the last signal."""
_COMMAND_SECONDS: Final = 60
_KEY_WAIT: Final = 10_000
_FINAL: Final = frozenset({RoomStatus.LEFT, RoomStatus.EVICTED, RoomStatus.CLOSED})


# -- what was typed --------------------------------------------------------------------------------


@frozen
class Typed:
    """A line: something to say (`command` is None), or a command and what follows it."""

    command: str | None
    rest: str

    def words(self, count: int) -> list[str]:
        """The first `count` - 1 words of the rest, and what follows them."""
        return self.rest.split(None, count - 1)


def parse_line(line: str) -> Typed | None:
    """What a line means; None for an empty one."""
    if not line.strip():
        return None
    if line.startswith("//"):
        return Typed(None, line[1:])
    if not line.startswith("/"):
        return Typed(None, line)
    name, _, rest = line[1:].partition(" ")
    return Typed(name.lower(), rest.strip())


# -- the session -----------------------------------------------------------------------------------


@define(eq=False)
class Chat:
    """A person in a room."""

    context: Context
    room: Room
    _folder: Path = field(factory=Path.cwd, init=False)
    """Where the person's own process is: relative paths start there."""
    _typing: dict[MemberId, float] = field(factory=dict, init=False)
    _typing_changed: trio.Event = field(factory=trio.Event, init=False)
    _shown_status: dict[str, Any] = field(factory=dict, init=False)
    _last_said: int | None = field(default=None, init=False)
    """The number of this person's last message that was shown."""
    _refused: NotAllowed | None = field(default=None, init=False)

    async def run(self, history: int) -> None:
        """Until the person is done, or out of the room (then raises `NotAllowed`)."""
        await self._greet()
        cursor = await self._show_history(history)
        async with trio.open_nursery() as nursery:
            for part in (self._live, self._fade_typing):
                nursery.start_soon(self._until, part, nursery.cancel_scope)
            nursery.start_soon(self._follow, cursor)
            await self._until(self._listen, nursery.cancel_scope)
        await self.context.flush(self.room)
        await self.context.say(Shape.QUIT)
        if self._refused is not None:
            raise self._refused

    async def _until(self, part: Callable[[], Awaitable[None]], scope: trio.CancelScope) -> None:
        """Run one part; the chat ends when it does."""
        await part()
        scope.cancel()

    async def _greet(self) -> None:
        room = self.room
        late = await self.context.catch_up(room)
        count = len(room.members())
        await self.context.say(
            Shape.TITLE,
            room=room.id.hex(),
            name=room_label(room),
            text=f"{room_label(room)}: {count} member{'' if count == 1 else 's'}, "
            f"end-to-end encrypted. /help for commands, /quit to leave the chat.",
        )
        if late is not None:
            await self.context.note(f"{late}. What you write waits until it can be.")
        await self._say_status()

    async def _show_history(self, count: int) -> int:
        """The last entries, with a mark above what is new; the number of the last one."""
        events = await last_events(self.room, count)
        mark = _first_unread(events, self.room)
        for number, event in enumerate(events):
            if number == mark:
                await self.context.say(Shape.MARK, text=f"{self.room.unread} unread")
            await self._show(event)
        self.room.mark_read()
        return events[-1].seq if events else self.room.head

    # -- what happens ----------------------------------------------------------------------------

    async def _show(self, event: AppEvent) -> None:
        made = self.context.event(self.room, event)
        if made is not None:
            await self.context.say(Shape.EVENT, **made)
        if isinstance(event, MessageReceived) and event.message.mine:
            self._last_said = event.seq
            await self._say_status()

    async def _follow(self, cursor: int) -> None:
        async for event in self.room.events_since(cursor, give_up_after=_KEY_WAIT):
            await self._show(event)
            if isinstance(event, MessageReceived) and not event.message.mine:
                self.room.mark_read(event.seq)
                self._stops_typing(event.mid)
                await self._say_status()

    async def _live(self) -> None:
        """What stands in no log; returns when this client is out of the room."""
        while self.room.status not in _FINAL:
            with self.context.client.events() as events, contextlib.suppress(TooSlow):
                async for event in events:
                    await self._happened(event)
                    if self.room.status in _FINAL:
                        break
        code = self.room.status_code or self.room.status.value
        self._refused = NotAllowed(code, f"you are out of {room_label(self.room)}")

    async def _happened(self, event: AppEvent) -> None:
        here = getattr(event, "room", None) == self.room.id
        match event:
            case LinkStateChanged():
                if event.url == self.room.relay_url and event.state is not LinkState.CONNECTING:
                    await self._say_status()
            case SignalReceived() if here:
                await self._signalled(event)
            case MessageReceived() if not here:
                await self._say_status()
            case MemberReached() | MessageAccepted() | MessageHeld() if here:
                await self._say_status()
            case RoomStateChanged() if here:
                await self._show(event)
            case _:
                if here and getattr(event, "event_id", None) is None:
                    await self._show(event)

    async def _signalled(self, event: SignalReceived) -> None:
        if event.kind == SignalKind.TYPING:
            self._typing[event.mid] = trio.current_time() + TYPING_SECONDS
        else:
            self._stops_typing(event.mid)
        self._typing_changed.set()
        await self._say_status()

    def _stops_typing(self, mid: MemberId) -> None:
        self._typing.pop(mid, None)

    async def _fade_typing(self) -> None:
        while True:
            self._typing_changed = trio.Event()
            first = min(self._typing.values(), default=float("inf"))
            with trio.move_on_at(first):
                await self._typing_changed.wait()
            now = trio.current_time()
            self._typing = {mid: until for mid, until in self._typing.items() if until > now}
            await self._say_status()

    async def _say_status(self) -> None:
        status = {
            "typing": [label(self.room.name_of(mid), mid.hex()) for mid in self._typing],
            "online": self.room.is_live or not self._offline,
            "detail": self._offline,
            "delivery": self._delivery(),
            "elsewhere": sum(r.unread for r in self.context.client.rooms if r != self.room),
        }
        if status != self._shown_status:
            self._shown_status = status
            await self.context.say(Shape.STATUS, **status)

    def _delivery(self) -> str:
        """How far what this person said last has come."""
        waiting = [item.stage for item in self.room.outbox() if item.stage is not Stage.FAILED]
        if Stage.HELD in waiting:
            return f"{len(waiting)} kept at your relay until the room's own relay is back"
        if waiting:
            return f"{len(waiting)} waiting to be sent"
        return "" if self._last_said is None else self.delivered(self._last_said)

    @property
    def last_said(self) -> str:
        """What names this person's last message."""
        if self._last_said is None:
            raise CommandError("you have said nothing here yet")
        return f"#{self._last_said}"

    def delivered(self, seq: int) -> str:
        """How far a message has come, as a sentence."""
        delivery = self.room.delivery(seq)
        reached, awaited = (
            [label(self.room.name_of(mid), mid.hex()) for mid in mids]
            for mids in (delivery.reached, delivery.awaited)
        )
        return delivery_sentence(seq, reached, awaited)

    @property
    def _offline(self) -> str:
        return self.context.offline_detail(self.room.relay_url)

    # -- what is typed ---------------------------------------------------------------------------

    async def _listen(self) -> None:
        async for given in self.context.inputs:
            match given:
                case {"line": str(line)}:
                    if isinstance(given.get("cwd"), str):
                        self._folder = Path(given["cwd"])
                    if await self._typed(line):
                        return
                case {"typing": True}:
                    self.room.typing()
                case {"end": True}:
                    return

    async def _typed(self, line: str) -> bool:
        """Do what a line says; True if it says to quit."""
        typed = parse_line(line)
        if typed is None:
            return False
        try:
            if typed.command is None:
                await self.say(Text(typed.rest))
            elif typed.command in ("quit", "exit", "q"):
                return True
            else:
                await self._do(typed)
        except OfcError as error:
            await self.context.say(Shape.PROBLEM, code=error.code, text=str(error))
        return False

    async def _do(self, typed: Typed) -> None:
        command = COMMANDS.get(typed.command or "")
        if command is None:
            raise UsageError(f"there is no /{typed.command}: /help lists what there is")
        if len(typed.words(command.words)) < command.needs:
            raise UsageError(f"it goes like this: {command.usage}")
        with trio.move_on_after(_COMMAND_SECONDS) as scope:
            await command.do(self, typed)
        if scope.cancelled_caught:
            raise TimedOut(f"/{typed.command}: no answer within {_COMMAND_SECONDS} seconds")

    async def say(self, content: Content) -> None:
        """Queue something to be said; it is shown once the relay has it."""
        with self.context.client.transaction() as tx:
            self.room.queue(tx, content)
        waiting = sum(1 for item in self.room.outbox() if item.stage is not Stage.FAILED)
        if self._offline and waiting:
            await self.context.note(f"{waiting} waiting for the relay ({self._offline})")

    def message(self, word: str) -> Message:
        """The message that a word names."""
        return self.context.message(self.room, word)

    def path(self, word: str) -> Path:
        """A path as the person means it."""
        return self._folder / Path(word).expanduser()


def _first_unread(events: list[LoggedEvent], room: Room) -> int | None:
    """Where in `events` the unread ones begin."""
    left = room.unread
    for number in range(len(events) - 1, -1, -1):
        event = events[number]
        if isinstance(event, MessageReceived) and not event.message.mine:
            left -= 1
            if left == 0:
                return number
    return 0 if left > 0 and events and room.unread else None


# -- commands --------------------------------------------------------------------------------------


@frozen
class _ChatCommand:
    usage: str
    summary: str
    do: Callable[[Chat, Typed], Awaitable[None]]
    needs: int = 0
    """Words it can not do without."""
    words: int = 1
    """Into how many the line is split."""


async def _help(chat: Chat, typed: Typed) -> None:
    rows = [(command.usage, command.summary) for command in COMMANDS.values()]
    rows.append(("/quit", "end the chat"))
    await chat.context.note("\n".join(aligned(rows)))


async def _members(chat: Chat, typed: Typed) -> None:
    rows = []
    for member in chat.room.members():
        shown = marks(member_record(member))
        you = " (you)" if member.is_me else ""
        name = label(member.name, member.mid.hex())
        role = member.role.value + (f" [{shown}]" if shown else "")
        rows.append((name + you, role, member.mid.hex()[:8]))
    await chat.context.note("\n".join(aligned(rows)))


async def _invite(chat: Chat, typed: Typed) -> None:
    code = await chat.room.invite()
    invites = {invite.invite_id: invite.expires for invite in chat.room.invites()}
    await chat.context.say(
        Shape.INVITE,
        link=code.link(),
        room=chat.room.id.hex(),
        invite=code.invite_id.hex(),
        expires=invites.get(code.invite_id),
    )


async def _rotate(chat: Chat, typed: Typed) -> None:
    await chat.room.rotate(boxed=typed.rest == "boxed")


async def _evict(chat: Chat, typed: Typed) -> None:
    member = chat.context.member(chat.room, typed.rest)
    if member.is_me:
        raise UsageError("that is you")
    await chat.room.evict(member.mid)


async def _verify(chat: Chat, typed: Typed) -> None:
    member = chat.context.member(chat.room, typed.rest)
    if member.is_me:
        raise UsageError("that is you")
    await chat.context.say(
        Shape.VERIFY,
        member=member.mid.hex(),
        name=member.name,
        code=chat.room.short_code(member.mid),
        safety_number=chat.room.safety_number(member.mid),
    )


async def _me(chat: Chat, typed: Typed) -> None:
    await chat.say(Text(f"* {chat.room.my_name} {typed.rest}"))


async def _reply(chat: Chat, typed: Typed) -> None:
    target, text = typed.words(2)
    await chat.say(Text(text, reply_to=chat.message(target).event_id))


async def _edit(chat: Chat, typed: Typed) -> None:
    first, *others = typed.words(2)
    if first.startswith("#") and others:
        message, text = chat.message(first), others[0]
    else:
        mine = [m for m in chat.room.messages(limit=100) if m.mine and not m.redacted_by]
        if not mine:
            raise CommandError("you have said nothing yet that could be edited")
        message, text = mine[-1], typed.rest
    if not message.mine:
        raise UsageError("only your own messages can be edited")
    await chat.say(Edit(message.event_id, text))


async def _react(chat: Chat, typed: Typed) -> None:
    target, emoji = typed.words(2)
    await chat.say(Reaction(chat.message(target).event_id, emoji))


async def _remove(chat: Chat, typed: Typed) -> None:
    await chat.say(Redaction(chat.message(typed.rest).event_id))


async def _file(chat: Chat, typed: Typed) -> None:
    await send_file(chat.context, chat.room, str(chat.path(typed.rest)), "")


async def _save(chat: Chat, typed: Typed) -> None:
    target, *folder = typed.words(2)
    message = chat.message(target)
    if message.file is None:
        raise UsageError(f"message #{message.seq} has no file")
    where = chat.path(folder[0] if folder else ".")
    saved = await fetch_file(chat.context, chat.room, message.seq, message.file.size, where)
    await chat.context.note(f"saved as {saved}")


async def _delivered(chat: Chat, typed: Typed) -> None:
    message = chat.message(typed.rest or chat.last_said)
    await chat.context.note(chat.delivered(message.seq))


async def _name(chat: Chat, typed: Typed) -> None:
    await chat.room.set_name(chat.context.my_name(typed.rest))


async def _topic(chat: Chat, typed: Typed) -> None:
    await chat.room.rename(chat.room.name, typed.rest)


COMMANDS: Final[dict[str, _ChatCommand]] = {
    "help": _ChatCommand("/help", "this list", _help),
    "members": _ChatCommand("/members", "who is here", _members),
    "me": _ChatCommand("/me TEXT", "say what you do", _me, needs=1),
    "reply": _ChatCommand("/reply N TEXT", "answer message N", _reply, needs=2, words=2),
    "edit": _ChatCommand(
        "/edit [#N] TEXT", "change your last message, or number N", _edit, needs=1
    ),
    "react": _ChatCommand("/react N EMOJI", "put a reaction on message N", _react, 2, 2),
    "remove": _ChatCommand("/remove N", "take message N back", _remove, needs=1),
    "file": _ChatCommand("/file PATH", "send a file", _file, needs=1),
    "save": _ChatCommand("/save N [DIR]", "fetch the file of message N", _save, 1, 2),
    "delivered": _ChatCommand(
        "/delivered [N]", "whose devices have your last message, or number N", _delivered
    ),
    "invite": _ChatCommand("/invite", "a link that lets one person in", _invite),
    "verify": _ChatCommand("/verify MEMBER", "the code to compare with them", _verify, needs=1),
    "name": _ChatCommand("/name NAME", "call yourself something else", _name, needs=1),
    "topic": _ChatCommand("/topic TEXT", "change the room's topic (owners)", _topic),
    "rotate": _ChatCommand("/rotate [boxed]", "renew the room key (owners)", _rotate),
    "evict": _ChatCommand("/evict MEMBER", "remove a member (owners)", _evict, needs=1),
}
"""What can be typed after a slash, in the order of /help."""
