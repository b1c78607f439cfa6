"""G1 and G2: what became of each message is known, whatever happens in the midst of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from attrs import evolve
from trio.testing import MockClock

from bridge.core import Kind, Outgoing, Portal, Receipt, State, journal
from bridge.core.settings import MetricsSettings
from bridge.email.network import EmailNetwork
from bridge.irc import IrcNetwork
from bridge.irc.settings import IrcPlace, IrcSettings
from ofcd.client import VaultUnwritable, Via
from ofcd.protocol.records import Cap
from tests.bridge.core.world import PLACE, Walls, open_scene, running

BOTH = Portal(room="books", network="paper", place=PLACE, hold=0.0)


async def test_what_may_be_there_twice_is_marked_and_counted(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The link died inside one send: it is handed over again as such, and the metric counts it."""
    async with open_scene(tmp_path) as scene:
        really = scene.network._deliver
        handed: list[bool] = []

        async def broken(one: Outgoing) -> Receipt:
            handed.append(one.again)
            if len(handed) == 1:
                return Receipt(one.number, State.QUEUED, doubtful=True)
            return await really(one)

        monkeypatch.setattr(scene.network, "_deliver", broken)
        sent = await scene.room.send("hello")
        await scene.room.send("another")
        await scene.quiet()
        assert handed[:2] == [False, True]
        assert handed[-1] is False
        passed = scene.engine.journal.passed(scene.bridge.vault, "paper", PLACE, sent.event_id)
        assert passed is not None
        assert (passed.state, passed.doubtful) == (State.CONFIRMED, True)
        page = scene.engine.metrics.render().decode()
        assert 'bridge_doubtful_total{network="paper"} 1.0' in page


async def test_what_was_being_sent_when_it_died_may_be_there(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """The next life hands it over as such; what it had not begun, it had not."""
    async with open_scene(tmp_path) as scene:
        scene.walls.seconds = 3600
        await scene.room.send("under way")
        await trio.sleep(5)
        await scene.room.send("behind it")
        await trio.sleep(5)
        world, ana, room, bridge = scene.world, scene.ana, scene.room, scene.bridge
        walls = Walls()
        states = {entry.text: entry.state for entry in scene.engine.journal.queue(bridge.vault)}
        assert states == {"under way": State.SENDING, "behind it": State.QUEUED}
        async with running(world, ana, room, bridge, walls):
            assert walls.lines() == ["Ana: under way", "Ana: behind it"]
            assert [one.again for one in walls.said] == [True, False]


async def test_an_edit_of_what_is_being_sent_is_told(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """It is too late to merge, and too early to be there."""
    async with open_scene(tmp_path) as scene:
        scene.walls.seconds = 5
        sent = await scene.room.send("teh words")
        await trio.sleep(2)
        await scene.room.edit(sent.event_id, "the words")
        await scene.quiet(10)
        told = [(one.kind, one.remote_ids) for one in scene.walls.said]
        assert told == [(Kind.MESSAGE, ()), (Kind.EDIT, ("out1",))]


async def test_what_waited_too_long_can_be_sent_again(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Its time begins anew with the wish."""
    async with open_scene(tmp_path) as scene:
        scene.walls.set_up(False)
        sent = await scene.room.send("hello")
        await trio.sleep(3600)
        scene.walls.set_up(True)
        await scene.room.send("!bridge resend", reply_to=sent.event_id)
        await scene.quiet()
        assert [one for one in scene.walls.lines() if one.startswith("Ana")] == ["Ana: hello"]


def test_both_ids_are_known_for_thirty_days_and_the_defaults_are_those_of_the_pages() -> None:
    assert journal._KEEP_MS >= 30 * 86_400_000
    assert (IrcNetwork.max_age, EmailNetwork.max_age) == (600, 86_400)
    portal = Portal(room="books", network="irc", place="#books")
    assert (portal.hold, portal.max_edits, portal.edits) == (3.0, 3, "diff")
    assert [portal.reactions, portal.presence, portal.topic] == [False, False, False]
    assert MetricsSettings().address == "127.0.0.1"
    irc = IrcSettings(name="irc", server="irc.example")
    assert (irc.burst, irc.line_seconds, irc.tls, irc.sasl) == (5, 2.0, True, "required")
    assert (IrcPlace().max_lines, IrcPlace().redactions, IrcPlace().mode) == (5, "off", "relay")


# -- G3 --------------------------------------------------------------------------------------------


async def test_what_has_been_through_too_many_is_not_carried_on(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_scene(tmp_path) as scene:
        for hops in (2, 3):
            await scene.room.send(f"hops {hops}", hops=hops)
        await scene.quiet()
        assert scene.walls.lines() == ["Ana: hops 2"]


async def test_what_another_bridge_brought_is_not_said_where_it_was_heard_meanwhile(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """It was quicker: when the line comes to this bridge too, the copy waits still."""
    async with open_scene(tmp_path, evolve(BOTH, hold=3.0)) as scene:
        other = await scene.world.client("other")
        room = await other.join(await scene.room.invite(caps={Cap.BRIDGE}), name="Other")
        await room.send("I am outside", via=Via("paper", "kim!x@y", "kim"))
        await room.send("I am elsewhere", via=Via("paper", "bo!x@y", "bo"))
        await trio.sleep(1)
        await scene.outside("I am outside")
        await scene.quiet()
        assert scene.walls.lines() == ["bo@paper: I am elsewhere"]


# -- G4 --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["nick-only", "withheld"])
async def test_what_was_said_under_a_reserve_stays_when_that_is_lifted(
    tmp_path: Path, autojump_clock: MockClock, how: str
) -> None:
    """Also while it waits: who lets all out from now on has not let out what they said before."""
    async with open_scene(tmp_path) as scene:
        await scene.room.send(f"!bridge me {how}")
        scene.walls.set_up(False)
        await scene.room.send("said before")
        await scene.room.send("!bridge me full")
        await scene.room.send("said after")
        await scene.quiet()
        scene.walls.set_up(True)
        await scene.quiet()
        before = ["Ana: "] if how == "nick-only" else []
        assert scene.walls.lines() == [*before, "Ana: said after"]


async def test_what_was_said_before_the_grant_stays(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_scene(tmp_path, caps=frozenset()) as scene:
        scene.walls.set_up(False)
        await scene.room.send("said before")
        await scene.quiet()
        me = next(one for one in scene.room.members() if one.name.startswith("Bridge"))
        await scene.room.grant(me.mid, me.role, {Cap.BRIDGE})
        await scene.room.send("said after")
        await scene.quiet()
        scene.walls.set_up(True)
        await scene.quiet()
        assert scene.walls.lines() == ["Ana: said after"]


async def test_who_is_evicted_reads_and_carries_nothing_more(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """The rotation with which a bridge goes revokes what it could do (G4)."""
    async with open_scene(tmp_path) as scene:
        await scene.room.send("before")
        await scene.quiet()
        me = next(one for one in scene.room.members() if one.name.startswith("Bridge"))
        await scene.room.evict(me.mid)
        await scene.room.send("after")
        await scene.quiet()
        assert scene.walls.lines() == ["Ana: before"]
        [theirs] = scene.bridge.rooms
        assert "after" not in [m.text for m in theirs.messages(since=0, limit=1000)]
        assert (await scene.outside("hello?")).value == "closed"


# -- backlogs --------------------------------------------------------------------------------------


async def test_while_the_relay_is_away_no_more_is_kept_than_the_portal_says(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """What is left out is told of when the room can hear it."""
    limits = evolve(BOTH, in_backlog=10, in_burst=1000, in_per_second=1000.0)
    async with open_scene(tmp_path, limits) as scene:
        await scene.world.stop_relay()
        said = [(await scene.outside(f"line {n}")).value for n in range(30)]
        assert (said.count("taken"), said.count("full")) == (10, 20)
        await scene.world.start_relay()
        await scene.quiet(60)
        assert scene.bridged() == [f"kim: line {n}" for n in range(10)]
        assert any("20 messages were left out" in one for one in scene.notices())


async def test_what_was_said_while_the_relay_was_away_is_as_old_as_it_is(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """It is told in one line, and not said hours later; what is said then, is."""
    async with open_scene(tmp_path, evolve(BOTH, max_age=600.0)) as scene:
        line = scene.world.lines["bridge"]
        for outage in (1, 2):
            before = len(scene.walls.lines())
            line.up = False
            line.cut()
            for number in range(20):
                await scene.room.send(f"outage {outage}, line {number}")
            await trio.sleep(7200)
            line.up = True
            await trio.sleep(1800)
            await scene.room.send("after it")
            await scene.quiet(20)
            said = scene.walls.lines()[before:]
            assert [one for one in said if one.startswith("Ana:")] == ["Ana: after it"]
            assert any("20 earlier messages" in one for one in said)


async def test_after_a_short_outage_a_members_clock_makes_no_message_old(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of what came meanwhile is older than the outage, whatever it says."""
    async with open_scene(tmp_path, BOTH) as scene:
        right = scene.ana._clock
        monkeypatch.setattr(scene.ana, "_clock", lambda: right() - 5 * 3_600_000)
        line = scene.world.lines["bridge"]
        line.up = False
        line.cut()
        await trio.sleep(20)
        await scene.room.send("from the past")
        line.up = True
        await scene.quiet(120)
        assert scene.walls.lines() == ["Ana: from the past"]


async def test_a_members_clock_makes_no_message_old(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is hours behind is heard; what was said before this life is as old as it says."""
    async with open_scene(tmp_path, evolve(BOTH, hold=3.0)) as scene:
        bo = await scene.world.client("bo")
        room = await bo.join(await scene.room.invite(), name="Bo")
        await scene.quiet()
        right = bo._clock
        monkeypatch.setattr(bo, "_clock", lambda: right() - 5 * 3_600_000)
        await room.send("from the past")
        await scene.quiet(20)
        assert scene.walls.lines() == ["Bo: from the past"]
        assert not scene.walls.said[0].late
        assert not any("Not delivered" in one for one in scene.notices())
        scene.walls.set_up(False)
        await room.send("waits")
        await trio.sleep(scene.network.max_age + 10)
        [why] = [one for one in scene.notices() if "Not delivered" in one]
        assert why.endswith("it waited too long (the wall is down)")


@pytest.mark.parametrize("ahead", [0, 5 * 3_600_000])
async def test_what_is_late_is_so_by_when_the_bridge_had_it(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    """Whatever its author's clock says; also where it waited for the bridge and not the place."""
    async with open_scene(tmp_path, BOTH) as scene:
        right = scene.ana._clock
        monkeypatch.setattr(scene.ana, "_clock", lambda: right() + ahead)
        with monkeypatch.context() as patch:

            def full(*_: object) -> None:
                raise VaultUnwritable("the disk is full")

            patch.setattr(scene.engine.outbound, "event", full)
            await scene.room.send("waits for the bridge")
            await trio.sleep(120)
        await scene.quiet(10)
        await scene.room.send("waits for nothing")
        await scene.quiet(10)
        assert [one.late for one in scene.walls.said] == [True, False]
