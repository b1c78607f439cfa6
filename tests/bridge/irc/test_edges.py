"""Edges of the protocols that real servers have."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from bridge.email.lmtp import LmtpServer
from bridge.irc.wire import fold
from ofcd.client import Room
from tests.bridge.irc.scene import CHANNEL, irc_scene, until
from tests.bridge.irc.scripted import ALL_CAPS

CAPS = [one for one in ALL_CAPS if "multiline" not in one and "relaymsg" not in one]


async def test_an_empty_id_names_no_line(tmp_path: Path, autojump_clock: object) -> None:
    async with irc_scene(tmp_path, caps=CAPS) as scene, scene.running():
        await scene.up()
        for number in range(3):
            await scene.server.say("kim", CHANNEL, f"line {number}", msgid="")
            await trio.sleep(2)
        await until(lambda: len(scene.bridged()) == 3)


@pytest.mark.parametrize("name", ["strict-rfc1459", "rfc1459-strict"])
def test_of_the_strict_mapping_not_all_signs_are_the_same(name: str) -> None:
    assert fold("a^", name) != fold("a~", name)
    assert fold("a^") == fold("a~")
    assert fold("#A{b}|", name) == fold("#a[B]\\", name)


def test_a_sender_with_a_space_is_one() -> None:
    server = LmtpServer("x", lambda _: True)
    server.to_send()
    server.receive(b'LHLO me\r\nMAIL FROM:<"bo berg"@example.org>\r\n')
    assert server.to_send().splitlines()[-1].startswith(b"250")
    server.receive(b"RSET\r\nMAIL FROM:<bo berg@example.org>\r\n")
    assert server.to_send().splitlines()[-1].startswith(b"501")


async def test_the_name_of_a_file_hides_nothing(tmp_path: Path, autojump_clock: object) -> None:
    async with irc_scene(tmp_path, caps=[]) as scene, scene.running():
        await scene.up()
        await _send(scene.room, "photo\u202egpj.exe")
        await until(lambda: scene.heard())
        assert "\u202e" not in scene.heard()[0]
        assert "gpj.exe" in scene.heard()[0]


async def _send(room: Room, name: str) -> None:
    await room.send_file(b"x", name=name, mime="application/octet-stream")
