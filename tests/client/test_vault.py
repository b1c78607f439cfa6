"""The vault keeps what it was given, gives it to nobody else, and notices what was changed."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofcd.client.errors import (
    VaultDamaged,
    VaultError,
    VaultExists,
    VaultLocked,
    VaultMissing,
    VaultUnwritable,
    WrongPassphrase,
)
from ofcd.client.vault import Vault

KEY = bytes(range(32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.vault"


@pytest.fixture
def vault(path: Path) -> Iterator[Vault]:
    with Vault.create(path, KEY) as opened:
        yield opened


def put(vault: Vault, table: str, **records: bytes) -> None:
    with vault.transaction() as tx:
        for name, value in records.items():
            tx.put(table, name.encode(), value)


def raw(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


def rows(path: Path, table: str) -> list[tuple[str, bytes, int, bytes]]:
    db = raw(path)
    try:
        found = db.execute("SELECT * FROM records WHERE tbl=?", (table,)).fetchall()
    finally:
        db.close()
    return found


def execute(path: Path, statement: str, *values: object) -> None:
    db = raw(path)
    try:
        db.execute(statement, values)
    finally:
        db.close()


def test_a_vault_gives_back_what_it_was_given(path: Path) -> None:
    """Records survive closing, empty ones too; a deleted one is gone; order is by id."""
    with Vault.create(path, KEY) as vault:
        put(vault, "state", b=b"two", a=b"one", c=b"", gone=b"x")
        with vault.transaction() as tx:
            tx.delete("state", b"gone")
            tx.put("archive/x", b"1", b"old")
    with Vault.open(path, KEY) as vault:
        assert list(vault.items("state")) == [(b"a", b"one"), (b"b", b"two"), (b"c", b"")]
        assert vault.get("archive/x", b"1") == b"old"
        assert vault.get("state", b"gone") is None


def test_items_can_be_bounded_reversed_and_limited(vault: Vault) -> None:
    """`start` is included, `end` is not; `reverse` and `limit` work together."""
    put(vault, "archive/t", a=b"1", b=b"2", c=b"3", d=b"4")
    assert [i for i, _ in vault.items("archive/t", b"b", b"d")] == [b"b", b"c"]
    assert [i for i, _ in vault.items("archive/t", reverse=True, limit=2)] == [b"d", b"c"]


def test_nothing_readable_stands_in_the_file(path: Path) -> None:
    """Neither values nor the passphrase are found in any of the vault's files."""
    with Vault.create(path, "Geheimwort") as vault:
        put(vault, "state", a=b"MARKER-STATE")
        put(vault, "archive/x", a=b"MARKER-MESSAGE")
        everything = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert b"MARKER" not in everything
    assert b"Geheimwort" not in everything


def test_the_files_are_their_owners_alone(path: Path, vault: Vault) -> None:
    """Database, write-ahead log and lock have mode 0600, whatever the umask."""
    put(vault, "state", a=b"1")
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert set(modes.values()) == {0o600}, modes


def test_a_wrong_passphrase_is_told_from_damage(path: Path) -> None:
    """Wrong passphrase and wrong kind of secret raise WrongPassphrase; the right one opens."""
    Vault.create(path, "right").close()
    with pytest.raises(WrongPassphrase):
        Vault.open(path, "wrong")
    with pytest.raises(WrongPassphrase, match="passphrase"):
        Vault.open(path, KEY)
    Vault.open(path, "right").close()


@pytest.mark.parametrize("secret", ["", b"", b"short", bytes(33)])
def test_a_secret_of_no_use_is_a_wrong_one(path: Path, secret: str | bytes) -> None:
    """An empty passphrase, or a key file of another length, opens nothing and says so."""
    kind: str | bytes = "right" if isinstance(secret, str) else bytes(32)
    Vault.create(path, kind).close()
    with pytest.raises(WrongPassphrase):
        Vault.open(path, secret)


def test_a_backup_onto_the_vault_itself_is_refused(path: Path, vault: Vault) -> None:
    """It would replace an open file."""
    with pytest.raises(VaultExists):
        vault.backup(path)
    with vault.transaction() as tx:
        tx.put("table", b"id", b"value")
    assert vault.get("table", b"id") == b"value"


def test_a_changed_passphrase_opens_and_the_old_one_does_not(path: Path) -> None:
    """The records stay as they were."""
    with Vault.create(path, KEY) as vault:
        put(vault, "state", a=b"1")
        vault.change_passphrase("new")
    with pytest.raises(WrongPassphrase):
        Vault.open(path, KEY)
    with Vault.open(path, "new") as vault:
        assert vault.get("state", b"a") == b"1"


def test_a_second_opener_is_told_who_has_it(path: Path, vault: Vault) -> None:
    """One process at a time; the error names it, and the lock ends with the holder."""
    with pytest.raises(VaultLocked, match=str(os.getpid())) as caught:
        Vault.open(path, KEY)
    assert caught.value.pid == os.getpid()
    vault.close()
    Vault.open(path, KEY).close()


def test_what_is_no_vault_is_said_to_be_none(path: Path) -> None:
    """Nothing there, a text file, a foreign database: each has its error; none is replaced."""
    with pytest.raises(VaultMissing):
        Vault.open(path, KEY)
    path.write_text("hello, this is no database at all, but long enough to be one" * 20)
    with pytest.raises(VaultDamaged):
        Vault.open(path, KEY)
    with pytest.raises(VaultExists):
        Vault.create(path, KEY)
    path.unlink()
    execute(path, "CREATE TABLE t (x)")
    with pytest.raises(VaultMissing):
        Vault.open(path, KEY)


def test_a_failed_block_changes_nothing(vault: Vault) -> None:
    """An exception rolls everything back, and on_commit actions do not run."""
    ran: list[str] = []
    put(vault, "state", a=b"1")

    def fails() -> None:
        with vault.transaction() as tx:
            tx.put("state", b"a", b"2")
            tx.put("archive/x", b"a", b"2")
            tx.on_commit(lambda: ran.append("bad"))
            assert tx.get("state", b"a") == b"2"
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert (vault.get("state", b"a"), vault.get("archive/x", b"a"), ran) == (b"1", None, [])
    with vault.transaction() as tx:
        tx.put("state", b"a", b"3")
        tx.on_commit(lambda: ran.append("good"))
    assert (vault.get("state", b"a"), ran) == (b"3", ["good"])


def test_transactions_do_not_nest(vault: Vault) -> None:
    """A second one while one is open is a mistake, and so is the use of one that is over."""
    with vault.transaction() as tx, pytest.raises(VaultError), vault.transaction():
        pass
    with pytest.raises(VaultError):
        tx.put("state", b"a", b"1")
    with vault.transaction() as tx, pytest.raises(VaultError):
        tx.put("#top", b"", b"1")


@pytest.mark.parametrize("table", ["state", "archive/x"])
def test_a_changed_record_is_noticed(path: Path, table: str) -> None:
    """One flipped bit in a sealed record: it does not open, and the error says so."""
    with Vault.create(path, KEY) as vault:
        put(vault, table, a=b"1")
    [(_, _, _, sealed)] = rows(path, table)
    execute(path, "UPDATE records SET sealed=? WHERE tbl=?", sealed[:-1] + b"!", table)
    with Vault.open(path, KEY) as vault, pytest.raises(VaultDamaged):
        vault.get(table, b"a")


def test_an_old_record_can_not_be_put_back(path: Path) -> None:
    """A state record of yesterday, itself genuine, is refused: with its own version or today's."""
    with Vault.create(path, KEY) as vault:
        put(vault, "state", a=b"old")
        [(_, _, version, sealed)] = rows(path, "state")
        put(vault, "state", a=b"new")
    execute(path, "UPDATE records SET sealed=? WHERE tbl='state'", sealed)
    with Vault.open(path, KEY) as vault, pytest.raises(VaultDamaged):
        vault.get("state", b"a")
    execute(path, "UPDATE records SET sealed=?, version=? WHERE tbl='state'", sealed, version)
    with pytest.raises(VaultDamaged):
        Vault.open(path, KEY)


def test_an_old_index_can_not_be_put_back(path: Path) -> None:
    """A record and its table's index swapped back together do not fit the top record."""
    with Vault.create(path, KEY) as vault:
        put(vault, "state", a=b"old")
        old = [*rows(path, "state"), *rows(path, "#index")]
        put(vault, "state", a=b"new")
    for row in old:
        execute(path, "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?)", *row)
    with pytest.raises(VaultDamaged):
        Vault.open(path, KEY)


def test_a_removed_or_revived_record_is_noticed(path: Path) -> None:
    """Deleting a state record outside the program, or reviving a deleted one, stops the opening."""
    with Vault.create(path, KEY) as vault:
        put(vault, "state", a=b"1", b=b"2")
        [dead, _] = rows(path, "state")
        with vault.transaction() as tx:
            tx.delete("state", dead[1])
    execute(path, "INSERT INTO records VALUES (?, ?, ?, ?)", *dead)
    with pytest.raises(VaultDamaged):
        Vault.open(path, KEY)
    execute(path, "DELETE FROM records WHERE tbl='state'")
    with pytest.raises(VaultDamaged):
        Vault.open(path, KEY)


def test_a_record_does_not_open_in_anothers_place(path: Path) -> None:
    """Two archive records exchanged, each genuine: neither opens."""
    with Vault.create(path, KEY) as vault:
        put(vault, "archive/x", a=b"1", b=b"2")
    one, two = rows(path, "archive/x")
    execute(path, "UPDATE records SET sealed=? WHERE id=?", one[3], two[1])
    execute(path, "UPDATE records SET sealed=? WHERE id=?", two[3], one[1])
    with Vault.open(path, KEY) as vault, pytest.raises(VaultDamaged):
        list(vault.items("archive/x"))


def test_a_backup_is_the_vault_of_that_moment(path: Path, tmp_path: Path) -> None:
    """Restored elsewhere it holds what was there then; it never replaces a vault."""
    copy, elsewhere = tmp_path / "copy", tmp_path / "b.vault"
    with Vault.create(path, KEY) as vault:
        put(vault, "state", a=b"then")
        vault.backup(copy)
        put(vault, "state", a=b"now")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with Vault.restore(copy, elsewhere, KEY) as restored:
        assert restored.get("state", b"a") == b"then"
    with pytest.raises(VaultExists):
        Vault.restore(copy, path, KEY)
    with Vault.open(path, KEY) as vault:
        assert vault.get("state", b"a") == b"now"


def test_a_backup_that_can_not_be_written_says_so(vault: Vault, tmp_path: Path) -> None:
    """No such directory: a typed error, and no half a file."""
    with pytest.raises(VaultUnwritable):
        vault.backup(tmp_path / "no" / "where")


def test_a_full_disk_leaves_the_vault_as_it_was(vault: Vault) -> None:
    """SQLite's own page limit stands in for the disk: typed error, old contents, works again."""
    put(vault, "state", a=b"1")
    (pages,) = vault._db.execute("PRAGMA page_count").fetchone()
    vault._db.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(VaultUnwritable):
        put(vault, "state", a=b"2", b=b"x" * 100_000)
    assert vault.get("state", b"a") == b"1"
    vault._db.execute("PRAGMA max_page_count=1000000")
    put(vault, "state", a=b"3")
    assert vault.get("state", b"a") == b"3"


Step = tuple[str, bytes, bytes | None]
steps = st.lists(
    st.tuples(
        st.sampled_from(["s1", "s2", "archive/a"]),
        st.binary(max_size=2),
        st.none() | st.binary(max_size=8),
    ),
    max_size=6,
)


@settings(max_examples=40)
@given(batches=st.lists(st.tuples(steps, st.booleans()), max_size=8))
def test_the_vault_is_a_dictionary_that_survives(
    tmp_path_factory: pytest.TempPathFactory, batches: list[tuple[list[Step], bool]]
) -> None:
    """Any puts and deletes, committed or rolled back, leave what a plain dictionary would hold."""
    path = tmp_path_factory.mktemp("v") / "v"
    model: dict[tuple[str, bytes], bytes] = {}
    with Vault.create(path, KEY) as vault:
        for batch, committed in batches:
            apply(vault, model, batch, committed)
    with Vault.open(path, KEY) as vault:
        found = {
            (table, i): v for table in ("s1", "s2", "archive/a") for i, v in vault.items(table)
        }
    assert found == model


def apply(
    vault: Vault, model: dict[tuple[str, bytes], bytes], batch: list[Step], committed: bool
) -> None:
    changed = dict(model)
    try:
        with vault.transaction() as tx:
            for table, record_id, value in batch:
                if value is None:
                    tx.delete(table, record_id)
                    changed.pop((table, record_id), None)
                else:
                    tx.put(table, record_id, value)
                    changed[table, record_id] = value
            if not committed:
                raise RuntimeError
    except RuntimeError:
        return
    model.clear()
    model.update(changed)


WRITER = """
import sys
from ofcd.client.vault import Vault
vault = Vault.open(sys.argv[1], bytes(range(32)))
n = int.from_bytes(vault.get("state", b"n") or b"", "big")
while True:
    n += 1
    with vault.transaction() as tx:
        tx.put("state", b"n", n.to_bytes(8, "big"))
        tx.put("archive/n", n.to_bytes(8, "big"), b"x" * 500)
        tx.put("state", b"twin", n.to_bytes(8, "big"))
    print(n, flush=True)
"""


@pytest.mark.slow
def test_kill_9_loses_no_commit_and_leaves_no_half(path: Path) -> None:
    """Killed at five arbitrary moments: what was reported is there, and each commit is whole."""
    Vault.create(path, KEY).close()
    for kills in range(5):
        reported = write_until_killed(path, lines=5 + 7 * kills)
        with Vault.open(path, KEY) as vault:
            kept = int.from_bytes(vault.get("state", b"n") or b"", "big")
            assert kept >= reported
            assert vault.get("state", b"twin") == kept.to_bytes(8, "big")
            assert sum(1 for _ in vault.items("archive/n")) == kept


def write_until_killed(path: Path, lines: int) -> int:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        last = [int(writer.stdout.readline()) for _ in range(lines)][-1]
        writer.send_signal(signal.SIGKILL)
    return last


def test_a_process_killed_while_it_makes_a_vault_leaves_the_place_free(tmp_path: Path) -> None:
    """Nothing stands there that is no vault, and the next attempt makes one."""
    path = tmp_path / "v"
    die = "import os, ofcd.client.vault as v; v.initialise = lambda *_: os._exit(9); "
    make = f"v.Vault.create({str(path)!r}, bytes(32))"
    killed = subprocess.run([sys.executable, "-c", die + make], check=False)
    assert killed.returncode == 9
    assert not path.exists()
    with Vault.create(path, KEY):
        assert sorted(p.name for p in tmp_path.iterdir() if "-" not in p.name) == ["v", "v.lock"]
