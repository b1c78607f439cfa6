"""Fields of frames that travel as raw bytes after the JSON head (protocol.md, Frames)."""

from __future__ import annotations

from typing import Any

from attrs import field
from attrs.validators import max_len

__all__ = ["optional_part", "part", "parts"]


def _size(value: Any) -> str:
    return f"<{len(value)}>"


def part(limit: int) -> Any:
    """One part, of at most `limit` bytes."""
    return field(metadata={"part": "one"}, validator=max_len(limit), repr=_size)


def optional_part(limit: int) -> Any:
    """One part that may be empty."""
    return field(default=b"", metadata={"part": "one"}, validator=max_len(limit), repr=_size)


def parts(limit: int) -> Any:
    """All parts that are left, at most `limit` of them."""
    return field(default=(), metadata={"part": "rest"}, validator=max_len(limit), repr=_size)
