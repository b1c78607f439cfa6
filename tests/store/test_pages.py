"""Pages of history: bounded by entries and bytes, complete, in order, and cheap to find."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from ofcd.store import LogRow, Store
from ofcd.store.engine import reader_engine
from ofcd.store.reader import _BY_EVENT, _BY_SID, _CHAIN, _PAGE, _RECENT
from tests.store.support import ANA, BO, Room, opened


@pytest.fixture(scope="module")
def mixed(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Room]]:
    """A room of 60 entries of many sizes, with boxes at its control records; read only."""
    store, room = opened(template, tmp_path_factory.mktemp("pages")), Room()
    store.commit(room.founded())
    for n in range(1, 60):
        if n % 7 == 0:
            store.commit([room.control(size=n), room.box(n, ANA, b"box" * n)])
        else:
            store.commit([room.event(BO, size=n * 13 % 200)])
    yield store, room
    store.close()


def _size(row: LogRow) -> int:
    return len(row.record) + len(row.cell) + len(row.box)


@given(start=st.integers(0, 62), max_events=st.integers(1, 70), max_bytes=st.integers(1, 30_000))
def test_pages_make_up_the_log(
    mixed: tuple[Store, Room], start: int, max_events: int, max_bytes: int
) -> None:
    """Page after page gives each entry once, each page within its limits or of one entry."""
    store, room = mixed
    seqs, at, more = [], start, True
    while more:
        page = store.read_log(room.id, at, mid=ANA, max_events=max_events, max_bytes=max_bytes)
        assert len(page.rows) <= max_events
        assert len(page.rows) <= 1 or sum(map(_size, page.rows)) <= max_bytes
        assert page.rows or not page.more
        seqs += [row.seq for row in page.rows]
        at, more = page.next_seq, page.more
    assert seqs == list(range(start, 60))
    assert at == max(start, 60)


@given(start=st.integers(0, 62), limit=st.integers(1, 12), max_bytes=st.integers(1, 900))
def test_chain_pages_make_up_the_chain(
    mixed: tuple[Store, Room], start: int, limit: int, max_bytes: int
) -> None:
    """The control log comes whole, in pages within their limits."""
    store, room = mixed
    seqs, at, more = [], start, True
    while more:
        page = store.read_chain(room.id, at, limit, max_bytes=max_bytes)
        sizes = [len(record.record) for record in page.records]
        assert len(sizes) <= limit
        assert len(sizes) <= 1 or sum(sizes) <= max_bytes
        seqs += [record.seq for record in page.records]
        more = page.more
        at = seqs[-1] + 1 if seqs else at
    assert seqs == [seq for seq in range(0, 60, 7) if seq >= start]


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (_CHAIN, "ix_log_chain"),
        (_PAGE, "sqlite_autoindex_log_1"),
        (_RECENT, "sqlite_autoindex_log_1"),
        (_BY_EVENT, "sqlite_autoindex_log_2"),
        (_BY_SID, "ix_log_sid"),
    ],
)
def test_readings_go_by_an_index(
    template: Path, query: sa.Select[tuple[object]], index: str
) -> None:
    """No reading scans a table or sorts: SQLite's plan names the index, and no temporary tree."""
    engine = reader_engine(template)
    compiled = query.compile(dialect=engine.dialect)
    with engine.connect() as connection:
        values = tuple(compiled.params[name] or 1 for name in compiled.positiontup or ())
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", values).all()
    engine.dispose()
    plan = "; ".join(row[3] for row in rows)
    assert f"log USING INDEX {index}" in plan
    assert "TEMP B-TREE" not in plan
    assert "SCAN" not in plan
