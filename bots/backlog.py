"""What a bot that was away has not handled: commands passed over, messages to sum up (B2)."""

from __future__ import annotations

import json
from typing import Final

from attrs import field, frozen
from cattrs.preconf.json import make_converter

from bots.events import Event
from bots.records import Reads, Writes, room_table
from ofcd.protocol.ids import EventId, RoomId

__all__ = ["Backlog"]

_KEY: Final = b"backlog"
_NAMED: Final = 5
_KEPT: Final = 200
_converter: Final = make_converter()


@frozen
class _State:
    skipped: int = 0
    names: list[str] = field(factory=list)
    last: str = ""
    kept: dict[str, list[str | int]] = field(factory=dict)
    """Ids, hex; an earlier version kept log positions."""


class Backlog:
    """One room's; it is in the vault, so that it outlives the process as the cursor does."""

    def __init__(self, records: Reads, room: RoomId) -> None:
        self._table = room_table(room)
        self._records = records

    def __bool__(self) -> bool:
        state = self._load(self._records)
        return bool(state.skipped or state.kept)

    def skip(self, records: Writes, name: str, event: Event) -> None:
        """A command came too late to be carried out."""
        state = self._load(records)
        names = [*state.names, name][:_NAMED]
        self._save(records, _State(state.skipped + 1, names, event.id.hex(), state.kept))

    def keep(self, records: Writes, name: str, event: Event) -> None:
        """A message for a handler that wants late ones all at once; the last 200 are kept."""
        state = self._load(records)
        kept = {**state.kept, name: [*state.kept.get(name, []), event.id.hex()][-_KEPT:]}
        self._save(records, _State(state.skipped, state.names, state.last, kept))

    def note(self, prefix: str) -> tuple[str, EventId] | None:
        """What to say of the commands passed over, and the last one's event."""
        state = self._load(self._records)
        if not state.skipped:
            return None
        names = ", ".join(prefix + name.replace(".", " ") for name in state.names)
        more = state.skipped - len(state.names)
        more_words = f" and {more} more" if more else ""
        return (
            f"I was away. Too old by now, so not carried out: {names}{more_words}. "
            "Say it again if it is still wanted.",
            EventId(bytes.fromhex(state.last)),
        )

    def kept(self) -> list[tuple[str, list[EventId | int]]]:
        """What is kept for each handler: ids, or log positions."""
        return [
            (name, [EventId(bytes.fromhex(one)) if isinstance(one, str) else one for one in kept])
            for name, kept in sorted(self._load(self._records).kept.items())
        ]

    def clear(self, records: Writes) -> None:
        """All of it is dealt with."""
        records.delete(self._table, _KEY)

    def _load(self, records: Reads) -> _State:
        raw = records.get(self._table, _KEY)
        return _State() if raw is None else _converter.structure(json.loads(raw), _State)

    def _save(self, records: Writes, state: _State) -> None:
        records.put(self._table, _KEY, json.dumps(_converter.unstructure(state)).encode())
