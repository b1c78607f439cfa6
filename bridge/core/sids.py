"""The ids of what a bridge says by itself, the same however often it comes to say it."""

from __future__ import annotations

from ofcd.protocol.ids import Sid, tagged_hash

__all__ = ["own_sid"]


def own_sid(what: str, *about: bytes) -> Sid:
    """The id of a notice, an answer or a mark: said once about the same thing."""
    return Sid(tagged_hash("bridge-own", what.encode(), *about)[:16])
