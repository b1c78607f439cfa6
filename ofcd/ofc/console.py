"""What a command says, without knowing to whom: a terminal, a script, or a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from enum import StrEnum
from typing import Any, Protocol

__all__ = ["Fields", "Input", "Output", "Shape"]

Fields = Mapping[str, Any]
"""One object of the output: what `--json` prints on a line."""
Input = AsyncIterator[dict[str, Any]]
"""What a person does while the command runs: {"line": text} or {"typing": true}."""


class Shape(StrEnum):
    """What kind of object a record is: how it is shown to people."""

    ROOM = "room"
    """One row of `rooms`."""
    MEMBER = "member"
    """One row of `members`."""
    EVENT = "event"
    """An entry of a room's log, or something live."""
    CREATED = "created"
    INVITE = "invite"
    JOINED = "joined"
    SENT = "sent"
    HELD = "held"
    """Kept by one's own relay, for the room's, which can not be reached now."""
    CHANGED = "changed"
    """Something was done; its field `did` says what, for people."""
    VERIFY = "verify"
    SAVED = "saved"
    PROBLEM = "problem"
    """Chat: what was typed could not be done."""
    TITLE = "title"
    """Chat: which room this is."""
    MARK = "mark"
    """Chat: the line under which everything is new."""
    STATUS = "status"
    """Chat: who types, is the relay there, what came of the last message, what is unread."""
    QUIT = "quit"
    """Chat: the person is done."""


class Output(Protocol):
    """Where a command's output goes."""

    async def record(self, shape: Shape, fields: Fields) -> None:
        """A result: one object."""
        ...

    async def note(self, text: str) -> None:
        """Something the person should know meanwhile; no part of the result."""
        ...

    async def progress(self, what: str, done: int, total: int) -> None:
        """`done` of `total` bytes of `what` are through."""
        ...
