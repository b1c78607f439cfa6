"""`ofc-compliance` as a command, against a real `ofcd` process: one start for all of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ofcd.compliance import CHECKS
from tests.live.support import ROOT, Relay
from tests.prefork import run

SECONDS = 1500
"""A run of every check is 9 s of work for the kit alone, and much waiting: this only ends one
that hangs."""
pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(SECONDS + 60)]

# So few messages a second that a relay with a hundredth of a core still takes more.
LIMITS = """
events_per_second_per_member = 3
handshakes_per_minute_per_ip = 1000000
connections_per_ip = 5000
handshake_seconds = 2
control_per_minute_per_member = 10000
"""


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """A relay with rates for messages, and none that keeps one address out."""
    federation = '[federation]\nmode = "open"\n'
    relay = Relay(tmp_path_factory.mktemp("relay"), limits=LIMITS, more=federation)
    relay.start()
    yield relay
    relay.kill()


def compliance(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ofcd.compliance", *arguments]
    return run(command, capture_output=True, text=True, cwd=ROOT, timeout=SECONDS)


def fingerprint(relay: Relay) -> str:
    """As `ofcd` says it."""
    command = [sys.executable, "-m", "ofcd", "--config", str(relay.config), "keys"]
    said: str = run(command, capture_output=True, text=True, cwd=ROOT, timeout=SECONDS).stdout
    [found] = [word for word in said.split() if len(word) == 64]
    return found


def test_a_real_relay_keeps_every_promise(relay: Relay) -> None:
    """As a user runs it: every check, one object a line; nothing of it in the relay's log."""
    run = compliance(relay.url, "--json", "--relay-id", fingerprint(relay))
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert [line for line in lines[:-1] if line["outcome"] == "fail"] == [], run.stderr
    assert run.returncode == 0
    assert [line["check"] for line in lines[:-1]] == [one.name for one in CHECKS]
    skipped = {line["check"]: line["reason"] for line in lines[:-1] if line["outcome"] == "skip"}
    assert skipped.keys() == {"events.seen_stale"}, skipped
    assert lines[-1] == {"sum": {"pass": len(CHECKS) - 1, "fail": 0, "skip": 1}}
    log = relay.log.read_text()
    assert "please report" not in log, log[-3000:]
    assert relay.get("/healthz")[0] == 200


def test_what_people_are_shown(relay: Relay) -> None:
    """Some checks by name, and what each promises."""
    run = compliance(relay.url, "-k", "founding.once", "-k", "blobs.kept")
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [
        "pass  founding.once: The same GENESIS again is the same room, with the same answer.",
        "pass  blobs.kept: A stored chunk is never replaced: a repeat changes nothing.",
        "2 pass, 0 fail, 0 skip",
    ]


def test_another_relay_than_the_one_named(relay: Relay) -> None:
    """A wrong fingerprint is a broken promise: exit code 1, and the reason."""
    run = compliance(relay.url, "-k", "founding.once", "--relay-id", "ab" * 32)
    assert run.returncode == 1
    assert "fail  founding.once" in run.stdout
    assert "another key than --relay-id names" in run.stdout
    assert "1 fail" in run.stdout


def test_nobody_is_there(tmp_path: Path) -> None:
    """Exit code 3, and what to look at."""
    run = compliance("ws://127.0.0.1:9", "-k", "founding.once")
    assert run.returncode == 3
    assert "check the address" in run.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "name the relay"),
        (("ws://127.0.0.1:9", "-k", "no-such"), "see --list"),
        (("ws://127.0.0.1:9", "--relay-id", "xyz"), "64 hex digits"),
        (("ws://127.0.0.1:9", "--token-file", "/nowhere/at/all"), "--token-file"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], says: str) -> None:
    run = compliance(*arguments)
    assert run.returncode == 2
    assert says in run.stderr


def test_list(tmp_path: Path) -> None:
    """Every check, its promise and where it is made; no relay is needed."""
    lines = compliance("--list").stdout.splitlines()
    assert len(lines) == len(CHECKS)
    assert all("protocol.md, section" in line for line in lines)


def test_a_relay_that_asks_for_a_token(tmp_path: Path) -> None:
    """Without the token checks are skipped, and say why; with it they pass."""
    token = tmp_path / "token"
    token.write_text("correct horse battery\n")
    access = f'[access]\ncreate = "token"\ncreate_token_file = "{token}"\n'
    relay = Relay(tmp_path, limits=LIMITS, more=access)
    relay.start()
    try:
        without = compliance(relay.url, "-k", "events.sid")
        assert without.returncode == 0
        assert "skip  events.sid" in without.stdout
        assert "--token-file" in without.stdout
        with_it = compliance(relay.url, "-k", "events.sid", "--token-file", str(token))
        assert "pass  events.sid" in with_it.stdout
        assert "correct horse" not in with_it.stdout + with_it.stderr
    finally:
        relay.kill()
