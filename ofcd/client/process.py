"""What a process of bots and one of bridges share: signals, a metrics page, the first error."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import trio
from prometheus_client import start_http_server
from prometheus_client.registry import Collector

__all__ = ["first_of", "metrics_page", "wait_for_signal"]


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error that is no group."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def wait_for_signal(
    stop: trio.Event, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Set `stop` at the first SIGTERM or SIGINT; started once none goes by unheard."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            stop.set()
            return


@contextmanager
def metrics_page(page: Collector, address: str, port: int) -> Iterator[None]:
    """Serve metrics to Prometheus; port 0: not at all."""
    if not port:
        yield
        return
    server, thread = start_http_server(port, address, page)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
