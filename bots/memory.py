"""What a bot remembers: small typed records, encrypted in its vault, by bot, room and member.

COUNT = Key("count", int, 0)
ctx.memory.room[COUNT] += 1

They become durable together with the handler's replies, or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, Final, Generic, TypeVar

from attrs import define, field, frozen
from cattrs import BaseValidationError
from cattrs.preconf.json import make_converter

from bots.errors import BotError, SetupError
from bots.records import BOT, Writes, room_table

__all__ = ["Key", "Memory", "Store"]

T = TypeVar("T")

_converter: Final = make_converter()
_KEY_BYTES: Final = 200
VALUE_BYTES: Final = 64 * 1024


@frozen
class Key(Generic[T]):
    """The name of a record, the type of its value, and what it is before it is first set.

    `type` is anything cattrs reads from JSON: numbers, texts, lists, dicts, enums, attrs classes.
    """

    name: str
    type: type[T]
    default: T

    def __attrs_post_init__(self) -> None:
        if not self.name or len(self.name.encode()) > _KEY_BYTES or "\0" in self.name:
            raise SetupError(f"a key's name is 1 to {_KEY_BYTES} bytes long: {self.name!r} is not")

    def sub(self, name: str) -> Key[T]:
        """A key of the same type under this one: one record for each of many things."""
        return Key(f"{self.name}/{name}", self.type, self.default)


@define
class Store:
    """One scope's records. What is written here is committed with the handler's replies.

    `store[key]` gives a copy: change it and assign it back.
    """

    _records: Writes = field(repr=False)
    _table: str
    _prefix: bytes

    def __getitem__(self, key: Key[T]) -> T:
        raw = self._records.get(self._table, self._id(key.name))
        # A copy of the default, too: what a handler does to it must not be there for all rooms.
        return deepcopy(key.default) if raw is None else _load(key, raw)

    def __setitem__(self, key: Key[T], value: T) -> None:
        raw = json.dumps(_converter.unstructure(value), separators=(",", ":")).encode()
        if len(raw) > VALUE_BYTES:
            raise BotError(f"a record is at most {VALUE_BYTES} bytes: split {key.name!r}")
        self._records.put(self._table, self._id(key.name), raw)

    def __delitem__(self, key: Key[Any]) -> None:
        self._records.delete(self._table, self._id(key.name))

    def __contains__(self, key: Key[Any]) -> bool:
        return self._records.get(self._table, self._id(key.name)) is not None

    def under(self, key: Key[T]) -> Iterator[tuple[str, T]]:
        """Every record made by `key.sub(name)`, as (name, value), by name."""
        start = self._id(key.name + "/")
        for record_id, raw in list(self._records.items(self._table, start, start + b"\xff")):
            yield record_id[len(start) :].decode(), _load(key, raw)

    def _id(self, name: str) -> bytes:
        return self._prefix + name.encode()


def _load(key: Key[T], raw: bytes) -> T:
    try:
        value: T = _converter.structure(json.loads(raw), key.type)
    except (BaseValidationError, ValueError, TypeError, KeyError):
        raise BotError(
            f"the record {key.name!r} is no {key.type}: another version of this bot wrote it"
        ) from None
    return value


class Memory:
    """The scopes that a handler sees."""

    def __init__(self, records: Writes, room: bytes | None, member: bytes | None) -> None:
        """`room` and `member` are those of the event being handled, where it has them."""
        self._records = records
        self._room = room
        self._member = member

    @property
    def bot(self) -> Store:
        """Shared by all rooms. Where two rooms' handlers change it at once, one runs again."""
        return Store(self._records, BOT, b"memory/")

    @property
    def room(self) -> Store:
        """Of the room the event came from."""
        if self._room is None:
            raise BotError("this timer belongs to no room: use memory.bot or memory.of_room")
        return self.of_room(self._room)

    @property
    def member(self) -> Store:
        """Of the member who caused the event, in that room."""
        if self._member is None:
            raise BotError("no member caused this event: use memory.room or memory.of_member")
        return self.of_member(self._member)

    def of_room(self, room: bytes) -> Store:
        """Of any room."""
        return Store(self._records, room_table(room), b"memory/")

    def of_member(self, member: bytes) -> Store:
        """Of any member of the event's room."""
        if self._room is None:
            raise BotError("this timer belongs to no room, and members do only to rooms")
        return Store(self._records, room_table(self._room), b"member/" + member + b"/")
