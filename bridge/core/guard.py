"""Against echoes (G3), in four layers; the first is each network's own.

1. What the bridge's own connections said outside is not taken: the network knows its own.
2. What is in the journal is not said again where it came from, nor taken twice.
3. What went through bridges carries where it has been: an opaque tag for each room, outside in the
   network's own way (`+ofcd/origin`, a mail header), inside as a count (`hops`). What carries a
   room's own tag, or too many, is not taken there.
4. Where nothing carries tags: a line that ends with what somebody has said in the room within a
   minute, and names them before it in the way of a relay (or comes from a nick that is their name),
   is their own words brought back by a stranger's relay. Somebody who says the same thing twice is
   no echo, nor is who agrees with them: "Ana: ok" is said to Ana. What another bridge of this kind
   makes of a message is known for what it is: cut into lines, with its marks, from a member's nick.

Should all that fail, it ends here: what another bridge brings into a room from one of this bridge's
own names outside is not carried on, nor what it brings from a place that this bridge hears itself
(`HeardMemory`).

Sans-IO.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Final

from attrs import define, field

from bridge.core.formatting import one_line
from bridge.core.names import skeleton
from ofcd.protocol.ids import RoomId, b64encode, tagged_hash

__all__ = [
    "MAX_HOPS",
    "WHY_RING",
    "EchoMemory",
    "HeardMemory",
    "Told",
    "is_echo_by_path",
    "room_tag",
]

MAX_HOPS: Final = 3
"""Bridges that one message may go through."""
WHY_RING: Final = "another bridge brought it from there"
"""Why it is not said there."""
_WINDOW_MS: Final = 60_000
_LATE_WINDOW_MS: Final = 3_600_000
"""For a line that says itself that it is late."""
_REMEMBERED: Final = 256
_SENDERS: Final = 8
"""Who may be bringing back one message at once."""
_IDENTITY: Final = 256
"""Characters of an id outside that a room keeps of it."""
_TAG_BYTES: Final = 9
_BRACKETS: Final = {">": "<", "]": "[", ")": "("}
_STATUS: Final = " @+%&~"
_SUFFIX: Final = re.compile(r"[@\[|/(~]")
"""Where a relay's mark begins in a nick: Ana[o], Ana|m, Ana/net, Ana@net; in a name: Ana~1f2e."""
_LATE: Final = re.compile(r"\[\d\d:\d\d utc\] ")
_MARKS: Final = re.compile(r"(?:\[\d\d:\d\d utc\] )?(?:\(again\?\) )?")
_NAMED: Final = re.compile(r"<(.+?)> (.*)")
_REST: Final = re.compile(r"\(\d+ more(?: lines are in the room|: .*)\)")
_REPLY: Final = "(to "
_UNTOLD: Final = re.compile(r"[\s*_~`>@…]+")
"""What markup and the ends of lines make of the same words."""
_LEAST: Final = 24
"""Characters of a message's line with which a piece of it begins: IRC cuts none shorter."""


def room_tag(room: RoomId) -> str:
    """A room's opaque tag: says nothing to who does not know the room's id."""
    return b64encode(tagged_hash("bridge-origin", room)[:_TAG_BYTES])


def is_echo_by_path(path: tuple[str, ...], room: RoomId) -> bool:
    """Layer 3: whether something has been in this room before, or in too many."""
    return room_tag(room) in path or len(path) >= MAX_HOPS


def _bare(text: str) -> str:
    return _UNTOLD.sub("", one_line(text).casefold())


@define(eq=False)
class Told:
    """One thing that was said in a room."""

    ts: int
    name: str
    """Whose words they are, as shown outside."""
    text: str
    """All of it as plain text."""
    rows: tuple[str, ...] = ()
    """Line by line, as it is told outside; (): as the text has them."""
    identity: str = ""
    """Of somebody outside: who; "": a member."""
    mid: str = ""
    """Of a member: their id, hexadecimal."""
    also: tuple[str, ...] = ()
    """What a line that tells of it may begin with instead."""
    words: str = field(init=False)
    _rows: tuple[str, ...] = field(init=False)
    _left: dict[str, tuple[str, ...]] = field(factory=dict, init=False)
    """By who brings it back: what of it is still to come."""

    def __attrs_post_init__(self) -> None:
        """As it is compared."""
        self.words = one_line(self.text).casefold()
        made = [_bare(row) for row in self.rows or self.text.split("\n")]
        self._rows = tuple(row for row in made if row)

    def is_by(self, name: str) -> bool:
        """Whether a name outside, or a nick with a relay's mark, is its author's."""
        who, name = skeleton(self.name), name.strip(_STATUS)
        own = _SUFFIX.split(name, maxsplit=1)[0]
        if who and who in (skeleton(name), skeleton(own), skeleton(name.partition("@")[0])):
            return True
        short = skeleton(own.rstrip("0123456789"))
        if own == name:
            return False
        # A member's nick: cut off, with a number, or of their id where no letter was left.
        return (len(short) > 1 and who.startswith(short)) or (
            len(own) > 6 and own[:1].casefold() == "m" and self.mid.startswith(own[1:].casefold())
        )

    def has(self, identity: str, line: str) -> bool:
        """Whether a line from `identity` is a piece of it; each begins where the last one ended."""
        for rows in (self._left.get(identity, ()), self._rows):
            rest = _behind(rows, line)
            if rest is not None:
                return self._go_on(identity, rest)
        if self.also and line.startswith(self.also):
            return self._go_on(identity, self._rows)
        return identity in self._left and _REST.fullmatch(line) is not None

    def _go_on(self, identity: str, rest: tuple[str, ...]) -> bool:
        self._left.pop(identity, None)
        if len(self._left) >= _SENDERS:
            del self._left[next(iter(self._left))]
        self._left[identity] = rest
        return True


def _behind(rows: tuple[str, ...], line: str) -> tuple[str, ...] | None:
    """What is left of `rows` behind a line that they begin with; None: they do not."""
    if not rows:
        return None
    tails = [line]
    if line.startswith(_REPLY):
        ends = [at for at in range(len(line)) if line.startswith(") ", at)]
        tails += [line[at + 2 :] for at in ends[:_SENDERS]]
    for tail in tails:
        bare = _bare(tail)
        if bare and bare == rows[0]:
            return rows[1:]
        if len(bare) >= _LEAST and rows[0].startswith(bare):
            return (rows[0][len(bare) :], *rows[1:])
    return None


class EchoMemory:
    """Layer 4: what was said in one room within the last minute."""

    def __init__(self) -> None:
        self._said: deque[Told] = deque(maxlen=_REMEMBERED)
        self._relays: dict[str, int] = {}
        """Who brought back the room's words under others' names, and when last."""

    def said(self, one: Told) -> None:
        """Somebody said something in the room."""
        if one.words or one.also:
            self._said.append(one)

    def is_echo(
        self, now: int, sender: str, identity: str, text: str, *, notice: bool = False
    ) -> bool:
        """Whether a line from outside brings back what was said in the room.

        A `notice` of who does that is their own word of the room (who came, who reacts), and none.
        """
        line = one_line(text).casefold()
        since = now - (_LATE_WINDOW_MS if _LATE.match(line) else _WINDOW_MS)
        for one in self._said:
            if one.ts >= since and one.identity != identity:
                if _is_relayed(one, identity, line):
                    self._note_relay(identity, now)
                    return True
                if _is_repeated(one, sender, identity, line):
                    return True
        return notice and self._relays.get(identity, 0) > now - _LATE_WINDOW_MS

    def _note_relay(self, identity: str, now: int) -> None:
        self._relays.pop(identity, None)
        if len(self._relays) >= _SENDERS:
            del self._relays[next(iter(self._relays))]
        self._relays[identity] = now


def _is_relayed(one: Told, identity: str, line: str) -> bool:
    """Whether a line names its author and brings back what they said."""
    if one.words and line.endswith(one.words):
        before = line[: len(line) - len(one.words)].strip().rstrip(":").rstrip()
        if before and one.is_by(_relayed_name(before)):
            return True
    named = _NAMED.fullmatch(_MARKS.sub("", line, count=1))
    return named is not None and one.is_by(named[1]) and one.has(identity, named[2])


def _is_repeated(one: Told, sender: str, identity: str, line: str) -> bool:
    """Whether a line brings back what its sender, by their nick, said in the room."""
    if one.identity and sender.casefold() == one.name.casefold():
        return False  # who is outside, and now at another address
    words = _MARKS.sub("", line, count=1)
    return one.is_by(sender) and (one.words == line or one.has(identity, words))


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


class HeardMemory:
    """What was heard at one place within the last minute: another bridge may hear it too."""

    def __init__(self) -> None:
        self._heard: deque[tuple[int, str, str]] = deque(maxlen=_REMEMBERED)

    def heard(self, now: int, who: str, text: str) -> None:
        """Somebody outside said something there; `who` is their id."""
        self._heard.append((now, who[:_IDENTITY], _bare(text)))

    def has(self, now: int, who: str, text: str) -> bool:
        """Whether somebody said that there."""
        words = _bare(text)
        return any(
            one == who[:_IDENTITY] and bool(said) and words.endswith(said)
            for ts, one, said in self._heard
            if ts >= now - _WINDOW_MS
        )
