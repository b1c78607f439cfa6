"""What a peer sends without end: other rooms take their turns between its frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import trio

from ofcd.daemon.peers.link import PeerLink
from ofcd.protocol import frames
from ofcd.protocol.ids import MemberId, RoomId
from ofcd.testing import open_net
from tests.federation.double import dialling, quickly, say
from tests.world.scene import people, texts

NOWHERE, NOBODY = RoomId(bytes(32)), MemberId(bytes(32))
FREE = (frames.Ping(1), frames.Cursor(NOWHERE, 1), frames.LaneClose(1), frames.Head(NOWHERE, b""))
"""Frames that no rate is set for: a link is read by its bytes."""
ASKED = (
    frames.LaneOpen(1, NOWHERE, NOBODY),
    frames.LaneAsk(2, frames.encode_frame(frames.ChainGet(4, NOWHERE, 0))),
    frames.Follow(3, NOWHERE, 0),
)
MESSAGE = 4000
"""Frames, of about those that one message may hold."""


async def test_who_does_what_no_relay_does_is_not_read_on(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """It is put in quarantine once, and not once for each frame that it had sent by then."""
    async with open_net(tmp_path, "hub", change=quickly) as (hub,), dialling(hub) as double:
        assert hub.daemon is not None
        await double.send(*[frames.LaneAsk(1, b"no frame")] * 100)
        await double.ended()
        assert hub.daemon.hub.metrics.quarantines._value.get() == 1


@pytest.mark.parametrize(("flood", "most"), [(FREE, 1800), (ASKED, 450)])
async def test_29_other_rooms_go_on_between_the_frames_of_a_flood(
    tmp_path: Path,
    autojump_clock: trio.abc.Clock,
    monkeypatch: pytest.MonkeyPatch,
    flood: tuple[frames.PeerFrame, ...],
    most: int,
) -> None:
    """Of messages as full as they may be, so many frames are taken while a word gets through."""
    taken = 0
    take = PeerLink._take_peer

    def counted(received: Iterable[frames.PeerFrame]) -> Iterator[frames.PeerFrame]:
        nonlocal taken
        for frame in received:
            taken += 1
            yield frame

    monkeypatch.setattr(PeerLink, "_take_peer", lambda link, got: take(link, counted(got)))
    async with open_net(tmp_path, "hub", change=quickly) as (hub,):
        ana, bo = (await people(hub, "ana", "bo")).values()
        async with dialling(hub) as double:
            for _ in range(3):
                await double.send(*(flood * MESSAGE)[:MESSAGE])
            taken, words = 0, [f"word {number}" for number in range(3)]
            for word in words:
                before = taken
                await say(ana, word)
                while word not in texts(bo):  # no time passes
                    await trio.lowlevel.checkpoint()
                assert taken - before < most
            assert taken, "the flood was over before"
