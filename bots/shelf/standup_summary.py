"""What a standup's answers look like as one message (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Final

from attrs import field, frozen

from bots.shelf import words

__all__ = ["Answer", "Part", "summary"]

_BYTES: Final = 30_000
_SHARES: Final = (2_000, 1_000, 500, 200, 100, 40)
"""Characters of each member's answer that are told; the first that lets all of it fit."""
_SHOWN: Final = 60


@frozen
class Part:
    """A message that answers."""

    id: str
    """Event id, hex."""
    text: str = field(repr=False)


@frozen
class Answer:
    """All that a member said."""

    name: str
    parts: Sequence[Part]


def summary(
    on: date,
    told: Sequence[Answer],
    missing: Sequence[str],
    away: Sequence[str],
) -> str:
    """Who said what, as one message: the more there is, the less of each."""
    for share in _SHARES:
        text = _summary(on, told, missing, away, share)
        if len(text.encode()) <= _BYTES:
            break
    return text


def _summary(
    on: date,
    told: Sequence[Answer],
    missing: Sequence[str],
    away: Sequence[str],
    share: int,
) -> str:
    lines = [f"**Standup, {words.day(on)}: {len(told)} answered**"]
    for answer in told[:_SHOWN]:
        said = words.in_full("\n".join(part.text for part in answer.parts), share)
        lines += [
            f"**{words.quoted(answer.name, 24)}**",
            *(f"> {line}".rstrip() for line in said.split("\n")),
        ]
    if len(told) > _SHOWN:
        lines.append(f"and {len(told) - _SHOWN} more")
    if missing:
        lines.append(f"Nothing from {_some(missing)}.")
    if away:
        lines.append(f"Away: {_some(away)}.")
    return "\n".join(lines)


def _some(names: Sequence[str]) -> str:
    more = [f"{len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return words.listed([*(words.one_line(name, 24) for name in names[:_SHOWN]), *more])
