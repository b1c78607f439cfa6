"""What was said on one connection, and what the server answers to it: proof, or refusal (I7).

Where the server answers each line (labels and echoes), those answers are the proof. Elsewhere a
PING stands behind what was said: its answer proves that the server has taken all before it.
Sans-IO, but for the events that are set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from typing import Final

import trio
from attrs import define, field

from bridge.irc.multiline import MULTILINE
from bridge.irc.wire import Line

__all__ = ["LABELS", "Fence", "Fences", "Said"]

LABELS: Final = frozenset({"labeled-response", "echo-message"})
"""With both, each line is answered."""
_REFUSALS: Final = frozenset(
    {
        "401",
        "403",
        "404",
        "407",
        "408",
        "411",
        "412",
        "413",
        "414",
        "415",
        "439",
        "442",
        "477",
        "482",
        "486",
        "492",
        "494",
        "531",
        "707",
        "716",
        "936",
    }
)
"""What answers a message, a notice or a topic that goes no further, and names the place.

Of those for one person: 439 and 707 (too many targets), 486 (only from accounts), 494 and 716 (who
takes none from strangers, +g), 531; 936: a word that is not wanted there."""
_SAYING: Final = frozenset({"PRIVMSG", "NOTICE", "TOPIC", "RELAYMSG", "REDACT", "TAGMSG"})
_ECHOED: Final = frozenset({"PRIVMSG", "NOTICE", "TAGMSG", "REDACT", "TOPIC"})
_BATCHES: Final = 100
"""Batches that may be open at once."""
_MSGID: Final = 200
"""Characters of an id that are kept."""


@define(eq=False)
class Said:
    """One line that was said, and what came back of it."""

    text: str
    label: str = ""
    batch: bool = False
    """It is a message of several lines."""
    answered: bool = False
    msgid: str = ""


@define(eq=False)
class Fence:
    """What was said together, and whether it arrived."""

    token: str
    place: str
    done: trio.Event = field(factory=trio.Event)
    proven: bool = False
    closed: bool = False
    """All of it was said."""
    said: list[Said] = field(factory=list)
    batch_refused: bool = False
    """The server took no message of several lines: it is to be said line by line."""
    errors: list[str] = field(factory=list)
    """What the server said against what stands between the fence before and this one."""

    @property
    def began(self) -> bool:
        """Something of it was said."""
        return bool(self.said)

    @property
    def ids(self) -> tuple[str, ...]:
        """The msgids of the lines that came back."""
        return tuple(one.msgid for one in self.said if one.msgid)

    @property
    def all_answered(self) -> bool:
        """Each line came back."""
        return self.closed and all(one.answered for one in self.said)

    def look(self) -> None:
        """One more line came back."""
        if self.all_answered and self.said and not self.errors:
            self.proven = True
            self.done.set()


class Fences:
    """Those of one connection that are open, in the order in which they were opened."""

    def __init__(
        self, caps: Callable[[], Set[str]], fold: Callable[[str], str], is_me: Callable[[str], bool]
    ) -> None:
        """What is agreed with the server; how it compares names; whether a nick is ours."""
        self._caps = caps
        self._fold = fold
        self._is_me = is_me
        self.refuses_batches = False
        """The server takes no message of several lines, whatever it offers."""
        self._open: dict[str, Fence] = {}
        self._labels: dict[str, tuple[Fence, Said]] = {}
        self._batches: dict[str, str] = {}
        """Batches that answer a label."""
        self._number = 0

    # -- what is said ----------------------------------------------------------------------------

    def number(self) -> int:
        """One that was not used yet."""
        self._number += 1
        return self._number

    def open(self, place: str) -> Fence:
        """Begin something whose delivery is to be proven."""
        fence = Fence(f"ofc{self.number()}", self._fold(place))
        self._open[fence.token] = fence
        return fence

    def say(self, fence: Fence, text: str, *, batch: bool = False) -> dict[str, str]:
        """A line of it is about to be said, or several as one; the tags that go with it."""
        said = Said(text, batch=batch)
        fence.said.append(said)
        if not self._caps() >= LABELS:
            return {}
        said.label = f"l{self.number()}"
        self._labels[said.label] = (fence, said)
        return {"label": said.label}

    def end(self) -> None:
        """Nothing is answered any more."""
        for fence in self._open.values():
            fence.done.set()
        self._open.clear()
        self._labels.clear()

    # -- what comes back -------------------------------------------------------------------------

    def take(self, line: Line) -> bool:
        """A line from the server; whether it answers what was said, and is no more than that."""
        if self._answer(line):
            return True
        match line.command:
            case "PONG":
                self._proven(line.last)
            case "FAIL" if line[0].upper() == "BATCH":
                self._no_batch(next(iter(self._batched()), None))
            case "FAIL" if line[0].upper() in _SAYING:
                self._failed(line.last, None)
            case "417":  # the line was too long: it names no place
                self._failed(line.last, None)
            case command if command in _REFUSALS:
                self._failed(line.last, line[1])
        return False

    def _proven(self, token: str) -> None:
        fence = self._open.pop(token, None)
        if fence is not None:
            for one in fence.said:
                self._labels.pop(one.label, None)
            fence.proven = True
            fence.done.set()

    def _answer(self, line: Line) -> bool:
        """What comes back of what was said; whether it is that and no more."""
        label = line.tags.get("label") or self._batches.get(line.tags.get("batch", ""), "")
        if line.command == "BATCH":
            if line[0].startswith("+") and label in self._labels and len(self._batches) < _BATCHES:
                self._batches[line[0][1:]] = label
            elif line[0].startswith("-"):
                self._batches.pop(line[0][1:], None)
            elif line[1].lower() == MULTILINE and self._is_me(line.nick):
                place = self._fold(line[2])
                self._came(line, next((x for x in self._batched() if x[0].place == place), None))
                return False
        found = self._labels.get(label)
        if found is None:
            if line.command in _ECHOED and self._is_me(line.nick):
                self._echo(line)
            return False
        fence, said = found
        is_batch = line.command == "BATCH" and line[0][:1] == "+" and line[1].lower() == MULTILINE
        if line.command in _ECHOED or line.command == "ACK" or is_batch:
            self._came(line, found)
            del self._labels[label]
        elif line.command == "FAIL" and line[0].upper() == "BATCH" and said.batch:
            self._no_batch(found)
            return True
        elif _is_refusal(line.command):
            fence.errors.append(line.last or "it was refused")
            return True
        return False

    def _came(self, line: Line, found: tuple[Fence, Said] | None) -> None:
        """It came back."""
        if found is not None:
            fence, said = found
            said.answered, said.msgid = True, line.tags.get("msgid", "")[:_MSGID]
            fence.look()

    def _batched(self) -> Iterator[tuple[Fence, Said]]:
        """Messages of several lines of which nothing came back, the oldest first."""
        for fence in self._open.values():
            for said in fence.said:
                if said.batch and not said.answered and not fence.batch_refused:
                    yield fence, said

    def _no_batch(self, found: tuple[Fence, Said] | None) -> None:
        """The server does not take one after all: line by line from now on, and this again."""
        self.refuses_batches = True
        if found is not None:
            found[0].batch_refused = True

    def _echo(self, line: Line) -> None:
        """An own line that came back without a label."""
        if "echo-message" not in self._caps() or line.tags.get("batch"):
            return
        for fence in self._open.values():
            if fence.place != self._fold(line[0]):
                continue
            for said in fence.said:
                if not said.answered and not said.label and said.text == line[1]:
                    said.answered, said.msgid = True, line.tags.get("msgid", "")[:_MSGID]
                    fence.look()
                    return

    def _failed(self, text: str, place: str | None) -> None:
        """Something that was said is refused: the oldest of that place that is open."""
        for fence in self._open.values():
            if place is None or fence.place == self._fold(place):
                fence.errors.append(text)
                return


def _is_refusal(command: str) -> bool:
    return command == "FAIL" or command in _REFUSALS or command[:1] in ("4", "5")
