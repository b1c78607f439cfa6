"""Every command of `ofc`: one small function each, given a client, options and an output."""

from __future__ import annotations

from typing import Final

from ofcd.ofc.command import Command
from ofcd.ofc.commands import exporting, inviting, keeping, people, rooms, talking, verifying

__all__ = ["BY_NAME", "COMMANDS"]

COMMANDS: Final[tuple[Command, ...]] = (
    rooms.CREATE,
    inviting.INVITE,
    inviting.JOIN,
    talking.SEND,
    talking.READ,
    talking.TAIL,
    talking.CHAT,
    rooms.ROOMS,
    people.MEMBERS,
    verifying.VERIFY,
    verifying.ALIAS,
    people.EVICT,
    people.ROTATE,
    people.GRANT,
    people.HAND_OVER,
    rooms.HOME,
    rooms.MOVE,
    rooms.LEAVE,
    exporting.EXPORT,
    inviting.SERVE,
    keeping.BACKUP,
    keeping.RESTORE,
    keeping.PASSPHRASE,
)
"""In the order of `ofc --help`."""

BY_NAME: Final = {command.name: command for command in COMMANDS}
