"""How each object is laid out for people: styled lines, with no terminal in sight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import define, field
from rich.cells import cell_len
from rich.text import Text

from ofcd.client import visible_text
from ofcd.ofc.console import Fields, Shape
from ofcd.ofc.markup import shown_lines, wrap
from ofcd.ofc.names import short
from ofcd.ofc.sentences import DIM, WARNING, bot_of, label, sentence, style_of
from ofcd.ofc.text import aligned, clock, cut, day, moment, one_line, padded, size

__all__ = ["Line", "Transcript", "lines_of", "marks", "qr_lines", "table"]

_NAME_CELLS: Final = 20
_LEAST_NAME: Final = 8
_QUOTE: Final = 50
_NAME_STYLES: Final = ("cyan", "green", "magenta", "blue", "yellow", "bright_red")
_HALF_BLOCKS: Final = {(0, 0): " ", (1, 0): "▀", (0, 1): "▄", (1, 1): "█"}
_MARKED: Final = ("bot", "bridge")


@define
class Line:
    """One line: pieces of text, each with a style of rich (`""` for none)."""

    pieces: list[tuple[str, str]] = field(factory=list)
    prose: bool = False
    """Whether a terminal may break it between words."""

    @classmethod
    def of(cls, text: str, style: str = "") -> Line:
        """A line of one piece."""
        return cls([(text, style)])

    @classmethod
    def words(cls, text: str, style: str = "") -> Line:
        """A line of prose."""
        return cls([(text, style)], prose=True)

    def add(self, text: str, style: str = "") -> Line:
        """This line with one more piece."""
        self.pieces.append((text, style))
        return self

    @property
    def plain(self) -> str:
        """The words alone."""
        return self.text().plain

    def text(self) -> Text:
        """The line for rich; nothing in it moves the cursor, whoever wrote it."""
        made = Text.assemble(
            *((visible_text(text, joiners=True), style) for text, style in self.pieces)
        )
        made.rstrip()
        return made


# -- a room's log ----------------------------------------------------------------------------------


@define
class Transcript:
    """Lays out a room's events one after the other; remembers the day."""

    width: int | None = None
    """Columns of the terminal; None where long lines are left as they are."""
    _day: str = ""
    _name_cells: int = _LEAST_NAME

    def lines(self, fields: Fields) -> list[Line]:
        """The lines of one event, after a separator where a new day begins."""
        made = self._new_day(fields)
        if fields["kind"] in ("message", "file"):
            return made + self._message(fields)
        head = self._head(fields)
        indent = cell_len(head.plain) + 2
        room = self._room(indent)
        told = [sentence(fields)] if room is None else wrap([sentence(fields)], room)
        style = style_of(fields)
        made.append(head.add("  ").add(told[0], style))
        return made + [Line.of(" " * indent + more, style) for more in told[1:]]

    def _new_day(self, fields: Fields) -> list[Line]:
        ts = fields.get("ts")
        if ts is None or (today := day(ts)) == self._day:
            return []
        self._day = today
        return [Line.of(f"──── {today} ────", DIM)]

    def _head(self, fields: Fields) -> Line:
        seq, ts = fields.get("seq"), fields.get("ts")
        number = "" if seq is None else f"#{seq}"
        return Line.of(f"{number:>5}  {clock(ts) if ts is not None else '     '}", DIM)

    def _message(self, fields: Fields) -> list[Line]:
        name = self._name(fields)
        head = self._head(fields).add("  ").add(name, _name_style(fields)).add("  ")
        indent = sum(cell_len(text) for text, _ in head.pieces)
        body = self._body(fields, indent)
        lines = [Line([*head.pieces, *body[0].pieces])]
        return lines + [Line([(" " * indent, ""), *line.pieces]) for line in body[1:]]

    def _name(self, fields: Fields) -> str:
        name = label(fields.get("name"), fields.get("member"))
        marks = [mark for mark in _MARKED if fields.get(mark) and not fields.get("via")]
        if marks and fields.get("sponsor"):
            marks[0] = bot_of(fields["sponsor"])
        if fields.get("via"):
            marks = [f"{fields['via']['network']}, unverified"]
        tail = f" [{' '.join(marks)}]" if marks else ""
        shown = cut(name, _NAME_CELLS) + tail
        self._name_cells = max(self._name_cells, min(cell_len(shown), _NAME_CELLS))
        return padded(shown, self._name_cells)

    def _body(self, fields: Fields, indent: int) -> list[Line]:
        made: list[Line] = []
        if fields.get("reply"):
            made.append(Line.of(_quote(fields["reply"]), DIM))
        if fields.get("redacted_by"):
            return [*made, Line.of("[removed]", DIM)]
        if fields.get("file"):
            made.append(_file_line(fields["file"]))
        if fields["text"] or not made:
            made += [Line(pieces) for pieces in shown_lines(fields, self._room(indent))]
        if fields.get("edited"):
            made[-1].add("  (edited)", DIM)
        if fields.get("void"):
            made[-1].add("  (void: not in the room's log any more, nor said again)", DIM)
        elif fields.get("again"):
            made[-1].add("  (said again)", DIM)
        if fields.get("reactions"):
            made.append(Line.of(_reactions(fields["reactions"]), DIM))
        return made

    def _room(self, indent: int) -> int | None:
        return None if self.width is None else self.width - indent


def _quote(reply: Fields) -> str:
    name = label(reply["name"], reply["member"])
    return cut(f"> #{reply['seq']} {name}: {one_line(reply['text']) or '…'}", _QUOTE)


def _name_style(fields: Fields) -> str:
    if fields.get("mine"):
        return "bold"
    member = fields.get("member") or "0"
    return _NAME_STYLES[int(member[:2], 16) % len(_NAME_STYLES)]


def _file_line(info: Fields) -> Line:
    line = Line.of(f"[file] {info['name']}", "bold")
    line.add(f"  {size(info['size'])}, {info['type']}", DIM)
    if info.get("saved"):
        line.add(f"  saved as {info['saved']}", "green")
    if info.get("failed"):
        line.add(f"  not saved: {info['failed']}", WARNING)
    return line


def _reactions(reactions: Fields) -> str:
    return "  ".join(f"{one_line(emoji)} {len(names)}" for emoji, names in reactions.items())


# -- tables ----------------------------------------------------------------------------------------


def table(shape: Shape, rows: Sequence[Fields]) -> list[Line]:
    """A table with a heading."""
    heading: tuple[str, ...]
    if shape is Shape.ROOM:
        heading = ("ROOM", "ID", "MEMBERS", "UNREAD", "STATE", "RELAY")
        cells = [_room_row(row) for row in rows]
    else:
        heading = ("NAME", "MEMBER", "ROLE", "CAPS")
        cells = [_member_row(row) for row in rows]
    head, *body = aligned([heading, *cells])
    return [Line.of(head, "bold"), *(Line.of(line) for line in body)]


def _room_row(row: Fields) -> Sequence[str]:
    return (
        cut(row["name"] or "unnamed", 2 * _NAME_CELLS),
        short(row["room"]),
        str(row["members"]),
        str(row["unread"] or ""),
        row["status"],
        row["relay"],
    )


def _member_row(row: Fields) -> Sequence[str]:
    name = cut(row["name"] or "unnamed", 2 * _NAME_CELLS) + (" (you)" if row.get("you") else "")
    return (name, short(row["member"]), row["role"], marks(row))


def marks(row: Fields) -> str:
    """What a member is marked as: "bot of Ana, no-files", "verified by phrase"."""
    caps = list(row["caps"])
    if row.get("sponsor") and "bot" in caps:
        caps[caps.index("bot")] = bot_of(row["sponsor"])
    if row.get("verified") is not None:
        caps.append("verified by phrase")
    caps += [f"same person as {short(member)}" for member in row.get("same_as", ())]
    return ", ".join(caps)


# -- single results --------------------------------------------------------------------------------


def lines_of(shape: Shape, fields: Fields) -> list[Line]:
    """The lines of an object that is neither an event nor a row."""
    match shape:
        case Shape.CREATED:
            return _created(fields)
        case Shape.INVITE:
            return _invite(fields)
        case Shape.JOINED:
            return _joined(fields)
        case Shape.SENT:
            return [Line.of(f"sent as #{fields['seq']}", DIM)]
        case Shape.HELD:
            return [Line.of("kept at your relay until the room's own relay is back", DIM)]
        case Shape.VERIFY:
            return _verify(fields)
        case Shape.MARK:
            return [Line.of(f"──── {fields['text']} ────", "red")]
        case Shape.PROBLEM:
            return [Line.words(fields["text"], WARNING)]
        case Shape.TITLE:
            return [Line.words(fields["text"], "bold")]
        case Shape.CHANGED | Shape.SAVED:
            return [Line.words(fields["did"])]
        case _:
            return []


def _created(fields: Fields) -> list[Line]:
    return [
        Line.of(f"{fields['name']}  {fields['room']}", "bold"),
        Line.words(f"Bring someone in: ofc invite {_word(fields['name'])}", DIM),
    ]


def _invite(fields: Fields) -> list[Line]:
    made = (
        [Line.of(line, "black on white") for line in qr_lines(fields["link"])]
        if (fields.get("qr"))
        else []
    )
    made.append(Line.of(fields["link"]))
    until = f", until {moment(fields['expires'])}" if fields.get("expires") else ""
    made.append(
        Line.words(f"Good once{until}. Send it over a channel you trust: who has it can join.", DIM)
    )
    return made


def qr_lines(text: str) -> list[str]:
    """`text` as a QR code (ISO/IEC 18004) in half blocks, two modules a character in height."""
    import segno  # brings all of urllib along, and only a QR code needs it

    rows = [list(row) for row in segno.make(text, error="l", micro=False).matrix_iter(border=2)]
    rows += [[0] * len(rows[0])] * (len(rows) % 2)
    return [
        "".join(_HALF_BLOCKS[upper, lower] for upper, lower in zip(*pair, strict=True))
        for pair in zip(rows[::2], rows[1::2], strict=True)
    ]


def _joined(fields: Fields) -> list[Line]:
    name = fields["name"]
    return [
        Line.of(f"You are in {name or 'the room'}  {fields['room']}", "bold"),
        Line.words(f"Talk: ofc chat {_word(name or short(fields['room']))}", DIM),
    ]


def _verify(fields: Fields) -> list[Line]:
    who = label(fields["name"], fields["member"])
    return [
        Line.of(f"{fields['code']}", "bold"),
        Line.words(
            f"Read this to {who} over a channel the relay does not carry, such as a call: they run "
            f"`ofc verify` with your name. The same number on both sides means that nobody is in "
            "between; another one means: say nothing here. Or agree on a secret phrase, and both "
            "run it with --phrase."
        ),
        Line.words(f"In full: {fields['safety_number']}", DIM),
    ]


def _word(name: str) -> str:
    plain = name.replace("-", "").replace("_", "").isalnum()
    return name if plain else "'" + name.replace("'", "'\\''") + "'"
