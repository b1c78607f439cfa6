"""What people see: aligned, local times, no character that moves anything."""

from __future__ import annotations

import contextlib
import io
import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from ofcd.ofc.console import Shape
from ofcd.ofc.errors import OutputLost, Report, report_of
from ofcd.ofc.layout import Transcript, lines_of, qr_lines, table
from ofcd.ofc.output import HumanOutput, JsonOutput
from ofcd.ofc.text import cut, one_line, printable, size

NOON = 1_795_442_400_000  # 2026-11-23 14:00 UTC
DAY = 86_400_000


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def event(seq: int, kind: str = "message", text: str = "", **more: Any) -> dict[str, Any]:
    return {
        "seq": seq,
        "event_id": f"{seq:064x}",
        "member": "aa" * 32,
        "name": "Ana",
        "kind": kind,
        "text": text,
        "ts": NOON + seq * 60_000,
        **more,
    }


def shown(*events: dict[str, Any], width: int | None = None) -> str:
    transcript = Transcript(width=width)
    return "\n".join(line.plain for made in events for line in transcript.lines(made))


def test_a_conversation() -> None:
    """The whole of it, as it looks."""
    bo = {"member": "bb" * 32, "name": "Bo"}
    conversation = [
        event(1, "founded"),
        event(2, text="hello\nthere"),
        event(3, "joined", subjects=[bo], role="member", caps=["bot"]),
        event(4, text="hi", reply={"seq": 2, **bo, "name": "Ana", "text": "hello there"},
              bot=True, **bo),
        event(5, text="fixed", edited=True, reactions={"👍": ["Bo", "Cy"], "🎉": ["Bo"]}),
        event(6, redacted_by="aa" * 32),
        event(7, "file", "look", file={"name": "a b.png", "type": "image/png", "size": 12_345}),
        event(8, text="from afar", **{**bo, "name": "sue"}, bridge=True,
              via={"network": "irc", "remote_id": "sue!u@h", "name": "sue"}),
        event(9, "unreadable", reason=""),
        event(2000, "evicted", subjects=[bo], reason="lost laptop"),
    ]  # fmt: skip
    assert (
        shown(*conversation)
        == """\
──── Monday 23 November 2026 ────
   #1  14:01  Ana made this room
   #2  14:02  Ana       hello
                        there
   #3  14:03  Bo joined as member [bot], admitted by Ana
   #4  14:04  Bo [bot]  > #2 Ana: hello there
                        hi
   #5  14:05  Ana       fixed  (edited)
                        👍 2  🎉 1
   #6  14:06  Ana       [removed]
   #7  14:07  Ana       [file] a b.png  12.3 kB, image/png
                        look
   #8  14:08  sue [irc, unverified]  from afar
   #9  14:09  [a message of Ana that can not be read: its key never came]
──── Tuesday 24 November 2026 ────
#2000  23:20  Ana removed Bo (lost laptop); the key was renewed"""
    )


def test_each_day_has_its_line() -> None:
    """Once a day, not once a message."""
    text = shown(event(1, text="a"), event(2, text="b"), event(3, text="c", ts=NOON + DAY))
    assert text.count("────") == 4


def test_long_lines_are_wrapped_under_themselves() -> None:
    """On a terminal; elsewhere lines stay whole."""
    made = event(1, text="one two three four five six seven eight nine ten")
    assert shown(made, width=60).splitlines()[1:] == [
        "   #1  14:01  Ana       one two three four five six seven",
        "                        eight nine ten",
    ]
    assert shown(made).endswith("nine ten")


def test_wide_characters_are_two_columns_wide() -> None:
    """Names in Chinese do not push the text out of its column."""
    lines = shown(event(1, text="x", name="小明"), event(2, text="x")).splitlines()
    assert lines[1:] == ["   #1  14:01  小明      x", "   #2  14:02  Ana       x"]


@pytest.mark.parametrize(
    "bad", ["\x1b[2J", "\x07", "\x9b31m", "\u202e", "\u2066", "\x7f", "\r", "\u200b", "\x08"]
)
def test_nothing_moves_the_cursor(bad: str) -> None:
    """In words, file names, reasons, reactions, quotes and names of networks."""
    events = [
        event(1, text=f"a{bad}b"),
        event(2, "file", file={"name": f"a{bad}b", "type": "x/y", "size": 1}),
        event(3, "evicted", subjects=[], reason=f"a{bad}b"),
        event(4, "reaction", target_seq=1, reaction=f"a{bad}b"),
        event(5, text="x", reply={"seq": 1, "member": "aa", "name": "Ana", "text": f"a{bad}b"}),
        event(6, "alarm", alarm="fork", text=f"a{bad}b"),
        event(7, "room", room_name="r", topic=f"a{bad}b", before=""),
        event(8, "link", state="offline", text=f"a{bad}b"),
        event(9, text="x", reactions={f"a{bad}b": []}),
        event(10, "edit", f"a{bad}b", target_seq=1),
    ]
    raw = shown(*events).replace("\n", "")
    assert all(ord(c) >= 0x20 and not 0x7F <= ord(c) < 0xA0 for c in raw)
    assert not set(raw) & set("\u202e\u2066\u200b")


def test_alarms_say_what_to_do() -> None:
    """The code alone helps nobody."""
    text = shown(event(1, "alarm", "two logs", alarm="fork"))
    assert "ALARM (fork): two logs" in text
    assert "ofc verify" in text


def test_a_kind_from_the_future_is_shown_as_one() -> None:
    """Nothing is dropped in silence."""
    assert shown(event(1, "hologram")).endswith("(hologram)")


def test_tables_are_aligned() -> None:
    """Rooms and members."""
    rooms = [
        {"room": "ab" * 32, "name": "Book club", "members": 3, "unread": 2, "status": "active",
         "relay": "wss://relay.example"},
        {"room": "cd" * 32, "name": "", "members": 12, "unread": 0, "status": "evicted",
         "relay": "ws://h"},
    ]  # fmt: skip
    assert [line.plain for line in table(Shape.ROOM, rooms)] == [
        "ROOM       ID        MEMBERS  UNREAD  STATE    RELAY",
        "Book club  abababab  3        2       active   wss://relay.example",
        "unnamed    cdcdcdcd  12               evicted  ws://h",
    ]
    members: list[dict[str, Any]] = [
        {"member": "aa" * 32, "name": "Ana", "role": "root", "caps": [], "you": True},
        {"member": "bb" * 32, "name": "echo", "role": "member", "caps": ["admit", "bot"],
         "sponsor": {"member": "aa" * 32, "name": "Ana", "gone": "left"}},
    ]  # fmt: skip
    assert [line.plain for line in table(Shape.MEMBER, members)] == [
        "NAME       MEMBER    ROLE    CAPS",
        "Ana (you)  aaaaaaaa  root",
        "echo       bbbbbbbb  member  admit, bot of Ana (left)",
    ]


def test_an_invite_is_one_unbroken_line() -> None:
    """So that it can be copied."""
    link = "https://relay.example/#ofc1:" + "x" * 300
    lines = lines_of(Shape.INVITE, {"link": link, "expires": NOON})
    assert lines[0].plain == link
    assert not lines[0].prose
    assert "2026-11-23 14:00" in lines[1].plain


def test_names_are_quoted_for_the_shell() -> None:
    """The next command can be copied as it stands."""
    lines = lines_of(Shape.CREATED, {"name": "Ana's club", "room": "ab" * 32})
    assert lines[1].plain.endswith("ofc invite 'Ana'\\''s club'")


def test_a_qr_code_has_its_corners_and_margin() -> None:
    """Two modules to a character, a margin around it."""
    lines = qr_lines("https://relay.example/#ofc1:abc")
    assert {len(line) for line in lines} == {len(lines[0])}
    assert lines[0].strip() == ""
    assert lines[1].startswith("  █▀▀▀▀▀█")


def test_text_helpers() -> None:
    """Sizes, cuts, lines."""
    assert [size(n) for n in (0, 999, 1000, 1_500_000, 3_200_000_000)] == [
        "0 B", "999 B", "1.0 kB", "1.5 MB", "3.2 GB",
    ]  # fmt: skip
    assert cut("abcdef", 4) == "abc…"
    assert cut("小明小明", 5) == "小明…"
    family = "\U0001f469\u200d\U0001f467"
    assert lines_of(Shape.PROBLEM, {"text": family})[0].plain == family
    assert printable(f"{family}\u202e") == [family]
    assert printable("a\tb\r\nc\x1bd") == ["a    b", "cd"]
    assert one_line(" a \n b ") == "a b"


async def test_json_is_one_object_a_line() -> None:
    """Results on one stream, notes and errors on the other; nothing that is for people only."""
    out, err = io.StringIO(), io.StringIO()
    output = JsonOutput(out, err)
    await output.record(Shape.EVENT, event(1, text="grüß\ndich", mentioned=[{"member": "aa"}]))
    await output.record(Shape.CHANGED, {"room": "ab", "did": "It is done."})
    await output.record(Shape.TITLE, {"text": "Club"})
    await output.note("wait")
    await output.progress("a", 1, 2)
    output.error(Report("offline", "no link", 4))
    first, second = (json.loads(line) for line in out.getvalue().splitlines())
    assert first == event(1, text="grüß\ndich")
    assert second == {"room": "ab"}
    assert [json.loads(line) for line in err.getvalue().splitlines()] == [
        {"note": "wait"},
        {"error": "offline", "message": "no link"},
    ]


@pytest.mark.parametrize("kind", [JsonOutput, HumanOutput])
def test_a_full_disk_under_the_output_is_told(kind: type[HumanOutput | JsonOutput]) -> None:
    """`ofc export ROOM > FILE` where no space is left: not a word more is claimed to be written."""
    with contextlib.suppress(OSError), Path("/dev/full").open("w", encoding="utf-8") as full:
        say = partial(kind(full, io.StringIO()).record, Shape.EVENT, event(1, text="hello"))
        with pytest.raises(OutputLost, match="No space left") as lost:
            trio.run(say)
    assert report_of(lost.value).exit == 3


async def test_people_are_told_of_an_empty_table() -> None:
    """And of rows, with a heading, once the last is there."""
    out, err = io.StringIO(), io.StringIO()
    HumanOutput(out, err, expects=Shape.ROOM).finish()
    assert out.getvalue() == ""
    assert "ofc create" in err.getvalue()


async def test_no_colour_away_from_a_terminal() -> None:
    """No escape sequence in a file or a pipe, and no bar."""
    out, err = io.StringIO(), io.StringIO()
    output = HumanOutput(out, err)
    await output.progress("a", 1, 2)
    await output.record(Shape.EVENT, event(1, "alarm", "x", alarm="fork"))
    await output.note("note")
    output.error(Report("offline", "no link", 4))
    assert "\x1b" not in out.getvalue() + err.getvalue()
    assert err.getvalue() == "note\nofc: no link\n"


LITE = {"format": "markdown-lite"}


def pieces(text: str, width: int = 100, **more: Any) -> list[list[tuple[str, str]]]:
    """A marked-up message's lines on a terminal, without head and indent."""
    lines = Transcript(width=width).lines(event(1, text=text, **LITE, **more))[1:]
    return [[piece for piece in line.pieces if piece[0].strip()] for line in lines]


def test_markup_is_shown_on_a_terminal() -> None:
    """Styles for what is marked up, marks for blocks, and where each link leads."""
    text = "**a *b*** ~~c~~ `d` [e](https://f.example)\n> g\n- h\n```\ni\n```"
    first, quote, item, code = pieces(text)
    assert first[2:] == [
        ("a ", "bold"), ("b", "bold italic"), ("c", "strike dim"),
        ("d", "cyan"), ("e", "underline"), (" (https://f.example)", ""),
    ]  # fmt: skip
    assert quote == [("> ", "dim"), ("g", "")]
    assert item == [("• ", "dim"), ("h", "")]
    assert code == [("i", "cyan")]


def test_markup_without_a_terminal_is_plain_text() -> None:
    """No style and no marker, but those that change what is meant."""
    text = "**a** ~~c~~ `d` [e](https://f.example)\n> *g*"
    assert shown(event(1, text=text, **LITE)).split("\n")[1:] == [
        "   #1  14:01  Ana       a ~~c~~ `d` e (https://f.example)",
        "                        > g",
    ]


def test_a_plain_message_keeps_its_stars() -> None:
    """Only what its sender marked up is read as markup."""
    assert "**a** `b`" in shown(event(1, text="**a** `b`"), width=80)


def test_a_long_line_of_markup_is_wrapped_under_its_mark() -> None:
    """Styles go on across the break; what goes on stands under what it belongs to."""
    lines = pieces("- **" + "word " * 11 + "end**", width=70)
    assert len(lines) == 2
    assert lines[0][-1] == (("word " * 9).strip(), "bold")
    assert lines[1] == [("word word end", "bold")]
    both = shown(event(1, text="- **" + "word " * 11 + "end**", **LITE), width=70).split("\n")
    assert both[2].index("word") == both[1].index("word")


def test_mentions_show_who_is_meant() -> None:
    """By the name that member has now; other words behind an @ are words."""
    bo = {"member": "bb" * 32, "name": "Bo"}
    (line,) = pieces("hi @Bo and @Cy", mentioned=[bo])
    assert ("@Bo", "bold magenta") in line
    assert (" and @Cy", "") in line


def test_hidden_characters_hide_no_marker() -> None:
    """What is not shown is taken out before markup is read: both see the same text."""
    line = "\u202e**a\u200b**\x1b[31m"
    assert pieces(line)[0][-2:] == [("a", "bold"), ("[31m", "")]


def test_an_edit_is_told_without_its_markup() -> None:
    """In the sentence that says so."""
    told = event(2, "edit", "**new** words", target_seq=1, **LITE)
    assert "changed #1 to: new words" in shown(told)
