"""What members do in a room that is shared by three relays."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from ofcd.client import MemberInfo, NotAllowed, RelayRefused, Room, RoomStatus, SignalReceived
from ofcd.e2e.controls import make_leave
from ofcd.protocol import frames, limits
from ofcd.protocol.records import Role
from ofcd.testing import open_net
from tests.federation.double import federated, quickly, shared, shared_by_three
from tests.federation.test_hostile import copy_head
from tests.world.scene import agree, database, settle, stored, texts, told, until


async def test_members_of_three_relays_talk_rotate_evict_and_leave(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """By owners at home elsewhere too; all agree, and none of the three relays has seen a word."""
    async with open_net(tmp_path, "hub", "left", "right", change=quickly) as worlds:
        ana, bo, cai = await shared_by_three(*worlds)
        marker = "xyzzy plugh"
        await bo.send(f"{marker} one")
        await ana.grant(bo.me, Role.CO_OWNER)
        await settle([ana, bo, cai])
        await bo.rotate()
        await cai.send(f"{marker} two")
        await settle([ana, bo, cai])
        dan = await federated(worlds[0], worlds[2], "dan", bo)  # invited and admitted from afar
        await settle([ana, bo, cai, dan])
        await dan.send("here")
        await settle([ana, bo, cai, dan])
        await bo.evict(cai.me)
        await until(lambda: cai.status is RoomStatus.EVICTED)
        await settle([ana, bo, dan])
        await bo.send("without Cai")
        await settle([ana, bo, dan])
        assert "without Cai" not in texts(cai)
        await dan.leave()
        await settle([ana, bo])
        await until(lambda: ana.head == bo.head)
        assert [len(room.members()) for room in (ana, bo)] == [2, 2]
        # The last member at `right` is gone: it gets nothing more.
        head = copy_head(worlds[2], ana.id)[0]
        await ana.send("only two of us")
        await settle([ana, bo])
        agree([ana, bo])
        assert copy_head(worlds[2], ana.id)[0] == head < ana.head
        for world in worlds:
            assert marker.encode() not in database(world)


async def test_attachments_cross_relays_and_are_cached(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Sent from one follower, read through another twice: the second time without the hub."""
    async with open_net(tmp_path, "hub", "left", "right", change=quickly) as worlds:
        ana, bo, cai = await shared_by_three(*worlds)
        content = bytes(range(256)) * 3000
        source = tmp_path / "photo.png"
        source.write_bytes(content)
        await bo.send_file(source)
        await settle([ana, bo, cai])
        [message] = [m for m in cai.messages(since=0, limit=100) if m.file is not None]
        assert await cai.read_file(message) == content
        await worlds[0].stop_relay()
        assert await cai.read_file(message) == content


async def test_signals_go_to_all_relays_and_are_stored_by_none(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Typing at one follower is seen at the hub and at the other, once."""
    async with open_net(tmp_path, "hub", "left", "right", change=quickly) as worlds:
        ana, bo, cai = await shared_by_three(*worlds)
        dan = await federated(worlds[0], worlds[2], "dan", ana)
        await settle([ana, bo, cai, dan])
        heard = [room._client.events() for room in (ana, cai, dan)]
        heads = [copy_head(world, ana.id) for world in worlds]
        bo.typing()
        await trio.sleep(2)
        for stream in heard:
            seen = [event for event in told(stream) if isinstance(event, SignalReceived)]
            assert [event.mid for event in seen] == [bo.me]
        assert [copy_head(world, ana.id) for world in worlds] == heads


async def test_one_copy_goes_to_a_relay_however_many_members_it_has(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """The bytes on the link do not grow with the members behind it."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        ana, bo = await shared(hub, home)
        line = home.to_relays[hub.url]

        async def cost(rooms: list[Room]) -> int:
            await trio.sleep(60)
            before = line.carried
            for number in range(20):
                await ana.send(f"{number} {'x' * 200}")
            await settle(rooms)
            return line.carried - before

        one = await cost([ana, bo])
        others = [await federated(hub, home, name, ana) for name in ("cai", "dan", "eva", "fin")]
        await settle([ana, bo, *others])
        five = await cost([ana, bo, *others])
        assert five < 1.3 * one


async def test_a_member_may_not_do_from_afar_what_it_may_not_do_at_home(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """The same refusals as at the hub."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        ana, bo = await shared(hub, home)
        with pytest.raises((NotAllowed, RelayRefused)):
            await bo.evict(ana.me)
        with pytest.raises((NotAllowed, RelayRefused)):
            await bo.rotate()
        shown: list[MemberInfo] = ana.members()
        assert len(shown) == 2
        assert stored(home).replicas()[0].frozen == ""


async def test_two_who_join_at_once_are_both_let_in(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """They wait for the same copy to grow: each hears of it."""
    async with open_net(tmp_path, "hub", "home") as (hub, home):
        ana = await (await hub.client("ana")).create_room(hub.url, "tea", my_name="ana")
        codes = {name: await ana.invite() for name in ("bo", "cy", "dan")}
        began = trio.current_time()

        async def come(name: str) -> None:
            await (await home.client(name)).join(codes[name], name=name, via=home.url)

        async with trio.open_nursery() as nursery:
            for name in codes:
                nursery.start_soon(come, name)
        assert trio.current_time() - began < 50
        assert len(ana.members()) == 4


async def test_what_no_lane_can_carry_is_refused_here(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """A request as large as a frame may be: too large for the hub, and no fault of this relay's."""
    async with open_net(tmp_path, "hub", "home") as (hub, home):
        ana = await (await hub.client("ana")).create_room(hub.url, "tea", my_name="ana")
        bo = await (await home.client("bo")).join(await ana.invite(), name="bo", via=home.url)
        connection = bo._client._connection(bo.id)
        answers: list[frames.RelayFrame] = []
        core = bo._client._core(bo.id)
        leave = make_leave(core.state, core.mine, core.log.seen, bo._client.now())

        def ask(rid: int) -> frames.ClientFrame:
            bare = len(frames.encode_frame(frames.Control(rid, bo.id, leave.envelope, (b"",))))
            junk = bytes(limits.FRAME_BYTES - bare)
            return frames.Control(rid, bo.id, leave.envelope, (junk,))

        with bo._client.turn(connection) as turn:
            turn.ask(ask, lambda later, frame: answers.append(frame))
        await until(lambda: answers)
        assert isinstance(answers[0], frames.Failure)
        assert answers[0].code == "too_large"
        await bo.send("and all goes on")
        await settle([ana, bo])
        assert [p.state for p in stored(hub).peers()] == ["up"]
