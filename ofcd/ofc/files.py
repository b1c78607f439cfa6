"""Attachments with a progress bar."""

from __future__ import annotations

import mimetypes
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeVar

import trio

from ofcd.client import Room, Sent
from ofcd.ofc.context import Context
from ofcd.ofc.errors import CommandError, FileMissing
from ofcd.ofc.held import Held
from ofcd.protocol.limits import CHUNK_BYTES

__all__ = ["fetch_file", "send_file"]

T = TypeVar("T")
Progress = Callable[[int, int], None]
_UNKNOWN: Final = "application/octet-stream"


async def send_file(context: Context, room: Room, file: str, caption: str) -> Sent:
    """Send the file at this path. Raises `CommandError` if it is missing or can not be read."""
    path = Path(file)
    if not await trio.Path(path).is_file():
        raise FileMissing(f"there is no file at {path}")

    async def transfer(progress: Progress) -> Sent:
        return await room.send_file(
            path,
            mime=mimetypes.guess_type(path.name)[0] or _UNKNOWN,
            caption=caption,
            progress=progress,
        )

    try:
        size = (await trio.Path(path).stat()).st_size
        return await _with_progress(context, path.name, size, transfer)
    except OSError as error:
        raise CommandError(f"{path} can not be read ({error.strerror})") from error


async def fetch_file(context: Context, room: Room, seq: int, size: int, folder: Path) -> Path:
    """Fetch the attachment of message `seq` into a directory, which is made where it is missing.

    Raises `CommandError` if nothing can be written there, else what `Room.fetch_file` raises.
    """
    name = f"#{seq}"

    async def transfer(progress: Progress) -> Path:
        return await room.fetch_file(seq, folder, progress=progress)

    try:
        await trio.Path(folder).mkdir(parents=True, exist_ok=True)
        return await _with_progress(context, name, size, transfer)
    except OSError as error:
        raise CommandError(f"nothing can be saved in {folder} ({error.strerror})") from error


async def _with_progress(
    context: Context, what: str, size: int, transfer: Callable[[Progress], Awaitable[T]]
) -> T:
    """Run a transfer that counts chunks; what it last counted is shown at the reader's pace."""
    done, changed = 0, trio.Event()
    results: list[T] = []
    held = Held(OSError)

    def count(chunks: int, _: int) -> None:
        nonlocal done
        done = min(size, chunks * CHUNK_BYTES)
        changed.set()

    async def show() -> None:
        nonlocal changed
        while True:
            changed = trio.Event()
            await context.progress(what, done, size)
            await changed.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(show)
        with held:
            results.append(await transfer(count))
        nursery.cancel_scope.cancel()
    held.release()
    return results[0]
