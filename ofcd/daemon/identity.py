"""The relay's identity: the key pair that links prove, and how it came to it from its first one.

It is made on first start and kept in one file, readable by its owner only, as sshd keeps its host
keys: a relay must start at night with nobody there to type. Whoever copies the file can pose as
this relay, but can read nothing: members' words are not sealed to it.

The relay id, which invites and clients pin, is the hash of its first key, and stays when the key is
replaced. New key and statements stand in the same file, and it is replaced in one step: whenever
the machine dies, the relay starts with the one key or the other, and can prove it.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

from attrs import frozen

from ofcd.errors import ConfigError
from ofcd.protocol import limits
from ofcd.protocol.codec import join_parts, split_parts
from ofcd.protocol.codes import Code, Malformed, ProtocolError
from ofcd.protocol.ids import PublicKey, RelayId, check_public_key, relay_id_of
from ofcd.store import DiskFull
from ofcd.themis import KeyPair, generate_keypair, sign, verify
from ofcd.themis.errors import ThemisError
from ofcd.themis.lineage import Lineage, succeed

__all__ = ["KEY_FILE", "Identity", "drop_unfinished", "load_or_make_identity", "replace_key"]

KEY_FILE: Final = "relay.key"
_FRESH: Final = ".new"
_MAGIC: Final = b"OFCD relay key 1\n"
"""Before the first key: public, private."""
_MAGIC_LATER: Final = b"OFCD relay key 2\n"
"""Before a later one, as parts: public, private, and the statements that lead to it."""
_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT)
_PROBE: Final = b"OFC1:probe\n"
_PARTS: Final = 2 + limits.SUCCESSIONS


@frozen
class Identity:
    """The relay's key pair and what follows from it."""

    keys: KeyPair
    relay: Lineage

    @staticmethod
    def of(keys: KeyPair) -> Identity:
        """That of a relay whose first key this is."""
        return Identity(keys, Lineage(relay_id_of(PublicKey(keys.public))))

    @property
    def public(self) -> PublicKey:
        """The key that links prove."""
        return PublicKey(self.keys.public)

    @property
    def relay_id(self) -> RelayId:
        """What invites and clients pin."""
        return self.relay.relay_id

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
        _write(path, Identity.of(generate_keypair()))
    return _read(path)


def replace_key(data_dir: Path, now: int) -> Identity:
    """The identity with a new key, which takes the place of the one so far in `data_dir`.

    For who holds the lock on the relay's database: two at once would be two successors. `now` is in
    milliseconds since 1970. Raises as `load_or_make_identity`, and `Refused` (quota) where the key
    was replaced as often as it can be. The old key is gone then but from the disk's spare sectors.
    """
    path = data_dir / KEY_FILE
    if not path.exists():
        raise ConfigError(f"{path}: there is no key to replace: start the relay once")
    before, keys = _read(path), generate_keypair()
    after = Identity(keys, succeed(before.relay, before.keys, keys, now))
    _write(path, after, instead=True)
    return after


def drop_unfinished(data_dir: Path) -> None:
    """Delete the new key of a replacement that came to no end: nothing must be made of it later.

    For who holds the lock on the relay's database. Raises `ConfigError`.
    """
    path = (data_dir / KEY_FILE).with_suffix(_FRESH)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{path}: can not be deleted ({error.strerror}): do that") from None


def _packed(identity: Identity) -> bytes:
    keys, relay = identity.keys, identity.relay
    if not relay.statements:
        return _MAGIC + keys.public + keys.private
    return _MAGIC_LATER + join_parts([keys.public, keys.private, *relay.statements])


def _write(path: Path, identity: Identity, *, instead: bool = False) -> None:
    """Write beside, sync, and put into place: never half a key; over another one if `instead`."""
    fresh = path.with_suffix(_FRESH)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(_packed(identity))
            file.flush()
            os.fsync(file.fileno())
        if instead:
            fresh.replace(path)
        else:
            os.link(fresh, path)
            fresh.unlink()
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise DiskFull(
                f"{path}: no space is left for the relay's key: make some, and try again"
            ) from None
        raise ConfigError(
            f"{path}: the relay's key can not be written ({error.strerror}); "
            "check relay.data_dir and who owns it"
        ) from None
    try:
        _sync_folder(path.parent)
    except OSError as error:
        raise ConfigError(
            f"{path}: the new key is in place, but the disk does not say that it will be after a "
            f"power cut ({error.strerror}); check the disk, then what `ofcd keys` says"
        ) from None


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(path: Path) -> Identity:
    try:
        mode = path.stat().st_mode
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: the relay's key can not be read ({error.strerror})") from None
    if stat.S_IMODE(mode) & 0o077:
        raise ConfigError(f"{path}: others may read the relay's key; run: chmod 600 {path}")
    try:
        identity = _unpacked(raw)
        usable = verify(identity.public, sign(identity.keys.private, _PROBE)) == _PROBE
    except (ProtocolError, ThemisError):
        usable = False
    if not usable:
        raise ConfigError(f"{path}: this is not a whole relay key; restore it from a backup")
    return identity


def _unpacked(raw: bytes) -> Identity:
    """Raises `ProtocolError`."""
    if not raw.startswith(_MAGIC_LATER):
        public = check_public_key(raw[len(_MAGIC) :][:45])
        keys = KeyPair(private=raw[len(_MAGIC) + 45 :], public=public)
        if not raw.startswith(_MAGIC):
            raise Malformed(Code.BAD_KEY)
        return Identity.of(keys)
    parts = split_parts(raw[len(_MAGIC_LATER) :], max_parts=_PARTS)
    if len(parts) < _PARTS - limits.SUCCESSIONS:
        raise Malformed(Code.BAD_KEY)
    key, private, *statements = check_public_key(parts[0]), *parts[1:]
    return Identity(KeyPair(private=private, public=key), Lineage.first_seen(key, statements))
