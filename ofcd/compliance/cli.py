"""`ofc-compliance`, the command.

Exit codes: 0 every promise that could be tried is kept; 1 one is not; 2 wrong usage; 3 there is no
relay at the address; 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, TextIO

import trio

import ofcd
from ofcd.compliance.check import Check, Outcome, Result, run_check
from ofcd.compliance.checks import CHECKS
from ofcd.compliance.lab import Target, target_of
from ofcd.protocol.ids import RelayId
from ofcd.wire import DialError

__all__ = ["main"]

EXIT_KEPT: Final = 0
EXIT_NOT_KEPT: Final = 1
EXIT_USAGE: Final = 2
EXIT_NO_RELAY: Final = 3
EXIT_INTERRUPTED: Final = 130

_DESCRIPTION: Final = "Try from outside whether a relay keeps what OFC/1 promises."
_EPILOG: Final = """\
examples:
  ofc-compliance --list
  ofc-compliance ws://127.0.0.1:5103
  ofc-compliance wss://relay.example --relay-id FINGERPRINT --json
  ofc-compliance ws://127.0.0.1:5103 -k session -k events.wrong

It founds rooms of its own and leaves them behind, empty of words: use a relay that you may test.
The exit code says what came of it: 0 kept, 1 not kept, 2 usage, 3 no relay there.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = _make_parser()
    options = parser.parse_args(arguments)
    chosen = _chosen(options.only)
    if not chosen:
        parser.error(f"no check is called like {' or '.join(options.only)}: see --list")
    if options.list:
        _list(chosen, sys.stdout)
        return EXIT_KEPT
    if options.url is None:
        parser.error("name the relay: ofc-compliance ws://host:port")
    relay_id = _relay_id(parser, options.relay_id)
    target = target_of(options.url, relay_id, _token(parser, options.token_file))
    try:
        return trio.run(_run, target, chosen, _Report(sys.stdout, as_json=options.json))
    except DialError as error:
        print(f"ofc-compliance: {error}", file=sys.stderr)
        return EXIT_NO_RELAY
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ofc-compliance",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("url", nargs="?", help="the relay: ws://host:port or wss://host")
    parser.add_argument(
        "--relay-id", metavar="FINGERPRINT", help="the relay's fingerprint, 64 hex digits"
    )
    parser.add_argument(
        "-k",
        dest="only",
        metavar="NAME",
        action="append",
        default=[],
        help="only checks whose name has NAME in it; may be repeated",
    )
    parser.add_argument(
        "--token-file", metavar="FILE", help="its first line is what the relay asks of founders"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--list", action="store_true", help="say what the checks are, and stop")
    parser.add_argument("--version", action="version", version=f"ofc-compliance {ofcd.__version__}")
    return parser


def _chosen(only: Sequence[str]) -> list[Check]:
    return [one for one in CHECKS if not only or any(word in one.name for word in only)]


def _relay_id(parser: argparse.ArgumentParser, text: str | None) -> RelayId | None:
    if text is None:
        return None
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b""
    if len(raw) != len(RelayId(bytes(32))):
        parser.error("--relay-id is the relay's fingerprint: 64 hex digits, as `ofcd` prints it")
    return RelayId(raw)


def _token(parser: argparse.ArgumentParser, name: str | None) -> str:
    if name is None:
        return ""
    try:
        return Path(name).read_text(encoding="utf-8").lstrip().partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        parser.error(f"--token-file {name}: {error}")


async def _run(target: Target, checks: Iterable[Check], report: _Report) -> int:
    async with target.dial():
        pass  # or there is nothing to be checked
    for one in checks:
        report.show(await run_check(target, one))
    return report.end()


class _Report:
    """What is printed: a line for each check, as it ends."""

    def __init__(self, out: TextIO, *, as_json: bool) -> None:
        self._out = out
        self._json = as_json
        self._colour = not as_json and out.isatty()
        self._counts = dict.fromkeys(Outcome, 0)

    def show(self, result: Result) -> None:
        """One result."""
        self._counts[result.outcome] += 1
        if self._json:
            fields = {
                "check": result.check.name,
                "outcome": result.outcome.value,
                "promise": result.check.promise,
                "section": result.check.section,
                "seconds": round(result.seconds, 3),
            }
            if result.reason:
                fields["reason"] = result.reason
            self._line(json.dumps(fields, ensure_ascii=False))
            return
        self._line(f"{self._word(result.outcome)}  {result.check.name}: {result.check.promise}")
        if result.reason:
            self._line(f"      {result.reason} (protocol.md, section {result.check.section})")

    def _word(self, outcome: Outcome) -> str:
        colour = {Outcome.PASS: "32", Outcome.FAIL: "1;31", Outcome.SKIP: "33"}[outcome]
        return f"\x1b[{colour}m{outcome.value}\x1b[0m" if self._colour else outcome.value

    def end(self) -> int:
        """The sum, and the exit code."""
        counts = {outcome.value: count for outcome, count in self._counts.items()}
        if self._json:
            self._line(json.dumps({"sum": counts}))
        else:
            self._line(", ".join(f"{count} {word}" for word, count in counts.items()))
        return EXIT_NOT_KEPT if self._counts[Outcome.FAIL] else EXIT_KEPT

    def _line(self, text: str) -> None:
        print(text, file=self._out, flush=True)


def _list(checks: Iterable[Check], out: TextIO) -> None:
    for one in checks:
        print(f"{one.name} (protocol.md, section {one.section}): {one.promise}", file=out)
