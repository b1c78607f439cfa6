"""Members' own nicks on real ngIRCd and InspIRCd, with WEBIRC; `ofc-bridge` as a process."""

from __future__ import annotations

from pathlib import Path

import pytest

from ofcd.client import Client, Room
from tests.bridge.irc.processes import (
    bridge,
    bridged,
    is_in,
    private_room,
    relay_in,
    room_of,
    settings,
)
from tests.bridge.irc.servers import Person, inspircd, needs, ngircd, person, until

pytestmark = [
    pytest.mark.live,
    pytest.mark.slow,
    needs("ngircd", "inspircd"),
    pytest.mark.timeout(300),
]
_CGI = '<cgihost type="webirc" password="sesame" mask="127.0.0.1/32">\n'


@pytest.mark.parametrize("kind", ["ngircd", "inspircd"])
async def test_members_speak_under_their_own_nicks(tmp_path: Path, kind: str) -> None:
    """From an address of their own; through a kill of the bridge, each line once and in order.

    What is said to one alone stands in a room of their own, if they asked, and is answered.
    """
    irc = tmp_path / "irc"
    (tmp_path / "webirc").write_text("sesame")
    more = f"webirc_password_file = '{tmp_path / 'webirc'}'\npuppet_seconds = 0.1\n"
    server_of = (
        ngircd(irc, more="WebircPassword = sesame\n")
        if kind == "ngircd"
        else inspircd(irc, modules=" cgiirc", more=_CGI)
    )
    with relay_in(tmp_path) as relay, server_of as server:
        async with (
            room_of(relay.url, tmp_path) as (client, room, link),
            person(server.port, "kim", "#books") as kim,
        ):
            text = settings(link, server.port, '[portal.irc]\nmode = "puppets"\n', more)
            with bridge(tmp_path / "bridge", text) as program:
                await until(lambda: _nicks(kim, "JOIN") == ["ofcbridge"])
                await is_in(room)
                await room.send("first")
                await until(lambda: "Ana[o]" in _nicks(kim, "JOIN"))
                await room.send("second")
                await until(lambda: len(kim.heard("#books")) == 2)
                said = [one for one in kim.lines if one.command == "PRIVMSG"]
                assert [(one.nick, one[1]) for one in said] == [
                    ("ofcbridge", "<\x02Ana\x02> first"),
                    ("Ana[o]", "second"),
                ]
                assert said[1].host.endswith(".ofcd.invalid") or said[1].host.startswith("fd0f:")
                await kim.say("#books", "hello Ana")
                await until(lambda: bridged(room) == ["kim: hello Ana"])
                program.kill()
                await room.send("third")
                await until(lambda: "Ana[o]" in _nicks(kim, "QUIT"))
                program.start()
                await until(lambda: len(kim.heard("#books")) == 3)
                await until(lambda: _nicks(kim, "JOIN").count("Ana[o]") == 2)
                await room.send("fourth")
                await until(lambda: len(kim.heard("#books")) == 4)
                said = [one for one in kim.lines if one.command == "PRIVMSG"]
                assert said[-1].nick == "Ana[o]"
                words = [one.rpartition("> ")[2] for one in kim.heard("#books")]
                assert words == ["first", "second", "third", "fourth"]
                assert bridged(room) == ["kim: hello Ana"]
                await _alone(relay.url, client, room, kim)
                assert bridged(room) == ["kim: hello Ana"]
                assert len(kim.heard("#books")) == 4
                assert "sesame" not in program.log.read_text()


async def _alone(url: str, client: Client, room: Room, kim: Person) -> None:
    private = await private_room(url, client, room)
    await kim.say("Ana[o]", "psst")
    await until(lambda: bridged(private) == ["kim: psst"])
    said = next(one for one in private.messages() if one.via is not None)
    await private.send("yes?", reply_to=said.event_id)
    await until(lambda: kim.heard("kim")[-1:] == ["yes?"])
    assert [one.nick for one in kim.lines if one[1] == "yes?"] == ["Ana[o]"]


def _nicks(kim: Person, command: str) -> list[str]:
    return [one.nick for one in kim.lines if one.command == command and one.nick != "kim"]
