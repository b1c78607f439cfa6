"""A member who says whatever it is told to, as no honest client would.

Arguments: the vault of one room. Each line on its input is a JSON list: a body's type and its
content (docs/protocol.md, Sending), and maybe how many times; `"target": "last"` is the newest
message of words. `sent` is printed after each. The passphrase is OFC_PASSPHRASE.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import trio

from ofcd.client import Room, Vault, open_client
from ofcd.e2e.bodies import BODY_TYPES
from ofcd.protocol.codec import build
from ofcd.protocol.ids import b64encode


async def _say(room: Room, kind: str, content: dict[str, Any]) -> None:
    for name in ("target", "reply_to"):
        if content.get(name) == "last":
            said = [message for message in room.messages() if message.text]
            content = {**content, name: b64encode(said[-1].event_id)}
    await room.send_body(build(BODY_TYPES[kind], content))


async def _main(path: str) -> None:
    with Vault.open(path, os.environ["OFC_PASSPHRASE"]) as vault:
        async with open_client(vault) as client:
            [room] = client.rooms
            while line := await trio.to_thread.run_sync(sys.stdin.readline):
                kind, content, *times = json.loads(line)
                for _ in range(times[0] if times else 1):
                    await _say(room, kind, content)
                print("sent", flush=True)


if __name__ == "__main__":
    trio.run(_main, sys.argv[1])
