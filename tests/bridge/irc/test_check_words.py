"""What a server says in `ofc-bridge check` is words, and none of the bridge's secrets."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve

from bridge.core import Finding
from tests.bridge.irc.scene import CHANNEL, irc_scene


async def test_no_code_and_no_secret_of_what_a_server_says_is_shown(
    tmp_path: Path, autojump_clock: object
) -> None:
    (tmp_path / "password").write_text("hunter2")
    async with irc_scene(tmp_path) as scene:
        scene.settings = evolve(scene.settings, password_file=str(tmp_path / "password"))
        scene.server.refuse["ofc", "JOIN"] = "475"
        scene.server.refusal = "\x0304no\x07 entry with hunter2\x1b[2J: wrong\x02 key"
        found: list[Finding] = []
        async with scene.running() as network:
            await network.check(found.append)
        [said] = [one for one in found if one.text.startswith(f"{CHANNEL}: ")]
        assert not said.good
        assert said.text.isprintable()
        assert "hunter2" not in said.text
        assert "entry with ***" in said.text
