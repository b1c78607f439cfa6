"""OPML: lists of feeds, as every reader exports them (sans-IO). See opml.org, "OPML 2.0"."""

from __future__ import annotations

from typing import Final
from xml.etree.ElementTree import ParseError

from attrs import field, frozen
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from bots.shelf.words import one_line

__all__ = ["MOST", "NoOpml", "Outline", "read_opml"]

MOST: Final = 200
"""Feeds of one list that are looked at."""


class NoOpml(Exception):
    """It is no OPML, or one that must not be read."""


@frozen
class Outline:
    """One feed of a list."""

    url: str = field(repr=False)
    title: str = field(repr=False)


def read_opml(data: bytes) -> list[Outline]:
    """The feeds of a list, in order, each once, out of whatever folders. Raises `NoOpml`."""
    try:
        root = fromstring(data, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        raise NoOpml("that file is no OPML") from None
    if root.tag.rpartition("}")[2] != "opml":
        raise NoOpml("that file is no OPML")
    found: dict[str, Outline] = {}
    for outline in root.iter("outline"):
        url = (outline.get("xmlUrl") or "").strip()
        title = outline.get("title") or outline.get("text") or url
        if url and len(found) < MOST:
            found.setdefault(url, Outline(url, one_line(title, 80)))
    return list(found.values())
