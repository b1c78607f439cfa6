"""The WebSocket opening handshake as the server judges it (RFC 6455 section 4.2), sans-IO.

Extensions are never negotiated. permessage-deflate above all stays off: ciphertext does not
compress, and compressing next to a secret leaks it by size.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Callable

from wsproto.utilities import generate_accept_token

from ofcd.wire.pages import HttpRequest, HttpResponse

__all__ = ["PATHS", "SUBPROTOCOL", "AllowOrigin", "accept_headers", "refusal", "wants_link"]

SUBPROTOCOL = "ofc.1"
"""The major version of OFC. What differs within it is agreed in the first frames (session)."""
PATHS = frozenset({"/", "/ofc"})

AllowOrigin = Callable[[str], bool]


def wants_link(request: HttpRequest) -> bool:
    """Whether the request asks for a WebSocket where one is served."""
    upgrades = (token.lower() for token in request.tokens("upgrade"))
    return request.path in PATHS and "websocket" in upgrades


def refusal(request: HttpRequest, allow_origin: AllowOrigin) -> HttpResponse | None:
    """Why the handshake is refused; None when it is to be accepted."""
    if request.method != "GET":
        return _no(405, "a WebSocket handshake is a GET request", ("Allow", "GET"))
    if "upgrade" not in (token.lower() for token in request.tokens("connection")):
        return _no(400, "the header 'Connection: Upgrade' is missing")
    if request.header("sec-websocket-version") != "13":
        return _no(426, "this relay speaks WebSocket version 13", ("Sec-WebSocket-Version", "13"))
    if not _is_nonce(request.header("sec-websocket-key")):
        return _no(400, "the header Sec-WebSocket-Key must be 16 bytes in base64")
    if SUBPROTOCOL not in request.tokens("sec-websocket-protocol"):
        return _no(
            400,
            f"this relay speaks {SUBPROTOCOL}: offer the WebSocket subprotocol {SUBPROTOCOL!r}, "
            "or use a client of the relay's version",
        )
    origin = request.header("origin")
    if origin is not None and not allow_origin(origin):
        return _no(403, "pages of this origin may not use this relay (its operator decides)")
    return None


def accept_headers(request: HttpRequest) -> list[tuple[str, str]]:
    """The headers of the 101 answer to a request that has no `refusal`."""
    key = request.header("sec-websocket-key") or ""
    return [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", generate_accept_token(key.encode()).decode()),
        ("Sec-WebSocket-Protocol", SUBPROTOCOL),
    ]


def _is_nonce(key: str | None) -> bool:
    try:
        return key is not None and len(b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def _no(status: int, text: str, *headers: tuple[str, str]) -> HttpResponse:
    return HttpResponse.sentence(status, text, *headers)
