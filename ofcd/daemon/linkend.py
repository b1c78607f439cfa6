"""What the hub needs of whoever asks it something: a client's link, or a peer's lane."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from ofcd.daemon.feed import Feed, Subscriber, Subscription
from ofcd.protocol.frames import Failure, RelayFrame
from ofcd.protocol.ids import RoomId
from ofcd.relay import LinkId, Subscribe

__all__ = ["Job", "LinkEnd"]

Job = Callable[[], Awaitable[None]]


class LinkEnd(Subscriber, Protocol):
    """One who asks, and is answered."""

    link: LinkId

    @property
    def is_behind(self) -> bool:
        """Whether something waits for the peer to read."""
        ...

    def answer(self, frame: RelayFrame) -> None:
        """Queue the answer to a request; it goes out with the next `pump`."""
        ...

    def push_signal(self, frame: bytes) -> None:
        """Queue a hint for the screen: it may be lost."""
        ...

    def do(self, job: Job) -> None:
        """Do this beside the hub, in the order it was asked for."""
        ...

    def do_once(self, room: RoomId, job: Job) -> None:
        """As `do`, unless it is still to be done for this room."""
        ...

    async def hand(self, frame: RelayFrame) -> None:
        """In a job: queue a frame when the peer has taken most of what waits for it."""
        ...

    def await_feed(self, feed: Feed) -> None:
        """A job is to subscribe to this feed."""
        ...

    def await_no_more(self, feed: Feed) -> None:
        """The end of one `await_feed`."""
        ...

    def reading(self, effect: Subscribe, start: int, last: int | None) -> Subscription | None:
        """The subscription that this effect asks for, up to `last`; None: it may read no more."""
        ...

    def subscribe(self, subscription: Subscription, feed: Feed) -> None:
        """Read this room from now on."""
        ...

    def unsubscribe(self, room: RoomId) -> None:
        """Read this room no more."""
        ...

    def reads(self, room: RoomId) -> bool:
        """Whether the room's feed goes here, or is about to."""
        ...

    def come_back(self, room: RoomId, failure: Failure) -> None:
        """The feed that it reads of this room ends: it is to read on from the store."""
        ...

    def end(self, failure: Failure) -> None:
        """Say why, and close."""
        ...

    def fail(self, mistake: Exception) -> None:
        """We made a mistake while serving this one."""
        ...

    def drop(self) -> None:
        """It is gone: leave every room."""
        ...
