"""The relay's key: made once, kept to its owner, and never guessed at."""

from __future__ import annotations

from pathlib import Path

import pytest

from ofcd.daemon.identity import KEY_FILE, load_or_make_identity
from ofcd.errors import ConfigError


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
