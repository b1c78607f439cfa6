"""A member with the capability of a bridge, which says what people elsewhere are said to say.

Arguments: the vault of one room. Each line on its input is a JSON list: the network, the id and the
name that somebody has there, and the words; `sent` is printed once it stands in the log. The
passphrase is OFC_PASSPHRASE.
"""

from __future__ import annotations

import json
import os
import sys

import trio

from ofcd.client import Vault, open_client
from ofcd.e2e.bodies import Via


async def _main(path: str) -> None:
    with Vault.open(path, os.environ["OFC_PASSPHRASE"]) as vault:
        async with open_client(vault) as client:
            [room] = client.rooms
            while line := await trio.to_thread.run_sync(sys.stdin.readline):
                network, remote_id, name, words = json.loads(line)
                await room.send(words, via=Via(network, remote_id, name))
                print("sent", flush=True)


if __name__ == "__main__":
    trio.run(_main, sys.argv[1])
