"""Hands out what links open: HTTP/1.1, one request a connection, bounded in everything (trio).

It stands behind a proxy that speaks TLS. Who has no link learns nothing: all that does not open is
the same 404, whether it never was, has ended, was revoked or was cut on the disk.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from collections.abc import Callable
from functools import partial
from typing import Final
from urllib.parse import parse_qs, quote

import trio

from bridge.core.links.pictures import CLEANABLE
from bridge.core.links.settings import LinksSettings
from bridge.core.links.shelf import Kept, Shelf
from ofcd.client.applog import Log
from ofcd.client.boxes import Box, WrongKey
from ofcd.client.webserver import (
    Body,
    HttpAnswer,
    HttpLimits,
    HttpRequest,
    listen,
    serve_stream,
)
from ofcd.errors import ConfigError
from ofcd.protocol.rates import TokenBuckets

__all__ = ["NOTHING_HERE", "Pages"]

_TOKEN: Final = re.compile(r"/(?:[A-Za-z0-9._~-]{1,60}/){0,8}([A-Za-z0-9_-]{43})")
_LIMITS: Final = HttpLimits(
    head=8192, body=2048, read_seconds=15.0, answer_seconds=120.0, part_seconds=60.0
)
_INLINE: Final = (*CLEANABLE, "text/plain")
_NOTHING: Final = "default-src 'none'; sandbox; frame-ancestors 'none'"
_FORM: Final = "default-src 'none'; form-action 'self'; frame-ancestors 'none'"
_ASK: Final = (
    b"<!DOCTYPE html><meta charset=utf-8><title>A passphrase, please</title>"
    b"<form method=post><label>Passphrase <input type=password name=p autofocus></label> "
    b"<button>Open</button></form>"
)


def _answer(
    status: int,
    *more: tuple[str, str],
    policy: str = _NOTHING,
    text: str = "",
    body: bytes | Body | None = None,
) -> HttpAnswer:
    headers = (
        ("content-security-policy", policy),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
        ("x-robots-tag", "noindex, nofollow"),
        *more,
    )
    return HttpAnswer(status, text, headers, body)


_GONE: Final = _answer(404, text="There is nothing here, or not any more.")
NOTHING_HERE: Final = _GONE.text.encode() + b"\n"
"""What all links say that do not open."""


class Pages:
    """The server."""

    def __init__(
        self,
        settings: LinksSettings,
        shelf: Shelf,
        expires_of: Callable[[bytes], int | None],
        log: Log,
    ) -> None:
        """`expires_of(box id)`: when a good link ends; None for one that is not good."""
        self._settings = settings
        self._shelf = shelf
        self._expires_of = expires_of
        self._log = log
        self._stretching = trio.CapacityLimiter(1)
        self._tries = TokenBuckets(burst=5, per_second=1 / 30, max_keys=1000)
        self.port = settings.port
        """Where it listens, once `listening` is set."""
        self.listening = trio.Event()

    async def run(self) -> None:
        """Serve until cancelled. Raises `ConfigError` where it can not listen."""
        address, port = self._settings.address, self._settings.port
        begin = partial(listen, self.answer, self._log, address=address, port=port, limits=_LIMITS)
        failed: OSError | None = None
        async with trio.open_nursery() as nursery:
            try:
                self.port = await nursery.start(begin)
                self.listening.set()
            except OSError as error:
                failed = error
        if failed is not None:
            raise ConfigError(f"[links] can not listen on {address}:{port}: {failed.strerror}")

    async def serve(self, stream: trio.abc.Stream) -> None:
        """One request, then the connection ends. Raises nothing that a peer can cause."""
        await serve_stream(stream, self.answer, self._log, _LIMITS)

    # -- what to say -----------------------------------------------------------------------------

    async def answer(self, request: HttpRequest) -> HttpAnswer:
        """What a request is answered."""
        found = _TOKEN.fullmatch(request.path)
        if request.method not in ("GET", "HEAD", "POST"):
            return _answer(405, text="GET it.")
        if found is None:
            return _GONE
        try:
            key = urlsafe_b64decode(found[1] + "=")
            box_id = Box(key, 0).id
            expires = self._expires_of(box_id)
            opened = None if expires is None else self._shelf.head(key, expires)
            if opened is None:
                return _GONE
            box, head = opened
            if not box.asks_passphrase(head):
                return self._file(box, self._shelf.open(box, head))
        except (WrongKey, ValueError):
            self._log.error("what a link opens was changed on the disk")
            return _GONE
        if request.method != "POST":
            html = ("content-type", "text/html; charset=utf-8")
            return _answer(200, html, policy=_FORM, body=_ASK)
        return await self._with_passphrase(box, head, request.body)

    async def _with_passphrase(self, box: Box, head: bytes, body: bytes) -> HttpAnswer:
        if self._tries.take(box.id, int(trio.current_time() * 1000)):
            return _answer(429, text="Too many wrong passphrases: wait a minute.")
        try:
            said = parse_qs(body.decode("utf-8"), max_num_fields=4).get("p", [""])[0]
            kept = await trio.to_thread.run_sync(
                partial(self._shelf.open, box, head, said or " "), limiter=self._stretching
            )
        except (WrongKey, ValueError):
            return _answer(403, text="That is not the passphrase.")
        return self._file(box, kept)

    def _file(self, box: Box, kept: Kept) -> HttpAnswer:
        """A picture that was cleaned, or plain text, is shown; all else is only to be saved."""
        shown = kept.media_type in _INLINE
        kind = kept.media_type if shown else "application/octet-stream"
        if kind == "text/plain":
            kind = "text/plain; charset=utf-8"
        plain = re.sub(r"[^A-Za-z0-9._-]", "_", kept.name) or "file"
        name = quote(kept.name, safe="", errors="replace")
        how = "inline" if shown else "attachment"
        return _answer(
            200,
            ("content-type", kind),
            ("content-disposition", f"{how}; filename=\"{plain}\"; filename*=UTF-8''{name}"),
            body=Body(kept.size, partial(self._shelf.parts, box, kept)),
        )
