"""What a road keeps of what goes by, and reading what stands behind WebSocket's masks."""

from __future__ import annotations

from attrs import define, field

__all__ = ["Wiretap", "unmasked"]


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
