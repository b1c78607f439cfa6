"""The links that are open, and the rounds in which they send what is new."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import trio

from ofcd.daemon.feed import Subscriber
from ofcd.daemon.linkend import LinkEnd
from ofcd.relay import LinkId

__all__ = ["OpenLinks"]

_LINKS_PER_TURN: Final = 32
"""Links served before other tasks get a turn."""
_PAUSE_FACTOR: Final = 5
"""Delivery takes at most about a sixth of the loop's time; the rest is for what comes in."""
_LONGEST_PAUSE_SECONDS: Final = 0.025
"""Between two rounds of delivery, however long the first one took."""


class OpenLinks:
    """Every open link by its number, clients' and other relays' alike, and who has news."""

    def __init__(self) -> None:
        self._links: dict[LinkId, LinkEnd] = {}
        self._stirred: set[Subscriber] = set()
        self._delivery_due = trio.Event()
        self._empty = trio.Event()

    def __len__(self) -> int:
        return len(self._links)

    def __iter__(self) -> Iterator[LinkEnd]:
        """Those that are open now: they may be closed meanwhile."""
        return iter(list(self._links.values()))

    def get(self, link: LinkId) -> LinkEnd | None:
        """The open link with this number."""
        return self._links.get(link)

    def add(self, link: LinkEnd) -> None:
        """A link is open."""
        self._links[link.link] = link

    def remove(self, link: LinkEnd) -> None:
        """It is gone."""
        self._links.pop(link.link, None)
        self._stirred.discard(link)
        if not self._links:
            self._empty.set()

    async def wait_none(self) -> None:
        """Return once no link is open."""
        while self._links:
            self._empty = trio.Event()
            await self._empty.wait()

    def stir(self, links: Iterable[Subscriber]) -> None:
        """These have something to send."""
        self._stirred.update(links)

    def deliver_soon(self) -> None:
        """Let every link that has something to send do so."""
        if self._stirred:
            self._delivery_due.set()

    async def deliver(self) -> None:
        """Let every link that has something new send it, beside the next commit, until cancelled.

        After a long round the next one waits some times as long: what was committed meanwhile goes
        out in the same messages, so that a busy room costs fewer of them. An idle one never waits.
        """
        while True:
            await self._delivery_due.wait()
            self._delivery_due = trio.Event()
            started = trio.current_time()
            stirred, self._stirred = self._stirred, set()
            for turn, link in enumerate(stirred, start=1):
                link.pump()
                if turn % _LINKS_PER_TURN == 0:
                    await trio.lowlevel.checkpoint()
            took = trio.current_time() - started
            await trio.sleep(min(took * _PAUSE_FACTOR, _LONGEST_PAUSE_SECONDS))
