"""Which of the bridge's own lines the server has shown: proof that they arrived (I7). Sans-IO."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from attrs import define

__all__ = ["OwnLines"]

_KEPT: Final = 1000
_EARLY_MS: Final = 5_000
"""What the clocks of the server and of the room may differ by, once their difference is known."""


@define(eq=False)
class _Seen:
    who: str
    text: str
    msgid: str
    ts: int | None
    part: int

    @property
    def key(self) -> tuple[str, str, int | None, int]:
        """The same when it is played back."""
        return (self.msgid, "", None, 0) if self.msgid else ("", self.text, self.ts, self.part)


class OwnLines:
    """Lines of the bridge that came back, in echoes and played-back history, by place.

    Each proves one line and no other: what was claimed, or is known under its msgid, is no proof of
    words that happen to be the same.
    """

    def __init__(self, is_known: Callable[[str, str], bool]) -> None:
        """`is_known(place, msgid)`: the journal has a line under this id."""
        self._is_known = is_known
        self._seen: dict[str, deque[_Seen]] = {}
        self._done: dict[str, deque[tuple[str, str, int | None, int]]] = {}

    def saw(
        self, place: str, who: str, text: str, msgid: str, ts: int | None, part: int = 0
    ) -> None:
        """A line came back; `who` said it: "" for the bridge's own nick, else a puppet.

        `part`: of a message of several lines that came with one id and time.
        """
        one = _Seen(who, text, msgid, ts, part)
        seen = self._seen.setdefault(place, deque(maxlen=_KEPT))
        again = (msgid or ts is not None) and (
            one.key in self._done.get(place, ()) or any(one.key == other.key for other in seen)
        )
        if not again:
            seen.append(one)

    def claim(
        self, place: str, ways: Sequence[tuple[str, Sequence[str]]], since: int
    ) -> tuple[int, tuple[str, ...]]:
        """Take what has arrived of something that may have been said in several `ways`.

        A way is who said it and its lines. Returns the way of which most is there (-1: none), and a
        msgid ("" where there is none) for each line from its beginning that is; those prove nothing
        else any more. `since`: said no earlier, milliseconds since 1970 by the room's clock.
        """
        found = [self._found(place, who, lines, since) for who, lines in ways]
        best = max(range(len(ways)), key=lambda at: len(found[at]), default=-1)
        if best < 0 or not found[best]:
            return -1, ()
        done = self._done.setdefault(place, deque(maxlen=_KEPT))
        for one in found[best]:
            self._seen[place].remove(one)
            done.append(one.key)
        return best, tuple(one.msgid for one in found[best])

    def _found(self, place: str, who: str, lines: Sequence[str], since: int) -> list[_Seen]:
        found: list[_Seen] = []
        for one in self._seen.get(place, ()):
            if len(found) == len(lines):
                break
            if one.ts is not None and one.ts < since - _EARLY_MS:
                continue
            if one.who != who or one.text != lines[len(found)]:
                continue
            if not (one.msgid and self._is_known(place, one.msgid)):
                found.append(one)
        return found
