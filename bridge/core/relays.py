"""The relays of the bridge's rooms: whether each is there, told and measured."""

from __future__ import annotations

from typing import Final

from bridge.core.metrics import Metrics
from ofcd.client import Client
from ofcd.client.applog import Log

__all__ = ["Relays"]

_AWAY_MS: Final = 30_000
"""A link that is made anew at once is no news."""


class Relays:
    """Tells of each that goes away, and that it is back: once each."""

    def __init__(self, client: Client, metrics: Metrics, log: Log) -> None:
        self._client = client
        self._metrics = metrics
        self._log = log
        self._since: dict[str, int] = {}
        """Since when each is not there, milliseconds since 1970."""
        self._told: set[str] = set()

    def look(self) -> None:
        """Called each second."""
        now, relays = self._client.now(), self._client.relays
        self._metrics.relays.set(sum(one.online for one in relays))
        self._metrics.inbound.set(sum(len(room.outbox()) for room in self._client.rooms))
        for one in relays:
            if one.online:
                self._since.pop(one.url, None)
                if one.url in self._told:
                    self._told.discard(one.url)
                    self._log.info("the relay is back", relay=one.url)
            elif now - self._since.setdefault(one.url, now) >= _AWAY_MS and (
                one.url not in self._told
            ):
                self._told.add(one.url)
                self._log.warning("the relay is away", relay=one.url, why=one.detail)
