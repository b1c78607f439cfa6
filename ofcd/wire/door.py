"""Who may come in: connections at once, in all and by address; handshakes by rate. Sans-IO."""

from __future__ import annotations

import math
from collections import Counter

from ofcd.protocol.rates import TokenBuckets
from ofcd.wire.limits import ServeLimits
from ofcd.wire.pages import HttpResponse
from ofcd.wire.stream import RemoteAddress

__all__ = ["Door"]

_SOON = ("Retry-After", "10")


class Door:
    """Counts the connections of one port. Without an address one counts only in all."""

    def __init__(self, limits: ServeLimits) -> None:
        self._limits = limits
        self._inside = 0
        self._refusing = 0
        self._by_network: Counter[str] = Counter()
        self._handshakes = TokenBuckets(
            burst=limits.handshakes_per_minute,
            per_second=limits.handshakes_per_minute / 60,
            max_keys=limits.tracked_addresses,
        )

    @property
    def inside(self) -> int:
        """Connections let in and not gone, links and pages alike."""
        return self._inside

    def enter(self, remote: RemoteAddress | None) -> HttpResponse | None:
        """Let a connection in (None; then `leave` must follow), or say why not."""
        if self._inside >= self._limits.connections:
            return HttpResponse.sentence(503, "this relay is full: try again later", _SOON)
        refused = None if remote is None else self.identify(remote)
        self._inside += refused is None
        return refused

    def identify(self, remote: RemoteAddress) -> HttpResponse | None:
        """A connection let in without an address turns out to be this one's: count it, or say no.

        After None, `leave` must be told the address.
        """
        if self._by_network[remote.network] >= self._limits.connections_per_ip:
            text = "too many connections from your address: close some, or try later"
            return HttpResponse.sentence(429, text, _SOON)
        self._by_network[remote.network] += 1
        return None

    def leave(self, remote: RemoteAddress | None) -> None:
        """A connection that was let in is gone."""
        self._inside -= 1
        if remote is not None:
            self._by_network[remote.network] -= 1
            if not self._by_network[remote.network]:
                del self._by_network[remote.network]

    def begin_refusal(self) -> bool:
        """Whether there is room to tell one more peer why it is refused; then `end_refusal`."""
        if self._refusing >= self._limits.refusals:
            return False
        self._refusing += 1
        return True

    def end_refusal(self) -> None:
        """A peer has been told."""
        self._refusing -= 1

    def handshake(self, remote: RemoteAddress | None, now: float) -> HttpResponse | None:
        """Count one WebSocket handshake; `now` in seconds. None when it may go on."""
        wait = self._handshakes.take(remote.network, int(now * 1000)) if remote else 0
        if not wait:
            return None
        text = "too many connection attempts from your address: try again later"
        return HttpResponse.sentence(429, text, ("Retry-After", str(math.ceil(wait / 1000))))
