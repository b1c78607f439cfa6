"""A conversation of marker words, the secrets of who talks, and the search for both."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path

import trio

from ofcd.client import Room
from tests.live.support import settle

__all__ = ["IN_CLEAR", "MARKERS", "PASSPHRASE", "forms", "holds", "secrets_of", "talk"]

PASSPHRASE = "correct-marker-battery-staple"
MARKERS = {
    "text": "marker-text walnut overture",
    "edited text": "marker-edit saffron lagoon",
    "founder's name": "Marker-Ana",
    "joiner's name": "Marker-Bo",
    "room's name": "marker-room mulberry",
    "room's topic": "marker-topic juniper",
    "file's content": "marker-file-content obsidian harbour",
    "file's name": "marker-file-name.txt",
    "file's type": "text/x-marker-type",
    "caption": "marker-caption velvet",
    "reaction": "🦔🦎🦩🐙",
    "reason of a redaction": "marker-reason tangerine",
    "passphrase": PASSPHRASE,
}

IN_CLEAR = "an eviction's reason stands in the signed record"
"""The one text that a relay reads (protocol.md 2.3, REKEY boxed)."""


async def talk(folder: Path, tea: Room, at_bo: Room) -> None:
    """Say every marker."""
    said = await tea.send(MARKERS["text"])
    await tea.edit(said.event_id, MARKERS["edited text"])
    await tea.rename(MARKERS["room's name"], MARKERS["room's topic"])
    await settle(tea, at_bo)
    await at_bo.react(said.event_id, MARKERS["reaction"])
    source = folder / MARKERS["file's name"]
    await trio.Path(source).write_text(MARKERS["file's content"] * 1000)
    sent = await at_bo.send_file(source, mime=MARKERS["file's type"], caption=MARKERS["caption"])
    await trio.Path(source).unlink()
    await settle(tea, at_bo)
    fetched = await tea.fetch_file(sent.seq, folder / "fetched")
    content = await trio.Path(fetched).read_text()
    assert content == MARKERS["file's content"] * 1000
    await trio.Path(fetched).unlink()
    passing = await at_bo.send(MARKERS["text"] + " taken back")
    await at_bo.redact(passing.event_id, MARKERS["reason of a redaction"])
    await settle(tea, at_bo)


def secrets_of(room: Room, whose: str) -> dict[str, bytes]:
    """The private keys and room keys that a member holds."""
    core = room._client._core(room.id)
    keys = {f"{whose}'s key of epoch {epoch}": key for epoch, key in core.keys.keys.items()}
    # A Themis container: 12 bytes of head, then the scalar itself.
    keys[f"{whose}'s signing key"] = core.mine.sign.private[12:]
    keys[f"{whose}'s encryption key"] = core.mine.encrypt.private[12:]
    return keys


def holds(held: bytes, secret: bytes) -> bool:
    """Whether `secret` is there: as it is, in hex, in base64 at any offset, either case."""
    return any(form in held for form in forms(secret))


def forms(secret: bytes) -> Iterable[bytes]:
    """The ways in which bytes may be written down."""
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    yield str(list(secret)).encode()
    yield repr(secret).encode()[2:-1]
    for shift in range(3):
        whole = base64.b64encode(bytes(shift) + secret)
        body = whole[4 if shift else 0 : -4]  # what does not depend on what stands around it
        yield body
        yield body.replace(b"+", b"-").replace(b"/", b"_")
