"""Protocol versions: what we speak, and how two peers agree (protocol.md §2.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ofcd.protocol.codes import Code, Refused

__all__ = ["SUBPROTOCOL", "VERSION", "VERSIONS", "agree"]

VERSION: Final = 1
"""The version this code writes."""
VERSIONS: Final = (1,)
"""Every version this code reads, best first."""
SUBPROTOCOL: Final = "ofc.1"
"""The WebSocket subprotocol of this family of versions."""


def agree(offered: Sequence[int]) -> int:
    """The best version both speak; raises `Refused` (unsupported_version) if there is none."""
    for version in VERSIONS:
        if version in offered:
            return version
    raise Refused(Code.UNSUPPORTED_VERSION)
