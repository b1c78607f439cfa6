"""`ofc chat`: what is typed, and what is shown.

Tests that work with files do not name `autojump_clock`: files are read in threads, and the world's
clock would run away meanwhile.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from attrs import define
from trio.testing import MockClock

from ofcd.client import NotAllowed
from ofcd.ofc.chat import COMMANDS, TYPING_SECONDS, Typed, parse_line
from ofcd.ofc.console import Shape
from tests.ofc.people import Person, Recorder, Street


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("hello there", Typed(None, "hello there")),
        ("  indented", Typed(None, "  indented")),
        ("//etc is a path", Typed(None, "/etc is a path")),
        ("/help", Typed("help", "")),
        ("/REPLY 12  yes ", Typed("reply", "12  yes")),
        ("/me waves\nboth hands", Typed("me", "waves\nboth hands")),
        ("", None),
        ("   ", None),
    ],
)
def test_what_a_line_means(line: str, meant: Typed | None) -> None:
    """Words, or a command."""
    assert parse_line(line) == meant


@define
class Chatting:
    """Somebody in a chat."""

    person: Person
    output: Recorder
    keys: trio.MemorySendChannel[dict[str, Any]]
    folder: Path

    async def types(self, line: str) -> None:
        await self.keys.send({"line": line, "cwd": str(self.folder)})

    async def done(self) -> None:
        """All that was typed was dealt with."""
        await trio.testing.wait_all_tasks_blocked()

    @property
    def status(self) -> dict[str, Any]:
        return self.output.of(Shape.STATUS)[-1]

    @property
    def problems(self) -> list[str]:
        return [fields["text"] for fields in self.output.of(Shape.PROBLEM)]


async def chatting(street: Street, person: Person, folder: Path, *words: str) -> Chatting:
    send, receive = trio.open_memory_channel[dict[str, Any]](50)
    output = street.start(person, "chat", "Club", *words, inputs=receive)
    while not output.of(Shape.TITLE):
        await output.said.wait()
    return Chatting(person, output, send, folder)


async def test_two_people_chat(street: Street, autojump_clock: MockClock, tmp_path: Path) -> None:
    """Words, replies, edits, reactions, taking back, doing; each sees the other's."""
    ana, bo = await street.pair()
    mine, theirs = [await chatting(street, who, tmp_path) for who in (ana, bo)]
    await mine.types("hello Bo")
    first = await theirs.output.until_text("hello Bo")
    await theirs.types(f"/reply {first['seq']} hello Ana")
    answer = await mine.output.until_text("hello Ana")
    assert answer["reply"]["text"] == "hello Bo"
    await mine.types("/edit hello Bob")
    await theirs.output.until_event(lambda e: (e["kind"], e["text"]) == ("edit", "hello Bob"))
    await mine.types(f"/edit #{first['seq']} hello Bo!")
    await theirs.output.until_event(lambda e: (e["kind"], e["text"]) == ("edit", "hello Bo!"))
    await theirs.types(f"/react #{first['seq']} 👍")
    await mine.output.until_event(lambda e: e["kind"] == "reaction")
    await mine.types(f"/remove {first['seq']}")
    await theirs.output.until_event(lambda e: e["kind"] == "redaction")
    await theirs.types("/me waves")
    await mine.output.until_text("* Bo waves")
    await mine.types("//help is a command")
    await theirs.output.until_text("/help is a command")
    assert mine.problems == theirs.problems == []


async def test_history_comes_first_with_a_mark_above_what_is_new(
    street: Street, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """And afterwards it is read."""
    ana, bo = await street.pair()
    await ana.ofc("send", "Club", "old")
    await bo.ofc("read", "Club")
    for text in ("new one", "new two"):
        await ana.ofc("send", "Club", text)
    chat = await chatting(street, bo, tmp_path, "--history", "3")
    await chat.output.until_text("new two")
    shown = [
        fields["text"]
        for shape, fields in chat.output.records
        if shape in (Shape.EVENT, Shape.MARK)
    ]
    assert shown == ["old", "2 unread", "new one", "new two"]
    assert (await bo.ofc("rooms")).one(Shape.ROOM)["unread"] == 0


async def test_typing_is_shown_and_fades(
    street: Street, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Until the words come, or for a few seconds."""
    ana, bo = await street.pair()
    mine, theirs = [await chatting(street, who, tmp_path) for who in (ana, bo)]
    await mine.keys.send({"typing": True})
    await trio.sleep(1)
    assert theirs.status["typing"] == ["Ana"]
    await trio.sleep(TYPING_SECONDS + 1)
    assert theirs.status["typing"] == []
    await mine.keys.send({"typing": True})
    await trio.sleep(1)
    await mine.types("there")
    await theirs.output.until_text("there")
    await theirs.done()
    assert theirs.status["typing"] == []


async def test_how_far_words_have_come_is_shown(
    street: Street, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Under the prompt for the last ones, by /delivered for any; scripts get it from `read`."""
    ana, bo = await street.pair()
    mine, theirs = [await chatting(street, who, tmp_path) for who in (ana, bo)]
    await mine.types("/delivered")
    await mine.done()
    assert mine.problems == ["you have said nothing here yet"]
    await mine.types("hello Bo")
    seq = (await mine.output.until_text("hello Bo"))["seq"]
    assert mine.status["delivery"].startswith(f"#{seq} is in the room's log; nobody else")
    await theirs.output.until_text("hello Bo")
    await trio.sleep(30)
    assert mine.status["delivery"] == f"#{seq} delivered to Bo"
    await mine.types(f"/delivered #{seq}")
    await mine.done()
    assert mine.output.notes[-1] == f"#{seq} delivered to Bo"
    shown = (await ana.ofc("read", "Club")).of(Shape.EVENT)[-1]
    [reached] = shown["delivery"]["reached"]
    assert shown["delivery"] == {"state": "delivered_to_all", "reached": [reached], "awaited": []}
    assert "delivery" not in (await bo.ofc("read", "Club")).of(Shape.EVENT)[-1]


async def test_what_is_unread_elsewhere_is_counted(
    street: Street, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """In the line under the prompt."""
    ana, bo = await street.pair()
    await ana.ofc("create", "Other")
    invited = await ana.ofc("invite", "Other")
    await bo.ofc("join", invited.one(Shape.INVITE)["link"])
    chat = await chatting(street, bo, tmp_path)
    await ana.ofc("send", "Other", "psst")
    await trio.sleep(1)
    assert chat.status["elsewhere"] == 1


async def test_the_relay_goes_and_comes_back(
    street: Street, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """One is told, can go on typing, and nothing is lost."""
    ana, bo = await street.pair()
    mine, theirs = [await chatting(street, who, tmp_path) for who in (ana, bo)]
    await street.world.stop_relay()
    await trio.sleep(1)
    assert not mine.status["online"]
    await mine.types("while it was away")
    await mine.output.until_note("waiting for the relay")
    await street.world.start_relay()
    await theirs.output.until_text("while it was away")
    assert mine.status["online"]


async def test_commands_of_owners(
    street: Street, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Invite, rotate, topic, evict: and who is evicted is told and out."""
    ana, bo = await street.pair()
    mine = await chatting(street, ana, tmp_path)
    gone = trio.Event()

    async def until_out() -> None:
        send, receive = trio.open_memory_channel[dict[str, Any]](1)
        with pytest.raises(NotAllowed, match="out of Club"):
            await bo.run(Recorder(), "chat", "Club", inputs=receive)
        send.close()
        gone.set()

    street.nursery.start_soon(until_out)
    await trio.testing.wait_all_tasks_blocked()
    await mine.types("/invite")
    await mine.types("/rotate")
    await mine.types("/topic books")
    await mine.output.until_event(lambda e: e.get("topic") == "books")
    assert mine.output.one(Shape.INVITE)["link"].startswith("http")
    assert "rotated" in mine.output.kinds
    await mine.types("/verify Bo")
    await mine.types("/evict Bo")
    with trio.fail_after(60):
        await gone.wait()
    assert mine.output.one(Shape.VERIFY)["name"] == "Bo"
    assert mine.problems == []


async def test_files(street: Street, tmp_path: Path) -> None:
    """Paths start where the person is, not where the agent is."""
    ana, bo = await street.pair()
    there = tmp_path / "there"
    there.mkdir()
    (there / "a file.txt").write_text("content")
    mine, theirs = await chatting(street, ana, there), await chatting(street, bo, tmp_path)
    await mine.types("/file a file.txt")
    sent = await theirs.output.until_event(lambda e: e["kind"] == "file")
    await theirs.types(f"/save {sent['seq']} got")
    await theirs.output.until_note("saved as")
    assert (tmp_path / "got" / "a file.txt").read_text() == "content"


async def test_a_new_name(street: Street, autojump_clock: MockClock, tmp_path: Path) -> None:
    """Everybody sees it."""
    ana, bo = await street.pair()
    mine, theirs = [await chatting(street, who, tmp_path) for who in (ana, bo)]
    await mine.types("/name Anna")
    await theirs.output.until_event(lambda e: (e["kind"], e["name"]) == ("name", "Anna"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/nonsense", "there is no /nonsense"),
        ("/reply 3", "it goes like this: /reply N TEXT"),
        ("/me", "it goes like this: /me TEXT"),
        ("/reply 999 x", "there is no message '999'"),
        ("/evict Zoe", "there is no member 'Zoe'"),
        ("/verify Ana", "that is you"),
        ("/evict Ana", "that is you"),
        ("/edit x", "you have said nothing yet"),
        ("/file nope", "there is no file"),
        ("/save 0", "there is no message"),
        ("x" * 60_000, "send it as a file"),
    ],
)
async def test_what_can_not_be_done_is_said(
    line: str, said: str, street: Street, tmp_path: Path
) -> None:
    """And the chat goes on."""
    ana = await street.person("ana")
    await ana.ofc("create", "Club", "--name", "Ana", "--relay", street.world.url)
    chat = await chatting(street, ana, tmp_path)
    await chat.types(line)
    await chat.types("still here")
    await chat.output.until_text("still here")
    [problem] = chat.problems
    assert said in problem


async def test_help_lists_every_command(
    street: Street, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """And /members who is there."""
    ana, _ = await street.pair()
    chat = await chatting(street, ana, tmp_path)
    await chat.types("/help")
    await chat.types("/members")
    await chat.output.until_note("Bo")
    listed = "\n".join(chat.output.notes)
    assert all(command.usage in listed for command in COMMANDS.values())
    assert "Ana (you)" in listed


@pytest.mark.parametrize("last", [{"line": "/quit"}, {"end": True}])
async def test_the_end(last: dict[str, Any], street: Street, autojump_clock: MockClock) -> None:
    """By /quit, or the end of input; what was said before is sent first."""
    ana, bo = await street.pair()
    send, receive = trio.open_memory_channel[dict[str, Any]](50)
    send.send_nowait({"line": "bye"})
    send.send_nowait(last)
    output = Recorder()
    with trio.fail_after(60):
        await ana.run(output, "chat", "Club", inputs=receive)
    assert output.of(Shape.QUIT)
    assert (await bo.ofc("read", "Club")).texts == ["bye"]
