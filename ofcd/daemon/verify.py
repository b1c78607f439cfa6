"""Signatures are verified in worker threads, each with a Themis core of its own, off the hub."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

import trio

from ofcd.daemon.workers import Workers
from ofcd.protocol.codes import ProtocolError
from ofcd.relay import Examined

__all__ = ["Verdict", "Verifier"]

Verdict = tuple[Examined, ProtocolError | None]
"""A request, and what is wrong with its signatures."""
_THREADS: Final = 2


class Verifier:
    """A bounded pool of verifying threads."""

    def __init__(self, workers: Workers, threads: int = _THREADS) -> None:
        self._workers = workers
        self._limiter = trio.CapacityLimiter(threads)

    async def verify(self, requests: Sequence[Examined]) -> list[Verdict]:
        """Each request with what is wrong with its signatures, in order, in one trip."""
        if not any(request.signatures for request in requests):
            return [(request, None) for request in requests]
        return await self._workers.run(partial(_verify_all, requests), self._limiter)


def _verify_all(requests: Sequence[Examined]) -> list[Verdict]:
    return [(request, _verify(request)) for request in requests]


def _verify(request: Examined) -> ProtocolError | None:
    try:
        request.verify()
    except ProtocolError as error:
        return error
    return None
