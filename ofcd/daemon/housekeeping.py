"""What the daemon does while nobody asks: checkpoints of the database, and retention."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from ofcd.config import Settings
from ofcd.daemon.log import get_log
from ofcd.daemon.trouble import trouble_of
from ofcd.store import Retention, StoreError

if TYPE_CHECKING:
    from ofcd.daemon.run import Daemon

__all__ = ["keep_house"]

_CHECKPOINT_SECONDS: Final = 1.0
_RETENTION_SECONDS: Final = 60.0
_PAUSE_SECONDS: Final = 0.1
"""Between two bounded parts of one retention, so that commits do not wait for all of it."""
_DAY_MS: Final = 24 * 3600 * 1000


async def keep_house(daemon: Daemon) -> None:
    """Run until cancelled. A failure is logged, shown by /healthz, and tried again."""
    retention = retention_of(daemon.settings)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_keep_checkpoints, daemon)
        if not retention.keeps_all:
            nursery.start_soon(_keep_retention, daemon, retention)


async def _keep_checkpoints(daemon: Daemon) -> None:
    """At most one a second. A relay that nobody writes to does not even wake up for it."""
    while True:
        await daemon.hub.wait_checkpoint_due()
        await trio.sleep(_CHECKPOINT_SECONDS)
        await _run(daemon, "checkpoint", _checkpoint)


async def _keep_retention(daemon: Daemon, retention: Retention) -> None:
    while True:
        await trio.sleep(_RETENTION_SECONDS)
        await _run(daemon, "retention", partial(_retain, retention))


async def _run(daemon: Daemon, job: str, work: Callable[[Daemon], Awaitable[None]]) -> None:
    """Do a job; remember why it failed until it works. The same failure is logged once."""
    try:
        await work(daemon)
    except StoreError as error:
        trouble = trouble_of(error)
        if daemon.upkeep_troubles.get(job) != trouble:
            get_log().error(f"{job} failed", error=str(error), code=error.code)
        daemon.upkeep_troubles[job] = trouble
    else:
        daemon.upkeep_troubles.pop(job, None)


async def _checkpoint(daemon: Daemon) -> None:
    await daemon.workers.run(daemon.store.checkpoint)


def retention_of(settings: Settings) -> Retention:
    """The retention that the settings ask for."""
    storage = settings.storage
    return Retention(
        max_age_ms=storage.max_age_days * _DAY_MS,
        max_events=storage.max_events_per_room,
        max_bytes=storage.max_bytes_per_room,
        idle_ms=settings.limits.member_idle_days * _DAY_MS,
    )


async def _retain(retention: Retention, daemon: Daemon) -> None:
    while True:
        report = await daemon.hub.with_writer(
            lambda: daemon.store.apply_retention(retention, daemon.now())
        )
        daemon.hub.let_go(report)
        if report.events or report.blobs:
            get_log().info(
                "retention", events=report.events, bytes=report.bytes, blobs=report.blobs
            )
        if not report.more:
            return
        await trio.sleep(_PAUSE_SECONDS)
