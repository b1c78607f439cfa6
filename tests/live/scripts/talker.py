"""Say some things in the vault's only room, for test_kill: started as often as it is killed.

Arguments: the vault, how many messages. What was said is counted in the same transaction that
queues it, so each is queued once; the program ends when all are acknowledged.
"""

from __future__ import annotations

import sys
from pathlib import Path

import trio

from ofcd.client import open_client
from ofcd.client.vault import Vault
from tests.live.support import KEY


async def main(path: Path, messages: int) -> None:
    with Vault.open(path, KEY) as vault:
        async with open_client(vault) as client:
            [room] = client.rooms
            while (number := int(vault.get("app/talker", b"next") or b"0")) < messages:
                with client.transaction() as tx:
                    room.queue(tx, f"message {number}")
                    tx.put("app/talker", b"next", str(number + 1).encode())
                await trio.sleep(0.02)
            while room.outbox():  # noqa: ASYNC110 - as a program without events would
                await trio.sleep(0.02)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
