"""Saying and reading: send, read, tail, chat."""

from __future__ import annotations

import contextlib
import sys
from argparse import ArgumentParser
from pathlib import Path
from secrets import token_bytes
from typing import Any, Final

import trio
from attrs import evolve, frozen

from ofcd.client import (
    BadAttachment,
    LoggedEvent,
    MessageHeld,
    NotAllowed,
    Offline,
    RelayRefused,
    Room,
    RoomStateChanged,
    RoomStatus,
    Sent,
    TooSlow,
)
from ofcd.ofc.chat import Chat
from ofcd.ofc.command import Command
from ofcd.ofc.commands.people import RoomOptions, room_argument
from ofcd.ofc.console import Shape
from ofcd.ofc.context import Context, room_label
from ofcd.ofc.errors import CommandError, UsageError
from ofcd.ofc.files import fetch_file, send_file
from ofcd.ofc.held import Held
from ofcd.ofc.history import events_after, last_events, void_before
from ofcd.protocol.ids import EventId, Sid
from ofcd.protocol.limits import EVENT_BYTES

__all__ = ["CHAT", "READ", "SEND", "TAIL"]

_KEY_WAIT: Final = 10_000
"""Milliseconds that a message may hold the ones behind it back until its key comes."""
_LOOK_SECONDS: Final = 5
"""How long is looked whether any relay will take a message, before it is queued all the same."""
_HELD_SECONDS: Final = 5
"""How long a message that one's own relay keeps is waited for: the room's relay may be slow."""
_FINAL: Final = frozenset({RoomStatus.LEFT, RoomStatus.EVICTED, RoomStatus.CLOSED})


# -- send ------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class SendOptions(RoomOptions):
    """Of `send`."""

    text: tuple[str, ...] = ()
    file: str | None = None
    reply_to: str | None = None
    markdown: bool = False

    @property
    def words(self) -> str:
        """The text."""
        return " ".join(self.text)


def _send_arguments(parser: ArgumentParser) -> None:
    room_argument(parser)
    parser.add_argument(
        "text", metavar="TEXT", nargs="*", help="the message; without it, standard input"
    )
    parser.add_argument("--file", metavar="FILE", help="send a file; TEXT is then its caption")
    parser.add_argument("--reply-to", metavar="MESSAGE", help="its number (12) or event id")
    parser.add_argument("--markdown", action="store_true", help="the text is markdown-lite")


def _send_localise(options: SendOptions) -> SendOptions:
    """Standard input and the file's path are those of the person's own process."""
    if options.file is not None:
        if options.reply_to is not None:
            raise UsageError("a file can not be a reply: send the file and the reply apart")
        return evolve(options, file=str(Path(options.file).expanduser().absolute()))
    if options.text and options.text != ("-",):
        return options
    raw = sys.stdin.buffer.read(EVENT_BYTES + 1)
    if len(raw) > EVENT_BYTES:
        raise UsageError("standard input is too long for a message: send it as a file (--file)")
    return evolve(options, text=(raw.decode("utf-8", "replace").rstrip("\n"),))


def _send_late(options: SendOptions) -> str:
    if options.file is not None:
        return "Nothing of the file was sent: send it again later."
    return "The message is kept and goes out with the next `ofc read`, `send`, `chat` or `serve`."


async def send(context: Context, options: SendOptions) -> None:
    """One message, or one file; done when the relay has committed it."""
    if not options.words.strip() and options.file is None:
        raise UsageError("there is nothing to send")
    room = context.room(options.room)
    if options.file is not None:
        sent = await send_file(context, room, options.file, options.words)
    else:
        await _look(context, room)
        target = None
        if options.reply_to is not None:
            target = context.message(room, options.reply_to).event_id
        found = await _send_text(context, room, options, target)
        if found is None:
            await context.say(Shape.HELD, room=room.id.hex())
            return
        sent = found
    await context.say(Shape.SENT, event_id=sent.event_id.hex(), seq=sent.seq, room=room.id.hex())


async def _look(context: Context, room: Room) -> None:
    """Raise why no relay will ever take a message; one without a link keeps it, so that is none.

    A relay may also say nothing at all: then there has to be time left to queue the message in.
    """
    with trio.move_on_after(min(_LOOK_SECONDS, context.patience / 2)):
        late = await context.catch_up(room)
        if late is not None and not isinstance(late, Offline):
            raise late


async def _send_text(
    context: Context, room: Room, options: SendOptions, target: EventId | None
) -> Sent | None:
    """Where the message stands in the log; None if it waits at this person's own relay."""
    sid, found, held = Sid(token_bytes(16)), list[Sent](), Held()
    async with trio.open_nursery() as nursery:
        with context.client.events() as events:

            async def kept() -> None:
                async for event in events:
                    if isinstance(event, MessageHeld) and event.sid == sid:
                        await trio.sleep(_HELD_SECONDS)
                        nursery.cancel_scope.cancel()

            nursery.start_soon(kept)
            with held:
                found.append(
                    await room.send(
                        options.words, reply_to=target, markdown=options.markdown, sid=sid
                    )
                )
            nursery.cancel_scope.cancel()
    held.release()
    return found[0] if found else None


SEND: Final = Command(
    name="send",
    summary="send a message or a file",
    examples=(
        "ofc send 'Book club' 'See you at eight'",
        "uptime | ofc send ops",
        "ofc send 'Book club' --file cover.png 'The new edition'",
        "ofc send 'Book club' --reply-to 12 'I agree'",
    ),
    options=SendOptions,
    run=send,
    arguments=_send_arguments,
    localise=_send_localise,
    if_late=_send_late,
    details="Done when the room's relay has it on disk, or, while that is away, "
    "your own. --timeout is the time without any progress.",
)


# -- read ------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class ReadOptions(RoomOptions):
    """Of `read`."""

    since: int | None = None
    limit: int | None = None
    save: str | None = None
    local: bool = False
    keep_unread: bool = False


def whole(text: str) -> int:
    """A number from 0 on."""
    if not text.isdecimal() or len(text) > 15:
        raise ValueError(text)
    return int(text)


def _read_arguments(parser: ArgumentParser) -> None:
    room_argument(parser)
    parser.add_argument("--since", type=whole, metavar="N", help="only what comes after number N")
    parser.add_argument(
        "--limit", type=whole, metavar="N", help="the last N; with --since, the first N after it"
    )
    parser.add_argument("--save", metavar="DIR", help="fetch attachments into this directory")
    parser.add_argument("--local", action="store_true", help="what is here, without the relay")
    parser.add_argument("--keep-unread", action="store_true", help="do not mark it as read")


def _read_localise(options: ReadOptions) -> ReadOptions:
    if options.save is None:
        return options
    return evolve(options, save=str(Path(options.save).expanduser().absolute()))


async def read(context: Context, options: ReadOptions) -> None:
    """What was said, as it reads now."""
    room = context.room(options.room, local=options.local)
    late = None if options.local else await context.catch_up(room)
    if not options.local and late is None:
        await context.flush(room)
    saver = None if options.save is None else Saver(context, room, Path(options.save))
    last = -1
    for event in await selected(room, options.since, options.limit):
        last = event.seq
        for message in void_before(room, event):
            await context.say(Shape.EVENT, **context.void(room, message))
        made = context.event(room, event)
        if made is None:
            continue
        if saver is not None and made["kind"] == "file":
            await saver.save(event.seq, made["file"])
        await context.say(Shape.EVENT, **made)
    if last >= 0 and not options.keep_unread:
        room.mark_read(last)
    if saver is not None:
        saver.check()
    if late is not None:
        raise late


async def selected(room: Room, since: int | None, limit: int | None) -> list[LoggedEvent]:
    """The events after `since` (at most the first `limit`), or the last `limit` of all."""
    if since is None and limit is not None:
        return await last_events(room, limit)
    return await events_after(room, -1 if since is None else since, limit)


class Saver:
    """Fetches attachments into a directory; goes on past those that fail, then says so."""

    def __init__(self, context: Context, room: Room, folder: Path) -> None:
        self._context = context
        self._room = room
        self._folder = folder
        self._failed = 0

    async def save(self, seq: int, info: dict[str, Any]) -> None:
        """Fetch the file of message `seq`; `info` is told where it is, or why it is not."""
        try:
            path = await fetch_file(self._context, self._room, seq, info["size"], self._folder)
            info["saved"] = str(path)
        except (BadAttachment, NotAllowed, RelayRefused, Offline) as error:
            self._failed += 1
            info["failed"] = str(error)

    def check(self) -> None:
        """Raises if anything was not saved."""
        if self._failed:
            plural = "" if self._failed == 1 else "s"
            raise CommandError(f"{self._failed} attachment{plural} could not be saved")


READ: Final = Command(
    name="read",
    summary="print what was said",
    examples=(
        "ofc read 'Book club' --limit 20",
        "ofc read ops --since 412 --json",
        "ofc read 'Book club' --save ~/Downloads",
    ),
    options=ReadOptions,
    run=read,
    arguments=_read_arguments,
    localise=_read_localise,
    details="Fetches what is new first; if the relay can not be reached, prints what is here and "
    "exits with 4.",
)


# -- tail ------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class TailOptions(RoomOptions):
    """Of `tail`."""

    since: int | None = None


def _tail_arguments(parser: ArgumentParser) -> None:
    room_argument(parser)
    parser.add_argument("--since", type=whole, metavar="N", help="first what came after number N")


async def tail(context: Context, options: TailOptions) -> None:
    """What is said from now on, until it is stopped or this client is out of the room."""
    room = context.room(options.room)
    if options.since is None:
        await context.catch_up(room)
    cursor = room.head if options.since is None else options.since
    out: list[NotAllowed] = []
    async with trio.open_nursery() as nursery:

        async def live() -> None:
            out.append(await _live(context, room))
            nursery.cancel_scope.cancel()

        nursery.start_soon(live)
        async for event in room.events_since(cursor, give_up_after=_KEY_WAIT):
            await context.name_arrives(room, event)
            made = context.event(room, event)
            if made is not None:
                await context.say(Shape.EVENT, **made)
            room.mark_read(event.seq)
    if out:
        raise out[0]


async def _live(context: Context, room: Room) -> NotAllowed:
    """Say what stands in no log; returns when this client is out of the room."""
    while room.status not in _FINAL:
        with room.events() as events, contextlib.suppress(TooSlow):
            async for event in events:
                made = context.event(room, event)
                if made is not None and made["event_id"] is None:
                    await context.say(Shape.EVENT, **made)
                if isinstance(event, RoomStateChanged) and event.status in _FINAL:
                    break
    return NotAllowed(room.status_code or room.status.value, f"you are out of {room_label(room)}")


TAIL: Final = Command(
    name="tail",
    summary="print what is said, as it comes",
    examples=("ofc tail ops", "ofc tail ops --since 412 --json"),
    options=TailOptions,
    run=tail,
    arguments=_tail_arguments,
    timeout=None,
    lasts=lambda _: True,
)


# -- chat ------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class ChatOptions(RoomOptions):
    """Of `chat`."""

    history: int = 30


def _chat_arguments(parser: ArgumentParser) -> None:
    room_argument(parser)
    parser.add_argument(
        "--history", type=whole, default=30, metavar="N", help="how much to show first (30)"
    )


async def chat(context: Context, options: ChatOptions) -> None:
    """Talk."""
    room = context.room(options.room)
    await Chat(context, room).run(options.history)


CHAT: Final = Command(
    name="chat",
    summary="talk in a room, live",
    examples=("ofc chat 'Book club'",),
    options=ChatOptions,
    run=chat,
    arguments=_chat_arguments,
    timeout=None,
    lasts=lambda _: True,
    interactive=True,
    details="/help lists what can be done there. Without a terminal it reads lines and prints "
    "lines.",
)
