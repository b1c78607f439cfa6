"""What is not said in a room is refused, set aside or counted: none of it goes silently (G2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from bridge.email.fetching import Taken
from bridge.email.lmtp import LmtpServer
from tests.bridge.email.corpus import mail, part
from tests.bridge.email.post import PROOF, Post, bring, by_bo, scene_of, secret
from tests.bridge.email.scene import Scene

EVE = "eve@example.org"
OURS = b"Authentication-Results: mx.example; dmarc=pass header.from=bridge.example\r\n"


def page(scene: Scene) -> dict[str, float]:
    """How many mails became what, as Prometheus is told."""
    scene.network.measure(scene.engine.metrics)
    lines = scene.engine.metrics.render().decode().splitlines()
    found = (one.rpartition(" ") for one in lines if one.startswith("bridge_mail_in_total{"))
    return {name.split('what="')[1][:-2]: float(count) for name, _, count in found}


async def test_mail_of_the_bridges_own_domain_is_refused_or_dropped(
    tmp_path: Path, post: Post, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever has an address there may not write, whatever the list says, and learns of it; what
    only claims one is spam, and takes nobody's place; what comes from the bridge's own addresses
    has come round."""
    async with scene_of(tmp_path, allow=("*@bridge.example",)) as scene:
        to = {"To": "books@bridge.example"}
        raw = mail("hello\n", From="Eve <eve@bridge.example>", Message_ID="<1@x>", **to)
        take = scene.network.incoming.take
        code, why = await take(OURS + raw, "eve@bridge.example", to["To"])
        assert (code, why[:5]) == (550, "5.7.1")
        assert why.endswith("its sender is of this domain of rooms")
        assert await bring(scene, raw, to["To"]) == 250
        assert await scene.do("held") == "No mail waits."
        for own in ("books@bridge.example", secret(scene), "bounce@bridge.example"):
            assert await bring(scene, mail("round\n", From=own, Message_ID="<2@x>", **to)) == 250
        assert page(scene) == {"not admitted": 2, "own domain": 1, "loop": 3}
        assert page(scene)["loop"] == 3, "what was counted is not counted again"
        assert "a mail by a program was dropped" in capsys.readouterr().out
        await trio.sleep(5)
        assert scene.texts() == []


async def test_nobody_is_told_of_a_mail_that_they_did_not_write(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    """Our server mails a refusal to the sender of the envelope, with what was refused: that has to
    be who is proven to have written it. Else it is held, or too large for that, and counted."""
    async with scene_of(tmp_path, allow=("bo@example.org",)) as scene:
        small, large = mail("buy\n", From="Eve@Example.org"), mail("x" * 6_000_000, From=EVE)
        tries = [
            (PROOF + small, EVE.upper(), 550),
            (PROOF + small, "victim@far.example", 250),
            (PROOF + small, "victim@example.org", 250),
            (large, EVE, 250),
            (PROOF + large, "victim@far.example", 250),
            (PROOF + large, EVE, 550),
            (PROOF + by_bo("x" * 6_000_000, To="cleo@example.org"), "bo@example.org", 552),
            (PROOF + by_bo("x" * 6_000_000, To="cleo@example.org"), "victim@far.example", 250),
        ]
        for raw, sender, wanted in tries:
            code, _ = await scene.network.incoming.take(raw, sender, "books@bridge.example")
            assert code == wanted, (len(raw), sender)
        assert (await scene.do("held")).count(EVE) == 1
        await trio.sleep(5)
        assert page(scene) == {"not admitted": 8, "held": 2, "too large to hold": 4}
        assert sum("is too large to wait" in one for one in scene.notices()) == 1


async def test_nobody_is_told_of_a_mail_that_no_room_can_show_but_its_writer(
    tmp_path: Path, post: Post, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that is nothing but a file which the relay does not take; else the room is."""
    async with scene_of(tmp_path) as scene:

        async def odd(_remote: object, rooms: Any) -> Any:
            await trio.lowlevel.checkpoint()
            return {room.id: "" for _, room in rooms}  # nothing that can be said

        monkeypatch.setattr(scene.engine.inbound, "_upload", odd)
        body = "--b\n" + part("text/plain", b"data", "Content-Disposition: attachment") + "--b--\n"
        raw = by_bo(body, Content_Type="multipart/mixed; boundary=b", Subject=None)
        assert await bring(scene, raw) == 554
        await trio.sleep(5)
        assert not any("can not be shown" in one for one in scene.notices())
        assert await bring(scene, raw, sender="victim@example.org") == 250
        await trio.sleep(5)
        assert any("A mail can not be shown here" in one for one in scene.notices())


async def test_an_address_that_is_no_rooms_is_refused_at_once(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    """An old one to leave by, too: they would wait for what never comes."""
    async with scene_of(tmp_path) as scene:
        token = secret(scene).partition("@")[0]
        assert "new secret address" in await scene.do("token", "bo@example.org")
        server = LmtpServer("bridge.example", scene.network.incoming.knows)
        server.receive(b"LHLO mx\r\nMAIL FROM:<bo@example.org>\r\n")
        server.to_send()
        nobodys = ("bookz", f"{token}.off", f"{token}.each", "books+short", f"bookz+{'a' * 24}")
        for local in nobodys:
            server.receive(f"RCPT TO:<{local}@bridge.example>\r\n".encode())
            assert server.to_send() == b"550 5.1.1 No room has this address\r\n"
            assert await bring(scene, by_bo("x"), f"{local}@bridge.example") == 550
        server.receive(f"RCPT TO:<{secret(scene).replace('@', '.off@')}>\r\n".encode())
        assert server.to_send().startswith(b"250")
        assert page(scene) == {"no such address": len(nobodys)}


async def test_what_comes_to_a_return_address_is_counted(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    """Never answered: that would be a report about a report."""
    async with scene_of(tmp_path) as scene:
        await scene.room.send("one")
        await trio.sleep(10)
        table = scene.network.host.table("sent", large=True)
        [token] = (key.decode() for key, _ in scene.bridge.vault.items(table))
        away = by_bo("I am away", Auto_Submitted="auto-replied")
        for to in (f"bounce+{token}@bridge.example", f"bounce+{'a' * 24}@bridge.example"):
            assert await bring(scene, away, to, "") == 250
        assert page(scene) == {"no report": 1, "unknown report": 1}


async def test_what_stays_in_a_mailbox_is_set_aside_and_counted(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    """For no room, or unfit for any; who is refused is not told, and counted."""
    async with scene_of(tmp_path) as scene:
        take = scene.network.mailbox.take
        nobodys = await take(PROOF + by_bo("x", To="bookz@bridge.example"), frozenset())
        assert (nobodys.taken, nobodys.why) == (Taken.ASIDE, "it is for no room's address")
        scene.network.mailbox.set_aside(7, nobodys.why, nobodys.places)
        scene.network.mailbox.set_aside(8, f"{nobodys.why}; the server says no", nobodys.places)
        scene.network.mailbox.set_aside(9, "it is for another", frozenset({"films"}))
        large = by_bo("x" * 6_000_000, To="books@bridge.example")
        unfit = await take(large, frozenset())
        assert (unfit.taken, "too large" in unfit.why) == (Taken.ASIDE, True)
        assert unfit.places == {"books"}
        stranger = PROOF + mail("x\n", From="eve@example.org", To="books@bridge.example")
        assert (await take(stranger, frozenset())).taken is Taken.DONE
        found = page(scene)
        assert found["set aside"] == 3
        assert (found["no such address"], found["too large to hold"]) == (1, 1)
        assert found["not admitted"] == 2
        await trio.sleep(5)
        assert not any("set aside" in one for one in scene.notices()), "it is no room's matter"
        scene.network.mailbox.set_aside(10, unfit.why, unfit.places)
        await trio.sleep(5)
        assert any("set aside" in one for one in scene.notices())


@pytest.mark.parametrize("words", ["look\n", None])
async def test_an_owner_is_told_why_no_word_of_theirs_brings_a_mail_in(
    tmp_path: Path, post: Post, autojump_clock: MockClock, words: str | None
) -> None:
    """It waits on, until it is in the room or thrown away: whoever is ignored there, what the room
    has said itself; with words, or as nothing but a file."""

    def stranger(number: str) -> bytes:
        body = "--b\n" + part(
            "text/plain", b"data", 'Content-Disposition: attachment; filename="a"'
        )
        body = (f"--b\n\n{words}" if words else "") + body + "--b--\n"
        fields = {"Content_Type": "multipart/mixed; boundary=b", "Subject": None}
        return mail(body, From="Eve <eve@example.org>", Message_ID=f"<{number}>", **fields)

    async with scene_of(tmp_path) as scene:
        take, to = scene.network.incoming.take, "books@bridge.example"
        await scene.do("full", "on")
        await scene.room.send("by Ana")
        await trio.sleep(5)
        for number in ("1@example.org", post.mails[0][1].message_id):
            assert (await take(stranger(number), "eve@example.org", to))[0] == 250
        await scene.room.send("!bridge ignore *eve@example.org")
        await trio.sleep(5)
        assert "its sender is ignored here" in await scene.do("let", "0")
        assert (await scene.do("held")).count("eve@example.org") == 2
        await scene.room.send("!bridge unignore *eve@example.org")
        await trio.sleep(5)
        assert await scene.do("let", "0") == "It is in the room."
        if words:
            assert "it is what was said here" in await scene.do("let", "1")
            assert (await scene.do("held")).count("eve@example.org") == 1
        await trio.sleep(5)
        assert [one.startswith("Eve (unverified): <a>") for one in scene.texts()][-1]
