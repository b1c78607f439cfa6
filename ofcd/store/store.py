"""The store: facts in, rooms out. Synchronous, and safe to call from any thread."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from ofcd.protocol import limits
from ofcd.protocol.ids import BlobId, EventId, Hash32, MemberId, RelayId, RoomId, Sid
from ofcd.relay.facts import Fact, LogEntry, RoomSnapshot
from ofcd.store import backup as backups
from ofcd.store import migrate as migrations
from ofcd.store.engine import database_path, make_files, require_file
from ofcd.store.errors import ReadOnly
from ofcd.store.faults import translated
from ofcd.store.lock import DatabaseLock
from ofcd.store.reader import Reader
from ofcd.store.retention import Sweeper
from ofcd.store.types import (
    BlobChunk,
    BlobInfo,
    CachedBlob,
    ChainPage,
    CheckReport,
    Durability,
    Evidence,
    Gap,
    Hole,
    KeptMoves,
    LogPage,
    PeerRow,
    Replica,
    Retention,
    RetentionReport,
    RoomSummary,
)
from ofcd.store.writer import Writer

__all__ = ["Store"]


class Store:
    """One database. Reads run beside each other and beside the writer; writes take turns.

    Every method may raise a `StoreError`: what it tells is in `ofcd.store.errors`. A failed write
    leaves the database as it was and the store usable: once the cause is gone, writes work again.
    """

    def __init__(
        self, path: Path, reader: Reader, writer: Writer | None, lock: DatabaseLock | None
    ) -> None:
        """Use `Store.open`."""
        self.path = path
        self._reader = reader
        self._maybe_writer = writer
        self._lock = lock
        self._sweeper = None if writer is None else Sweeper(reader, writer)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        durability: Durability | str = Durability.FULL,
        migrate: bool = True,
        read_only: bool = False,
    ) -> Store:
        """Open the database at `url`; make it where it is missing, and migrate it where it is old.

        `read_only` takes no lock, makes and migrates nothing: for `ofcd backup` and `ofcd doctor`
        beside a running relay.

        Raises:
            Unsupported: The URL is not `sqlite:///PATH`.
            Locked: Another process has the database.
            Missing: There is none (`read_only`).
            SchemaTooNew: A newer ofcd wrote it.
            SchemaTooOld: Migrations are due, and `migrate` is false.
            StoreError: Its other kinds, as the disk and SQLite give cause.
        """
        path = database_path(url)
        if read_only:
            require_file(path)
            return cls(path, Reader(path), None, None)
        with translated(path):
            make_files(path)
            lock = DatabaseLock(path)
        try:
            writer = _ready_writer(path, Durability(durability), migrate=migrate)
        except BaseException:
            lock.release()
            raise
        return cls(path, Reader(path), writer, lock)

    def commit(self, facts: Sequence[Fact]) -> list[int]:
        """Write all facts, in order, in one transaction; on any error, none of them.

        Returns how many bytes each `BlobDropped` among them freed, in order. Once it returned,
        the facts survive what `Durability` says. Call it from one thread at a time.

        Raises:
            Contradiction: They do not fit what is stored (a room not founded, a log entry that
                does not follow the last one, an event_id or sid twice): reload the room.
        """
        return self._writer.commit(facts)

    @property
    def checkpoint_due(self) -> bool:
        """Whether the write-ahead log has grown enough for `checkpoint` to be worth its while."""
        return self._writer.checkpoint_due

    def checkpoint(self) -> None:
        """Move the write-ahead log into the database.

        Call it in a thread of its own when it is due, and when the relay is idle: it runs beside
        commits, and holds them up only at its end, briefly. Who never calls it finds that a commit
        does it now and then, and takes that much longer.
        """
        self._writer.checkpoint()

    def load_room(self, room: RoomId) -> RoomSnapshot | None:
        """All that the relay needs of a room; None if there is no such room."""
        return self._reader.load_room(room)

    def read_log(
        self, room: RoomId, start: int, *, mid: MemberId, max_events: int, max_bytes: int
    ) -> LogPage:
        """Log entries from `start` on, in order, with the boxes that are for `mid`.

        At most `max_events` of them and about `max_bytes` (records, cells, boxes), but at least
        one if there is one. Below the floor these are control records only; see `LogPage`.
        """
        return self._reader.read_log(
            room, start, mid=mid, max_events=max_events, max_bytes=max_bytes
        )

    def event_ids(self, room: RoomId, start: int, limit: int) -> list[EventId]:
        """The ids of the entries from `start` on, in order, at most `limit`."""
        return self._reader.event_ids(room, start, limit)

    def read_boxes(self, room: RoomId, start: int, stop: int) -> list[tuple[int, MemberId, bytes]]:
        """The key boxes of entries `start` to before `stop`: seq, addressee, box; in order."""
        return self._reader.read_boxes(room, start, stop)

    def replicas(self) -> list[Replica]:
        """The copies of other relays' rooms."""
        return self._reader.replicas()

    def cached_bytes(self) -> int:
        """What is kept of attachments that were had from other relays."""
        return self._reader.cached_bytes()

    def cached_blobs(self, room: RoomId | None, limit: int) -> list[CachedBlob]:
        """The first of them that were stored, of one room or (None) of all."""
        return self._reader.cached_blobs(room, limit)

    def peers(self) -> list[PeerRow]:
        """The other relays that were heard of, the first ones first."""
        return self._reader.peers()

    def put_peer(self, row: PeerRow) -> None:
        """Insert or replace what is known of another relay."""
        self._writer.put_peer(row)

    def forget_keys(self, relay_id: RelayId) -> None:
        """What is known of this relay's keys is as if it had never shown one; all else stays."""
        self._writer.forget_keys(relay_id)

    def drop_peer(self, relay_id: RelayId) -> None:
        """Forget another relay; nothing, if it is not known."""
        self._writer.drop_peer(relay_id)

    def evidence(self) -> list[Evidence]:
        """All that was kept of relays caught lying."""
        return self._reader.evidence()

    def moves(self) -> list[KeptMoves]:
        """The rooms that were moved, and what others have to be told of that."""
        return self._reader.moves()

    def put_hearers(self, room: RoomId, relays: Iterable[RelayId]) -> None:
        """Who has to be told that this room was moved; nothing, if there is no such room."""
        self._writer.put_hearers(room, relays)

    def load_before(self, room: RoomId, end: int, log: Hash32) -> RoomSnapshot | None:
        """The room as it was after entry `end`; None where it does not go on after that.

        `log` is the running hash there, where it is not known here any more.
        """
        return self._reader.load_before(room, end, log)

    def gaps(self) -> list[Gap]:
        """All stretches that copies here lack, because their hub no longer kept them; by time."""
        return self._reader.gaps()

    def log_before(self, room: RoomId, seq: int) -> Hash32 | None:
        """The running hash after entry `seq - 1`; before GENESIS it is the room's id.

        None if there is no such entry any more (or yet); there always is one for `floor`, and for
        `next` of each hole.
        """
        return self._reader.log_before(room, seq)

    def floor(self, room: RoomId) -> int:
        """The seq from which on retention has removed nothing; 0 for an unknown room."""
        return self._reader.floor(room)

    def holes(self, room: RoomId) -> list[Hole]:
        """What is missing from `floor` on: only of a copy, or what was one; in order."""
        return self._reader.holes(room)

    def find_sid(self, room: RoomId, mid: MemberId, sid: Sid) -> LogEntry | None:
        """The entry that `mid` sent as `sid`, as far as it is kept."""
        return self._reader.find_sid(room, mid, sid)

    def find_event(self, room: RoomId, event_id: EventId) -> LogEntry | None:
        """The entry with this event_id, as far as it is kept."""
        return self._reader.find_event(room, event_id)

    def read_chain(
        self, room: RoomId, start: int, limit: int, *, max_bytes: int = limits.FRAME_BYTES // 2
    ) -> ChainPage:
        """Control records from seq `start` on, in order: at most `limit`, about `max_bytes`."""
        return self._reader.read_chain(room, start, limit, max_bytes=max_bytes)

    def read_blob(self, room: RoomId, blob: BlobId, index: int) -> BlobChunk | None:
        """One chunk of an attachment; None if it is not here."""
        return self._reader.read_blob(room, blob, index)

    def blob_info(self, room: RoomId, blob: BlobId) -> BlobInfo | None:
        """Whose attachment it is and how much of it is here; None if nothing is.

        A `BlobStored` of another member or count than these is passed over.
        """
        return self._reader.blob_info(room, blob)

    def rooms(self) -> list[RoomSummary]:
        """All rooms in figures, in the order they were founded."""
        return self._reader.rooms()

    def apply_retention(self, policy: Retention, now: int) -> RetentionReport:
        """Remove a bounded part of what `policy` does not keep; `now` in milliseconds since 1970.

        It holds the writer for some milliseconds. While the report says `more`, call it again,
        with pauses; a call then goes on with the next rooms.
        """
        if self._sweeper is None:
            raise _read_only()
        return self._sweeper.apply(policy, now)

    def backup(self, target: Path, progress: backups.Progress | None = None) -> None:
        """Copy the database, as it is now, to a new file `target`; see `ofcd.store.backup`."""
        backups.backup(self.path, target, progress)

    def check(self) -> CheckReport:
        """Read the whole database looking for damage: seconds for each gigabyte."""
        return backups.check(self.path)

    def close(self) -> None:
        """Close all connections and let go of the lock; twice is fine."""
        self._reader.close()
        if self._maybe_writer is not None:
            self._maybe_writer.close()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def _writer(self) -> Writer:
        if self._maybe_writer is None:
            raise _read_only()
        return self._maybe_writer


def _ready_writer(path: Path, durability: Durability, *, migrate: bool) -> Writer:
    """A writer on a database whose schema is this code's."""
    with translated(path):
        writer = Writer(path, durability)
    try:
        with writer.connection() as connection:
            if migrate:
                migrations.upgrade_connection(connection, path)
            else:
                migrations.require_current(connection, path)
    except BaseException:
        writer.close()
        raise
    return writer


def _read_only() -> ReadOnly:
    return ReadOnly("this store was opened for reading only")
