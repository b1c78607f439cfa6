"""Secure Comparator: two people learn whether they hold the same secret, and nothing else.

Source: Themis' documentation of Secure Comparator (a zero-knowledge proof by socialist
millionaires' protocol). Nothing binds a run to the two parties but the secret: put both their
keys into it (protocol.md §2.5).
"""

from __future__ import annotations

from typing import Final

from ofcd.themis._core import pythemis_module
from ofcd.themis.errors import ComparatorError, CoreFailed, InvalidInput

__all__ = ["Comparator"]

_MATCH: Final = 21
_NO_MATCH: Final = 22

_scomparator = pythemis_module("scomparator")
_CoreError: type[Exception] = pythemis_module("exception").ThemisError
_CORE_ERRORS: Final = (_CoreError, CoreFailed)


class Comparator:
    """One side of one comparison. The side that calls `begin` starts; belongs to its thread."""

    def __init__(self, secret: bytes) -> None:
        """`secret` is what is compared, any non-empty bytes. Raises `InvalidInput`."""
        if not secret:
            raise InvalidInput("an empty secret can not be compared")
        self._over = False
        try:
            self._core = _scomparator.SComparator(secret)
        except _CoreError:
            raise CoreFailed("the Themis core did not start a comparison") from None

    def begin(self) -> bytes:
        """The first message to the other side. Raises `ComparatorError` when already begun."""
        self._require_going_on()
        try:
            message: bytes = self._core.begin_compare()
        except _CORE_ERRORS:
            self._over = True
            raise ComparatorError("the comparison can not begin here") from None
        return message

    def proceed(self, message: bytes) -> bytes | None:
        """Takes the other side's message; the answer to send back, or None when there is none.

        Raises `ComparatorError` for a message that is damaged or out of turn, and for any after
        the result is known: each further run would be another guess at the secret.
        """
        self._require_going_on()
        self._over = True
        if not message:
            raise ComparatorError("an empty comparison message")
        try:
            answer = self._core.proceed_compare(message)
        except _CORE_ERRORS:
            raise ComparatorError("the comparison message was refused") from None
        self._over = self.result is not None
        return bytes(answer) if answer else None

    @property
    def result(self) -> bool | None:
        """True for equal secrets, False for different ones, None while the run is not over."""
        code = self._core.result()
        return True if code == _MATCH else False if code == _NO_MATCH else None

    def _require_going_on(self) -> None:
        if self._over:
            raise ComparatorError("the comparison is over: start a new one")
