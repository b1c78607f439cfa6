"""The relay's key: made once, kept to its owner, and never guessed at."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ofcd.daemon import identity as module
from ofcd.daemon.identity import KEY_FILE, drop_unfinished, load_or_make_identity, replace_key
from ofcd.errors import ConfigError
from ofcd.protocol import limits
from ofcd.protocol.codes import Code, Refused
from ofcd.store import DiskFull


def test_the_key_is_made_once(tmp_path: Path) -> None:
    """The second start has the identity of the first."""
    first = load_or_make_identity(tmp_path / "var")
    assert load_or_make_identity(tmp_path / "var") == first


def test_the_key_file_is_its_owners_alone(tmp_path: Path) -> None:
    """Mode 0600, and a file that others may read is refused with the fix."""
    load_or_make_identity(tmp_path)
    path = tmp_path / KEY_FILE
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_or_make_identity(tmp_path)


@pytest.mark.parametrize("keep", [0, 5, 30, 100, -1])
def test_a_damaged_key_is_refused_not_replaced(tmp_path: Path, keep: int) -> None:
    """Half a key is an error: a new one would cut off every client that pinned the old."""
    load_or_make_identity(tmp_path)
    path = tmp_path / KEY_FILE
    damaged = path.read_bytes()[:keep]
    path.write_bytes(damaged)
    with pytest.raises(ConfigError, match="not a whole relay key"):
        load_or_make_identity(tmp_path)
    assert path.read_bytes() == damaged


def test_the_private_key_is_in_no_repr(tmp_path: Path) -> None:
    """What is logged by mistake holds no secret."""
    identity = load_or_make_identity(tmp_path)
    assert repr(identity.keys.private)[2:-1] not in repr(identity)


def test_a_directory_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    """A file where the data directory should be: the sentence says which setting to look at."""
    (tmp_path / "var").write_text("")
    with pytest.raises((ConfigError, NotADirectoryError, FileExistsError)) as failed:
        load_or_make_identity(tmp_path / "var")
    assert isinstance(failed.value, ConfigError)
    assert "data_dir" in str(failed.value)


def test_a_new_key_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    """The id stays, the file is its owner's alone, and the old key is not in it any more."""
    first = load_or_make_identity(tmp_path)
    second = replace_key(tmp_path, 1_800_000_000_000)
    third = replace_key(tmp_path, 1_800_000_000_001)
    assert load_or_make_identity(tmp_path) == third
    assert {one.relay_id for one in (first, second, third)} == {first.relay_id}
    assert third.relay.keys == (first.public, second.public, third.public)
    assert third.relay.times == (1_800_000_000_000, 1_800_000_000_001)
    path = tmp_path / KEY_FILE
    raw = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert third.keys.private in raw
    assert not {first.keys.private, second.keys.private} & {
        raw[i : i + 45] for i in range(len(raw))
    }
    assert [one.name for one in tmp_path.iterdir()] == [KEY_FILE]


@pytest.mark.parametrize("step", ["open", "fsync", "replace"])
def test_whenever_it_dies_there_is_one_whole_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Before each write, and before what was written has its name: the old key, and a next try."""
    before = load_or_make_identity(tmp_path)

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        if step == "replace":
            dying.setattr(Path, "replace", die)
        else:
            dying.setattr(os, step, die)
        with pytest.raises(KeyboardInterrupt):
            replace_key(tmp_path, 1)
    assert load_or_make_identity(tmp_path) == before
    after = replace_key(tmp_path, 2)
    assert load_or_make_identity(tmp_path) == after
    assert [one.name for one in tmp_path.iterdir()] == [KEY_FILE]


def test_when_it_dies_just_after_there_is_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the moment that the file has its name."""
    before = load_or_make_identity(tmp_path)

    def die(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(module, "_sync_folder", die)
        with pytest.raises(KeyboardInterrupt):
            replace_key(tmp_path, 1)
    after = load_or_make_identity(tmp_path)
    assert (after.relay_id, after.relay.keys[0]) == (before.relay_id, before.public)
    assert after.public != before.public


def test_a_disk_that_fails_just_after_is_not_said_to_have_kept_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new key has its name by then: who believed the old one stayed would start with it."""
    before = load_or_make_identity(tmp_path)

    def fail(_: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(module, "_sync_folder", fail)
        with pytest.raises(ConfigError, match="the new key is in place"):
            replace_key(tmp_path, 1)
    assert load_or_make_identity(tmp_path).public != before.public


def test_a_start_leaves_no_half_done_replacement(tmp_path: Path) -> None:
    """It is a private key that no relay has."""
    before = load_or_make_identity(tmp_path)
    drop_unfinished(tmp_path)
    (tmp_path / "relay.new").write_bytes(b"left over")
    drop_unfinished(tmp_path)
    assert load_or_make_identity(tmp_path) == before
    assert [one.name for one in tmp_path.iterdir()] == [KEY_FILE]


def test_a_full_disk_leaves_the_old_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And says so."""
    before = load_or_make_identity(tmp_path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        with pytest.raises(DiskFull):
            replace_key(tmp_path, 1)
    assert load_or_make_identity(tmp_path) == before


@pytest.mark.parametrize("keep", [17, 30, 100, 400, -1])
def test_a_damaged_later_key_is_refused_too(tmp_path: Path, keep: int) -> None:
    """Half of it is no key; nor are statements that lead to another one."""
    load_or_make_identity(tmp_path)
    first = replace_key(tmp_path, 1)
    path = tmp_path / KEY_FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:keep])
    with pytest.raises(ConfigError, match="not a whole relay key"):
        load_or_make_identity(tmp_path)
    path.write_bytes(whole)
    second = replace_key(tmp_path, 2)
    mixed = module.Identity(first.keys, second.relay)
    path.write_bytes(module._packed(mixed))
    with pytest.raises(ConfigError, match="not a whole relay key"):
        load_or_make_identity(tmp_path)


def test_there_must_be_a_key_to_replace_and_not_too_often(tmp_path: Path) -> None:
    """Nothing is made where nothing was; and a line of keys has an end."""
    with pytest.raises(ConfigError, match="no key to replace"):
        replace_key(tmp_path, 1)
    assert not list(tmp_path.iterdir())
    load_or_make_identity(tmp_path)
    for number in range(limits.SUCCESSIONS):
        last = replace_key(tmp_path, number)
    with pytest.raises(Refused) as refused:
        replace_key(tmp_path, 99)
    assert refused.value.kind is Code.QUOTA
    assert load_or_make_identity(tmp_path) == last
