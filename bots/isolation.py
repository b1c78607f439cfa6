"""A bot in a process of its own: started, limited, watched and started again (trio).

Against mistakes, not malice: what runs out of memory or never awaits takes down its own process
only, which is started again after a pause. The parent never imports the bot's code.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final

import trio
from attrs import evolve, field, frozen
from cattrs import unstructure

from bots.isolation_pipe import read_reports
from bots.log import Log, get_log
from bots.metrics import Metrics
from bots.settings import BotSettings, LogSettings
from ofcd.protocol.backoff import Backoff

__all__ = ["Orders", "supervise"]

STEADY_SECONDS: Final = 60.0
"""Who lived this long begins with the shortest pause again."""
LONGEST_PAUSE: Final = 60_000
_KILL_MARGIN: Final = 5.0
_CHILD: Final = (sys.executable, "-m", "bots.isolation_child")


@frozen
class Orders:
    """What a child is told on its standard input; a pipe that is closed tells it to stop."""

    settings: BotSettings
    log: LogSettings = field(factory=LogSettings)
    reload: bool = False
    careful: bool = False
    """The last life ended badly: what it was handling may be why."""

    def as_line(self, report_to: int) -> bytes:
        """One line of JSON; `report_to` is the descriptor for its metrics."""
        orders = {**unstructure(self), "report_to": report_to}
        return json.dumps(orders).encode() + b"\n"


async def supervise(orders: Orders, metrics: Metrics, stop: trio.Event) -> None:
    """Keep a child of these orders running until `stop`, then let it stop in order."""
    log = get_log(orders.settings.code)
    backoff = Backoff(random.random, longest=LONGEST_PAUSE)
    while not stop.is_set():
        started = trio.current_time()
        code = await _live(orders, metrics, stop, log)
        if stop.is_set():
            break
        orders = evolve(orders, careful=True)  # nobody told it to end: a bad end, whatever its code
        if trio.current_time() - started >= STEADY_SECONDS:
            backoff.succeeded()
        pause = backoff.failed() / 1000
        metrics.restarts.labels(orders.settings.code).inc()
        log.error("its process ended", why=_why(code, orders.settings), again_in=round(pause, 1))
        with trio.move_on_after(pause):
            await stop.wait()


async def _live(orders: Orders, metrics: Metrics, stop: trio.Event, log: Log) -> int:
    """One life, ended by itself or by `stop`; its exit code."""
    async with _child(orders) as (process, reports), trio.open_nursery() as nursery:
        keep = partial(metrics.put_child, orders.settings.vault)  # one process, one vault
        nursery.start_soon(read_reports, reports, keep)
        nursery.start_soon(_cancel_at, stop, nursery.cancel_scope)
        log.info("its process has begun", pid=process.pid)
        await process.wait()
        nursery.cancel_scope.cancel()
    metrics.put_child(orders.settings.vault, "")
    return process.returncode or 0


@asynccontextmanager
async def _child(orders: Orders) -> AsyncIterator[tuple[trio.Process, trio.abc.ReceiveStream]]:
    """A new child that has its orders. It is stopped in order afterwards, whatever happens."""
    ours, theirs = os.pipe()
    async with trio.lowlevel.FdStream(ours) as reports:
        try:
            process: Any = await trio.lowlevel.open_process(
                _CHILD,
                stdin=subprocess.PIPE,
                pass_fds=(theirs,),
                start_new_session=True,  # a terminal's Ctrl-C is for the parent
            )
        finally:
            os.close(theirs)
        try:
            async with process.stdin:
                with suppress(trio.BrokenResourceError):  # dead already: its exit code says why
                    await process.stdin.send_all(orders.as_line(theirs))
                yield process, reports
        finally:
            with trio.CancelScope(shield=True):
                await _end(process, 2 * orders.settings.grace + _KILL_MARGIN)


async def _end(process: trio.Process, patience: float) -> None:
    if process.returncode is None:
        process.terminate()
        with trio.move_on_after(patience):
            await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()


async def _cancel_at(stop: trio.Event, scope: trio.CancelScope) -> None:
    await stop.wait()
    scope.cancel()


def _why(code: int, settings: BotSettings) -> str:
    if code == -signal.SIGALRM:
        return (
            f"it stood still for {settings.stall_limit:g} s: a handler works or waits without "
            "an `await`"
        )
    if code < 0:
        name = signal.Signals(-code).name
        return f"{name}, for want of memory perhaps" if name in _MEMORY else name
    return f"exit code {code}: see its own lines"


_MEMORY: Final = ("SIGKILL", "SIGABRT", "SIGSEGV")
