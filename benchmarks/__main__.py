"""Runs the benchmarks: `python -m benchmarks [NAME...] [--quick]`, or `make bench ARGS=...`.

    themis_core   an operation on each Themis core, against the bare call into WebAssembly
    store_commit  a commit, against the same rows by bare sqlite3; where checkpoints make the p99
    wire_send     one message to fifty links, against plain trio-websocket
    relay         the whole relay, against a fan-out that neither encrypts, verifies nor stores
    federation    a delivery to another relay's member, against a local one
    bots          an echo bot on the SDK, against one on the bare client core
    irc           a message through the bridge to IRC and back; lines a second
    mail          a message through the bridge to mail and back, against one to another member

How to read them. Every benchmark runs ofcd and a rival in turn, on the same machine, in the same
run. Microseconds are that machine's and that minute's: compare them with nothing. The ratio to the
rival is what stays: it says what ofcd costs on top of what nobody can do without, or gains over it
(of costs, below 1 is better than the rival; of deliveries a second, above 1).

What does not show in a ratio of medians is noise: run twice, and believe no difference smaller
than that of two equal runs. Let nothing else run beside (the relay and its load each want a
processor of their own), and plug a laptop in. `--quick` says whether the benchmarks work, and
the order of magnitude; it is no measurement.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from typing import Final

BENCHMARKS: Final = {
    "themis_core": ("--quick",),
    "store_commit": ("--quick",),
    "wire_send": ("--rounds", "20"),
    "relay": ("--rounds", "1", "--events", "10", "--links", "40"),
    "federation": ("--messages", "5", "--readers", "2"),
    "bots": ("--rounds", "1", "--questions", "20"),
    "irc": ("--lines", "10", "--paced", "7"),
    "mail": ("--mails", "10"),
}
"""In the order they run; with what makes each quick."""


def run(name: str, quick: bool) -> bool:
    """Run one in a process of its own, as it would run alone; whether it worked."""
    print(f"\n== {name} " + "=" * (76 - len(name)), flush=True)
    arguments = BENCHMARKS[name] if quick else ()
    done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *arguments], check=False)
    if done.returncode:
        print(f"{name} failed: exit code {done.returncode}", file=sys.stderr)
    return done.returncode == 0


def main() -> int:
    """Run those named, else all; 1 if any failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=(__doc__ or "").partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which; default: all, in order")
    parser.add_argument("--quick", action="store_true", help="try them out: seconds, not minutes")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]}: there are {', '.join(BENCHMARKS)}")
    worked = [run(name, options.quick) for name in options.names or BENCHMARKS]
    return 0 if all(worked) else 1


if __name__ == "__main__":
    sys.exit(main())
