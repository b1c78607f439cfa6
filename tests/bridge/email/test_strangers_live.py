"""Hostile mail, through real Postfix and Dovecot, to a bridge that is a process."""

from __future__ import annotations

import gzip
import io
import zipfile
from functools import partial
from pathlib import Path

import pytest
import trio

from ofcd.client import Room
from tests.bridge.email.corpus import mail, part
from tests.bridge.email.scene import mailed, settled, until
from tests.bridge.email.servers import MailServers, needs_servers
from tests.bridge.email.test_killed import SETTINGS, Bridge, start_all
from tests.live.support import Relay, client, keep_trying

pytestmark = [needs_servers, pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(900)]

DOV, EVA, FAR = "dov@people.test", "eva@people.test", "eva@far.test"
ROOM = "books@bridge.test"
GUESS = "abcdefghijklmnopqrstuvwx"
MIB = 1024 * 1024


def by(sender: str, text: str, **fields: str | None) -> bytes:
    head = {"From": sender, "Message_ID": f"<{text.replace(' ', '.')}@x.test>", **fields}
    return mail(f"{text}\n", **head)


def packed(text: bytes) -> str:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as one:
        for number in range(20):
            one.writestr(f"{number}.txt", text)
    attach = 'Content-Disposition: attachment; filename="{}"'
    parts = [
        "Content-Type: text/plain\n\nbombs\n",
        part("application/zip", made.getvalue(), attach.format("a.zip")),
        part("application/gzip", gzip.compress(text * 4), attach.format("b.gz")),
    ]
    return "--b\n" + "--b\n".join(parts) + "--b--\n"


def forgeries(secret: str) -> list[tuple[bytes, str, str]]:
    """Mail, envelope sender and recipient of what must never be said: nothing shows who sent it."""
    passed = b"Authentication-Results: mx.test; dmarc=pass header.from=people.test\r\n"
    return [
        (passed + by(DOV, "forged results"), FAR, secret),
        (passed.replace(b"mx.test", b"MX.test 1") + by(DOV, "forged version"), FAR, secret),
        (passed.replace(b"mx.test", b"(x) mx.test") + by(DOV, "forged comment"), FAR, secret),
        (b"From: " + FAR.encode() + b"\r\n" + by(DOV, "two From fields"), FAR, secret),
        (by(f"{DOV}, {FAR}", "two in From"), FAR, secret),
        (by(f'"{DOV}" <{FAR}>', "named as another"), FAR, secret),
        (by(f"=?utf-8?q?<{DOV}>?= <{FAR}>", "encoded as another"), FAR, secret),
        (by(f"{DOV} <{FAR}>", "bare and bracketed"), FAR, secret),
        (by("d\u043ev@people.test", "a letter of another script"), EVA, secret),
        (by("\u202evod@people.test", "turned round"), EVA, secret),
        (by(EVA, "the address of another"), EVA, secret),
        (by(DOV, "guessed"), DOV, f"books+{GUESS}@bridge.test"),
        (by("Ana via Book club <books@bridge.test>", "as the bridge"), FAR, ROOM),
    ]


def awkward() -> list[tuple[str, bytes]]:
    """What Dov, who may write, sends: each costs little, and is said."""
    words = "<b>x</b>" * 40_000 + "<div>" * 20_000 + "<!--" * 20_000 + "<pre>" + "x\n" * 200_000
    many = ",\r\n ".join(f"p{number:05}@far.test" for number in range(4000))
    dates = ("Thu, 01 Jan 1970 00:00:00 +0000", "Fri, 31 Dec 9999 23:59:59 -2359", "\u202e13:37")
    bombs = {"Content_Type": "multipart/mixed; boundary=b"}
    sealed = {
        "Content_Type": 'application/pkcs7-mime; smime-type=signed-data; name="smime.p7m"',
        "Content_Transfer_Encoding": "base64",
    }
    return [
        (name, by(DOV, body, Message_ID=f"<{number}@x.test>", Subject=name, **fields))
        for number, (name, body, fields) in enumerate(
            [
                ("tags", words, {"Content_Type": "text/html"}),
                ("bombs", packed(b"x" * MIB * 16), bombs),
                ("to many", "hello", {"Cc": many}),
                ("long header", "hello", {"X_Long": "y " * 45_000}),
                ("sealed", "MIAGCSqGSIb3DQEHAqCAMIACAQExDzANBglghkgBZQMEAgEFADCABgk=", sealed),
                *((f"date {date[-5:]}", "hello", {"Date": date}) for date in dates),
            ]
        )
    ]


async def test_strangers_say_nothing_and_end_nothing(
    tmp_path: Path, servers: MailServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "tests.bridge.email.test_killed.SETTINGS",
        SETTINGS.replace("per_hour = 1000000", "per_hour = 20") + 'allow = ["col@people.test"]\n',
    )
    relay, bridge = Relay(tmp_path), Bridge(tmp_path)
    relay.start()

    async def send(raw: bytes, sender: str, to: str, by: str = "smtp") -> None:
        await trio.to_thread.run_sync(partial(servers.send, raw, sender, to, by=by))

    try:
        async with client(tmp_path / "ana.vault") as ana, trio.open_nursery() as nursery:
            room = await start_all(tmp_path, relay, bridge, servers, ana, DOV)
            nursery.start_soon(keep_trying, ana)
            await room.send("hello")
            [first] = await mailed(servers, "dov")
            secret = str(first["Reply-To"])
            for raw, sender, to in forgeries(secret):
                # Where a server takes away what pretends to be its own (OpenDKIM), as ours has to.
                await send(raw, sender, to, by="checked" if raw.startswith(b"Auth") else "smtp")
            for box in (f"bounce+{GUESS}", "bounce", f"books+{GUESS}.off", f"books+{GUESS}.each"):
                await send(report(), "", f"{box}@bridge.test")
            await settled(servers)
            assert said(room) == []
            for name, raw in awkward():
                before = trio.current_time()
                await send(raw, DOV, secret)
                await until(partial(stands_in, room, name), 120)
                assert trio.current_time() - before < 60, name
            # Whoever takes the id of Dov's next mail first does not take his words away.
            await send(by("col@people.test", "by Col", Message_ID="<next@x.test>", To=ROOM),
                       "col@people.test", ROOM)  # fmt: skip
            await until(lambda: "by Col" in said(room))
            await send(by(DOV, "by Dov", Message_ID="<next@x.test>"), DOV, secret)
            await until(lambda: "by Dov" in said(room))
            for number in range(30):
                await send(by(DOV, f"I am away {number}"), DOV, secret)
            await settled(servers)
            assert sum("Over 20 mails" in one for one in texts(room)) == 1
            assert sum("I am away" in one for one in said(room)) < 20
            await room.send("are you there?")
            await mailed(servers, "dov", 2)
            told = [one for one in texts(room) if "wants no more" in one or "gets no more" in one]
            assert told == [], "nobody's address was ended"
            assert bridge.stop() == 0
            nursery.cancel_scope.cancel()
    finally:
        bridge.kill()
        relay.stop()
    assert bridge.starts == 1
    assert "Traceback" not in bridge.log()
    assert "could not be handled" not in bridge.log()


def stands_in(room: Room, words: str) -> bool:
    return any(words in one for one in texts(room))


def report() -> bytes:
    body = (
        "--b\n\nSorry.\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; x\n\n"
        f"Final-Recipient: rfc822; {DOV}\nAction: failed\nStatus: 5.1.1\n--b--\n"
    )
    kind = "multipart/report; report-type=delivery-status; boundary=b"
    return mail(body, From="MAILER-DAEMON@x.test", Content_Type=kind)


def said(room: Room) -> list[str]:
    """The last line of each thing that was said by mail."""
    return [
        m.text.rpartition("\n")[2]
        for m in room.messages(since=0, limit=10_000)
        if m.via is not None and m.file is None
    ]


def texts(room: Room) -> list[str]:
    return [
        m.text if m.file is None else f"{m.text} {m.file.name}"
        for m in room.messages(since=0, limit=10_000)
        if not m.mine
    ]
