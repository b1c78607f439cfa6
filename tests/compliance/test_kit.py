"""The kit against relays in memory: a right one passes, a broken one is seen through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

import tests.compliance.broken_peers  # noqa: F401 - more of RELAYS
from ofcd.compliance import CHECKS, Outcome
from ofcd.daemon.hub import Hub
from ofcd.protocol.ids import RelayId
from tests.compliance.broken import RELAYS, Broken
from tests.compliance.conftest import checks_named, results_of, target_in

pytestmark = pytest.mark.timeout(300)


@pytest.mark.slow
async def test_a_right_relay_keeps_every_promise(tmp_path: Path, autojump_clock: object) -> None:
    """Nothing fails; what is skipped is what the relay's own limits hide."""
    async with target_in(tmp_path) as target:
        results = await results_of(target, list(CHECKS))
    reasons = {name: result.reason for name, result in results.items()}
    bad = {n: reasons[n] for n, r in results.items() if r.outcome is Outcome.FAIL}
    assert bad == {}
    assert {n for n, r in results.items() if r.outcome is Outcome.SKIP} <= {"events.seen_stale"}


@pytest.mark.parametrize("relay", RELAYS, ids=lambda relay: relay.name)
async def test_a_broken_relay_is_seen_through(
    relay: Broken, tmp_path: Path, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the checks that are there for it goes red."""
    relay.make(monkeypatch)
    pin = RelayId(bytes(32)) if "handshake.pinned" in relay.seen_by else None
    fast = "events.seen_stale" in relay.seen_by
    async with target_in(tmp_path, pin=pin, fast=fast) as target:
        results = await results_of(target, checks_named(*relay.seen_by))
    green = [name for name, result in results.items() if result.outcome is not Outcome.FAIL]
    assert green == []


TIMED = (
    "attach.guesses",
    "floods.frames",
    "floods.rate",
    "floods.signatures",
    "follower.flood",
    "follower.hands_over",
    "history.live",
    "hub.flood",
    "join.expired",
)
"""The checks that measure time or rate."""


@pytest.mark.parametrize("seconds", [0.06, 0.5])
async def test_a_relay_far_away_is_not_blamed(
    seconds: float, tmp_path: Path, autojump_clock: object
) -> None:
    """An answer takes longer than a message may be late; longer than this a rate is not seen."""
    async with target_in(tmp_path, away=seconds) as target:
        results = await results_of(target, checks_named(*TIMED))
    assert {n: r.reason for n, r in results.items() if r.outcome is not Outcome.PASS} == {}


async def test_a_slow_relay_is_not_blamed(
    tmp_path: Path, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes fewer messages than it would allow: that it has a limit can not be seen."""
    real = Hub.take

    async def take(self: Any, link: Any, batch: Any) -> None:
        await trio.sleep(0.3 * len(batch))
        await real(self, link, batch)

    monkeypatch.setattr(Hub, "take", take)
    async with target_in(tmp_path) as target:
        results = await results_of(target, checks_named(*TIMED))
    assert [n for n, r in results.items() if r.outcome is Outcome.FAIL] == []
    assert results["floods.rate"].outcome is Outcome.SKIP
    assert "too slow or too far" in results["floods.rate"].reason


def test_every_check_has_a_relay_that_it_sees_through() -> None:
    """A check that nothing turns red checks nothing."""
    tried = {name for relay in RELAYS for name in relay.seen_by}
    assert tried == {one.name for one in CHECKS}
