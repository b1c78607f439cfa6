"""Who has a nick now: USERHOST, or WHOX or WHOIS where their account matters (sans-IO)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio
from attrs import define, field, frozen

from bridge.irc.wire import Line

__all__ = ["Asking", "Who"]

_QUERY: Final = "152"
_WHOX: Final = f"%tuhna,{_QUERY}"
_NO_ACCOUNT: Final = "0"


@frozen
class Who:
    """What the server says of a nick."""

    where: str = ""
    """user@host; "": nobody has it."""
    account: str = ""
    """Of the network's services; "": none, or it was not asked."""


@define(eq=False)
class Asking:
    """One question at a time."""

    _fold: Callable[[str], str]
    """How the server compares names."""
    known: trio.Event = field(factory=trio.Event, init=False)
    """It is answered."""
    answer: Who | None = field(default=None, init=False)
    """None: not answered, or not to be."""
    _nick: str = field(default="", init=False)
    _asked: str = field(default="", init=False)
    _found: Who = field(factory=Who, init=False)

    def begin(self, nick: str, *, account: bool, whox: bool) -> tuple[str, ...]:
        """Ask, also for the `account`, by `whox` if the server has that; what is to be sent."""
        self.known, self.answer, self._found = trio.Event(), None, Who()
        self._nick = self._fold(nick)
        self._asked = "USERHOST" if not account else "WHO" if whox else "WHOIS"
        return (self._asked, nick, *((_WHOX,) if self._asked == "WHO" else ()))

    def take(self, line: Line) -> None:
        """A line from the server, which may be the answer or a part of it."""
        if self.known.is_set():
            return
        named = self._fold(line[1]) == self._nick
        match self._asked, line.command:
            case "USERHOST", "302":
                one, _, mask = next(iter(line.last.split()), "").partition("=")
                if not one or self._fold(one.rstrip("*")) == self._nick:
                    self._end(Who(mask.lstrip("+-")))
            case "WHO", "354" if line[1] == _QUERY and self._fold(line[4]) == self._nick:
                account = "" if line[5] == _NO_ACCOUNT else line[5]
                self._found = Who(f"{line[2]}@{line[3]}", account)
            case "WHOIS", "311" if named:
                self._found = Who(f"{line[2]}@{line[3]}", self._found.account)
            case "WHOIS", "330" if named:
                self._found = Who(self._found.where, line[2])
            case ("WHO", "315") | ("WHOIS", "318") if named:
                self._end(self._found)
            case _, "263" if line[1].upper() == self._asked:
                self._end(None)  # not so often: it is asked again later

    def _end(self, answer: Who | None) -> None:
        self.answer = answer
        self.known.set()
