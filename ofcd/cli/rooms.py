"""`ofcd rooms`: the rooms in figures, and one whose copy has no way back, to be taken anew."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from ofcd.config import Settings
from ofcd.errors import OfcError

if TYPE_CHECKING:
    from ofcd.protocol.ids import RoomId
    from ofcd.store import RoomSummary, Store

__all__ = ["NotACopy", "add_arguments", "run", "size_text", "take_anew"]

_OK: Final = 0
_USAGE: Final = 2
_ENOUGH: Final = 16
_DONE: Final = """\
What was here of {room} is gone, but for attachments. Started, this relay asks {hub}…
for all of it, as long as somebody who is at home here is in the room.
"""


class NotACopy(OfcError):
    """There is nowhere to take this room anew from."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be said after `ofcd rooms`."""
    parser.add_argument(
        "--anew",
        metavar="ROOM",
        help="drop what is here of a room that another relay orders, to fetch it from there; "
        "stop the relay first",
    )


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Do what was asked; returns the exit code."""
    return _anew(options.anew, settings) if options.anew else _list(settings, options.json)


def _list(settings: Settings, as_json: bool) -> int:
    from ofcd.store import Store

    with Store.open(settings.database_url, migrate=False, read_only=True) as store:
        rooms = store.rooms()
    if as_json:
        sys.stdout.writelines(json.dumps(_figures(room)) + "\n" for room in rooms)
    elif rooms:
        sys.stdout.write(f"{'room':64}  {'messages':>8}  {'size':>10}  last entry (UTC)\n")
        sys.stdout.writelines(map(_room_line, rooms))
    else:
        sys.stdout.write("no rooms yet\n")
    return _OK


def _figures(room: RoomSummary) -> dict[str, object]:
    return {
        "room": room.room.hex(),
        "entries": room.seq + 1,
        "events": room.events,
        "bytes": room.bytes,
        "last_ts": room.last_ts,
    }


def _room_line(room: RoomSummary) -> str:
    size, last = size_text(room.bytes), datetime.fromtimestamp(room.last_ts / 1000, UTC)
    return f"{room.room.hex()}  {room.events:8}  {size:>10}  {last:%Y-%m-%d %H:%M}\n"


def size_text(count: float) -> str:
    """A size for people, in the largest unit that fits."""
    if count < 1024:
        return f"{count} B"
    units = iter(("KiB", "MiB", "GiB", "TiB"))
    unit = next(units)
    count /= 1024
    while count >= 1024 and unit != "TiB":
        count, unit = count / 1024, next(units)
    return f"{count:.1f} {unit}"


# -- a copy that stands still ----------------------------------------------------------------------


def _anew(wanted: str, settings: Settings) -> int:
    from ofcd.daemon.run import milliseconds
    from ofcd.store import Store

    with Store.open(settings.database_url, migrate=False) as store:  # no relay holds it meanwhile
        try:
            room = take_anew(store, wanted, milliseconds())
        except NotACopy as error:
            sys.stderr.write(f"ofcd: {error}\n")
            return _USAGE
        [hub] = [copy.hub for copy in store.replicas() if copy.room == room]
    sys.stdout.write(_DONE.format(room=room.hex(), hub=hub.hex()[:_ENOUGH]))
    return _OK


def take_anew(store: Store, wanted: str, now: int) -> RoomId:
    """Leave nothing of a copy but GENESIS; `wanted` is the room's id, or the first digits of it.

    Raises `NotACopy`.
    """
    from ofcd.protocol.ids import Hash32
    from ofcd.relay import RoomLog, begin_anew

    room = _meant(store, wanted)
    snapshot = store.load_room(room)
    if snapshot is None or snapshot.hub is None:
        raise NotACopy(f"{wanted}: this relay orders that room, and there is no other log of it")
    begun = store.load_before(room, 0, Hash32(room))
    rest = None if begun is None else RoomLog.from_snapshot(begun)
    store.commit(begin_anew(RoomLog.from_snapshot(snapshot), rest, snapshot.hub, now))
    return room


def _meant(store: Store, wanted: str) -> RoomId:
    digits = wanted.lower()
    found = [one.room for one in store.rooms() if one.room.hex().startswith(digits)]
    if len(found) != 1 or len(digits) < _ENOUGH:
        raise NotACopy(f"{wanted} is no room's id here, or too little of it: see ofcd rooms")
    return found[0]
