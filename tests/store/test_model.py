"""Whatever facts come, in whatever batches, the store says what a plain model says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import define, evolve, field
from hypothesis import given, settings
from hypothesis import strategies as st

from ofcd.protocol.ids import BlobId, MemberId
from ofcd.relay.facts import (
    BlobDropped,
    BlobStored,
    BoxStored,
    CellRedacted,
    ChainRecord,
    CursorMoved,
    Fact,
    JoinDropped,
    JoinRow,
    JoinStage,
    JoinStored,
    KeyRequestDropped,
    KeyRequestRow,
    KeyRequestStored,
    LogAppended,
    RoomFounded,
    RoomSnapshot,
    SenderState,
)
from ofcd.store import Durability, LogRow, Store
from tests.store.support import ANA, BO, CY, Room, blob_id, copy_of, entry

MEMBERS = (ANA, BO, CY)
ROOMS = ("one", "two")


@define
class Model:
    """One room as the words of `facts.py` describe it."""

    log: list[LogAppended] = field(factory=list)
    boxes: dict[tuple[int, MemberId], bytes] = field(factory=dict)
    cursors: dict[MemberId, int] = field(factory=dict)
    joins: dict[tuple[bytes, bytes], JoinRow] = field(factory=dict)
    key_requests: dict[MemberId, KeyRequestRow] = field(factory=dict)
    blobs: dict[BlobId, tuple[MemberId, int]] = field(factory=dict)
    chunks: dict[tuple[BlobId, int], bytes] = field(factory=dict)

    def apply(self, fact: Fact) -> None:
        match fact:
            case LogAppended():
                self.log.append(fact)
            case BoxStored():
                self.boxes[fact.seq, fact.mid] = fact.box
            case CursorMoved():
                self.cursors[fact.mid] = max(fact.seq, self.cursors.get(fact.mid, fact.seq))
            case JoinStored(row):
                self.joins[row.invite_id, row.request_hash] = row
            case JoinDropped():
                self.joins.pop((fact.invite_id, fact.request_hash), None)
            case KeyRequestStored(row):
                self.key_requests[row.mid] = row
            case KeyRequestDropped():
                self.key_requests.pop(fact.mid, None)
            case BlobStored():
                self._store_chunk(fact)
            case CellRedacted():
                self._redact(fact)
            case BlobDropped():
                self._drop(fact)
            case RoomFounded():
                pass

    def _store_chunk(self, fact: BlobStored) -> None:
        owner, count = self.blobs.setdefault(fact.blob, (fact.mid, fact.count))
        if (owner, count) == (fact.mid, fact.count) and fact.index < count:
            self.chunks.setdefault((fact.blob, fact.index), fact.chunk)

    def _drop(self, fact: BlobDropped) -> None:
        owner, _ = self.blobs.get(fact.blob, (None, 0))
        if owner == fact.mid:
            del self.blobs[fact.blob]
            self.chunks = {key: c for key, c in self.chunks.items() if key[0] != fact.blob}

    def _redact(self, fact: CellRedacted) -> None:
        for n, appended in enumerate(self.log):
            right = fact.any_sender or appended.mid == fact.by
            if appended.event_id == fact.target and right and not appended.control:
                self.log[n] = evolve(appended, cell=b"")

    def snapshot(self, room: Room) -> RoomSnapshot:
        sizes: dict[MemberId, int] = {}
        for (blob, _), chunk in self.chunks.items():
            owner = self.blobs[blob][0]
            sizes[owner] = sizes.get(owner, 0) + len(chunk)
        return RoomSnapshot(
            room=room.id,
            chain=tuple(ChainRecord(f.seq, f.event_id, f.record) for f in self.log if f.control),
            seq=self.log[-1].seq,
            log=self.log[-1].log,
            recent=tuple(map(entry, self.log)),
            senders={f.mid: SenderState(f.counter, f.event_id) for f in self.log if f.counter},
            cursors=self.cursors,
            joins=tuple(
                sorted(self.joins.values(), key=lambda j: (j.ts, j.invite_id, j.request_hash))
            ),
            key_requests=tuple(sorted(self.key_requests.values(), key=lambda k: (k.ts, k.mid))),
            blob_bytes=sizes,
        )

    def rows(self, mid: MemberId) -> tuple[LogRow, ...]:
        return tuple(
            LogRow(f.seq, f.record, f.cell, self.boxes.get((f.seq, mid), b"")) for f in self.log
        )


def _pick(seq: list[Any], n: int) -> Any:
    return seq[n % len(seq)]


MAKERS: tuple[Callable[[Room, int, int, MemberId], Fact], ...] = (
    lambda room, n, _, mid: room.event(mid, size=n),
    lambda room, n, _, mid: room.event(mid, size=n),
    lambda room, n, _, mid: room.control(mid, size=n),
    lambda room, n, m, mid: room.redacted(_pick(room.log, n), mid, any_sender=m % 3 == 0),
    lambda room, n, m, mid: room.box(n % len(room.log), mid, b"b" * m),
    lambda room, n, m, mid: room.cursor(mid, n, m),
    lambda room, n, m, _: JoinStored(room.join(str(n % 3), _pick(list(JoinStage), m), ts=m)),
    lambda room, n, _, __: (lambda join: JoinDropped(room.id, join.invite_id, join.request_hash))(
        room.join(str(n % 3))
    ),
    lambda room, n, m, mid: KeyRequestStored(room.key_request(mid, b"r" * n, ts=m)),
    lambda room, _, __, mid: KeyRequestDropped(room.id, mid),
    lambda room, n, m, mid: room.chunk(str(m % 2), n % 4, 2 + m % 2, mid, b"k" * n),
    lambda room, _, m, mid: BlobDropped(room.id, blob_id(str(m % 2)), mid),
)

STEPS = st.lists(
    st.tuples(
        st.sampled_from(ROOMS),
        st.integers(0, len(MAKERS) - 1),
        st.integers(0, 40),
        st.integers(0, 40),
        st.sampled_from(MEMBERS),
        st.booleans(),  # whether the batch ends here
    ),
    max_size=60,
)


@settings(max_examples=60)
@given(steps=STEPS)
def test_the_store_says_what_the_facts_say(
    template: Path, tmp_path_factory: Any, steps: list[Any]
) -> None:
    """Random facts of two rooms in random batches: snapshots, pages and sizes agree."""
    rooms = {name: Room(name) for name in ROOMS}
    models = {name: Model() for name in ROOMS}
    where = tmp_path_factory.mktemp("model")
    with Store.open(copy_of(template, where), durability=Durability.NORMAL) as store:
        batch: list[Fact] = []
        for name, room in rooms.items():
            for fact in room.founded():
                models[name].apply(fact)
                batch.append(fact)
        for name, which, n, m, mid, ends in steps:
            fact = MAKERS[which](rooms[name], n, m, mid)
            models[name].apply(fact)
            batch.append(fact)
            if ends:
                store.commit(batch)
                batch = []
        store.commit(batch)
        _agree(store, rooms, models)


def _agree(store: Store, rooms: dict[str, Room], models: dict[str, Model]) -> None:
    sizes = {summary.room: (summary.events, summary.bytes) for summary in store.rooms()}
    for name, room in rooms.items():
        model = models[name]
        assert store.load_room(room.id) == model.snapshot(room)
        for mid in MEMBERS:
            page = store.read_log(room.id, 0, mid=mid, max_events=500, max_bytes=1_000_000)
            assert page.rows == model.rows(mid)
        events = [f for f in model.log if not f.control]
        assert sizes[room.id] == (len(events), sum(len(f.record) + len(f.cell) for f in events))
        for (blob, index), chunk in model.chunks.items():
            found = store.read_blob(room.id, blob, index)
            assert found is not None
            assert (found.mid, found.count, found.chunk) == (*model.blobs[blob], chunk)
