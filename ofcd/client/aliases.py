"""Members that are one person's devices: shown as such once both have said so. It grants nothing.

A statement is a signed event (`Alias`); `alias/<mid>` in the vault holds whom a member names. A
newcomer knows of what was said since its history begins.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from attrs import frozen

from ofcd.client.archive import Entry, Kind
from ofcd.client.core import Core
from ofcd.client.events import AliasChanged
from ofcd.client.model import load, save
from ofcd.client.turn import Turn
from ofcd.client.vault import Reader
from ofcd.e2e.bodies import Alias
from ofcd.protocol.ids import MemberId

__all__ = ["Aliases"]

_ALIAS: Final = b"alias/"
_NAMED: Final = 16
"""Members that one member may name: more devices than a person has."""


@frozen
class _Named:
    members: tuple[MemberId, ...] = ()


class Aliases:
    """Who says to be the same person as whom, in one room."""

    def __init__(self, core: Core, records: Reader) -> None:
        """Loads what the vault holds."""
        self._core = core
        self._named = {
            MemberId(key[len(_ALIAS) :]): load(_Named, raw).members
            for key, raw in records.items(core.tables.state, _ALIAS, b"alias0")
        }

    def same_as(self, mid: MemberId) -> tuple[MemberId, ...]:
        """The current members that are the same person as `mid`: each has named the other."""
        there = self._core.state.members
        return tuple(m for m in self._named.get(mid, ()) if m in there and self.says(m, mid))

    def heard(self, turn: Turn, sender: MemberId, said: Alias) -> None:
        """`sender` has said so."""
        before = self._is_mutual(sender, said.member)
        if not self._take(sender, said):
            return
        named = self._named[sender]
        turn.records.put(self._core.tables.state, _ALIAS + sender, save(_Named(named)))
        after = self._is_mutual(sender, said.member)
        if after is not before:
            turn.tell(AliasChanged(self._core.room, (sender, said.member), same=after))

    def begin_anew(self, turn: Turn, void: Iterable[Entry]) -> None:
        """The end of the log came to nothing: what is said in what is left of it counts."""
        core, before = self._core, self._named
        if not any(isinstance(core.archive.content(entry), Alias) for entry in void):
            return
        self._named = {}
        for entry in core.archive.entries(turn.records):
            content = core.archive.content(entry) if entry.kind is Kind.SILENT else None
            if isinstance(content, Alias):
                self._take(entry.mid, content)
        for sender in before.keys() | self._named.keys():
            named = self._named.get(sender, ())
            if named != before.get(sender, ()):
                turn.records.put(core.tables.state, _ALIAS + sender, save(_Named(named)))

    def _take(self, sender: MemberId, said: Alias) -> bool:
        others = tuple(m for m in self._named.get(sender, ()) if m != said.member)
        if said.member == sender or (not said.removed and len(others) >= _NAMED):
            return False
        self._named[sender] = others if said.removed else (*others, said.member)
        return True

    def _is_mutual(self, one: MemberId, other: MemberId) -> bool:
        return self.says(one, other) and self.says(other, one)

    def says(self, one: MemberId, other: MemberId) -> bool:
        """Whether `one` says that `other` is the same person."""
        return other in self._named.get(one, ())
