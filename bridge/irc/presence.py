"""Who comes and goes, in words; a netsplit in one line each way (I6). Sans-IO."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from attrs import define, field, frozen

from bridge.irc.mirc import clean
from bridge.irc.wire import Line

__all__ = ["Note", "Presence"]

_HOLD_SECONDS: Final = 5.0
_BACK_SECONDS: Final = 600.0
_NAMED: Final = 8
_HOST: Final = r"(?:[0-9A-Za-z*](?:[0-9A-Za-z-]*[0-9A-Za-z])?\.)+[A-Za-z*]{1,}"
_SPLIT: Final = re.compile(rf"{_HOST} {_HOST}")


@frozen
class Note:
    """One line for a channel."""

    channel: str
    who: str
    text: str


@define
class _Held:
    due: float
    nicks: list[str] = field(factory=list)


class Presence:
    """The members of channels, as far as the server says, and what is to be told of them."""

    def __init__(self) -> None:
        self.members: dict[str, dict[str, str]] = {}
        """By channel: folded nick -> nick."""
        self._notes: list[Note] = []
        self._gone: dict[str, _Held] = {}
        self._back: dict[str, _Held] = {}
        self._split: dict[tuple[str, str], float] = {}
        """Who was split off, and until when that is remembered."""

    def take(self, line: Line, fold: Callable[[str], str], now: float) -> None:
        """A JOIN, PART, KICK, QUIT, NICK or part of NAMES of somebody else."""
        nick = clean(line.nick)
        match line.command:
            case "353":
                channel = self.members.setdefault(fold(line[2]), {})
                for one in line.params[-1].split():
                    who = one.lstrip("~&@%+!").partition("!")[0]
                    channel[fold(who)] = who
            case "JOIN":
                self._join(fold(line[0]), fold(nick), nick, now)
            case "PART":
                self._leave(fold(line[0]), fold(nick), f"{nick} left")
            case "KICK":
                what = f"{clean(line[1])} was kicked out by {nick}"
                self._leave(fold(line[0]), fold(line[1]), what)
            case "QUIT":
                for name, members in self.members.items():
                    if fold(nick) in members:
                        self._quit(name, fold(nick), nick, line[0], now)
            case "NICK":
                for name, members in self.members.items():
                    if members.pop(fold(nick), None) is not None:
                        members[fold(line[0])] = line[0]
                        text = f"{nick} is now {clean(line[0])}"
                        self._notes.append(Note(name, nick, text))

    def _join(self, channel: str, folded: str, nick: str, now: float) -> None:
        members = self.members.setdefault(channel, {})
        if folded in members:
            return
        members[folded] = nick
        if self._split.pop((channel, folded), 0.0) > now:
            held = self._back.setdefault(channel, _Held(now + _HOLD_SECONDS))
            held.nicks.append(nick)
        else:
            self._notes.append(Note(channel, nick, f"{nick} joined"))

    def _leave(self, channel: str, folded: str, text: str) -> None:
        nick = self.members.get(channel, {}).pop(folded, None)
        if nick is not None:
            self._notes.append(Note(channel, nick, text))

    def _quit(self, channel: str, folded: str, nick: str, reason: str, now: float) -> None:
        del self.members[channel][folded]
        if not _SPLIT.fullmatch(reason):
            self._notes.append(Note(channel, nick, f"{nick} quit"))
            return
        self._split[channel, folded] = now + _BACK_SECONDS
        self._gone.setdefault(channel, _Held(now + _HOLD_SECONDS)).nicks.append(nick)

    def due(self, now: float) -> list[Note]:
        """What is to be told now."""
        made, self._notes = self._notes, []
        for held, text in ((self._gone, "were split off"), (self._back, "are back")):
            for channel in [name for name, one in held.items() if one.due <= now]:
                nicks = held.pop(channel).nicks
                more = f" and {len(nicks) - _NAMED} more" if len(nicks) > _NAMED else ""
                named = ", ".join(nicks[:_NAMED])
                words = f"netsplit: {len(nicks)} {text} ({named}{more})"
                made.append(Note(channel, "netsplit", words))
        self._split = {key: until for key, until in self._split.items() if until > now}
        return made
