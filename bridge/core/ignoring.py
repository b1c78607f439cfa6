"""From whom nothing is taken: as the settings say, and as a room's owners say in it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final

from bridge.core.model import Author
from bridge.core.names import remote_name
from ofcd.client.vault import Reader, Records
from ofcd.protocol.ids import RoomId

__all__ = ["MOST", "ignored_in", "is_everybody", "is_ignored", "keep_ignored"]

MOST: Final = 100
"""Patterns of one room."""
_TABLE: Final = "app/bridge/ignored"
_OF_ANYBODY: Final = "*?!@. "


def is_ignored(patterns: Iterable[str], author: Author) -> bool:
    """Whether a pattern (with * and ?) is somebody's id outside, or their name."""
    names = (author.id, author.name, remote_name(author.name, author.id))
    who = [one.casefold() for one in names]
    # Nicks have brackets: in a pattern they are what they are, and no set of letters.
    made = [one.casefold().replace("[", "[[]") for one in patterns]
    return any(fnmatchcase(one, pattern) for one in who for pattern in made)


def is_everybody(pattern: str) -> bool:
    """Whether nothing in a pattern names anybody."""
    return not pattern.strip(_OF_ANYBODY)


def ignored_in(records: Reader, room: RoomId) -> list[str]:
    """The patterns that the owners of a room have said, the first one first."""
    raw = records.get(_TABLE, room)
    return [] if raw is None else [str(one) for one in json.loads(raw)]


def keep_ignored(tx: Records, room: RoomId, patterns: list[str]) -> None:
    """Keep them, and no others."""
    if patterns:
        tx.put(_TABLE, room, json.dumps(patterns).encode())
    else:
        tx.delete(_TABLE, room)
