"""One commit's facts, sorted so that each kind is written by one executemany.

Each table (or pair of tables) is a lane. Facts of one lane keep their order; neighbours that take
the same statement become one run of it. Lanes do not depend on each other, except that rooms come
first. Of what a batch overwrites again (cursors, senders), only the last is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import define

from ofcd.protocol.codec import join_parts
from ofcd.protocol.ids import EventId, Hash32, MemberId, RoomId
from ofcd.relay.facts import (
    BlobDropped,
    BlobStored,
    BoxStored,
    CellRedacted,
    ChainCopied,
    CopySkipped,
    CursorMoved,
    EvidenceKept,
    Fact,
    HeadKept,
    HubAwaited,
    JoinDropped,
    JoinStored,
    KeyRequestDropped,
    KeyRequestStored,
    LogAppended,
    LogCut,
    MovesKept,
    OutboxDropped,
    OutboxStored,
    ReplicaFounded,
    ReplicaMoved,
    RoomFounded,
    RoomFrozen,
    SenderLearnt,
)
from ofcd.store.errors import Contradiction
from ofcd.store.statements import Prepared, Row, Statements
from ofcd.store.types import GAP_CODE, MOVES_CODE, Gap

__all__ = ["Batch"]

_ROW_OVERHEAD: Final = 8 * 1024
"""What one fact adds to the write-ahead log besides its bytes: two index pages (measured)."""
_COMMIT_OVERHEAD: Final = 20 * 1024
"""... and what a commit adds: the last pages of tables, the room, the sender."""


@define
class _Growth:
    """What a batch adds to the log of one room."""

    before: int
    seq: int
    log: Hash32
    ts: int
    events: int = 0
    bytes: int = 0


class _Lane:
    """Runs of one statement each, in order."""

    def __init__(self) -> None:
        self.runs: list[tuple[Prepared, list[Row]]] = []

    def add(self, statement: Prepared, row: Row) -> None:
        if self.runs and self.runs[-1][0] is statement:
            self.runs[-1][1].append(row)
        else:
            self.runs.append((statement, [row]))

    def drop(self, is_over: Callable[[Row], bool]) -> None:
        """Take back the rows of which this is so."""
        for _, rows in self.runs:
            rows[:] = [row for row in rows if not is_over(row)]
        self.runs = [run for run in self.runs if run[1]]


class Batch:
    """The rows of one commit; `number_of` gives a room's number, or raises `Contradiction`.

    First `growths`, which prove that the log of each room stands where the batch begins, then
    `runs` are to be executed, in order.
    """

    def __init__(
        self, facts: Sequence[Fact], statements: Statements, number_of: Callable[[RoomId], int]
    ) -> None:
        self._statements = statements
        self._number_of = number_of
        self._log, self._boxes, self._joins, self._asked, self._blobs = (_Lane() for _ in range(5))
        self._outbox, self._copies = _Lane(), _Lane()
        self._growth: dict[int, _Growth] = {}
        self._skips: set[int] = set()
        self._senders: dict[tuple[int, MemberId], tuple[int, EventId]] = {}
        self._cursors: dict[tuple[int, MemberId], tuple[int, int]] = {}
        self.weight = _COMMIT_OVERHEAD
        """Bytes of the write-ahead log that it takes, roughly."""
        add: dict[type[Fact], Callable[[Any], None]] = {
            RoomFounded: self._founded,
            LogAppended: self._appended,
            CellRedacted: self._redacted,
            BoxStored: self._boxed,
            CursorMoved: self._moved,
            JoinStored: self._joined,
            JoinDropped: self._unjoined,
            KeyRequestStored: self._key_asked,
            KeyRequestDropped: self._key_answered,
            BlobStored: self._attached,
            BlobDropped: self._dropped,
            ReplicaFounded: self._copied,
            ReplicaMoved: self._moved_away,
            MovesKept: self._told,
            LogCut: self._cut,
            HubAwaited: self._awaited,
            ChainCopied: self._chained,
            CopySkipped: self._skipped,
            SenderLearnt: self._learnt,
            HeadKept: self._headed,
            RoomFrozen: self._froze,
            EvidenceKept: self._proved,
            OutboxStored: self._waiting,
            OutboxDropped: self._sent,
        }
        for fact in facts:
            add[type(fact)](fact)
        self.weight += len(facts) * _ROW_OVERHEAD

    @property
    def growths(self) -> list[Row]:
        """For `Statements.grow`: each must change one row."""
        return [
            (room, g.before, g.seq, g.log, g.ts, g.events, g.bytes)
            for room, g in self._growth.items()
        ]

    def runs(self) -> list[tuple[Prepared, list[Row]]]:
        """All but the growths: statements and their rows, in order."""
        made = self._statements
        latest: list[tuple[Prepared, list[Row]]] = [
            (made.sender, [(*key, *value) for key, value in self._senders.items()]),
            (made.cursor, [(*key, *value) for key, value in self._cursors.items()]),
        ]
        lanes = (
            self._copies,
            self._log,
            self._boxes,
            self._joins,
            self._asked,
            self._blobs,
            self._outbox,
        )
        return [run for lane in lanes for run in lane.runs] + [run for run in latest if run[1]]

    def _founded(self, fact: RoomFounded) -> None:
        """The writer has made it already: all others need its number."""

    def _appended(self, fact: LogAppended) -> None:
        room = self._number_of(fact.room)
        size = len(fact.record) + len(fact.cell)
        self._grow(room, fact, 0 if fact.control else size)
        if fact.counter is not None:
            self._senders[room, fact.mid] = (fact.counter, fact.event_id)
        self.weight += size
        self._log.add(
            self._statements.append,
            (
                room,
                fact.seq,
                fact.event_id,
                fact.log,
                fact.mid,
                int(fact.control),
                fact.sid,
                fact.counter,
                fact.ts,
                fact.record,
                fact.cell,
            ),
        )

    def _grow(self, room: int, fact: LogAppended, size: int) -> None:
        growth = self._growth.get(room)
        if room in self._skips:
            raise Contradiction("a copy can not go on elsewhere and grow in one commit")
        if growth is None:
            growth = _Growth(fact.seq - 1, fact.seq - 1, fact.log, fact.ts)
            self._growth[room] = growth
        if fact.seq != growth.seq + 1:
            raise Contradiction(f"log entry {fact.seq} does not follow entry {growth.seq}")
        growth.seq, growth.log, growth.ts = fact.seq, fact.log, fact.ts
        growth.events += not fact.control
        growth.bytes += size

    def _redacted(self, fact: CellRedacted) -> None:
        row = (self._number_of(fact.room), fact.target, fact.by, fact.any_sender)
        self._log.add(self._statements.redact_bytes, row)
        self._log.add(self._statements.redact, row)

    def _boxed(self, fact: BoxStored) -> None:
        row = (self._number_of(fact.room), fact.seq, fact.mid, fact.box)
        self._boxes.add(self._statements.box, row)
        self.weight += len(fact.box)

    def _moved(self, fact: CursorMoved) -> None:
        key = self._number_of(fact.room), fact.mid
        seq, ts = self._cursors.get(key, (fact.seq, fact.ts))
        self._cursors[key] = (max(seq, fact.seq), max(ts, fact.ts))

    def _joined(self, fact: JoinStored) -> None:
        row = fact.row
        self.weight += len(row.request) + len(row.response) + len(row.confirm)
        self._joins.add(
            self._statements.join,
            (
                self._number_of(row.room),
                row.invite_id,
                row.request_hash,
                row.mid,
                row.stage.value,
                row.ts,
                row.request,
                row.response,
                row.confirm,
            ),
        )

    def _unjoined(self, fact: JoinDropped) -> None:
        row = (self._number_of(fact.room), fact.invite_id, fact.request_hash)
        self._joins.add(self._statements.join_drop, row)

    def _key_asked(self, fact: KeyRequestStored) -> None:
        row = fact.row
        self._asked.add(
            self._statements.key_request,
            (self._number_of(row.room), row.mid, row.ts, row.request, row.answer, row.box),
        )

    def _key_answered(self, fact: KeyRequestDropped) -> None:
        self._asked.add(self._statements.key_request_drop, (self._number_of(fact.room), fact.mid))

    def _attached(self, fact: BlobStored) -> None:
        room, size = self._number_of(fact.room), len(fact.chunk)
        made = self._statements
        self.weight += size
        self._blobs.add(made.blob, (room, fact.blob, fact.mid, fact.count, fact.ts))
        self._blobs.add(
            made.chunk, (room, fact.blob, fact.index, fact.count, fact.mid, size, fact.chunk)
        )

    def _copied(self, fact: ReplicaFounded) -> None:
        row = (self._number_of(fact.room), fact.hub, -1, b"", "")
        self._copies.add(self._statements.replica, row)

    def _moved_away(self, fact: ReplicaMoved) -> None:
        room, made = self._number_of(fact.room), self._statements
        if fact.hub is None:
            self._copies.add(made.replica_drop, (room,))
        else:
            self._copies.add(made.replica, (room, fact.hub, -1, b"", ""))

    def _told(self, fact: MovesKept) -> None:
        room, made = self._number_of(fact.room), self._statements
        self._copies.add(made.evidence_drop, (room, MOVES_CODE))
        self._copies.add(made.hearers_drop, (room,))
        self._copies.add(made.past_hub, (room, fact.before))
        self._copies.add(made.evidence, (room, fact.ts, MOVES_CODE, join_parts(fact.records)))

    def _cut(self, fact: LogCut) -> None:
        room, made = self._number_of(fact.room), self._statements
        growth = self._growth.setdefault(room, _Growth(fact.before, fact.before, fact.log, fact.ts))
        if growth.seq != fact.before:
            raise Contradiction(f"a log that ends at {growth.seq} is cut from {fact.before}")
        growth.seq, growth.log, growth.ts = fact.end, fact.log, fact.ts
        self._skips.discard(room)
        # What was decided before it, for this commit, is written in no lane after it.
        self._boxes.drop(lambda row: row[0] == room and row[1] > fact.end)
        self._joins.drop(lambda row: row[0] == room)
        for key, (seq, ts) in list(self._cursors.items()):
            if key[0] == room:
                self._cursors[key] = min(seq, fact.end), ts
        for statement in (
            made.cut_account,
            made.cut_log,
            made.cut_boxes,
            made.cut_cursors,
            made.cut_holes,
        ):
            self._log.add(statement, (room, fact.end))
        self._log.add(made.cut_joins, (room,))
        for statement in (made.cut_hole, made.cut_floor):
            self._log.add(statement, (room, fact.end + 1, fact.log))
        self._log.add(made.cut_swept, (room, fact.end + 1))

    def _awaited(self, fact: HubAwaited) -> None:
        room, made = self._number_of(fact.room), self._statements
        if fact.relay is None:
            self._copies.add(made.awaited_drop, (room,))
        else:
            self._copies.add(made.awaited, (room, fact.relay))

    def _chained(self, fact: ChainCopied) -> None:
        room, nothing = self._number_of(fact.room), b""
        self.weight += len(fact.record)
        self._log.add(
            self._statements.append,
            (
                room,
                fact.seq,
                fact.event_id,
                nothing,
                fact.mid,
                1,
                None,
                None,
                fact.ts,
                fact.record,
                nothing,
            ),
        )

    def _skipped(self, fact: CopySkipped) -> None:
        room, made = self._number_of(fact.room), self._statements
        if room in self._growth:
            raise Contradiction("a copy can not grow and go on elsewhere in one commit")
        self._growth[room] = _Growth(fact.before, fact.floor - 1, fact.log, fact.ts)
        self._skips.add(room)
        self._log.add(made.hole, (room, fact.before + 1, fact.floor, fact.log))
        self._copies.add(made.unsure, (room, b""))
        missing = Gap(fact.room, fact.ts, fact.before + 1, fact.floor - 1, fact.head).packed
        self._copies.add(made.evidence, (room, fact.ts, GAP_CODE, missing))

    def _learnt(self, fact: SenderLearnt) -> None:
        room = self._number_of(fact.room)
        self._senders[room, fact.mid] = (fact.last.counter, fact.last.last)

    def _headed(self, fact: HeadKept) -> None:
        row = (self._number_of(fact.room), fact.seq, fact.head)
        self._copies.add(self._statements.head, row)

    def _froze(self, fact: RoomFrozen) -> None:
        self._copies.add(self._statements.frozen, (self._number_of(fact.room), fact.code))

    def _proved(self, fact: EvidenceKept) -> None:
        row = (self._number_of(fact.room), fact.ts, fact.code, join_parts(fact.records))
        self._copies.add(self._statements.evidence, row)

    def _waiting(self, fact: OutboxStored) -> None:
        row = fact.row
        self.weight += row.size
        self._outbox.add(
            self._statements.waiting,
            (
                self._number_of(row.room),
                row.mid,
                row.sid,
                row.counter,
                row.event_id,
                row.ts,
                row.record,
                row.cell,
            ),
        )

    def _sent(self, fact: OutboxDropped) -> None:
        row = (self._number_of(fact.room), fact.mid, fact.sid)
        self._outbox.add(self._statements.waiting_drop, row)

    def _dropped(self, fact: BlobDropped) -> None:
        row = (self._number_of(fact.room), fact.blob, fact.mid)
        self._blobs.add(self._statements.blob_drop, row)
