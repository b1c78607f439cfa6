"""An internet in memory: names, addresses, and sites that speak real HTTP over memory streams."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import h11
import httpcore
import trio
import trio.testing
from attrs import define, field, frozen

__all__ = ["PRIVATE", "PUBLIC", "Asked", "Internet", "Reply", "Stream"]

PUBLIC = "93.184.216.34"
PRIVATE = "10.0.0.7"


@frozen
class Asked:
    """A request that came to a site."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes


@frozen
class Reply:
    """What a site answers: pieces of a body, and seconds before each; `cut`: without its end."""

    status: int = 200
    body: bytes | list[bytes] = b""
    headers: dict[str, str] = field(factory=dict)
    pause: float = 0.0
    cut: bool = False


Site = Callable[[Asked], Reply]


class Stream(httpcore.AsyncNetworkStream):
    """A memory stream as httpcore wants it."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        with trio.move_on_after(timeout or float("inf")):
            try:
                return bytes(await self._stream.receive_some(max_bytes))
            except trio.BrokenResourceError:
                raise httpcore.ReadError from None
        raise httpcore.ReadTimeout

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        try:
            await self._stream.send_all(buffer)
        except trio.BrokenResourceError:
            raise httpcore.WriteError from None

    async def aclose(self) -> None:
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        return None


@define(eq=False)
class Internet(httpcore.AsyncNetworkBackend):
    """Sites by name. A name's addresses may be another list at each question (DNS rebinding)."""

    nursery: trio.Nursery
    sites: dict[str, Site] = field(factory=dict)
    names: dict[str, list[list[str]]] = field(factory=dict)
    asked: list[Asked] = field(factory=list)
    connected: list[str] = field(factory=list)
    """The addresses that were connected to."""
    _last: str = ""

    def site(self, host: str, site: Site, *addresses: list[str]) -> None:
        """Put a site on the net; by default at a public address."""
        self.sites[host] = site
        self.names[host] = list(addresses) or [[PUBLIC]]

    @property
    def backend(self) -> httpcore.AsyncNetworkBackend:
        return self

    async def resolve(self, host: str, port: int) -> list[str]:
        await trio.lowlevel.checkpoint()
        if host not in self.names:
            if host.replace(".", "").isdigit() or ":" in host:
                return [host]
            raise OSError("no such name")
        answers = self.names[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.connected.append(host)
        ours, theirs = trio.testing.memory_stream_pair()
        self.nursery.start_soon(self._serve, theirs)
        return Stream(ours)

    async def _serve(self, stream: trio.abc.Stream) -> None:
        http = h11.Connection(h11.SERVER)
        try:
            async with stream:
                asked = await _read(stream, http)
                self.asked.append(asked)
                host = asked.headers["host"].partition(":")[0]
                await _write(stream, http, self.sites[host](asked))
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            return  # who asked hung up


async def _read(stream: trio.abc.Stream, http: h11.Connection) -> Asked:
    head: h11.Request | None = None
    body = b""
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(bytes(await stream.receive_some(65_536)))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        else:
            assert head is not None
            headers = {name.decode(): value.decode() for name, value in head.headers}
            return Asked(head.method.decode(), head.target.decode(), headers, body)


async def _write(stream: trio.abc.Stream, http: h11.Connection, reply: Reply) -> None:
    pieces = [reply.body] if isinstance(reply.body, bytes) else reply.body
    headers = [("connection", "close"), ("transfer-encoding", "chunked"), *reply.headers.items()]
    await stream.send_all(http.send(h11.Response(status_code=reply.status, headers=headers)) or b"")
    for piece in pieces:
        await trio.sleep(reply.pause)
        await stream.send_all(http.send(h11.Data(data=piece)) or b"")
    if not reply.cut:
        await stream.send_all(http.send(h11.EndOfMessage()) or b"")
