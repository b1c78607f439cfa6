"""What a process of bridges counts, for Prometheus. No label names a room, a place or a person."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from bridge.core.model import State

__all__ = ["Metrics"]


class Metrics:
    """The counters of one process."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.taken = Counter(
            "bridge_taken", "What came in, by verdict", ["network", "verdict"], registry=registry
        )
        self.went = Counter(
            "bridge_went",
            "What went out, by its final state",
            ["network", "state"],
            registry=registry,
        )
        self.doubtful = Counter(
            "bridge_doubtful",
            "Said again because a link died inside a send that the network does not prove",
            ["network"],
            registry=registry,
        )
        self.queued = Gauge("bridge_queued", "What waits to go out", ["network"], registry=registry)
        self.connected = Gauge(
            "bridge_ready_places",
            "Places that can be spoken to now, with a room whose relay is there",
            ["network"],
            registry=registry,
        )
        self.relays = Gauge("bridge_relays_up", "Relays that a link is open to", registry=registry)
        self.inbound = Gauge(
            "bridge_inbound_waiting", "What came in and waits for a relay", registry=registry
        )
        self.posted = Gauge(
            "bridge_mail_waiting",
            "Mails: for the server (posted), for a room (inbox), for an owner's word (held)",
            ["network", "where"],
            registry=registry,
        )
        self.mails = Counter(
            "bridge_mail_in",
            "Mails that came, by what became of them",
            ["network", "what"],
            registry=registry,
        )
        self.oldest = Gauge(
            "bridge_mail_oldest_seconds",
            "Age of the oldest mail that waits for the server",
            ["network"],
            registry=registry,
        )
        self.without_room = Gauge(
            "bridge_portals_without_room",
            "Portals whose room is not found, or not to be used",
            ["network"],
            registry=registry,
        )
        self.declined = Counter(
            "bridge_declined",
            "Said to the bridge's own nick alone, or invitations of it",
            ["network"],
            registry=registry,
        )
        self.keyless = Gauge(
            "bridge_rooms_without_key",
            "Rooms in which what was said waits for its key",
            registry=registry,
        )
        self.rings = Counter(
            "bridge_echoes", "Echoes stopped by the loop guard", ["network"], registry=registry
        )
        self.links = Counter(
            "bridge_links", "Links made, or refused", ["outcome"], registry=registry
        )
        self.seconds = Histogram(
            "bridge_delivery_seconds",
            "From being due to the network's proof",
            ["network"],
            buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 30, 300),
            registry=registry,
        )

    def dropped(self, network: str) -> None:
        """Something is not told there, and is not to be: nobody is told, but it is counted."""
        self.went.labels(network, State.DROPPED.value).inc()

    def render(self) -> bytes:
        """The page."""
        return generate_latest(self.registry)
