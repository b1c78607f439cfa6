"""The relay's identity: the key pair that invites name and clients pin.

It is made on first start and kept in one file, readable by its owner only, as sshd keeps its host
keys: a relay must start at night with nobody there to type. Whoever copies the file can pose as
this relay, but can read nothing: members' words are not sealed to it.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

from attrs import frozen

from ofcd.errors import ConfigError
from ofcd.protocol.codes import ProtocolError
from ofcd.protocol.ids import PublicKey, RelayId, check_public_key, relay_id_of
from ofcd.store import DiskFull
from ofcd.themis import KeyPair, generate_keypair, sign, verify
from ofcd.themis.errors import ThemisError

__all__ = ["KEY_FILE", "Identity", "load_or_make_identity"]

KEY_FILE: Final = "relay.key"
_MAGIC: Final = b"OFCD relay key 1\n"
_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT)
_PROBE: Final = b"OFC1:probe\n"


@frozen
class Identity:
    """The relay's key pair and what follows from it."""

    keys: KeyPair

    @property
    def public(self) -> PublicKey:
        """The key that links prove."""
        return PublicKey(self.keys.public)

    @property
    def relay_id(self) -> RelayId:
        """What invites and clients pin."""
        return relay_id_of(self.public)

    @property
    def fingerprint(self) -> str:
        """The relay id for people: hex in groups of four."""
        text = self.relay_id.hex()
        return " ".join(text[i : i + 4] for i in range(0, len(text), 4))


def load_or_make_identity(data_dir: Path) -> Identity:
    """The identity in `data_dir`, made if there is none.

    Raises `ConfigError` if the file is not a key of ours, or others may read it; `DiskFull`.
    """
    path = data_dir / KEY_FILE
    try:
        missing = not path.exists()
    except OSError:
        missing = True
    if missing:
        _write_new(path, generate_keypair())
    return Identity(_read(path))


def _write_new(path: Path, keys: KeyPair) -> None:
    """Write beside, sync, and link into place: never half a key, never over another one."""
    fresh = path.with_suffix(".new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(_MAGIC + keys.public + keys.private)
            file.flush()
            os.fsync(file.fileno())
        os.link(fresh, path)
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise DiskFull(
                f"{path}: no space is left for the relay's key: make some, and start again"
            ) from None
        raise ConfigError(
            f"{path}: the relay's key can not be written ({error.strerror}); "
            "check relay.data_dir and who owns it"
        ) from None
    fresh.unlink()


def _read(path: Path) -> KeyPair:
    try:
        mode = path.stat().st_mode
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: the relay's key can not be read ({error.strerror})") from None
    if stat.S_IMODE(mode) & 0o077:
        raise ConfigError(f"{path}: others may read the relay's key; run: chmod 600 {path}")
    try:
        public = check_public_key(raw[len(_MAGIC) :][:45])
        keys = KeyPair(private=raw[len(_MAGIC) + 45 :], public=public)
        usable = raw.startswith(_MAGIC) and verify(public, sign(keys.private, _PROBE)) == _PROBE
    except (ProtocolError, ThemisError):
        usable = False
    if not usable:
        raise ConfigError(f"{path}: this is not a whole relay key; restore it from a backup")
    return keys
