"""Relays that are put back to a backup of before a move: they hear of it, and lose nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from ofcd.client import RoomStatus
from ofcd.daemon.peers.copies import Copies
from ofcd.protocol import frames
from ofcd.testing import World, open_net
from tests.daemon.test_mistakes import mistakes
from tests.federation.double import federated, local, quickly, say, shared
from tests.federation.test_force import acquainted, force
from tests.federation.test_home import relay_of
from tests.federation.test_hostile import log_of
from tests.federation.test_lost import backup, put_back
from tests.federation.test_move import hub_of
from tests.world.scene import agree, settle, stored, texts, until


def rejoin(one: World, other: World) -> None:
    one.to_relays[other.url].up = other.to_relays[one.url].up = True


@pytest.mark.parametrize("signs", [True, False])
async def test_a_new_hub_that_was_put_back_to_before_a_forced_move(
    tmp_path: Path,
    autojump_clock: trio.abc.Clock,
    monkeypatch: pytest.MonkeyPatch,
    signs: bool,
) -> None:
    """Nobody but its follower knows that it is the hub, and what came up to there and since.

    It may have gone down before it signed how long the log was.
    """

    async def unheard(copies: Copies, head: frames.Head) -> None:
        pass

    if not signs:
        monkeypatch.setattr(Copies, "headed", unheard)
    async with open_net(tmp_path, "old", "new", "third", change=quickly) as (old, new, third):
        ana, bo = await shared(old, new)
        cai = await federated(old, third, "cai", ana)
        await acquainted(new, third)
        await ana.send("in the backup")
        await settle([ana, bo, cai])
        backup(new, tmp_path / "new.db")
        await ana.send("not in the backup")
        await settle([ana, bo, cai])
        await old.stop_relay()
        await force(ana, new)
        for room in (ana, bo, cai):
            await room.send("at the new hub")
        await settle([ana, bo, cai])
        before = log_of(new, ana.id)
        await put_back(new, tmp_path / "new.db")
        await new.start_relay()
        await until(lambda: log_of(new, ana.id)[: len(before)] == before)
        await new.stop_client("bo")
        [bo] = (await new.client("bo")).rooms
        await until(lambda: bo.status is RoomStatus.ACTIVE)
        await cai.send("and on")
        await bo.send("and on, too")
        await settle([bo, cai])
        agree([bo, cai])
        assert texts(bo)[-2:] == ["and on", "and on, too"]
        assert hub_of(bo) == (relay_of(new), 1)
        assert stored(new).replicas() == []
        await new.stop_relay()
        await new.start_relay()
        await bo.send("after one more start")
        await settle([bo, cai])
        agree([bo, cai])


async def put_back_alone(old: World, new: World, backup_file: Path) -> None:
    """The old hub is up again from its backup, and reaches nobody yet."""
    await put_back(old, backup_file)
    new.to_relays[old.url].up = old.to_relays[new.url].up = False
    await old.start_relay()


async def test_an_old_hub_that_was_put_back_to_before_a_move_steps_down(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """If it has ordered nothing meanwhile: nothing is void by a move that is not by force."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        dan = await local(old, ana, "dan")
        await settle([ana, bo, dan])
        await old.stop_client("dan")
        backup(old, tmp_path / "old.db")
        await ana.move_hub(new.url)
        await bo.send("at the new hub")
        await settle([ana, bo])
        await old.stop_client("ana")
        await put_back_alone(old, new, tmp_path / "old.db")
        rejoin(old, new)
        await until(lambda: log_of(old, ana.id) == log_of(new, ana.id))
        [dan] = (await old.client("dan")).rooms
        [ana] = (await old.client("ana")).rooms
        await dan.send("by way of the hub of before")
        await settle([ana, bo, dan])
        agree([ana, bo, dan], ["at the new hub", "by way of the hub of before"])
        assert {hub_of(room) for room in (ana, bo, dan)} == {(relay_of(new), 1)}
        assert log_of(old, ana.id) == log_of(new, ana.id)


@pytest.mark.parametrize("is_forced", [False, True], ids=["plain", "force"])
async def test_an_old_hub_that_was_put_back_to_well_before_a_move_follows(
    tmp_path: Path, autojump_clock: trio.abc.Clock, is_forced: bool
) -> None:
    """The HUB_MOVE is not its next entry. No mistake of its own ends the link, or the process."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        dan = await local(old, ana, "dan")
        await settle([ana, bo, dan])
        await old.stop_client("dan")
        backup(old, tmp_path / "old.db")
        await ana.send("not in the backup")
        await settle([ana, bo])
        if is_forced:
            await old.stop_relay()
            await force(ana, new)
        else:
            await ana.move_hub(new.url)
            await ana.move_home(new.url)
        await settle([ana, bo])
        await put_back_alone(old, new, tmp_path / "old.db")
        rejoin(old, new)
        await until(lambda: log_of(old, ana.id) == log_of(new, ana.id))
        [dan] = (await old.client("dan")).rooms
        await dan.send("by way of the hub of before")
        await settle([ana, bo, dan])
        agree([ana, bo, dan], ["not in the backup", "by way of the hub of before"])
        assert mistakes(old) == 0


async def test_a_hub_that_was_put_back_to_an_earlier_time_of_its_own_follows(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """The room went there, back, and there again: what it is told is where it was before, too."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        dan = await local(old, ana, "dan")
        await ana.move_hub(new.url)
        await settle([ana, bo, dan])
        await ana.move_hub(old.url)
        await settle([ana, bo, dan])
        await old.stop_client("dan")
        backup(old, tmp_path / "old.db")
        await ana.send("not in the backup")
        await ana.move_hub(new.url)
        await ana.move_home(new.url)
        await settle([ana, bo])
        await put_back_alone(old, new, tmp_path / "old.db")
        rejoin(old, new)
        [dan] = (await old.client("dan")).rooms
        await say(dan, "by way of the hub of before")
        await settle([ana, bo, dan])
        agree([ana, bo, dan], ["not in the backup", "by way of the hub of before"])
        assert log_of(old, ana.id) == log_of(new, ana.id)


async def test_an_old_hub_that_has_ordered_on_goes_on_until_root_moves_by_force(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """What it gave numbers to again is void only by that; it is said again."""
    async with open_net(tmp_path, "old", "new", "third", change=quickly) as (old, new, third):
        ana, bo = await shared(old, new)
        cai = await federated(old, third, "cai", ana)
        await acquainted(new, third)
        dan = await local(old, ana, "dan")
        await settle([ana, bo, cai, dan])
        await old.stop_client("dan")
        backup(old, tmp_path / "old.db")
        await ana.move_hub(new.url)
        await ana.move_home(new.url)
        await bo.send("at the new hub")
        await settle([ana, bo, cai])
        await put_back_alone(old, new, tmp_path / "old.db")
        third.to_relays[old.url].up = old.to_relays[third.url].up = False
        [dan] = (await old.client("dan")).rooms
        for number in range(3):
            await dan.send(f"to a hub that is none {number}")
        await settle([dan])
        before = log_of(old, ana.id)
        rejoin(old, new)
        await trio.sleep(60)
        assert log_of(old, ana.id) == before
        assert (stored(old).evidence(), stored(old).replicas()) == ([], [])
        await old.stop_relay()
        await force(ana, third)
        await settle([ana, bo, cai])
        rejoin(old, third)
        await old.start_relay()
        await settle([ana, bo, cai, dan])
        agree([ana, bo, cai, dan])
        assert texts(dan) == ["at the new hub", *(f"to a hub that is none {n}" for n in range(3))]
        assert {hub_of(room) for room in (ana, bo, cai, dan)} == {(relay_of(third), 2)}


async def test_a_new_hub_that_was_put_back_to_before_an_ordinary_move(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """The hub of before tells it, and gives back what it lost."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        await ana.send("in the backup")
        await settle([ana, bo])
        backup(new, tmp_path / "new.db")
        await ana.send("not in the backup")
        await ana.move_hub(new.url)
        await bo.send("at the new hub")
        await settle([ana, bo])
        before = log_of(new, ana.id)
        await put_back(new, tmp_path / "new.db")
        await new.start_relay()
        await until(lambda: log_of(new, ana.id)[: len(before)] == before)
        await new.stop_client("bo")
        [bo] = (await new.client("bo")).rooms
        await until(lambda: bo.status is RoomStatus.ACTIVE)
        await bo.send("and on")
        await settle([ana, bo])
        agree([ana, bo], ["in the backup", "not in the backup", "at the new hub", "and on"])
        assert hub_of(bo) == (relay_of(new), 1)
