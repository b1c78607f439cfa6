"""Relays in memory, right ones and broken ones, for the kit to try."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from attrs import evolve

from ofcd.compliance import CHECKS, Check, Result, Target, run_check
from ofcd.compliance.checks import floods, followers, hubs
from ofcd.config import Federation, Settings
from ofcd.protocol.ids import RelayId
from ofcd.testing import World, open_world


@pytest.fixture(autouse=True)
def _smaller_floods(monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory time stands still while a relay is flooded, so a tenth says as much."""
    for module in (floods, followers, hubs):
        monkeypatch.setattr(module, "_FLOOD", module._FLOOD // 10)


def open_to_all(settings: Settings, *, fast: bool = False) -> Settings:
    """One address plays everybody; `fast`: a member may send a thousand messages at once."""
    limits = evolve(
        settings.limits,
        handshakes_per_minute_per_ip=1_000_000,
        connections_per_ip=1000,
        control_per_minute_per_member=10_000,
        events_burst_per_member=5000 if fast else settings.limits.events_burst_per_member,
        events_per_second_per_member=5000 if fast else settings.limits.events_per_second_per_member,
        events_per_second_per_room=5000 if fast else settings.limits.events_per_second_per_room,
    )
    return evolve(settings, limits=limits, federation=Federation(mode="open"))


@asynccontextmanager
async def target_in(
    folder: Path, *, pin: RelayId | None = None, fast: bool = False, away: float = 0.0
) -> AsyncIterator[Target]:
    """A relay in memory, whose clock is trio's; `away`: seconds that all takes to get there."""
    async with open_world(folder, partial(open_to_all, fast=fast)) as world:
        line = world.lines["the kit"]
        line.delay = (lambda: away) if away else None
        dial = partial(world._dial, line, world.url)
        yield Target(world.url, dial, partial(connect, world), relay_id=pin)


async def connect(world: World) -> trio.abc.Stream:
    """A bare stream to the world's relay."""
    ours, theirs = trio.testing.memory_stream_pair()
    assert world.daemon is not None
    scope = trio.CancelScope()
    world._links.add(scope)
    world._nursery.start_soon(world._carry, world.daemon, theirs, scope)
    return ours


def checks_named(*names: str) -> list[Check]:
    """These checks; a name that is none fails the test."""
    known = {one.name: one for one in CHECKS}
    return [known[name] for name in names]


async def results_of(target: Target, checks: list[Check]) -> dict[str, Result]:
    """What comes of these checks."""
    return {one.name: await run_check(target, one) for one in checks}
