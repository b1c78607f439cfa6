"""`ofc-bridge check` against real servers: each wrong thing is named, and what to do.

Once it is a process of its own; the others call its `main`, which is the same without the start.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

from bridge.cli import main
from bridge.irc import opening
from tests.bridge.irc.processes import Bridge, relay_in, room_of
from tests.bridge.irc.servers import (
    free_port,
    inspircd,
    needs,
    ngircd,
    person,
    tls,
    until,
)

pytestmark = [
    pytest.mark.live,
    pytest.mark.slow,
    needs("ngircd", "inspircd"),
    pytest.mark.timeout(300),
]


Checked = Callable[..., Awaitable[tuple[int, list[str]]]]


def _bridge(folder: Path, irc: str, *channels: str, join: str = "", options: str = "") -> Bridge:
    """One network with these channels; it does not run."""
    portals = "".join(
        f'[[portal]]\nroom = "books"\nnetwork = "test"\nplace = "{one}"\n{options}'
        for one in channels
    )
    folder.mkdir(exist_ok=True)
    joins = f'"{join}"' if join else ""
    text = f'[bridge]\njoin = [{joins}]\n[[irc]]\nname = "test"\nserver = "127.0.0.1"\n{irc}\n'
    return Bridge(folder, text + portals)


@pytest.fixture
def checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Checked:
    """What `ofc-bridge check` says of one network with these channels, and its exit code."""

    async def check(irc: str, *channels: str, **more: str) -> tuple[int, list[str]]:
        config = _bridge(tmp_path / "b", irc, *channels, **more).config
        code = await trio.to_thread.run_sync(main, ["check", "--config", str(config)])
        said = capsys.readouterr()
        return code, (said.out + said.err).splitlines()

    return check


async def test_all_is_well_or_the_rooms_side_is_wrong(tmp_path: Path, checked: Checked) -> None:
    """On this machine, TLS is not missed; invites are read, not used, and their relay is asked."""
    with relay_in(tmp_path) as relay, ngircd(tmp_path / "irc") as server:
        async with room_of(relay.url, tmp_path) as (_, _room, link):
            irc = f"port = {server.port}\ntls = false\nnick = 'ofcbridge'"
            where = f"127.0.0.1:{server.port}"
            code, text = _bridge(tmp_path / "b", irc, "#books", join=link).check()
            assert (code, text.splitlines()) == (
                0,
                [
                    f"ok   relay {relay.url}: answers",
                    f"ok   {where}: connected as ofcbridge",
                    f"ok   {where}: without TLS, on this machine",
                    f"ok   {where}: without message-tags, server-time, and that is fine",
                    "ok   #books: joined",
                ],
            )
            relay.kill()
            code, said = await checked(irc, "#books", join=link)
            assert code == 1
            assert said[0].startswith(f"BAD  relay {relay.url}: it can not be reached: ")
            _, said = await checked(irc, "#books", join="http://x/#ofc1:no")
            assert said[0].startswith("BAD  [bridge] join: link 1 is no invite: ")
            _, said = await checked(irc, "#books")
            assert said[0].startswith("BAD  [bridge] join is empty and there is no vault yet")


async def test_each_channel_that_does_not_let_it_in_or_speak_is_named(
    tmp_path: Path, checked: Checked
) -> None:
    with inspircd(tmp_path / "irc", modules=" redirect") as server:
        async with person(server.port, "kim", "#out", "#key", "#shut", "#full", "#quiet") as kim:
            await kim.send("JOIN", "#else")
            for channel, *modes in (
                ("#out", "+b", "ofcbridge!*@*"),
                ("#key", "+k", "walnut"),
                ("#shut", "+i"),
                ("#full", "+lL", "1", "#else"),
                ("#quiet", "+m"),
            ):
                await kim.send("MODE", channel, *modes)
            await until(lambda: len(kim.of("MODE")) >= 5)
            irc = f"port = {server.port}\ntls = false\nnick = 'ofcbridge'"
            channels = ("#out", "#key", "#shut", "#full", "#quiet", "#books")
            code, said = await checked(irc, *channels)
            assert code == 1
            found = {one.split()[1].rstrip(":"): one for one in said if " #" in one}
            assert "(you're banned)" in found["#out"]
            assert "(incorrect channel key)" in found["#key"]
            assert "(invite only)" in found["#shut"]
            assert "being transferred to the redirected channel" in found["#full"]
            wanted = (
                "BAD  #quiet: only who has a voice may speak there (+m): give one to the bridge"
            )
            assert wanted in said
            assert "ok   #books: joined" in said
            options = '[portal.irc]\nmode = "relaymsg"\nkey = "walnut"\n'
            _, said = await checked(irc, "#key", options=options)
            assert "ok   #key: joined" in said
            assert "ok   #key: the server has no RELAYMSG, so it is as mode = relay" in said


async def test_each_way_in_which_a_server_is_not_reached_is_named(
    tmp_path: Path, checked: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody there, no TLS, a certificate of who knows whom, no SASL, a password, a taken nick."""
    monkeypatch.setattr(opening, "_CONNECT_SECONDS", 5.0)  # which no TLS takes all of
    tls_port, nobody = free_port(), free_port()
    secured, _ = tls(tmp_path / "tls", tls_port)
    (tmp_path / "password").write_text("walnut")
    account = f"account = 'ofc'\naccount_password_file = '{tmp_path / 'password'}'"
    async with AsyncExitStack() as stack:
        made = inspircd(tmp_path / "irc", modules=" ssl_gnutls sslinfo", more=secured)
        server = stack.enter_context(made)
        plain = f"port = {server.port}\ntls = false\n"
        async with person(server.port, "taken"):
            _, said = await checked(f"{plain}nick = 'taken'", "#books")
            assert f"BAD  127.0.0.1:{server.port}: the nick taken is taken" in said
        for irc, port, why in (
            ("port = {}", nobody, "Connection refused"),
            ("port = {}", server.port, "does not answer TLS"),
            ("port = {}", tls_port, "its certificate is not good: "),
            (f"port = {{}}\nca_file = '{tmp_path}/tls/ca.pem'\n{account}", tls_port, "no SASL"),
        ):
            code, said = await checked(irc.format(port), "#books")
            assert code == 1
            named = [one for one in said if one.startswith(f"BAD  127.0.0.1:{port}")]
            assert len(named) == 1, said
            assert why in named[0]
        code, said = await checked(
            f"port = {tls_port}\nca_file = '{tmp_path}/tls/ca.pem'", "#books"
        )
        assert "ok   #books: joined" in said
        assert not any("without TLS" in one for one in said)
        other = stack.enter_context(ngircd(tmp_path / "ng", more="[Global]\nPassword = sesame\n"))
        _, said = await checked(f"port = {other.port}\ntls = false", "#books")
        assert any("Access denied" in one and one.startswith("BAD") for one in said), said
        word = f"port = {other.port}\ntls = false\npassword_file = '{tmp_path / 'password'}'"
        (tmp_path / "password").write_text("sesame")
        _, said = await checked(word, "#books")
        assert "ok   #books: joined" in said
        (tmp_path / "password").unlink()
        _, said = await checked(word, "#books")
        assert any("password can not be read" in one for one in said)


_CGI = '<cgihost type="webirc" password="sesame" mask="127.0.0.1/32">\n'


async def test_a_connection_such_as_members_get_is_tried_where_they_have_one(
    tmp_path: Path, checked: Checked
) -> None:
    """WEBIRC that the server does not take is named, and so is a server that lets in but one."""
    for name in ("sesame", "walnut"):
        (tmp_path / name).write_text(name)
    mode = '[portal.irc]\nmode = "puppets"\n'
    where = "127.0.0.1:{}: {}"
    with inspircd(tmp_path / "irc", modules=" cgiirc", more=_CGI) as server:
        irc = f"port = {server.port}\ntls = false\nnick = 'ofcbridge'\n"
        webirc = f"{irc}webirc_password_file = '{tmp_path}/"
        _, said = await checked(f"{webirc}sesame'", "#books", options=mode)
        assert "ok   #books: joined as ofcbridge[o]" in said
        own = where.format(server.port, "ofcbridge[o] has an address of its own, by WEBIRC")
        assert f"ok   {own}" in said
        _, said = await checked(f"{webirc}walnut'", "#books", options=mode)
        assert any("BAD" in one and "no second connection" in one for one in said), said
        assert any("don't match any configured WebIRC hosts" in one for one in said), said
        _, said = await checked(irc, "#books", options=mode)
        assert not any("WEBIRC" in one for one in said)
        assert any("a second connection, as ofcbridge[o], for members" in one for one in said)
        _, said = await checked(irc, "#books")
        assert not any("second connection" in one for one in said)
    with ngircd(tmp_path / "ng", more="[Limits]\nMaxConnectionsIP = 1\n") as other:
        irc = f"port = {other.port}\ntls = false\nnick = 'ofcbridge'\n"
        code, said = await checked(irc, "#books", options=mode)
        assert code == 1
        assert any("BAD" in one and "no second connection" in one for one in said), said
