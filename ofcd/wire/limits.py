"""What one link and one listening port may cost, and how long they may take."""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import ge, gt

__all__ = ["SLOWEST_BYTES_PER_SECOND", "DialTimeouts", "LinkLimits", "ServeLimits"]

SLOWEST_BYTES_PER_SECOND = 8 * 1024
"""A frame may take `stall_seconds` plus its size at this rate: a 1 MiB frame on a slow link
is not a stall, a peer that reads a byte a minute is."""


@frozen
class LinkLimits:
    """Bounds of one message stream; the memory sum they make is in `ofcd.wire`'s docstring."""

    message_bytes: int = field(default=1 << 20, validator=gt(0))
    """Largest message taken from the peer; above it the link closes with 1009."""
    opening_message_bytes: int | None = None
    """The same until `MessageStream.max_message_bytes` is raised; None: `message_bytes`."""
    fragments: int = field(default=1024, validator=gt(0))
    """Frames one message may be cut into; above it the link closes with 1008."""
    queued_messages: int = field(default=1, validator=ge(0))
    """Whole messages waiting for `receive`; when full, the socket is not read."""
    receive_bytes: int = field(default=32 * 1024, validator=gt(0))
    """Most bytes taken from the socket in one read."""
    idle_ping_seconds: float = field(default=30.0, validator=gt(0))
    """Silence from the peer after which it is pinged."""
    pong_seconds: float = field(default=20.0, validator=gt(0))
    """Silence after the ping, from which on the peer is held dead."""
    stall_seconds: float = field(default=30.0, validator=gt(0))
    """How long one frame may wait for a peer that does not read."""
    close_seconds: float = field(default=5.0, validator=gt(0))
    """How long the closing handshake may take."""
    linger_seconds: float = field(default=1.0, validator=ge(0))
    """How long a refused peer's bytes are still read, so that our last words reach it."""


@frozen
class ServeLimits:
    """Bounds of one listening port."""

    link: LinkLimits = LinkLimits()
    head_bytes: int = field(default=8 * 1024, validator=gt(0))
    """Largest request head (request line and headers)."""
    handshake_seconds: float = field(default=10.0, validator=gt(0))
    """Time for TLS and the whole request head together; then 408."""
    page_seconds: float = field(default=30.0, validator=gt(0))
    """Time to make a page (then 503) and, again, to send it (then the connection is cut)."""
    connections: int = field(default=5000, validator=gt(0))
    """Connections of any kind at once; above it 503."""
    connections_per_ip: int = field(default=64, validator=gt(0))
    """The same from one IPv4 address or one IPv6 /64; above it 429."""
    handshakes_per_minute: int = field(default=60, validator=gt(0))
    """WebSocket handshakes a minute from one address, with a burst as large; above it 429."""
    tracked_addresses: int = field(default=10_000, validator=gt(0))
    """Addresses the rate limit remembers; the one unseen for longest is forgotten first."""
    refusals: int = field(default=64, validator=ge(0))
    """Connections being told 503 or 429 at once; above it they are cut without a word."""
    grace_seconds: float = field(default=3.0, validator=gt(0))
    """When serving stops: time for each peer to answer our close (1001, going away)."""


@frozen
class DialTimeouts:
    """How long a client waits for a link to open, in seconds."""

    connect: float = field(default=10.0, validator=gt(0))
    """For name resolution and TCP."""
    handshake: float = field(default=10.0, validator=gt(0))
    """For TLS and the WebSocket handshake together."""
