"""What can go wrong with a request to elsewhere, typed.

WebError                   a request had no usable answer
├── BadUrl                 it is no URL of the web, or holds a password
├── Forbidden              it leads to an address that is not public
├── TooBig                 the answer is larger than it may be
└── Unanswered             nobody answered, or not in time, or not in HTTP
"""

from __future__ import annotations

from ofcd.errors import OfcError

__all__ = ["BadUrl", "Forbidden", "TooBig", "Unanswered", "WebError"]


class WebError(OfcError):
    """A request had no usable answer; the sentence is fit to be shown in a room."""

    code = "web"


class BadUrl(WebError):
    """It is no URL of the web, or holds a password."""

    code = "web_url"


class Forbidden(WebError):
    """The address is not public, and not allowed by the bot's settings."""

    code = "web_forbidden"


class TooBig(WebError):
    """The answer is larger than it may be."""

    code = "web_too_big"


class Unanswered(WebError):
    """Nobody answered, or not in time, or not in HTTP."""

    code = "web_unanswered"
