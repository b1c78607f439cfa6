"""What was said while the bridge was away: CHATHISTORY, page by page (I8; trio)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import trio
from attrs import define, field

from bridge.irc.connection import Connection
from bridge.irc.multiline import MULTILINE, Gathering
from bridge.irc.wire import Line, number_of, time_of

__all__ = ["BATCHES", "History"]

BATCHES: Final = frozenset({"chathistory", "playback", "znc.in/playback"})
"""Batches of what was said before."""
_PAGE: Final = 100
_LINES: Final = 1000
"""Taken of one gap."""
_PAGES: Final = 20
"""Asked for to have them: a server may give less than it is asked for."""
_COUNTED: Final = 40
"""Pages that are counted beyond that, to say how many lines are missing."""
_OPEN: Final = 100
"""Batches that may be open at once."""
_GATHERED: Final = 20
"""Messages of several lines that may be under way at once."""
_ANSWER_SECONDS: Final = 60.0


@define(eq=False)
class _Page:
    lines: int = 0
    last: Line | None = None
    failed: bool = False
    done: trio.Event = field(factory=trio.Event)


class History:
    """Fills the gaps of one connection's channels."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._open: dict[str, tuple[str, str]] = {}
        self._gathered: dict[str, Gathering] = {}
        self._pages: dict[str, _Page] = {}
        self._counting: set[str] = set()

    # -- what the server sends -------------------------------------------------------------------

    def batch(self, line: Line) -> Line | None:
        """A BATCH begins or ends; a message of several lines that is complete with it."""
        ref = line[0][1:]
        if line[0].startswith("+"):
            if line[1].lower() == MULTILINE and len(self._gathered) < _GATHERED:
                self._gathered[ref] = Gathering(line)
            elif len(self._open) < _OPEN:
                self._open[ref] = (line[1].lower(), self._connection.fold(line[2]))
            return None
        if ref in self._gathered:
            gathered = self._gathered.pop(ref)
            return gathered.whole() if gathered.parts else None
        kind, channel = self._open.pop(ref, ("", ""))
        page = self._pages.get(channel)
        if kind == "chathistory" and page is not None:
            page.done.set()
        return None

    def gathers(self, line: Line) -> bool:
        """Whether a line is one of several, of which the last is still to come."""
        gathering = self._gathered.get(line.tags.get("batch", ""))
        if gathering is not None:
            gathering.add(line)
        return gathering is not None

    def is_played(self, line: Line) -> bool:
        """Whether a line is from before."""
        return self._kind(line)[0] in BATCHES

    def _kind(self, line: Line) -> tuple[str, str]:
        return self._open.get(line.tags.get("batch", ""), ("", ""))

    def counts(self, line: Line) -> bool:
        """A line of history: whether it is only to be counted, for the gap is too large."""
        channel = self._kind(line)[1]
        page = self._pages.get(channel)
        if page is not None:
            page.lines += 1
            page.last = line
        return channel in self._counting

    def failed(self, line: Line) -> None:
        """FAIL CHATHISTORY: no more of it comes."""
        named = {self._connection.fold(one) for one in line.params}
        for channel, page in self._pages.items():
            if channel in named or not named & set(self._pages):
                page.failed = True
                page.done.set()

    # -- asking ----------------------------------------------------------------------------------

    async def fill(self, channel: str, since: int) -> str:
        """Ask for all after `since`, milliseconds since 1970, in order; what is missing, in words.

        What comes is taken by who reads the connection. Raises `Lost`.
        """
        folded = self._connection.fold(channel)
        mark = _timestamp(since)
        begins: Line | None = None
        taken = pages = missing = counted = 0
        try:
            while counted < _COUNTED:
                counts = taken >= _LINES or pages >= _PAGES
                if counts:
                    self._counting.add(folded)
                page = await self._ask(channel, mark)
                last = page.last
                if page.failed or last is None:
                    break  # only an empty page is the end: one that is short may be just that
                if counts:
                    counted, missing = counted + 1, missing + page.lines
                else:
                    pages, taken, begins = pages + 1, taken + page.lines, last
                after = _after(last, self._by_msgid())
                if not after or after == mark:
                    break
                mark = after
            return _missing(missing, begins, exact=counted < _COUNTED)
        finally:
            self._counting.discard(folded)
            self._pages.pop(folded, None)

    async def _ask(self, channel: str, mark: str) -> _Page:
        page = self._pages[self._connection.fold(channel)] = _Page()
        await self._connection.paced()
        await self._connection.send("CHATHISTORY", "AFTER", channel, mark, str(self._limit()))
        with trio.move_on_after(_ANSWER_SECONDS):
            await page.done.wait()
        return page

    def _limit(self) -> int:
        return min(_PAGE, number_of(self._connection.isupport.get("CHATHISTORY", "")) or _PAGE)

    def _by_msgid(self) -> bool:
        return "msgid" in self._connection.isupport.get("MSGREFTYPES", "").split(",")


def _after(line: Line, by_msgid: bool) -> str:
    if by_msgid and line.tags.get("msgid"):
        return f"msgid={line.tags['msgid']}"
    return f"timestamp={line.tags['time']}" if line.tags.get("time") else ""


def _timestamp(ms: int) -> str:
    at = datetime.fromtimestamp(ms / 1000, UTC)
    return f"timestamp={at:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"


def _missing(count: int, begins: Line | None, *, exact: bool) -> str:
    if not count:
        return ""
    lines = "line is" if count == 1 else "lines are"
    at = None if begins is None else time_of(begins)
    after = f" after {datetime.fromtimestamp(at / 1000, UTC):%H:%M} UTC" if at is not None else ""
    return f"{'' if exact else 'more than '}{count} {lines} missing here{after}"
