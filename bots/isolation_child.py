"""The process of one isolated bot: takes its orders, limits itself, runs the bot (trio).

Memory is limited by RLIMIT_DATA: what is asked for beyond it is a `MemoryError` where it is asked
for. (RLIMIT_AS would count the address space that the sandbox of the embedded Themis core reserves
and never uses.) That the loop turns is watched by the kernel: a timer that would end the process
is wound up again and again by a task.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from typing import Any, Final

import trio
from attrs import evolve
from cattrs import structure

from bots.errors import BotError
from bots.isolation import Orders
from bots.isolation_pipe import send_report
from bots.log import configure, get_log
from bots.metrics import Metrics
from bots.runner import job_of, run_one
from ofcd.client.process import first_of
from ofcd.errors import OfcError

__all__ = ["main"]

REPORT_SECONDS: Final = 2.0
_WINDINGS: Final = 4
"""How often the timer is wound up in the time that it would take to run down."""
_MIB: Final = 1024 * 1024


def main() -> int:
    """Read orders from standard input, and carry them out; returns the exit code."""
    with open(0, "rb", buffering=0, closefd=False) as stdin:  # what follows is for the loop
        found: dict[str, Any] = json.loads(stdin.readline())
    report_to: int = found.pop("report_to")
    orders = structure(found, Orders)
    configure(orders.log.level, orders.log.format)
    code = 0
    try:
        limit_memory(orders.settings.memory_limit)
        trio.run(_run, orders, report_to)
    except* OfcError as group:
        get_log(orders.settings.code).error("it can not run", detail=str(first_of(group)))
        code = 1
    return code


def limit_memory(mib: int) -> None:
    """From here on this process gets so much memory; 0: as much as there is."""
    if not mib:
        return
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = mib * _MIB
    if most != resource.RLIM_INFINITY and wanted > most:
        raise BotError(f"memory_limit = {mib} is above what the system allows ({most // _MIB} MiB)")
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, wanted))


async def _run(orders: Orders, report_to: int) -> None:
    stop = trio.Event()
    metrics = Metrics()
    async with trio.open_nursery() as nursery:
        await nursery.start(_heed_signals, stop)
        nursery.start_soon(_until_parent_is_gone, stop)
        nursery.start_soon(_report, metrics, report_to)
        nursery.start_soon(_show_life, orders.settings.stall_limit)
        job = evolve(job_of(orders.settings, reload=orders.reload), careful=orders.careful)
        await run_one(job, metrics, stop)
        nursery.cancel_scope.cancel()


async def _heed_signals(
    stop: trio.Event, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Stop at the first one. A second changes nothing: a service manager signals us, too."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            stop.set()


async def _until_parent_is_gone(stop: trio.Event) -> None:
    async with trio.lowlevel.FdStream(sys.stdin.fileno()) as stdin:
        async for _ in stdin:
            pass
    stop.set()


async def _report(metrics: Metrics, report_to: int) -> None:
    async with trio.lowlevel.FdStream(report_to) as stream:
        try:
            while True:
                await send_report(stream, metrics.render())
                await trio.sleep(REPORT_SECONDS)
        except trio.BrokenResourceError:
            return  # the parent is gone, and its pipe says so elsewhere


async def _show_life(limit: float) -> None:
    if not limit:
        return
    try:
        while True:
            signal.setitimer(signal.ITIMER_REAL, limit)
            await trio.sleep(limit / _WINDINGS)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


if __name__ == "__main__":
    sys.exit(main())
