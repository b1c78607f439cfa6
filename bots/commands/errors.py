"""What can be wrong with a command: the author's mistake, or the member's."""

from __future__ import annotations

from enum import StrEnum

from attrs import field, frozen

from ofcd.errors import OfcError

__all__ = ["BadValue", "Problem", "SignatureError", "UsageError"]


class SignatureError(OfcError):
    """A function can not be a command; the sentence names the parameter and the fix."""

    code = "bot_signature"


class BadValue(OfcError):
    """A converter does not understand a word.

    The reason goes on from the word: `raise BadValue("is not a member of this room")` is shown
    as `"bob" is not a member of this room`. `near` is what may have been meant. Neither repeats
    the word itself: errors are logged, and words of members are not.
    """

    code = "bot_value"

    def __init__(self, reason: str, near: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.near = near


class Problem(StrEnum):
    """What is wrong with a call, as a stable word."""

    MISSING = "missing"
    BAD_VALUE = "bad-value"
    TOO_MANY = "too-many"
    UNKNOWN_OPTION = "unknown-option"
    REPEATED_OPTION = "repeated-option"
    NO_SUBCOMMAND = "no-subcommand"
    UNCLOSED_QUOTE = "unclosed-quote"
    TOO_LONG = "too-long"


@frozen
class UsageError:
    """How a call was wrong: a value, to be shown. Its `repr` holds no word of the member's."""

    problem: Problem
    sentence: str = field(repr=False)
    """What was wrong, for the member; it may quote what they wrote, so it is never logged."""
    parameter: str | None = None
    """The function's parameter it is about."""
    near: tuple[str, ...] = field(default=(), repr=False)
    """What may have been meant instead."""
