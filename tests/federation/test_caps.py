"""What one other relay may cost at most: copies, control logs, attachments, entries a second."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from ofcd.client import JoinFailed, Room
from ofcd.daemon.peers import asking
from ofcd.testing import World, open_net
from tests.federation.double import federated, given, quickly, say, shared
from tests.federation.test_hostile import copy_head
from tests.federation.test_strangers import known
from tests.world.scene import agree, settle, stored, until


async def another(hub: World, ana: Room) -> Room:
    return await ana._client.create_room(hub.url, "coffee", my_name="ana")


async def test_no_more_rooms_of_one_relay_are_copied_than_are_set(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Who would join one more is told so, before the hub is asked; those there are go on."""
    async with open_net(tmp_path, "hub", "home", change=given(copies_per_peer=1)) as (hub, home):
        ana, bo = await shared(hub, home)
        coffee = await another(hub, ana)
        with pytest.raises(JoinFailed) as refused:
            await bo._client.join(await coffee.invite(), name="bo", via=home.url)
        assert refused.value.code == "quota"
        assert len(stored(home).replicas()) == 1
        cai = await federated(hub, home, "cai", ana)
        await bo.send("still here")
        await settle([ana, bo, cai])
        agree([ana, bo, cai], ["still here"])


async def test_a_copy_that_nobody_is_at_home_in_is_let_go(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """It counts no more, now and after a restart, and is kept up again when somebody comes back."""
    async with open_net(tmp_path, "hub", "home", change=given(copies_per_peer=1)) as (hub, home):
        ana, bo = await shared(hub, home)
        [hubs] = known(home).roster.peers.values()
        await bo.move_home(hub.url)
        await until(lambda: not hubs.following.wants_link)
        coffee = await another(hub, ana)
        cai = await federated(hub, home, "cai", coffee)
        await ana.send("without a copy")
        await settle([ana, bo])
        await home.restart_relay()
        await until(lambda: known(home).roster.peers)  # it has begun
        [hubs] = known(home).roster.peers.values()
        await until(lambda: set(hubs.following.rooms) == {coffee.id})
        await bo.move_home(home.url)
        await bo.send("back again")
        await settle([ana, bo])
        agree([ana, bo], ["without a copy", "back again"])
        assert copy_head(home, ana.id) == copy_head(hub, ana.id)
        await cai.send("all the while")
        await settle([coffee, cai])


async def test_a_control_log_without_end_is_not_read_to_its_end(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than any room's may be: no copy begins, and the other rooms of that hub go on."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        ana, bo = await shared(hub, home)
        coffee = await another(hub, ana)
        monkeypatch.setattr(asking, "_CHAIN_BYTES", 500)
        with trio.move_on_after(10), pytest.raises(JoinFailed):
            await bo._client.join(await coffee.invite(), name="bo", via=home.url)
        assert len(stored(home).replicas()) == 1
        await bo.send("still here")
        await settle([ana, bo])


async def test_a_room_is_taken_no_faster_than_is_set(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Much at once takes its time, is all there in the end, and holds up no other relay."""
    change = given(events_per_second_per_copy=5)
    async with open_net(tmp_path, "hub", "home", change=change) as (hub, home):
        ana, bo = await shared(hub, home)
        line = home.to_relays[hub.url]
        line.up = False
        home.cut_links()
        hub.cut_links()
        words = [f"word {number}" for number in range(60)]
        await say(ana, *words)
        await until(lambda: not ana.outbox())
        line.up = True
        [hubs] = known(home).roster.peers.values()
        await until(lambda: hubs.link is not None)
        began = trio.current_time()
        await until(lambda: copy_head(home, ana.id) == copy_head(hub, ana.id))
        assert trio.current_time() - began > 7  # sixty at five a second, twenty of them at once
        await settle([ana, bo])
        agree([ana, bo], words)


async def test_the_cache_of_attachments_is_bounded_for_all_rooms_together(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """What was not read for the longest time goes first; also of what was kept before a restart."""
    limit = 250 * 1024
    change = given(blob_cache_bytes_in_all=limit)
    async with open_net(tmp_path, "hub", "home", change=change) as (hub, home):
        ana, bo = await shared(hub, home)
        large = tmp_path / "large.png"
        large.write_bytes(bytes(range(256)) * 3000)
        await ana.send_file(large)
        for name in "abcd":
            source = tmp_path / f"{name}.png"
            source.write_bytes(name.encode() * 100_000)
            await ana.send_file(source)
        await settle([ana, bo])
        first, *small = [m for m in bo.messages(since=0, limit=100) if m.file is not None]

        def kept() -> list[str]:
            assert stored(home).cached_bytes() <= limit
            blobs = {one.blob for one in stored(home).cached_blobs(None, 99)}
            refs = [bo.attachment(message) for message in small]
            return [ref.name[0] for ref in refs if ref.blob_id in blobs]

        a, b, c, d = small
        for message in (a, b, a, c):
            assert len(await bo.read_file(message)) == 100_000
        assert kept() == ["a", "c"]
        assert await bo.read_file(first) == large.read_bytes(), "though it can not be kept"
        assert kept() == ["a", "c"]
        await home.restart_relay()
        assert len(await bo.read_file(a)) == 100_000
        assert len(await bo.read_file(d)) == 100_000
        assert kept() == ["a", "d"]
        assert stored(hub).cached_bytes() == 0


async def test_one_room_takes_no_more_of_the_cache_than_its_share(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """It makes space of its own; what other rooms have there stays."""
    change = given(blob_cache_bytes=150 * 1024)
    async with open_net(tmp_path, "hub", "home", change=change) as (hub, home):
        ana, bo = await shared(hub, home)
        coffee = await another(hub, ana)
        joined = await bo._client.join(await coffee.invite(), name="bo", via=home.url)
        rooms = [(ana, bo), (coffee, joined)]
        source = tmp_path / "a.png"
        source.write_bytes(bytes(100_000))
        for ana, bo in rooms:
            await ana.send_file(source)
            await settle([ana, bo])
            await bo.read_file(next(m for m in bo.messages() if m.file is not None))
        before = {one.blob for one in stored(home).cached_blobs(None, 9)}
        assert len(before) == 2
        ana, bo = rooms[1]
        await ana.send_file(source)
        await settle([ana, bo])
        await bo.read_file([m for m in bo.messages() if m.file is not None][-1])
        [one] = stored(home).cached_blobs(rooms[0][0].id, 9)
        [other] = stored(home).cached_blobs(ana.id, 9)
        assert one.blob in before
        assert other.blob not in before
