"""Mail from the local server over LMTP (trio): each recipient answered once theirs is committed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import trio

from bridge.email.links import receive_some
from bridge.email.lmtp import Arrived, LmtpServer

__all__ = ["LINKS", "serve_link"]

LINKS: Final = 20
"""Links at once; the server waits with further ones."""
IDLE_SECONDS: Final = 300.0
_SEND_SECONDS: Final = 60.0

Take = Callable[[bytes, str, str], Awaitable[tuple[int, str]]]
"""Mail, envelope sender and recipient: the reply, once it is committed."""


async def serve_link(
    stream: trio.abc.Stream, *, name: str, knows: Callable[[str], bool], max_bytes: int, take: Take
) -> None:
    """Serve one link until either side ends it."""
    server = LmtpServer(name, knows, max_bytes)
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
        async with stream:
            while True:
                with trio.fail_after(_SEND_SECONDS):
                    await stream.send_all(server.to_send())
                if server.closing:
                    return
                with trio.fail_after(IDLE_SECONDS):
                    raw = await receive_some(stream)
                if not raw:
                    return
                arrived = server.receive(raw)
                while arrived:
                    arrived = await _take(stream, server, arrived[0], take)


async def _take(
    stream: trio.abc.Stream, server: LmtpServer, arrived: Arrived, take: Take
) -> list[Arrived]:
    more: list[Arrived] = []
    for index, recipient in enumerate(arrived.recipients):
        code, text = await take(arrived.content, arrived.sender, recipient)
        more = server.answer(index, code, text)
    with trio.fail_after(_SEND_SECONDS):
        await stream.send_all(server.to_send())
    return more
