"""A relay, a bridge and mail servers as processes, killed at random: every mail arrives once.

`make soak-mail` makes ten minutes of it; the suite's own run is short.
"""

from __future__ import annotations

import os
import random
import re
import signal
import sys
from collections import Counter
from collections.abc import Iterable
from email.message import EmailMessage, Message
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest
import trio
from attrs import define, field

from ofcd.client import Client, Room
from ofcd.protocol.records import Cap
from tests.bridge.email.scene import body_of, mailed, settled, until
from tests.bridge.email.servers import HAS_SIEVE, PASSWORD, MailServers, needs_servers
from tests.live.support import ROOT, Relay, client, keep_trying
from tests.prefork import Program


def _has_command() -> bool:
    """Whether `ofc-bridge` is there, and knows mail."""
    if find_spec("bridge.kinds") is None:
        return False
    return "email" in import_module("bridge.kinds").KINDS


pytestmark = [
    needs_servers,
    pytest.mark.skipif(not _has_command(), reason="ofc-bridge does not know mail yet"),
    pytest.mark.live,
    pytest.mark.slow,
]

SECONDS: Final = float(os.environ.get("OFCD_SOAK_SECONDS", "12"))
_PATIENCE: Final = 600.0
"""Seconds for all to arrive once nobody dies any more; some may have just been put off."""
MARKER: Final = "quicksilver"
"""Stands in every word that is said: it must not be found at the relay."""
_VICTIMS: Final = ("bridge", "bridge", "relay", "postfix", "dovecot")
"""Each of them in every turn, in any order."""

SETTINGS: Final = """
[bridge]
join = ["{link}"]
[log]
level = "warning"
[[email]]
domain = "bridge.test"
authserv_id = "mx.test"
per_hour = 1000000
[email.smtp]
host = "localhost"
port = {submission}
user = "bridge"
password_file = "password"
ca_file = "{ca}"
[email.lmtp]
port = {lmtp}
[[portal]]
room = "Book club"
network = "mail"
place = "books"
in_per_second = 1000.0
out_per_second = 1000.0
[portal.email]
subscribers = ["{person}"]
hold = 0.0
notice_every = 0.0
"""


@define
class Bridge:
    """`ofc-bridge` as a process."""

    folder: Path
    process: Program[bytes] | None = field(default=None, repr=False)
    starts: int = 0

    def start(self) -> None:
        with (self.folder / "bridge.log").open("ab") as log:
            config = str(self.folder / "bridge.toml")
            self.process = Program(
                [sys.executable, "-m", "bridge.cli", "run", "--config", config],
                stdout=log,
                stderr=log,
                cwd=ROOT,
            )
        self.starts += 1

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        return self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(how)
        code = self.process.wait(120)
        self.process = None
        return code

    def log(self) -> str:
        return (self.folder / "bridge.log").read_text()


async def start_all(
    folder: Path, relay: Relay, bridge: Bridge, servers: MailServers, ana: Client, person: str
) -> Room:
    room = await ana.create_room(relay.url, "Book club", my_name="Ana")
    link = (await room.invite(caps={Cap.BRIDGE})).link()
    (folder / "password").write_text(PASSWORD)
    (folder / "bridge.toml").write_text(
        SETTINGS.format(
            link=link,
            submission=servers.ports["submission"],
            ca=servers.ca_file,
            lmtp=servers.domains["bridge"].rpartition(":")[2],
            person=person,
        )
    )
    bridge.start()
    await until(lambda: any("I copy this room" in m.text for m in room.messages()))
    await room.send("!bridge mail full on")
    await until(lambda: any("goes out" in m.text for m in room.messages()))
    return room


async def kill_at_random(
    relay: Relay, bridge: Bridge, servers: MailServers, chance: random.Random
) -> Counter[str]:
    """For SECONDS; everything runs again at the end."""
    killed: Counter[str] = Counter()
    until_ = trio.current_time() + SECONDS
    turn: list[str] = []
    while turn or trio.current_time() < until_:
        await trio.sleep(chance.uniform(0.5, 3.0))
        turn = turn or chance.sample(_VICTIMS, len(_VICTIMS))
        victim = turn.pop()
        killed[victim] += 1
        match victim:
            case "bridge":
                bridge.kill()
                bridge.start()
            case "relay":
                relay.kill()
                await trio.to_thread.run_sync(relay.start)
            case "postfix":
                await trio.to_thread.run_sync(servers.kill_postfix)
                await trio.to_thread.run_sync(servers.start_postfix)
            case _:
                await trio.to_thread.run_sync(servers.kill_dovecot)
                await trio.to_thread.run_sync(servers.start_dovecot)
    return killed


async def write_mails(servers: MailServers, to: str, person: str, wanted: list[str]) -> None:
    """A person who writes again where the server took nothing, as programs do."""
    number = 0
    while True:
        text = f"{MARKER} in {number}"
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = person, to, "x"
        message["Message-ID"] = f"<{number}.{person}>"
        message.set_content(text)
        send = partial(servers.send, message.as_bytes(), person, to)
        while True:
            try:
                await trio.to_thread.run_sync(send)
                break
            except OSError:
                await trio.sleep(0.2)
        wanted.append(text)
        number += 1
        await trio.sleep(0.3)


async def write_messages(ana: Client, room: Room, wanted: list[str]) -> None:
    number = 0
    while True:
        text = f"{MARKER} out {number}"
        with ana.transaction() as tx:
            room.queue(tx, text)
        wanted.append(text)
        number += 1
        await trio.sleep(0.3)


@pytest.mark.timeout(SECONDS + 1800)
async def test_every_mail_arrives_once_whoever_dies(tmp_path: Path, servers: MailServers) -> None:
    """G1, G2, M1, and no word of it at the relay."""
    person = "pia@people.test"
    # As mailboxes do: what comes twice under one id is shown once (RFC 7352).
    servers.give_sieve("pia", 'require "duplicate"; if duplicate { discard; }')
    relay, bridge = Relay(tmp_path), Bridge(tmp_path)
    relay.start()
    said: list[str] = []
    mailed_in: list[str] = []
    try:
        async with client(tmp_path / "ana.vault") as ana, trio.open_nursery() as nursery:
            room = await start_all(tmp_path, relay, bridge, servers, ana, person)
            nursery.start_soon(keep_trying, ana)
            await room.send(f"{MARKER} first")
            said.append(f"{MARKER} first")
            [first] = await mailed(servers, "pia")
            to = str(first["Reply-To"])
            async with trio.open_nursery() as writers:
                writers.start_soon(write_mails, servers, to, person, mailed_in)
                writers.start_soon(write_messages, ana, room, said)
                killed = await kill_at_random(relay, bridge, servers, random.Random(5))
                writers.cancel_scope.cancel()
            assert min(killed[one] for one in _VICTIMS) > 0, killed
            await until(lambda: len(words_in(room)) >= len(mailed_in), _PATIENCE)
            await mailed(servers, "pia", len(said), seconds=_PATIENCE)
            await settled(servers, _PATIENCE)
            mails = await mailed(servers, "pia")
            counted = sum(int(n) for n in re.findall(r"twice.*?count=(\d+)", bridge.log()))
            print(f"\nkilled: {dict(killed)}")
            print(f"in: {len(mailed_in)} mails, {_inversions(words_in(room))} overtaken")
            print(f"out: {len(said)} messages, {_inversions(map(words_of, mails))} overtaken")
            print(f"sent again because a link or a process died within a mail: {counted}")
            # Postfix brings what waited in an order of its own; from there on it is kept.
            assert sorted(words_in(room)) == sorted(mailed_in), "all, and once"
            assert_all_once(mails, said, counted)
            # The bridge does keep it: so each was handed to the server.
            bodies = {str(one["Message-ID"]).strip("<>"): words_of(one) for one in mails}
            handed = [bodies[one] for one in servers.taken_in_order() if one in bodies]
            assert handed == said
            assert bridge.stop() == 0
            nursery.cancel_scope.cancel()
    finally:
        bridge.kill()
        relay.stop()
    assert_secret(tmp_path)


def assert_all_once(mails: list[Message[Any, Any]], said: list[str], counted: int) -> None:
    """Each message is one mail, under one id, however often it was sent."""
    ids = Counter(str(one["Message-ID"]) for one in mails)
    bodies = {str(one["Message-ID"]): words_of(one) for one in mails}
    assert sorted(bodies.values()) == sorted(said)
    # SMTP can not tell a mail that was taken from one that was not: those are counted, and the
    # mailbox shows them once. Killed, Postfix and Dovecot store some again: under the same id.
    doubled = len({taken_as(one) for one in mails}) - len(ids)
    assert doubled <= counted
    if HAS_SIEVE:
        assert doubled == 0


def _inversions(words: Iterable[str]) -> int:
    """How many came after one that was said later."""
    last, late = -1, 0
    for text in words:
        found = re.search(r"(\d+)$", text)
        number = int(found[1]) if found else -1
        late += number < last
        last = max(last, number)
    return late


def assert_secret(folder: Path) -> None:
    """No word of it stands in the relay's files, nor in a log, nor in the bridge's vault."""
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "ana.vault":
            assert MARKER.encode() not in path.read_bytes(), path


def taken_as(mail: Message[Any, Any]) -> tuple[str, str]:
    """A mail, and Postfix's id of it: killed, Postfix delivers some again, under the same id."""
    found = re.search(r"with ESMTPSA id (\w+)", " ".join(mail.get_all("Received", [])))
    assert found is not None
    return str(mail["Message-ID"]), found[1]


def words_of(mail: Message[Any, Any]) -> str:
    """What a mail says; one that comes late says before it when that was said (G2)."""
    return re.sub(r"\AAna, [-\d]+ [:\d]+ UTC:\n", "", body_of(mail))


def words_in(room: Room) -> list[str]:
    """What came by mail, in the room's order."""
    return [
        m.text.rpartition("\n")[2]
        for m in room.messages(since=0, limit=100_000)
        if m.via is not None
    ]
