"""A member who looks at the thumbnails of pictures, and sends some that no honest client makes.

Arguments: the vault of one room. Each line on its input is a JSON list: of a seq, whose thumbnail
is printed in base64; or of a name and a thumbnail in base64, sent with a file that is no picture,
after which `sent` is printed. The passphrase is OFC_PASSPHRASE.
"""

from __future__ import annotations

import json
import os
import sys
from base64 import b64decode, b64encode

import trio
from attrs import evolve

from ofcd.client import Room, Vault, open_client


async def _done(room: Room, asked: list[int | str]) -> str:
    match asked:
        case [int(seq)]:
            return b64encode(room.attachment(seq).thumb).decode()
        case [str(name), str(thumb)]:
            ref = await room.upload(b"no picture", name=name, mime="image/png")
            await room.send_body(evolve(ref, thumb=b64decode(thumb)))
            return "sent"
    raise ValueError(asked)


async def _main(path: str) -> None:
    with Vault.open(path, os.environ["OFC_PASSPHRASE"]) as vault:
        async with open_client(vault) as client:
            [room] = client.rooms
            while line := await trio.to_thread.run_sync(sys.stdin.readline):
                print(await _done(room, json.loads(line)), flush=True)


if __name__ == "__main__":
    trio.run(_main, sys.argv[1])
