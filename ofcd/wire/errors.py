"""What can go wrong on the wire, typed.

WireError              the transport failed
├── Closed             the link is closed: by the peer, by us, or by the network
└── DialError          no link could be opened
    ├── BadAddress     the URL is not one of a relay
    ├── Forbidden      its host is at an address that may not be dialled
    ├── NoPage         a page could not be had: not there, too large, elsewhere
    ├── Unreachable    no TCP connection, or it broke during the handshake
    ├── TlsFailed      the TLS handshake failed
    ├── NotARelay      something answered, but it does not speak ofc.1
    ├── RelayBusy      a relay answered: come back later
    └── DialTimeout    nothing answered in time
"""

from __future__ import annotations

from ofcd.errors import OfcError

__all__ = [
    "BadAddress",
    "Closed",
    "DialError",
    "DialTimeout",
    "Forbidden",
    "NoPage",
    "NotARelay",
    "RelayBusy",
    "TlsFailed",
    "Unreachable",
    "WireError",
]


class WireError(OfcError):
    """The transport failed."""

    code = "wire"


class Closed(WireError):
    """The link is closed; nothing more can be sent or received on it.

    `close_code` is the WebSocket status (RFC 6455 section 7.4.1; 1006 = no close frame was
    exchanged), `reason` the peer's or our own words for it, possibly empty.
    """

    code = "closed"

    def __init__(self, close_code: int, reason: str = "") -> None:
        super().__init__(close_code, reason)
        self.close_code = close_code
        self.reason = reason

    def __str__(self) -> str:
        return f"the link is closed ({self.close_code}{': ' if self.reason else ''}{self.reason})"


class DialError(WireError):
    """No link could be opened; the sentence says why and what to try."""

    code = "dial_failed"


class BadAddress(DialError):
    """The URL is not one of a relay."""

    code = "bad_address"


class Forbidden(DialError):
    """The host is at an address that may not be dialled."""

    code = "forbidden_address"


class NoPage(DialError):
    """There is no such page, it is too large, or it is said to be elsewhere."""

    code = "no_page"


class Unreachable(DialError):
    """Nothing listens there, the name does not resolve, or the connection broke at once."""

    code = "unreachable"


class TlsFailed(DialError):
    """The TLS handshake failed: no TLS there, or a certificate that is not trusted."""

    code = "tls_failed"


class NotARelay(DialError):
    """Something answered, but not a relay that speaks ofc.1."""

    code = "not_a_relay"


class RelayBusy(DialError):
    """The relay refuses new links for now; try again after `retry_after` seconds."""

    code = "busy"

    def __init__(self, sentence: str, retry_after: float) -> None:
        super().__init__(sentence, retry_after)
        self.retry_after = retry_after

    def __str__(self) -> str:
        return str(self.args[0])


class DialTimeout(DialError):
    """Nothing answered in time."""

    code = "timeout"
