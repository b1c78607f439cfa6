"""The tables of `log`, and what is asked of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from attrs import frozen
from sqlalchemy import (
    DDL,
    Column,
    ColumnElement,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    delete,
    event,
    exists,
    insert,
    select,
    text,
    update,
)

from bots import Message, Tables
from bots.shelf.words import folded
from ofcd.protocol.ids import EventId, MemberId, RoomId

__all__ = ["METADATA", "Archive", "Line", "PlaceOf"]

PlaceOf = Callable[[EventId], int | None]
METADATA: Final = MetaData()
_LINES: Final = Table(
    "lines",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("room", LargeBinary, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("event", LargeBinary, nullable=False),
    Column("mid", LargeBinary, nullable=False),
    Column("name", String, nullable=False),
    Column("who", String, nullable=False),  # the name, folded
    Column("ts", Integer, nullable=False),
    Column("text", String, nullable=False),
    UniqueConstraint("room", "seq"),
    UniqueConstraint("room", "event"),
)
_SILENT: Final = Table(
    "silent",
    METADATA,
    Column("room", LargeBinary, primary_key=True),
    Column("mid", LargeBinary, primary_key=True),
)
# The index holds no text of its own, and follows the lines by triggers (SQLite's documentation of
# FTS5, "External Content Tables").
_INDEX: Final = (
    "CREATE VIRTUAL TABLE words USING fts5(text, content='lines', content_rowid='id', "
    "tokenize='unicode61 remove_diacritics 2')",
    "CREATE TRIGGER lines_in AFTER INSERT ON lines BEGIN "
    "INSERT INTO words(rowid, text) VALUES (new.id, new.text); END",
    "CREATE TRIGGER lines_out AFTER DELETE ON lines BEGIN "
    "INSERT INTO words(words, rowid, text) VALUES ('delete', old.id, old.text); END",
    "CREATE TRIGGER lines_new AFTER UPDATE ON lines BEGIN "
    "INSERT INTO words(words, rowid, text) VALUES ('delete', old.id, old.text); "
    "INSERT INTO words(rowid, text) VALUES (new.id, new.text); END",
)
for _statement in _INDEX:
    event.listen(_LINES, "after_create", DDL(_statement))  # type: ignore[no-untyped-call]
_OPTIMIZE: Final = text("INSERT INTO words(words) VALUES ('optimize')")


@frozen
class Line:
    """Something that was said."""

    seq: int
    ts: int
    name: str
    text: str


class Archive:
    """One room's lines, as one run of a handler has them."""

    def __init__(self, tables: Tables, room: RoomId) -> None:
        self._tables = tables
        self._room = room
        self._here = _LINES.c.room == room

    # -- recording -------------------------------------------------------------------------------

    def record(self, message: Message, place_of: PlaceOf = lambda _: None) -> None:
        """Keep a message, unless its sender wants not to be recorded, or it says nothing.

        `place_of` tells where a message stands in the room's log now; None: nowhere any more. A
        room that was moved by force gives places out anew.
        """
        sender = message.sender
        if not message.text or self.is_silent(sender.mid):
            return
        values = {
            "room": self._room,
            "seq": message.seq,
            "event": message.id,
            "mid": sender.mid,
            "name": sender.name,
            "who": folded(sender.name),
            "ts": message.ts,
            "text": message.text,
        }
        self._make_room(message.seq, place_of)
        self._tables.execute(insert(_LINES).values(values))

    def _make_room(self, seq: int, place_of: PlaceOf) -> None:
        """Whatever was kept at this place goes to where it stands now, and what is there on.

        What stands nowhere may be said again, and is no news then: it waits outside (`bring_back`).
        """
        moved: dict[int, ColumnElement[bool]] = {}
        at: int | None = seq
        while at is not None:
            found = select(_LINES.c.id, _LINES.c.event).where(self._here, _LINES.c.seq == at)
            kept = self._tables.execute(found).first()
            if kept is None:
                break
            line, now = _LINES.c.id == kept[0], place_of(EventId(kept[1]))
            if now == at or now in moved:
                self._remove(line)
                break
            self._put_at(line, -kept[0])
            if now is not None:
                moved[now] = line
            at = now
        for place, line in moved.items():
            self._put_at(line, place)

    def bring_back(self, place_of: PlaceOf) -> None:
        """What stood nowhere, and was said again since, goes where it stands now."""
        waiting = select(_LINES.c.id, _LINES.c.event).where(self._here, _LINES.c.seq < 0)
        for number, event_id in self._tables.execute(waiting).all():
            now = place_of(EventId(event_id))
            if now is not None:
                self._make_room(now, place_of)
                self._put_at(_LINES.c.id == number, now)

    def _put_at(self, line: ColumnElement[bool], seq: int) -> None:
        self._tables.execute(update(_LINES).where(line).values(seq=seq))

    def change(self, target: EventId, new: str) -> None:
        """A message reads otherwise now, and is found by its new words only."""
        changed = update(_LINES).where(self._here, _LINES.c.event == target).values(text=new)
        self._tables.execute(changed)

    def take_back(self, target: EventId) -> None:
        """A message was redacted."""
        self._remove(_LINES.c.event == target)

    def expire(self, before: int) -> None:
        """Forget what was said before that moment."""
        self._remove(_LINES.c.ts < before)

    def silence(self, mid: MemberId) -> int:
        """Forget a member's lines and record no more; how many lines there were."""
        if not self.is_silent(mid):
            self._tables.execute(insert(_SILENT).values(room=self._room, mid=mid))
        return self._remove(_LINES.c.mid == mid)

    def hear_again(self, mid: MemberId) -> None:
        """Record a member from now on."""
        self._tables.execute(
            delete(_SILENT).where(_SILENT.c.room == self._room, _SILENT.c.mid == mid)
        )

    def is_silent(self, mid: MemberId) -> bool:
        """Whether a member is not to be recorded."""
        asked = exists().where(_SILENT.c.room == self._room, _SILENT.c.mid == mid)
        return bool(self._tables.execute(select(asked)).scalar())

    def _is_there(self, which: ColumnElement[bool]) -> bool:
        found = select(_LINES.c.id).where(self._here, which).limit(1)
        return self._tables.execute(found).first() is not None

    def _remove(self, which: ColumnElement[bool]) -> int:
        if not self._is_there(which):
            return 0
        gone = self._tables.execute(delete(_LINES).where(self._here, which))
        self._clear()
        return gone.rowcount

    def _clear(self) -> None:
        """What was removed leaves the index and the vault, too."""
        self._tables.execute(_OPTIMIZE)
        self._tables.purge()

    # -- looking things up -----------------------------------------------------------------------

    def search(
        self, words: Sequence[str], by: str = "", since: int = 0, most: int = 10
    ) -> list[Line]:
        """The newest lines that have all the words; a word that ends in * is the beginning of one.

        Several words in one of `words` are a phrase.
        """
        query = " ".join(map(_term, words))
        found = text("lines.id IN (SELECT rowid FROM words WHERE words MATCH :query)")
        wanted = select(_LINES).where(self._here, found, _LINES.c.ts >= since, _LINES.c.seq >= 0)
        if by:
            wanted = wanted.where(_LINES.c.who == folded(by))
        rows = wanted.order_by(_LINES.c.seq.desc()).limit(most)
        return _lines(self._tables.execute(rows, {"query": query}).mappings())

    def around(self, seq: int, each_way: int = 4) -> list[Line]:
        """What was said before and after a line, in order; nothing if that is not there."""
        if not self._is_there(_LINES.c.seq == seq):
            return []
        here = select(_LINES).where(self._here, _LINES.c.seq >= 0)
        before = here.where(_LINES.c.seq <= seq).order_by(_LINES.c.seq.desc()).limit(each_way + 1)
        after = here.where(_LINES.c.seq > seq).order_by(_LINES.c.seq).limit(each_way)
        found = [
            *_lines(self._tables.execute(before).mappings()),
            *_lines(self._tables.execute(after).mappings()),
        ]
        return sorted(found, key=lambda line: line.seq)

    def all(self) -> list[Line]:
        """Everything, in order."""
        rows = select(_LINES).where(self._here, _LINES.c.seq >= 0).order_by(_LINES.c.seq)
        return _lines(self._tables.execute(rows).mappings())


def _lines(rows: Iterable[object]) -> list[Line]:
    return [Line(row["seq"], row["ts"], row["name"], row["text"]) for row in rows]  # type: ignore[index]  # mappings of a table that mypy does not know


def _term(word: str) -> str:
    """A word as FTS5 takes it literally: nothing in it is an operator."""
    beginning = word.endswith("*") and len(word) > 1
    literal = (word[:-1] if beginning else word).replace('"', '""')
    return f'"{literal}"' + ("*" if beginning else "")
