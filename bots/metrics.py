"""What a process of bots counts, for Prometheus. No label names a room or a member."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics"]

_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)


class Metrics:
    """The counters of all bots of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.lag = Gauge(
            "bot_cursor_lag_entries",
            "Log entries not handled yet, all rooms together",
            ["bot"],
            registry=registry,
        )
        self.handled = Counter(
            "bot_handled",
            "Runs of handlers by outcome",
            ["bot", "handler", "outcome"],
            registry=registry,
        )
        self.seconds = Histogram(
            "bot_handler_seconds",
            "Time of one run of a handler",
            ["bot", "handler"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.dead_letters = Counter(
            "bot_dead_letters", "Events given up on", ["bot", "handler"], registry=registry
        )
        self.undecryptable = Counter(
            "bot_undecryptable", "Messages whose key never came", ["bot"], registry=registry
        )
        self.malformed = Counter(
            "bot_malformed",
            "Entries that failed a check and were skipped",
            ["bot"],
            registry=registry,
        )
        self.dropped = Counter(
            "bot_dropped",
            "Messages not handled: loops, limits, age",
            ["bot", "reason"],
            registry=registry,
        )

    def render(self) -> bytes:
        """All of it in the Prometheus text format."""
        return generate_latest(self.registry)
