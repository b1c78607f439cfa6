"""The narrow interface between a link's bytes and everything above it."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import Protocol

import trio
from attrs import frozen

__all__ = ["MessageStream", "RemoteAddress", "remote_of"]


@frozen
class RemoteAddress:
    """Where a peer connects from: a numeric IP address (an IPv4 one is never mapped) and a port.

    Port 0: not known, the address is what a proxy said.
    """

    host: str
    port: int

    @classmethod
    def of(cls, host: str, port: int) -> RemoteAddress:
        """From what a socket says; `::ffff:192.0.2.1`, of a dual-stack socket, is 192.0.2.1."""
        address = ip_address(host.partition("%")[0])
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return cls(str(mapped or host), port)

    @property
    def network(self) -> str:
        """What limits count as one address: the IPv4 address, or the /64 of an IPv6 one."""
        address = ip_address(self.host.partition("%")[0])
        if not isinstance(address, IPv6Address):
            return str(address)
        return f"{IPv6Address(int(address) >> 64 << 64)}/64"


def remote_of(stream: trio.abc.Stream) -> RemoteAddress | None:
    """The peer's address of a TCP or TLS stream; None for others and for a peer already gone."""
    if isinstance(stream, trio.SSLStream):
        return remote_of(stream.transport_stream)
    if not isinstance(stream, trio.SocketStream):
        return None
    try:
        host, port, *_ = stream.socket.getpeername()
    except (OSError, ValueError):  # gone; or a Unix socket, whose name is one string
        return None
    return RemoteAddress.of(host, port)


class MessageStream(Protocol):
    """Whole binary messages, both ways, over one link. One reader; any number of senders.

    Every method but `close` raises `Closed` once the link is closed.
    """

    max_message_bytes: int
    """Largest message taken from the peer from now on; set it when the peer has proven itself."""

    @property
    def remote(self) -> RemoteAddress | None:
        """The peer's address; None where the link has none (in memory)."""
        ...

    @property
    def congested(self) -> bool:
        """Whether an earlier message still waits for the socket. While False, `try_send` takes."""
        ...

    def try_send(self, payload: bytes) -> bool:
        """Send one message without waiting.

        True: taken, for good; what the socket did not take at once is sent by itself, before
        anything else. False: not taken, nothing of it was written, because an earlier message
        still waits; use `send`, or try again after `flush`.
        """
        ...

    async def send(self, payload: bytes) -> None:
        """Send one message; returns when the operating system has taken all of it.

        Cancelled while it waits for its turn, nothing was sent; cancelled later, the message
        still goes out whole. Senders take turns in the order they came.
        """
        ...

    async def flush(self) -> None:
        """Wait until the operating system has taken everything sent so far."""
        ...

    async def receive(self) -> bytes:
        """The next message. What arrived before the peer closed is still returned first."""
        ...

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close with a close frame and wait, a bounded time, for the peer's. Idempotent."""
        ...
