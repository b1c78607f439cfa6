"""A relay that is told to stop says so to everyone, and goes."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from ofcd.protocol import frames
from ofcd.protocol.codes import Code
from tests.live.support import Relay
from tests.live.test_hostile import proven

pytestmark = [pytest.mark.live, pytest.mark.timeout(60)]


async def test_a_stopped_relay_tells_its_links_and_exits_with_0(tmp_path: Path) -> None:
    """SIGTERM: `shutting_down` on each link, then the end; a silent link holds nobody up long."""
    relay = Relay(tmp_path)
    relay.start()
    codes: list[int] = []
    try:
        async with (
            proven(relay) as (stream, session),
            proven(relay),
            trio.open_nursery() as nursery,
        ):

            async def stop() -> None:
                codes.append(await trio.to_thread.run_sync(relay.stop))

            nursery.start_soon(stop)
            with trio.fail_after(10):
                (last,) = session.receive(await stream.receive()).frames
            assert isinstance(last, frames.Failure)
            assert (last.rid, last.code) == (0, Code.SHUTTING_DOWN)
    finally:
        relay.kill()
    assert codes == [0]
