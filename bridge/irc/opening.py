"""A TCP connection to a server, with TLS and the server's certificate verified (trio)."""

from __future__ import annotations

import ssl
from typing import Final

import trio

from bridge.core.errors import NetworkError
from bridge.irc.settings import IrcSettings

__all__ = ["Lost", "open_stream"]

_CONNECT_SECONDS: Final = 30.0


class Lost(NetworkError):
    """The connection is gone."""

    code = "bridge_lost"


async def open_stream(settings: IrcSettings, *, tls: bool, port: int) -> trio.abc.Stream:
    """Connect; raises `Lost` with a sentence that says why not."""
    silent = "does not answer"
    try:
        with trio.fail_after(_CONNECT_SECONDS):
            stream: trio.abc.Stream = await trio.open_tcp_stream(settings.server, port)
            silent = "is there, and does not answer TLS: is that its port for TLS?"
            if not tls:
                return stream
            return await _secured(settings, stream)
    except trio.TooSlowError:
        raise Lost(f"{settings.server}:{port} {silent}") from None
    except trio.BrokenResourceError as error:
        raise Lost(f"{settings.server}:{port}: {_why(error.__cause__)}") from None
    except (OSError, ssl.SSLError) as error:
        raise Lost(f"{settings.server}:{port}: {_why(_first(error))}") from None


async def _secured(settings: IrcSettings, stream: trio.abc.Stream) -> trio.abc.Stream:
    """The stream with TLS, if the server proves its name; else it is closed."""
    try:
        context = ssl.create_default_context(cafile=settings.ca_file or None)
        if settings.client_cert_file:
            context.load_cert_chain(settings.client_cert_file)
        secured = trio.SSLStream(
            stream, context, server_hostname=settings.server, https_compatible=True
        )
        await secured.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return secured


def _first(error: BaseException) -> BaseException:
    """Of several addresses that were tried, what was wrong with the first."""
    cause = error.__cause__
    if isinstance(cause, BaseExceptionGroup):
        return _first(cause.exceptions[0])
    return error if cause is None else cause


def _why(error: BaseException | None) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not good: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS fails: {error.reason}"
    if isinstance(error, OSError):
        return error.strerror or "it can not be reached"
    return "the connection broke"
