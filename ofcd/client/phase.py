"""How far a room has come on one link, and what it says there is bound to."""

from __future__ import annotations

from enum import Enum, auto

from ofcd.protocol.ids import Hash32, PublicKey, RelayId

__all__ = ["LinkFacts", "Phase"]


class Phase(Enum):
    """How far this room has come on the current link."""

    DOWN = auto()
    CREATING = auto()
    ATTACHING = auto()
    CHAIN = auto()
    SYNCING = auto()
    LIVE = auto()
    WAITING = auto()
    """The relay can not take this room in now: it is asked again, on the same link."""
    STOPPED = auto()
    """Nothing more on this link: not here, frozen, or left."""


class LinkFacts:
    """What an ATTACH is bound to, on one link."""

    def __init__(
        self, relay_id: RelayId, relay_key: PublicKey, transport_key: PublicKey, challenge: Hash32
    ) -> None:
        """`relay_key` is proven by the session, `challenge` came in its Welcome."""
        self.relay_id = relay_id
        self.relay_key = relay_key
        self.transport_key = transport_key
        self.challenge = challenge
