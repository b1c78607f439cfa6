"""Files in sealed chunks (protocol.md §2.5).

Each file has a random key and id. Chunk i of n is sealed under the key for exactly that place in
exactly that file; the message that tells of the file carries the key, the size, and the hashes of
the whole and of every sealed chunk. The relay sees n opaque pieces.

What `FileOpener.open` returns is to be written to a temporary file, and shown or moved to its
place only after `finish`.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Final

from attrs import field, frozen

from ofcd.e2e.bodies import FILE_CHUNKS, FileRef
from ofcd.e2e.contexts import attachment_context
from ofcd.e2e.errors import FileRejected
from ofcd.e2e.keys import new_blob_id
from ofcd.e2e.names import visible_text
from ofcd.protocol.ids import BlobId, Hash32, RoomId, sha256
from ofcd.protocol.limits import CHUNK_BYTES
from ofcd.themis import CannotOpen, generate_key, seal, unseal

__all__ = [
    "FILE_BYTES",
    "FileOpener",
    "FileSealer",
    "SealedChunk",
    "chunk_count",
    "open_chunk",
    "safe_file_name",
    "safe_mime",
    "seal_chunk",
]

FILE_BYTES: Final = FILE_CHUNKS * CHUNK_BYTES
"""The largest file whose chunk hashes fit one message: 240 MiB."""
_FILE_NAME_BYTES: Final = 200
"""Room for a suffix within the 255 bytes that file systems allow."""
_SEPARATORS: Final = re.compile(r"[/\\]")
_FORBIDDEN: Final = re.compile(r'[<>:"|?*]')
_DEVICES: Final = re.compile(r"(con|prn|aux|nul|com[\d¹²³]|lpt[\d¹²³])\s*(\..*)?", re.IGNORECASE)
_MIME: Final = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}")
_NO_NAME: Final = "file"
_NO_MIME: Final = "application/octet-stream"


@frozen
class SealedChunk:
    """One chunk as the relay gets it."""

    index: int
    count: int
    data: bytes = field(repr=False)


def chunk_count(size: int) -> int:
    """Chunks of a file of `size` bytes; an empty file has none."""
    return -(-size // CHUNK_BYTES)


def seal_chunk(
    room: RoomId, blob_id: BlobId, key: bytes, size: int, index: int, chunk: bytes
) -> bytes:
    """Chunk `index` of a file of `size` bytes, sealed for its place."""
    return seal(key, chunk, attachment_context(room, blob_id, index, chunk_count(size), size))


def open_chunk(room: RoomId, ref: FileRef, index: int, sealed: bytes) -> bytes:
    """Chunk `index` of the file; raises `FileRejected` if it is not that, whole and unchanged."""
    if not 0 <= index < len(ref.chunks) or sha256(sealed) != ref.chunks[index]:
        raise FileRejected("a piece of the file is not the one its sender sent")
    context = attachment_context(room, ref.blob_id, index, len(ref.chunks), ref.size)
    try:
        chunk = unseal(ref.key, sealed, context)
    except CannotOpen:
        raise FileRejected("a piece of the file does not open in its place") from None
    if len(chunk) != _chunk_bytes(ref.size, index):
        raise FileRejected("a piece of the file is not as long as it should be")
    return chunk


class FileSealer:
    """Seals a file of known size, chunk after chunk, and then describes it."""

    def __init__(self, room: RoomId, size: int) -> None:
        if not 0 <= size <= FILE_BYTES:
            raise FileRejected(f"a file of {size} bytes is too large: {FILE_BYTES} fit")
        self._room = room
        self._size = size
        self._key = generate_key()
        self._whole = hashlib.sha256()
        self._hashes: list[Hash32] = []
        self.blob_id = new_blob_id()
        self.count = chunk_count(size)

    def seal(self, chunk: bytes) -> SealedChunk:
        """The next chunk: CHUNK_BYTES, but for the last. Raises `FileRejected`."""
        index = len(self._hashes)
        if index >= self.count or len(chunk) != _chunk_bytes(self._size, index):
            raise FileRejected("the file changed its size while it was read")
        data = seal_chunk(self._room, self.blob_id, self._key, self._size, index, chunk)
        self._whole.update(chunk)
        self._hashes.append(sha256(data))
        return SealedChunk(index, self.count, data)

    def finish(self, name: str, mime: str = _NO_MIME, caption: str = "") -> FileRef:
        """What the message says of the file, once all chunks are sealed; else `FileRejected`."""
        if len(self._hashes) != self.count:
            raise FileRejected("the file changed its size while it was read")
        return FileRef(
            blob_id=self.blob_id,
            key=self._key,
            size=self._size,
            sha256=Hash32(self._whole.digest()),
            chunks=tuple(self._hashes),
            name=safe_file_name(name),
            mime=safe_mime(mime),
            caption=caption,
        )


class FileOpener:
    """Opens a file chunk after chunk. Raises `FileRejected` at once for claims that contradict."""

    def __init__(self, room: RoomId, ref: FileRef, limit: int = FILE_BYTES) -> None:
        if ref.size > limit:
            raise FileRejected(f"the file claims {ref.size} bytes, and {limit} are allowed")
        if len(ref.chunks) != chunk_count(ref.size):
            raise FileRejected("the file does not have as many pieces as its size asks for")
        self._room = room
        self._ref = ref
        self._whole = hashlib.sha256()
        self._next = 0
        self.count = len(ref.chunks)

    def open(self, sealed: bytes) -> bytes:
        """The next chunk's plaintext; raises `FileRejected`."""
        chunk = open_chunk(self._room, self._ref, self._next, sealed)
        self._whole.update(chunk)
        self._next += 1
        return chunk

    def finish(self) -> None:
        """The file is whole and is the one that was sent; else `FileRejected`."""
        if self._next != self.count:
            raise FileRejected("pieces of the file are missing")
        if self._whole.digest() != self._ref.sha256:
            raise FileRejected("the file is not the one its sender described")


def safe_file_name(raw: str) -> str:
    """`raw` as a name to save under, in whatever folder the caller chose, on any system.

    No path, no hidden file, no device name, no control or reordering characters; at most 200
    bytes, the ending kept; "file" where nothing is left.
    """
    last = _SEPARATORS.split(raw)[-1]
    shown = visible_text(unicodedata.normalize("NFC", _FORBIDDEN.sub("_", last)))
    name = " ".join(shown.split()).strip(". ")
    if _DEVICES.fullmatch(name):
        name = f"_{name}"
    return _shorten(name) or _NO_NAME


def safe_mime(raw: str) -> str:
    """`raw` if it has the form of a media type, in lower case; else application/octet-stream."""
    lowered = raw.strip().lower()
    return lowered if _MIME.fullmatch(lowered) else _NO_MIME


def _shorten(name: str) -> str:
    if len(name.encode("utf-8")) <= _FILE_NAME_BYTES:
        return name
    stem, dot, ending = name.rpartition(".")
    if not dot or len(ending.encode("utf-8")) > 16:
        stem, dot, ending = name, "", ""
    room = _FILE_NAME_BYTES - len((dot + ending).encode("utf-8"))
    kept = stem.encode("utf-8")[:room].decode("utf-8", "ignore")
    return kept.rstrip(". ") + dot + ending


def _chunk_bytes(size: int, index: int) -> int:
    return min(CHUNK_BYTES, size - index * CHUNK_BYTES)
