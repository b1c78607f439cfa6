"""Which files are pictures, and pictures without what was written into them (trio)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import trio

__all__ = ["CLEANABLE", "Unclean", "as_it_may_leave", "kind_of"]

CLEANABLE: Final = ("image/jpeg", "image/png", "image/webp")
_CLEANER: Final = Path(__file__).with_name("cleaner.py")
_SECONDS: Final = 60.0
_BRANDS: Final = (b"heic", b"heix", b"heif", b"hevc", b"mif1", b"msf1", b"avif", b"avis")
_OTHERS: Final = (b"GIF8", b"II*\0", b"MM\0*", b"BM", b"\0\0\1\0", b"\xff\x0a", b"8BPS")
_ONE_AT_A_TIME: Final = trio.CapacityLimiter(1)


class Unclean(Exception):
    """A picture that is not handed out, since what it may tell could not be taken out of it."""


def kind_of(content: bytes, media_type: str) -> str:
    """The kind of a file by its own bytes, as far as pictures go; else what it is said to be."""
    if content[:3] == b"\xff\xd8\xff":
        return "image/jpeg"
    if content[:8] == b"\x89PNG\r\n\x1a\n":
        return "image/png"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    if content.startswith(_OTHERS) or (content[4:8] == b"ftyp" and content[8:12] in _BRANDS):
        return "image/x-other"
    claimed = media_type.partition(";")[0].strip().lower()
    return "image/x-other" if claimed in CLEANABLE else claimed


async def as_it_may_leave(content: bytes, media_type: str) -> tuple[bytes, str]:
    """A file and its kind; of a picture only the pixels.

    Raises `Unclean` for pictures of other kinds, moving ones, and broken ones.
    """
    kind = kind_of(content, media_type)
    if kind not in CLEANABLE:
        if kind.startswith("image/"):
            raise Unclean("pictures of this kind can not be freed of what cameras write into them")
        return content, kind
    async with _ONE_AT_A_TIME:
        made = b""
        with trio.move_on_after(_SECONDS):
            done = await trio.run_process(
                [sys.executable, "-P", str(_CLEANER)],
                stdin=content,
                capture_stdout=True,
                stderr=subprocess.DEVNULL,
                check=False,
                env={},
            )
            made = done.stdout if done.returncode == 0 else b""
    if not made:
        raise Unclean("what the camera wrote into the picture could not be taken out")
    return made, kind
