"""What an operator orders of a relay while it runs: to take nothing from another one, or again.

Its database is the running relay's alone. So the command leaves a file beside it, which the relay
takes within seconds, and removes once it has done as it says.
"""

from __future__ import annotations

import json
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from attrs import evolve, field, frozen

from ofcd.errors import ConfigError
from ofcd.protocol.codec import parse_json
from ofcd.protocol.codes import Malformed
from ofcd.protocol.ids import RelayId
from ofcd.store import PeerRow

__all__ = ["FOREVER", "Order", "leave", "left_in", "put_aside"]

FOREVER: Final = 253_402_300_799_000
"""Milliseconds since 1970: the year 9999, for until it is released."""
_PATTERN: Final = "order-*.json"
_NUMBERED: Final = re.compile(r"order-(\d{20})-")
_BYTES: Final = 4096
_ID_BYTES: Final = 32
_REASON: Final = 300


def _plain(reason: str) -> str:
    """As much of it as is kept, without bytes that were no text."""
    return reason.encode(errors="replace").decode()[:_REASON]


@frozen
class Order:
    """Nothing is taken from this relay until then (milliseconds since 1970); 0: it is again."""

    relay_id: RelayId
    until: int
    reason: str = field(default="", converter=_plain)

    def applied(self, row: PeerRow) -> PeerRow:
        """What is known of the relay, with this done."""
        if self.until:
            return evolve(row, state="quarantined", detail=self.reason, quarantined=self.until)
        if not row.quarantined:
            return row
        return evolve(row, state="waiting", detail="", quarantined=0)


def leave(folder: Path, order: Order, database: Path | None = None) -> Path:
    """Leave it for the relay of this `data_dir`; the file is gone once it was taken.

    The relay runs as who owns the `database`, or else the folder.

    Raises `ConfigError` where it can not be written.
    """
    path = folder / f"order-{_number(folder):020}-{os.getpid()}.json"
    fresh = path.with_suffix(".new")
    fields = {"relay": order.relay_id.hex(), "until": order.until, "reason": order.reason}
    try:
        with fresh.open("x") as file:
            _hand_over(file.fileno(), _owner(folder, database))
            json.dump(fields, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: the order can not be left there ({error.strerror})") from None
    return path


def _number(folder: Path) -> int:
    """Behind all that wait, although the clock may have been put back."""
    waiting = (_NUMBERED.match(path.name) for path in folder.glob(_PATTERN))
    last = max((int(found[1]) for found in waiting if found), default=0)
    return max(time.time_ns(), last + 1)


def _owner(folder: Path, database: Path | None) -> os.stat_result:
    """As whom the relay runs: whose the database is, in a folder that may be another one's."""
    with suppress(FileNotFoundError):
        return (database or folder).stat()
    return folder.stat()


def _hand_over(file: int, relay: os.stat_result) -> None:
    """The relay is to read this, whoever leaves it."""
    if os.geteuid() == 0:
        os.fchown(file, relay.st_uid, relay.st_gid)
    os.fchmod(file, 0o600 if os.fstat(file).st_uid == relay.st_uid else 0o644)


def left_in(folder: Path) -> Iterator[tuple[Path, Order | None]]:
    """The orders that wait, the first one first; None for a file that is none.

    Remove each once it is done, `put_aside` what is none, and leave those behind one that could not
    be done: the last word is to be the last one done.

    Raises `ConfigError` at one that can not be read.
    """
    for path in sorted(folder.glob(_PATTERN)):
        yield path, _read(path)


def put_aside(path: Path) -> None:
    """What is no order is in nobody's way any more, and can be looked at, if that is possible."""
    with suppress(OSError):
        path.replace(path.with_suffix(".bad"))


def _read(path: Path) -> Order | None:
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return None
        # Another kind of file may be there by now: wait for none, go where none points to.
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            fields = parse_json(file.read(_BYTES + 1), max_bytes=_BYTES)
        relay_id = RelayId(bytes.fromhex(fields["relay"]))
        until, reason = fields["until"], fields["reason"]
    except OSError as error:
        raise ConfigError(f"{path}: the order can not be read ({error.strerror})") from None
    except (Malformed, ValueError, KeyError, TypeError):
        return None
    if len(relay_id) != _ID_BYTES or type(until) is not int or until < 0:
        return None
    return Order(relay_id, until, str(reason))
