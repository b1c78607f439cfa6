"""What is wrong with a time, in a sentence for the person who typed it."""

from __future__ import annotations

from ofcd.errors import OfcError

__all__ = ["BadTime"]


class BadTime(OfcError):
    """A text is not a time, a schedule, a time zone or an overdue policy that is known here.

    The sentence says what is understood instead; it does not repeat the text.
    """

    code = "bot_time"
