"""What can go wrong in the SDK, typed.

BotError                   the SDK can not do what was asked
├── SetupError             a bot's code contradicts itself: found before it starts
├── LoadError              a bot's file or module can not be imported
├── TextTooLong            a text does not fit one message
├── HandlerTimeout         a handler took longer than it may
└── Conflict               two handlers changed the same record at once: one runs again
"""

from __future__ import annotations

from ofcd.errors import OfcError

__all__ = ["BotError", "Conflict", "HandlerTimeout", "LoadError", "SetupError", "TextTooLong"]


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


class HandlerTimeout(BotError):
    """A handler took longer than its limit and was cancelled."""

    code = "handler_timeout"


class Conflict(BotError):
    """What a handler read was changed by another one meanwhile; it is run again."""

    code = "conflict"
