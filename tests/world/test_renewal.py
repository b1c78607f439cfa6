"""Encryption keys that renew themselves (UPDATE_E): what a thief gets out of it, and what does not
break by it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from shutil import copyfile

import pytest
import trio

from ofcd.client import Alarm, MemberLeft, Room
from ofcd.client.admitting import AdmissionDesk
from ofcd.client.core import Core
from ofcd.client.ownkeys import load_pairs
from ofcd.client.vault import Vault
from ofcd.protocol.ids import PublicKey
from ofcd.protocol.limits import KEY_RENEWALS
from ofcd.protocol.records import Policy, RekeyBoxed, Role, UpdateKey
from ofcd.testing import World, open_world
from ofcd.themis.signed import peek
from tests.world.scene import (
    People,
    again,
    agree,
    everything,
    join,
    people,
    quick,
    rows,
    settle,
    told,
    until,
)
from tests.world.thief import opened_later, recording, stolen

HOUR = 3600.0
DAY = 24 * HOUR


def core_of(room: Room) -> Core:
    return room._client._core(room.id)


def key_of(room: Room) -> PublicKey:
    """The encryption key the others make this member's boxes for."""
    return core_of(room).state.members[room.me].enc_key


def renewals(world: World, room: Room) -> list[UpdateKey]:
    found = [peek(row.record).record for row in rows(world, room.id, room.me)]
    return [record for record in found if isinstance(record, UpdateKey)]


def sound(rooms: Iterable[Room]) -> None:
    """Everyone holds the key that the others know, and no other one."""
    for room in rooms:
        core = core_of(room)
        assert core.holds_own_key
        assert core.mine.others == ()
        assert core.identity.enc_public == key_of(room)


async def all_sleep(world: World, names: Iterable[str], seconds: float) -> None:
    """These people's clients stop, the relay too, which comes back after so long."""
    for name in names:
        await world.stop_client(name)
    await world.stop_relay()
    await trio.sleep(seconds)
    await world.start_relay()


async def pass_time(world: World, there: People, seconds: float) -> None:
    """Everybody goes, and comes back after so long."""
    await all_sleep(world, there, seconds)
    for name in list(there):
        there[name] = await again(world, name)
    await settle(there.values())


async def renewed(world: World, there: People) -> None:
    """A boxed rotation, and a day and more: everyone has renewed, and forgotten the old key."""
    before = {name: key_of(room) for name, room in there.items()}
    await next(iter(there.values())).rotate(boxed=True)
    await settle(there.values())
    await pass_time(world, there, DAY)
    await trio.sleep(1.5 * HOUR)
    assert all(key_of(room) != before[name] for name, room in there.items())


async def test_keys_renew_by_themselves_after_a_boxed_rotation(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Each once, a day after the last time, a reader too; nobody is told of it."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo", "cy")
        await there["ana"].grant(there["cy"].me, Role.READONLY)
        await there["ana"].rotate(boxed=True)
        await settle(there.values())
        await pass_time(world, there, DAY - HOUR)
        assert renewals(world, there["ana"]) == []
        with there["bo"].events() as events:
            await trio.sleep(2.5 * HOUR)
            sound(there.values())
            made = renewals(world, there["ana"])
            assert sorted(r.mid for r in made) == sorted(room.me for room in there.values())
            await there["bo"].send("hello")
            await settle(there.values())
            agree(there.values(), ["hello"])
            shown = [type(event).__name__ for event in told(events)]
            assert {"Alarm", "KeyMissing"}.isdisjoint(shown)
        logged = {type(event).__name__ for event in await everything(there["bo"])}
        assert logged == {
            "InviteOpened",
            "MemberJoined",
            "RoleChanged",
            "Rotated",
            "NameChanged",
            "RoomRenamed",
            "MessageReceived",
        }


async def test_renewals_bring_on_no_rotation_and_no_further_renewals(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """A room in which nobody speaks falls silent, though so few entries make a rotation due."""
    policy = Policy(rotate_after=3, boxed_every=2, beat_minutes=0)
    async with open_world(tmp_path, quick) as world:
        there = await people(world, *"abc", policy=policy)
        await there["a"].rotate(boxed=True)
        for _ in range(2):
            await pass_time(world, there, 2 * DAY)
            await trio.sleep(600)
        head, count = there["a"].head, len(renewals(world, there["a"]))
        assert count >= 3
        for _ in range(2):
            await pass_time(world, there, 2 * DAY)
            await trio.sleep(600)
        assert (there["a"].head, len(renewals(world, there["a"]))) == (head, count)


async def test_numbers_and_marks_that_people_compared_stay(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Nobody is to take a renewal for an attack: fingerprints and safety numbers are as before."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")

        def numbers() -> list[object]:
            ana, bo = there["ana"], there["bo"]
            prints = [member.fingerprint for member in ana.members()]
            return [ana.safety_number(bo.me), bo.safety_number(ana.me), prints]

        async with trio.open_nursery() as nursery:
            nursery.start_soon(there["ana"].compare, there["bo"].me, "a secret phrase")
            await trio.sleep(30)
            assert await there["bo"].compare(there["ana"].me, "a secret phrase")
        before = numbers()
        await renewed(world, there)
        assert numbers() == before
        for room in there.values():
            [other] = [member for member in room.members() if not member.is_me]
            assert other.verified is not None


async def test_a_thief_after_the_healing_opens_nothing_from_before(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """All traffic recorded; Bo's and Ana's keys stolen after they renewed: the past is closed.

    The control: stolen before, the same recording opens from the boxed rotation on.
    """
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo", "cy")
        ana, bo = there["ana"], there["bo"]
        await ana.rotate(boxed=True)
        await ana.send("to be kept")
        await settle(there.values())
        early = [stolen(ana), stolen(bo)]
        recorded = recording(world, ana, bo)
        words = b"to be kept"
        for mine, keys in early:
            assert any(words in body for body in opened_later(recorded, mine, keys, ana)), "control"
        await pass_time(world, there, DAY)
        await trio.sleep(1.5 * HOUR)
        ana, bo = there["ana"], there["bo"]
        for _ in range(3):
            await ana.rotate()
        await settle(there.values())
        sound(there.values())
        late = [stolen(ana), stolen(bo)]
        recorded = recording(world, ana, bo)
        for mine, keys in late:
            assert opened_later(recorded, mine, keys, ana) == []
        for (mine, _), (_, keys) in zip(early, late, strict=True):
            found = opened_later(recorded, mine, keys, ana)
            assert any(words in body for body in found), "it is the old key that opens it"


async def test_a_thief_of_old_keys_is_shut_out_by_the_next_boxed_rotation(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Healing: everything was copied once; after renewal and a boxed rotation it is of no use."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")
        ana, bo = there["ana"], there["bo"]
        mine, keys = stolen(bo)
        await ana.rotate(boxed=True)
        await ana.send("before")
        await pass_time(world, there, DAY)
        await trio.sleep(600)
        ana, bo = there["ana"], there["bo"]
        await ana.rotate(boxed=True)
        await ana.send("after")
        await settle(there.values())
        found = b"".join(opened_later(recording(world, ana, bo), mine, keys, ana))
        assert b"before" in found
        assert b"after" not in found


async def test_forgotten_keys_are_in_no_file_of_the_vault(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Not in the tables, and no bytes of what held them in the database or its log."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")
        path = tmp_path / "bo.vault"
        await there["ana"].rotate(boxed=True)
        await pass_time(world, there, DAY)
        vault, table = there["bo"]._client.vault, core_of(there["bo"]).tables.state
        sealed: list[bytes] = []
        with trio.fail_after(3 * DAY):
            while not (kept := load_pairs(vault, core_of(there["bo"]).tables)):  # noqa: ASYNC110
                await trio.sleep(20)
        query = "SELECT sealed FROM records WHERE tbl=? AND id=?"
        for pair in kept:
            row = vault._db.execute(query, (table, b"enc/" + pair.public)).fetchone()
            sealed.append(row[0])
        sealed += [
            row[0] for row in vault._db.execute("SELECT sealed FROM records WHERE tbl='rooms'")
        ]

        def files() -> bytes:
            return b"".join(p.read_bytes() for p in sorted(tmp_path.glob("bo.vault*")))

        assert all(blob[-32:] in files() for blob in sealed), "the control: that is how to look"
        await trio.sleep(3 * HOUR)
        sound(there.values())
        identity = core_of(there["bo"]).identity
        current = vault._db.execute("SELECT sealed FROM records WHERE tbl='rooms'").fetchone()[0]
        assert identity.enc_public == key_of(there["bo"])
        assert not any(blob[-32:] in files() for blob in sealed if blob != current)
        assert path.exists()


async def test_several_renew_at_once_and_all_converge(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Everybody chooses the same moment: one after another wins, with the pair it had made."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, *"abcdef")
        await there["a"].rotate(boxed=True)
        await pass_time(world, there, DAY - 60)
        for room in there.values():
            machine = room._client._connection(room.id).machine.rooms[room.id]
            machine._renewing._random = lambda: 0.5
            machine._renewing.link_lost()
        await trio.sleep(2 * HOUR)
        await settle(there.values())
        sound(there.values())
        made = renewals(world, there["a"])
        assert len(made) == len({r.mid for r in made}) == 6
        await there["a"].rotate(boxed=True)
        await there["b"].send("hello")
        await settle(there.values())
        agree(there.values(), ["hello"])


async def test_who_was_away_while_others_renewed_follows(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Boxed rotations by keys that it had not heard of, one after another, all open."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo", "cy")
        await world.stop_client("cy")
        awake = {name: there[name] for name in ("ana", "bo")}
        for _ in range(2):
            await renewed(world, awake)
            await awake["ana"].rotate(boxed=True)
            await awake["bo"].send("hello")
        there = {**awake, "cy": await again(world, "cy")}
        with there["cy"].events() as events:
            await settle(there.values())
            agree(there.values(), ["hello", "hello"])
            assert not [event for event in told(events) if isinstance(event, Alarm)]
        await trio.sleep(2 * HOUR)
        assert core_of(there["cy"]).state.members[there["cy"].me].has_renewed, "late, but at once"
        await there["ana"].rotate(boxed=True)
        await settle(there.values())
        agree(there.values())
        sound(there.values())


async def test_an_eviction_in_the_middle(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    """Cy is removed while he is about to renew; the others go on."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo", "cy")
        await there["ana"].rotate(boxed=True)
        await pass_time(world, there, DAY - 60)
        cy = there.pop("cy")
        await until(lambda: len(renewals(world, there["ana"])) > 0, HOUR)
        await there["ana"].evict(cy.me)
        await world.stop_client("cy")
        await pass_time(world, there, DAY)
        await trio.sleep(1.5 * HOUR)
        await settle(there.values())
        sound(there.values())
        assert len([e for e in await everything(there["bo"]) if isinstance(e, MemberLeft)]) == 1
        await there["bo"].send("hello")
        await settle(there.values())
        agree(there.values(), ["hello"])


async def test_a_join_asked_just_before_is_answered_just_after(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """The request is boxed for Ana's former key, held for a person, and answered with that."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")
        await there["ana"].rotate(boxed=True)
        await pass_time(world, there, DAY - 300)
        ana = there["ana"]
        ana.hold_joins()
        invite = await ana.invite(admitters=[ana.me])
        client = await world.client("cy")
        former = key_of(ana)
        with ana.events() as events:
            async with trio.open_nursery() as nursery:

                async def ask() -> None:
                    there["cy"] = await client.join(invite, name="cy")

                nursery.start_soon(ask)
                await until(lambda: ana.held_joins())
                await until(lambda: key_of(ana) != former, HOUR)
                await trio.sleep(3 * HOUR)
                assert core_of(ana).mine.others, "it is not forgotten while somebody waits"
                [asked] = ana.held_joins()
                assert ana.answer_join(asked.request, admit=True)
            assert not [event for event in told(events) if isinstance(event, Alarm)]
        await trio.sleep(2 * HOUR)
        await settle(there.values())
        agree(there.values())
        sound([ana])


async def test_a_vault_put_back_without_the_key_renews_it_and_reads_on(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """The backup is from before the renewal: others box for a key that it has not."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")
        there["bo"]._client.vault.backup(tmp_path / "backup")
        await renewed(world, there)
        lost = key_of(there["bo"])
        await world.stop_client("bo")
        await there["ana"].rotate(boxed=True)
        await there["ana"].send("not for who has no key")
        (tmp_path / "backup").replace(tmp_path / "bo.vault")
        there["bo"] = await again(world, "bo")
        await until(lambda: key_of(there["bo"]) != lost)
        await until(lambda: core_of(there["bo"]).state.epoch in core_of(there["bo"]).keys, HOUR)
        await there["ana"].send("welcome back")
        await trio.sleep(2 * HOUR)
        await settle(there.values())
        agree(there.values(), ["not for who has no key", "welcome back"])
        sound(there.values())


async def test_an_owner_put_back_without_its_key_boxes_nothing_with_the_old_one(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Ana's first act is to renew; then a rotation of hers opens for everybody."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")
        there["ana"]._client.vault.backup(tmp_path / "backup")
        await renewed(world, there)
        await there["ana"].rotate(boxed=True)
        await settle(there.values())
        await world.stop_client("ana")
        (tmp_path / "backup").replace(tmp_path / "ana.vault")
        there["ana"] = await again(world, "ana")
        with there["bo"].events() as events:
            await there["ana"].rotate(boxed=True)
            await settle(there.values())
            assert not [event for event in told(events) if isinstance(event, Alarm)]
        last = [peek(row.record).record for row in rows(world, there["bo"].id, there["bo"].me)]
        order = [type(r) for r in last if isinstance(r, UpdateKey | RekeyBoxed)]
        assert order[-2:] == [UpdateKey, RekeyBoxed]
        agree(there.values())


@pytest.mark.slow
@pytest.mark.parametrize("step", [8, 26])
async def test_killed_anywhere_while_it_renews(
    tmp_path: Path, autojump_clock: trio.abc.Clock, step: int
) -> None:
    """Bo dies some steps after he is started, overdue to renew: started again, all is sound."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")
        await there["ana"].rotate(boxed=True)
        await settle(there.values())
        await all_sleep(world, there, 3 * DAY)
        there["ana"] = await again(world, "ana")
        await again(world, "bo", die_after=step)
        died = await world.client_dies("bo", 600)
        if not died:
            await world.stop_client("bo")
        there["bo"] = await again(world, "bo")
        await trio.sleep(3 * HOUR)
        await there["ana"].rotate(boxed=True)
        await there["bo"].send("hello")
        await settle(there.values())
        agree(there.values(), ["hello"])
        sound(there.values())
        mine = [r for r in renewals(world, there["ana"]) if r.mid == there["bo"].me]
        assert len(mine) == 1, "once, whenever it died"


async def test_a_newcomer_renews_what_its_admission_was_boxed_by(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Its first key, and the admitter's, opened the box that the room key came by."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")
        await pass_time(world, there, 2 * DAY)
        await trio.sleep(600)
        done = {r.mid for r in renewals(world, there["ana"])}
        assert done == {there["ana"].me, there["bo"].me}
        there["cy"] = await join(world, there["ana"], "cy")
        await pass_time(world, there, 2 * DAY)
        await trio.sleep(1.5 * HOUR)
        counts = [r.mid for r in renewals(world, there["ana"])]
        assert sorted(map(counts.count, (room.me for room in there.values()))) == [1, 1, 2]
        sound(there.values())


def test_a_vault_scrubs_its_log(tmp_path: Path) -> None:
    """What is deleted with `scrub` is in no file at once; without, the log still has it."""
    with Vault.create(tmp_path / "v", b"k" * 32) as vault:
        for scrub in (False, True):
            with vault.transaction() as tx:
                tx.put("room/x", b"enc/1", b"a private key")
            [row] = vault._db.execute("SELECT sealed FROM records WHERE id=?", (b"enc/1",))
            with vault.transaction() as tx:
                tx.delete("room/x", b"enc/1")
                if scrub:
                    tx.scrub()
            there = b"".join(path.read_bytes() for path in tmp_path.iterdir())
            assert (row[0] in there) is not scrub


async def test_an_owner_at_its_limit_makes_a_boxed_rotation(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Put back three times, and it would be out of renewals: what it can box for is kept safe."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")
        there["ana"]._client.vault.backup(tmp_path / "backup")
        await renewed(world, there)
        before = there["bo"].epoch
        for _ in range(KEY_RENEWALS):
            await world.stop_client("ana")
            copyfile(tmp_path / "backup", tmp_path / "ana.vault")
            lost = key_of(there["bo"])
            there["ana"] = await again(world, "ana")
            while key_of(there["ana"]) == lost:  # noqa: ASYNC110 - no event tells of it
                await trio.sleep(0.1)
            await settle(there.values())
        await until(lambda: there["bo"].epoch > before, HOUR)
        core = core_of(there["ana"])
        await until(lambda: core.state.epoch in core.keys, HOUR)  # it makes one: nobody answers
        await there["ana"].send("still here")
        await settle(there.values())
        me = core_of(there["bo"]).state.members[there["ana"].me]
        assert me.renewals < KEY_RENEWALS
        assert core_of(there["ana"]).holds_own_key


async def test_a_relay_does_not_have_a_former_key_kept_for_ever(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """It says that somebody waits to be let in, and says so again and again: a week, no longer."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")
        await there["ana"].rotate(boxed=True)
        await pass_time(world, there, DAY)
        await until(lambda: core_of(there["ana"]).mine.others, HOUR)
        ana = there["ana"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(AdmissionDesk, "are_waiting", property(lambda _: True))
            await trio.sleep(2 * HOUR)
            assert core_of(ana).mine.others
            await pass_time(world, there, 6 * DAY)
            assert core_of(there["ana"]).mine.others
            await pass_time(world, there, DAY)
            await trio.sleep(120)
            assert core_of(there["ana"]).mine.others == ()


async def test_who_never_stays_long_forgets_too(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """A client that comes for seconds, again and again, as `ofc send` does: after a day."""
    async with open_world(tmp_path, quick) as world:
        there = await people(world, "ana", "bo")
        await there["ana"].rotate(boxed=True)
        await pass_time(world, there, DAY)
        await until(lambda: core_of(there["bo"]).mine.others, HOUR)
        await world.stop_client("bo")
        await trio.sleep(2 * HOUR)
        bo = await again(world, "bo")
        await settle([bo])
        assert core_of(bo).mine.others, "somebody may wait to be let in"
        await all_sleep(world, there, DAY)
        bo = await again(world, "bo")
        await settle([bo])
        await until(lambda: not core_of(bo).mine.others, 30)
