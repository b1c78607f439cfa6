"""HUB_MOVE by force: the hub is gone for good, and the room goes on from a copy."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from ofcd.client import (
    Alarm,
    AlarmKind,
    EntriesVoided,
    MemberLeft,
    NotAllowed,
    Room,
)
from ofcd.protocol.records import Role
from ofcd.protocol.room import HubTerm
from ofcd.testing import World, open_net
from tests.federation.double import federated, local, part, quickly, say, shared
from tests.federation.test_home import relay_of
from tests.federation.test_hostile import log_of
from tests.federation.test_move import hub_of
from tests.world.scene import agree, settle, stored, texts, told


async def acquainted(one: World, other: World) -> None:
    """The two relays have another room together, and so a link."""
    await shared(one, other)


async def gone(old: World) -> None:
    """The hub is gone."""
    await old.stop_relay()


async def force(room: Room, world: World) -> None:
    """Move the room there, whatever is lost."""
    await room.force_hub(await room.survey_hub(world.url))


async def test_a_room_goes_on_without_its_hub(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Nothing is lost: the copy has all. Root and who was at home there go to the new hub."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        dan = await local(old, ana, "dan")
        await ana.send("before")
        await settle([ana, bo, dan])
        await old.stop_relay()
        await say(bo, "waits")
        found = await ana.survey_hub(new.url)
        assert (found.lost, found.changes) == ((), ())
        await ana.force_hub(found)
        assert ana.hub_id == relay_of(new)
        await ana.send("after")
        await dan.move_home(new.url)
        await dan.send("found it")
        await settle([ana, bo, dan])
        agree([ana, bo, dan], ["before", "waits", "after", "found it"])
        assert {hub_of(room) for room in (ana, bo, dan)} == {(relay_of(new), 1)}
        assert {m.home for m in ana._client._core(ana.id).state.members.values()} == {relay_of(new)}


async def test_what_a_copy_lacks_is_void_and_said_again(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """A third relay, and members, had seen more: all of them end with one log, nothing doubled."""
    async with open_net(tmp_path, "old", "new", "third", change=quickly) as (old, new, third):
        ana, bo = await shared(old, new)
        cai = await federated(old, third, "cai", ana)
        await acquainted(new, third)
        await ana.send("before")
        await settle([ana, bo, cai])
        part(old, new)
        await ana.send("ana's, which the copy lacks")
        await cai.send("cai's, which the copy lacks")
        await settle([ana, cai])
        seen = ana.events()
        shown = cai.events()
        await old.stop_relay()
        await say(bo, "bo waited")
        found = await ana.survey_hub(new.url)
        assert [m.text for m in found.lost] == [
            "ana's, which the copy lacks",
            "cai's, which the copy lacks",
        ]
        assert (found.own, found.changes) == (1, ())
        await ana.force_hub(found)
        await settle([ana, bo, cai])
        said = ["before", "ana's, which the copy lacks", "cai's, which the copy lacks", "bo waited"]
        agree([ana, bo, cai], said)
        assert {hub_of(room) for room in (ana, bo, cai)} == {(relay_of(new), 1)}
        assert log_of(new, ana.id) == log_of(third, ana.id)
        for stream in (seen, shown):
            [void] = [e for e in told(stream) if isinstance(e, EntriesVoided)]
            assert (len(void.messages), void.own, void.controls) == (2, 1, 0)
        assert ana.voided() == cai.voided() == []


async def test_the_hub_that_comes_back_steps_down(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """With a tail that nobody else has seen, an eviction among it; its members say theirs again."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        dan = await local(old, ana, "dan")
        eve = await local(old, ana, "eve")
        await ana.grant(dan.me, Role.CO_OWNER)
        await settle([ana, bo, dan, eve])
        await old.stop_client("ana")
        part(old, new)
        await dan.send("dan's, on the old hub alone")
        await dan.evict(eve.me)
        await dan.send("under a key that is void")
        await settle([dan])
        await old.stop_client("dan")
        await old.stop_relay()
        [ana] = (await old.client("ana")).rooms
        await force(ana, new)
        await ana.send("after")
        await settle([ana, bo])
        old.to_relays[new.url].up = new.to_relays[old.url].up = True
        await old.start_relay()
        [dan] = (await old.client("dan")).rooms
        seen = dan.events()
        await settle([ana, bo, dan])
        said = ["dan's, on the old hub alone", "under a key that is void", "after"]
        agree([ana, bo, dan], said)
        assert log_of(old, ana.id) == log_of(new, ana.id)
        alarms = [e.kind for e in told(seen) if isinstance(e, Alarm)]
        assert AlarmKind.EVICTION_VOID in alarms
        assert eve.me in {member.mid for member in dan.members()}
        await dan.evict(eve.me)
        await settle([ana, bo, dan])
        agree([ana, bo, dan], said)
        assert eve.me not in {member.mid for member in bo.members()}


async def test_root_does_not_undo_what_root_has_seen(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """An eviction that one copy lacks: refused there, with the reason; the other copy has it."""
    async with open_net(tmp_path, "old", "new", "third", change=quickly) as (old, new, third):
        ana, bo = await shared(old, new)
        cai = await federated(old, third, "cai", ana)
        eve = await local(old, ana, "eve")
        await acquainted(new, third)
        await settle([ana, bo, cai, eve])
        part(old, new)
        await ana.evict(eve.me)
        await settle([ana, cai])
        await old.stop_relay()
        found = await ana.survey_hub(new.url)
        assert [type(change) for change in found.changes] == [MemberLeft]
        with pytest.raises(NotAllowed, match="changes of the room") as refused:
            await ana.force_hub(found)
        assert refused.value.code == "copy_lacks"
        assert hub_of(ana)[1] == 0
        await force(ana, third)
        await ana.send("eve is out")
        await settle([ana, bo, cai])
        agree([ana, bo, cai], ["eve is out"])
        assert eve.me not in {member.mid for member in bo.members()}
        assert log_of(new, ana.id) == log_of(third, ana.id)


def vault_of(world: World, name: str) -> Path:
    return world.folder / f"{name}.vault"


async def test_of_two_moves_of_one_term_the_lower_id_counts(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Root's vault was put back to before the first move, which root made again, elsewhere."""
    async with open_net(tmp_path, "old", "new", "third", change=quickly) as (old, new, third):
        ana, bo = await shared(old, new)
        cai = await federated(old, third, "cai", ana)
        await acquainted(new, third)
        await ana.send("before")
        await settle([ana, bo, cai])
        await old.stop_relay()
        part(new, third)
        await old.stop_client("ana")
        kept = vault_of(old, "ana").read_bytes()
        [ana] = (await old.client("ana")).rooms
        await force(ana, new)
        await ana.send("at new")
        await bo.send("bo's, at new")
        await settle([ana, bo])
        await old.stop_client("ana")
        vault_of(old, "ana").write_bytes(kept)
        [ana] = (await old.client("ana")).rooms
        await force(ana, third)
        await ana.send("at third")
        await cai.send("cai's, at third")
        await settle([ana, cai])
        moves = {world: last_move(world, ana) for world in (new, third)}
        new.to_relays[third.url].up = third.to_relays[new.url].up = True
        winner = min((new, third), key=lambda world: moves[world].event_id)
        await settle([ana, bo, cai])
        assert {hub_of(room) for room in (ana, bo, cai)} == {(relay_of(winner), 1)}
        agree([ana, bo, cai])
        everybody = ["before", "bo's, at new", "cai's, at third", "at third"]
        assert set(everybody) <= set(texts(bo))
        assert len(texts(bo)) == len(set(texts(bo)))
        assert log_of(new, ana.id) == log_of(third, ana.id)
        for world in (new, third):
            assert [e.code for e in stored(world).evidence()] == ["two_moves"]


def last_move(world: World, room: Room) -> HubTerm:
    assert world.daemon is not None
    log = world.daemon.hub._relay.room(room.id)
    assert log is not None
    return log.state.moved[-1]
