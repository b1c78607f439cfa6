"""What is known of a feed, and what an answer of its server makes of that (sans-IO)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import evolve, field, frozen

from bots.shelf.feed.parsing import Item, Parsed
from bots.shelf.words import quoted
from bots.web import Fetched

__all__ = ["FEEDS", "Feed", "failed", "news", "taken", "wait_after"]

FEEDS: Final = 20
"""Of one room."""
SEEN: Final = 1_000
"""Items remembered, those that the feed still shows first of all."""
SHOWN: Final = 5
"""New items told one by one; more are summed up."""
MINUTE: Final = 60_000
LONGEST: Final = 24 * 60 * MINUTE
GIVE_UP: Final = 30
"""Failures in a row, the later ones a day apart, after which a feed is left alone."""


@frozen
class Feed:
    """One feed in one room."""

    url: str
    title: str = ""
    etag: str = ""
    modified: str = ""
    failures: int = 0
    seen: list[str] = field(factory=list, repr=False)
    error: str = ""
    """What was wrong the last time."""
    timer: str = ""
    polls: int = 0
    stopped: str = ""
    """Why it is left alone, if it is."""
    quiet: bool = False
    """The first time, not even its newest item is told."""


def taken(feed: Feed, answer: Fetched, parsed: Parsed | None) -> tuple[Feed, list[Item]]:
    """The feed after an answer that says something (None: that nothing has changed), and its news.

    The first time that is the newest item alone, or for a quiet feed none.
    """
    known = evolve(
        feed,
        url=answer.moved_to or feed.url,
        etag=answer.headers.get("etag", feed.etag if parsed is None else "")[:500],
        modified=answer.headers.get("last-modified", feed.modified if parsed is None else "")[:100],
        failures=0,
        error="",
    )
    if parsed is None:
        return known, []
    before, now = set(feed.seen), [item.key for item in parsed.items]
    fresh = [item for item in parsed.items if item.key not in before]
    older = [key for key in feed.seen if key not in set(now)]
    known = evolve(known, title=parsed.title, seen=[*now, *older][:SEEN])
    first = [] if feed.quiet else fresh[:1]
    return known, fresh if feed.seen else first


def failed(feed: Feed, why: str) -> Feed:
    """The feed after an answer that is of no use."""
    failures = feed.failures + 1
    stopped = f"{why}, {failures} times in a row" if failures >= GIVE_UP else ""
    return evolve(feed, failures=failures, error=why, stopped=stopped)


def wait_after(feed: Feed, interval: int, retry_after: int, chance: float) -> int:
    """Milliseconds until the next poll; `chance` in [0, 1) spreads it by a fifth.

    Twice as long after each failure, up to a day; never sooner than the server asks.
    """
    base = min(interval << min(feed.failures, 20), max(LONGEST, interval))
    return max(int(base * (0.9 + 0.2 * chance)), retry_after)


def news(title: str, items: Sequence[Item]) -> str:
    """What is said of new items, newest last."""
    head = f"**{quoted(title, 80)}**"
    if len(items) == 1:
        return f"{head}: {_line(items[0])}"
    lines = [f"• {_line(item)}" for item in reversed(items[:SHOWN])]
    more = len(items) - SHOWN
    note = [f"(and {more} older ones)"] if more > 0 else []
    return "\n".join([f"{head}, {len(items)} new:", *note, *lines])


def _line(item: Item) -> str:
    return f"{quoted(item.title)} {item.link}".rstrip()
