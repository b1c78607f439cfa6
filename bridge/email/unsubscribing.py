"""The page for List-Unsubscribe with one click (RFC 8058): POST unsubscribes, GET asks first."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from ofcd.client.webserver import HttpAnswer, HttpLimits, HttpRequest

__all__ = ["LIMITS", "answer_page"]

LIMITS: Final = HttpLimits(head=8192, body=4096, read_seconds=30.0)
_TOKEN: Final = re.compile(r"/(?:[A-Za-z0-9._~/-]{0,200}/)?([a-z2-7]{24})")
_ASK: Final = (
    b"<!DOCTYPE html><meta charset=utf-8><title>No more mail</title>"
    b"<form method=post><button>No more mail from this room</button></form>"
)
_DONE: Final = b"<!DOCTYPE html><meta charset=utf-8><title>Done</title><p>No more mail will come."
_HEADERS: Final = (
    ("content-type", "text/html; charset=utf-8"),
    ("content-security-policy", "default-src 'none'; form-action 'self'; frame-ancestors 'none'"),
    ("referrer-policy", "no-referrer"),
)


async def answer_page(request: HttpRequest, *, unsubscribe: Callable[[str], bool]) -> HttpAnswer:
    """Programs that look at every link of a mail only GET: they unsubscribe nobody."""
    found = _TOKEN.fullmatch(request.path)
    if found is None:
        return HttpAnswer(404, "There is no such page.")
    if request.method in ("GET", "HEAD"):
        return HttpAnswer(200, headers=_HEADERS, body=_ASK)
    if request.method != "POST":
        return HttpAnswer(405, "POST it.", (("allow", "GET, HEAD, POST"),))
    # Who has no such token learns no more than who has.
    unsubscribe(found[1])
    return HttpAnswer(200, headers=_HEADERS, body=_DONE)
