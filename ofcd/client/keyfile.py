"""The key of a vault in a file: for programs, which nobody is there to ask for a passphrase."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from ofcd.client.vault import Vault
from ofcd.errors import ConfigError

__all__ = ["key_of", "open_keyed_vault"]

_KEY_BYTES: Final = 32


def key_of(path: Path, *, make: bool) -> bytes:
    """The 32 bytes in a key file, as hex; made if there is none and `make`."""
    if make and not path.exists():
        text = secrets.token_hex(_KEY_BYTES)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text + "\n")
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except FileNotFoundError:
        raise ConfigError(f"the vault's key file {path} is missing: put it back") from None
    except (OSError, ValueError):
        raise ConfigError(f"the key file {path} can not be read as hex") from None
    if len(key) != _KEY_BYTES:
        raise ConfigError(f"the key file {path} does not hold {_KEY_BYTES} bytes as hex")
    return key


def open_keyed_vault(path: Path, key_file: Path) -> Vault:
    """The vault that a key file opens; both are made where there is no vault yet.

    Raises `ConfigError` for the key file, and what `Vault.open` and `Vault.create` raise.
    """
    if path.exists():
        return Vault.open(path, key_of(key_file, make=False))
    return Vault.create(path, key_of(key_file, make=True))
