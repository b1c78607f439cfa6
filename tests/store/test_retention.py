"""Retention: what goes, what stays, and that each call is short."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from ofcd.relay.facts import RECENT_ENTRIES, CopySkipped
from ofcd.store import DiskFull, Hole, Retention, RetentionReport, Store
from ofcd.store import retention as retention_module
from ofcd.store.writer import Writer
from tests.store.support import ANA, BO, CY, Room, blob_id, entry, loaded, opened, url

DAY = 24 * 3600 * 1000
NOW = 1_000 * DAY


def sweep(store: Store, policy: Retention, now: int = NOW) -> list[RetentionReport]:
    """Call until there is no more."""
    reports = [store.apply_retention(policy, now)]
    while reports[-1].more:
        reports.append(store.apply_retention(policy, now))
        assert len(reports) < 500
    return reports


def kept(store: Store, room: Room) -> list[int]:
    """Seqs that can still be read."""
    page = store.read_log(room.id, 0, mid=ANA, max_events=5_000, max_bytes=10_000_000)
    assert all(row.record for row in page.rows)
    return [row.seq for row in page.rows]


@pytest.fixture
def room(store: Store) -> Room:
    """Ten entries: 0, 4 and 8 are control records, the others events of Ana."""
    made = Room()
    store.commit(made.founded())
    for seq in range(1, 10):
        store.commit([made.control() if seq % 4 == 0 else made.event(ANA)])
    return made


def test_without_limits_nothing_goes(store: Store, room: Room) -> None:
    """The default policy keeps all, at no cost."""
    assert Retention().keeps_all
    assert store.apply_retention(Retention(), NOW) == RetentionReport()
    assert kept(store, room) == list(range(10))


def test_by_count(store: Store, room: Room) -> None:
    """The latest events stay, and every control record."""
    (report,) = sweep(store, Retention(max_events=3))
    assert kept(store, room) == [0, 4, 6, 7, 8, 9]
    assert (report.rooms, report.events, report.floors) == (1, 4, {room.id: 6})
    assert store.floor(room.id) == 6


def test_by_bytes(store: Store, room: Room) -> None:
    """The latest events that fit together stay."""
    one = len(room.log[9].record) + len(room.log[9].cell)
    sweep(store, Retention(max_bytes=2 * one))
    assert kept(store, room) == [0, 4, 7, 8, 9]
    assert store.rooms()[0].bytes == 2 * one


def test_by_age(store: Store, room: Room) -> None:
    """What is younger than the limit stays, however much it is."""
    now = room.log[5].ts + 100
    sweep(store, Retention(max_age_ms=100), now)
    assert kept(store, room) == [0, 4, 5, 6, 7, 8, 9]
    sweep(store, Retention(max_age_ms=100), now + DAY)
    assert kept(store, room) == [0, 4, 8]
    assert store.rooms()[0].events == store.rooms()[0].bytes == 0


def test_what_stood_before_a_gap_loses_its_content_too(store: Store, room: Room) -> None:
    """It stays beside the gap, oldest first to go; when it is gone, the gap is as all before."""
    room.events(2)  # the two that nobody has any more
    store.commit([CopySkipped(room.id, 9, 12, room.log[-1].log, room.log[-1].ts)])
    store.commit(room.events(3))
    sweep(store, Retention(max_events=5))
    assert kept(store, room) == [0, 4, 7, 8, 9, 12, 13, 14]
    assert store.floor(room.id) == 7
    assert store.holes(room.id) == [Hole(10, 12, room.log[11].log)]
    assert store.log_before(room.id, 12) == room.log[11].log
    page = store.read_log(room.id, 10, mid=ANA, max_events=9, max_bytes=1 << 20)
    assert [row.seq for row in page.rows] == [12, 13, 14]
    loaded = store.load_room(room.id)
    assert loaded is not None
    assert loaded.floor == 12, "nobody is held to what was said before"
    sweep(store, Retention(max_events=2))
    assert kept(store, room) == [0, 4, 8, 13, 14]
    assert store.holes(room.id) == []
    store.checkpoint()
    with sqlite3.connect(store.path) as raw:
        left = raw.execute("SELECT seq FROM log WHERE record != x'' ORDER BY seq").fetchall()
    raw.close()
    assert [seq for (seq,) in left] == [0, 4, 8, 13, 14]


def test_the_file_shrinks(template: Path, tmp_path: Path) -> None:
    """Space that is not used again soon goes back to the disk, in short calls; no data with it."""
    made = Room()
    with opened(template, tmp_path) as store:
        path = store.path
        store.commit(made.founded())
        for _ in range(200):
            store.commit([made.event(ANA, cell=bytes(40_000))])
        store.checkpoint()
        before = path.stat().st_size
        reports = sweep(store, Retention(max_events=10))
        assert sum(report.more and not report.events for report in reports) > 5
    assert before > 8_000_000
    assert path.stat().st_size < before / 4
    with Store.open(f"sqlite:///{path}") as store:
        assert kept(store, made) == [0, *range(191, 201)]
        assert store.check().ok


def test_what_went_is_told_although_the_file_can_not_shrink(
    store: Store, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk, say: the relay has to forget in memory what is gone."""

    def full(_: Writer) -> bool:
        raise DiskFull("no space is left")

    monkeypatch.setattr(Writer, "shrink", full)
    (report,) = sweep(store, Retention(max_events=3))
    assert report.floors == {room.id: 6}


def test_a_little_empty_space_is_kept(store: Store) -> None:
    """It is used again: a file that shrinks and grows by turns only writes."""
    made = Room()
    store.commit(made.founded())
    for _ in range(20):
        store.commit([made.event(ANA, cell=bytes(40_000))])
    (report,) = sweep(store, Retention(max_events=5))
    assert report.events == 15


def test_the_strictest_limit_counts(store: Store, room: Room) -> None:
    """All limits hold at once."""
    sweep(store, Retention(max_events=5, max_bytes=100_000, max_age_ms=NOW))
    assert kept(store, room) == [0, 3, 4, 5, 6, 7, 8, 9]
    assert store.rooms()[0].events == 5


def test_the_floor_can_be_verified(store: Store, room: Room) -> None:
    """There is a running hash before the floor, though the entry before it is gone."""
    sweep(store, Retention(max_events=3))
    assert store.log_before(room.id, 6) == room.log[5].log
    page = store.read_log(room.id, 6, mid=ANA, max_events=9, max_bytes=9_999)
    assert [row.seq for row in page.rows] == [6, 7, 8, 9]
    assert page.floor == 6


def test_the_relay_keeps_its_memory(store: Store, room: Room) -> None:
    """Recent ids and hashes, senders, sids and the chain are as before; only content is gone."""
    before = loaded(store, room)
    sweep(store, Retention(max_events=1))
    assert loaded(store, room) == before
    sent = room.log[1]
    assert sent.sid is not None
    assert store.find_sid(room.id, ANA, sent.sid) == entry(sent)


def test_removed_content_is_not_in_the_file(store: Store, room: Room) -> None:
    """What retention and redaction removed is overwritten, not merely unlinked."""
    secret = room.event(ANA, cell=b"a cell that must go" * 20)
    big = room.event(ANA, cell=b"a cell of many pages" * 2_000)
    store.commit([secret, big, *room.events(2)])
    store.commit([room.redacted(secret, ANA)])
    sweep(store, Retention(max_events=1))
    store.close()
    raw = store.path.read_bytes()
    assert b"a cell that must go" not in raw
    assert b"a cell of many pages" not in raw


def test_old_rows_go_for_good(store: Store) -> None:
    """Below the relay's memory no event leaves a row, even if it went while it was recent."""
    room = Room()
    store.commit([*room.founded(), *room.events(50)])
    sweep(store, Retention(max_events=10))
    early = room.log[3]
    assert store.find_event(room.id, early.event_id) == entry(early)
    store.commit([room.control(), *room.events(RECENT_ENTRIES + 100)])
    sweep(store, Retention(max_events=10))
    assert store.find_event(room.id, early.event_id) is None
    assert loaded(store, room).recent == tuple(map(entry, room.log[-RECENT_ENTRIES:]))
    with store._reader.snapshot() as connection:
        rows = connection.exec_driver_sql("SELECT count(*) FROM log").scalar()
    assert rows == RECENT_ENTRIES + 2  # and the two control records below


def test_what_is_done_is_not_done_again(store: Store) -> None:
    """Once nothing is due, a call writes nothing: it would cost the writer at each turn."""
    room = Room()
    store.commit([*room.founded(), *room.events(RECENT_ENTRIES + 50)])
    policy = Retention(max_events=10)
    assert sum(report.events for report in sweep(store, policy)) > 0
    assert store.apply_retention(policy, NOW) == RetentionReport()


def test_each_call_is_bounded_and_the_next_goes_on(store: Store) -> None:
    """A big removal takes many calls, each of at most so many events; nobody is forgotten."""
    rooms = [Room(f"room {n}") for n in range(3)]
    for room in rooms:
        store.commit([*room.founded(), *room.events(1_200)])
    reports = sweep(store, Retention(max_events=5))
    assert max(report.events for report in reports) <= 2 * retention_module._ROWS_A_CALL
    assert sum(report.events for report in reports) == 3 * 1_195
    assert [len(kept(store, room)) for room in rooms] == [6, 6, 6]


def test_many_rooms_take_their_turns(store: Store) -> None:
    """Rooms beyond the first page of them are looked at as well."""
    rooms = [Room(f"room {n}") for n in range(2 * retention_module._ROOMS_A_CALL + 10)]
    store.commit([fact for room in rooms for fact in (*room.founded(), *room.events(2))])
    sweep(store, Retention(max_events=1))
    assert {summary.events for summary in store.rooms()} == {1}


def _boxes(store: Store, room: Room, seq: int) -> list[bytes]:
    """The boxes of Ana and Bo at `seq`."""
    return [
        store.read_log(room.id, seq, mid=mid, max_events=1, max_bytes=1).rows[0].box
        for mid in (ANA, BO)
    ]


def test_boxes_wait_for_their_member(store: Store, room: Room) -> None:
    """A box stays until its own member has confirmed the entry, however old it is."""
    store.commit([room.box(4, ANA), room.box(4, BO), room.cursor(ANA, 9, 1)])
    report = sweep(store, Retention(max_events=1))[0]
    assert (report.boxes, _boxes(store, room, 4)) == (1, [b"", b"box"])
    store.commit([room.cursor(BO, 4, 1)])
    sweep(store, Retention(max_events=1))
    assert _boxes(store, room, 4) == [b"", b""]


def test_boxes_of_kept_history_stay(store: Store, room: Room) -> None:
    """Boxes above the floor stay, also for members who confirmed them."""
    store.commit([room.box(8, ANA), room.cursor(ANA, 9, 1)])
    sweep(store, Retention(max_events=3))
    assert _boxes(store, room, 8) == [b"box", b""]


@pytest.mark.parametrize(("seen", "gone"), [(NOW - 8 * DAY, True), (NOW - 6 * DAY, False)])
def test_idle_members_do_not_hold_boxes(store: Store, room: Room, seen: int, gone: bool) -> None:
    """After `idle_ms` without a sign of the member, its old boxes go; a sign is any cursor."""
    store.commit([room.box(4, BO), room.cursor(BO, 2, seen), room.cursor(BO, 1, seen - DAY)])
    sweep(store, Retention(max_events=1, idle_ms=7 * DAY))
    assert _boxes(store, room, 4) == [b"", b"" if gone else b"box"]


def test_members_who_never_came_are_idle_since_the_entry(store: Store, room: Room) -> None:
    """A box whose member never sent a cursor counts from the time of its record."""
    store.commit([room.box(4, BO)])
    taken = room.log[4].ts
    sweep(store, Retention(max_events=1, idle_ms=DAY), taken + DAY)
    assert _boxes(store, room, 4) == [b"", b"box"]
    sweep(store, Retention(max_events=1, idle_ms=DAY), taken + DAY + 1)
    assert _boxes(store, room, 4) == [b"", b""]


def test_attachments_go_by_age(store: Store, room: Room) -> None:
    """An old attachment goes with all its chunks, and is off its member's account."""
    old = [room.chunk("old", n, 20, BO) for n in range(20)]
    new = evolve(room.chunk("new", 0, 1, CY), ts=NOW)
    store.commit([*old, new])
    reports = sweep(store, Retention(max_age_ms=DAY))
    assert store.blob_info(room.id, blob_id("old")) is None
    assert store.read_blob(room.id, blob_id("new"), 0) is not None
    assert loaded(store, room).blob_bytes == {CY: 5}
    assert sum(report.blobs for report in reports) == 1
    assert sum(report.freed.get((room.id, BO), 0) for report in reports) == 100
    assert len(reports) > 1


def test_attachments_go_with_the_events_of_their_time(store: Store) -> None:
    """By count or bytes, those go that are a day older than the oldest event that is kept."""
    room = Room(clock=NOW)
    store.commit(room.founded())
    store.commit(
        [
            *room.events(5),
            evolve(room.chunk("before", 0, 1), ts=NOW - 2 * DAY),
            evolve(room.chunk("just before", 0, 1), ts=NOW - DAY // 2),
        ]
    )
    sweep(store, Retention(max_events=10))
    assert store.blob_info(room.id, blob_id("before")) is not None
    sweep(store, Retention(max_events=2))
    assert store.blob_info(room.id, blob_id("before")) is None
    assert store.blob_info(room.id, blob_id("just before")) is not None


def test_an_empty_attachment_goes_as_well(store: Store, room: Room) -> None:
    """One of whose chunks none fitted leaves no row behind."""
    store.commit([room.chunk("odd", 7, 2)])
    assert sweep(store, Retention(max_age_ms=1))[0].blobs == 1


def test_writing_goes_on_after_retention(store: Store, room: Room) -> None:
    """The log of a room whose events are all gone continues where it was, also when reopened."""
    sweep(store, Retention(max_age_ms=1))
    store.close()
    with Store.open(url(store.path)) as again:
        again.commit([room.event(BO)])
        assert kept(again, room) == [0, 4, 8, 10]
        assert again.log_before(room.id, 11) == room.log[10].log


@settings(max_examples=40)
@given(
    sizes=st.lists(st.tuples(st.booleans(), st.integers(0, 60)), max_size=40),
    rounds=st.lists(
        st.tuples(st.integers(0, 20), st.integers(0, 800), st.integers(0, 60)), max_size=3
    ),
)
def test_the_accounts_stay_right(
    template: Path,
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[tuple[bool, int]],
    rounds: list[tuple[int, int, int]],
) -> None:
    """After any policies, counts and bytes are those of what can be read, and within limits."""
    room = Room()
    with opened(template, tmp_path_factory.mktemp("accounts")) as store:
        store.commit(room.founded())
        store.commit(
            [room.control(size=n) if control else room.event(size=n) for control, n in sizes]
        )
        for events, size, age in rounds:
            now = room.log[-1].ts + 1
            policy = Retention(max_events=events, max_bytes=size, max_age_ms=age)
            sweep(store, policy, now)
            page = store.read_log(room.id, 0, mid=ANA, max_events=500, max_bytes=10**6)
            left = [row for row in page.rows if not room.log[row.seq].control]
            (summary,) = store.rooms()
            assert summary.events == len(left)
            assert summary.bytes == sum(len(row.record) + len(row.cell) for row in left)
            assert [row.seq for row in page.rows if row.seq >= page.floor] == list(
                range(page.floor, len(room.log))
            )
            assert all(row.seq >= page.floor for row in left)
            assert not events or summary.events <= events
            assert not size or summary.bytes <= size
            assert not age or all(room.log[row.seq].ts >= now - age for row in left)
