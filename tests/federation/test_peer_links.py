"""The link between two relays: that it lives, that it is one, and what is told of it."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import trio

from ofcd.client import JoinFailed
from ofcd.protocol import frames
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import Hash32
from ofcd.relay import Decision, HubLied
from ofcd.relay.facts import ReplicaMoved
from ofcd.store import DiskFull
from ofcd.testing import World, open_net
from tests.federation.double import dialling, given, identity, part, quickly, rejoin, say, shared
from tests.federation.test_finding import has_link, known, restarted
from tests.federation.test_hostile import hub_gone_bad
from tests.world.scene import settle, stored, until


async def test_a_relay_that_is_silent_is_left_and_one_that_is_idle_is_not(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Each asks now and then whether the other is there; a network that hangs tells nobody."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        await shared(hub, home)
        peer = known(home, identity(hub))
        assert peer is not None
        idle = peer.link
        assert idle is not None
        async with dialling(home) as double:
            asked = await double.expect(frames.Ping, seconds=60)
            await double.send(frames.Pong(asked.number))
            began = trio.current_time()
            await double.ended(seconds=300)
            assert 60 <= trio.current_time() - began <= 120
        assert peer.link is idle
        line = home.to_relays[hub.url]
        line.hold()
        await until(lambda: peer.link is not idle, 300)
        line.release()
        line.cut()
        assert await has_link(home, identity(hub))


async def test_of_two_links_one_stays_that_the_lower_id_dialled(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Both dial at the same moment, and neither takes down what the other holds to."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        theirs, ours = identity(hub), identity(home)
        await shared(hub, home)
        part(home, hub)
        part(hub, home)
        for world, other, there in ((hub, ours, home), (home, theirs, hub)):
            await restarted(world, peers=(f"{there.url[5:14]}!{other.relay_id.hex()} {there.url}",))
        await trio.sleep(60)  # long waits by now, which end at one moment
        rejoin(home, hub)
        rejoin(hub, home)
        for world, there, other in ((hub, home, ours), (home, hub, theirs)):
            world.to_relays[there.url].delay = lambda: 0.1
            peer = known(world, other)
            assert peer is not None
            peer.wake.set()
        await trio.sleep(10)
        sides = [known(home, theirs), known(hub, ours)]
        before = [side and side.link for side in sides]
        lower = ours.relay_id < theirs.relay_id
        assert [link and link.dialled for link in before] == [lower, not lower]
        await trio.sleep(900)
        assert [side and side.link for side in sides] == before


async def test_one_relay_follows_no_more_rooms_than_are_set(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """At the hub, which does not take another's word for how many it keeps."""
    async with open_net(tmp_path, "hub", "home", change=given(rooms_per_peer=1)) as (hub, home):
        ana, bo = await shared(hub, home)
        coffee = await ana._client.create_room(hub.url, "coffee", my_name="ana")
        with trio.move_on_after(60), pytest.raises(JoinFailed):
            await bo._client.join(await coffee.invite(), name="bo", via=home.url)
        peer = known(hub, identity(home))
        assert peer is not None
        assert peer.link is not None
        assert list(peer.link.followed) == [ana.id]
        await say(bo, "still here")
        await settle([ana, bo])


async def test_who_asks_does_not_have_a_relay_dialled_more_than_once_a_second(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Strangers ask for free, and name what is dialled."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        ana, _ = await shared(hub, home)
        strangers = [(await home.client(f"cai{n}"), await ana.invite()) for n in range(5)]
        part(home, hub)
        part(hub, home)
        dialled: list[float] = []
        dial = home._dial_peer

        def counting(url: str) -> object:
            dialled.append(trio.current_time())
            return dial(url)

        assert home.daemon is not None
        assert home.daemon.federation is not None
        monkeypatch.setattr(home.daemon.federation.linking, "_dial", counting)
        with trio.move_on_after(30):
            async with trio.open_nursery() as nursery:
                for client, invite in strangers:
                    nursery.start_soon(partial(client.join, invite, name="cai", via=home.url))
                    await trio.sleep(0.3)
        waits = [after - before for before, after in pairwise(dialled)]
        assert len(waits) > 3
        assert min(waits) >= 0.8  # a second, give or take a fifth


async def test_what_an_operator_watches_is_counted(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Links, rooms, lag and what waits, on both sides, in the metrics and in `ofcd peers`."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        ana, bo = await shared(hub, home)
        theirs, ours = identity(hub), identity(home)
        await trio.sleep(30)
        assert counts(hub) == {"links": 1, "followed": 1}
        assert counts(home) == {"links": 1, "copies": 1}
        assert detail(hub, ours) == "it follows 1 room of ours, 0 entries behind"
        assert detail(home, theirs) == "our copies of its rooms are 0 entries behind"

        home.to_relays[hub.url].hold()
        await say(ana, "one", "two", "three")
        await trio.sleep(30)
        assert counts(hub)["lag"] == 3
        assert detail(hub, ours) == "it follows 1 room of ours, 3 entries behind"

        part(home, hub)
        part(hub, home)
        home.to_relays[hub.url].cut()
        await trio.sleep(30)
        await say(bo, "four", "five")
        await trio.sleep(30)
        assert counts(home) == {"copies": 1, "outbox": 2}
        assert counts(hub) == {}

        assert hub.daemon is not None
        assert hub.daemon.federation is not None
        hub.daemon.federation.roster.quarantine(ours.relay_id, "it passes on false signatures")
        await trio.sleep(30)
        assert counts(hub) == {"quarantined": 1, "quarantines": 1}
        assert detail(hub, ours) == "it passes on false signatures"


def counts(world: World) -> dict[str, float]:
    """The metrics of other relays that are not nothing."""
    assert world.daemon is not None
    page = world.daemon.metrics.render().decode()
    rows = [line.split() for line in page.splitlines() if line.startswith("ofcd_peer_")]
    found = {name.removeprefix("ofcd_peer_").removesuffix("_total"): float(n) for name, n in rows}
    return {name: count for name, count in found.items() if count and "_created" not in name}


def detail(world: World, other: object) -> str:
    """What `ofcd peers` says of the other relay."""
    [row] = [one for one in stored(world).peers() if one.relay_id == other.relay_id]  # type: ignore[attr-defined]
    return row.detail


async def test_how_far_copies_are_behind_is_counted_by_what_their_hub_has_said(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """What it signs that it has and does not give, too; rooms that stand still are told apart."""
    async with hub_gone_bad(tmp_path) as (scene, double):
        home = scene.home
        await scene.lying(double)
        await scene.deliver(double, *scene.rows[:4])
        await double.expect(frames.Cursor, lambda c: c.seq == scene.rows[3].seq)
        shown = {"links": 1, "copies": 1, "copies_behind": 1}
        assert counts(home) == shown | {"copies_lag": 2}
        last = scene.rows[-1].seq
        await scene.head(double, last + 10, Hash32(b"\x07" * 32))
        await trio.sleep(30)
        assert counts(home) == shown | {"copies_lag": 12}
        assert "1 of our copies of its 1 room is 12 entries behind" in states(home)
        await scene.deliver(double, *scene.rows[4:])
        await double.expect(frames.Cursor, lambda c: c.seq == last)
        assert counts(home)["copies_lag"] == 10, "it says so still"
        await scene.head(double, last, Hash32(b"\x07" * 32))
        await until(lambda: stored(home).replicas()[0].frozen == "fork")
        assert counts(home) == {"links": 1, "copies": 1, "copies_frozen": 1}
        await home.restart_relay()
        assert counts(home)["copies_frozen"] == 1


async def test_a_copy_stands_still_once_that_is_stored_until_it_is_led_on(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk is full it is no such copy, and is caught again."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        _, bo = await shared(hub, home)
        assert home.daemon is not None
        work, relay = home.daemon.hub, home.daemon.hub._relay
        lied = HubLied(Code.FORK, "", (b"one", b"two"))

        def full(_: object) -> None:
            raise DiskFull("no space is left")

        async def freezes() -> None:
            await work.room(bo.id)
            await work.do(lambda: relay.freeze(bo.id, lied, None, home.now()), bo.id)

        with monkeypatch.context() as patch:
            patch.setattr(stored(home), "commit", full)
            with pytest.raises(DiskFull):
                await freezes()
        assert "copies_frozen" not in counts(home)
        await freezes()
        assert counts(home)["copies_frozen"] == 1
        led_on = Decision((ReplicaMoved(bo.id, identity(hub).relay_id),))
        await work.do(lambda: led_on, bo.id)
        assert "copies_frozen" not in counts(home)


def states(world: World) -> list[str]:
    """What `ofcd peers` says of each other relay."""
    return [row.detail for row in stored(world).peers()]
