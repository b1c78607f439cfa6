"""The room of chain.json, replayed: its state at the end, and L at each entry."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from ofcd.e2e.chain import verify_chain
from ofcd.protocol.ids import Hash32, RoomId
from ofcd.protocol.room import RoomState

__all__ = ["Log", "replayed"]


@frozen
class Log:
    """A whole room log, by its running hashes."""

    hashes: tuple[Hash32, ...]

    @property
    def end(self) -> int:
        """The last seq."""
        return len(self.hashes) - 1

    def hash_at(self, seq: int) -> Hash32 | None:
        """L after entry `seq`."""
        return self.hashes[seq] if 0 <= seq <= self.end else None


def replayed(chain: dict[str, Any]) -> tuple[RoomState, Log]:
    """State and log of the room in chain.json."""
    rows = chain["log"]
    controls = [(row["seq"], bytes.fromhex(row["record"])) for row in rows if "cell" not in row]
    state = verify_chain(RoomId(bytes.fromhex(chain["room"])), controls)
    return state, Log(tuple(Hash32(bytes.fromhex(row["log"])) for row in rows))
