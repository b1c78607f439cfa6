"""What goes out, as IRC lines: attributed, formatted, split, clipped (G6, I1, I2). Sans-IO."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from attrs import field, frozen

from bridge.core.formatting import (
    EDIT,
    EDIT_CHARACTERS,
    FILE,
    NICK_ONLY,
    TAKEN_BACK,
    excerpt,
    one_line,
    plain_text,
)
from bridge.core.model import Kind, Outgoing
from bridge.irc.mirc import Run, Style, clean, encode, runs_of_row
from bridge.irc.settings import IrcPlace
from bridge.irc.splitting import split
from ofcd.client import lite

__all__ = ["MORE", "Piece", "edit_words", "left_out", "reaction_words", "render", "wants_link"]

MORE: Final = "!more"
"""What is said in a channel for the rest of a long message."""
_BOLD: Final = Style(bold=True)
_LEFT_TO_RIGHT: Final = "\u200e"
"""A mark that draws nothing: ends a run of words that are written from right to left."""
_COMPARED: Final = 400
"""Words of an edit that are compared: the time it takes grows with their square."""
_SHORT: Final = 0.6
"""The part of an edit's words that may differ for it to be told as a difference."""


@frozen
class Piece:
    """One line to say."""

    text: str = field(repr=lambda text: f"<{len(text)}>")
    goes_on: bool = False
    """It goes on with the line before, which was too long (draft/multiline-concat)."""


def render(
    one: Outgoing, room: int, place: IrcPlace, *, attributed: bool = True, whole: bool = False
) -> list[Piece]:
    """The lines to say, each of `room` bytes at most; none where IRC has nothing to say it with.

    Not `attributed`: the nick that says them is the author's own. `whole`: the server keeps them
    together (draft/multiline), and what was one line can be one again.
    """
    if one.kind is Kind.REDACTION and place.redactions == "off":
        return []
    head = encode(_head(one, attributed))
    lines = _lines(one, head, _room(one, room, place, attributed), whole)
    if place.long != "all" and len(lines) > place.max_lines:
        more = len(lines) - place.max_lines
        lines = lines[: place.max_lines]
        if place.long == "more" and one.kind is Kind.MESSAGE:
            lines.append(Piece(f"{head}({more} more: say {MORE})"))
        elif one.link is None or one.file is not None:
            lines.append(Piece(f"{head}({more} more lines are in the room)"))
        else:
            # A space behind it: some programs take what follows a link for a part of it.
            lines.append(Piece(f"{head}({more} more: {one.link} )"))
    return lines


def left_out(
    one: Outgoing, room: int, place: IrcPlace, *, attributed: bool, whole: bool
) -> list[Piece]:
    """Of a message as `render` cuts it, what is said when somebody asks: by the bridge's nick."""
    if place.long != "more" or one.kind is not Kind.MESSAGE:
        return []
    head = encode(_head(one, attributed))
    lines = _lines(one, head, _room(one, room, place, attributed), whole)
    by = "" if attributed else encode(_head(one, True))
    return [Piece(by + line.text) for line in lines[place.max_lines :]]


def _room(one: Outgoing, room: int, place: IrcPlace, attributed: bool) -> int:
    """Bytes of a line; where the bridge's nick may say the rest, it has to name the author."""
    later = place.long == "more" and not attributed
    return room - len(encode(_head(one, True)).encode()) if later else room


def wants_link(one: Outgoing, room: int, place: IrcPlace) -> bool:
    """Whether a message is told better with a link: it has a file, or more lines than are said."""
    if one.kind is not Kind.MESSAGE or (one.author is not None and one.author.nick_only):
        return False
    long = place.long == "link" and len(_lines(one, encode(_head(one, True)), room, False))
    return one.file is not None or long > place.max_lines


def _lines(one: Outgoing, head: str, room: int, whole: bool) -> list[Piece]:
    left = room - len(head.encode())
    whole = whole and not head
    # Each line says who speaks: others' lines may come in between.
    return [
        Piece(head + line, goes_on=whole and at > 0)
        for row in _rows(one)
        for at, line in enumerate(split(row, left, whole=whole))
    ]


def _head(one: Outgoing, attributed: bool) -> tuple[Run, ...]:
    if one.author is None or one.kind is Kind.NOTE:
        return ()
    when = ""
    if one.late and one.kind is Kind.MESSAGE:
        when = f"[{datetime.fromtimestamp(one.ts / 1000, UTC):%H:%M} UTC] "
    mark = "(again?) " if one.again and one.kind is Kind.MESSAGE else ""
    if not attributed:
        return (Run(f"{when}{mark}"),) if when or mark else ()
    name = clean(one.author.name)
    return (Run(f"{when}{mark}<"), Run(name, _BOLD), Run(f"> {_ended(name)}"))


def _ended(words: str) -> str:
    """What keeps words that follow from being drawn before these: both may run to the left."""
    leftward = any(unicodedata.bidirectional(one) in ("R", "AL", "AN") for one in words)
    return _LEFT_TO_RIGHT if leftward else ""


def _rows(one: Outgoing) -> list[tuple[Run, ...]]:
    match one.kind:
        case Kind.MESSAGE:
            return _message(one)
        case Kind.EDIT:
            return [(Run(edit_words(one.before, one.document)),)]
        case Kind.REACTION:
            return []  # those to one message are told together: `reaction_words`
        case Kind.REDACTION:
            return [(Run(TAKEN_BACK),)]
        case Kind.NOTE:
            return [(Run(clean(plain_text(one.document))),)]
        case Kind.TOPIC:
            return []


def _message(one: Outgoing) -> list[tuple[Run, ...]]:
    rows = [runs_of_row(row) for row in lite.rows(one.document)]
    rows = [row for row in rows if row]
    if one.author is not None and one.author.nick_only:
        rows = [(Run(NICK_ONLY),)]
    if one.file is not None and not (one.author and one.author.nick_only):
        name = clean(one_line(one.file.name))  # nothing hidden, nothing turned round
        where = "in the room]" if one.link is None else f"{one.link} ]"
        rows = [(Run(f"{FILE}{name}, {_size(one.file.size)}, {where}"),), *rows]
    if one.reply_to is not None and rows:
        quoted = f": {clean(one.reply_to.excerpt)}" if one.reply_to.excerpt else ""
        mark = f"(to {clean(one.reply_to.name)}{quoted}) "
        rows = [(Run(mark + _ended(mark)), *rows[0]), *rows[1:]]
    return rows


def _size(size: int) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size} {unit}"
        size //= 1024
    return f"{size} GiB"


def reaction_words(reactions: Sequence[Outgoing]) -> str:
    """Reactions to one message, in a line: `to kim, "shall we?": 👍 Ana, Bo; no more ❤ Cy`."""
    told: dict[tuple[bool, str], list[str]] = {}
    for one in reactions:
        name = clean(one.author.name) if one.author is not None else "somebody"
        told.setdefault((one.withdrawn, clean(one.emoji)), []).append(name)
    words = _joined(
        "; ",
        (
            _joined(" ", (f"{'no more ' if withdrawn else ''}{emoji}", _joined(", ", names)))
            for (withdrawn, emoji), names in told.items()
        ),
    )
    about = reactions[0].reply_to
    if about is None:
        return words
    quoted = (f'"{clean(about.excerpt)}"',) if about.excerpt else ()
    return _joined(": ", (_joined(", ", (f"to {clean(about.name)}", *quoted)), words))


def _joined(mark: str, words: Iterable[str]) -> str:
    """Different words with a mark between, in this order however they are drawn."""
    each = tuple(dict.fromkeys(words))
    keeps = _ended("".join(each))
    return f"{keeps}{mark}{keeps}".join(each)


def edit_words(before: lite.Document, after: lite.Document) -> str:
    """An edit in one line: the words that changed, or all of it where those are most."""
    old, new = plain_text(before).split(), plain_text(after).split()
    if len(old) + len(new) > _COMPARED:
        return clean(f"{EDIT}{excerpt(after, EDIT_CHARACTERS)}")
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    changes = [op for op in matcher.get_opcodes() if op[0] != "equal"]
    changed = sum(max(op[2] - op[1], op[4] - op[3]) for op in changes)
    if len(old) > 3 and changes and len(changes) <= 2 and changed <= len(new) * _SHORT:
        parts = (
            _joined(" → ", (" ".join(old[a:b]) or "…", " ".join(new[c:d]) or "(nothing)"))
            for _, a, b, c, d in changes
        )
        return clean(f"{EDIT}{_joined('; ', parts)}")
    return clean(f"{EDIT}{excerpt(after, EDIT_CHARACTERS)}")
