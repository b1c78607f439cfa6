"""Links to other relays: their rooms' members here, and copies of our rooms there."""

from __future__ import annotations

from ofcd.daemon.peers.federation import Federation

__all__ = ["Federation"]
