"""What a handler sends, kept aside until it has ended, each with an id that a rerun repeats (B1).

The id of the n-th thing a handler does about an event is the first 16 bytes of
H("bot", bot id, event id, handler's name, n) (protocol.md §2.1): run again after a crash, the
handler says the same things under the same ids, and outbox and relay know what was sent before.
"""

from __future__ import annotations

from typing import Final

from attrs import define, field, frozen

from bots.errors import TextTooLong
from ofcd.client import Content, Edit, Text
from ofcd.protocol.ids import RoomId, Sid, tagged_hash

__all__ = ["APOLOGY", "Effects", "Pending", "check_text", "sid_of"]

APOLOGY: Final = 2**32
"""An ordinal that no handler reaches."""
_AT_ONCE: Final = 2**31
"""Ordinals of what is said at once begin here: a rerun that says something else, or leaves it out,
must not give its id to a reply, which would then be taken for said."""
_TEXT_BYTES: Final = 40 * 1024


def sid_of(bot_id: bytes, event_id: bytes, handler: str, ordinal: int) -> Sid:
    """The id of a message that is the same whenever the same handler sees the same event."""
    return Sid(tagged_hash("bot", bot_id, event_id, handler.encode(), ordinal)[:16])


def check_text(text: str) -> str:
    """`text`, if it fits a message; raises `TextTooLong`."""
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > _TEXT_BYTES:
        raise TextTooLong(f"a text is at most {_TEXT_BYTES} bytes, and this one is {size}")
    return text


@frozen
class Pending:
    """A message to be queued when the handler has ended."""

    room: RoomId
    content: Content
    sid: Sid
    hops: int = 0


@define
class Effects:
    """What one run of one handler wants to have said."""

    bot_id: bytes
    event_id: bytes
    handler: str
    hops: int = 0
    """How many bots the answers have passed through, this one included."""
    pending: list[Pending] = field(factory=list)
    _next: int = 0
    _next_at_once: int = _AT_ONCE

    @property
    def count(self) -> int:
        """How many things this handler has done so far."""
        return self._next

    def next_sid(self) -> Sid:
        """The id of the next thing this handler does."""
        sid = sid_of(self.bot_id, self.event_id, self.handler, self._next)
        self._next += 1
        return sid

    def next_sid_at_once(self) -> Sid:
        """The id of the next thing this handler does before it has ended."""
        sid = sid_of(self.bot_id, self.event_id, self.handler, self._next_at_once)
        self._next_at_once += 1
        return sid

    def say(self, room: RoomId, content: Content) -> Sid:
        """Have something said once the handler has ended."""
        if isinstance(content, Text | Edit):
            check_text(content.text)
        sid = self.next_sid()
        self.pending.append(Pending(room, content, sid, self.hops))
        return sid
