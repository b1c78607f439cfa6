"""What can go wrong in the SDK, typed.

BotError                   the SDK can not do what was asked
├── SetupError             a bot's code contradicts itself: found before it starts
├── LoadError              a bot's file or module can not be imported
├── TextTooLong            a text does not fit one message
├── NoRight                the bot's role in the room does not allow it
├── NotServed              the bot does not serve a room now: nothing can be brought into it
├── InboundFailed          what came from outside could not be handled
├── HandlerTimeout         a handler took longer than it may
├── ProcessDied            a handler was under way whenever the process ended badly
├── Unsayable              one message can not be said where it is meant to be
└── Conflict               two handlers changed the same record at once: one runs again
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ofcd.errors import OfcError

if TYPE_CHECKING:
    from bots.effects import Pending

__all__ = [
    "BotError",
    "Conflict",
    "HandlerTimeout",
    "InboundFailed",
    "LoadError",
    "NoRight",
    "NotServed",
    "ProcessDied",
    "SetupError",
    "TextTooLong",
    "Unsayable",
]


class BotError(OfcError):
    """The SDK can not do what was asked."""

    code = "bot"


class SetupError(BotError):
    """A bot's code contradicts itself; the sentence names the handler and the fix."""

    code = "bot_setup"


class LoadError(BotError):
    """A bot's file or module can not be imported, or holds no bot."""

    code = "bot_load"


class TextTooLong(BotError):
    """A text does not fit one message: send it as a file, or in parts."""

    code = "text_too_long"


class NoRight(BotError):
    """The bot's role in the room does not allow this; the sentence says what would."""

    code = "no_right"


class HandlerTimeout(BotError):
    """A handler took longer than its limit and was cancelled."""

    code = "handler_timeout"


class ProcessDied(BotError):
    """A handler was under way each time that the process ended badly; it is not run again."""

    code = "process_died"


class Conflict(BotError):
    """What a handler read was changed by another one meanwhile; it is run again."""

    code = "conflict"


class Unsayable(BotError):
    """One message can not be said: readonly, gone from the room, or no text that can be sent."""

    code = "unsayable"

    def __init__(self, pending: Pending, why: OfcError) -> None:
        """`why` is what the client core says."""
        super().__init__(str(why))
        self.pending = pending
        self.why = why


class NotServed(BotError):
    """The bot does not serve this room now, or is stopping: bring it again later."""

    code = "not_served"


class InboundFailed(BotError):
    """What came from outside was not handled; the log says why. It may be brought again."""

    code = "inbound_failed"
