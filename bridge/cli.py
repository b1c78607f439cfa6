"""`ofc-bridge`: run bridges, or check a configuration."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bridge.core.runner import check, run
from bridge.core.settings import load_settings
from bridge.kinds import KINDS
from ofcd.errors import OfcError

__all__ = ["main"]

EXIT_OK = 0
EXIT_FAILED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code: 0, 1 (it failed), 2 (wrong use)."""
    parsed = _parser().parse_args(arguments)
    try:
        settings = load_settings(parsed.config, KINDS)
        if parsed.act == "run":
            run(settings)
            return EXIT_OK
        findings = check(settings)
    except OfcError as error:
        sys.stderr.write(f"ofc-bridge: {error}\n")
        return EXIT_FAILED
    for finding in findings:
        sys.stdout.write(f"{'ok  ' if finding.good else 'BAD '} {finding.text}\n")
    return EXIT_OK if all(finding.good for finding in findings) else EXIT_FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ofc-bridge",
        description="Join end-to-end encrypted rooms to places outside.",
        epilog="docs/bridges.md is the guide.",
    )
    parser.add_argument(
        "act",
        nargs="?",
        choices=("run", "check"),
        default="run",
        help=("run (default); check: try the settings against the real servers"),
    )
    parser.add_argument("--config", type=Path, metavar="BRIDGE.TOML", required=True)
    return parser


if __name__ == "__main__":
    sys.exit(main())
