"""InspIRCd with Anope or Atheme: SASL against real services, and the own nick taken back."""

from __future__ import annotations

import ssl
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

from tests.bridge.irc.processes import (
    Bridge,
    bridge,
    bridged,
    is_in,
    private_room,
    relay_in,
    room_of,
    settings,
)
from tests.bridge.irc.servers import (
    SERVICES,
    Person,
    anope,
    atheme,
    free_port,
    inspircd,
    needs,
    person,
    services_link,
    tls,
    until,
)

pytestmark = [
    pytest.mark.live,
    pytest.mark.slow,
    needs("inspircd"),
    pytest.mark.timeout(400),
]


@needs("anope")
async def test_login_and_the_nick_back_from_a_ghost_and_from_who_leaves(tmp_path: Path) -> None:
    """A wrong password keeps the bridge out; RECOVER frees the nick, MONITOR tells when it is.

    With a certificate (EXTERNAL) it is logged in without a password, and no member's nick is.
    """
    link_port, tls_port = free_port(), free_port()
    secured, shown = tls(tmp_path / "tls", tls_port)
    (tmp_path / "password").write_text("sesame-walnut")
    (tmp_path / "wrong").write_text("sesame")
    modules, more = f"{SERVICES} ssl_gnutls sslinfo", services_link(link_port) + secured
    with (
        relay_in(tmp_path) as relay,
        inspircd(tmp_path / "irc", modules=modules, more=more) as server,
        anope(tmp_path / "anope", link_port),
    ):
        async with (
            room_of(relay.url, tmp_path) as (_, room, link),
            person(server.port, "kim", "#books") as kim,
        ):
            await _registered(tls_port, tmp_path / "tls", shown)
            wrong = _account(tmp_path / "wrong")
            with bridge(tmp_path / "wrong-bridge", settings("x", server.port, irc=wrong)) as one:
                await until(lambda: "SASL is required" in one.log.read_text())
            assert not any(line.command == "JOIN" and line.nick != "kim" for line in kim.lines)

            irc = _account(tmp_path / "password") + "regain = 'RECOVER'\n"
            text = settings(link, server.port, irc=irc)
            with bridge(tmp_path / "bridge", text, start=False) as program:
                await _back_from_a_ghost(program, kim, server.port)
                await is_in(room)
                await kim.say("#books", "hello")
                await until(lambda: bridged(room) == ["kim: hello"])
                assert "sesame" not in program.log.read_text()

            # Without services' help: it waits until the other leaves, and is told by MONITOR.
            irc = _account(tmp_path / "password")
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(person(server.port, "ofcbridge"))
                before = len(_renamed(kim))
                with bridge(tmp_path / "bridge", settings(link, server.port, irc=irc)) as two:
                    await until(lambda: two.log.read_text().count("joined a channel") == 2)
                    assert "ofcbridge" not in _there(kim)
                    await trio.sleep(3)
                    assert len(_renamed(kim)) == before
                    await stack.aclose()
                    await until(lambda: "ofcbridge" in _renamed(kim)[before:])

            irc = (
                f"tls = true\nca_file = '{tmp_path}/tls/ca.pem'\npuppet_seconds = 0.1\n"
                f"client_cert_file = '{tmp_path}/tls/client.pem'\n"
            )
            text = settings(link, tls_port, '[portal.irc]\nmode = "puppets"\n', irc)
            text = text.replace("tls = false\n", "")
            with bridge(tmp_path / "bridge", text) as three:
                await until(lambda: three.log.read_text().count("joined a channel") == 3)
                await room.send("first")
                await until(lambda: "Ana[o]" in _there(kim))
                for nick in ("ofcbridge", "Ana[o]"):
                    await kim.send("WHOIS", nick)
                    await until(lambda: any(x[1] == nick for x in kim.of("318")))  # noqa: B023
                assert [x[1] for x in kim.of("276")] == ["ofcbridge"], "shows its certificate"
                assert [x[1:3] for x in kim.of("330")] == [("ofcbridge", "ofcbridge")]
                assert {x[1] for x in kim.of("671")} == {"ofcbridge", "Ana[o]"}, "both by TLS"


async def _back_from_a_ghost(program: Bridge, kim: Person, port: int) -> None:
    """Somebody else has the nick when the bridge comes, and services take it away."""
    async with person(port, "ofcbridge") as ghost:
        program.start()
        await until(lambda: "joined a channel" in program.log.read_text())
        await until(lambda: _renamed(kim) == ["ofcbridge"])
        await until(lambda: ghost.gone or _lost_it(ghost))


@needs("atheme-services")
async def test_atheme_lets_it_in_and_frees_its_nick(tmp_path: Path) -> None:
    """By GHOST: REGAIN came after the version that Debian has."""
    link_port = free_port()
    (tmp_path / "password").write_text("sesame-walnut")
    irc = _account(tmp_path / "password") + "regain = 'GHOST'\n"
    with (
        inspircd(tmp_path / "irc", modules=SERVICES, more=services_link(link_port)) as server,
        atheme(tmp_path / "services", link_port),
    ):
        async with person(server.port, "ofcbridge") as one:
            await _asked(one, "REGISTER sesame-walnut ofc@b.example", "regist")
        async with person(server.port, "kim", "#books") as kim:
            text = settings("x", server.port, irc=irc)
            with bridge(tmp_path / "bridge", text, start=False) as program:
                await _back_from_a_ghost(program, kim, server.port)


def _account(password: Path) -> str:
    return f"account = 'ofcbridge'\naccount_password_file = '{password}'\n"


def _renamed(kim: Person) -> list[str]:
    return [one[0] for one in kim.lines if one.command == "NICK" and one.nick.startswith("ofc")]


def _there(kim: Person) -> set[str]:
    """Who joined, and did not leave."""
    joined = {one.nick for one in kim.lines if one.command == "JOIN"}
    return joined - {one.nick for one in kim.lines if one.command in ("QUIT", "NICK")}


def _lost_it(ghost: Person) -> bool:
    return any(one.command == "NICK" and one.nick == "ofcbridge" for one in ghost.lines)


async def _registered(port: int, keys: Path, shown: str) -> None:
    """The bridge's account, made by somebody with its nick once the services are there."""
    secure = ssl.create_default_context(cafile=keys / "ca.pem")
    secure.load_cert_chain(keys / "client.pem")
    async with person(port, "ofcbridge", secure=secure) as one:
        await _asked(one, "REGISTER sesame-walnut ofc@b.example", "regist")
        with trio.fail_after(120):
            while not any(shown in x[1] and "added" in x[1] for x in one.lines):
                await one.send("PRIVMSG", "NickServ", "CERT ADD")
                await trio.sleep(1)


@needs("anope")
async def test_an_answer_to_an_account_reaches_nobody_else(tmp_path: Path) -> None:
    """Who has the nick after kim, at the same user@host and without the account, gets none."""
    link_port = free_port()
    with (
        relay_in(tmp_path) as relay,
        inspircd(tmp_path / "irc", modules=SERVICES, more=services_link(link_port)) as server,
        anope(tmp_path / "anope", link_port),
    ):
        async with room_of(relay.url, tmp_path) as (client, room, link):
            puppets = settings(
                link, server.port, '[portal.irc]\nmode = "puppets"\n', "puppet_seconds = 0.1\n"
            )
            with bridge(tmp_path / "bridge", puppets):
                await is_in(room)
                await room.send("first")
                async with person(server.port, "kim", "#books") as kim:
                    await until(lambda: "Ana[o]" in kim.of("353")[0][-1] or "Ana[o]" in _there(kim))
                    private = await private_room(relay.url, client, room)
                    await _asked(kim, "REGISTER pencil-walnut kim@b.example", "regist")
                    await kim.say("Ana[o]", "psst")
                    await until(lambda: bridged(private) == ["kim: psst"])
                    said = next(m for m in private.messages() if m.via is not None)
                    await private.send("yes?", reply_to=said.event_id)
                    await until(lambda: kim.heard("kim")[-1:] == ["yes?"])
                async with person(server.port, "kim", "#books") as other:
                    await other.say("Ana[o]", "it is me")
                    await until(lambda: len(bridged(private)) == 2)
                    await private.send("kim: a secret")
                    await private.send("another", reply_to=said.event_id)
                    await until(lambda: sum(bool(m.reactions) for m in private.messages()) == 2)
                    told = "is not there now, or is not logged in as kim"
                    assert any(told in m.text for m in private.messages())
                    await _asked(other, "IDENTIFY pencil-walnut", "identified", "recogni")
                    await private.send("kim: welcome back")
                    await until(lambda: "welcome back" in other.heard("kim"))
                    assert not {"a secret", "another"} & set(other.heard("kim"))


async def _asked(one: Person, words: str, *done: str) -> None:
    """Services are asked until they say that it is done."""
    with trio.fail_after(120):
        while not any(x in y[1].lower() for x in done for y in one.of("NOTICE")):
            await one.send("PRIVMSG", "NickServ", words)
            await trio.sleep(1)
