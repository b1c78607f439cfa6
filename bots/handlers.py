"""What a bot does about what: its handlers, in a table that decorators fill (sans-IO)."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, Final, TypeVar

from attrs import field, frozen

from bots.durations import duration_ms
from bots.errors import SetupError
from bots.events import Event, Member, Message

__all__ = [
    "RUN",
    "SUMMARISE",
    "Access",
    "Handler",
    "HandlerFunction",
    "Kind",
    "Missed",
    "Options",
    "anyone",
    "members",
    "name_of",
    "owners",
    "skip_older_than",
]

HandlerFunction = Callable[..., Awaitable[object]]
F = TypeVar("F", bound=HandlerFunction)
Access = Callable[[Member], bool]

_MINUTE: Final = 60_000
TIMEOUT: Final = 30.0
TRIES: Final = 3


class Kind(StrEnum):
    """What sets a handler off."""

    COMMAND = "command"
    EVENT = "event"
    TIMER = "timer"
    INBOUND = "inbound"
    START = "start"
    STOP = "stop"


@frozen
class Missed:
    """What becomes of events that come late, because the bot was away or the key was (B2)."""

    older_than: int | None
    """Milliseconds; None: nothing is late."""
    summarise: bool = False
    """Late ones are handed over all at once, as `ctx.missed`, when the bot has caught up."""

    def is_late(self, ts: int, now: int) -> bool:
        """Whether an event of `ts` is late now."""
        return self.older_than is not None and now - ts > self.older_than


RUN: Final = Missed(None)
"""Handle it, however late."""
SUMMARISE: Final = Missed(10 * _MINUTE, summarise=True)
"""Handle what is older than ten minutes all at once, as `ctx.missed`."""


def skip_older_than(length: str) -> Missed:
    """Do not handle what is older than "10m"; for commands the room is told of them."""
    return Missed(duration_ms(length))


def anyone(member: Member) -> bool:
    """Whoever is in the room."""
    return member.role is not None


def owners(member: Member) -> bool:
    """Root and co-owners."""
    return member.is_owner


def members(*allowed: bytes | str) -> Access:
    """These members only, by id (bytes, or hex as people see it)."""
    mids = {bytes.fromhex(one) if isinstance(one, str) else one for one in allowed}

    def check(member: Member) -> bool:
        return member.role is not None and member.mid in mids

    return check


@frozen(kw_only=True)
class Options:
    """How a handler is run."""

    timeout: float = TIMEOUT
    """Seconds; then it is cancelled, and not tried again."""
    tries: int = TRIES
    """How often it is run in all, while it raises."""
    concurrency: int | None = None
    """How many rooms it may serve at once; None: all of them."""
    missed: Missed = RUN
    allow: Access = anyone
    from_bots: bool = False
    """Whether messages of other bots and of bridges are handled too."""


@frozen
class Handler:
    """One function and what sets it off."""

    name: str
    """Unique in its bot; part of the ids of what it sends, so a stable one is worth having."""
    function: HandlerFunction
    kind: Kind
    options: Options = field(factory=Options)
    event: type[Event] = Event
    where: Callable[[Any], bool] | None = None
    pattern: re.Pattern[str] | None = None

    def matches(self, event: Event) -> bool:
        """Whether an event sets it off, as far as its kind and filters say."""
        # An edit or a file is a message, too, but who asks for messages does not mean them.
        if type(event) is not self.event and self.event is not Event:
            return False
        if self.pattern is not None:
            text = event.text if isinstance(event, Message) else ""
            if self.pattern.search(text) is None:
                return False
        return self.where is None or self.where(event)


def name_of(function: HandlerFunction, given: str | None = None) -> str:
    """The name of a handler; raises `SetupError` for a function that can not be one."""
    if not inspect.iscoroutinefunction(function):
        name = getattr(function, "__name__", repr(function))
        raise SetupError(f"{name} can not be a handler: write `async def {name}(...)`")
    name = given or function.__name__
    if not re.fullmatch(r"[^\s/]{1,64}", name):
        raise SetupError(f"a handler's name is one word of at most 64 characters: {name!r} is not")
    return name
