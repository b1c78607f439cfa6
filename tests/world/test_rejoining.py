"""Who was out comes back by a new invite, on the same vault: a new member with an old memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
from attrs import evolve

from ofcd.client import (
    Alarm,
    Client,
    HistoryGap,
    JoinFailed,
    JoinStage,
    NotAllowed,
    Room,
    RoomStatus,
    Stage,
)
from ofcd.client.joins import JoinMachine
from ofcd.config import Settings
from ofcd.protocol.records import Policy
from ofcd.testing import World, open_world
from tests.world.scene import People, again, agree, people, quick, settle, texts, told, until


async def evicted(world: World, there: People) -> Room:
    """bo is evicted while online."""
    await there["ana"].evict(there["bo"].me)
    await until(lambda: there["bo"].status is RoomStatus.EVICTED)
    return there["bo"]


async def evicted_while_away(world: World, there: People) -> Room:
    """bo is evicted while offline, and has not heard of it when it uses the new invite."""
    me = there["bo"].me
    await world.stop_client("bo")
    await there["ana"].evict(me)
    return await again(world, "bo")


async def left(world: World, there: People) -> Room:
    """bo leaves, and ana renews the key."""
    await there["bo"].leave()
    await until(lambda: there["ana"].epoch == 1)
    return there["bo"]


async def left_a_moment_ago(world: World, there: People) -> Room:
    """bo leaves, and is back before the key is renewed."""
    await world.stop_client("ana")
    await there["bo"].leave()
    there["ana"] = await again(world, "ana")
    return there["bo"]


WAYS_OUT: list[Callable[[World, People], Awaitable[Room]]] = [
    evicted,
    evicted_while_away,
    left,
    left_a_moment_ago,
]


@pytest.mark.parametrize("go", WAYS_OUT, ids=lambda go: go.__name__)
@pytest.mark.parametrize("restarted", [False, True])
async def test_who_was_out_comes_back_on_the_same_vault(
    tmp_path: Path,
    autojump_clock: trio.abc.Clock,
    go: Callable[[World, People], Awaitable[Room]],
    restarted: bool,
) -> None:
    """New keys, the past still there, nothing of the time between; the room is there once."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")
        mine = await there["bo"].send("before")
        await settle(there.values())
        former = there["bo"].me
        bo = await go(world, there)
        await there["ana"].send("while bo is out")
        await there["ana"].rotate(boxed=True)
        code = await there["ana"].invite()
        client = bo._client
        live = client.events()
        if restarted:
            await world.stop_client("ana")
            with trio.move_on_after(5):
                await client.join(code, name="bo")
            await world.stop_client("bo")
            there["ana"] = await again(world, "ana")
            client = await world.client("bo")
            live = client.events()
        there["bo"] = await client.join(code, name="bo")
        assert [room.id for room in client.rooms] == [code.room]
        assert there["bo"].status is RoomStatus.ACTIVE
        assert there["bo"].me != former
        assert not client.pending_joins
        await there["bo"].send("back")
        await settle(there.values())
        agree(there.values())
        assert texts(there["bo"]) == ["before", "back"]
        assert [message.mine for message in there["bo"].messages()] == [True, True]
        assert there["bo"].message(mine.event_id) is not None
        assert len(there["ana"].members()) == 2
        assert [e for e in told(live) if isinstance(e, HistoryGap)]
        await world.stop_client("bo")
        there["bo"] = await again(world, "bo")
        await there["ana"].send("and after a restart")
        await settle(there.values())
        agree(there.values())
        assert texts(there["bo"]) == ["before", "back", "and after a restart"]


async def test_who_is_out_stays_so_until_the_new_join_is_through(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answered but not admitted, bo's old room is as it was: readable, and no more."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")
        await there["bo"].send("before")
        await settle(there.values())
        former, bo = there["bo"].me, await evicted(world, there)
        client: Client = bo._client
        code = await there["ana"].invite()
        with monkeypatch.context() as patch:
            patch.setattr(JoinMachine, "_confirm", lambda self, turn: None)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: client.join(code, name="bo"))
                await until(lambda: [j.stage for j in client.pending_joins] == [STAGED])
                nursery.cancel_scope.cancel()
            await world.stop_client("bo")
            bo = await again(world, "bo")
            assert (bo.status, bo.me) == (RoomStatus.EVICTED, former)
            assert texts(bo) == ["before"]
            with pytest.raises(NotAllowed):
                await bo.send("not yet")
        await until(lambda: bo.status is RoomStatus.ACTIVE)
        await bo.send("now")
        await until(lambda: texts(there["ana"]) == ["before", "now"])


STAGED = JoinStage.CONFIRMED


async def test_what_waited_in_the_outbox_is_said_by_the_new_member_or_reported(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Never posted: it goes out after the return. Evicted with the client looking on: it failed."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")
        world.lines["bo"].up = False
        world.lines["bo"].cut()
        await trio.sleep(1)
        with there["bo"]._client.transaction() as tx:
            there["bo"].queue(tx, "queued offline")
        await there["ana"].evict(there["bo"].me)
        world.lines["bo"].up = True
        client = there["bo"]._client
        there["bo"] = await client.join(await there["ana"].invite(), name="bo")
        await settle(there.values())
        agree(there.values(), ["queued offline"])
        world.lines["bo"].hold()
        await there["ana"].evict(there["bo"].me)
        with client.transaction() as tx:
            there["bo"].queue(tx, "said too late")
        await trio.sleep(1)
        world.lines["bo"].release()
        await until(lambda: there["bo"].status is RoomStatus.EVICTED)
        [item] = there["bo"].outbox()
        assert (item.stage, item.code) == (Stage.FAILED, "evicted")
        assert "may have been sent" in item.text
        assert texts(there["ana"]) == ["queued offline"]


async def test_a_member_is_not_let_in_twice(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the room, `join` says so; also where the relay had only said that there is none."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")
        code = await there["ana"].invite()
        client = there["bo"]._client
        with pytest.raises(NotAllowed, match="already") as refused:
            await client.join(code, name="bo")
        assert refused.value.code == "already_member"
        machine = client._machine(code.room)
        with client._turn(client._connection(code.room)) as turn:
            machine.core.set_status(turn, RoomStatus.HIDDEN, "not_found")
        await world.stop_client("bo")
        client = await world.client("bo")
        monkeypatch.setattr(type(client), "_require_outside", nothing_to_say)
        with pytest.raises(JoinFailed) as failed:
            await client.join(code, name="bo")
        assert failed.value.code == "already_member"
        assert [i.invite_id for i in there["ana"].invites()] == [code.invite_id], "not spent"
        assert len(there["ana"].members()) == 2


async def nothing_to_say(*_: object) -> None:
    """As if the relay had shut this client out."""


async def test_who_comes_back_is_shown_the_past_it_knows_or_stays_out(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """A relay that shows a returning member another control log than before is found out."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")
        bo = await evicted(world, there)
        client = bo._client
        core = client._core(bo.id)
        with client.transaction() as tx:  # as if this had been another record when bo read it
            core.archive.add_control(tx, 1, next(core.archive.chain(client.vault))[1])
        with pytest.raises(JoinFailed, match="another past") as failed:
            await client.join(await there["ana"].invite(), name="bo")
        assert failed.value.code == "bad_chain"
        assert bo.status is RoomStatus.EVICTED


def forgetful(settings: Settings) -> Settings:
    """A relay that keeps the last three messages of a room."""
    return evolve(quick(settings), storage=evolve(settings.storage, max_events_per_room=3))


async def test_an_old_vault_goes_on_though_the_relay_has_forgotten_what_it_said_since(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """A backup is put back after retention took bo's later messages: bo speaks on, nothing twice.

    What the backup still had to send was sent since: it is reported, and not said again."""
    async with open_world(tmp_path, forgetful) as world:
        there = await people(world, "ana", "bo", policy=Policy(beat_minutes=0))
        await there["bo"].send("one")
        await settle(there.values())
        world.lines["bo"].up = False
        world.lines["bo"].cut()
        with there["bo"]._client.transaction() as tx:
            there["bo"].queue(tx, "two")
        there["bo"]._client.vault.backup(tmp_path / "backup")
        world.lines["bo"].up = True
        await there["bo"].send("three")
        for number in range(6):
            await there["ana"].send(f"ana {number}")
        await settle(there.values())
        await trio.sleep(200)
        await world.stop_client("bo")
        (tmp_path / "backup").replace(tmp_path / "bo.vault")
        alarms = there["ana"]._client.events()
        there["bo"] = await again(world, "bo")
        await there["bo"].wait_live()
        [item] = there["bo"].outbox()
        assert (item.stage, item.code) == (Stage.FAILED, "counter_gap")
        assert "put back" in item.text
        await there["bo"].send("four")
        await there["bo"].send("five")
        await settle(there.values())
        said = [text for text in texts(there["ana"]) if not text.startswith("ana")]
        assert said == ["one", "two", "three", "four", "five"]
        assert not [event for event in told(alarms) if isinstance(event, Alarm)]


async def test_an_answer_lost_to_retention_is_no_message_lost(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """bo's last words were taken, but not the answer; later they are forgotten: still said once."""
    async with open_world(tmp_path, forgetful) as world:
        there = await people(world, "ana", "bo", policy=Policy(beat_minutes=0))
        await there["bo"].send("one")
        await settle(there.values())
        world.lines["bo"].hold()
        with there["bo"]._client.transaction() as tx:
            there["bo"].queue(tx, "two")
        await until(lambda: texts(there["ana"])[-1] == "two")
        await world.stop_client("bo")
        world.lines["bo"].release()
        for number in range(6):
            await there["ana"].send(f"ana {number}")
        await trio.sleep(200)
        there["bo"] = await again(world, "bo")
        with there["bo"]._client.transaction() as tx:
            there["bo"].queue(tx, "three")
        await settle(there.values())
        assert there["bo"].outbox() == []
        said = [text for text in texts(there["ana"]) if not text.startswith("ana")]
        assert said == ["one", "two", "three"]
