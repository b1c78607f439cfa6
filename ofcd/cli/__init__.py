"""`ofcd`, the relay's command: run it, check it, back it up.

Exit codes: 0 done; 1 an unexpected error; 2 wrong usage; 3 a setting is wrong; 4 the database;
5 no usable Themis core; 130 interrupted.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import ofcd
from ofcd.cli import peers, rooms
from ofcd.cli.rooms import size_text
from ofcd.config import Settings, render_example
from ofcd.errors import ConfigError, OfcError

if TYPE_CHECKING:
    from ofcd.daemon.identity import Identity
    from ofcd.daemon.run import Daemon

__all__ = ["main"]

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_CONFIG: Final = 3
EXIT_STORE: Final = 4
EXIT_THEMIS: Final = 5
EXIT_INTERRUPTED: Final = 130

_NEXT_STEPS: Final = """\
ofcd is a relay for end-to-end encrypted rooms. It needs a config file:

    ofcd example-config > config.toml     write one, every setting explained
    ofcd --config config.toml             start the relay

All commands: ofcd --help
"""
_EXAMPLES: Final = """\
examples:
  ofcd example-config > config.toml
  ofcd --config config.toml
  ofcd --config config.toml check-config
  ofcd --config config.toml backup /var/backups/ofcd.db
  ofcd doctor

The exit code says what went wrong: 2 usage, 3 settings, 4 database, 5 Themis core, 1 anything else.
"""
_TO_FILE: Final = "ofcd example-config > config.toml"
_MIGRATE: Final = "A start does that by itself. Stop the relay first."
_BACKUP: Final = """\
The copy is consistent at one moment, and the
relay may go on running. The relay's key is not in it: copy relay.key too."""

_ROTATE: Final = """\
Stop the relay first. Its id, and so its
fingerprint, its rooms and the invites to them, stay. The old key signs for the new one, and is
deleted: clients and other relays follow by themselves. That is no remedy for a stolen key: who has
it can sign, too. Then move the rooms to a new relay."""
_ROTATED: Final = """\
1. Copy the key file to where its backup is, now, and delete the copies of before: who has met the
   new key takes no older one, and an old one can be misused.
2. Start the relay. Clients and other relays follow by themselves, whenever they come.
"""

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    command: Command | None = options.run
    if command is None:
        if options.config is None:
            sys.stderr.write(_NEXT_STEPS)
            return EXIT_USAGE
        command = _serve
    try:
        code = command(options)
        sys.stdout.flush()
    except OfcError as error:
        sys.stderr.write(f"ofcd: {error}\n")
        return _exit_code(error)
    except KeyboardInterrupt:
        sys.stderr.write("ofcd: interrupted\n")
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `ofcd ... | head`: whoever read has enough
        _drop_output()
        return EXIT_FAILED
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _drop_output()  # a full database has its own error: this is what `>` or `|` names
        sys.stderr.write("ofcd: no space is left where the output goes\n")
        return EXIT_FAILED
    return code


def _drop_output() -> None:
    """Nobody takes it any more: Python would fail once again on it at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _exit_code(error: OfcError) -> int:
    # By name: where there is no Themis core, its package, which defines the type, can not be
    # imported, and most others with it.
    kinds = {kind.__name__ for kind in type(error).__mro__}
    named = {"ConfigError": EXIT_CONFIG, "StoreError": EXIT_STORE, "ThemisError": EXIT_THEMIS}
    return next((code for name, code in named.items() if name in kinds), EXIT_FAILED)


class _Help(argparse.RawDescriptionHelpFormatter):
    """Room for the longest command beside its explanation."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=22)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ofcd",
        description="A relay for end-to-end encrypted rooms, whose words it never sees.",
        epilog=_EXAMPLES,
        formatter_class=_Help,
    )
    parser.add_argument("--version", action="version", version=f"ofcd {ofcd.__version__}")
    parser.add_argument("--config", type=Path, metavar="FILE", help="the settings (TOML)")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def add(
        name: str, run: Command, text: str, example: str, more: str = ""
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}. {more}".strip(),
            epilog=f"example:\n  {example}",
            formatter_class=_Help,
        )
        command.set_defaults(run=run)
        return command

    def add_configured(
        name: str, run: Command, text: str, more: str = "", argument: str = ""
    ) -> argparse.ArgumentParser:
        example = f"ofcd --config config.toml {name} {argument}".strip()
        command = add(name, run, text, example, more)
        command.add_argument(
            "--config",
            type=Path,
            metavar="FILE",
            default=argparse.SUPPRESS,  # else it would undo one before the command
            help="the settings (TOML), here or before the command",
        )
        if run is not _serve:
            command.add_argument("--json", action="store_true", help="print JSON, for scripts")
        return command

    add_configured("run", _serve, "start the relay (the same as no command)")
    add("example-config", _example, "print a config file, every setting explained", _TO_FILE)
    add_configured("check-config", _check_config, "say whether the settings are right")
    add_configured("doctor", _doctor, "look at the Themis core, the settings and the database")
    add_configured("keys", _keys, "show the relay's fingerprint and where its key is kept")
    add_configured(
        "rotate-key", _rotate_key, "give the relay a new key, signed by the old", _ROTATE
    )
    rooms.add_arguments(
        add_configured("rooms", _rooms, "list the rooms in figures: never names or words")
    )
    other = add_configured(
        "peers", _peers, "list the other relays: links, lag, what waits, what they were caught at"
    )
    peers.add_arguments(other)
    add_configured("migrate", _migrate, "bring the database to this version's schema", _MIGRATE)
    backup = add_configured(
        "backup", _backup, "copy the database into a new file", _BACKUP, "/var/backups/ofcd.db"
    )
    backup.add_argument("file", type=Path, metavar="FILE", help="where to; must not exist")
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    if options.config is None:
        _stop("which relay? Name its settings: ofcd --config FILE ...")
    return Settings.load(options.config)


def _stop(sentence: str) -> NoReturn:
    sys.stderr.write(f"ofcd: {sentence}\n")
    raise SystemExit(EXIT_USAGE)


# -- running ---------------------------------------------------------------------------------------


def _serve(options: argparse.Namespace) -> int:
    import trio

    from ofcd.daemon.log import configure, get_log
    from ofcd.daemon.run import run_until_stopped

    settings = _settings(options)
    configure(settings.log.level, settings.log.format)
    try:
        trio.run(run_until_stopped, settings, _greet)
    except OfcError:
        raise
    except Exception as error:  # whatever it is, an operator must find in the log why it ended
        foreseen = _only_ours(error)
        if foreseen is not None:
            raise foreseen from None
        get_log().critical("the relay crashed: please report this", exc_info=error)
        return EXIT_FAILED
    return EXIT_OK


def _greet(daemon: Daemon) -> None:
    http = daemon.url.replace("ws", "http", 1)
    sys.stdout.write(
        f"ofcd {ofcd.__version__} listens on {daemon.url}\n"
        f"fingerprint  {daemon.identity.fingerprint}\n"
        f"browser      {http}/\n"
    )
    if daemon.settings.access.create != "nobody":
        sys.stdout.write(f"first room   ofc --relay {daemon.url} create 'my room'\n")
    sys.stdout.flush()


def _only_ours(error: Exception) -> OfcError | None:
    """The first error of a group that holds nothing but errors raised on purpose."""
    if not isinstance(error, ExceptionGroup):
        return None
    ours, others = error.split(OfcError)
    if ours is None or others is not None:
        return None
    first: Exception = ours
    while isinstance(first, ExceptionGroup):
        first = first.exceptions[0]
    return first if isinstance(first, OfcError) else None


# -- commands --------------------------------------------------------------------------------------


def _check_config(options: argparse.Namespace) -> int:
    from ofcd.daemon.limits import relay_policy

    settings = _settings(options)
    relay_policy(settings)  # reads the token for making rooms
    shown = {
        "config": f"{settings.source}",
        "listens": f"{settings.relay.host}:{settings.relay.port}",
        "public_url": settings.public_url,
        "data_dir": str(settings.data_dir),
        "database": settings.database_url,
        "durability": settings.storage.durability,
    }
    return _show(shown, options.json)


def _example(_: argparse.Namespace) -> int:
    sys.stdout.write(render_example())
    return EXIT_OK


def _migrate(options: argparse.Namespace) -> int:
    from ofcd.store import migrate

    url = _settings(options).database_url
    before = migrate.current(url)
    now = migrate.upgrade(url)
    return _show({"database": url, "before": before or "empty", "now": now}, options.json)


def _keys(options: argparse.Namespace) -> int:
    from ofcd.daemon.identity import load_or_make_identity

    settings = _settings(options)
    identity = load_or_make_identity(settings.data_dir)
    return _show(_of_key(identity, settings, options.json), options.json)


def _of_key(identity: Identity, settings: Settings, as_json: bool) -> dict[str, object]:
    from ofcd.daemon.identity import KEY_FILE
    from ofcd.daemon.report import replaced_text

    times = identity.relay.times
    return {
        "relay_id": identity.relay_id.hex(),
        "fingerprint": identity.fingerprint,
        "key_file": str(settings.data_dir / KEY_FILE),
        "key": list(times) if as_json else replaced_text(times),
    }


def _rotate_key(options: argparse.Namespace) -> int:
    from ofcd.daemon.identity import replace_key
    from ofcd.daemon.run import milliseconds
    from ofcd.store import Store

    settings = _settings(options)
    with Store.open(settings.database_url, migrate=False):  # whose lock no relay holds meanwhile
        identity = replace_key(settings.data_dir, milliseconds())
    _show(_of_key(identity, settings, options.json), options.json)
    if not options.json:
        sys.stdout.write(_ROTATED)
    return EXIT_OK


def _rooms(options: argparse.Namespace) -> int:
    return rooms.run(options, _settings(options))


def _peers(options: argparse.Namespace) -> int:
    return peers.run(options, _settings(options))


def _backup(options: argparse.Namespace) -> int:
    from ofcd.store import Store

    settings = _settings(options)
    with Store.open(settings.database_url, migrate=False, read_only=True) as store:
        store.backup(options.file, _progress if sys.stderr.isatty() else None)
    size = options.file.stat().st_size
    if options.json:
        return _show({"file": str(options.file), "bytes": size}, as_json=True)
    sys.stdout.write(
        f"{options.file}: {size_text(size)}. Keep relay.key with it: it is not inside.\n"
    )
    return EXIT_OK


def _progress(done: int, total: int) -> None:
    sys.stderr.write(f"\r{100 * done // max(1, total):3} %" + ("\n" if done == total else ""))
    sys.stderr.flush()


def _doctor(options: argparse.Namespace) -> int:
    shown: dict[str, object] = {
        "version": ofcd.__version__,
        "python": sys.version.split()[0],
    }
    code = _examine_core(shown)
    if code == EXIT_OK and options.config is not None:
        code = _examine(options.config, shown)
    elif options.config is None:
        shown["config"] = "not looked at, and no database either: ofcd --config FILE doctor"
    shown["result"] = "all is well" if code == EXIT_OK else "there is a problem: see above"
    _show(shown, options.json)
    return code


_NO_ADDRESS: Final = (
    "relay.public_url is not set: other relays are told the address that this one listens on, and "
    'will hardly find it there; set it, as in "wss://chat.example.org"'
)


def _examine_core(shown: dict[str, object]) -> int:
    try:
        from ofcd.themis import core_info
    except OfcError as error:
        shown["themis"] = str(error)
        return _exit_code(error)
    core = core_info()
    shown["themis"] = f"{core.kind} {core.version}"
    shown["themis_detail"] = core.detail
    return EXIT_OK


def _examine(config: Path, shown: dict[str, object]) -> int:
    from ofcd.daemon.limits import relay_policy

    try:
        settings = Settings.load(config)
        relay_policy(settings)  # reads the token for making rooms
    except ConfigError as error:
        shown["config"] = str(error)
        return EXIT_CONFIG
    shown["config"] = f"{settings.source}: right"
    if settings.federation.mode != "off" and not settings.relay.public_url:
        shown["federation"] = _NO_ADDRESS
    try:
        _examine_key(settings, shown)
    except ConfigError as error:
        shown["relay_key"] = str(error)
        return EXIT_CONFIG
    return _examine_database(settings, shown)


def _examine_key(settings: Settings, shown: dict[str, object]) -> None:
    from ofcd.daemon.identity import KEY_FILE, load_or_make_identity
    from ofcd.daemon.report import replaced_text

    if not (settings.data_dir / KEY_FILE).exists():
        shown["relay_key"] = "none yet: the first start makes one"
        return
    shown["relay_key"] = replaced_text(load_or_make_identity(settings.data_dir).relay.times)


def _examine_database(settings: Settings, shown: dict[str, object]) -> int:
    from ofcd.store import Store, StoreError

    try:
        with Store.open(settings.database_url, migrate=False, read_only=True) as store:
            report = store.check()
            others = store.peers() if report.ok else []
    except StoreError as error:
        shown["database"] = str(error)
        return EXIT_STORE
    shown["database"] = "well" if report.ok else "; ".join(report.problems)
    shown["schema"] = f"{report.revision or 'unknown'} (this version works with {report.expected})"
    shown["database_size_bytes"] = report.bytes
    shown["disk_free_bytes"] = report.free_bytes
    disputed = [peer.relay_id.hex() for peer in others if peer.disputed]
    if disputed:
        shown["keys_with_two_successors"] = f"{', '.join(disputed)}: see ofcd peers"
    return EXIT_OK if report.ok else EXIT_STORE


# -- printing --------------------------------------------------------------------------------------


def _show(shown: Mapping[str, object], as_json: bool) -> int:
    if as_json:
        sys.stdout.write(json.dumps(shown) + "\n")
        return EXIT_OK
    rows = [_row(key, value) for key, value in shown.items()]
    width = max(len(label) for label, _ in rows)
    sys.stdout.writelines(f"{label:{width}}  {text}\n" for label, text in rows)
    return EXIT_OK


def _row(key: str, value: object) -> tuple[str, str]:
    if key.endswith("_bytes") and isinstance(value, int):
        key, value = key.removesuffix("_bytes"), size_text(value)
    return key.replace("_", " "), str(value)
