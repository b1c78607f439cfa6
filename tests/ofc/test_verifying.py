"""`ofc verify --phrase` and `ofc alias`: two people at two terminals."""

from __future__ import annotations

import getpass
import io
import sys

import pytest
import trio
from trio.testing import MockClock

from ofcd.client import ComparisonFailed
from ofcd.ofc.commands.verifying import VerifyOptions
from ofcd.ofc.console import Shape
from ofcd.ofc.errors import PhraseDiffers, TimedOut, UsageError, report_of
from ofcd.ofc.inputs import no_input
from ofcd.ofc.layout import lines_of, table
from ofcd.ofc.parser import parse
from ofcd.ofc.runner import Host
from ofcd.ofc.sentences import sentence
from tests.ofc.people import Person, Recorder, Street


class Typist:
    """What a person types when a command asks for the phrase."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch

    def types(self, phrase: str) -> None:
        self._patch.setattr(sys, "stdin", io.StringIO(f"{phrase}\n"))


@pytest.fixture
def typist(monkeypatch: pytest.MonkeyPatch) -> Typist:
    """Standard input of the next command."""
    return Typist(monkeypatch)


async def begun(street: Street, person: Person, typist: Typist, other: str) -> Recorder:
    """A comparison that waits for the other side."""
    typist.types("purple elephant")
    output = street.start(person, "verify", "Club", other, "--phrase")
    await output.until_note("Waiting for")
    await trio.sleep(5)
    return output


async def test_both_type_the_same_phrase(
    street: Street, typist: Typist, autojump_clock: MockClock
) -> None:
    """Each is told that the other's keys are genuine, `members` shows it, and nothing is unsent."""
    ana, bo = await street.pair()
    tail = street.start(bo, "tail", "Club")
    mine = await begun(street, ana, typist, "Bo")
    asked = await tail.until_event(lambda e: e["kind"] == "compare_asked")
    assert asked["name"] == "Ana"
    assert "Ana wants to compare" in sentence(asked)
    typist.types("Purple Elephant")
    theirs = await bo.ofc("verify", "Club", "Ana", "--phrase")
    await trio.sleep(5)
    for output, name in ((mine, "Bo"), (theirs, "Ana")):
        made = output.one(Shape.CHANGED)
        assert f"{name}'s keys are genuine" in made["did"]
        assert made["verified"] > 0
    [room] = bo.client.rooms
    assert room.outbox() == []
    ended = await tail.until_event(lambda e: e["kind"] == "compare_ended")
    assert "genuine" in sentence(ended)
    rows = (await ana.ofc("members", "Club")).of(Shape.MEMBER)
    assert [row.get("verified") is not None for row in rows] == [False, True]
    assert "verified by phrase" in table(Shape.MEMBER, rows)[-1].plain


async def test_another_phrase_is_an_alarm(
    street: Street, typist: Typist, autojump_clock: MockClock
) -> None:
    """With an exit code of its own kind, on both sides; nobody is verified."""
    ana, bo = await street.pair()
    failed: list[PhraseDiffers] = []
    output = Recorder()

    async def first() -> None:
        with pytest.raises(PhraseDiffers, match="did not type the same phrase") as raised:
            await ana.run(output, "verify", "Club", "Bo", "--phrase")
        failed.append(raised.value)

    typist.types("purple elephant")
    street.nursery.start_soon(first)
    await output.until_note("Waiting for")
    await trio.sleep(5)
    typist.types("yellow elephant")
    with pytest.raises(PhraseDiffers):
        await bo.ofc("verify", "Club", "Ana", "--phrase")
    await trio.sleep(5)
    assert [report_of(error).exit for error in failed] == [7]
    rows = (await ana.ofc("members", "Club")).of(Shape.MEMBER)
    assert all("verified" not in row for row in rows)


async def test_a_comparison_nobody_joins_ends(
    street: Street, typist: Typist, autojump_clock: MockClock
) -> None:
    """After ten minutes; or after --timeout, and then the other side is told that it is over."""
    ana, bo = await street.pair()
    typist.types("purple elephant")
    long = parse(["verify", "Club", "Bo", "--phrase"])
    with pytest.raises(ComparisonFailed, match="in time"), trio.fail_after(700):
        await Host(ana.client).execute(long.command, long.options, Recorder(), no_input())
    typist.types("purple elephant")
    with pytest.raises(TimedOut):
        await ana.ofc("verify", "Club", "Bo", "--phrase", "--timeout", "5")
    [room] = ana.client.rooms
    assert room.outbox() == []
    await trio.sleep(1)
    [theirs] = bo.client.rooms
    assert bo.client._machine(theirs.id).comparing._offers == {}


def test_the_phrase_is_asked_for_and_never_an_argument(
    typist: Typist, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal without echo, else the first line; it stands in no repr."""
    typist.types("from a pipe")
    options = parse(["verify", "Club", "Bo", "--phrase"]).options
    assert isinstance(options, VerifyOptions)
    assert options.phrase == "from a pipe"
    assert "pipe" not in repr(options)

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    asked: list[str] = []

    def typed(prompt: str, stream: object) -> str:
        asked.append(prompt)
        return "at the terminal"

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(getpass, "getpass", typed)
    options = parse(["verify", "--phrase", "Club", "Bo"]).options
    assert isinstance(options, VerifyOptions)
    assert options.phrase == "at the terminal"
    assert asked == ["Phrase that Bo types too: "]
    assert parse(["verify", "Club", "Bo"]).options == VerifyOptions(room="Club", member="Bo")
    with pytest.raises(UsageError):
        parse(["verify", "Club", "Bo", "--phrase=secret"])
    typist.types("  ")
    with pytest.raises(UsageError, match="no phrase"):
        parse(["verify", "Club", "Bo", "--phrase"])


async def test_two_devices_of_one_person(street: Street, autojump_clock: MockClock) -> None:
    """Shown once both have said so, and no longer once one takes it back."""
    ana, bo = await street.pair()
    first = (await ana.ofc("alias", "Club", "Bo")).one(Shape.CHANGED)
    assert not first["same"]
    assert "once Bo says it too" in first["did"]
    tail = street.start(ana, "tail", "Club")
    await trio.testing.wait_all_tasks_blocked()
    second = (await bo.ofc("alias", "Club", "Ana")).one(Shape.CHANGED)
    assert second["same"]
    told = await tail.until_event(lambda e: e["kind"] == "alias")
    assert "one person's devices" in sentence(told)
    rows = (await ana.ofc("members", "Club")).of(Shape.MEMBER)
    assert [row["same_as"] for row in rows] == [[rows[1]["member"]], [rows[0]["member"]]]
    assert f"same person as {rows[0]['member'][:8]}" in table(Shape.MEMBER, rows)[-1].plain
    await ana.ofc("alias", "Club", "Bo", "--remove")
    told = await tail.until_event(lambda e: e["kind"] == "alias" and not e["same"])
    assert "no longer say" in sentence(told)
    assert all("same_as" not in r for r in (await bo.ofc("members", "Club")).of(Shape.MEMBER))
    with pytest.raises(UsageError, match="this device"):
        await ana.ofc("alias", "Club", "Ana")


async def test_the_code_says_that_there_is_a_phrase(
    street: Street, autojump_clock: MockClock
) -> None:
    """Who runs `verify` learns of the other way."""
    ana, _ = await street.pair()
    shown = lines_of(Shape.VERIFY, (await ana.ofc("verify", "Club", "Bo")).one(Shape.VERIFY))
    assert "--phrase" in "".join(line.plain for line in shown)
