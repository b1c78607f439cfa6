"""Which room, member or message a word on the command line means.

Names are chosen by their bearers and prove nothing, so a full id wins over any name, and a word
that is one member's name and the beginning of another's id is ambiguous, never guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

from attrs import frozen

from ofcd.ofc.errors import Ambiguous, NotKnown

__all__ = ["SHORT_ID", "Candidate", "find", "short"]

SHORT_ID: Final = 8
"""Hex digits shown where the whole id would be too long."""
_LISTED: Final = 10

T = TypeVar("T")


@frozen
class Candidate:
    """Something that a word may mean."""

    hex_id: str
    name: str


def short(hex_id: str) -> str:
    """The beginning of an id, as people see it."""
    return hex_id[:SHORT_ID]


def find(what: str, word: str, candidates: Iterable[Candidate]) -> Candidate:
    """The one candidate with this id, name or beginning of an id.

    Raises `NotKnown` or `Ambiguous`, whose sentence lists what there is. `what` is "room" or
    "member".
    """
    known = list(candidates)
    for candidate in known:
        if candidate.hex_id == word.lower():
            return candidate
    matches = _matches(word, known)
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise Ambiguous(
            f"{word!r} can mean more than one {what}; use the beginning of its id: "
            f"{_listed(matches)}"
        )
    if not known:
        raise NotKnown(f"there is no {what} {word!r}; there is none at all yet")
    raise NotKnown(f"there is no {what} {word!r}; there is {_listed(known)}")


def _matches(word: str, known: Sequence[Candidate]) -> list[Candidate]:
    if not word:
        return []
    by_id = [c for c in known if c.hex_id.startswith(word.lower())]
    exact = [c for c in known if c.name == word]
    named = exact or [c for c in known if c.name.casefold() == word.casefold()]
    return [*named, *(c for c in by_id if c not in named)]


def _listed(candidates: Sequence[Candidate]) -> str:
    shown = [f"{c.name or 'unnamed'} ({short(c.hex_id)})" for c in candidates[:_LISTED]]
    more = len(candidates) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
