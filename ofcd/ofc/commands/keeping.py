"""Keeping the vault: backup, restore, a new passphrase."""

from __future__ import annotations

from argparse import ArgumentParser
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio
from attrs import evolve, frozen

from ofcd.client import Vault, VaultExists, VaultMissing
from ofcd.ofc.command import Command, Local, Options
from ofcd.ofc.console import Shape
from ofcd.ofc.context import Context
from ofcd.ofc.passphrase import ask_new, obtain
from ofcd.ofc.text import size

__all__ = ["BACKUP", "PASSPHRASE", "RESTORE"]


@frozen(kw_only=True)
class BackupOptions(Options):
    """Of `backup`."""

    file: str
    force: bool = False


def _backup_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="where to")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")


def _absolute(options: Any) -> Any:
    return evolve(options, file=str(Path(options.file).expanduser().absolute()))


async def backup(context: Context, options: BackupOptions) -> None:
    """A copy of the vault, as it is now."""
    target = Path(options.file)
    if await trio.Path(target).exists() and not options.force:
        raise VaultExists(f"there already is a file at {target}: name another, or say --force")
    context.client.vault.backup(target)
    count = (await trio.Path(target).stat()).st_size
    await context.say(
        Shape.CHANGED,
        file=str(target),
        bytes=count,
        did=f"{target}: {size(count)}, under the same passphrase. Restored, it is the vault of "
        "this moment: do not use both at once.",
    )


BACKUP: Final = Command(
    name="backup",
    summary="copy the vault: keys, rooms, history",
    examples=("ofc backup ~/ofc-2026-11-23.vault",),
    options=BackupOptions,
    run=backup,
    arguments=_backup_arguments,
    localise=_absolute,
    details="The copy is encrypted under the same passphrase.",
)


@frozen(kw_only=True)
class RestoreOptions(Options):
    """Of `restore`."""

    file: str


def _restore_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="what `ofc backup` wrote")


async def restore(local: Local, options: RestoreOptions) -> None:
    """Put a backup in the place of the vault, where none may be."""
    if local.vault.exists():
        raise VaultExists(
            f"there is a vault at {local.vault} already: move it away first, or restore to "
            "another place with --vault"
        )
    source = Path(options.file)
    if not await trio.Path(source).is_file():
        raise VaultMissing(f"there is no backup at {source}")
    secret = obtain(local.passphrase_file)
    local.vault.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    put = partial(Vault.restore, source, local.vault, secret)
    with await trio.to_thread.run_sync(put):
        await local.output.record(
            Shape.CHANGED,
            {
                "vault": str(local.vault),
                "did": f"The vault is back at {local.vault}. Its rooms: ofc rooms",
            },
        )


RESTORE: Final = Command(
    name="restore",
    summary="put a backup in place as your vault",
    examples=(
        "ofc restore ~/ofc-2026-11-23.vault",
        "ofc --vault /tmp/look.db restore ~/ofc-2026-11-23.vault",
    ),
    options=RestoreOptions,
    local=restore,
    arguments=_restore_arguments,
    localise=_absolute,
    details="Only where no vault is yet. Do not use a vault and its restored copy both: other "
    "members see two devices with one key, which looks like an attack.",
)


@frozen(kw_only=True)
class PassphraseOptions(Options):
    """Of `passphrase`."""

    new_passphrase_file: str | None = None


def _passphrase_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("change", nargs="?", choices=("change",), help="what is done anyway")
    parser.add_argument(
        "--new-passphrase-file", metavar="FILE", help="its first line; else you are asked"
    )


async def passphrase(local: Local, options: PassphraseOptions) -> None:
    """Another passphrase for the same vault."""
    old = obtain(local.passphrase_file)
    with await trio.to_thread.run_sync(partial(Vault.open, local.vault, old)) as vault:
        given = options.new_passphrase_file
        new = ask_new() if given is None else obtain(given)
        await trio.to_thread.run_sync(vault.change_passphrase, new)
    await local.output.record(
        Shape.CHANGED,
        {
            "vault": str(local.vault),
            "did": "From now on the new passphrase opens the vault. Backups made before still "
            "open with the old one.",
        },
    )


PASSPHRASE: Final = Command(
    name="passphrase",
    summary="change the vault's passphrase",
    examples=("ofc passphrase change",),
    options=PassphraseOptions,
    local=passphrase,
    arguments=_passphrase_arguments,
    details="No other ofc may be running on the vault: no passphrase is ever handed over.",
)
