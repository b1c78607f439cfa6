"""What a bot is let do, in words that people use: the scopes of its invite.

A scope is no field of a record: it is read off a member's role and caps, which every member sees.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from ofcd.protocol.records import Cap, Role

__all__ = ["Scope", "caps_for", "scopes_of"]


class Scope(StrEnum):
    """One thing a bot may do."""

    READ_ALL = "read-all"
    """Handles everything that is said."""
    ONLY_ADDRESSED = "only-addressed"
    """Handles commands, mentions, and answers and reactions to its own messages: its own word."""
    WRITE = "write"
    FILES = "files"
    HISTORY = "history"
    """Reads back to the last rotation before it joined; without, from its joining on."""


def scopes_of(role: Role, caps: Collection[Cap]) -> list[Scope]:
    """What a member with this role and these caps may do; history is past, and not among them."""
    made = [Scope.ONLY_ADDRESSED if Cap.ONLY_ADDRESSED in caps else Scope.READ_ALL]
    if role is Role.READONLY:
        return made
    return [*made, Scope.WRITE, *([] if Cap.NO_FILES in caps else [Scope.FILES])]


def caps_for(scopes: Collection[Scope]) -> frozenset[Cap]:
    """The caps of a bot that may do this. Without `write`, its role is `readonly` besides."""
    caps = {Cap.BOT}
    if Scope.ONLY_ADDRESSED in scopes:
        caps.add(Cap.ONLY_ADDRESSED)
    if Scope.FILES not in scopes:
        caps.add(Cap.NO_FILES)
    return frozenset(caps)
