"""Where the vault's passphrase comes from: a file, the environment, or the person at the terminal.

It is used by the process that opens the vault and by no other: it never crosses the agent's
socket, and no command line takes it (other users of the machine can read those).
"""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import Final

from ofcd.client.errors import VaultError
from ofcd.ofc.errors import NoPassphrase, UsageError

__all__ = ["VARIABLE", "ask_new", "obtain"]

VARIABLE: Final = "OFC_PASSPHRASE"
_FILE_BYTES: Final = 64 * 1024


def obtain(file: str | None, *, new: bool = False) -> str:
    """The passphrase from `file`, else from OFC_PASSPHRASE, else asked (twice for a `new` vault).

    Raises `NoPassphrase` where there is neither one nor a terminal.
    """
    if file is not None:
        return _from_file(Path(file))
    given = os.environ.get(VARIABLE)
    if given:
        return given
    if not (sys.stdin.isatty() or sys.stderr.isatty()):  # `echo hi | ofc send` has a terminal too
        raise NoPassphrase(
            f"the vault needs its passphrase: set {VARIABLE}, or name a file with --passphrase-file"
        )
    return ask_new() if new else _ask("Passphrase of the vault: ")


def ask_new() -> str:
    """A new passphrase, asked twice. Raises `UsageError` when the two differ or are empty."""
    first = _ask("New passphrase for the vault: ")
    if not first:
        raise UsageError("an empty passphrase protects nothing: choose a few words")
    if _ask("The same once more: ") != first:
        raise UsageError("the two passphrases differ: nothing was changed, try again")
    return first


def _ask(prompt: str) -> str:
    try:
        return getpass.getpass(prompt, stream=sys.stderr)
    except EOFError:
        raise NoPassphrase("no passphrase was typed") from None


def _from_file(path: Path) -> str:
    """The first line of the file."""
    try:
        with path.open("rb") as file:
            raw = file.read(_FILE_BYTES)
        line = raw.split(b"\n", 1)[0].removesuffix(b"\r").decode("utf-8")
    except OSError as error:
        raise VaultError(
            f"the passphrase file {path} can not be read ({error.strerror}): check its path and "
            "permissions"
        ) from error
    except UnicodeDecodeError:
        raise VaultError(f"the passphrase file {path} is not UTF-8 text") from None
    if not line:
        raise NoPassphrase(f"the first line of {path} is empty: it must be the passphrase")
    return line
