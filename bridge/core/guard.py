"""Against echoes (G3), in four layers; the first is each network's own.

1. What the bridge's own connections said outside is not taken: the network knows its own.
2. What is in the journal is not said again where it came from, nor taken twice.
3. What went through bridges carries where it has been: an opaque tag for each room, outside in the
   network's own way (`+ofcd/origin`, a mail header), inside as a count (`hops`). What carries a
   room's own tag, or too many, is not taken there.
4. Where nothing carries tags: a line that ends with what somebody has said in the room within a
   minute, and names them before it in the way of a relay (or comes from a nick that is their name),
   is their own words brought back by a stranger's relay. Somebody who says the same thing twice is
   no echo, nor is who agrees with them: "Ana: ok" is said to Ana.

Sans-IO.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Final

from attrs import frozen

from bridge.core.formatting import one_line
from bridge.core.names import skeleton
from ofcd.protocol.ids import RoomId, b64encode, tagged_hash

__all__ = ["MAX_HOPS", "EchoMemory", "is_echo_by_path", "room_tag"]

MAX_HOPS: Final = 3
"""Bridges that one message may go through."""
_WINDOW_MS: Final = 60_000
_REMEMBERED: Final = 256
_TAG_BYTES: Final = 9
_BRACKETS: Final = {">": "<", "]": "[", ")": "("}
_STATUS: Final = " @+%&~"
_SUFFIX: Final = re.compile(r"[@\[|/(]")
"""Where a relay's mark begins in a nick: Ana[o], Ana|m, Ana/net, Ana@net."""


def room_tag(room: RoomId) -> str:
    """A room's opaque tag: says nothing to who does not know the room's id."""
    return b64encode(tagged_hash("bridge-origin", room)[:_TAG_BYTES])


def is_echo_by_path(path: tuple[str, ...], room: RoomId) -> bool:
    """Layer 3: whether something has been in this room before, or in too many."""
    return room_tag(room) in path or len(path) >= MAX_HOPS


@frozen
class _Said:
    ts: int
    who: str
    identity: str
    words: str


class EchoMemory:
    """Layer 4: what was said in one room within the last minute."""

    def __init__(self) -> None:
        self._said: deque[_Said] = deque(maxlen=_REMEMBERED)

    def said(self, now: int, name: str, identity: str, text: str) -> None:
        """Somebody said something in the room; `identity` is their id outside, "" for a member."""
        words = one_line(text).casefold()
        if words:
            self._said.append(_Said(now, skeleton(name), identity, words))

    def is_echo(self, now: int, sender: str, identity: str, text: str) -> bool:
        """Whether a line from outside brings back what was said in the room."""
        line = one_line(text).casefold()
        return any(
            line.endswith(one.words) and _names(one, sender, line)
            for one in self._said
            if one.ts >= now - _WINDOW_MS and one.identity != identity
        )


def _names(said: _Said, sender: str, line: str) -> bool:
    before = line[: len(line) - len(said.words)].strip().rstrip(":").rstrip()
    name = _relayed_name(before) if before else sender
    if not said.who or not name:
        return False
    bare = _SUFFIX.split(name.strip(_STATUS), maxsplit=1)[0]
    return said.who in (skeleton(name), skeleton(bare))


def _relayed_name(before: str) -> str:
    """Whom a relay names before their words: <name>, [name], (name), * name, [network] name."""
    opening = _BRACKETS.get(before[-1])
    if opening is not None:
        depth = 0
        for at in range(len(before) - 1, -1, -1):
            depth += (before[at] == before[-1]) - (before[at] == opening)
            if not depth:
                return before[at + 1 : -1]
        return ""
    if before[0] in "<[(*":
        return re.split(r"[>\])*]", before)[-1].strip()
    return ""
