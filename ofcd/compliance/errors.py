"""What ends a check early: a broken promise, or a reason why it can not be tried here."""

from __future__ import annotations

from ofcd.errors import OfcError

__all__ = ["ComplianceError", "LinkEnded", "NotKept", "Skipped"]


class ComplianceError(OfcError):
    """A check did not come to its end."""

    code = "compliance"


class NotKept(ComplianceError):
    """The relay did something other than what OFC/1 promises; the sentence says what."""

    code = "promise_not_kept"


class Skipped(ComplianceError):
    """This can not be seen at this relay, as it is set up; the sentence says why."""

    code = "skipped"


class LinkEnded(NotKept):
    """The relay ended the link.

    `last_words` is the code of its last failure (`rid` 0), "" where it said nothing; `close_code`
    the WebSocket status.
    """

    code = "link_ended"

    def __init__(self, last_words: str, close_code: int) -> None:
        said = f"with {last_words!r}" if last_words else "without a word"
        super().__init__(f"the relay ended the link {said} (WebSocket {close_code})")
        self.last_words = last_words
        self.close_code = close_code
