"""Who comes and goes, in words; a netsplit in one line each way (I6). Sans-IO."""

from __future__ import annotations

import re
from collections import Counter
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
_MEMBERS: Final = 20_000
"""Of a channel that are kept in mind, and of those that were split off."""
_NICK: Final = 64
_MASK: Final = 256
_NOTES: Final = 200
"""Told at once; of more, how many there were."""


@frozen
class Note:
    """One line for a place."""

    place: str
    who: str
    text: str
    mask: str = ""
    """`nick!user@host`, where that is known."""


@define
class _Held:
    due: float
    count: int = 0
    notes: list[Note] = field(factory=list)
    """What would be told of the first of them, were there no split."""

    def add(self, note: Note) -> None:
        """One more."""
        self.count += 1
        if self.count <= _NAMED:
            self.notes.append(note)


class Presence:
    """The members of the bridge's places, as far as the server says, and what is told of them."""

    def __init__(self) -> None:
        self.members: dict[str, dict[str, str]] = {}
        """By place: folded nick -> nick."""
        self._notes: list[Note] = []
        self._more: Counter[str] = Counter()
        self._gone: dict[str, _Held] = {}
        self._back: dict[str, _Held] = {}
        self._split: dict[tuple[str, str], float] = {}
        """Who was split off, and until when that is remembered."""

    def forget(self, place: str) -> None:
        """Who is there is about to be told anew."""
        self.members.pop(place, None)

    def take(
        self,
        line: Line,
        fold: Callable[[str], str],
        place_of: Callable[[str], str | None],
        now: float,
    ) -> None:
        """A JOIN, PART, KICK, QUIT, NICK or part of NAMES of somebody else."""
        nick, mask = clean(line.nick[:_NICK]), clean(line.mask[:_MASK])
        place = place_of(line[2] if line.command == "353" else line[0])
        match line.command:
            case "353" if place is not None:
                channel = self.members.setdefault(place, {})
                for one in line.last.split():
                    who = one.lstrip("~&@%+!").partition("!")[0][:_NICK]
                    if len(channel) < _MEMBERS:
                        channel[fold(who)] = who
            case "JOIN" if place is not None:
                self._join(place, fold(nick), nick, mask, now)
            case "PART" if place is not None:
                self._leave(place, fold(nick), f"{nick} left", mask)
            case "KICK" if place is not None:
                whom = clean(line[1][:_NICK])
                self._leave(place, fold(whom), f"{whom} was kicked out by {nick}")
            case "QUIT":
                for name, members in self.members.items():
                    if fold(nick) in members:
                        self._quit(
                            name, fold(nick), Note(name, nick, f"{nick} quit", mask), line[0], now
                        )
            case "NICK":
                now_called = clean(line[0][:_NICK])
                for name, members in self.members.items():
                    if members.pop(fold(nick), None) is not None:
                        members[fold(now_called)] = now_called
                        self._note(Note(name, nick, f"{nick} is now {now_called}", mask))

    def _note(self, note: Note) -> None:
        if len(self._notes) < _NOTES:
            self._notes.append(note)
        else:
            self._more[note.place] += 1

    def _join(self, place: str, folded: str, nick: str, mask: str, now: float) -> None:
        members = self.members.setdefault(place, {})
        if folded in members or len(members) >= _MEMBERS:
            return
        members[folded] = nick
        note = Note(place, nick, f"{nick} joined", mask)
        if self._split.pop((place, folded), 0.0) > now:
            self._back.setdefault(place, _Held(now + _HOLD_SECONDS)).add(note)
        else:
            self._note(note)

    def _leave(self, place: str, folded: str, text: str, mask: str = "") -> None:
        nick = self.members.get(place, {}).pop(folded, None)
        if nick is not None:
            self._note(Note(place, nick, text, mask))

    def _quit(self, place: str, folded: str, note: Note, reason: str, now: float) -> None:
        del self.members[place][folded]
        if not _SPLIT.fullmatch(reason):
            self._note(note)
            return
        if len(self._split) < _MEMBERS:
            self._split[place, folded] = now + _BACK_SECONDS
        self._gone.setdefault(place, _Held(now + _HOLD_SECONDS)).add(note)

    def due(self, now: float) -> list[Note]:
        """What is to be told now."""
        made, self._notes = self._notes, []
        more, self._more = self._more, Counter()
        made += [Note(place, "others", f"{n} more came or went") for place, n in more.items()]
        for held, text in ((self._gone, "were split off"), (self._back, "are back")):
            for place in [name for name, one in held.items() if one.due <= now]:
                one = held.pop(place)
                if one.count == 1:  # anybody can give servers' names as their reason to quit
                    made += one.notes
                    continue
                others = f" and {one.count - _NAMED} more" if one.count > _NAMED else ""
                words = (
                    f"netsplit: {one.count} {text} ({', '.join(x.who for x in one.notes)}{others})"
                )
                made.append(Note(place, "netsplit", words))
        self._split = {key: until for key, until in self._split.items() if until > now}
        return made
