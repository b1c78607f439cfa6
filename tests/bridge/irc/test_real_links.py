"""Links all the way: relay, `ofc-bridge`, ngIRCd, somebody on IRC, and HTTP over a real socket."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import trio

from tests.bridge.core import pictures
from tests.bridge.irc.processes import bridge, room_of, settings
from tests.bridge.irc.servers import needs, ngircd, person, until
from tests.live.support import Relay

pytestmark = [pytest.mark.live, pytest.mark.slow, needs("ngircd"), pytest.mark.timeout(300)]

_URL = re.compile(r"http://127\.0\.0\.1:\d+/[A-Za-z0-9_-]{43}(?= \])")
WORDS = b"%PDF marker-link-hazel " * 20_000


def _get(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - the test's own
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except OSError:
        return 0, b""  # nobody listens yet


async def get(url: str) -> tuple[int, bytes]:
    """What a browser gets; waits for a bridge that starts."""
    with trio.fail_after(120):
        while True:
            answer = await trio.to_thread.run_sync(_get, url)
            if answer[0]:
                return answer
            await trio.sleep(0.2)


def _files(*folders: Path) -> list[bytes]:
    return [one.read_bytes() for folder in folders for one in folder.rglob("*") if one.is_file()]


async def test_a_file_is_opened_from_outside_across_a_kill(tmp_path: Path) -> None:
    """Sealed on every disk on the way; gone once it is taken back."""
    relay = Relay(tmp_path / "relay")
    relay.folder.mkdir()
    relay.start()
    [free] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = free.socket.getsockname()[1]
    await free.aclose()
    linked = f'[links]\npublic_url = "http://127.0.0.1:{port}"\nport = {port}\n'
    try:
        with ngircd(tmp_path / "irc") as server:
            async with (
                room_of(relay.url, tmp_path) as (_, room, link),
                person(server.port, "kim", "#books") as kim,
            ):
                text = linked + settings(link, server.port)
                with bridge(tmp_path / "bridge", text) as program:
                    await until(lambda: len(room.members()) == 2)
                    await room.send_file(WORDS, name="marker-link-name.pdf", mime="text/plain")
                    await room.send_file(pictures.jpeg(), name="us.jpg", mime="image/jpeg")
                    await until(lambda: len(kim.heard("#books")) == 2)
                    urls = [
                        found[0]
                        for line in kim.heard("#books")
                        if (found := _URL.search(line)) is not None
                    ]
                    assert len(urls) == 2
                    assert await get(urls[0]) == (200, WORDS)
                    status, picture = await get(urls[1])
                    assert (status, picture[:3]) == (200, b"\xff\xd8\xff")
                    assert pictures.MARK not in picture
                    code, said = await trio.to_thread.run_sync(program.check)
                    assert code == 1, "it is without TLS"
                    assert f"ok   [links] http://127.0.0.1:{port}: leads to this bridge" in said
                    program.kill()
                    disks = _files(tmp_path / "bridge", tmp_path / "relay")
                    assert not any(b"marker-link" in one for one in disks)
                    program.start()
                    assert await get(urls[0]) == (200, WORDS)
                    message = next(m for m in room.messages() if m.file and "pdf" in m.file.name)
                    await room.redact(message.event_id)
                    with trio.fail_after(120):
                        while (await get(urls[0]))[0] != 404:  # noqa: ASYNC110 - a real process
                            await trio.sleep(0.2)
                    assert (await get(urls[1]))[0] == 200
    finally:
        relay.stop()
