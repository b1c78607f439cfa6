"""What a peer sends without end: other rooms take their turns between its frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest
import trio

from ofcd.daemon.connection import Connection
from ofcd.daemon.peers.link import PeerLink
from ofcd.protocol import frames
from ofcd.protocol.ids import Hash32, MemberId, RoomId
from ofcd.protocol.records import LogHead
from ofcd.relay import Entry
from ofcd.testing import open_net
from ofcd.themis.signed import sign_record
from tests.federation.double import dialling, identity, quickly, say, shared
from tests.federation.test_finding import known
from tests.world.scene import people, settle, texts

NOWHERE, NOBODY = RoomId(bytes(32)), MemberId(bytes(32))
FREE = (frames.Ping(1), frames.Cursor(NOWHERE, 1), frames.LaneClose(1))
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


async def test_29_other_rooms_go_on_between_frames_that_cost_more(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """What a hub says of a room that is read here; the rest of it is not taken once it is gone."""
    taken = 0
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        _, bo = await shared(hub, home)
        cai, dan = (await people(home, "cai", "dan")).values()
        await settle([cai, dan])
        hint = frames.encode_frame(frames.Signalled(bo.id, NOBODY, 1, b"cell"))
        head = LogHead(1, bo.id, 0, 1_000, Hash32(bytes(32)), 1)
        flood = (
            frames.LaneTell(0, hint),
            frames.Head(bo.id, sign_record(identity(hub).keys.private, head).envelope),
        )

        def counted() -> Iterator[frames.PeerFrame]:
            nonlocal taken
            for taken in range(3 * MESSAGE):
                yield flood[taken % len(flood)]

        peer = known(home, identity(hub))
        assert peer is not None
        assert peer.link is not None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.following.take, peer.link, counted())
            for word in ("one", "two"):
                before = taken
                await say(cai, word)
                while word not in texts(dan):  # no time passes
                    await trio.lowlevel.checkpoint()
                assert taken - before < 1_800
            peer.following.line.down()
        assert taken < 2 * MESSAGE, "and no more of it"


@pytest.mark.parametrize("ends_at", ["between", "grow", "end"])
async def test_nothing_more_is_taken_of_a_link_that_another_took_the_place_of(
    tmp_path: Path,
    autojump_clock: trio.abc.Clock,
    monkeypatch: pytest.MonkeyPatch,
    ends_at: str,
) -> None:
    """Neither the next frame, nor what was gathered before it."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        _, bo = await shared(hub, home)
        peer, taken = known(home, identity(hub)), list[str]()
        assert peer is not None
        assert peer.link is not None
        following = peer.following
        head, entry = frames.Head(bo.id, b""), frames.Delivery(bo.id, 99, b"")

        async def grow(room: RoomId | None, entries: Sequence[Entry]) -> None:
            taken.extend("entry" for _ in entries)
            if entries and ends_at == "grow":
                following.line.down()

        async def take_one(frame: frames.PeerFrame) -> None:
            taken.append("head")

        def received() -> Iterator[frames.PeerFrame]:
            yield from (head, head, entry)
            if ends_at == "between":
                following.line.down()
            yield from (head, entry)
            if ends_at == "end":
                following.line.down()

        monkeypatch.setattr(following.copies, "grow", grow)
        monkeypatch.setattr(following, "_take_one", take_one)
        await following.take(peer.link, received())
        before = {"between": [], "grow": ["entry"], "end": ["entry", "head"]}[ends_at]
        assert taken == ["head", "head", *before]


async def test_a_hint_is_nothing_for_who_is_behind(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of members here: it is for the screen, and may be lost."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        _, bo = await shared(hub, home)
        peer, pushed = known(home, identity(hub)), list[bytes]()
        assert peer is not None
        assert peer.link is not None
        monkeypatch.setattr(Connection, "push_signal", lambda _, frame: pushed.append(frame))
        hint = frames.encode_frame(frames.Signalled(bo.id, NOBODY, 1, b"cell"))
        await peer.following.take(peer.link, [frames.LaneTell(0, hint)])
        assert pushed == [hint]
        monkeypatch.setattr(Connection, "is_behind", True)
        await peer.following.take(peer.link, [frames.LaneTell(0, hint)])
        assert pushed == [hint]
