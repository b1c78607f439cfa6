"""Which handlers an event sets off, and what else is to be done about it (sans-IO).

The order of questions: the bot's own words and those that passed too many bots are dropped (B6);
a message that is a command goes to that command alone; of the rest, a bot that was invited for what
is addressed to it passes over all else that is said (B5); what is left goes to every handler that
asks for it, in the order they were registered. An event that comes late goes the way its handler's
`missed` says (B2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from attrs import field, frozen

from bots.commands import Invocation
from bots.events import Edit, Event, File, Join, Message, Reaction, Redacted
from bots.handlers import Handler
from ofcd.protocol.ids import MemberId

__all__ = ["MAX_HOPS", "Answer", "Call", "Commands", "Plan", "Situation", "dispatch"]

MAX_HOPS: Final = 3
_SAID: Final = (Message, Edit, File, Reaction, Redacted)


@frozen
class Call:
    """A handler to be run."""

    handler: Handler
    command: Invocation | None = field(default=None, repr=False)
    """For a command: its arguments."""


@frozen
class Answer:
    """Words to be said instead of running anything; `key` names whoever is not told too often."""

    text: str = field(repr=False)
    key: str


@frozen
class Plan:
    """What is to be done about an event."""

    calls: tuple[Call, ...] = ()
    answer: Answer | None = None
    skipped: Handler | None = None
    """A command that came too late."""
    kept: tuple[Handler, ...] = ()
    """Handlers that want late events all at once."""
    dropped: str = ""
    """Why nothing is done: `own`, `hops`, `automatic`, `scope`, `age`; "" for nothing."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.calls or self.answer or self.skipped or self.kept)


@frozen
class Situation:
    """What has to be known besides the event."""

    me: MemberId
    name: str
    """What the bot calls itself here."""
    prefix: str
    """In this room."""
    now: int
    """Milliseconds since 1970."""
    tz: ZoneInfo = field(factory=lambda: ZoneInfo("UTC"))
    """In this room: where "9am" is."""
    known: Mapping[type, object] = field(factory=dict, repr=False)
    """For converters: the room, its member who speaks, the bot."""
    only_addressed: bool = False
    """The bot handles only what is addressed to it."""


class Commands(Protocol):
    """The bot's commands: from words to a call."""

    def read(self, event: Message, situation: Situation) -> Call | Answer | None:
        """What a message asks for; None where it is none of this bot's commands."""
        ...


def dispatch(
    event: Event, handlers: Sequence[Handler], commands: Commands, situation: Situation
) -> Plan:
    """The plan for one event."""
    reason = _drop(event)
    if reason:
        return Plan(dropped=reason)
    if type(event) is Message:
        plan = _command(event, commands, situation)
        if plan is not None:
            return plan
    if situation.only_addressed and not _is_addressed(event):
        return Plan(dropped="scope")
    wanted = [handler for handler in handlers if _wants(handler, event)]
    if not wanted:
        return Plan(dropped="automatic" if _is_automatic(event) else "")
    calls = []
    kept = []
    for handler in wanted:
        late = handler.options.missed.is_late(event.ts, situation.now)
        if not late:
            calls.append(Call(handler))
        elif handler.options.missed.summarise and isinstance(event, Message):
            kept.append(handler)
    return Plan(tuple(calls), kept=tuple(kept), dropped="" if calls or kept else "age")


def _drop(event: Event) -> str:
    if event.hops > MAX_HOPS:
        return "hops"
    if isinstance(event, Join):
        return "own" if event.member.is_me else ""
    return "own" if event.sender.is_me else ""


def _is_addressed(event: Event) -> bool:
    """Whether it is meant for the bot; what is no one's words (joins, keys) is for everybody."""
    if isinstance(event, Message):
        return event.to_me
    if isinstance(event, Reaction):
        return event.to_own
    return not isinstance(event, _SAID)


def _is_automatic(event: Event) -> bool:
    return isinstance(event, _SAID) and event.sender.is_automatic


def _wants(handler: Handler, event: Event) -> bool:
    if not handler.matches(event):
        return False
    # Who has left has no rights, and yet a leave is to be handled.
    if isinstance(event, _SAID) and not handler.options.allow(event.sender):
        return False
    if _is_automatic(event):
        # Only a message counts its hops: a reaction to a reaction would go on for ever.
        return handler.options.from_bots and isinstance(event, Message)
    return True


def _command(event: Message, commands: Commands, situation: Situation) -> Plan | None:
    found = commands.read(event, situation)
    if found is None:
        return None
    automatic = event.sender.is_automatic
    if isinstance(found, Answer):
        return Plan(dropped="automatic") if automatic else Plan(answer=found)
    options = found.handler.options
    if automatic and not options.from_bots:
        return Plan(dropped="automatic")
    if not options.missed.is_late(event.ts, situation.now):
        return Plan((found,))
    if options.missed.summarise:
        return Plan(kept=(found.handler,))
    return Plan(skipped=found.handler)
