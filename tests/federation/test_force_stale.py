"""A room that was moved by force, and came back: answers that are still of the copy of before."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from ofcd.daemon.peers.gaps import Gap, Leftovers
from ofcd.daemon.peers.skipping import Skipping
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import RelayId
from ofcd.relay import HubLied, Skip
from ofcd.testing import open_net
from tests.federation.double import local, part, quickly, rejoin, shared, shared_by_three
from tests.federation.test_force import force
from tests.federation.test_home import relay_of
from tests.federation.test_hostile import log_of
from tests.federation.test_strangers import known
from tests.world.scene import settle


async def test_a_copy_with_a_void_end_goes_on_where_the_room_came_back_to(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """It asks its old hub, and hub once more, for what comes after the void end, and steps back."""
    async with open_net(tmp_path, "old", "new", "third", change=quickly) as (old, new, third):
        ana, bo, cai = await shared_by_three(old, new, third)
        dan = await local(old, ana, "dan")
        await settle([ana, bo, cai, dan])
        part(old, new)
        await cai.send("void")
        await settle([ana, cai, dan])
        part(old, third)
        part(new, third)
        await old.stop_relay()
        await force(ana, new)
        await settle([ana, bo])
        await old.start_relay()
        rejoin(old, new)
        await settle([ana, bo, dan])
        await ana.move_hub(old.url)
        await settle([ana, bo, dan])
        rejoin(old, third)
        await trio.sleep(120)
        copy = known(third)._relay.room(ana.id)
        assert copy is not None
        assert copy.frozen == ""
        assert log_of(third, ana.id) == log_of(old, ana.id)
        await settle([ana, bo, cai, dan])
        assert cai.outbox() == []


@pytest.mark.parametrize("lied", [True, False])
async def test_a_stretch_of_the_copy_of_before_counts_no_more(
    tmp_path: Path,
    autojump_clock: trio.abc.Clock,
    monkeypatch: pytest.MonkeyPatch,
    lied: bool,
) -> None:
    """While it was fetched the room was moved: nobody is blamed, and no reader is hung up on."""
    gate = trio.Event()
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        await settle([ana, bo])
        following = known(new).roster.peers[relay_of(old)].following
        held = known(new)._relay.room(ana.id)
        assert held is not None

        async def of(*args: object) -> Skip:
            await gate.wait()
            if lied:
                raise HubLied(Code.FORK, "the hub no longer has the log that it gave before")
            return Skip(held.seq, held.seq + 2, held.log, (), held.log)

        monkeypatch.setattr(Leftovers, "of", of)
        gaps: list[str] = []
        monkeypatch.setattr(Skipping, "_went_on", lambda *args: gaps.append("went on"))
        copy = following.rooms[ana.id]
        gap = copy.missing = Gap(held.seq + 2, held.log, held.seq, following.copies.skipping.boxes)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(following.copies.skipping._skip, ana.id, copy, gap)
            await trio.testing.wait_all_tasks_blocked()
            following.release(ana.id)
            if lied:
                following.copies.adopt(ana.id)  # it is back
            else:
                held.ahead = RelayId(b"\x31" * 32)
            gate.set()
        assert (held.frozen, gaps) == ("", [])
        assert known(new).roster.peers[relay_of(old)].row.state == "up"


async def test_where_nobody_is_at_home_it_is_forgotten_how_far_the_hub_was(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy is kept up no more: nothing says later that it is not level."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        await settle([ana, bo])
        relay, following = known(new)._relay, known(new).roster.peers[relay_of(old)].following
        relay.hub_says(ana.id, 1000)
        monkeypatch.setattr(relay, "homed", lambda *args: frozenset())
        following.rooms[ana.id].following = False
        assert following.copies.let_go(ana.id)
        assert ana.id not in relay._core.hub_ends
