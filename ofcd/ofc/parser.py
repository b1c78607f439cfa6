"""The command line of `ofc`. Common options may stand before or after the subcommand."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from attrs import frozen

import ofcd
from ofcd.ofc.command import Command, Options, options_of
from ofcd.ofc.commands import COMMANDS
from ofcd.ofc.context import DEFAULT_RELAY
from ofcd.ofc.errors import EXITS, UsageError

__all__ = ["Invocation", "default_vault", "make_parser", "parse", "wants_json"]

_DESCRIPTION: Final = "Talk in end-to-end encrypted rooms, from a terminal."
_FIRST: Final = """\
first conversation:
  ofc --relay wss://relay.example create 'Book club' --name Ana
  ofc invite 'Book club' --qr --wait    (send the link to Bo; leave this running)
  ofc join LINK --name Bo               (what Bo runs)
  ofc chat 'Book club'

One process has the vault open at a time. While `ofc serve`, `chat`, `tail`, `join` or
`invite --wait` runs, other commands are run by it, over a socket beside the vault that only you
can open: until it ends, whoever can act as you on this machine needs no passphrase.
"""
_LATEST: Final = 366 * 24 * 3600


@frozen
class Invocation:
    """A command line, understood."""

    command: Command
    options: Options
    vault: Path
    passphrase_file: str | None
    as_json: bool


def default_vault() -> Path:
    """`ofc/vault.db` in the user's data directory (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_DATA_HOME", "")
    root = Path(base) if Path(base).is_absolute() else Path.home() / ".local" / "share"
    return root / "ofc" / "vault.db"


def parse(arguments: Sequence[str] | None = None) -> Invocation:
    """Raises `SystemExit` for --help and --version, `UsageError` for what makes no sense."""
    namespace = make_parser().parse_args(arguments)
    command: Command | None = getattr(namespace, "command", None)
    if command is None:
        raise UsageError(_hint())
    namespace.relay = getattr(namespace, "relay", None)
    return Invocation(
        command=command,
        options=command.localise(options_of(command, namespace)),
        vault=Path(getattr(namespace, "vault", None) or default_vault()).expanduser().absolute(),
        passphrase_file=getattr(namespace, "passphrase_file", None),
        as_json=getattr(namespace, "json", False),
    )


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether errors of the command line itself are to be JSON."""
    return "--json" in arguments


def _hint() -> str:
    return (
        "which command? Begin with `ofc create NAME` or `ofc join LINK`; "
        "`ofc --help` lists them all"
    )


class _Parser(argparse.ArgumentParser):
    """Of one subcommand: options may stand anywhere among the words (argparse: intermixed)."""

    _inside = False

    def parse_known_args(  # type: ignore[override]  # the two overloads of typeshed, as one
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        if self._inside or self._subparsers is not None:
            return super().parse_known_args(args, namespace)
        self._inside = True  # it calls this method itself
        return self.parse_known_intermixed_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see `{self.prog} --help`")


def make_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    common = _common()
    parser = _Parser(
        prog="ofc",
        description=_DESCRIPTION,
        epilog=f"{_FIRST}\n{_exits()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
    )
    parser.add_argument("--version", action="version", version=f"ofc {ofcd.__version__}")
    subcommands = parser.add_subparsers(metavar="COMMAND", parser_class=_Parser, title="commands")
    for command in COMMANDS:
        _add(subcommands, command, common)
    return parser


def _add(subcommands: Any, command: Command, common: argparse.ArgumentParser) -> None:
    examples = "".join(f"  {example}\n" for example in command.examples)
    heading = "example" if len(command.examples) == 1 else "examples"
    made = subcommands.add_parser(
        command.name,
        help=command.summary,
        description=f"{command.summary[0].upper()}{command.summary[1:]}. {command.details}".strip(),
        epilog=f"{heading}:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
    )
    made.set_defaults(command=command)
    command.arguments(made)


def _common() -> argparse.ArgumentParser:
    """Options of every command; absent ones stay absent, so that either place may give them."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group = common.add_argument_group("common options")
    group.add_argument(
        "--relay",
        metavar="URL",
        help="the relay for new rooms, ws:// or wss://; the last one used is remembered, "
        f"and the first is {DEFAULT_RELAY}. With "
        "join: your own relay, to be in the room through it",
    )
    group.add_argument("--vault", metavar="FILE", help=f"your keys and rooms ({_shown_vault()})")
    group.add_argument(
        "--passphrase-file",
        metavar="FILE",
        help="its first line opens the vault; else OFC_PASSPHRASE; else you are asked",
    )
    group.add_argument("--json", action="store_true", help="print one JSON object a line")
    group.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        help="give up after this long (most commands: 30)",
    )
    return common


def _shown_vault() -> str:
    home, path = str(Path.home()), str(default_vault())
    return (path.replace(home, "~", 1) if path.startswith(home) else path).replace("%", "%%")


def seconds(text: str) -> int:
    """A whole number of seconds; else argparse's own error."""
    if not text.isdecimal() or not 0 < int(text) <= _LATEST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of seconds above 0")
    return int(text)


def _exits() -> str:
    return "exit codes:\n" + "".join(f"  {code:3}  {what}\n" for code, what in EXITS.items())
