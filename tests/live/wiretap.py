"""A TCP proxy that keeps every byte, and reads what stands behind WebSocket's masks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from attrs import define, field

__all__ = ["Wiretap", "open_wiretap", "unmasked"]


@define
class Wiretap:
    """Everything that went by, each direction of each connection by itself."""

    port: int = 0
    streams: list[bytearray] = field(factory=list)

    @property
    def url(self) -> str:
        """Where clients reach the relay through it."""
        return f"ws://127.0.0.1:{self.port}"

    def everything(self) -> bytes:
        """All bytes as they went by, and once more without their masks."""
        raw = [bytes(stream) for stream in self.streams]
        return b"\n".join(raw + [unmasked(stream) for stream in raw])


@asynccontextmanager
async def open_wiretap(relay_port: int) -> AsyncIterator[Wiretap]:
    """A proxy before a relay on this machine."""
    tap = Wiretap()

    async def serve(near: trio.SocketStream) -> None:
        far = await trio.open_tcp_stream("127.0.0.1", relay_port)
        async with far, trio.open_nursery() as nursery:
            nursery.start_soon(carry, near, far, nursery.cancel_scope)
            nursery.start_soon(carry, far, near, nursery.cancel_scope)

    async def carry(
        source: trio.SocketStream, target: trio.SocketStream, scope: trio.CancelScope
    ) -> None:
        kept = bytearray()
        tap.streams.append(kept)
        try:
            async for data in source:
                kept.extend(data)
                await target.send_all(data)
        except trio.BrokenResourceError:
            pass
        scope.cancel()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve, 0)
        tap.port = listeners[0].socket.getsockname()[1]
        yield tap
        nursery.cancel_scope.cancel()


def unmasked(stream: bytes) -> bytes:
    """The payloads of a WebSocket stream, behind its HTTP head, joined (RFC 6455 section 5.2)."""
    at = stream.find(b"\r\n\r\n") + 4
    payloads = bytearray()
    while at + 2 <= len(stream):
        length, masked, at = stream[at + 1] & 0x7F, stream[at + 1] & 0x80, at + 2
        if length >= 126:
            size = 2 if length == 126 else 8
            length, at = int.from_bytes(stream[at : at + size], "big"), at + size
        mask = stream[at : at + 4] if masked else b""
        at += len(mask)
        payload = stream[at : at + length]
        at += length
        if mask:
            key = (mask * (len(payload) // 4 + 1))[: len(payload)]
            number = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
            payload = number.to_bytes(len(payload), "big")
        payloads += payload
    return bytes(payloads)
