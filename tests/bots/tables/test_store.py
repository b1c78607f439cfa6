"""The tables of a bot in its vault: what is committed is there again, and nothing else is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
from alembic.operations import Operations
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    Column,
    DateTime,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError

from bots.errors import Conflict, SetupError
from bots.tables import Tables, TablesError, TablesFull, TablesNewer, TablesRefused, TablesSpec
from bots.tables import archive as records
from bots.tables.store import TableStore, open_store
from ofcd.client import Vault, VaultDamaged
from ofcd.client.vault import ARCHIVE

KEY = bytes(32)
META = MetaData()
NOTES = Table(
    "notes",
    META,
    Column("id", Integer, primary_key=True),
    Column("word", String, nullable=False, unique=True),
    Column("raw", LargeBinary),
)
SPEC = TablesSpec(META)


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    """An empty vault."""
    with Vault.create(tmp_path / "vault", KEY) as made:
        yield made


@asynccontextmanager
async def opened(
    vault: Vault, spec: TablesSpec = SPEC, limit_mib: int = 4
) -> AsyncIterator[TableStore]:
    """The tables in a vault, as a bot's start finds them."""
    async with open_store(vault, vault.transaction, spec, limit_mib) as store:
        yield store


def commit(store: TableStore, tables: Tables) -> None:
    """As the engine does at a handler's end."""
    with store.transaction(tables.ops):
        pass


def words(store: TableStore) -> list[str]:
    """All words, sorted."""
    found = store.tables().execute(select(NOTES.c.word).order_by(NOTES.c.word))
    return list(found.scalars())


async def add(store: TableStore, *new: str) -> None:
    """Commit words."""
    tables = store.tables()
    for word in new:
        tables.execute(insert(NOTES).values(word=word, raw=word.encode()))
    commit(store, tables)


# -- what is kept ----------------------------------------------------------------------------------


async def test_what_is_committed_is_there_again_and_nothing_else(vault: Vault) -> None:
    """Every kind of value comes back; what a handler did not end with does not."""
    values = {"word": "é\0\n'\"", "raw": bytes(range(256))}
    async with opened(vault) as store:
        done, left = store.tables(), store.tables()
        done.execute(insert(NOTES).values(**values))
        done.execute(insert(NOTES), [{"word": "a", "raw": None}, {"word": "b", "raw": b""}])
        left.execute(insert(NOTES).values(word="never"))
        commit(store, done)
    async with opened(vault) as store:
        rows = store.tables().execute(select(NOTES).order_by(NOTES.c.id)).all()
    assert [tuple(row) for row in rows] == [
        (1, values["word"], values["raw"]),
        (2, "a", None),
        (3, "b", b""),
    ]


async def test_nothing_of_it_can_be_read_in_the_file(vault: Vault) -> None:
    """Neither words nor names of tables stand in the vault's files."""
    async with opened(vault) as store:
        await add(store, "conspicuous")
        await store.compact()
        await add(store, "suspicious")
    files = b"".join(path.read_bytes() for path in vault.path.parent.glob("vault*"))
    for secret in (b"conspicuous", b"suspicious", b"notes"):
        assert secret not in files


async def test_a_failed_commit_of_the_vault_leaves_the_tables_as_they_were(vault: Vault) -> None:
    """What else is in the transaction fails: neither memory nor disk has the change."""
    async with opened(vault) as store:
        tables = store.tables()
        tables.execute(insert(NOTES).values(word="half"))
        with pytest.raises(RuntimeError), store.transaction(tables.ops):
            raise RuntimeError("the outbox is full, say")
        assert words(store) == []
        await add(store, "whole")
    async with opened(vault) as store:
        assert words(store) == ["whole"]


Step = tuple[str, int, str]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "read", "commit", "drop", "compact", "reopen"]),
        st.integers(0, 1),
        st.sampled_from("abcdef"),
    ),
    max_size=30,
)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(steps=STEPS)
def test_two_handlers_see_their_own_and_what_is_committed(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step]
) -> None:
    """Any order of two handlers' statements, commits, images and restarts: as with sets."""
    path = tmp_path_factory.mktemp("tables") / "vault"
    with Vault.create(path, KEY) as vault:
        trio.run(_against_sets, vault, steps)


async def _against_sets(vault: Vault, steps: list[Step]) -> None:
    known: set[str] = set()
    left = list(steps)
    while True:
        async with opened(vault) as store:
            assert set(words(store)) == known
            done = await _life(store, left, known)
            if done is None:
                return
            left = left[done:]


async def _life(store: TableStore, steps: list[Step], known: set[str]) -> int | None:
    drafts = [store.tables(), store.tables()]
    own: list[set[str]] = [set(), set()]
    for number, (what, who, word) in enumerate(steps):
        if what == "reopen":
            return number + 1
        if what == "compact":
            await store.compact()
            continue
        fits = True
        try:
            if what == "add":
                fits = word not in known | own[who]
                drafts[who].execute(insert(NOTES).values(word=word))
                own[who].add(word)
                assert fits
            elif what == "read":
                seen = set(drafts[who].execute(select(NOTES.c.word)).scalars())
                assert seen == known | own[who]
            elif what == "commit":
                commit(store, drafts[who])
                assert not known & own[who]
                known |= own[who]
        except IntegrityError:
            assert not fits
        except Conflict:
            what = "drop"  # it would run again
        if what in ("commit", "drop"):
            drafts[who], own[who] = store.tables(), set()
    return None


# -- conflicts -------------------------------------------------------------------------------------


async def test_what_was_read_and_is_another_by_now_is_a_conflict(vault: Vault) -> None:
    """A count that changed, a word that is taken, a word that was not; nothing else."""
    async with opened(vault) as store:
        counts, takes, asks, minds_its_own = (store.tables() for _ in range(4))
        counts.execute(select(func.count()).select_from(NOTES))
        takes.execute(insert(NOTES).values(word="x"))
        asks.execute(select(NOTES).where(NOTES.c.word == "x"))
        minds_its_own.execute(update(NOTES).where(NOTES.c.word == "y").values(raw=b""))
        await add(store, "x")
        for loser in (counts, takes, asks):
            with pytest.raises(Conflict):
                commit(store, loser)
        commit(store, minds_its_own)
        assert words(store) == ["x"]


async def test_a_broken_constraint_is_an_answer_that_has_to_hold(vault: Vault) -> None:
    """A handler that was told "taken" and said so runs again once it is free."""
    async with opened(vault) as store:
        await add(store, "x")
        told, again = store.tables(), store.tables()
        for tables in (told, again):
            with pytest.raises(IntegrityError):
                tables.execute(insert(NOTES), [{"word": "first"}, {"word": "x"}])
            tables.execute(insert(NOTES).values(word=f"after {id(tables)}"))
        commit(store, told)
        assert "first" not in words(store), "what failed half way changed nothing"
        remover = store.tables()
        remover.execute(NOTES.delete().where(NOTES.c.word == "x"))
        commit(store, remover)
        with pytest.raises(Conflict):
            commit(store, again)


# -- what no handler may do ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("INSERT INTO notes (word) VALUES (datetime('now'))", "ctx.now"),
        ("UPDATE notes SET word = random()", "random() has another value"),
        ("INSERT INTO notes (word) VALUES (CURRENT_TIMESTAMP)", "current_timestamp"),
        ("INSERT INTO notes (id, word) VALUES (last_insert_rowid() + 1, 'z')", "last_insert_rowid"),
        ("ATTACH ':memory:' AS other", "open another database"),
        ("PRAGMA foreign_keys = OFF", "use PRAGMA"),
        ("COMMIT", "begin or end a transaction"),
        ("RELEASE again", "begin or end a transaction"),
        ("CREATE TABLE other (x)", "change the tables' form"),
        ("DROP TABLE notes", "change the tables' form"),
    ],
)
async def test_a_statement_no_handler_may_use_says_what_to_do(
    vault: Vault, sql: str, said: str
) -> None:
    """It is refused with a sentence, changes nothing, and the handler may go on."""
    async with opened(vault) as store:
        await add(store, "x")
        tables = store.tables()
        tables.execute(insert(NOTES).values(word="y"))
        with pytest.raises(TablesRefused) as refused:
            tables.execute(text(sql))
        assert said in str(refused.value)
        commit(store, tables)
        assert words(store) == ["x", "y"]


async def test_a_value_that_can_not_be_kept_is_refused_where_it_is_passed(vault: Vault) -> None:
    """SQLite's driver would take a date; what keeps the statement would not."""
    from datetime import UTC, datetime

    async with opened(vault) as store:
        tables = store.tables()
        with pytest.raises((TablesRefused, DeprecationWarning)):
            tables.execute(
                text("INSERT INTO notes (word) VALUES (:word)"), {"word": datetime.now(UTC)}
            )
        assert words(store) == []


async def test_a_statement_that_takes_for_ever_is_stopped(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its time it is refused, and the tables work on."""
    monkeypatch.setattr("bots.tables.guard.STATEMENT_SECONDS", 0.05)
    forever = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM n) SELECT count(*) FROM n"
    async with opened(vault) as store:
        with pytest.raises(TablesRefused, match="took over"):
            store.tables().execute(text(forever))
        await add(store, "x")


async def test_full_tables_are_a_typed_error_and_can_be_made_room_in(vault: Vault) -> None:
    """Over their limit `TablesFull`; what was there is there; less may be written at any time."""
    async with opened(vault, limit_mib=1) as store:
        await add(store, "x")
        tables = store.tables()
        for number in range(90):
            tables.execute(insert(NOTES).values(word=f"{number}", raw=bytes(10_000)))
        with pytest.raises(TablesFull, match="1 MiB"):
            tables.execute(insert(NOTES).values(word="large", raw=bytes(300_000)))
        assert words(store) == ["x"]
        await add(store, "y")
        assert words(store) == ["x", "y"]


# -- images ----------------------------------------------------------------------------------------


async def test_an_image_replaces_its_statements_and_leaves_nothing_behind(vault: Vault) -> None:
    """Grown past a mebibyte, statements become an image; stale records go; all words stay."""
    async with opened(vault) as store, trio.open_nursery() as nursery:
        nursery.start_soon(store.keep_small)
        first = store.head
        for number in range(600):
            await add(store, f"w{number}")
        with trio.fail_after(20):
            while store.head.first < 500:  # noqa: ASYNC110 - watched from outside
                await trio.sleep(0.01)
            while records.stale(vault, store.head, 1):  # noqa: ASYNC110 - as above
                await trio.sleep(0.01)
        assert store.head.image != first.image
        nursery.cancel_scope.cancel()
    kept = len(list(vault.items(ARCHIVE + "app/bot/tables")))
    assert kept == store.head.parts + store.head.next - store.head.first
    async with opened(vault) as store:
        assert len(words(store)) == 600


async def test_an_image_broken_off_anywhere_loses_nothing(vault: Vault) -> None:
    """Dies the process between two parts, the old image and all statements still count."""
    async with opened(vault) as store:
        await add(store, *(f"{n}" + "x" * 4_000 for n in range(80)))
        for steps in range(1, 10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(store.compact)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            async with opened(vault) as again:
                assert len(words(again)) == 80


async def test_what_is_purged_is_in_no_record_any_more(vault: Vault) -> None:
    """Deleted alone, a row still stands among the kept statements; purged, it does not."""

    def kept() -> bytes:
        return b"".join(raw for _, raw in vault.items(ARCHIVE + "app/bot/tables"))

    async with opened(vault) as store, trio.open_nursery() as nursery:
        nursery.start_soon(store.keep_small)
        await add(store, "conspicuous", "stays")
        tables = store.tables()
        tables.execute(NOTES.delete().where(NOTES.c.word == "conspicuous"))
        commit(store, tables)
        await trio.testing.wait_all_tasks_blocked()
        assert b"conspicuous" in kept()
        tables = store.tables()
        tables.execute(NOTES.delete().where(NOTES.c.word == "nothing"))
        tables.purge()
        commit(store, tables)
        await trio.testing.wait_all_tasks_blocked()
        assert b"conspicuous" not in kept()
        assert words(store) == ["stays"]
        nursery.cancel_scope.cancel()


async def test_a_missing_record_is_damage(vault: Vault) -> None:
    """A statement or a part that someone removed is noticed at the start."""
    async with opened(vault) as store:
        await add(store, "x")
    [*_, last] = [key for key, _ in vault.items(ARCHIVE + "app/bot/tables")]
    with vault.transaction() as tx:
        tx.delete(ARCHIVE + "app/bot/tables", last)
    with pytest.raises(VaultDamaged):
        async with opened(vault):
            pass


async def test_statements_that_do_something_else_now_are_noticed(vault: Vault) -> None:
    """What was kept is done again exactly, or the bot does not start."""
    async with opened(vault) as store:
        await add(store, "x")
        head = store.head
    with vault.transaction() as tx:
        other = b"[[\"UPDATE notes SET word='z'\",[],5]]"
        records.save_head(tx, records.put_statements(tx, head, other))
    with pytest.raises(TablesError, match="something else"):
        async with opened(vault):
            pass


# -- migrations ------------------------------------------------------------------------------------


NEWER = MetaData()
Table(
    "notes",
    NEWER,
    Column("id", Integer, primary_key=True),
    Column("word", String, nullable=False, unique=True),
    Column("raw", LargeBinary),
    Column("size", Integer, nullable=False, default=0),
)
Table("tags", NEWER, Column("note", Integer, ForeignKey("notes.id")), Column("tag", String))


def add_size(op: Operations) -> None:
    """The first migration."""
    op.add_column("notes", Column("size", Integer, nullable=False, server_default="0"))
    op.execute("UPDATE notes SET size = length(word)")


def add_tags(op: Operations) -> None:
    """The second."""
    note = Column("note", Integer, ForeignKey("notes.id"))
    op.create_table("tags", note, Column("tag", String))


NEWEST = TablesSpec(NEWER, (add_size, add_tags))


async def test_migrations_bring_older_tables_to_the_newest(vault: Vault) -> None:
    """Those that are lacking are applied in order, once; a new vault needs none of them."""
    async with opened(vault) as store:
        await add(store, "four")
    async with opened(vault, NEWEST) as store:
        assert store.head.version == 2
        rows = store.tables().execute(text("SELECT word, size FROM notes")).all()
        assert [tuple(row) for row in rows] == [("four", 4)]
        tables = store.tables()
        tables.execute(text("INSERT INTO tags VALUES (1, 'even')"))
        with pytest.raises(IntegrityError):
            tables.execute(text("INSERT INTO tags VALUES (7, 'nobody')"))
        commit(store, tables)
    async with opened(vault, NEWEST) as store:
        assert store.tables().execute(text("SELECT tag FROM tags")).scalar() == "even"


async def test_tables_of_a_newer_bot_are_refused(vault: Vault) -> None:
    """Yesterday's code does not touch what today's has made."""
    async with opened(vault, NEWEST):
        pass
    with pytest.raises(TablesNewer, match="version 2, and this bot knows 0"):
        async with opened(vault):
            pass


def _fails(op: Operations) -> None:
    op.execute("DELETE FROM notes")
    op.execute("UPDATE nowhere SET x = 1")


def _orphans(op: Operations) -> None:
    add_size(op)
    add_tags(op)
    op.execute("INSERT INTO tags VALUES (99, 'nobody')")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (TablesSpec(NEWER, (add_size,)), "lack tags"),
        (TablesSpec(NEWER, (add_tags,)), "lack notes.size"),
        (TablesSpec(META, (_fails,)), "migration 1 fails: .*no such table"),
        (TablesSpec(NEWER, (_orphans,)), "refer to others"),
    ],
)
async def test_a_migration_that_does_not_fit_changes_nothing(
    vault: Vault, spec: TablesSpec, said: str
) -> None:
    """Forgotten, failing, or leaving orphans: refused at the start, and the vault is as before."""
    async with opened(vault) as store:
        await add(store, "x")
    with pytest.raises((SetupError, TablesError), match=said):
        async with opened(vault, spec):
            pass
    async with opened(vault) as store:
        assert words(store) == ["x"]


CLOCK = Column("at", DateTime, server_default=func.current_timestamp())
LATE = Column("n", Integer, ForeignKey("bad.id", deferrable=True, initially="DEFERRED"))


@pytest.mark.parametrize(
    ("column", "said"), [(CLOCK, "current_timestamp"), (LATE, "deferred foreign key")]
)
async def test_a_table_whose_commit_could_differ_is_refused(
    vault: Vault, column: Column[object], said: str
) -> None:
    """A default of SQLite's clock, a constraint that only a commit would check."""
    meta = MetaData()
    Table("bad", meta, Column("id", Integer, primary_key=True), column)
    with pytest.raises(SetupError, match=said):
        async with opened(vault, TablesSpec(meta)):
            pass
