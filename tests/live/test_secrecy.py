"""Plaintext and keys: what is searched for wherever a stranger could look, and not found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from ofcd.client import InviteCode
from tests.live.chaos import open_wiretap
from tests.live.markers import IN_CLEAR, MARKERS, PASSPHRASE, forms, holds, secrets_of, talk
from tests.live.support import Relay, client
from tests.live.wiretap import Wiretap, unmasked

pytestmark = [pytest.mark.live, pytest.mark.slow]


async def test_no_word_and_no_key_is_anywhere_a_stranger_looks(tmp_path: Path) -> None:
    """Database, WAL, log at debug, /metrics, vaults and wire hold no marker and no secret key."""
    relay = Relay(tmp_path, log="debug")
    relay.start()
    try:
        async with open_wiretap(relay.port) as tap:
            keys, invites = await converse(tmp_path, relay, tap)
            places = dict(look_everywhere(tmp_path, relay, tap))
    finally:
        relay.kill()
    secrets = {name: text.encode() for name, text in MARKERS.items()} | keys
    secrets |= {f"token {n}": code.token for n, code in enumerate(invites)}
    found = [
        f"{name} in {place}"
        for place, held in places.items()
        for name, secret in secrets.items()
        if holds(held, secret)
    ]
    assert found == []
    check_the_search(relay, places, invites[0])


async def converse(
    folder: Path, relay: Relay, tap: Wiretap
) -> tuple[dict[str, bytes], list[InviteCode]]:
    """A conversation with every kind of word in it; returns every secret key of both vaults."""
    async with (
        client(folder / "ana.vault", secret=PASSPHRASE) as ana,
        client(folder / "bo.vault", secret=PASSPHRASE) as bo,
    ):
        name = MARKERS["room's name"]
        tea = await ana.create_room(tap.url, name, my_name=MARKERS["founder's name"])
        invites = [await tea.invite(), await tea.invite()]
        at_bo = await bo.join(invites[0], name=MARKERS["joiner's name"])
        keys = secrets_of(tea, "ana") | secrets_of(at_bo, "bo")
        await talk(folder, tea, at_bo)
        for _ in range(2):
            await tea.rotate()
            keys |= secrets_of(tea, "ana") | secrets_of(at_bo, "bo")
        await tea.rotate(boxed=True)
        at_bo.typing()
        await tea.evict(at_bo.me, reason=IN_CLEAR)
        keys |= secrets_of(tea, "ana") | secrets_of(at_bo, "bo")
        keys["ana's vault"], keys["bo's vault"] = ana.vault._dek, bo.vault._dek
        await trio.sleep(1.5)  # LOG_HEAD and cursor go by as well
    return keys, invites


def look_everywhere(folder: Path, relay: Relay, tap: Wiretap) -> Iterator[tuple[str, bytes]]:
    """Every place where something might be: its name, and its bytes."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "relay.key":
            yield path.name, path.read_bytes()
    yield "metrics", relay.get("/metrics")[1]
    yield "front page", relay.get("/")[1]
    yield "wire", tap.everything()


def check_the_search(relay: Relay, places: dict[str, bytes], code: InviteCode) -> None:
    """The control: what is not secret is found, in each of the places, in each of the forms."""
    assert {"ofcd.db", "ofcd.db-wal", "ofcd.log", "ana.vault", "metrics", "wire"} <= set(places)
    database = places["ofcd.db"] + places["ofcd.db-wal"]
    assert holds(database, code.room)
    assert holds(database, code.invite_id)
    assert holds(database, IN_CLEAR.encode())
    assert not holds(places["wire"], IN_CLEAR.encode())
    assert b"ofcd_handshakes" in places["metrics"]
    assert b"UEC2" in places["wire"], "a handshake shows its key: so the masks are off"
    assert b"GET /ofc" in places["wire"]
    assert len(places["wire"]) > 100_000
    for form in forms(b"some secret that is long enough"):
        assert holds(b"xx" + form + b"yy", b"some secret that is long enough")


def test_masks_come_off() -> None:
    """The wiretap reads masked and unmasked frames of every length."""
    for size in (3, 200, 70_000):
        payload = bytes(n % 251 for n in range(size))
        mask = b"\x11\x22\x33\x44"
        if size < 126:
            head = bytes([0x82, 0x80 | size])
        elif size < 65536:
            head = b"\x82\xfe" + size.to_bytes(2, "big")
        else:
            head = b"\x82\xff" + size.to_bytes(8, "big")
        masked = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
        stream = b"GET / HTTP/1.1\r\n\r\n" + (head + mask + masked) * 2
        assert unmasked(stream) == payload * 2
