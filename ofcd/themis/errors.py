"""What can go wrong at the one door to Themis.

    ThemisError             the core refused, or can not be used
    ├── CoreUnavailable     no usable core: says what to install or build
    ├── CoreFailed          the core broke off a call; the sandbox it ran in was thrown away
    ├── InvalidInput        an argument that no core is shown: wrong size, wrong form
    ├── CannotOpen          a cell or box that does not open with this key and context
    ├── BadSignature        a signed message that this key did not sign
    ├── SessionError        a Secure Session that failed; it is closed and stays closed
    └── ComparatorError     a Secure Comparator run that failed

No sentence here holds a key, a passphrase or message text.
"""

from __future__ import annotations

from ofcd.errors import OfcError

__all__ = [
    "BadSignature",
    "CannotOpen",
    "ComparatorError",
    "CoreFailed",
    "CoreUnavailable",
    "InvalidInput",
    "SessionError",
    "ThemisError",
]


class ThemisError(OfcError):
    """Base of every error of this package."""

    code = "themis"


class CoreUnavailable(ThemisError):
    """No usable Themis core on this machine; the sentence says how to get one."""

    code = "themis_unavailable"


class CoreFailed(ThemisError):
    """The core broke off a call (a trap in the sandbox, or no memory left in it)."""

    code = "themis_failed"


class InvalidInput(ThemisError, ValueError):
    """An argument of the wrong size or form, refused before any core sees it."""

    code = "themis_input"


class CannotOpen(ThemisError):
    """Wrong key, wrong context or changed bytes: Themis does not say which, nor do we."""

    code = "cannot_open"


class BadSignature(ThemisError):
    """Not a message signed by this key."""

    code = "bad_signature"


class SessionError(ThemisError):
    """A Secure Session refused its peer or a message; it can not be used again."""

    code = "session"


class ComparatorError(ThemisError):
    """A Secure Comparator message was refused; start a new comparison."""

    code = "comparator"
