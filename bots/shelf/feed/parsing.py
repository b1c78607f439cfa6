"""From a feed's bytes to its items: feedparser, on a defused XML parser (sans-IO, blocking).

Feeds that declare entities are refused: billion laughs and their kin. What is no XML feedparser
reads with its lenient parser, which knows no entities but HTML's.
"""

from __future__ import annotations

import hashlib
import io
from typing import Any, Final

import feedparser
from attrs import field, frozen
from defusedxml import DefusedXmlException

from bots.shelf.words import one_line
from bots.web import BadUrl, WebError, checked_url

__all__ = ["Item", "NoFeed", "Parsed", "parse"]

ITEMS: Final = 200
"""Of one feed at one time: its first, which are the newest in every feed that has so many."""
TITLE: Final = 200
_URL: Final = 500

feedparser.api.PREFERRED_XML_PARSERS.insert(0, "defusedxml.expatreader")


class NoFeed(WebError):
    """What came is no RSS or Atom feed, or one that must not be read."""

    code = "no_feed"


@frozen
class Item:
    """One entry of a feed."""

    key: str
    """Tells it from the others: a hash of its guid, else of its link, else of its words."""
    title: str = field(repr=False)
    link: str = field(default="", repr=False)


@frozen
class Parsed:
    """A feed as it is now, newest items first."""

    title: str
    items: list[Item]


def parse(body: bytes, content_type: str, url: str) -> Parsed:
    """Read a feed; takes up to seconds for a large one. Raises `NoFeed`."""
    # A stream, never the bytes themselves: those may be taken for the name of a file.
    headers = {"content-type": content_type or "application/xml", "content-location": url}
    try:
        found = feedparser.parse(io.BytesIO(body), response_headers=headers, sanitize_html=True)
    except DefusedXmlException:
        raise NoFeed("that feed declares XML entities, so I do not read it") from None
    except (ValueError, LookupError, AttributeError, TypeError, AssertionError, RecursionError):
        # feedparser on garbage: it promises none of these, and raises them.
        raise NoFeed("that can not be read as a feed") from None
    if not found.get("version") and not found.entries:
        raise NoFeed("that is no RSS or Atom feed")
    items = {item.key: item for item in map(_item, _newest_first(found.entries)[:ITEMS])}
    return Parsed(one_line(_text(found.feed, "title"), 80) or url, list(items.values()))


def _newest_first(entries: list[Any]) -> list[Any]:
    """By their dates where all have one; else as they stand."""
    dates = [entry.get("published_parsed") or entry.get("updated_parsed") for entry in entries]
    if not all(dates):
        return entries
    order = sorted(range(len(entries)), key=lambda at: tuple(dates[at]), reverse=True)
    return [entries[at] for at in order]


def _item(entry: Any) -> Item:
    title = one_line(_text(entry, "title") or _text(entry, "summary"), TITLE) or "(without a title)"
    link = _text(entry, "link")
    identity = _text(entry, "id") or link or title + _text(entry, "summary")
    key = hashlib.sha256(identity.encode("utf-8", "replace")).hexdigest()[:16]
    return Item(key, title, _safe_link(link))


def _safe_link(link: str) -> str:
    """A link of the web without spaces or brackets to trip over; "" for anything else."""
    try:
        shown = str(checked_url(link))
    except BadUrl:
        return ""
    return shown if len(shown) <= _URL and shown.isprintable() and " " not in shown else ""


def _text(found: Any, name: str) -> str:
    value = found.get(name, "")
    return value if isinstance(value, str) else ""
