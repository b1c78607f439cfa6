"""What a bot's process reports to its parent: its metrics, each time after their length."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

import trio

__all__ = ["MOST", "read_reports", "send_report"]

MOST: Final = 4 * 1024 * 1024
"""Bytes of one report; who sends more is not listened to any longer."""
_LENGTH: Final = struct.Struct(">I")
_CHUNK: Final = 64 * 1024


async def send_report(stream: trio.abc.SendStream, text: bytes) -> None:
    """Send one report."""
    await stream.send_all(_LENGTH.pack(len(text)) + text)


async def read_reports(stream: trio.abc.ReceiveStream, keep: Callable[[str], None]) -> None:
    """Hand over each report, until the other end is gone."""
    held = bytearray()
    async for chunk in stream:
        held += chunk
        while len(held) >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(held)
            if size > MOST:
                return
            end = _LENGTH.size + size
            if len(held) < end:
                break
            keep(held[_LENGTH.size : end].decode(errors="replace"))
            del held[:end]
