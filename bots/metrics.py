"""What a process of bots counts, for Prometheus. No label names a room or a member."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

__all__ = ["Metrics"]

_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)


class Metrics:
    """The counters of all bots of one process, and what the processes of others have reported."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._children: dict[str, list[Metric]] = {}
        self.page = _Page(registry, self._children.values())
        """All there is to show: these counters, and those of isolated bots."""
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

        self.restarts = Counter(
            "bot_restarts",
            "Processes of isolated bots that ended by themselves",
            ["bot"],
            registry=registry,
        )

    def put_child(self, child: str, text: str) -> None:
        """What the process of an isolated bot has last reported; "" when it is gone."""
        with suppress(ValueError):  # then what it reported before stays
            found = text_string_to_metric_families(text)
            # Read from text, the times of counters' making would be families of their own.
            self._children[child] = [one for one in found if not one.name.endswith("_created")]

    def render(self) -> bytes:
        """All of it in the Prometheus text format."""
        return generate_latest(self.page)


class _Page(CollectorRegistry):
    """A registry's metrics with those of other processes: one family for each name."""

    def __init__(self, own: CollectorRegistry, others: Iterable[list[Metric]]) -> None:
        super().__init__()
        self._own = own
        self._others = others

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        for one in chain(self._own.collect(), *list(self._others)):
            empty = Metric(one.name, one.documentation, one.type)
            families.setdefault(one.name, empty).samples.extend(one.samples)
        yield from families.values()
