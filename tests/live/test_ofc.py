"""`ofc` as people run it: real processes, a real relay, a real socket between them."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen

from tests.prefork import Program, run

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(120)]

PYTHON = [sys.executable, "-m"]
RELAY = '[relay]\nport = 0\ndata_dir = "{folder}"\n[log]\nlevel = "warning"\n'
RELAY += "[limits]\nhandshakes_per_minute_per_ip = 1000000\n"
PATIENCE = 30


@frozen
class Done:
    """A process that ended."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """What it printed with --json."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def one(self) -> dict[str, Any]:
        """The only object."""
        [made] = self.objects
        return made

    @property
    def error(self) -> dict[str, Any]:
        """The error it ended with."""
        found: dict[str, Any] = json.loads(self.err.splitlines()[-1])
        return found


@frozen
class Person:
    """Somebody with a vault and a shell."""

    vault: Path
    passphrase: str = "so geheim"
    more: dict[str, str] = field(factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """As in a terminal, with the passphrase in it."""
        return {**os.environ, "OFC_PASSPHRASE": self.passphrase, "TZ": "UTC", **self.more}

    def command(self, *words: str) -> list[str]:
        """The command line."""
        return [*PYTHON, "ofcd.ofc.cli", "--vault", str(self.vault), *words]

    def ofc(self, *words: str, typed: str = "", code: int = 0) -> Done:
        """Run a command to its end, which is to be `code`."""
        ran = run(
            self.command(*words),
            input=typed,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        done = Done(ran.returncode, ran.stdout, ran.stderr)
        assert done.code == code, done
        return done

    def json(self, *words: str, typed: str = "", code: int = 0) -> Done:
        """The same with --json."""
        return self.ofc("--json", *words, typed=typed, code=code)

    @contextmanager
    def running(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """A command that lasts."""
        process = Program[str](
            self.command("--json", *words),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE)

    @contextmanager
    def serving(self) -> Iterator[subprocess.Popen[str]]:
        """`ofc serve`, which listens for other commands."""
        with self.running("serve") as process:
            wait_for(self._is_served)
            yield process

    def _is_served(self) -> bool:
        with socket.socket(socket.AF_UNIX) as guest:
            return guest.connect_ex(str(self.vault.with_name(self.vault.name + ".sock"))) == 0


def wait_for(true: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a relay that runs."""
    folder = tmp_path_factory.mktemp("relay")
    config = folder / "relay.toml"
    config.write_text(RELAY.format(folder=folder / "data"))
    process = Program[str](
        [*PYTHON, "ofcd", "--config", str(config)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


@pytest.fixture
def ana(relay: str, tmp_path: Path) -> Person:
    """Ana, who has made the room Club."""
    made = Person(tmp_path / "ana" / "vault.db")
    made.json("create", "Club", "--name", "Ana", "--relay", relay)
    return made


@pytest.fixture
def bo(tmp_path: Path) -> Person:
    """Bo, who has nothing yet."""
    return Person(tmp_path / "bo" / "vault.db")


def bring_in(ana: Person, bo: Person) -> dict[str, Any]:
    """Ana is online and lets Bo in."""
    with ana.serving():
        link = ana.json("invite", "Club").one["link"]
        return bo.json("join", link, "--name", "Bo").one


def texts(done: Done) -> list[str]:
    return [e["text"] for e in done.objects if e["kind"] == "message"]


def test_from_nothing_to_a_conversation(relay: str, ana: Person, bo: Person) -> None:
    """create, invite, join, send, read, members, verify: the fields that scripts count on."""
    room = ana.json("rooms").one["room"]
    joined = bring_in(ana, bo)
    assert joined["room"] == room
    sent = ana.json("send", "Club", "hello Bo").one
    answer = bo.json("send", "Club", "--reply-to", str(sent["seq"]), typed="hello\nAna\n").one
    assert answer["seq"] == sent["seq"] + 1
    read = ana.json("read", "Club")
    assert texts(read) == ["hello Bo", "hello\nAna"]
    message = read.objects[-1]
    assert (message["seq"], message["event_id"]) == (answer["seq"], answer["event_id"])
    assert (message["member"], message["name"]) == (joined["member"], "Bo")
    assert abs(message["ts"] - time.time() * 1000) < 600_000
    members = {m["name"]: m for m in ana.json("members", "Club").objects}
    assert (members["Ana"]["role"], members["Bo"]["role"]) == ("root", "member")
    assert members["Bo"]["member"] == joined["member"]
    assert members["Bo"]["caps"] == []
    codes = ana.json("verify", "Club", "Bo").one, bo.json("verify", "Club", "Ana").one
    assert codes[0]["safety_number"] == codes[1]["safety_number"]


def test_the_secret_of_an_invite_is_behind_the_hash(ana: Person) -> None:
    """The page before it is the relay's own, and says nothing."""
    link = ana.json("invite", "Club").one["link"]
    page, secret = link.split("#")
    assert page.startswith("http://")
    assert secret.startswith("ofc1:")
    assert len(page) < 40
    shown = ana.ofc("invite", "Club", "--qr").out
    assert "█" in shown
    assert "#ofc1:" in shown


def test_keys_eviction_and_leaving(ana: Person, bo: Person) -> None:
    """Rotation is read across; who is evicted reads nothing more; who left is gone."""
    bring_in(ana, bo)
    assert ana.json("rotate", "Club").one["epoch"] == 1
    ana.json("send", "Club", "after the rotation")
    assert texts(bo.json("read", "Club")) == ["after the rotation"]
    assert ana.json("evict", "Club", "Bo").one["epoch"] == 2
    ana.json("send", "Club", "without Bo")
    assert "without Bo" not in bo.ofc("read", "Club", "--json", code=5).out
    assert bo.json("send", "Club", "still there?", code=5).error["error"] in (
        "not_found",
        "evicted",
    )
    assert ana.json("leave", "Club").one["status"] == "left"


def test_a_member_is_refused_what_owners_may(ana: Person, bo: Person) -> None:
    """With code 5, and the protocol's word."""
    bring_in(ana, bo)
    assert bo.json("evict", "Club", "Ana", code=5).error["error"] == "forbidden"
    assert bo.json("evict", "Club", "Zoe", code=6).error["error"] == "unknown"


def test_an_invite_is_good_once(ana: Person, bo: Person, tmp_path: Path) -> None:
    """The second who uses it is told so."""
    with ana.serving():
        link = ana.json("invite", "Club").one["link"]
        bo.json("join", link)
        cy = Person(tmp_path / "cy.db")
        assert cy.json("join", link, code=5).error["error"] == "invite_used"


def test_a_join_goes_on_after_ctrl_c(ana: Person, bo: Person) -> None:
    """Nobody was there to admit; the next command finds that it was done meanwhile."""
    link = ana.json("invite", "Club").one["link"]
    with bo.running("join", link, "--name", "Bo") as process:
        assert process.stderr is not None
        assert "vault" in process.stderr.readline()
        assert "Ctrl-C is safe" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
    with ana.serving():
        assert bo.json("join", link).one["name"] == "Club"


def test_files_there_and_back(ana: Person, bo: Person, tmp_path: Path) -> None:
    """A megabyte, byte for byte; nothing outside the directory named."""
    bring_in(ana, bo)
    source = tmp_path / "pic.png"
    source.write_bytes(os.urandom(1_000_000))
    ana.json("send", "Club", "--file", str(source), "look")
    [event] = [
        e for e in bo.json("read", "Club", "--save", str(tmp_path / "got")).objects
        if e["kind"] == "file"
    ]  # fmt: skip
    assert event["text"] == "look"
    assert Path(event["file"]["saved"]) == tmp_path / "got" / "pic.png"
    assert Path(event["file"]["saved"]).read_bytes() == source.read_bytes()


def test_export_backup_restore_and_a_new_passphrase(ana: Person, tmp_path: Path) -> None:
    """The whole history comes out, and the whole vault comes back."""
    for text in ("one", "two"):
        ana.json("send", "Club", text)
    ana.json("export", "Klub", "--output", str(tmp_path / "club.jsonl"), code=6)
    ana.ofc("export", "Club", "--output", str(tmp_path / "club.jsonl"))  # the name is still free
    lines = [json.loads(line) for line in (tmp_path / "club.jsonl").read_text().splitlines()]
    assert [e["text"] for e in lines if e["kind"] == "message"] == ["one", "two"]
    assert (tmp_path / "club.jsonl").stat().st_mode & 0o777 == 0o600
    assert "Ana" in ana.ofc("export", "Club", "--format", "text", "--local").out
    ana.json("backup", str(tmp_path / "backup"))
    ana.json("restore", str(tmp_path / "backup"), code=3)
    copy = Person(tmp_path / "copy.db")
    copy.json("restore", str(tmp_path / "backup"))
    assert texts(copy.json("read", "Club", "--local")) == ["one", "two"]
    (tmp_path / "new").write_text("another\n")
    copy.json("passphrase", "change", "--new-passphrase-file", str(tmp_path / "new"))
    assert copy.json("rooms", code=3).error["error"] == "wrong_passphrase"
    assert copy.json("rooms", "--passphrase-file", str(tmp_path / "new")).one["name"] == "Club"


def test_every_command_works_while_another_has_the_vault(ana: Person, bo: Person) -> None:
    """Without the passphrase: it never leaves the process that opened the vault."""
    bring_in(ana, bo)
    guest = Person(ana.vault, passphrase="")
    with ana.serving():
        sent = guest.json("send", "Club", "from another process").one
        assert texts(guest.json("read", "Club")) == ["from another process"]
        assert guest.json("rotate", "Club").one["epoch"] == 1
        assert guest.json("read", "Nope", code=6).error["error"] == "unknown"
        assert guest.json("passphrase", code=3).error["error"] == "no_passphrase"
        with guest.running("tail", "Club", "--since", str(sent["seq"] - 1)) as tail:
            assert tail.stdout is not None
            assert json.loads(tail.stdout.readline())["text"] == "from another process"
        chat = guest.json("chat", "Club", "--history", "0", typed="said in a chat\n/quit\n")
        assert chat.code == 0
    assert not list(ana.vault.parent.glob("*.sock"))
    assert texts(bo.json("read", "Club")) == ["from another process", "said in a chat"]


def test_a_killed_agent_is_no_obstacle(ana: Person) -> None:
    """Its socket stays behind, and is replaced."""
    with ana.serving() as process:
        process.kill()
        process.wait(PATIENCE)
        assert list(ana.vault.parent.glob("*.sock"))
        ana.json("send", "Club", "by myself")
        with ana.serving():
            assert Person(ana.vault, passphrase="").json("rooms").one["name"] == "Club"


def test_serve_in_the_background_ends_by_its_own_signals_only(ana: Person) -> None:
    """A shell starts it deaf to Ctrl-C, which is for the command in front; it says how it ended."""
    line = f"exec {shlex.join(ana.command('serve'))}"
    process = subprocess.Popen(
        ["bash", "-c", f"trap '' INT; {line}"],
        env=ana.environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(ana._is_served)
        process.send_signal(signal.SIGINT)
        ana.json("send", "Club", "is anybody there?")
        assert process.poll() is None
    finally:
        process.terminate()
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert "Ended by SIGTERM" in said


def test_serve_outlives_the_command_that_ran_it(ana: Person) -> None:
    """Begun while `tail` has the vault, it goes on by itself when that ends."""
    with ana.running("tail", "Club") as tail:
        wait_for(ana._is_served)
        with ana.running("serve") as serving:
            time.sleep(1.5)  # until it has handed itself over: nothing outside shows that
            tail.terminate()
            tail.wait(PATIENCE)
            wait_for(ana._is_served)
            ana.json("send", "Club", "still here")
            assert serving.poll() is None


def test_two_commands_at_once_take_turns(ana: Person) -> None:
    """Neither fails because the other has the vault for a moment."""
    with ana.running("send", "Club", "one") as first, ana.running("send", "Club", "two") as second:
        assert first.wait(PATIENCE) == second.wait(PATIENCE) == 0
    assert sorted(texts(ana.json("read", "Club"))) == ["one", "two"]


def test_without_a_relay(ana: Person, tmp_path: Path) -> None:
    """Exit code 4, in the time that was given."""
    other = Person(tmp_path / "other.db")
    nowhere = ["--relay", "ws://127.0.0.1:1", "--timeout", "2"]
    assert other.json("create", "Room", *nowhere, code=4).error["error"] == "timeout"


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (["rooms"], 3, "vault_missing"),
        (["sned"], 2, "usage"),
        (["send"], 2, "usage"),
        (["join", "https://relay.test/#ofc1:abc"], 5, "bad_invite"),
        (["restore", "nowhere"], 3, "vault_missing"),
    ],
)
def test_mistakes_have_a_code_and_a_sentence(
    words: list[str], code: int, error: str, tmp_path: Path
) -> None:
    """As JSON for scripts, as a line for people; never a traceback."""
    nobody = Person(tmp_path / "nobody.db")
    assert nobody.json(*words, code=code).error["error"] == error
    shown = Person(tmp_path / "nobody2.db").ofc(*words, code=code).err
    assert "Traceback" not in shown
    assert "ofc: " in shown


def test_a_reader_that_goes_away(ana: Person) -> None:
    """`ofc read … | head -1` ends quietly."""
    for number in range(3):
        ana.json("send", "Club", f"line {number}")
    line = " ".join([*ana.command("read", "Club"), "| head -1"])
    ran = subprocess.run(
        ["bash", "-c", line], env=ana.environment, capture_output=True, text=True, check=False
    )
    assert ran.stdout.count("\n") == 1
    assert ran.stderr == ""
