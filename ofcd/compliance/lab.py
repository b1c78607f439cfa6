"""Where a check works: links to the relay under test, and people on them."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import trio
from attrs import field, frozen

from ofcd.compliance.errors import NotKept, Skipped
from ofcd.compliance.peer import Peer, greet, hang_up, shake_hands
from ofcd.compliance.people import Person
from ofcd.protocol import frames, records
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import RelayId
from ofcd.themis import KeyPair
from ofcd.wire import MessageStream, RelayBusy, dial

__all__ = ["Lab", "Target", "target_of"]

_TRIES: Final = 30
"""How often a new link is tried while the relay says that it takes none."""


@frozen
class Target:
    """The relay under test."""

    url: str
    dial: Callable[[], AbstractAsyncContextManager[MessageStream]] = field(repr=False)
    """Opens a WebSocket to it."""
    connect: Callable[[], Awaitable[trio.abc.Stream]] = field(repr=False)
    """Opens a bare stream to its port."""
    relay_id: RelayId | None = None
    """Its fingerprint, where it is known."""
    token: str = field(default="", repr=False)
    """What it asks of those who found rooms."""

    @property
    def path(self) -> str:
        """Of the WebSocket."""
        path = urlsplit(self.url).path
        return path if path not in ("", "/") else "/ofc"

    @property
    def host(self) -> str:
        """For an HTTP `Host` header."""
        return urlsplit(self.url).netloc.rpartition("@")[2]


def target_of(url: str, relay_id: RelayId | None = None, token: str = "") -> Target:
    """The relay at a `ws://` or `wss://` address."""
    return Target(url, partial(dial, url), partial(_connect, url), relay_id, token)


async def _connect(url: str) -> trio.abc.Stream:
    parts = urlsplit(url)
    secure = parts.scheme == "wss"
    host = parts.hostname or ""
    port = parts.port or (443 if secure else 80)
    if not secure:
        return await trio.open_tcp_stream(host, port)
    return await trio.open_ssl_over_tcp_stream(
        host, port, ssl_context=ssl.create_default_context(), https_compatible=True
    )


class Lab:
    """One check's own: what it opened is closed when it ends."""

    def __init__(self, target: Target, stack: AsyncExitStack) -> None:
        """Use `open_lab`."""
        self.target = target
        self._stack = stack

    async def shaken(self, keys: KeyPair | None = None) -> Peer:
        """A link whose handshake is done, and nothing else."""
        peer = await shake_hands(await self.message_stream(), keys)
        self.closes(peer)
        return peer

    def closes(self, peer: Peer) -> None:
        """Close this link when the check ends."""
        self._stack.push_async_callback(hang_up, peer)

    async def link(self, keys: KeyPair | None = None) -> Peer:
        """An open link."""
        return await greet(await self.shaken(keys), pin=self.target.relay_id)

    async def message_stream(self) -> MessageStream:
        """A WebSocket, nothing said on it yet."""
        for _ in range(_TRIES):
            try:
                return await self._stack.enter_async_context(self.target.dial())
            except RelayBusy as busy:
                await trio.sleep(busy.retry_after)
        raise Skipped("the relay takes no more links from here, and named no time that helps")

    async def bare(self) -> trio.abc.Stream:
        """A bare stream to the relay's port."""
        return await self._stack.enter_async_context(await self.target.connect())

    async def founder(self, peer: Peer | None = None, **policy: Any) -> Person:
        """Who has just founded a room, attached and reading it."""
        person = Person(peer or await self.link())
        genesis = person.genesis(policy=records.Policy(**policy))
        answer = await person.peer.ask(person.create(genesis, self.target.token))
        if isinstance(answer, frames.Failure) and answer.code in (Code.FORBIDDEN, Code.QUOTA):
            raise Skipped(
                f"the relay lets nobody from here found a room ({answer.code}): name a token "
                "with --token-file, or allow it"
            )
        if not isinstance(answer, frames.Ack):
            raise NotKept(f"founding a room was answered by {type(answer).__name__}")
        person.founded(genesis)
        head = person.room.head
        if (answer.event_id, answer.seq, answer.log) != (head.event_id, 0, head.log):
            raise NotKept("the ack of a new room does not name its first entry")
        await person.come()
        return person

    async def member(self, owner: Person, peer: Peer | None = None, **invite: Any) -> Person:
        """A new member of the owner's room, on a link of its own, attached and reading it."""
        person = Person(peer or await self.link())
        await person.enter(owner, **invite)
        await person.come()
        return person

    async def pair(self, **policy: Any) -> tuple[Person, Person]:
        """A founder and one member."""
        founder = await self.founder(**policy)
        return founder, await self.member(founder)


@asynccontextmanager
async def open_lab(target: Target) -> AsyncIterator[Lab]:
    """A lab at this relay."""
    async with AsyncExitStack() as stack:
        yield Lab(target, stack)
