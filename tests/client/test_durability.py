"""What of the vault outlives a power cut: all that the relay or the application was told of."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from ofcd.client import vault as vault_module
from ofcd.client._vaultfile import sync_log
from ofcd.client.connection import RelayConnection
from ofcd.client.errors import VaultLocked, VaultUnwritable
from ofcd.client.vault import Transaction, Vault
from ofcd.protocol.frames import ClientFrame
from ofcd.testing import open_world
from tests.world.scene import settle

KEY = bytes(range(32))


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The vaults whose log was brought onto the disk, in order."""
    done: list[Path] = []

    def sync(path: Path) -> None:
        sync_log(path)
        done.append(path)

    monkeypatch.setattr(vault_module, "sync_log", sync)
    return done


def test_a_durable_commit_takes_all_before_it_along(tmp_path: Path, synced: list[Path]) -> None:
    """One that can be had again waits for the next that can not; nothing new, nothing to do."""
    path = tmp_path / "vault"
    with Vault.create(path, KEY) as vault:
        with vault.transaction() as tx:
            tx.put("table", b"a", b"1")
        assert synced == [path]
        with vault.transaction(durable=False) as tx:
            tx.put("table", b"b", b"2")
        assert synced == [path]
        with vault.transaction() as tx:
            assert tx.get("table", b"b") == b"2"
        assert synced == [path] * 2
        with vault.transaction() as tx:
            assert tx.get("table", b"b") == b"2"
        assert synced == [path] * 2


def test_a_commit_may_turn_out_to_matter(tmp_path: Path, synced: list[Path]) -> None:
    """It is asked at its end."""
    with Vault.create(tmp_path / "vault", KEY) as vault, vault.transaction(durable=False) as tx:
        tx.put("table", b"a", b"1")
        tx.durable = True
    assert len(synced) == 1


def test_a_log_that_can_not_be_synced_is_told(tmp_path: Path) -> None:
    """As the disk's other refusals."""
    path = tmp_path / "vault"
    with Vault.create(path, KEY) as vault:
        path.with_name("vault-wal").unlink()
        with pytest.raises(VaultUnwritable, match="check the disk"), vault.transaction() as tx:
            tx.put("table", b"a", b"1")
        with pytest.raises(VaultUnwritable, match="start anew"), vault.transaction():
            raise AssertionError("what the disk did is not known any more")


def test_a_vault_is_one_by_whatever_name(tmp_path: Path, synced: list[Path]) -> None:
    """A link to it has the same lock, and the same log to be synced."""
    path, name = tmp_path / "disk" / "vault", tmp_path / "link"
    path.parent.mkdir()
    Vault.create(path, KEY).close()
    name.symlink_to(path)
    with Vault.open(name, KEY) as vault:
        with vault.transaction() as tx:
            tx.put("table", b"a", b"1")
        assert synced == [path]
        with pytest.raises(VaultLocked):
            Vault.open(path, KEY)


def test_a_full_disk_keeps_nobody_from_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has the vault can not be written down: it is locked all the same, and can be read."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    Vault.create(tmp_path / "vault", KEY).close()
    monkeypatch.setattr(os, "pwrite", full)
    with (
        Vault.open(tmp_path / "vault", KEY),
        pytest.raises(VaultLocked, match="another process") as locked,
    ):
        Vault.open(tmp_path / "vault", KEY)
    assert locked.value.pid is None


async def test_what_a_relay_is_sent_is_on_the_disk_before(
    tmp_path: Path,
    autojump_clock: trio.abc.Clock,
    monkeypatch: pytest.MonkeyPatch,
    synced: list[Path],
) -> None:
    """In a whole conversation no frame leaves a client whose vault a power cut would set back."""
    post, commit = RelayConnection.post, Transaction.commit
    sent: list[ClientFrame] = []
    commits: list[Transaction] = []

    def checked(self: RelayConnection, frames: Sequence[ClientFrame]) -> None:
        if frames:
            assert not self._host.vault._unsynced  # type: ignore[attr-defined]
        sent.extend(frames)
        post(self, frames)

    def counted(self: Transaction) -> None:
        commits.append(self)
        commit(self)

    monkeypatch.setattr(RelayConnection, "post", checked)
    monkeypatch.setattr(Transaction, "commit", counted)
    async with open_world(tmp_path) as world:
        ana, bo = await world.client("ana"), await world.client("bo")
        tea = await ana.create_room(world.url, "tea", my_name="Ana")
        at_bo = await bo.join(await tea.invite(), name="Bo")
        for number in range(10):
            await tea.send(f"{number}")
            await at_bo.send(f"and {number}")
        await tea.rotate(boxed=True)
        await settle([tea, at_bo])
        assert [m.text for m in at_bo.messages()] == [m.text for m in tea.messages()]
    assert len(sent) > 20
    assert len(synced) < len(commits) * 0.8, "what only came in need not be synced"
