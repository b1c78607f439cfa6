"""The words that Outlook packs into winmail.dat: compressed rich text ([MS-OXRTFCP])."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

__all__ = ["rich_texts"]

_MAGIC: Final = b"LZFu"
_START: Final = (
    rb"{\rtf1\ansi\mac\deff0\deftab720{\fonttbl;}{\f0\fnil \froman \fswiss \fmodern \fscript "
    rb"\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\colortbl\red0\green0\blue0"
    b"\r\n"
    rb"\par \pard\plain\f0\fs20\b\i\u\tab\tx"
)
"""What every such text may refer to before it has said anything."""
_WINDOW: Final = 4096
_AT_MOST: Final = 4 * 1024 * 1024
_TEXTS: Final = 4


def rich_texts(raw: bytes) -> Iterator[bytes]:
    """What is packed in it, as far as it can be read; the first few."""
    at = -1
    for _ in range(_TEXTS):
        at = raw.find(_MAGIC, at + 1)
        if at < 8:
            return
        (packed,) = struct.unpack_from("<I", raw, at - 8)
        yield _unpacked(raw[at + 8 : at - 4 + min(packed, len(raw))])


def _unpacked(raw: bytes) -> bytes:
    made = bytearray(_START)
    at = 0
    while at < len(raw) and len(made) < _AT_MOST:
        control = raw[at]
        at += 1
        for bit in range(8):
            if at >= len(raw):
                break
            if not control >> bit & 1:
                made.append(raw[at])
                at += 1
                continue
            if at + 2 > len(raw):
                return bytes(made[len(_START) :])
            pair = raw[at] << 8 | raw[at + 1]
            at += 2
            back = (len(made) - (pair >> 4)) % _WINDOW
            if not back or back > len(made):
                return bytes(made[len(_START) :])
            for _ in range((pair & 15) + 2):
                made.append(made[-back])
    return bytes(made[len(_START) :])
