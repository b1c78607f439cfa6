"""One relay in a storm: bad roads to every member, kill -9, floods, clocks that disagree.

`make soak` makes it last (`OFCD_SOAK` seconds); `OFCD_SEED` repeats one.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.live.chaos import open_road
from tests.live.places import places
from tests.live.storm import Member, Storm, clocked, dial_by, storm_seconds
from tests.live.support import Relay, client, seed

SECONDS = storm_seconds(8)

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(300 + 2 * SECONDS)]

SKEWS = {"ana": 0.0, "bo": -3 * 3600.0, "cy": 5 * 3600.0}
"""Seconds by which clocks are ahead; the relay's is two hours behind."""


async def test_a_storm_at_one_relay(tmp_path: Path) -> None:
    """In the end every member has the same events in the same order, everything said, once."""
    number = seed()
    with places(1) as [place]:
        relay = Relay(tmp_path, host=place.host, wrap=clocked(place, "-2h"))
        relay.start()
        try:
            async with AsyncExitStack() as stack:
                storm = Storm(number, [relay], [], [place])
                for name, skew in SKEWS.items():
                    target = relay.host, relay.port
                    opening = open_road(f"to {name}", number, target=target)
                    road = await stack.enter_async_context(opening)
                    storm.roads.append(road)
                    opened = client(tmp_path / name, dial=dial_by({relay.url: road}), skew=skew)
                    running = await stack.enter_async_context(opened)
                    if not storm.members:
                        room = await running.create_room(relay.url, "tea", my_name=name)
                    else:
                        invite = await storm.members[0].room.invite()
                        room = await running.join(invite, name=name)
                    storm.members.append(Member(name, running, room))
                await storm.rage(SECONDS)
                await storm.calm()
                storm.check()
                assert relay.starts > 1, "the relay was never killed"
                assert all(road.links > 1 for road in storm.roads), "a road was never broken"
                assert min(len(member.said) for member in storm.members) > 5
        finally:
            relay.kill()
