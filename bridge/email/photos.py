"""Pictures without what cameras write into them: place, time, maker (EXIF, XMP, comments)."""

from __future__ import annotations

import struct
from typing import Final

__all__ = ["without_metadata"]

_JPEG: Final = b"\xff\xd8"
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_DROPPED: Final = frozenset({b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"tIME"})


def without_metadata(content: bytes) -> bytes:
    """A JPEG or PNG without its metadata; anything else, and what is broken, as it is."""
    try:
        if content[:2] == _JPEG:
            return _jpeg(content)
        if content[:8] == _PNG:
            return _png(content)
    except (struct.error, IndexError):
        pass
    return content


def _jpeg(content: bytes) -> bytes:
    made, at = [_JPEG], 2
    while content[at] == 0xFF and content[at + 1] != 0xDA:
        kind = content[at + 1]
        (size,) = struct.unpack_from(">H", content, at + 2)
        # APP0 (JFIF), APP2 (colours) and APP14 (Adobe's colours) are needed to show it right.
        if not (0xE0 <= kind <= 0xEF and kind not in (0xE0, 0xE2, 0xEE)) and kind != 0xFE:
            made.append(content[at : at + 2 + size])
        at += 2 + size
    return b"".join([*made, content[at:]])


def _png(content: bytes) -> bytes:
    made, at = [_PNG], 8
    while at < len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        if kind not in _PNG_DROPPED:
            made.append(content[at : at + 12 + size])
        at += 12 + size
    return b"".join(made)
