"""All checks, group by group, in the order they are run."""

from __future__ import annotations

from typing import Final

from ofcd.compliance.check import Check
from ofcd.compliance.checks import (
    attaching,
    blobs,
    control,
    events,
    floods,
    followers,
    founding,
    framing,
    handshake,
    history,
    hubs,
    joining,
    keys,
    moved,
    peering,
    sessions,
)

__all__ = ["CHECKS"]

CHECKS: Final[tuple[Check, ...]] = tuple(
    one
    for module in (
        handshake,
        sessions,
        framing,
        founding,
        attaching,
        joining,
        events,
        control,
        history,
        keys,
        blobs,
        floods,
        peering,
        followers,
        hubs,
        moved,
    )
    for one in module.check.checks
)
"""Every check."""
