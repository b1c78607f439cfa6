"""Real processes of a bot, fast: this one has everything imported, and forks one for each life.

Reads lines: "start" forks an `ofc-bot run …` (its pid is answered), "kill" is `kill -9` for it.
"""

from __future__ import annotations

import os
import signal
import sys

import bots.tables.store  # noqa: F401 - what a bot with tables needs, imported for all its lives
from bots.cli import main


def _child(arguments: list[str]) -> None:
    code = 70
    try:
        code = main(arguments)
    finally:
        os._exit(code)


def _serve(arguments: list[str]) -> None:
    pid = 0
    for line in sys.stdin:
        if line == "start\n":
            pid = os.fork()
            if pid == 0:
                _child(arguments)
            print(pid, flush=True)
        elif line == "kill\n":
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1:])
