"""The kit against relays in memory: a right one passes, a broken one is seen through."""

from __future__ import annotations

from pathlib import Path

import pytest

import tests.compliance.broken_peers  # noqa: F401 - more of RELAYS
from ofcd.compliance import CHECKS, Outcome
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


def test_every_check_has_a_relay_that_it_sees_through() -> None:
    """A check that nothing turns red checks nothing."""
    tried = {name for relay in RELAYS for name in relay.seen_by}
    assert tried == {one.name for one in CHECKS}
