"""`ofc-bot`: run bots, begin one, check one, see what they gave up."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from attrs import evolve

from bots.loading import load_bot
from bots.plugins import installed
from bots.runner import open_vault, run_all
from bots.runs import dead_letters
from bots.scaffold import make_project
from bots.settings import load_settings
from bots.table import build
from ofcd.errors import ConfigError, OfcError

__all__ = ["main"]

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code: 0, 1 (it failed), 2 (wrong use)."""
    parsed = _parser().parse_args(arguments)
    try:
        code: int = parsed.act(parsed)
    except OfcError as error:
        sys.stderr.write(f"ofc-bot: {error}\n")
        return EXIT_FAILED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ofc-bot",
        description="End-to-end encrypted bots.",
        epilog="example: ofc-bot new hello && cd hello && ofc-bot run hello.py --config bot.toml",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run a bot, or all of bot.toml")
    run.add_argument(
        "code",
        nargs="?",
        metavar="CODE",
        default="",
        help="a file, a module, or plugin:NAME",
    )
    run.add_argument("--config", type=Path, metavar="BOT.TOML")
    run.add_argument("--reload", action="store_true", help="take over changes of its code")
    run.set_defaults(act=_run)
    new = commands.add_parser("new", help="make a project with a bot and its test")
    new.add_argument("name", metavar="NAME")
    new.set_defaults(act=_new)
    listing = commands.add_parser("list", help="show the bots that are installed as plugins")
    listing.set_defaults(act=_list)
    letters = commands.add_parser(
        "letters", help="show what the bots of bot.toml have given up; they must not run meanwhile"
    )
    letters.add_argument("--config", type=Path, metavar="BOT.TOML", default=Path("bot.toml"))
    letters.add_argument("--json", action="store_true", help="one object a line")
    letters.set_defaults(act=_letters)
    check = commands.add_parser("check", help="look for mistakes, without running it")
    check.add_argument("code", metavar="CODE", help="a file, a module, or plugin:NAME")
    check.set_defaults(act=_check)
    return parser


def _run(parsed: argparse.Namespace) -> int:
    settings = load_settings(parsed.config)
    chosen = settings.bot
    if parsed.code:
        if len(chosen) > 1:
            raise ConfigError("the settings have several bots: run them without naming a file")
        chosen = [evolve(chosen[0], code=parsed.code)]
    if not all(one.code for one in chosen):
        raise ConfigError("name the bot's file or module, or put `code` into its [[bot]]")
    return run_all(evolve(settings, bot=chosen), reload=parsed.reload)


def _new(parsed: argparse.Namespace) -> int:
    folder = make_project(Path.cwd(), parsed.name)
    sys.stdout.write(
        f"{folder.name}/ holds a bot and its test. Now:\n"
        f"  cd {folder.name}\n"
        "  python -m pytest                                   # its test passes\n"
        "  put an invite link (capability `bot`) into bot.toml\n"
        f"  ofc-bot run {folder.name}.py --config bot.toml\n"
    )
    return EXIT_OK


def _list(parsed: argparse.Namespace) -> int:
    for plugin in installed():
        come_with = f"{plugin.package} {plugin.version}".strip() or "unknown"
        sys.stdout.write(f"plugin:{plugin.name:<20} {plugin.code:<32} {come_with}\n")
    return EXIT_OK


def _letters(parsed: argparse.Namespace) -> int:
    for settings in load_settings(parsed.config).bot:
        if not Path(settings.vault).is_file():
            raise ConfigError(f"there is no vault at {settings.vault}: that bot has never run")
        with open_vault(settings) as vault:
            for letter in dead_letters(vault):
                sys.stdout.write(json.dumps(letter) if parsed.json else _as_text(letter))
                sys.stdout.write("\n")
    return EXIT_OK


def _as_text(letter: Mapping[str, object]) -> str:
    at = datetime.fromtimestamp(float(str(letter["at"])) / 1000, UTC)
    where = f"room {str(letter['room'])[:8]}, #{letter['seq']}" if letter["room"] else "no room"
    head = f"{at:%Y-%m-%d %H:%M:%S}  {letter['id']}  {letter['handler']}: {letter['error']}"
    return f"{head}  ({where})\n{letter['traceback']}"


def _check(parsed: argparse.Namespace) -> int:
    bot = load_bot(parsed.code)
    table = build(bot)
    sys.stdout.write(f"{bot.name}: {len(table.summaries) + len(table.timers)} handlers, fine\n")
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
