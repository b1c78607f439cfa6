"""Formatting, splitting and wire: identities over all inputs, and what servers cut (G7, I1)."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.formatting import document_of, plain_document, plain_text, to_lite
from bridge.core.model import Kind, LocalAuthor, Outgoing, ReplyTo
from bridge.core.names import shown_names, skeleton
from bridge.irc import mirc
from bridge.irc.mirc import Run, Style
from bridge.irc.presence import Presence
from bridge.irc.rendering import edit_words, reaction_words, render
from bridge.irc.settings import IrcPlace, IrcSettings
from bridge.irc.splitting import budget, split
from bridge.irc.wire import Framer, Line, encode, fold
from ofcd.client import TextFormat, lite
from ofcd.protocol.ids import EventId, MemberId, RoomId

COLOURS = st.none() | st.integers(0, 98)
STYLES = st.builds(
    Style,
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    COLOURS,
    COLOURS,
)
RUNS = st.lists(st.builds(Run, st.text(max_size=20) | st.sampled_from([",5", "12", "a,1"]), STYLES))

LONG = st.lists(
    st.builds(Run, st.text(max_size=300) | st.integers(1, 150).map("äb ".__mul__), STYLES),
    max_size=5,
)
"""More than a line."""


def cleaned(runs: list[Run]) -> tuple[Run, ...]:
    return mirc.joined(Run(mirc.clean(run.text), run.style) for run in runs)


@given(RUNS)
def test_codes_say_what_the_runs_say(runs: list[Run]) -> None:
    """Bold, italic, underline, strike, mono, 99 colours and reset survive, text that looks like
    the rest of a colour code too."""
    assert mirc.decode(mirc.encode(runs)) == cleaned(runs)


@given(RUNS)
def test_the_tree_says_what_the_runs_say(runs: list[Run]) -> None:
    line = mirc.line_of(cleaned(runs), colours=True)
    assert mirc.runs_of(line) == cleaned(runs)
    assert mirc.decode(mirc.encode(mirc.runs_of(line))) == cleaned(runs)


@given(st.text(alphabet=st.characters(max_codepoint=0x2FF)))
def test_no_control_becomes_text(text: str) -> None:
    said = mirc.plain(mirc.decode(text))
    assert not any(ord(one) < 32 or one == "\x7f" for one in said)


TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@given(st.text(alphabet=TURNS + "ab *>ש", max_size=20))
def test_words_turn_nothing_round_that_stands_beside_them(text: str) -> None:
    """An override would draw who says it at the end, or somebody else's words first."""
    for words in (mirc.decode(text), mirc.decode(mirc.encode([Run(text)]))):
        assert not set(mirc.plain(words)) & set(TURNS)
    for form in TextFormat:
        assert not set(plain_text(document_of(text, form))) & set(TURNS)


def test_what_is_told_of_a_change_is_drawn_in_its_order() -> None:
    """An arrow between two words from right to left would be one run with them, and turn."""
    before, after = plain_document("one two three שלום"), plain_document("one two three דנה")
    assert edit_words(before, after) == "[edit] שלום\u200e → \u200eדנה"
    assert edit_words(plain_document("a b c d"), plain_document("a b c e")) == "[edit] d → e"


def test_reactions_are_drawn_in_their_order() -> None:
    one = Outgoing(
        number=1,
        room=RoomId(bytes(32)),
        place="#c",
        kind=Kind.REACTION,
        event_id=EventId(bytes(32)),
        author=LocalAuthor(MemberId(bytes(32)), "דנה"),
        emoji="👍",
        reply_to=ReplyTo((), "יעל", "שלום"),
    )
    two = evolve(one, author=LocalAuthor(MemberId(bytes(32)), "שרה"))
    told = reaction_words([one, two, one])
    assert told.replace("\u200e", "") == 'to יעל, "שלום": 👍 דנה, שרה'
    for mark in (", ", ": "):
        assert told.count(f"\u200e{mark}\u200e") == told.count(mark)
    assert "👍\u200e \u200eדנה" in told
    ltr = evolve(one, author=LocalAuthor(MemberId(bytes(32)), "Ana"), reply_to=None)
    assert reaction_words([ltr]) == "👍 Ana"


@pytest.mark.parametrize(("name", "mark"), [("דנה", "\u200e"), ("سارة", "\u200e"), ("Ana", "")])
def test_a_name_from_right_to_left_ends_before_the_words(name: str, mark: str) -> None:
    """Both would be one run otherwise, drawn from its right end: the words before the name."""
    one = Outgoing(
        number=1,
        room=RoomId(bytes(32)),
        place="#c",
        kind=Kind.MESSAGE,
        event_id=EventId(bytes(32)),
        author=LocalAuthor(MemberId(bytes(32)), name),
        document=plain_document("שלום"),
    )
    [piece] = render(one, 400, IrcPlace(), attributed=True)
    assert mirc.plain(mirc.decode(piece.text)) == f"<{name}> {mark}שלום"


@pytest.mark.parametrize(
    ("raw", "charset", "said"),
    [
        ("naïve ☕".encode(), "cp1252", "naïve ☕"),
        ("naïve".encode("latin-1"), "cp1252", "naïve"),
        ("caf\xe9".encode("latin-1"), "cp1252", "café"),
        (b"\x93quoted\x94 \x80 5 \x81", "cp1252", "“quoted” € 5 \ufffd"),
        ("привет".encode("koi8-r"), "koi8-r", "привет"),
        ("привет".encode()[:-1], "koi8-r", "приве"),
        ("привет".encode()[1:], "koi8-r", "ривет"),
        ("☕☕☕☕".encode()[2:-1], "cp1252", "☕☕"),
        ("a☕".encode()[2:], "cp1252", "\u02dc•"),
        (b"\x93hello", "cp1252", "“hello"),
        ("zażółć".encode("iso-8859-2"), "iso-8859-2", "zażółć"),
    ],
)
def test_a_line_that_is_no_utf8_is_in_the_networks_charset(
    raw: bytes, charset: str, said: str
) -> None:
    """UTF-8 that was cut inside a character is UTF-8 still, where what is left shows it; tags
    always are."""
    line = b"@x=\xe2\x98\x95 :kim!k@h PRIVMSG #c :" + raw + b"\r\n"
    [got] = Framer(charset).feed(line)
    assert (got[1], got.tags["x"]) == (said, "☕")


@pytest.mark.parametrize("charset", ["utf-16", "rot13", "cp037", "klingon", "hex"])
def test_a_charset_has_to_hold_ascii(charset: str) -> None:
    with pytest.raises(ValueError, match="charset"):
        IrcSettings("irc", "irc.example", charset=charset)


@pytest.mark.parametrize("charset", ["iso2022_jp", "ascii"])
def test_a_charset_in_which_no_line_would_be_read_is_refused(charset: str) -> None:
    """It writes its letters in the bytes of ASCII, and each line is UTF-8, too."""
    with pytest.raises(ValueError, match="no line would ever be read in it"):
        IrcSettings("irc", "irc.example", charset=charset)
    for good in ("utf-8", "koi8-r", "gbk", "shift_jis", "euc-jp", "big5", "cp1252"):
        IrcSettings("irc", "irc.example", charset=good)


@given(st.lists(st.text(max_size=30), min_size=1, max_size=4))
def test_nothing_ends_a_line_early(params: list[str]) -> None:
    raw = encode("PRIVMSG", params)
    assert raw.endswith(b"\r\n")
    assert not any(one in raw[:-2] for one in (b"\r", b"\n", b"\0"))


@given(RUNS | LONG, st.integers(1, 30), st.integers(1, 63))
def test_lines_fit_and_lose_no_word(runs: list[Run], nick: int, host: int) -> None:
    room = budget("n" * nick, "u" * 10, "h" * host, "#channel")
    lines = split(cleaned(runs), room)
    prefix = f":{'n' * nick}!{'u' * 10}@{'h' * host} "
    for line in lines:
        whole = prefix.encode() + encode("PRIVMSG", ["#channel", line])
        assert len(whole) <= 512
    said = "".join(mirc.plain(mirc.decode(line)) for line in lines)
    wanted = mirc.plain(cleaned(runs))
    assert said.replace(" ", "") == wanted.replace(" ", "")


def test_of_a_prefix_that_is_not_known_the_worst_is_taken() -> None:
    assert budget("ofc", "", "", "#c") == budget("ofc", "u" * 10, "h" * 63, "#c")
    assert budget("ofc", "u", "h", "#c") == 512 - len(":ofc!u@h PRIVMSG #c :\r\n")


def test_a_word_longer_than_a_line_is_cut_between_characters() -> None:
    family = "👨‍👩‍👧‍👦"
    room = 15 * len(family.encode()) + 10  # a cut by bytes would be inside of one
    lines = split((Run(family * 60),), room)
    assert len(lines) > 1
    assert all(len(line.encode()) <= room for line in lines)
    assert all(line == family * (len(line) // len(family)) for line in lines)


def test_styles_are_opened_anew_on_the_next_line() -> None:
    lines = split((Run("word " * 40, Style(bold=True)),), 100)
    assert len(lines) > 1
    assert all(line.startswith("\x02") for line in lines)


MARKED = st.sampled_from(
    [
        "**",
        "*",
        "~~",
        "`",
        "[",
        "](http://x.example)",
        "\\",
        "> ",
        "- ",
        "1. ",
        "@",
        "_",
        "a",
        " ",
        "\n",
    ]
)


@given(st.lists(MARKED, max_size=25).map("".join))
def test_words_stay_when_a_document_is_written_again(text: str) -> None:
    """Whatever lite reads, and whatever somebody outside writes, the words are the same."""
    plain = plain_document(text)
    made, form = to_lite(plain)
    assert lite.plain(document_of(made, form)) == lite.plain(plain)
    document = lite.parse(text)
    made, form = to_lite(document)
    assert lite.plain(document_of(made, form)) == lite.plain(document)


@given(RUNS)
def test_words_stay_from_irc_to_the_room(runs: list[Run]) -> None:
    line = mirc.line_of(cleaned(runs))
    made, form = to_lite((lite.Paragraph((line,)),))
    words = mirc.plain(cleaned(runs)).rstrip(" \t")
    shown = mirc.plain(
        run for row in lite.rows(document_of(made, form)) for run in mirc.runs_of_row(row)
    )
    assert (
        shown.replace("`", "").replace("~~", "").strip()
        == words.replace("`", "").replace("~~", "").strip()
    )


def test_a_server_that_floods_without_a_line_end_is_bounded() -> None:
    framer = Framer()
    for _ in range(1000):
        assert framer.feed(b"x" * 4096) == []
    assert [one.command for one in framer.feed(b"\r\nPING :a\r\n")] == ["PING"]
    assert len(framer._held) == 0


@pytest.mark.parametrize("raw", [b"", b"\r\n", b"@\r\n", b":only\r\n", b"@a=\xff b\r\n", b" \r\n"])
def test_what_is_no_line_is_passed_over(raw: bytes) -> None:
    assert Framer().feed(raw) == []


def test_names_compare_as_servers_do() -> None:
    assert fold("#A{b}|^") == fold("#a[B]\\~")
    assert fold("Ä") == "Ä"


def test_no_two_members_look_alike_outside() -> None:
    people = [
        (MemberId(bytes([n]) * 32), name)
        for n, name in enumerate(["Ana", "\u0410n\u0430", "ana", "Bo"])
    ]
    names = shown_names(people)
    assert len({skeleton(one.partition("~")[0]) for one in names.values()}) == 2
    assert all("~" in names[mid] for mid, name in people if name != "Bo")
    assert names[people[3][0]] == "Bo"
    [fake] = shown_names([(MemberId(bytes(32)), "kim@libera> <x\u202e")]).values()
    assert "@" not in fake
    assert "<" not in fake
    assert "\u202e" not in fake


def test_a_netsplit_is_one_line_each_way() -> None:
    presence = Presence()
    nicks = [f"n{n}" for n in range(20)]
    presence.take(Line("353", ("me", "=", "#c", " ".join(nicks))), fold, fold, 0.0)
    for nick in nicks:
        presence.take(Line("QUIT", ("a.example b.example",), nick, "u", "h"), fold, fold, 1.0)
    assert presence.due(2.0) == []
    [gone] = presence.due(7.0)
    assert gone.text.startswith("netsplit: 20 were split off (n0, n1,")
    for nick in nicks:
        presence.take(Line("JOIN", ("#c",), nick, "u", "h"), fold, fold, 60.0)
        presence.take(Line("JOIN", ("#c",), nick, "u", "h"), fold, fold, 60.0)
    [back] = presence.due(66.0)
    assert back.text.startswith("netsplit: 20 are back")
    presence.take(Line("QUIT", ("went home",), "n3", "u", "h"), fold, fold, 70.0)
    assert [one.text for one in presence.due(70.0)] == ["n3 quit"]


def test_who_gives_servers_names_as_a_reason_is_no_netsplit() -> None:
    presence = Presence()
    presence.take(Line("353", ("me", "=", "#c", "mal kim")), fold, fold, 0.0)
    presence.take(Line("QUIT", ("a.example b.example",), "mal", "u", "h"), fold, fold, 1.0)
    [told] = presence.due(7.0)
    assert (told.who, told.text, told.mask) == ("mal", "mal quit", "mal!u@h")
    presence.take(Line("JOIN", ("#c",), "mal", "u", "h"), fold, fold, 8.0)
    assert [one.text for one in presence.due(20.0)] == ["mal joined"]
