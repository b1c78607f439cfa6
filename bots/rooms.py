"""What a room's owners set for a bot there: what its commands begin with, and its time zone."""

from __future__ import annotations

import json
import re
from typing import Final
from zoneinfo import ZoneInfo

from attrs import asdict, evolve, frozen

from bots.commands import BadValue, Given
from bots.events import Member
from bots.reading import member_of
from bots.records import Reads, Writes, room_table
from bots.schedule import zone
from ofcd.client import Room
from ofcd.protocol.ids import RoomId

__all__ = [
    "Named",
    "Prefix",
    "RoomSettings",
    "find_member",
    "keep_settings",
    "read_prefix",
    "settings_of",
]

_KEY: Final = b"settings"
_PREFIX: Final = re.compile(r"[^\w\s@]{1,3}")
_ID_DIGITS: Final = 6
"""Of a member's id, at least, to be one."""


@frozen
class RoomSettings:
    """A room's own settings of one bot; "" where the bot's hold."""

    prefix: str = ""
    timezone: str = ""

    def or_else(self, prefix: str, timezone: str) -> RoomSettings:
        """These, with the bot's own where the room has none."""
        return evolve(self, prefix=self.prefix or prefix, timezone=self.timezone or timezone)

    @property
    def zone(self) -> ZoneInfo:
        """The time zone."""
        return zone(self.timezone)


def settings_of(records: Reads, room: RoomId) -> RoomSettings:
    """What was set in a room."""
    raw = records.get(room_table(room), _KEY)
    return RoomSettings() if raw is None else RoomSettings(**json.loads(raw))


def keep_settings(records: Writes, room: RoomId, settings: RoomSettings) -> None:
    """Set it."""
    records.put(room_table(room), _KEY, json.dumps(asdict(settings)).encode())


class Prefix(str):
    """What commands begin with: signs that nobody begins a sentence with."""


def read_prefix(word: str, _: Given) -> Prefix:
    """Read a prefix; raises `BadValue`."""
    if not _PREFIX.fullmatch(word):
        raise BadValue("is no prefix: use one to three signs such as ! or ?, no letters, no @")
    return Prefix(word)


# -- members, named on a line ----------------------------------------------------------------------


@frozen
class Named(Member):
    """A member of the room whom a command names, by name or by the beginning of the id."""


def find_member(word: str, given: Given) -> Named:
    """The member that a word means; raises `BadValue` for nobody, and for more than one."""
    room: Room = given.get(Room)
    wanted = word.removeprefix("@").casefold()
    people = room.members()
    found = [one.mid for one in people if one.name.casefold() == wanted]
    if len(wanted) >= _ID_DIGITS:
        found += [one.mid for one in people if one.mid.hex().startswith(wanted)]
    if not found:
        raise BadValue("is nobody in this room: write a name, or the beginning of an id")
    if len(set(found)) > 1:
        ids = ", ".join(mid.hex()[:8] for mid in found)
        raise BadValue(f"can be more than one member: write the beginning of an id ({ids})")
    one = member_of(room, found[0])
    return Named(one.mid, one.name, one.role, one.caps, one.fingerprint, one.is_me)
