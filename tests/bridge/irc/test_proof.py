"""Which lines of the bridge's own prove what (I7): one line each, once, and none of before."""

from __future__ import annotations

from bridge.irc.proof import OwnLines

CHANNEL = "#c"
LINES = ["<Ana> ok", "<Ana> fine"]


def made(*known: str) -> OwnLines:
    return OwnLines(lambda _place, msgid: msgid in known)


def test_a_line_that_was_claimed_proves_nothing_when_it_is_played_back() -> None:
    """By its id, or by its words and time."""
    for msgid, ts in (("x1", None), ("", 100_000)):
        own = made()
        own.saw(CHANNEL, "", LINES[0], msgid, ts)
        assert own.claim(CHANNEL, [("", LINES[:1])], 100_000) == (0, (msgid,))
        own.saw(CHANNEL, "", LINES[0], msgid, ts)
        assert own.claim(CHANNEL, [("", LINES[:1])], 100_000) == (-1, ())


def test_a_line_is_not_two_because_it_was_shown_twice() -> None:
    own = made()
    for _ in range(2):
        own.saw(CHANNEL, "", LINES[0], "x1", None)
    assert own.claim(CHANNEL, [("", LINES[:1])], 0) == (0, ("x1",))
    assert own.claim(CHANNEL, [("", LINES[:1])], 0) == (-1, ())


def test_what_the_journal_knows_and_what_was_said_before_is_no_proof() -> None:
    own = made("known")
    own.saw(CHANNEL, "", LINES[0], "known", None)
    own.saw(CHANNEL, "", LINES[0], "", 10_000)
    assert own.claim(CHANNEL, [("", LINES[:1])], 20_000) == (-1, ())
    assert own.claim(CHANNEL, [("", LINES[:1])], 14_000) == (0, ("",)), "clocks differ a little"


def test_the_way_of_which_most_is_there_counts_from_its_beginning() -> None:
    own = made()
    for number, line in enumerate(LINES):
        own.saw(CHANNEL, "bo", line, f"x{number}", None)
    own.saw(CHANNEL, "", LINES[0], "y0", None)
    own.saw(CHANNEL, "", "<Ana> else", "y1", None)
    ways = [("", [*LINES, "more"]), ("bo", [*LINES, "more"]), ("cy", LINES)]
    assert own.claim(CHANNEL, ways, 0) == (1, ("x0", "x1"))
    assert own.claim("#other", ways, 0) == (-1, ())
