"""What the relay counts, for Prometheus. No label names a room, a member or an address."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

__all__ = ["Metrics"]

# A `_created` for each counter: half the page, and no use to anyone. (The function has no types.)
disable_created_metrics()  # type: ignore[no-untyped-call]

_COMMIT_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_PEER_GAUGES = {
    "links": "Open links to other relays",
    "quarantined": "Relays in quarantine",
    "followed": "Rooms of ours that other relays follow, by relay",
    "lag": "Entries that they have not stored yet",
    "copies": "Copies here of other relays' rooms",
    "copies_behind": "Copies that lack entries which their relays say they have",
    "copies_lag": "Entries that the copy furthest behind lacks",
    "copies_frozen": "Copies that stand still: their relays showed two histories",
    "gaps": "Stretches that copies here lack: their relays no longer kept them",
    "outbox": "Messages that wait here for other relays",
}
_BATCH = (1, 2, 5, 10, 25, 50, 100, 250)


class Metrics:
    """The relay's counters, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.links = Gauge("ofcd_links", "Open links", registry=registry)
        self.rooms = Gauge("ofcd_rooms_in_memory", "Rooms in memory", registry=registry)
        self.handshakes = Counter(
            "ofcd_handshakes", "Links by how their handshake ended", ["outcome"], registry=registry
        )
        self.requests = Counter(
            "ofcd_requests", "Frames taken from clients", ["type"], registry=registry
        )
        self.refusals = Counter(
            "ofcd_refusals", "Requests refused, by code", ["code"], registry=registry
        )
        self.events = Counter(
            "ofcd_log_entries", "Entries committed to room logs", registry=registry
        )
        self.messages = Counter(
            "ofcd_link_messages", "Sealed messages sent on links", registry=registry
        )
        self.commit_seconds = Histogram(
            "ofcd_commit_seconds",
            "Time of one commit",
            buckets=_COMMIT_SECONDS,
            registry=registry,
        )
        self.batch = Histogram(
            "ofcd_commit_facts", "Facts in one commit", buckets=_BATCH, registry=registry
        )
        self.commit_failures = Counter(
            "ofcd_commit_failures", "Commits that failed", registry=registry
        )

        self.internal_errors = Counter(
            "ofcd_internal_errors",
            "Mistakes of the relay's own that ended one connection",
            registry=registry,
        )

        self.quarantines = Counter(
            "ofcd_peer_quarantines", "Times a relay was put in quarantine", registry=registry
        )
        self._peers = {
            name: Gauge(f"ofcd_peer_{name}", text, registry=registry)
            for name, text in _PEER_GAUGES.items()
        }
        self._counts: Callable[[], Mapping[str, float]] = dict

    def watch_peers(self, counts: Callable[[], Mapping[str, float]]) -> None:
        """Ask this for the figures of the other relays whenever they are read."""
        self._counts = counts

    def render(self) -> bytes:
        """All of it in the Prometheus text format."""
        for name, value in self._counts().items():
            self._peers[name].set(value)
        return generate_latest(self._registry)
