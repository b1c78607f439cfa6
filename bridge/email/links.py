"""Streams to mail servers (trio): TCP, TLS from the start or later."""

from __future__ import annotations

import ssl
from typing import Final

import trio

from bridge.email.settings import Server
from bridge.email.smtp import Tls

__all__ = ["CONNECT_SECONDS", "REPLY_SECONDS", "connect", "receive_some", "secure", "why_ended"]

CONNECT_SECONDS: Final = 30.0
REPLY_SECONDS: Final = 300.0
"""How long a server may take for the whole of one reply."""
_CHUNK: Final = 64 * 1024


async def connect(server: Server) -> trio.abc.Stream:
    """A link to a server; raises `OSError`, `trio.TooSlowError`, `ssl.SSLError` (an OSError)."""
    with trio.fail_after(CONNECT_SECONDS):
        stream: trio.abc.Stream = await trio.open_tcp_stream(server.host, server.port)
        if server.tls is Tls.TLS:
            stream = await secure(stream, server)
        return stream


async def secure(stream: trio.abc.Stream, server: Server) -> trio.abc.Stream:
    """The link as a TLS one, the server's name and certificate checked."""
    context = ssl.create_default_context(cafile=server.ca_file or None)
    tls = trio.SSLStream(stream, context, server_hostname=server.host, https_compatible=True)
    try:
        with trio.fail_after(CONNECT_SECONDS):
            await tls.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return tls


async def receive_some(stream: trio.abc.Stream) -> bytes:
    """Some bytes; b"" where the link has ended."""
    return bytes(await stream.receive_some(_CHUNK))


def why_ended(error: BaseException) -> str:
    """Why a link ended, in words."""
    slow = isinstance(error, trio.TooSlowError)
    return "the server was too slow" if slow else str(error) or type(error).__name__
