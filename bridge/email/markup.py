"""HTML mail to lines of text: scripts, styles and remote pictures gone, links as they read.

lxml (libxml2) is the parser: of those tried it alone is linear on hostile input and stops at a
depth of 256. Python's own takes minutes for 300 kB of `<!--`, html5ever for nested `<div>`.
"""

from __future__ import annotations

import re
from itertools import groupby
from typing import Final

from attrs import Factory, define
from lxml import etree

from bridge.email import limits
from bridge.email.body import Line
from bridge.email.charsets import strip_controls
from ofcd.client import lite

__all__ = ["html_lines"]

_SILENT: Final = frozenset(
    [
        "script",
        "style",
        "head",
        "title",
        "template",
        "noscript",
        "iframe",
        "object",
        "embed",
        "applet",
        "svg",
        "math",
        "video",
        "audio",
        "canvas",
        "select",
        "textarea",
        "button",
    ]
)
_BLOCKS: Final = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "center",
        "dd",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figure",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "li",
        "main",
        "nav",
        "ol",
        "p",
        "pre",
        "section",
        "table",
        "tbody",
        "tfoot",
        "thead",
        "tr",
        "ul",
    ]
)
_GAP: Final = frozenset(
    ["p", "ul", "ol", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "pre", "table"]
)
_STYLES: Final = {
    "b": "**", "strong": "**", "h1": "**", "h2": "**", "h3": "**", "h4": "**",
    "i": "*", "em": "*", "s": "~~", "strike": "~~", "del": "~~",
}  # fmt: skip
_HIDDEN: Final = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden|mso-hide\s*:\s*all")
_URL: Final = re.compile(r"(?:https?://|mailto:)[!-~]{1,2000}")


def html_lines(text: str) -> tuple[tuple[Line, ...], bool]:
    """The lines of an HTML text, and whether some of it could not be read."""
    cut = len(text) > limits.TEXT_BYTES
    text = strip_controls(text[: limits.TEXT_BYTES])
    parser = etree.HTMLParser(
        recover=True, no_network=True, remove_comments=True, remove_pis=True, huge_tree=False
    )
    try:
        root = etree.fromstring(re.sub(r"\A\s*<\?xml[^>]{0,200}\?>", "", text), parser)
    except (etree.XMLSyntaxError, ValueError):
        return (), bool(text.strip())
    if root is None:
        return (), bool(text.strip())
    writer = _Writer()
    for event, element in etree.iterwalk(root, events=("start", "end")):
        writer.take(event, element)
        if len(writer.lines) > limits.LINES:
            break
    writer.flush()
    too_deep = any("xcessive depth" in (entry.message or "") for entry in parser.error_log)
    return tuple(writer.lines[: limits.LINES]), cut or too_deep or len(writer.lines) > limits.LINES


@define
class _Writer:
    """Takes the elements in their order and writes lines."""

    lines: list[Line] = Factory(list)
    pieces: list[tuple[str, str]] = Factory(list)
    """The words of the line under way, each with its mark of emphasis."""
    styles: list[str] = Factory(list)
    silent: int = 0
    quotes: int = 0
    fixed: int = 0
    lists: list[int] = Factory(list)
    """The next number of each list that is open; 0: it has bullets."""
    links: list[tuple[str, int]] = Factory(list)
    prefix: str = ""

    def take(self, event: str, element: etree._Element) -> None:
        """One element begins or ends; its words, or those behind it, follow."""
        tag = element.tag if isinstance(element.tag, str) else ""
        if event == "start":
            self._start(tag, element)
            self._words(element.text)
        else:
            self._end(tag)
            self._words(element.tail)

    def _start(self, tag: str, element: etree._Element) -> None:
        if self.silent or tag in _SILENT or _HIDDEN.search(element.get("style", "")[:500].lower()):
            self.silent += 1
            return
        if tag in _BLOCKS:
            self._gap(tag)
            self._open_block(tag, element)
        if tag in _STYLES:
            self.styles.append(_STYLES[tag])
        elif tag == "br":
            self.flush(always=True)
        elif tag == "img":
            self._words(element.get("alt", "")[:200])
        elif tag == "a":
            self.links.append((element.get("href", "").strip(), len(self.pieces)))
        elif tag in ("td", "th") and self.pieces:
            self._words(" \u00b7 ")

    def _open_block(self, tag: str, element: etree._Element) -> None:
        if tag == "blockquote":
            self.quotes += 1
        elif tag == "pre":
            self.fixed += 1
        elif tag == "ul":
            self.lists.append(0)
        elif tag == "ol":
            first = element.get("start", "1")
            self.lists.append(int(first) if re.fullmatch("[1-9][0-9]{0,2}", first) else 1)
        elif tag == "li":
            self._item()

    def _item(self) -> None:
        depth = max(0, min(len(self.lists), lite.DEPTH) - 1)
        number = self.lists[-1] if self.lists else 0
        if number:
            self.lists[-1] = min(number + 1, 999)
        self.prefix = "  " * depth + (f"{number}. " if number else "- ")

    def _end(self, tag: str) -> None:
        if self.silent:
            self.silent -= 1
            return
        if tag == "a" and self.links:
            self._end_link()
        elif tag in _STYLES:
            self.styles.pop()
        if tag in _BLOCKS:
            self.flush()
            if tag == "blockquote":
                self.quotes -= 1
            elif tag == "pre":
                self.fixed -= 1
            elif tag in ("ul", "ol"):
                self.lists.pop()
            self._gap(tag)

    def _end_link(self) -> None:
        """The address behind the words, unless they are it: no link says one and is another."""
        url, start = self.links.pop()
        words = "".join(text for text, _ in self.pieces[start:]).strip()
        if _URL.fullmatch(url) and _bare(url) != _bare(words):
            url = url.removeprefix("mailto:")
            self.pieces.append((f" <{url}>" if words else url, ""))

    def _words(self, text: str | None) -> None:
        if not text or self.silent:
            return
        if self.fixed:
            head, *rest = text.split("\n")
            self._put(head)
            for line in rest[: max(0, limits.LINES + 1 - len(self.lines))]:
                self.flush(always=True)
                self._put(line)
            return
        text = re.sub(r"[ \t\n\u00a0]+", " ", text)
        if not self.pieces or self.pieces[-1][0].endswith(" "):
            text = text.lstrip(" ")
        self._put(text)

    def _put(self, text: str) -> None:
        if text:
            self.pieces.append((text, self.styles[-1] if self.styles else ""))

    def _gap(self, tag: str) -> None:
        self.flush()
        if tag in _GAP and self.lines and self.lines[-1].plain.strip(" >"):
            self._add("", "")

    def flush(self, *, always: bool = False) -> None:
        """End the line; an empty one is written only where it was asked for."""
        plain = "".join(text for text, _ in self.pieces)
        plain = plain.rstrip(" ") if self.fixed else plain.strip(" ")
        if plain or always:
            self._add(self.prefix + plain, self.prefix + _styled(self.pieces, plain))
            self.prefix = ""
        self.pieces = []
        self.links = [(url, 0) for url, _ in self.links]

    def _add(self, plain: str, rich: str) -> None:
        if len(self.lines) <= limits.LINES:
            marks = "> " * min(self.quotes, lite.DEPTH)
            self.lines.append(Line((marks + plain).rstrip(), (marks + rich).rstrip()))


def _bare(url: str) -> str:
    return re.sub(r"\A(?:mailto:|https?://)", "", url).rstrip("/")


def _styled(pieces: list[tuple[str, str]], plain: str) -> str:
    """The line with its emphasis, if it then still reads as it does without it."""
    made: list[str] = []
    for mark, group in groupby(pieces, key=lambda piece: piece[1]):
        words = "".join(text for text, _ in group)
        inside = words.strip(" ")
        if not mark or not inside:
            made.append(lite.escape(words))
            continue
        before, _, after = words.partition(inside)
        made += [before, mark, lite.escape(inside), mark, after]
    rich = "".join(made).strip(" ")
    return rich if lite.plain(lite.parse(rich)) == plain else lite.escape(plain)
