"""What a message is about, by the id that means it in the log now.

A message that came to nothing and was said again (voiding.py) has another id; applications may
still know it by the one before, which says nothing to who was never shown that.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

from attrs import evolve

from ofcd.client.archive import Archive, Entry
from ofcd.client.vault import Reader
from ofcd.e2e import bodies

__all__ = ["ABOUT", "NOT_SAID_AGAIN", "aimed", "void_target"]

C = TypeVar("C")
_NAMED: Final = ("target", "reply_to", "thread")
ABOUT: Final = (bodies.Edit, bodies.Reaction, bodies.Redaction)
"""What changes another message."""
NOT_SAID_AGAIN: Final = (
    bodies.Beat,
    bodies.Compare,
    bodies.CompareEnd,
    bodies.HandoverOffer,
    bodies.HandoverAccepted,
)
"""What was meant for its moment."""


def aimed(archive: Archive, records: Reader, content: C) -> C:
    """`content` with the present ids of what it names."""
    changed: dict[str, Any] = {}
    for name in _NAMED:
        before = getattr(content, name, None)
        entry = None if before is None else archive.find(records, before)
        if entry is not None and entry.event_id != before:
            changed[name] = entry.event_id
    return evolve(content, **changed) if changed else content  # type: ignore[misc]  # attrs


def void_target(
    archive: Archive, records: Reader, content: bodies.Edit | bodies.Reaction | bodies.Redaction
) -> Entry | None:
    """What it would change, where that came to nothing, and was not said again (yet)."""
    if archive.find(records, content.target) is not None:
        return None
    void = archive.void(records)
    return next((e for e in void if content.target in (e.event_id, *e.earlier)), None)
