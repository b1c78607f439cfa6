"""Only a mail server that proves its name is spoken with: no password goes to another (M1, M3)."""

from __future__ import annotations

import ssl
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
import trio
import trustme
from attrs import evolve

from bridge.email.links import connect
from bridge.email.settings import Imap, Smtp
from bridge.email.submitting import Link
from tests.bridge.email.post import SETTINGS

_CASES = [("127.0.0.1", True), ("mx.other.example", False)]


async def _smtp(stream: trio.abc.Stream, context: ssl.SSLContext, heard: list[bytes]) -> None:
    """A server that has STARTTLS, and wants a password behind it."""
    with suppress(trio.BrokenResourceError):
        await stream.send_all(b"220 mx\r\n")
        await stream.receive_some()
        await stream.send_all(b"250-mx\r\n250 STARTTLS\r\n")
        await stream.receive_some()
        await stream.send_all(b"220 go on\r\n")
        secured = trio.SSLStream(stream, context, server_side=True)
        heard.append(bytes(await secured.receive_some()))
        await secured.send_all(b"250-mx\r\n250 AUTH PLAIN\r\n")
        heard.append(bytes(await secured.receive_some()))
        await secured.send_all(b"235 ok\r\n")
        await secured.receive_some()


async def _tls(stream: trio.abc.Stream, context: ssl.SSLContext, heard: list[bytes]) -> None:
    with suppress(trio.BrokenResourceError):
        heard.append(bytes(await trio.SSLStream(stream, context, server_side=True).receive_some()))


@pytest.mark.parametrize("how", ["starttls", "smtps", "imaps"])
@pytest.mark.parametrize(("name", "good"), _CASES)
async def test_a_certificate_of_another_name_is_none(
    tmp_path: Path, how: str, name: str, good: bool
) -> None:
    """Though it is signed by who is trusted."""
    authority, ca_file = trustme.CA(), str(tmp_path / "ca.pem")
    authority.cert_pem.write_to_path(ca_file)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    heard: list[bytes] = []
    serve = partial(_smtp if how == "starttls" else _tls, context=context, heard=heard)
    async with trio.open_nursery() as nursery:
        serving = partial(trio.serve_tcp, serve, 0, host="127.0.0.1")
        [listener] = await nursery.start(serving)
        port = listener.socket.getsockname()[1]
        failed = False
        try:
            with trio.fail_after(60):
                await _reach(how, port, ca_file)
        except (OSError, trio.BrokenResourceError):
            failed = True
        assert failed is not good
        assert any(b"AUTH" in one for one in heard) is (good and how == "starttls")
        nursery.cancel_scope.cancel()


async def _reach(how: str, port: int, ca_file: str) -> None:
    if how == "imaps":
        server = Imap(host="127.0.0.1", port=port, ca_file=ca_file).server
        stream = await connect(server)
        await trio.aclose_forcefully(stream)
        return
    tls: Literal["starttls", "tls"] = "starttls" if how == "starttls" else "tls"
    smtp = Smtp(host="127.0.0.1", port=port, tls=tls, user="u", ca_file=ca_file)
    if how == "smtps":
        await trio.aclose_forcefully(await connect(smtp.server))
        return
    link = await Link.open(evolve(SETTINGS, smtp=smtp), "a secret")
    await trio.aclose_forcefully(link._stream)
