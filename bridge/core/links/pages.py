"""Hands out what links open: HTTP/1.1, one request a connection, bounded in everything (trio).

It stands behind a proxy that speaks TLS. Who has no link learns nothing: all that does not open is
the same 404, whether it never was, has ended, was revoked or was cut on the disk.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from functools import partial
from typing import Final
from urllib.parse import parse_qs, quote

import h11
import trio
from attrs import frozen

from bridge.core.links.pictures import CLEANABLE
from bridge.core.links.settings import LinksSettings
from bridge.core.links.shelf import Kept, Shelf
from ofcd.client.applog import Log, traceback_of
from ofcd.client.boxes import Box, WrongKey
from ofcd.errors import ConfigError
from ofcd.protocol.rates import TokenBuckets

__all__ = ["NOTHING_HERE", "Pages"]

_TOKEN: Final = re.compile(rb"/(?:[A-Za-z0-9._~-]{1,60}/){0,8}([A-Za-z0-9_-]{43})")
_HEAD_BYTES: Final = 8192
_BODY_BYTES: Final = 2048
_READ: Final = 4096
_REQUEST_SECONDS: Final = 15.0
_PART_SECONDS: Final = 60.0
_WHOLE_SECONDS: Final = 1800.0
_CONNECTIONS: Final = 64
_INLINE: Final = (*CLEANABLE, "text/plain")
_ALWAYS: Final = (
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("x-robots-tag", "noindex, nofollow"),
    ("connection", "close"),
)
_NOTHING: Final = "default-src 'none'; sandbox; frame-ancestors 'none'"
_FORM: Final = "default-src 'none'; form-action 'self'; frame-ancestors 'none'"
_ASK: Final = (
    b"<!DOCTYPE html><meta charset=utf-8><title>A passphrase, please</title>"
    b"<form method=post><label>Passphrase <input type=password name=p autofocus></label> "
    b"<button>Open</button></form>"
)


@frozen
class _Answer:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    box: tuple[Box, Kept] | None = None
    """Its parts follow."""


def _words(status: int, text: str) -> _Answer:
    headers = (
        ("content-type", "text/plain; charset=utf-8"),
        ("content-security-policy", _NOTHING),
    )
    return _Answer(status, headers, text.encode() + b"\n")


_GONE: Final = _words(404, "There is nothing here, or not any more.")
NOTHING_HERE: Final = _GONE.body
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
        where = f"{self._settings.address}:{self._settings.port}"
        try:
            listeners = await trio.open_tcp_listeners(
                self._settings.port, host=self._settings.address
            )
        except OSError as error:
            raise ConfigError(f"[links] can not listen on {where}: {error.strerror}") from None
        self.port = listeners[0].socket.getsockname()[1]
        self.listening.set()
        room = trio.CapacityLimiter(_CONNECTIONS)

        async def serve(stream: trio.SocketStream) -> None:
            if room.available_tokens < 1:
                await trio.aclose_forcefully(stream)
                return
            async with room:
                try:
                    await self.serve(stream)
                except Exception as error:  # a mistake of ours must not end the bridge
                    self._log.error("a link could not be opened", trace=traceback_of(error))

        await trio.serve_listeners(serve, listeners)

    async def serve(self, stream: trio.abc.Stream) -> None:
        """One request, then the connection ends. Raises nothing that a peer can cause."""
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_BYTES)
        with suppress(
            trio.BrokenResourceError,
            trio.ClosedResourceError,
            trio.TooSlowError,
            h11.ProtocolError,
            WrongKey,
            OSError,
        ):
            async with stream:
                with trio.fail_after(_REQUEST_SECONDS):
                    read = await _request(stream, http)
                if read is None:
                    return
                with trio.fail_after(_WHOLE_SECONDS):
                    answer = await self._answer(*read)
                    await self._send(stream, http, answer, bare=read[0].method == b"HEAD")

    # -- what to say -----------------------------------------------------------------------------

    async def _answer(self, request: h11.Request, body: bytes) -> _Answer:
        found = _TOKEN.fullmatch(request.target.partition(b"?")[0])
        if request.method not in (b"GET", b"HEAD", b"POST"):
            return _words(405, "GET it.")
        if found is None:
            return _GONE
        try:
            key = urlsafe_b64decode(found[1] + b"=")
            box_id = Box(key, 0).id
            expires = self._expires_of(box_id)
            opened = None if expires is None else self._shelf.head(key, expires)
            if opened is None:
                return _GONE
            box, head = opened
            if not box.asks_passphrase(head):
                return _file(box, self._shelf.open(box, head))
        except (WrongKey, ValueError):
            self._log.error("what a link opens was changed on the disk")
            return _GONE
        if request.method != b"POST":
            html = (
                ("content-type", "text/html; charset=utf-8"),
                ("content-security-policy", _FORM),
            )
            return _Answer(200, html, _ASK)
        return await self._with_passphrase(box, head, body)

    async def _with_passphrase(self, box: Box, head: bytes, body: bytes) -> _Answer:
        if self._tries.take(box.id, int(trio.current_time() * 1000)):
            return _words(429, "Too many wrong passphrases: wait a minute.")
        try:
            said = parse_qs(body.decode("utf-8"), max_num_fields=4).get("p", [""])[0]
            kept = await trio.to_thread.run_sync(
                partial(self._shelf.open, box, head, said or " "), limiter=self._stretching
            )
        except (WrongKey, ValueError):
            return _words(403, "That is not the passphrase.")
        return _file(box, kept)

    # -- saying it -------------------------------------------------------------------------------

    async def _send(
        self, stream: trio.abc.Stream, http: h11.Connection, answer: _Answer, *, bare: bool
    ) -> None:
        length = len(answer.body) if answer.box is None else answer.box[1].size
        headers = [*_ALWAYS, *answer.headers, ("content-length", str(length))]
        head = http.send(h11.Response(status_code=answer.status, headers=headers)) or b""
        with trio.fail_after(_PART_SECONDS):
            await stream.send_all(head)
        if not bare:
            async with aclosing(self._parts(answer)) as parts:
                async for part in parts:
                    with trio.fail_after(_PART_SECONDS):
                        await stream.send_all(http.send(h11.Data(data=part)) or b"")
        with trio.fail_after(_PART_SECONDS):
            await stream.send_all(http.send(h11.EndOfMessage()) or b"")

    async def _parts(self, answer: _Answer) -> AsyncGenerator[bytes, None]:
        if answer.box is None:
            yield answer.body
            return
        async with aclosing(self._shelf.parts(*answer.box)) as parts:
            async for part in parts:
                yield part


def _file(box: Box, kept: Kept) -> _Answer:
    """A picture that was cleaned, or plain text, is shown; all else is only to be saved."""
    shown = kept.media_type in _INLINE
    kind = kept.media_type if shown else "application/octet-stream"
    if kind == "text/plain":
        kind = "text/plain; charset=utf-8"
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", kept.name) or "file"
    name = quote(kept.name, safe="", errors="replace")
    how = "inline" if shown else "attachment"
    headers = (
        ("content-type", kind),
        ("content-disposition", f"{how}; filename=\"{plain}\"; filename*=UTF-8''{name}"),
        ("content-security-policy", _NOTHING),
    )
    return _Answer(200, headers, box=(box, kept))


async def _request(
    stream: trio.abc.Stream, http: h11.Connection
) -> tuple[h11.Request, bytes] | None:
    """The request with its body; None where it is too large or broken off."""
    request: h11.Request | None = None
    body = b""
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(bytes(await stream.receive_some(_READ)))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > _BODY_BYTES:
                return None
        else:
            return None if request is None else (request, body)
