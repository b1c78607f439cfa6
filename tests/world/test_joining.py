"""Ways into a room, and everything that can come between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import trio
from attrs import evolve

from ofcd.client import (
    Alarm,
    AlarmKind,
    Client,
    InviteCode,
    JoinFailed,
    JoinStage,
    Rotated,
)
from ofcd.client.admitting import AdmissionDesk
from ofcd.client.joins import JoinMachine
from ofcd.client.model import Tables, number_key
from ofcd.client.turn import Turn
from ofcd.e2e.keys import EpochKeys
from ofcd.protocol.frames import Failure
from ofcd.protocol.records import Admit, Cap, Policy, Role
from ofcd.relay.facts import Fact, JoinStored, LogAppended
from ofcd.relay.facts import JoinStage as RowStage
from ofcd.store import Store
from ofcd.testing import World, open_world
from ofcd.themis.signed import peek
from tests.world.scene import again, agree, everything, join, people, quick, settle, told, until
from tests.world.thief import followed, opened, recording

QUIET = Policy(rotate_hours=1000, beat_minutes=0)
"""Nothing happens by itself for days."""

HALF_A_DAY = 12 * 3600


async def test_a_join_waits_until_the_owner_is_there(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Asked while the only admitter is offline for half a day, bo is admitted when she is back."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana")
        code = await there["ana"].invite()
        await world.stop_client("ana")
        bo = await world.client("bo")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(come, bo, code)
            await trio.sleep(HALF_A_DAY)
            assert [join.stage for join in bo.pending_joins] == [JoinStage.ASKED]
            there["ana"] = await again(world, "ana")
        [there["bo"]] = bo.rooms
        await there["bo"].send("at last")
        await settle(there.values())
        agree(there.values(), ["at last"])


async def test_a_join_goes_on_after_the_joiner_was_restarted(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Stopped and started while it waits, bo's client goes on with the same request."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana")
        code = await there["ana"].invite()
        await world.stop_client("ana")
        bo = await world.client("bo")
        with trio.move_on_after(60):
            await bo.join(code, name="bo")
        for _ in range(10):
            await world.stop_client("bo")
            bo = await world.client("bo")
            await trio.sleep(60)
        there["ana"] = await again(world, "ana")
        await until(lambda: bo.rooms)
        [there["bo"]] = bo.rooms
        await settle(there.values())
        assert len(there["ana"].members()) == 2
        agree(there.values())


async def test_a_lost_answer_is_given_again_byte_for_byte(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Test 7: bo's line breaks again and again while it asks: one answer, one member, one token."""
    answers: set[bytes] = set()

    def watch(facts: Sequence[Fact]) -> None:
        for fact in facts:
            if isinstance(fact, JoinStored) and fact.row.response:
                answers.add(fact.row.response)

    watch_commits(monkeypatch, watch)
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana")
        code = await there["ana"].invite()
        bo = await world.client("bo")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(come, bo, code)
            while not answers:
                await trio.lowlevel.checkpoint()
            for _ in range(10):
                world.lines["bo"].cut_after(1500)
                await trio.sleep(30)
        await settle([there["ana"], bo.rooms[0]])
        assert len(answers) == 1
        assert len(there["ana"].members()) == 2
        assert there["ana"].invites() == []


@pytest.mark.parametrize("restarted", [False, True])
async def test_who_stops_after_the_answer_is_shut_out_after_a_day(
    tmp_path: Path,
    autojump_clock: trio.abc.Clock,
    monkeypatch: pytest.MonkeyPatch,
    restarted: bool,
) -> None:
    """Test 7: a joiner who got the key and never came: a day later its key is dead, with alarm."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")
        alarms = there["ana"]._client.events()
        code = await there["ana"].invite()
        cy = await world.client("cy")
        monkeypatch.setattr(JoinMachine, "_confirm", lambda self, turn: None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(come, cy, code)
            await until(lambda: [j.stage for j in cy.pending_joins] == [JoinStage.CONFIRMED])
            first = epoch = there["ana"].epoch
            key = cy.vault.get(Tables(code.room).joining, number_key(epoch, b"key/"))
            nursery.cancel_scope.cancel()
        await world.stop_client("cy")
        assert key is not None
        before = there["ana"].head
        if restarted:
            await world.stop_client("ana")
            there["ana"] = await again(world, "ana")
            alarms = there["ana"]._client.events()
        await there["bo"].send("this the stranger can read")
        await there["ana"].rotate()
        await there["bo"].send("and this it can read as well")
        epoch += 1
        await trio.sleep(23 * 3600)
        assert there["ana"].epoch == epoch
        await trio.sleep(2 * 3600)
        await settle(there.values())
        rotations = [e for e in await everything(there["bo"]) if isinstance(e, Rotated)]
        assert rotations[-1].boxed
        assert there["ana"].invites() == []
        assert AlarmKind.JOIN_ABANDONED in {e.kind for e in told(alarms) if isinstance(e, Alarm)}
        await there["bo"].send("this it can not")
        await settle(there.values())
        keys = EpochKeys(there["ana"]._client._core(code.room).identity.nonce, {first: key})
        later = [row for row in recording(world, there["ana"]) if row.seq > before]
        said = opened(later, followed(later, keys))
        assert len(said) == 2
        assert all(b"can read" in body for body in said)


def nothing_was_handed_over(told: Callable[..., None]) -> Callable[..., None]:
    """The admission desk, at a relay that says of every answer that another was faster."""

    def lying(desk: AdmissionDesk, turn: Turn, asked: object, answered: object, _: object) -> None:
        told(desk, turn, asked, answered, Failure(1, "invite_used", "another was faster"))

    return lying


async def test_a_relay_that_denies_an_answer_it_handed_over_keeps_nobody_in(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says that another admitter was faster, and gives the key to a stranger all the same: the
    key is renewed a day later. A joiner who does come is admitted as ever."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")
        monkeypatch.setattr(AdmissionDesk, "_told", nothing_was_handed_over(AdmissionDesk._told))
        there["dan"] = await join(world, there["ana"], "dan")
        assert there["ana"].epoch == 0
        code = await there["ana"].invite()
        cy = await world.client("cy")
        monkeypatch.setattr(JoinMachine, "_confirm", lambda self, turn: None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(come, cy, code)
            await until(lambda: [j.stage for j in cy.pending_joins] == [JoinStage.CONFIRMED])
            nursery.cancel_scope.cancel()
        await world.stop_client("cy")
        await there["ana"].rotate()
        await trio.sleep(25 * 3600)
        await settle(there.values())
        rotations = [e for e in await everything(there["bo"]) if isinstance(e, Rotated)]
        assert rotations[-1].boxed


async def test_who_was_answered_under_an_invite_that_another_came_in_by_is_shut_out(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ana has answered one bearer when the log says that another is in: the first has the key."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo", policy=QUIET)
        code = await there["ana"].invite()
        cy = await world.client("cy")
        monkeypatch.setattr(JoinMachine, "_confirm", lambda self, turn: None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(come, cy, code)
            await until(lambda: [j.stage for j in cy.pending_joins] == [JoinStage.CONFIRMED])
            nursery.cancel_scope.cancel()
        await world.stop_client("cy")
        client = there["ana"]._client
        chain = client._core(code.room).archive.chain(client.vault)
        admits = [r for _, raw in chain if isinstance(r := peek(raw).record, Admit)]
        with there["ana"]._change() as turn:
            of_another = evolve(admits[0], invite_id=code.invite_id)
            client._machine(code.room).admissions.control(turn, 0, of_another)
        await until(lambda: there["bo"].epoch == 1)
        [rotation] = [e for e in await everything(there["bo"]) if isinstance(e, Rotated)]
        assert rotation.boxed


async def test_a_key_owed_is_renewed_though_the_owner_was_stopped_before_it_could(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another owner closes what ana has answered, and ana's client is stopped: it renews later."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")
        await there["ana"].grant(there["bo"].me, Role.CO_OWNER)
        await settle(there.values())
        code = await there["ana"].invite()
        cy = await world.client("cy")
        with monkeypatch.context() as patch:
            patch.setattr(JoinMachine, "_confirm", lambda self, turn: None)
            patch.setattr(AdmissionDesk, "_shut_out", lambda self, turn, epoch: None)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(come, cy, code)
                await until(lambda: [j.stage for j in cy.pending_joins] == [JoinStage.CONFIRMED])
                nursery.cancel_scope.cancel()
            await world.stop_client("cy")
            await there["bo"].close_invite(code.invite_id)
            await until(lambda: not there["ana"].invites())
            assert there["ana"].epoch == 0
            await world.stop_client("ana")
        there["ana"] = await again(world, "ana")
        await until(lambda: there["bo"].epoch == 1)
        [rotation] = [e for e in await everything(there["bo"]) if isinstance(e, Rotated)]
        assert rotation.boxed
        await trio.sleep(600)
        assert there["ana"].epoch == 1, "it is owed once"


@pytest.mark.parametrize("closes", ["door", "bo", "nobody"])
async def test_a_key_given_by_a_doorkeeper_is_renewed_by_an_owner(
    tmp_path: Path,
    autojump_clock: trio.abc.Clock,
    monkeypatch: pytest.MonkeyPatch,
    closes: str,
) -> None:
    """Who may only admit can not renew the key: the log says that it is owed, and an owner does.

    It says so where the doorkeeper gives up after a day, where an owner closes the invite, and
    where the doorkeeper never comes back: a day after the invite is over."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "door", "bo", policy=QUIET)
        await there["ana"].grant(there["door"].me, Role.MEMBER, [Cap.ADMIT])
        await there["ana"].grant(there["bo"].me, Role.CO_OWNER)
        await settle(there.values())
        code = await there["door"].invite(expires_in=48 * 3_600_000)
        await world.stop_client("ana")
        await world.stop_client("bo")
        cy = await world.client("cy")
        monkeypatch.setattr(JoinMachine, "_confirm", lambda self, turn: None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(come, cy, code)
            await until(lambda: [j.stage for j in cy.pending_joins] == [JoinStage.CONFIRMED])
            nursery.cancel_scope.cancel()
        await world.stop_client("cy")
        if closes != "door":
            await world.stop_client("door")
            del there["door"]
        there["ana"], there["bo"] = await again(world, "ana"), await again(world, "bo")
        await settle(there.values())
        assert there["ana"].epoch == 0
        if closes == "bo":
            await there["bo"].close_invite(code.invite_id)
        await trio.sleep({"door": 25, "bo": 0, "nobody": 73}[closes] * 3600)
        await settle(there.values())
        agree(there.values())
        assert there["bo"].invites() == []
        [rotation] = [e for e in await everything(there["bo"]) if isinstance(e, Rotated)]
        assert rotation.boxed
        assert there["ana"].epoch == 1


async def test_a_doorkeeper_that_loses_its_right_leaves_no_key_behind(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Its invites are closed by that, and the key that it may have given is renewed."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "door")
        await there["ana"].grant(there["door"].me, Role.MEMBER, [Cap.ADMIT])
        await settle(there.values())
        await there["door"].invite(admitters=[there["door"].me])
        await settle(there.values())
        await there["ana"].grant(there["door"].me, Role.MEMBER)
        await until(lambda: there["door"].epoch == 1)
        assert there["ana"].invites() == []


async def test_two_bearers_of_one_invite(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    """Test 6: both ask at once; one is admitted, the other hears that the invite is used."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana")
        code = await there["ana"].invite()
        outcome: dict[str, object] = {}

        async def try_to_come(name: str) -> None:
            client = await world.client(name)
            try:
                outcome[name] = await client.join(code, name=name)
            except JoinFailed as failed:
                outcome[name] = failed.code

        async with trio.open_nursery() as nursery:
            nursery.start_soon(try_to_come, "bo")
            nursery.start_soon(try_to_come, "cy")
        codes = [value for value in outcome.values() if isinstance(value, str)]
        assert len(codes) == 1
        assert codes[0] in ("invite_used", "invite_unknown")
        assert len(there["ana"].members()) == 2


async def test_an_invite_that_is_over_lets_nobody_in(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Used, expired, or closed: a typed refusal each, and no member more."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana")
        used = await there["ana"].invite()
        short = await there["ana"].invite(expires_in=60_000)
        closed = await there["ana"].invite()
        bo = await world.client("bo")
        there["bo"] = await bo.join(used, name="bo")
        await there["ana"].close_invite(closed.invite_id)
        await trio.sleep(120)
        cy = await world.client("cy")
        for code in (used, short, closed):
            with pytest.raises(JoinFailed) as failed:
                await cy.join(code, name="cy")
            assert failed.value.code in ("invite_unknown", "invite_used")
        await settle(there.values())
        assert len(there["ana"].members()) == 2
        assert there["ana"].invites() == []
        assert cy.pending_joins == []
        assert cy.rooms == []


@pytest.mark.parametrize("stage", [RowStage.PENDING, RowStage.ANSWERED, RowStage.CONFIRMED])
@pytest.mark.parametrize("committed", [False, True])
async def test_a_relay_that_dies_amid_a_join_finishes_it_later(
    tmp_path: Path,
    autojump_clock: trio.abc.Clock,
    monkeypatch: pytest.MonkeyPatch,
    stage: RowStage,
    committed: bool,
) -> None:
    """Test 8: killed just before or after a step of the join is stored: one member in the end."""
    fuse: list[RowStage] = [stage]

    def strikes(facts: Sequence[Fact]) -> bool:
        hit = any(isinstance(f, JoinStored) and f.row.stage in fuse for f in facts)
        if hit:
            fuse.clear()
        return hit

    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana")
        kill_at_commit(world, monkeypatch, strikes, committed=committed)
        there["bo"] = await join(world, there["ana"], "bo")
        assert not fuse
        await there["bo"].send("made it")
        await settle(there.values())
        assert len(there["ana"].members()) == 2
        agree(there.values(), ["made it"])


@pytest.mark.parametrize("committed", [False, True])
async def test_a_relay_that_dies_at_the_admission_has_a_whole_member_or_none(
    tmp_path: Path,
    autojump_clock: trio.abc.Clock,
    monkeypatch: pytest.MonkeyPatch,
    committed: bool,
) -> None:
    """Test 8: killed between CONFIRM and ADMIT: finished after the restart, never half a member."""
    armed: list[bool] = [True]

    def strikes(facts: Sequence[Fact]) -> bool:
        hit = bool(armed) and any(
            isinstance(f, JoinStored) and f.row.stage is RowStage.ADMITTED for f in facts
        )
        if hit:
            assert any(isinstance(f, LogAppended) and f.control for f in facts), "one transaction"
            armed.clear()
        return hit

    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana")
        kill_at_commit(world, monkeypatch, strikes, committed=committed)
        there["bo"] = await join(world, there["ana"], "bo")
        assert not armed
        await there["bo"].send("made it")
        await settle(there.values())
        assert len(there["ana"].members()) == 2
        assert there["ana"].invites() == []
        agree(there.values(), ["made it"])


async def test_a_co_admitter_finishes_for_who_is_away(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """A doorkeeper listed in the invite lets bo in while its maker is offline."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "door")
        await there["ana"].grant(there["door"].me, Role.MEMBER, [Cap.ADMIT])
        await settle(there.values())
        code = await there["ana"].invite(admitters=[there["ana"].me, there["door"].me])
        await settle(there.values())
        await world.stop_client("ana")
        bo = await world.client("bo")
        there["bo"] = await bo.join(code, name="bo")
        await there["bo"].send("hello")
        there["ana"] = await again(world, "ana")
        await settle(there.values())
        agree(there.values(), ["hello"])


async def test_many_join_at_once(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    """Eight people with eight invites at the same moment: all are in, nobody waits for a race."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana")
        codes = {f"p{n}": await there["ana"].invite() for n in range(8)}

        async def enter(name: str) -> None:
            client = await world.client(name)
            there[name] = await client.join(codes[name], name=name)

        async with trio.open_nursery() as nursery:
            for name in codes:
                nursery.start_soon(enter, name)
        await settle(there.values())
        assert len(there["ana"].members()) == 9
        agree(there.values())


# -- what these tests do to the relay --------------------------------------------------------------


def watch_commits(monkeypatch: pytest.MonkeyPatch, watch: Callable[[Sequence[Fact]], None]) -> None:
    """Show every commit to `watch`, once it is done."""
    commit = Store.commit

    def watched(self: Store, facts: Sequence[Fact]) -> None:
        commit(self, facts)
        watch(facts)

    monkeypatch.setattr(Store, "commit", watched)


def kill_at_commit(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    strikes: Callable[[Sequence[Fact]], bool],
    *,
    committed: bool,
) -> None:
    """The relay dies at the commit that `strikes`, before or after it is done; then restarts."""
    commit = Store.commit

    def dying(self: Store, facts: Sequence[Fact]) -> None:
        if not strikes(facts):
            commit(self, facts)
            return
        if committed:
            commit(self, facts)
        world.kill_relay()

    monkeypatch.setattr(Store, "commit", dying)


async def come(client: Client, code: InviteCode) -> None:
    """`client.join`, for a nursery."""
    await client.join(code, name="somebody")
