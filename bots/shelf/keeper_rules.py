"""How `keeper` keeps a room: its settings, and what follows from them (sans-IO)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from attrs import field, frozen
from attrs.validators import ge, le

from bots.errors import SetupError
from bots.events import Member
from bots.options import Duration, read_options

__all__ = ["AllRules", "Rules", "read_rules"]

_ONE_DAY: Final = Duration("24h")
_ID_DIGITS: Final = 8


@frozen
class Rules:
    """One room's."""

    greeting: str = "Welcome, {name}!"
    """Said to who has joined; {name} and {room} are filled in. "" for nothing."""
    inviters: tuple[str, ...] = ("owners",)
    """Whose guests are let in without asking: "owners", "anyone", or members by id (8 digits or
    more, as `ofc members` shows them)."""
    names: tuple[str, ...] = ("*",)
    """Patterns of what guests may call themselves; others are asked about."""
    per_day: int = field(default=20, validator=ge(0))
    """Let in without asking within 24 hours."""
    rotate: bool = True
    """Renew the key beyond what the room's policy asks for, …"""
    rotate_every: Duration = _ONE_DAY
    """… when it is so old, and was used."""
    vote: bool = True
    """Members may vote somebody out."""
    vote_percent: int = field(default=50, validator=[ge(1), le(99)])
    """More than so many of those who may vote have to agree, …"""
    vote_least: int = field(default=3, validator=ge(2))
    """… and at least so many."""
    vote_time: Duration = _ONE_DAY
    """How long a vote is open."""
    accept_root: bool = True
    """Become root when root hands the room over to the bot."""

    def objection(self, name: str, inviter: Member, admitted: Iterable[int], now: int) -> str:
        """Why a guest is not let in without asking; "" where nothing is against it."""
        if not any(_is_inviter(word, inviter) for word in self.inviters):
            return f"{inviter.name or 'the inviter'} may not bring guests in"
        if not any(fnmatchcase(name.casefold(), one.casefold()) for one in self.names):
            return "the name is not one of those I know"
        if sum(1 for at in admitted if at > now - _ONE_DAY.ms) >= self.per_day:
            return f"{self.per_day} were let in today"
        return ""

    def votes_needed(self, voters: int) -> int:
        """How many of so many voters have to agree."""
        return max(self.vote_least, voters * self.vote_percent // 100 + 1)

    def welcome(self, name: str, room: str) -> str:
        """The greeting."""
        return self.greeting.replace("{name}", name).replace("{room}", room)


def _is_inviter(word: str, inviter: Member) -> bool:
    if word == "anyone":
        return True
    if word == "owners":
        return inviter.is_owner
    return len(word) >= _ID_DIGITS and inviter.mid.hex().startswith(word.lower())


@frozen
class AllRules:
    """Those of every room, and what is different in some."""

    everywhere: Rules
    rooms: Mapping[str, Rules]

    def of(self, room_id: str, name: str) -> Rules:
        """A room's: found by the beginning of its id, else by its name."""
        for word, rules in self.rooms.items():
            if len(word) >= _ID_DIGITS and room_id.startswith(word.lower()):
                return rules
        return self.rooms.get(name, self.everywhere)


def read_rules(options: Mapping[str, Any]) -> AllRules:
    """The rules in [bot.options]; [bot.options.rooms."name or id"] changes some for one room.

    Raises `SetupError` that names the key.
    """
    own = {key: value for key, value in options.items() if key != "rooms"}
    tables = options.get("rooms", {})
    if not isinstance(tables, dict) or not all(isinstance(one, dict) for one in tables.values()):
        raise SetupError('write a room\'s own rules under [bot.options.rooms."its name"]')
    rooms = {
        word: read_options({**own, **table}, Rules, f"bot.options.rooms.{word}")
        for word, table in tables.items()
    }
    return AllRules(read_options(own, Rules), rooms)
