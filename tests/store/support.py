"""Rooms made up for the store, which never looks inside a record."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from attrs import define, field

from ofcd.protocol.ids import BlobId, EventId, Hash32, InviteId, MemberId, RoomId, Sid, sha256
from ofcd.relay.facts import (
    BlobStored,
    BoxStored,
    CellRedacted,
    CursorMoved,
    Fact,
    JoinRow,
    JoinStage,
    KeyRequestRow,
    LogAppended,
    LogEntry,
    RoomFounded,
    RoomSnapshot,
)
from ofcd.store import Durability, Store

ROOT = Path(__file__).parents[2]


def digest(*words: object) -> Hash32:
    """A hash that differs for different words."""
    return sha256(repr(words).encode())


def room_id(name: str) -> RoomId:
    return RoomId(digest("room", name))


def member(name: str) -> MemberId:
    return MemberId(digest("member", name))


def sid(name: object) -> Sid:
    return Sid(digest("sid", name)[:16])


def blob_id(name: str) -> BlobId:
    return BlobId(digest("blob", name)[:16])


def url(path: Path) -> str:
    return f"sqlite:///{path}"


ANA, BO, CY = member("Ana"), member("Bo"), member("Cy")


@define
class Room:
    """Makes the facts of one room's log, numbered and chained."""

    name: str = "room"
    clock: int = 1_000
    log: list[LogAppended] = field(factory=list)
    counters: dict[MemberId, int] = field(factory=dict)

    @property
    def id(self) -> RoomId:
        return room_id(self.name)

    def founded(self, creator: MemberId = ANA) -> list[Fact]:
        """The first facts of a room."""
        return [RoomFounded(self.id, creator, self.clock), self.control(creator)]

    def control(self, mid: MemberId = ANA, size: int = 20) -> LogAppended:
        return self._append(mid, control=True, size=size)

    def event(self, mid: MemberId = ANA, size: int = 20, cell: bytes | None = None) -> LogAppended:
        return self._append(mid, control=False, size=size, cell=cell)

    def events(self, count: int, mid: MemberId = ANA, size: int = 20) -> list[LogAppended]:
        return [self.event(mid, size) for _ in range(count)]

    def _append(
        self, mid: MemberId, *, control: bool, size: int, cell: bytes | None = None
    ) -> LogAppended:
        seq = len(self.log)
        before = self.log[-1].log if self.log else Hash32(self.id)
        made = LogAppended(
            room=self.id,
            seq=seq,
            event_id=EventId(digest(self.name, "event", seq)),
            log=digest(before, seq),
            mid=mid,
            control=control,
            record=b"record %d " % seq + b"r" * size,
            ts=self.clock + seq,
        )
        if not control:
            self.counters[mid] = self.counters.get(mid, 0) + 1
            made = _as_event(made, self.counters[mid], size, cell)
        self.log.append(made)
        return made

    def box(self, seq: int, mid: MemberId, box: bytes = b"box") -> BoxStored:
        return BoxStored(self.id, seq, mid, box)

    def cursor(self, mid: MemberId, seq: int, ts: int = 0) -> CursorMoved:
        return CursorMoved(self.id, mid, seq, ts)

    def redacted(
        self, target: LogAppended, by: MemberId, *, any_sender: bool = False
    ) -> CellRedacted:
        return CellRedacted(self.id, target.event_id, by, any_sender)

    def chunk(
        self, name: str, index: int, count: int, mid: MemberId = ANA, chunk: bytes = b"chunk"
    ) -> BlobStored:
        return BlobStored(self.id, blob_id(name), index, count, mid, self.clock, chunk)

    def join(self, name: str, stage: JoinStage = JoinStage.PENDING, ts: int = 1) -> JoinRow:
        return JoinRow(
            room=self.id,
            invite_id=InviteId(digest("invite", name)[:16]),
            request_hash=digest("request", name),
            mid=member(name),
            stage=stage,
            request=b"request of " + name.encode(),
            response=b"" if stage is JoinStage.PENDING else b"response",
            confirm=b"confirm" if stage is JoinStage.CONFIRMED else b"",
            ts=ts,
        )

    def key_request(self, mid: MemberId, request: bytes = b"asked", ts: int = 1) -> KeyRequestRow:
        return KeyRequestRow(self.id, mid, request, ts, b"answer to " + request, b"box")


def _as_event(made: LogAppended, counter: int, size: int, cell: bytes | None) -> LogAppended:
    return LogAppended(
        room=made.room,
        seq=made.seq,
        event_id=made.event_id,
        log=made.log,
        mid=made.mid,
        control=False,
        record=made.record,
        cell=b"cell " + b"c" * size if cell is None else cell,
        sid=sid((made.mid, made.seq)),
        counter=counter,
        ts=made.ts,
    )


def entry(fact: LogAppended) -> LogEntry:
    """What a snapshot says of an appended entry."""
    return LogEntry(fact.seq, fact.event_id, fact.log, fact.mid, fact.sid)


def loaded(store: Store, room: Room) -> RoomSnapshot:
    """The snapshot of a room that must be there."""
    snapshot = store.load_room(room.id)
    assert snapshot is not None
    return snapshot


def copy_of(template: Path, directory: Path, name: str = "test.db") -> str:
    """The URL of a fresh database: a copy of a migrated one, which costs less than migrating."""
    path = directory / name
    shutil.copyfile(template, path)
    return url(path)


def opened(template: Path, directory: Path) -> Store:
    """A store on a fresh database. NORMAL: tests do not cut the power."""
    return Store.open(copy_of(template, directory), durability=Durability.NORMAL)


def run_script(
    name: str, *arguments: str, wrap: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run `tests/store/scripts/NAME.py` in a process of its own."""
    command = [
        *wrap,
        sys.executable,
        "-W",
        "error",
        "-m",
        f"tests.store.scripts.{name}",
        *arguments,
    ]
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
