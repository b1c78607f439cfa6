"""Message streams over WebSocket (trio-websocket), on one port with plain HTTP pages.

`serve` (or `serve_stream`, for one stream) runs the port; `dial` (or `client_stream`) opens a
link; both ends hold a `MessageStream`. The modules, from the socket up:

    limits    what a link and a port may cost        door         who may come in (sans-IO)
    gate      the bytes' one door: writes, keepalive  pages        HTTP request and answer
    link      frames, messages, closing               upgrade      the handshake's rules (sans-IO)
    stream    the interface                           proxies      who a proxy speaks for (sans-IO)
    server, client

Memory of one link, at most, in units of `LinkLimits.message_bytes` (M, 1 MiB by default):

    reading   1 M   the message being assembled, or waiting for a place in the queue
              1 M   transiently, while its pieces become one `bytes`
              Q M   the queue: `queued_messages`, by default 1; when full, the socket is not read
              4 x `receive_bytes` (128 KiB): the last read, in the parser and unmasked
    writing   1     outgoing frame held as the rest the socket did not take
              1     outgoing frame for each task that waits in `send`
    idle      about 20 kB (500 links; a plain trio-websocket connection in the same run: 20)
    kernel    its socket buffers, both ways

so 3 M + 128 KiB + what its writers hold by default. Before a peer has proven who it is, M is
`opening_message_bytes`. During the handshake: `head_bytes` + 4 KiB. A refused connection: 4 KiB,
at most `refusals` of them.
"""

from ofcd.wire.client import Allowed, client_stream, dial
from ofcd.wire.door import Door
from ofcd.wire.errors import (
    BadAddress,
    Closed,
    DialError,
    DialTimeout,
    Forbidden,
    NoPage,
    NotARelay,
    RelayBusy,
    TlsFailed,
    Unreachable,
    WireError,
)
from ofcd.wire.fetch import fetch_page
from ofcd.wire.limits import DialTimeouts, LinkLimits, ServeLimits
from ofcd.wire.pages import HttpRequest, HttpResponse
from ofcd.wire.proxies import TrustedProxies
from ofcd.wire.server import Handler, Mishap, Pages, open_listeners, serve, serve_stream
from ofcd.wire.stream import MessageStream, RemoteAddress
from ofcd.wire.upgrade import SUBPROTOCOL

__all__ = [
    "SUBPROTOCOL",
    "Allowed",
    "BadAddress",
    "Closed",
    "DialError",
    "DialTimeout",
    "DialTimeouts",
    "Door",
    "Forbidden",
    "Handler",
    "HttpRequest",
    "HttpResponse",
    "LinkLimits",
    "MessageStream",
    "Mishap",
    "NoPage",
    "NotARelay",
    "Pages",
    "RelayBusy",
    "RemoteAddress",
    "ServeLimits",
    "TlsFailed",
    "TrustedProxies",
    "Unreachable",
    "WireError",
    "client_stream",
    "dial",
    "fetch_page",
    "open_listeners",
    "serve",
    "serve_stream",
]
