"""The whole way on the plainest real server: relay, `ofc-bridge`, ngIRCd, somebody on IRC."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.bridge.irc.processes import bridge, bridged, is_in, relay_in, room_of, settings
from tests.bridge.irc.servers import Server, inspircd, needs, ngircd, person, until

pytestmark = [pytest.mark.live, pytest.mark.slow, needs("ngircd"), pytest.mark.timeout(300)]


async def test_a_conversation(tmp_path: Path) -> None:
    """Words, formatting, actions, long lines and refusals cross, and it says what it is."""
    with relay_in(tmp_path) as relay, ngircd(tmp_path / "irc") as server:
        async with (
            room_of(relay.url, tmp_path) as (_, room, link),
            person(server.port, "kim", "#books") as kim,
        ):
            with bridge(tmp_path / "bridge", settings(link, server.port)) as program:
                await until(
                    lambda: any(x.command == "JOIN" and x.nick == "ofcbridge" for x in kim.lines)
                )
                await is_in(room)
                await kim.say("#books", "hello \x02room\x02 marker-irc-walnut")
                await until(lambda: bridged(room))
                assert bridged(room) == ["kim: hello **room** marker-irc-walnut"]
                await room.send("hello **IRC**", markdown=True)
                await until(lambda: len(kim.heard("#books")) == 1)
                assert kim.heard("#books") == ["<\x02Ana\x02> hello \x02IRC"]
                await kim.say("#books", "\x01ACTION waves\x01")
                await until(lambda: len(bridged(room)) == 2)
                assert bridged(room)[-1] == "kim: *waves*"
                words = " ".join(f"wörd{n}" for n in range(200))
                await room.send(words)
                await until(lambda: len(kim.heard("#books")) >= 4)
                said = kim.heard("#books")[1:]
                await until(
                    lambda: (
                        " ".join(
                            one.removeprefix("<\x02Ana\x02> ") for one in kim.heard("#books")[1:]
                        )
                        == words
                    )
                )
                assert all(one.startswith("<\x02Ana\x02> ") for one in said)
                assert all(len(line) <= 512 for raw in kim.raw for line in raw.splitlines(True))
                await kim.send("MODE", "#books", "+m")
                sent = await room.send("into the void")
                await until(lambda: (m := room.message(sent.event_id)) and m.reactions)
                await until(
                    lambda: any(
                        m.text.startswith("Not delivered to #books on test")
                        for m in room.messages()
                    )
                )
                await kim.send("PRIVMSG", "ofcbridge", "\x01VERSION\x01")
                await until(lambda: any("VERSION ofc-bridge" in str(x.params) for x in kim.lines))
                await kim.say("ofcbridge", "what are you?")
                await until(lambda: len(kim.heard("kim")) == 2)
                assert kim.heard("kim")[1].startswith(
                    "I am a bridge, a program: what is said in #b"
                )
                await kim.send("INVITE", "ofcbridge", "#elsewhere")
                await until(lambda: len(kim.heard("kim")) == 3)
                assert "join only the channels" in kim.heard("kim")[2]
                await kim.send("MODE", "#books", "-m")
                await until(lambda: ("#books", "-m") in kim.of("MODE"))
                await room.evict(next(one.mid for one in room.members() if not one.is_me))
                await until(lambda: kim.of("PART"))
                assert kim.heard("#books")[-1].startswith("This channel is not joined to its room")
            assert b"marker-irc-walnut" not in b"".join(
                one.read_bytes() for one in relay.folder.rglob("*") if one.is_file()
            )
            assert "marker-irc-walnut" not in program.log.read_text()


async def test_lines_wait_for_a_server_that_was_killed(tmp_path: Path) -> None:
    """G2: what is said while the server is dead arrives when it is back, in order, once."""
    with relay_in(tmp_path) as relay, ngircd(tmp_path / "irc") as server:
        async with room_of(relay.url, tmp_path) as (_, room, link):
            with bridge(tmp_path / "bridge", settings(link, server.port)) as program:
                await until(lambda: "joined a channel" in program.log.read_text())
                await is_in(room)
                server.kill()
                await until(lambda: "not connected" in program.log.read_text())
                for number in range(20):
                    await room.send(f"line {number}")
                server.start()
                async with person(server.port, "kim", "#books") as kim:
                    await until(lambda: len(kim.heard("#books")) >= 20)
                    await room.send("after it")
                    await until(lambda: len(kim.heard("#books")) >= 21)
                    heard = [one.partition("> ")[2] for one in kim.heard("#books")]
                    assert heard == [*(f"line {n}" for n in range(20)), "after it"]


_PACE = "line_seconds = 0.02"


@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        # It takes three commands a second of one user, whatever its penalties are set to, and a
        # PING follows each line: so few lines are a flood to it.
        pytest.param(ngircd, 30, id="ngircd"),
        pytest.param(inspircd, 200, id="inspircd", marks=needs("inspircd")),
    ],
)
async def test_a_pasted_flood_neither_disconnects_nor_loses(
    tmp_path: Path, kind: Callable[[Path], AbstractContextManager[Server]], lines: int
) -> None:
    """I3: 200 lines in a second; all are said, at the pace that was set, on one connection.

    Fewer where the server's own pace is slower than ours by far.
    """
    with relay_in(tmp_path) as relay, kind(tmp_path / "irc") as server:
        async with (
            room_of(relay.url, tmp_path) as (client, room, link),
            person(server.port, "kim", "#books") as kim,
        ):
            more = "out_per_second = 100.0\nbacklog = 1000\n"
            text = settings(link, server.port, more).replace("line_seconds = 0.1", _PACE)
            with bridge(tmp_path / "bridge", text) as program:
                await until(lambda: "joined a channel" in program.log.read_text())
                await is_in(room)
                with client.transaction() as tx:
                    for number in range(lines):
                        room.queue(tx, f"line {number}")
                await until(lambda: len(kim.heard("#books")) >= lines, 200)
                heard = [one.partition("> ")[2] for one in kim.heard("#books")]
                assert heard == [f"line {n}" for n in range(lines)]
                assert program.log.read_text().count("connected  ") == 1
                assert not any(one.command == "QUIT" for one in kim.lines)
