"""What links open, on the disk: one box a file, its name the box's id.

Who has the disk has sizes and ends of life, and nothing of the content or the names: the key of a
box stands in its link.
"""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final

import trio
from attrs import field, frozen

from ofcd.client.boxes import ID_BYTES, Box, WrongKey, new_box_key

__all__ = ["Kept", "Shelf"]

_MAGIC: Final = b"OFCBOX1\n"
_HEAD: Final = struct.Struct(">QI")
_HEAD_BYTES: Final = 4096
_PART: Final = 256 * 1024
_OVERHEAD: Final = 44
_NAME: Final = re.compile(rf"[0-9a-f]{{{ID_BYTES * 2}}}(\.part)?")


@frozen
class Kept:
    """What a box holds, once its head is open."""

    name: str = field(repr=False)
    """Untrusted."""
    media_type: str
    size: int
    inner: bytes = field(repr=False)
    at: int
    """Where its parts begin in the file."""


class Shelf:
    """Boxes in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, box_id: bytes) -> Path:
        """Where a box is; made of its id alone."""
        return self._folder / box_id.hex()

    async def keep(
        self, box: Box, name: str, media_type: str, content: bytes, passphrase: str
    ) -> None:
        """Put something there; it is on the disk when this returns. Raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        inner = new_box_key()
        about = {"name": name, "type": media_type, "size": len(content), "inner": inner.hex()}
        head = box.seal_head(json.dumps(about).encode(), passphrase)
        part = self.path(box.id).with_suffix(".part")
        try:
            number = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(number, "wb") as file:
                file.write(_MAGIC + _HEAD.pack(box.expires, len(head)) + head)
                for index, at in enumerate(range(0, len(content), _PART)):
                    # A quarter of a megabyte at a time: others' turn comes in between.
                    file.write(box.seal_part(content[at : at + _PART], index, inner))
                    await trio.lowlevel.checkpoint()
                file.flush()
                os.fsync(file.fileno())
            part.rename(self.path(box.id))
        finally:
            part.unlink(missing_ok=True)

    def head(self, key: bytes, expires: int) -> tuple[Box, bytes] | None:
        """The box that a key opens, and its sealed head; None where there is none."""
        box = Box(key, expires)
        try:
            with self.path(box.id).open("rb") as file:
                magic, raw = file.read(len(_MAGIC)), file.read(_HEAD.size)
                if magic != _MAGIC or len(raw) != _HEAD.size:
                    return None
                said, length = _HEAD.unpack(raw)
                if said != expires or length > _HEAD_BYTES:
                    return None
                return box, file.read(length)
        except OSError:
            return None

    def open(self, box: Box, head: bytes, passphrase: str = "") -> Kept:
        """What it holds. Raises `WrongKey`; stretching a passphrase takes a while."""
        about = json.loads(box.open_head(head, passphrase))
        at = len(_MAGIC) + _HEAD.size + len(head)
        return Kept(about["name"], about["type"], about["size"], bytes.fromhex(about["inner"]), at)

    async def parts(self, box: Box, kept: Kept) -> AsyncGenerator[bytes, None]:
        """The content, part by part. Raises `WrongKey` and OSError for what was changed or cut."""
        with self.path(box.id).open("rb") as file:
            file.seek(kept.at)
            for index, at in enumerate(range(0, kept.size, _PART)):
                length = min(_PART, kept.size - at)
                part = box.open_part(file.read(length + _OVERHEAD), index, kept.inner)
                if len(part) != length:
                    raise WrongKey("a part is cut")
                yield part
                await trio.lowlevel.checkpoint()

    def drop(self, box_id: bytes) -> None:
        """Remove a box; the disk may be gone with it."""
        try:
            self.path(box_id).unlink(missing_ok=True)
        except OSError:
            return  # what is not known any more is not served either

    def tidy(self, known: frozenset[bytes]) -> None:
        """Remove what no link opens any more: left by a crash, or by an older vault."""
        try:
            names = [one.name for one in self._folder.iterdir()]
        except OSError:
            return
        for name in names:
            if _NAME.fullmatch(name) and bytes.fromhex(name[: ID_BYTES * 2]) not in known:
                (self._folder / name).unlink(missing_ok=True)
