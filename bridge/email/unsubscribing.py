"""The page for List-Unsubscribe with one click (RFC 8058): POST unsubscribes, GET asks first."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import h11
import trio

__all__ = ["serve_page"]

_SECONDS: Final = 30.0
_BODY: Final = 4096
_TOKEN: Final = re.compile(rb"/(?:[A-Za-z0-9._~/-]{0,200}/)?([a-z2-7]{24})")
_ASK: Final = (
    b"<!DOCTYPE html><meta charset=utf-8><title>No more mail</title>"
    b"<form method=post><button>No more mail from this room</button></form>"
)
_DONE: Final = b"<!DOCTYPE html><meta charset=utf-8><title>Done</title><p>No more mail will come."
_HEADERS: Final = [
    ("content-type", "text/html; charset=utf-8"),
    ("cache-control", "no-store"),
    ("content-security-policy", "default-src 'none'; form-action 'self'; frame-ancestors 'none'"),
    ("referrer-policy", "no-referrer"),
    ("connection", "close"),
]


async def serve_page(stream: trio.abc.Stream, unsubscribe: Callable[[str], bool]) -> None:
    """One request, then the link ends."""
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError):
        async with stream:
            with trio.move_on_after(_SECONDS):
                await _serve(stream, unsubscribe)


async def _serve(stream: trio.abc.Stream, unsubscribe: Callable[[str], bool]) -> None:
    http = h11.Connection(h11.SERVER, max_incomplete_event_size=8192)
    request: h11.Request | None = None
    size = 0
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(bytes(await stream.receive_some(4096)))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            size += len(event.data)
            if size > _BODY:
                return
        else:
            break
    if request is None:
        return
    status, body = _answer(request, unsubscribe)
    headers = [*_HEADERS, ("content-length", str(len(body)))]
    raw = http.send(h11.Response(status_code=status, headers=headers)) or b""
    raw += http.send(h11.Data(data=body)) or b""
    await stream.send_all(raw + (http.send(h11.EndOfMessage()) or b""))


def _answer(request: h11.Request, unsubscribe: Callable[[str], bool]) -> tuple[int, bytes]:
    """Programs that look at every link of a mail only GET: they unsubscribe nobody."""
    found = _TOKEN.fullmatch(request.target.partition(b"?")[0])
    if found is None:
        return 404, b"There is no such page."
    if request.method == b"GET":
        return 200, _ASK
    if request.method != b"POST":
        return 405, b"POST it."
    # Who has no such token learns no more than who has.
    unsubscribe(found[1].decode("ascii"))
    return 200, _DONE
