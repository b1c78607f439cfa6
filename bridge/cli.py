"""`ofc-bridge`: run bridges, or check a configuration.

Exit codes: 0 done; 1 it failed, or the check found something wrong; 2 wrong usage; 3 a setting is
wrong; 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import ofcd
from bridge.core.runner import check, run
from bridge.core.settings import load_settings
from bridge.kinds import KINDS
from ofcd.errors import ConfigError, OfcError

__all__ = ["main"]

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_CONFIG: Final = 3
EXIT_INTERRUPTED: Final = 130

_EXAMPLES: Final = """\
examples:
  ofc-bridge check --config bridge.toml   connect as configured, and say what is wrong
  ofc-bridge --config bridge.toml         run it; SIGTERM or Ctrl-C stops it in order

bridge.example.toml has the settings, docs/bridges.md and docs/bridges-email.md are the guides.

The exit code says what went wrong: 1 it failed, or the check found something wrong; 2 usage;
3 settings; 130 interrupted.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code."""
    parsed = _parser().parse_args(arguments)
    try:
        settings = load_settings(parsed.config, KINDS)
        if parsed.act == "run":
            run(settings)
            return EXIT_OK
        findings = check(settings)
    except OfcError as error:
        sys.stderr.write(f"ofc-bridge: {error}\n")
        return EXIT_CONFIG if isinstance(error, ConfigError) else EXIT_FAILED
    except KeyboardInterrupt:
        sys.stderr.write("ofc-bridge: interrupted\n")
        return EXIT_INTERRUPTED
    for finding in findings:
        sys.stdout.write(f"{'ok  ' if finding.good else 'BAD '} {finding.text}\n")
    return EXIT_OK if all(finding.good for finding in findings) else EXIT_FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ofc-bridge",
        usage="ofc-bridge [run | check] --config BRIDGE.TOML",
        description="Join end-to-end encrypted rooms to IRC channels and mail.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ofc-bridge {ofcd.__version__}")
    parser.add_argument(
        "act",
        nargs="?",
        choices=("run", "check"),
        default="run",
        help="run: the bridge (if neither is given); check: try the settings on the real servers",
    )
    parser.add_argument(
        "--config", type=Path, metavar="BRIDGE.TOML", required=True, help="the settings (TOML)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
