"""Attachments: from a file to sealed chunks at the relay, and back (protocol.md §2.5)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import trio

from ofcd.client.core import refusal
from ofcd.client.errors import BadAttachment, Offline, RelayRefused
from ofcd.e2e.attachments import FILE_BYTES, FileOpener, FileSealer, SealedChunk, safe_file_name
from ofcd.e2e.bodies import FileRef
from ofcd.e2e.errors import FileRejected
from ofcd.errors import OfcError
from ofcd.protocol.codes import RETRYABLE, Code
from ofcd.protocol.frames import Blob, BlobGet, BlobPut, ClientFrame, Done, Failure
from ofcd.protocol.ids import BlobId
from ofcd.protocol.limits import CHUNK_BYTES

if TYPE_CHECKING:
    from ofcd.client.rooms import Room

__all__ = ["DEFAULT_LIMIT", "READ_LIMIT", "download", "read", "upload"]

DEFAULT_LIMIT: Final = FILE_BYTES
"""Bytes: the largest file that can be sent at all."""
READ_LIMIT: Final = 1024 * 1024
"""Bytes of a file that is read into memory, unless its reader says otherwise."""
_AGAIN_SECONDS: Final = 1.0

Progress = Callable[[int, int], None]
F = TypeVar("F", Done, Blob)


async def upload(
    room: Room,
    source: Path | bytes,
    name: str | None,
    mime: str,
    caption: str,
    progress: Progress | None,
) -> FileRef:
    """Seal a file, or bytes, and store it at the relay; what the message is to say of it.

    Raises `NotAllowed` (forbidden) where this member may send none.
    """
    if not room.may_attach:
        raise refusal(Code.FORBIDDEN.value)
    async with _opened(source) as (next_chunk, size):
        try:
            sealer = FileSealer(room.id, size)
        except FileRejected as error:
            raise BadAttachment(str(error)) from None
        with _noted(room, sealer.blob_id):
            for done in range(sealer.count):
                sealed = sealer.seal(await next_chunk())

                def put(rid: int, s: SealedChunk = sealed) -> ClientFrame:
                    return BlobPut(rid, room.id, sealer.blob_id, s.index, s.count, s.data)

                await _ask(room, put, Done)
                if progress is not None:
                    progress(done + 1, sealer.count)
            known = source.name if isinstance(source, Path) else "file"
            return sealer.finish(known if name is None else name, mime, caption)


@contextmanager
def _noted(room: Room, blob: BlobId) -> Iterator[None]:
    """What is stored is forgotten again at the relay, unless a message comes to tell of it."""
    client = room._client
    drops = client._machine(room.id).drops
    with client.transaction() as tx:
        drops.begin(tx, blob)
    try:
        yield
    except BaseException as error:
        with suppress(OfcError), client.transaction() as tx:  # a client that closed: next time
            drops.give_up(tx, blob)
            tx.on_commit(client._connection(room.id).stir)
        if isinstance(error, FileRejected):
            raise BadAttachment(str(error)) from None
        raise


@asynccontextmanager
async def _opened(
    source: Path | bytes,
) -> AsyncIterator[tuple[Callable[[], Awaitable[bytes]], int]]:
    """What gives its next chunk, and how many bytes there are."""
    if isinstance(source, bytes):
        chunks = iter(range(0, len(source), CHUNK_BYTES))

        async def from_memory() -> bytes:
            await trio.lowlevel.checkpoint()
            at = next(chunks, len(source))
            return source[at : at + CHUNK_BYTES]

        yield from_memory, len(source)
        return
    async with await trio.open_file(source, "rb") as file:

        async def from_disk() -> bytes:
            return await file.read(CHUNK_BYTES)

        yield from_disk, (await trio.Path(source).stat()).st_size


async def download(
    room: Room,
    ref: FileRef,
    target: Path,
    limit: int,
    progress: Progress | None,
) -> Path:
    """Fetch and check a file; it stands at its place only once all of it is right."""
    if await trio.Path(target).is_dir():
        target = await _free_name(target / safe_file_name(ref.name))
    part = trio.Path(target.with_name(target.name + ".part"))
    try:
        async with await trio.open_file(part, "wb") as file:
            await _fetch(room, ref, limit, file.write, progress)
        await part.rename(target)
    finally:
        with trio.CancelScope(shield=True):
            await part.unlink(missing_ok=True)
    return target


async def read(room: Room, ref: FileRef, limit: int) -> bytes:
    """Fetch and check a file that is to be on no disk."""
    parts: list[bytes] = []

    async def keep(part: bytes) -> None:
        parts.append(part)

    await _fetch(room, ref, limit, keep, None)
    return b"".join(parts)


async def _fetch(
    room: Room,
    ref: FileRef,
    limit: int,
    write: Callable[[bytes], Awaitable[object]],
    progress: Progress | None,
) -> None:
    try:
        opener = FileOpener(room.id, ref, limit)
        for index in range(opener.count):

            def get(rid: int, i: int = index) -> ClientFrame:
                return BlobGet(rid, room.id, ref.blob_id, i)

            blob = await _ask(room, get, Blob)
            await write(opener.open(blob.chunk))
            if progress is not None:
                progress(index + 1, opener.count)
        opener.finish()
    except FileRejected as error:
        raise BadAttachment(str(error)) from None


async def _free_name(wanted: Path) -> Path:
    """`wanted`, or the first of `name (1).ext`, … that does not exist."""
    path, number = wanted, 0
    while await trio.Path(path).exists():
        number += 1
        path = wanted.with_name(f"{wanted.stem} ({number}){wanted.suffix}")
    return path


async def _ask(room: Room, make: Callable[[int], ClientFrame], cls: type[F]) -> F:
    """The answer to a request that may be repeated harmlessly; through reconnects and waits.

    Raises `Offline` if there was none in time; if the relay put it off all the time, by its words.
    """
    client = room._client
    connection = client._connection(room.id)
    why = "the relay did not answer"
    with trio.move_on_after(client.patience):
        while True:
            frame = await client._request(room.id, make)
            if isinstance(frame, cls):
                connection.put_off = ""
                return frame
            if isinstance(frame, Failure):
                _check(frame)
                connection.put_off = f"{frame.text} ({frame.code})"
                why = f"the relay puts it off: {connection.put_off}"
                await trio.sleep(max(frame.wait / 1000, _AGAIN_SECONDS))
    raise Offline(f"{why}; given up after {client.patience:g} s")


def _check(failure: Failure) -> None:
    """Raises unless the same request may succeed in a while."""
    if failure.code not in RETRYABLE and failure.code != Code.NOT_ATTACHED:
        raise RelayRefused(failure.code, failure.text)
