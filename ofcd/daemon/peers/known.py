"""What is known of another relay: how it stands, and where it is reached.

An address is only a way there: whoever answers has to prove that it is the relay. So one that
nobody vouches for may be tried; but none takes the place of one that held, until that is lost.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import trio
from attrs import define, evolve, field, frozen

from ofcd.config import Federation, parse_peer
from ofcd.daemon.peers.following import Following
from ofcd.protocol.backoff import Backoff
from ofcd.protocol.ids import RelayId, RoomId
from ofcd.protocol.records import Descriptor
from ofcd.store import PeerRow

if TYPE_CHECKING:
    from ofcd.daemon.peers.link import PeerLink

__all__ = ["KnownRelay", "Listed", "host_of", "listed_in", "plain_name"]

_INVITED: Final = 4
_MISSES: Final = 3
"""Dialled in vain so often, a relay may have moved."""


@frozen
class Listed:
    """A relay in the settings."""

    name: str
    relay_id: RelayId | None = None
    url: str = ""
    denied: bool = False

    @property
    def is_searched(self) -> bool:
        """Whether its page is asked: for where it is, or for who is denied."""
        return bool(self.name) and not self.url


def listed_in(settings: Federation) -> tuple[Listed, ...]:
    """Those to talk to, and then those denied, by name or fingerprint."""
    peers = [parse_peer(one) or ("", "", "") for one in settings.peers]
    wanted = [Listed(name, _relay_id(known), url) for name, known, url in peers]
    denied = [
        Listed("", _relay_id(one), denied=True)
        if re.fullmatch("[0-9a-f]{64}", one)
        else Listed(one, denied=True)
        for one in settings.deny
    ]
    return (*wanted, *denied)


def _relay_id(fingerprint: str) -> RelayId | None:
    return RelayId(bytes.fromhex(fingerprint)) if fingerprint else None


def host_of(url: str) -> str:
    """The name in an address, as `plain_name` has it; "" where there is none."""
    try:
        return plain_name(urlsplit(url).hostname or "")
    except ValueError:  # brackets that hold no address: nobody is dialled there
        return ""


def plain_name(name: str) -> str:
    """A domain's name in the one form in which two can be compared."""
    try:
        return name.rstrip(".").encode("idna").decode().lower()
    except UnicodeError:  # no name of a domain; it may be a label
        return name.rstrip(".").lower()


@define(eq=False)
class KnownRelay:
    """One other relay."""

    row: PeerRow
    following: Following
    backoff: Backoff
    configured: bool = False
    denied: bool = False
    link: PeerLink | None = None
    up: trio.Event = field(factory=trio.Event)
    wake: trio.Event = field(factory=trio.Event)
    lost: trio.Event = field(factory=trio.Event)
    """Set, and made anew, each time it was dialled in vain so often that it may have moved."""
    asked: int = 0
    """Local requests that wait for a link."""
    keeping: bool = False
    opened: int = 0
    noted: PeerRow | None = None
    places: dict[RoomId, tuple[str, ...]] = field(factory=dict)
    """Where the owners of rooms say that it is reached."""
    told: dict[str, str] = field(factory=dict)
    """Where else it may be: as it says itself (`link`), or was (`before`)."""
    invited: deque[str] = field(factory=lambda: deque(maxlen=_INVITED))
    """And as those say who ask for its rooms: the last ones, for one of them may name a wrong one
    again and again."""
    has_news: bool = False
    """Whether somebody has just said where it is, and that was not tried."""
    was_news: bool = False
    """Whether the last address that was dialled was such a one."""
    dialled: int = 0
    """How often it was, at addresses that nobody has proven."""
    misses: int = 0
    """How often it was dialled in vain since it was last reached."""

    @property
    def is_unproven(self) -> bool:
        """Whether only invites, or a room's owner, have said where it is: no settings, no link."""
        return self.row.pinned in ("", "invite", "move") and not self.row.links

    @property
    def is_lost(self) -> bool:
        """Whether it may have moved, from an address that the settings do not name."""
        return self.row.pinned != "config" and self.misses >= _MISSES

    @property
    def is_worth_noting(self) -> bool:
        """Whether it is to be known after a restart."""
        known = self.configured or self.denied or not self.is_unproven
        return known or self.row.pinned == "move" or self.row.quarantined > 0

    # -- where it is -------------------------------------------------------------------------------

    def set_address(self, url: str) -> None:
        """The settings say where it is; "" if they do not, or no longer."""
        if url:
            self.row = evolve(self.row, url=url, pinned="config")
        elif self.row.pinned == "config":
            self.row = evolve(self.row, pinned="link" if self.row.links else "")

    def found(self, page: Descriptor) -> None:
        """Its page says where."""
        self.row = evolve(self.row, url=page.urls[0], pinned="domain", counter=page.counter)
        self.misses = 0

    def placed(self, room: RoomId, urls: tuple[str, ...]) -> None:
        """A room's owner says where."""
        if self.is_unproven:
            if self.row.pinned == "invite":
                self._may_be(self.row.url)
            self.row = evolve(self.row, url=urls[0], pinned="move")
        if self.is_unproven or self.is_lost:
            self.places[room] = urls

    def invited_to(self, url: str) -> None:
        """Somebody who asked for one of its rooms says where."""
        if self.is_unproven and self.row.pinned != "move":
            # A stranger may have named a wrong one before: the last word is tried first.
            self.has_news = url != self.row.url
            self._may_be(self.row.url)
            self.row = evolve(self.row, url=url, pinned="invite")
        else:
            self._may_be(url)  # besides what is better known

    def _may_be(self, url: str) -> None:
        if url in self.invited:
            self.invited.remove(url)
        if url:
            self.invited.append(url)

    def says_it_is_at(self, url: str) -> None:
        """It says so itself, on a link that proves who it is."""
        if self.is_unproven:
            self.row = evolve(self.row, url=url, pinned="link")
        else:
            self.told["link"] = url

    def next_address(self) -> str:
        """Where to dial it: in turn all that was said of it, while none of it is proven."""
        if not (self.is_unproven or self.is_lost):
            return self.row.url
        if self.has_news and not self.was_news:
            self.has_news, self.was_news = False, True
            return self.row.url
        self.was_news = False  # however often there are news, the others have their turn
        rooms = [urls for room, urls in self.places.items() if room in self.following.rooms]
        others = [*sum(rooms, ()), *self.told.values(), *reversed(self.invited)]
        said = dict.fromkeys(filter(None, [self.row.url, *others]))
        self.dialled += 1
        return list(said)[(self.dialled - 1) % len(said)]

    def missed(self) -> None:
        """It was dialled in vain."""
        self.misses += 1
        if self.misses % _MISSES == 0:
            self.lost.set()
            self.lost = trio.Event()

    def reached(self, url: str, says: str) -> None:
        """It has proven itself at `url`, and says itself that it is at `says` ("": nothing).

        Where it was lost, an address that nobody vouches for is used, and does not stay: what
        stands there may only pass things on.
        """
        if self.is_unproven:
            self.row = evolve(self.row, url=url)
        elif url != self.row.url and says:
            self.told["before"] = self.row.url
            self.row = evolve(self.row, url=says)
        self.places.clear()
        self.misses = 0

    # -- how much it matters -----------------------------------------------------------------------

    def worth(self) -> tuple[bool, bool, int]:
        """What is forgotten last: who has replaced its key, or its old one would be taken again."""
        return bool(self.row.succession), not self.is_unproven, self.row.contact

    def is_spare(self, now: int) -> bool:
        """Whether it can be forgotten: nobody here wants it, and there is no link."""
        wanted = self.configured or self.denied or self.asked or self.following.wants_link
        return not wanted and self.link is None and self.row.quarantined <= now
