"""What a message does to the archive: words, edits, reactions, names (protocol.md §2.5).

The rules of who may change what are checked here, by every client for itself: the relay sees none
of it but that a redaction is one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import evolve

from ofcd.client.archive import Archive, Entry, Kind
from ofcd.client.blobdrops import keep_drop, named, unnamed
from ofcd.client.core import Core
from ofcd.client.turn import Turn
from ofcd.client.vault import Records
from ofcd.e2e import bodies
from ofcd.e2e.bodies import decode_body, encode_body
from ofcd.e2e.events import Opened, may_edit, may_name_room, may_redact
from ofcd.e2e.names import display_name
from ofcd.protocol.ids import EventId, MemberId

__all__ = ["Folder", "Hear", "refold"]

_REACTIONS: Final = 64
"""Different ones on one message: an entry is written anew with each, and must stay small."""

Hear = Callable[[Turn, int, Opened], None]
"""Takes what one member's client says to another's, and its seq."""


class Folder:
    """Applies opened messages to one room's archive, in the order of the log."""

    def __init__(self, core: Core, hear: Hear) -> None:
        """Works on `core`."""
        self._core = core
        self._hear = hear

    def fold(self, turn: Turn, entry: Entry, opened: Opened) -> Entry:
        """What `entry` becomes, now that it is opened; its target is changed on the way."""
        entry = evolve(entry, body=encode_body(opened.body).rstrip(), code="")
        content = opened.content
        if not isinstance(content, bodies.Profile):  # its entry tells which name came before
            self._learn_name(turn, entry.mid, opened.name)
        match content:
            case bodies.Edit():
                return self._edit(turn, entry, content)
            case bodies.Reaction():
                return self._react(turn, entry, content)
            case bodies.Redaction():
                return self._redact(turn, entry, content)
            case bodies.Profile():
                return self._rename(turn, entry, content)
            case bodies.RoomInfo():
                return self._rename_room(turn, entry, content)
            case bodies.HandoverOffer():
                kind = Kind.OFFER if entry.mid == self._core.state.root else Kind.SILENT
                return evolve(entry, kind=kind)
            case bodies.Compare() | bodies.CompareEnd() | bodies.Alias():
                self._hear(turn, entry.seq, opened)
                return evolve(entry, kind=Kind.SILENT)
            case bodies.Beat() | bodies.HandoverAccepted():
                return evolve(entry, kind=Kind.SILENT)
            case bodies.FileRef():
                named(turn.records, self._core, content.blob_id, entry.mid)
                return evolve(entry, kind=Kind.MESSAGE)
            case _:
                return evolve(entry, kind=Kind.MESSAGE)

    def count(self, turn: Turn, entry: Entry) -> None:
        """One more unread message, if it is one."""
        core = self._core
        if core.is_new(entry) and entry.seq > core.head.read_seq:
            core.save_head(turn, unread=core.head.unread + 1)

    def _target(self, turn: Turn, target: EventId, entry: Entry) -> Entry | None:
        found = self._core.archive.find(turn.records, target)
        # By an id that is void nothing is meant here: who was not shown that knows none of it.
        is_there = found is not None and found.event_id == target
        return found if found is not None and is_there and found.seq < entry.seq else None

    def _edit(self, turn: Turn, entry: Entry, content: bodies.Edit) -> Entry:
        target = self._target(turn, content.target, entry)
        if (
            target is None
            or target.kind is not Kind.MESSAGE
            or not may_edit(entry.mid, target.mid)
            or target.redacted_by is not None
        ):
            return evolve(entry, kind=Kind.SILENT, code="edit_in_vain")
        self._core.archive.replace(turn.records, evolve(target, edited=entry.body))
        return evolve(entry, kind=Kind.EDIT, target_seq=target.seq)

    def _react(self, turn: Turn, entry: Entry, content: bodies.Reaction) -> Entry:
        target = self._target(turn, content.target, entry)
        if target is None or target.redacted_by is not None:
            return evolve(entry, kind=Kind.SILENT, code="reaction_in_vain")
        reactions = _with_reaction(
            dict(target.reactions), content.emoji, entry.mid, content.removed
        )
        if len(reactions) > _REACTIONS:
            return evolve(entry, kind=Kind.SILENT, code="reaction_in_vain")
        changed = evolve(target, reactions=tuple(reactions.items()))
        self._core.archive.replace(turn.records, changed)
        return evolve(entry, kind=Kind.REACTION, target_seq=target.seq)

    def _redact(self, turn: Turn, entry: Entry, content: bodies.Redaction) -> Entry:
        target = self._target(turn, content.target, entry)
        if target is None or not may_redact(self._core.state, entry.mid, target.mid):
            return evolve(entry, kind=Kind.SILENT, code="redaction_in_vain")
        self._drop_file(turn, entry, target)
        if target.kind in (Kind.MESSAGE, Kind.PARKED, Kind.UNREADABLE):
            emptied = evolve(
                target,
                kind=Kind.MESSAGE,
                counter=target.number or 0,
                body=b"",
                edited=b"",
                record=b"",
                cell=b"",
                reactions=(),
                redacted_by=entry.mid,
                code="redacted",
            )
            self._core.archive.replace(turn.records, emptied)
        return evolve(entry, kind=Kind.REDACTION, target_seq=target.seq)

    def _drop_file(self, turn: Turn, entry: Entry, target: Entry) -> None:
        """Who redacts the last message that names a file has the relay forget it, too."""
        core = self._core
        content = core.archive.content(target)
        if not isinstance(content, bodies.FileRef):
            return
        is_last = unnamed(turn.records, core, content.blob_id, target.mid)
        if is_last and entry.mid == core.me:
            keep_drop(turn.records, core, content.blob_id, target.mid)

    def _rename(self, turn: Turn, entry: Entry, content: bodies.Profile) -> Entry:
        before = self._core.names.get(entry.mid, "")
        self._learn_name(turn, entry.mid, display_name(content.name))
        return evolve(entry, kind=Kind.PROFILE, before=before)

    def _rename_room(self, turn: Turn, entry: Entry, content: bodies.RoomInfo) -> Entry:
        core = self._core
        if not may_name_room(core.state, entry.mid):
            return evolve(entry, kind=Kind.SILENT, code="room_name_in_vain")
        before, name = core.head.room_name, display_name(content.name)
        core.save_head(turn, room_name=name, topic=content.topic)
        return evolve(entry, kind=Kind.ROOM, before=before)

    def _learn_name(self, turn: Turn, mid: MemberId, name: str) -> None:
        if name and self._core.names.get(mid) != name:
            self._core.names[mid] = name
            self._core.save_sender(turn, mid)


def refold(archive: Archive, records: Records, target_seq: int, end: int) -> None:
    """An entry as it reads by what stands up to `end`: what came behind that came to nothing.

    The words of what was redacted are gone; whoever redacted it says so again.
    """
    target = archive.entry(records, target_seq)
    if target is None or target.redacted_by is not None:
        return
    edited, reactions = b"", dict[str, tuple[MemberId, ...]]()
    for entry in archive.entries(records, target_seq + 1, end + 1):
        if entry.target_seq != target_seq or not entry.body:
            continue
        content = decode_body(entry.body).content
        if entry.kind is Kind.EDIT:
            edited = entry.body
        elif entry.kind is Kind.REACTION and isinstance(content, bodies.Reaction):
            reactions = _with_reaction(reactions, content.emoji, entry.mid, content.removed)
    changed = evolve(target, edited=edited, reactions=tuple(reactions.items()))
    archive.replace(records, changed)


def _with_reaction(
    reactions: dict[str, tuple[MemberId, ...]], emoji: str, mid: MemberId, removed: bool
) -> dict[str, tuple[MemberId, ...]]:
    others = tuple(m for m in reactions.get(emoji, ()) if m != mid)
    kept = others if removed else (*others, mid)
    changed = {**reactions, emoji: kept}
    return {word: mids for word, mids in changed.items() if mids}
