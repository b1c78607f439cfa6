"""How long an honest message takes beside a flood, by how long it takes without one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from ofcd.compliance.errors import NotKept
from ofcd.compliance.people import Person

__all__ = ["beside"]

_MESSAGES: Final = 3
_PAUSE: Final = 0.2
_SECONDS: Final = 10.0
"""An honest message may take so long beside a flood; behind one it would take for ever."""
_TIMES: Final = 20
"""And so many times what it takes at rest: a relay may be slow, far away, or on a busy machine."""


async def beside(ana: Person, bo: Person, *floods: Callable[[], Awaitable[None]]) -> None:
    """Ana's messages reach Bo while these run. Raises `NotKept` if they take too long."""
    at_rest = max([await _measured(ana, bo) for _ in range(_MESSAGES)])
    times: list[float] = []
    async with trio.open_nursery() as nursery:
        for flood in floods:
            nursery.start_soon(flood)
        for _ in range(_MESSAGES):
            await trio.sleep(_PAUSE)
            times.append(await _measured(ana, bo))
        nursery.cancel_scope.cancel()
    if max(times) >= _SECONDS + _TIMES * at_rest:
        raise NotKept(
            f"beside a flood an honest message took {max(times):.1f} s, {at_rest:.1f} s without"
        )


async def _measured(ana: Person, bo: Person) -> float:
    began = trio.current_time()
    entry = await ana.say(b"still here")
    await bo.deliveries(entry.seq)
    return trio.current_time() - began
