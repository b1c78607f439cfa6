"""`ofc verify --phrase` between processes, each of which ends as soon as it knows the result."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.live.support import Relay
from tests.live.test_ofc import PATIENCE, Person
from tests.prefork import Program

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(120)]


def pair(relay: Relay, folder: Path) -> tuple[Person, Person]:
    """Ana and Bo in a room, neither of them online."""
    ana, bo = Person(folder / "ana.db"), Person(folder / "bo.db")
    ana.ofc("create", "Club", "--name", "Ana", "--relay", relay.url)
    with ana.serving():
        link = ana.json("invite", "Club").one["link"]
        bo.ofc("join", link, "--name", "Bo")
    return ana, bo


def begin(person: Person, other: str, phrase: str) -> subprocess.Popen[str]:
    """The command, in a process that has typed the phrase and waits for the other side."""
    process = Program[str](
        person.command("--json", "verify", "Club", other, "--phrase"),
        env=person.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write(f"{phrase}\n")
    process.stdin.flush()
    assert "Waiting for" in json.loads(process.stderr.readline())["note"]
    return process


@pytest.mark.parametrize(
    ("typed", "code"), [("Purple Elephant", 0), ("yellow elephant", 7)], ids=["same", "different"]
)
def test_two_processes_compare(relay: Relay, tmp_path: Path, typed: str, code: int) -> None:
    """Both learn the same, and only a match is shown by `members` afterwards."""
    ana, bo = pair(relay, tmp_path)
    with begin(ana, "Bo", "purple elephant") as waiting:
        bo.json("verify", "Club", "Ana", "--phrase", typed=f"{typed}\n", code=code)
        out, err = waiting.communicate(timeout=PATIENCE)
    assert waiting.returncode == code, err
    assert (json.loads(out)["verified"] > 0) if code == 0 else out == ""
    for person in (ana, bo):
        marks = ["verified" in row for row in person.json("members", "Club").objects]
        assert sorted(marks) == [False, code == 0]


def test_who_stops_waiting_says_so(relay: Relay, tmp_path: Path) -> None:
    """Ctrl-C: the other side hears of it with the next command, and can begin a run of its own."""
    ana, bo = pair(relay, tmp_path)
    with begin(ana, "Bo", "purple elephant") as waiting:
        waiting.terminate()
        waiting.communicate(timeout=PATIENCE)
    assert waiting.returncode == 130
    ana.ofc("send", "Club", "sorry, wait")
    with begin(bo, "Ana", "purple elephant") as again:
        ana.json("verify", "Club", "Bo", "--phrase", typed="purple elephant\n")
        again.communicate(timeout=PATIENCE)
    assert again.returncode == 0
