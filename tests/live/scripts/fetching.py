"""A member who keeps what a file's message said, and fetches the file again whenever it is told to.

Arguments: the vault of one room, and the seq of the message. For each line on its input it tries
once, and prints `fetched` and the size, or the code by which the relay refuses. The passphrase is
OFC_PASSPHRASE. The message may be redacted meanwhile: who had its words had the file's key too.
"""

from __future__ import annotations

import os
import sys

import trio

from ofcd.client import RelayRefused, Room, Vault, open_client
from ofcd.client.files import read
from ofcd.e2e.bodies import FileRef
from ofcd.protocol.limits import MIB


async def _fetched(room: Room, ref: FileRef) -> str:
    try:
        return f"fetched {len(await read(room, ref, MIB))}"
    except RelayRefused as error:
        return error.code


async def _main(path: str, seq: int) -> None:
    with Vault.open(path, os.environ["OFC_PASSPHRASE"]) as vault:
        async with open_client(vault) as client:
            [room] = client.rooms
            ref = room.attachment(seq)
            while await trio.to_thread.run_sync(sys.stdin.readline):
                print(await _fetched(room, ref), flush=True)


if __name__ == "__main__":
    trio.run(_main, sys.argv[1], int(sys.argv[2]))
