"""Attachments: from a file to sealed chunks at the relay, and back (protocol.md §2.5)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import trio

from ofcd.client.core import refusal
from ofcd.client.errors import BadAttachment, Offline, RelayRefused
from ofcd.e2e.attachments import FILE_BYTES, FileOpener, FileSealer, SealedChunk, safe_file_name
from ofcd.e2e.bodies import FileRef
from ofcd.e2e.errors import FileRejected
from ofcd.protocol.codes import RETRYABLE, Code
from ofcd.protocol.frames import Blob, BlobGet, BlobPut, ClientFrame, Done, Failure
from ofcd.protocol.limits import CHUNK_BYTES

if TYPE_CHECKING:
    from ofcd.client.rooms import Room

__all__ = ["DEFAULT_LIMIT", "download", "upload"]

DEFAULT_LIMIT: Final = FILE_BYTES
"""Bytes: the largest file that can be sent at all."""
_AGAIN_SECONDS: Final = 1.0

Progress = Callable[[int, int], None]
F = TypeVar("F", Done, Blob)


async def upload(
    room: Room,
    path: Path,
    name: str | None,
    mime: str,
    caption: str,
    progress: Progress | None,
) -> FileRef:
    """Seal a file and store it at the relay; what the message is to say of it.

    Raises `NotAllowed` (forbidden) where this member may send none.
    """
    if not room.may_attach:
        raise refusal(Code.FORBIDDEN.value)
    async with await trio.open_file(path, "rb") as file:
        size = (await trio.Path(path).stat()).st_size
        try:
            sealer = FileSealer(room.id, size)
            for done in range(sealer.count):
                sealed = sealer.seal(await file.read(CHUNK_BYTES))

                def put(rid: int, s: SealedChunk = sealed) -> ClientFrame:
                    return BlobPut(rid, room.id, sealer.blob_id, s.index, s.count, s.data)

                await _ask(room, put, Done)
                if progress is not None:
                    progress(done + 1, sealer.count)
            return sealer.finish(name if name is not None else path.name, mime, caption)
        except FileRejected as error:
            raise BadAttachment(str(error)) from None


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
        opener = FileOpener(room.id, ref, limit)
        async with await trio.open_file(part, "wb") as file:
            for index in range(opener.count):

                def get(rid: int, i: int = index) -> ClientFrame:
                    return BlobGet(rid, room.id, ref.blob_id, i)

                blob = await _ask(room, get, Blob)
                await file.write(opener.open(blob.chunk))
                if progress is not None:
                    progress(index + 1, opener.count)
        opener.finish()
        await part.rename(target)
    except FileRejected as error:
        raise BadAttachment(str(error)) from None
    finally:
        with trio.CancelScope(shield=True):
            await part.unlink(missing_ok=True)
    return target


async def _free_name(wanted: Path) -> Path:
    """`wanted`, or the first of `name (1).ext`, … that does not exist."""
    path, number = wanted, 0
    while await trio.Path(path).exists():
        number += 1
        path = wanted.with_name(f"{wanted.stem} ({number}){wanted.suffix}")
    return path


async def _ask(room: Room, make: Callable[[int], ClientFrame], cls: type[F]) -> F:
    """The answer to a request that may be repeated harmlessly; through reconnects and waits."""
    patience = room._client.patience
    with trio.move_on_after(patience):
        while True:
            frame = await room._client._request(room.id, make)
            if isinstance(frame, cls):
                return frame
            if isinstance(frame, Failure):
                _check(frame)
                wait = (frame.retry_after or 0) / 1000
                await trio.sleep(max(wait, _AGAIN_SECONDS))
    raise Offline(f"the relay did not answer within {patience:g} s")


def _check(failure: Failure) -> None:
    """Raises unless the same request may succeed in a while."""
    if failure.code not in RETRYABLE and failure.code != Code.NOT_ATTACHED:
        raise RelayRefused(failure.code, failure.text)
