"""What relays are told of moves by force: by liars, twice, too late, and when something breaks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import pytest
import trio
from attrs import evolve

from ofcd.client import Room, RoomStatus
from ofcd.daemon.peers.telling import Hearer, Telling
from ofcd.protocol import frames
from ofcd.protocol.codes import Code, Refused
from ofcd.protocol.frames import Moved
from ofcd.protocol.ids import EventId, Hash32, PublicKey, RelayId, RoomId, relay_id_of
from ofcd.protocol.limits import MIB
from ofcd.protocol.records import Role, Seen
from ofcd.relay import HubMoved, Retreat, RoomLog
from ofcd.relay.facts import Fact, LogCut, MovesKept, RoomSnapshot
from ofcd.store import DiskFull, Store
from ofcd.store.types import KeptMoves
from ofcd.testing import World, open_net
from ofcd.testing.world import Inline
from ofcd.themis.moves import Moves
from ofcd.themis.signed import SignedRecord
from tests.daemon.rawlink import open_raw
from tests.federation.double import (
    Double,
    dialling,
    federated,
    identity,
    local,
    part,
    quickly,
    rejoin,
    shared,
)
from tests.federation.test_blame import attach, forged
from tests.federation.test_force import force
from tests.federation.test_force_hostile import moving, signed
from tests.federation.test_home import relay_of
from tests.federation.test_hostile import log_of
from tests.federation.test_move import hub_of
from tests.federation.test_strangers import known
from tests.world.scene import agree, settle, stored, texts, until

T = TypeVar("T")
HUBS = [RelayId(bytes([n]) * 32) for n in (0x21, 0x22, 0x23)]


def line_of(room: Room, count: int, **changes: Any) -> list[SignedRecord]:
    """Moves by force, each behind the one before, of a log that nobody has seen yet."""
    end = room._client._core(room.id).log.seen
    made: list[SignedRecord] = []
    for number in range(count):
        seen = Seen(end.seq + 10 * (number + 1), Hash32(bytes([number]) * 32))
        after: EventId | None = made[-1].event_id if made else None
        fields = {"seen": seen, "term": number + 1, "after": after, **changes}
        move = moving(room, HUBS[number], room._client.now())
        made.append(signed(room, evolve(move, **fields)))
    return made


def told(room: Room, moves: Sequence[SignedRecord]) -> Moved:
    return Moved(room.id, tuple(one.envelope for one in moves))


async def heard(double: Double) -> None:
    """The other side has done with all that was sent."""
    number = double.rid()
    await double.send(frames.Ping(number))
    await double.expect(frames.Pong, lambda pong: pong.number == number)


def hub_at(world: World) -> RelayId:
    """Who orders the one copy here, as the store has it."""
    [copy] = stored(world).replicas()
    return copy.hub


async def test_an_older_list_does_not_lead_a_copy_back(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Two in one second, of which none stands in the copy yet; and so after a start."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        moves = line_of(ana, 3)
        before = log_of(new, ana.id)
        async with dialling(new) as double:
            await double.send(told(ana, moves[:2]), told(ana, moves[:1]), told(ana, moves[:2]))
            await heard(double)
            assert hub_at(new) == HUBS[1]
            await double.send(told(ana, moves), told(ana, moves[:2]))
            await heard(double)
            assert hub_at(new) == HUBS[2]
        await new.restart_relay()
        async with dialling(new) as double:
            await double.send(told(ana, moves[:2]), told(ana, moves))
            await heard(double)
        assert hub_at(new) == HUBS[2]
        assert log_of(new, bo.id) == before


async def test_one_that_counts_more_leads_a_copy_on(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Although another one was told before; both are there for one term."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, _ = await shared(old, new)
        rivals = [*line_of(ana, 1), *line_of(ana, 1, hub=HUBS[1])]
        less, more = sorted(rivals, key=lambda one: one.event_id, reverse=True)
        async with dialling(new) as double:
            for one in (less, more, less):
                await double.send(told(ana, [one]))
            await heard(double)
        assert hub_at(new) == getattr(more.record, "hub", None)


async def test_what_root_has_not_signed_costs_no_reading(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A move that would take a log back, by somebody else's key: nothing is loaded for it."""
    loads: list[int] = []
    load = Store.load_before

    def loading(self: Store, room: RoomId, end: int, log: Hash32) -> RoomSnapshot | None:
        loads.append(end)
        return load(self, room, end, log)

    monkeypatch.setattr(Store, "load_before", loading)
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        await ana.grant(bo.me, Role.CO_OWNER)
        await settle([ana, bo])
        move = moving(ana, relay_of(new), old.now())
        by_bo = signed(bo, moving(bo, relay_of(new), old.now()))
        await ana.send("behind it")
        await settle([ana, bo])
        before = log_of(old, ana.id)
        async with dialling(old) as double:
            for _ in range(15):
                await double.send(Moved(ana.id, (forged(move),)), told(ana, [by_bo]))
            await heard(double)
        assert (loads, log_of(old, ana.id)) == ([], before)
        async with dialling(old) as double:
            await double.send(told(ana, [signed(ana, move)]))
            await heard(double)
        assert set(loads) == {before[-1].seq - 1}


@pytest.mark.parametrize("lie", ["nothing", "no record", "out of order"])
async def test_what_no_log_can_hold_costs_who_tells_it(
    tmp_path: Path, autojump_clock: trio.abc.Clock, lie: str
) -> None:
    """At once, as any other frame that is none; and it changes nothing."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, _ = await shared(old, new)
        first, second = (one.envelope for one in line_of(ana, 2))
        records = {"nothing": (), "no record": (first, b"none"), "out of order": (second, first)}
        async with dialling(new) as double:
            await double.send(Moved(ana.id, records[lie]))
            await double.ended()
            liar = known(new).roster.peers[relay_id_of(PublicKey(double.keys.public))]
            assert liar.row.quarantined > new.now()
        assert hub_at(new) == relay_of(old)


async def test_two_that_do_not_agree_tell_each_other_once(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """However often the other one says what does not count here."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        less = signed(ana, moving(ana, HUBS[0], old.now(), term=0))
        keys = identity(old).keys
        await old.stop_relay()
        await force(ana, new)
        await settle([ana, bo])
        log = log_of(new, ana.id)
        async with dialling(new, keys) as double:
            for _ in range(5):
                await double.send(told(ana, [less]))
            await heard(double)
            answers = [frame for frame in double.seen if isinstance(frame, Moved)]
        assert len(answers) == 2, "as the link began, and in answer"
        assert log_of(new, ana.id) == log


class Gate(Inline):
    """Threads that do nothing until they may."""

    def __init__(self) -> None:
        self.open = trio.Event()

    async def run(self, work: Callable[[], T], limiter: trio.CapacityLimiter | None = None) -> T:
        await self.open.wait()
        return await super().run(work, limiter)


async def test_a_former_root_does_not_slip_in_before_a_handover_that_is_on_its_way(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """The copy has not taken it, and its hub is there: it has to come first."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        dan = await local(old, ana, "dan")
        await settle([ana, bo, dan])
        core = ana._client._core(ana.id)
        assert new.daemon is not None
        log = new.daemon.hub._relay._core.rooms[ana.id]
        move = moving(ana, relay_of(new), new.now(), term=5)
        gate = Gate()
        following = known(new).roster.peers[relay_of(old)].following
        following.copies._workers = gate
        await ana.hand_over(dan.me)
        await until(lambda: dan._client._core(dan.id).head.seq > log.seq)
        await trio.sleep(1)
        await dan.accept_handover()
        await until(lambda: core.state.root == dan.me)
        assert move.seen == Seen(log.seq, log.log), "the copy has nothing of it"
        async with open_raw(new) as raw:
            await attach(raw, core, relay_of(new))
            asked = signed(ana, move).envelope
            await raw.send(frames.Control(raw.rid(), ana.id, asked))
            [answer] = await raw.expect(frames.Failure)
            assert answer.code == Code.TRY_AGAIN
            gate.open.set()
            await until(lambda: log.state.root == dan.me)
            await raw.send(frames.Control(raw.rid(), ana.id, asked))
            [answer] = await raw.expect(frames.Failure)
            assert answer.code != Code.TRY_AGAIN
        await settle([ana, bo, dan])
        assert hub_of(bo) == (relay_of(old), 0)


@pytest.mark.parametrize("comes", [True, False])
async def test_nor_does_one_by_having_it_told(
    tmp_path: Path, autojump_clock: trio.abc.Clock, comes: bool
) -> None:
    """While the hub is there and has more, the HANDOVER perhaps, it is waited for; but once."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        dan = await local(old, ana, "dan")
        await settle([ana, bo, dan])
        log = known(new)._relay.room(ana.id)
        assert log is not None
        move = signed(ana, moving(ana, relay_of(new), new.now(), term=5))
        gate = Gate()
        known(new).roster.peers[relay_of(old)].following.copies._workers = gate
        await ana.hand_over(dan.me)
        await trio.sleep(1)
        await dan.accept_handover()
        await until(lambda: ana._client._core(ana.id).state.root == dan.me)
        async with dialling(new) as double:
            await double.send(told(ana, [move]))
            await heard(double)
            assert log.hub == relay_of(old)
            if comes:
                gate.open.set()
                await until(lambda: log.state.root == dan.me)
            await trio.sleep(15)
        assert log.hub == relay_of(old if comes else new)
        gate.open.set()


async def test_what_does_not_apply_takes_little_time_from_what_does(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Root has signed three that can not stand there: each had to be looked at."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        await settle([ana, bo])
        core = ana._client._core(ana.id)
        seen, ctl = core.log.seen, core.state.ctl
        await ana.send("void")
        await settle([ana, bo])
        wrong = [Hash32(bytes([number]) * 32) for number in range(3)]
        fields = [(number, EventId(prev)) for number, prev in enumerate([*wrong, ctl], start=1)]
        async with dialling(old) as double:
            for term, prev in fields:
                move = moving(ana, relay_of(new), old.now(), term=term, after=None)
                await double.send(told(ana, [signed(ana, evolve(move, seen=seen, prev=prev))]))
                await heard(double)
            held = known(old)._relay.room(ana.id)
            assert held is not None
            assert held.hub == relay_of(old)
            await trio.sleep(70)
            held = known(old)._relay.room(ana.id)
            assert held is not None
            assert (held.hub, held.state.term) == (relay_of(new), 4)


async def test_a_relay_whose_members_were_all_void_hears_it_where_it_asks(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Nobody who has taken the move knows that it has anything to do with the room."""
    async with open_net(tmp_path, "old", "new", "third", change=quickly) as (old, new, third):
        ana, bo = await shared(old, new)
        dan = await local(old, ana, "dan")
        await ana.grant(dan.me, Role.CO_OWNER)
        await settle([ana, bo, dan])
        await old.stop_client("ana")
        part(old, new)
        cai = await federated(old, third, "cai", dan)
        await cai.send("in what is void")
        await settle([dan, cai])
        await old.stop_relay()
        [ana] = (await old.client("ana")).rooms
        await force(ana, new)
        rejoin(old, new)
        await old.start_relay()
        await until(lambda: cai.status is RoomStatus.HIDDEN)
        assert texts(cai) == []
        assert [message.text for message in cai.voided()] == ["in what is void"]


@pytest.mark.parametrize("how", ["killed", "full"])
async def test_a_hub_that_breaks_off_as_it_steps_down_does_so_again(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Killed right behind the commit, before anything else came of it; or with a full disk."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        dan = await local(old, ana, "dan")
        await settle([ana, bo, dan])
        await old.stop_client("ana")
        part(old, new)
        await dan.send("on the old hub alone")
        await dan.send("and more")
        await settle([dan])
        await old.stop_relay()
        [ana] = (await old.client("ana")).rooms
        await force(ana, new)
        await ana.send("at the new hub")
        await settle([ana, bo])
        commit, broken = Store.commit, list[str]()

        def breaking(self: Store, facts: Sequence[Fact]) -> list[int]:
            is_cut = any(isinstance(fact, LogCut) for fact in facts)
            if not is_cut or broken:
                return commit(self, facts)
            broken.append(how)
            if how == "full":
                raise DiskFull("no space is left")
            done = commit(self, facts)
            old.kill_relay()
            return done

        monkeypatch.setattr(Store, "commit", breaking)
        old.to_relays[new.url].up = new.to_relays[old.url].up = True
        await old.start_relay()
        await settle([ana, bo, dan])
        assert broken == [how]
        agree([ana, bo, dan], ["on the old hub alone", "and more", "at the new hub"])
        assert log_of(old, ana.id) == log_of(new, ana.id)
        assert hub_at(old) == relay_of(new)


async def test_a_room_that_went_and_came_back_is_followed_on_at_the_same_relay(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Who was away has the old tail, and asks that relay to go on behind it: that is no fork."""
    async with open_net(tmp_path, "old", "new", "third", change=quickly) as (old, new, third):
        ana, bo = await shared(old, new)
        cai = await federated(old, third, "cai", ana)
        dan = await local(old, ana, "dan")
        await ana.send("before")
        await settle([ana, bo, cai, dan])
        part(old, new)
        for number in range(3):
            await cai.send(f"void at first {number}")
        await settle([ana, cai, dan])
        await old.stop_relay()
        await third.stop_client("cai")
        await third.stop_relay()
        await force(ana, new)
        for number in range(4):
            await bo.send(f"at the new hub {number}")
        await settle([ana, bo])
        old.to_relays[new.url].up = new.to_relays[old.url].up = True
        await old.start_relay()
        await until(lambda: log_of(old, ana.id) == log_of(new, ana.id))
        await ana.move_hub(old.url)
        await settle([ana, bo, dan])
        await third.start_relay()
        [cai] = (await third.client("cai")).rooms
        await until(lambda: cai.head == ana.head)
        assert log_of(third, ana.id) == log_of(old, ana.id) == log_of(new, ana.id)
        assert [copy.frozen for copy in stored(third).replicas()] == [""]
        assert hub_of(cai) == (relay_of(old), 2)
        # Cai's box of the epoch stayed at the new hub; root, who is at home there now, has the key.
        await settle([ana, bo, cai, dan])
        void = [f"void at first {number}" for number in range(3)]
        agree([ana, bo, cai, dan], ["before", *void, *(f"at the new hub {n}" for n in range(4))])


async def test_many_moves_do_not_hold_up_a_link(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fresh link has more to tell of than it holds at once: all of it comes, and the rest."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        await settle([ana, bo])
        records = tuple(
            one.envelope for one in line_of(ana, 3, urls=("wss://u.test/" + "u" * 180,) * 4)
        )
        telling, told_of = known(old)._telling, set[RoomId]()

        async def take(link: object, frame: Moved) -> None:
            told_of.add(frame.room)

        monkeypatch.setattr(known(new)._telling, "take", take)
        for number in range(1000):
            room = RoomId(number.to_bytes(32, "big"))
            telling._moves[room] = KeptMoves(room, 0, records)
            telling._hearers[room] = frozenset({relay_of(new)})
        assert 1000 * sum(map(len, records)) > 2 * MIB
        part(old, new)
        await ana.send("one")
        links = known(new).roster.peers[relay_of(old)].row.links
        rejoin(old, new)
        await settle([ana, bo])
        agree([ana, bo], ["one"])
        assert known(new).roster.peers[relay_of(old)].row.links == links + 1
        assert len(told_of) == 1000


async def test_root_has_a_log_cut_only_so_often(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each counts more than the one before, and the last one is taken in the end. No other room
    of the two relays, nor the link, suffers from it.
    """
    loads: list[int] = []
    load = Store.load_before

    def loading(self: Store, room: RoomId, end: int, log: Hash32) -> RoomSnapshot | None:
        if self is known(old).roster._store:
            loads.append(end)
        return load(self, room, end, log)

    monkeypatch.setattr(Store, "load_before", loading)
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        await settle([ana, bo])
        seen, ctl = ana._client._core(ana.id).log.seen, ana._client._core(ana.id).state.ctl
        await ana.send("void")
        await settle([ana, bo])
        links = known(old).roster.peers[relay_of(new)].row.links
        async with dialling(old) as double:
            for number in range(1, 21):
                move = moving(ana, relay_of(new), old.now(), term=2 * number, after=None)
                away = signed(ana, evolve(move, seen=seen, prev=ctl))
                at = Seen(seen.seq + 10, Hash32(bytes([number]) * 32))
                back = moving(ana, relay_of(old), old.now(), term=2 * number + 1, seen=at)
                made = [away, signed(ana, evolve(back, after=away.event_id))]
                await double.send(told(ana, made))
                await heard(double)
            assert len(loads) == 3
            await trio.sleep(70)
            assert len(loads) == 4
            core = known(old)._relay.room(ana.id)
            assert core is not None
            assert core.last_told is not None
            assert core.last_told.event_id == made[-1].event_id
        assert known(old).roster.peers[relay_of(new)].row.links == links


async def test_what_stands_in_the_log_is_not_read_for_on_each_link(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each link tells of each room that was ever moved; a room may have to come from the disk."""
    reads: list[RoomId] = []
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        await ana.move_hub(new.url)
        await settle([ana, bo])
        telling = known(old)._telling
        held, room_of = known(old)._relay.room(ana.id), telling._hub.room
        assert held is not None

        async def room(wanted: RoomId) -> RoomLog | None:
            reads.append(wanted)
            return await room_of(wanted)

        monkeypatch.setattr(telling, "_hub", SimpleNamespace(room=room))
        link = cast("Hearer", None)
        for _ in range(3):
            await telling.take(link, Moved(ana.id, held.moves))
        assert len(reads) <= 1


async def test_a_time_to_come_is_not_dialled_for_longer(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Root writes the time of a move."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, _ = await shared(old, new)
        telling, now = known(old)._telling, old.now()
        move = signed(ana, moving(ana, relay_of(old), now))
        telling._hearers[ana.id] = frozenset({HUBS[0]})
        telling._keep(KeptMoves(ana.id, 10 * now, (move.envelope,)))
        assert telling.to_dial() == {HUBS[0]}
        assert telling._moves[ana.id].ts <= old.now()
        telling._keep(KeptMoves(ana.id, now - 31 * 86_400_000, (move.envelope,)))
        assert telling.to_dial() == frozenset(), "it has been told for a month"
        telling._keep(KeptMoves(ana.id, now, (move.envelope,)))
        telling._hubs[ana.id] = HUBS[1]
        assert telling.to_dial() == frozenset(), "that is the hub's to tell"


async def test_what_is_heard_while_the_store_is_read_is_the_newer(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A room is moved on as the relay starts and loads what it knew of moves."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        await settle([ana, bo])
        one, two, _ = (signed.envelope for signed in line_of(ana, 3))
        telling = known(old)._telling
        newer, rows = KeptMoves(ana.id, 1, (one, two)), [KeptMoves(ana.id, 0, (one,))]
        rows[0] = evolve(rows[0], past=frozenset({HUBS[0]}))
        room_of = telling._hub.room

        async def room(wanted: RoomId) -> RoomLog | None:
            telling._keep(newer)
            telling._past[wanted], telling._hearers[wanted] = frozenset(), frozenset()
            return await room_of(wanted)

        monkeypatch.setattr(telling._hub, "room", room)
        monkeypatch.setattr(telling._store, "moves", lambda: rows)
        assert await telling.load() == (rows, True), "somebody more is told"
        assert await telling.load() == ([], True)
        assert telling._moves[ana.id] == newer
        assert telling._hearers[ana.id] == {relay_of(new), HUBS[0]}


async def test_a_room_that_grows_too_fast_for_a_move_is_tried_again_later(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy hub does not go on with its room until the next link for that."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        await settle([ana, bo])
        telling, busy = known(old)._telling, [True]
        prepare = telling._prepare

        async def prepared(*args: Any) -> Retreat:
            if busy[0]:
                raise Refused(Code.TRY_AGAIN)
            return await prepare(*args)

        monkeypatch.setattr(telling, "_prepare", prepared)
        async with dialling(old) as double:
            await double.send(told(ana, [signed(ana, moving(ana, relay_of(new), old.now()))]))
            await heard(double)
            busy[0] = False
            await trio.sleep(15)
        held = known(old)._relay.room(ana.id)
        assert held is not None
        assert held.hub == relay_of(new)


async def test_a_start_reads_no_room_to_know_whom_to_tell_of_its_move(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many were ever moved; but where the relay died before that was noted."""
    reads: list[RoomId] = []
    read_who = Telling._read_who

    async def reading(self: Telling, kept: KeptMoves) -> frozenset[RelayId] | None:
        reads.append(kept.room)
        return await read_who(self, kept)

    monkeypatch.setattr(Telling, "_read_who", reading)
    async with open_net(tmp_path, "old", "new", "third", change=quickly) as (old, new, third):
        ana, _ = await shared(old, new)
        cai = await federated(old, third, "cai", ana)
        await ana.move_hub(new.url)
        await settle([ana, cai])
        others = {ana.id: {relay_of(old), relay_of(third)}}
        await new.restart_relay()
        await until(lambda: known(new)._telling._hearers == others)
        assert reads == []
        with monkeypatch.context() as patch:
            patch.setattr(Store, "put_hearers", lambda *_: None)
            await ana.move_hub(third.url)
            await settle([ana, cai])
            await third.restart_relay()
        await until(
            lambda: known(third)._telling._hearers == {ana.id: {relay_of(old), relay_of(new)}}
        )
        assert reads == [ana.id]
        await third.restart_relay()
        await until(lambda: bool(known(third)._telling._hearers))
        assert reads == [ana.id], "noted now"


async def test_the_hub_of_a_time_that_is_void_goes_on_being_told(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Whoever comes to the room, wherever it goes, over a restart: it is in no log.

    Where members were at home before is another thing, however many there are of it.
    """
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, _ = await shared(old, new)
        telling, before = known(old)._telling, HUBS[0]
        move = signed(ana, moving(ana, relay_of(old), old.now()))
        moved = HubMoved(ana.id, 9, before, relay_of(old), (), old.now(), (move.envelope,))
        assert telling.heard(moved) == {before, relay_of(new)}
        telling.members_changed(ana.id)
        assert telling._hearers[ana.id] == {before, relay_of(new)}
        many = {RelayId(number.to_bytes(32, "big")) for number in range(65)}
        telling._hearers[ana.id] |= many
        telling.members_changed(ana.id)
        assert telling._hearers[ana.id] == {before, relay_of(new)}
        on = evolve(moved, before=HUBS[1])
        assert telling.heard(on) == {before, HUBS[1], relay_of(new)}


async def test_the_hub_before_is_told_although_the_relay_died_as_the_room_was_moved(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is told was not noted yet; who had the room was, in the commit of the move."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, _ = await shared(old, new)
        monkeypatch.setattr(Store, "put_hearers", lambda *_: None)
        stored(old).commit([MovesKept(ana.id, 1, (line_of(ana, 1)[0].envelope,), HUBS[1])])
        stored(old).commit([MovesKept(ana.id, 2, (line_of(ana, 1)[0].envelope,), HUBS[2])])
        stored(old).commit([MovesKept(ana.id, 2, (line_of(ana, 1)[0].envelope,), HUBS[2])])
        others = {ana.id: {relay_of(new), HUBS[1], HUBS[2]}}
        await old.restart_relay()
        await until(lambda: known(old)._telling._hearers == others)
        known(old)._telling._hearers[ana.id] = frozenset()
        known(old)._telling.members_changed(ana.id)
        assert known(old)._telling._hearers == others


async def test_root_does_not_fill_the_disk_with_hubs_that_it_makes_up(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Each move of a room says who had it before."""
    async with open_net(tmp_path, "old", change=quickly) as (old,):
        ana = await (await old.client("ana")).create_room(old.url, "tea", my_name="ana")
        ids = [RelayId(number.to_bytes(32, "big")) for number in range(70)]
        move = line_of(ana, 1)[0].envelope
        stored(old).commit([MovesKept(ana.id, 1, (move,), one) for one in ids])
        [kept] = stored(old).moves()
        assert kept.past == frozenset(ids[:64])
        telling = known(old)._telling
        for one in ids:
            telling.heard(HubMoved(ana.id, 9, one, relay_of(old), (), old.now(), (move,)))
        assert telling._past[ana.id] == kept.past


async def test_what_could_not_be_read_at_the_start_is_read_later(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of moves, and a room whose hearers were not noted; others wait for neither."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        with monkeypatch.context() as patch:
            patch.setattr(Store, "put_hearers", lambda *_: None)
            await ana.move_hub(new.url)
            await settle([ana, bo])
        await new.stop_relay()
        moves, read_who, failed = Store.moves, Telling._read_who, list[str]()

        def listing(self: Store) -> list[KeptMoves]:
            if "moves" not in failed:
                failed.append("moves")
                raise DiskFull("no space is left")
            return moves(self)

        async def reading(self: Telling, kept: KeptMoves) -> frozenset[RelayId] | None:
            if failed.count("room") < 2:
                failed.append("room")
                raise DiskFull("no space is left")
            return await read_who(self, kept)

        monkeypatch.setattr(Store, "moves", listing)
        monkeypatch.setattr(Telling, "_read_who", reading)
        await new.start_relay()
        await until(lambda: known(new)._telling._hearers == {ana.id: {relay_of(old)}}, 120)
        assert failed == ["moves", "room", "room"]


async def test_what_was_read_of_moves_is_not_read_again_for_others(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is tried ever more seldom. Who came to a room as its row was read is told, too."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, _ = await shared(old, new)
        telling, other, seen = known(old)._telling, RoomId(bytes(32)), list[RoomId]()
        move = line_of(ana, 1)[0].envelope
        rows = [KeptMoves(room, 0, (move,)) for room in (ana.id, other)]
        read_who, times = telling._read_who, list[float]()

        async def reading(kept: KeptMoves) -> frozenset[RelayId] | None:
            seen.append(kept.room)
            if kept.room == other:
                times.append(trio.current_time())
                raise DiskFull("no space is left")
            return await read_who(kept) and frozenset({HUBS[0]})

        monkeypatch.setattr(telling, "_read_who", reading)
        monkeypatch.setattr(telling._store, "moves", lambda: rows)
        with trio.move_on_after(3_600):
            await known(old)._recall_moves()
        assert seen.count(ana.id) == 1
        assert telling._hearers == {ana.id: {relay_of(new)}}
        waits = [round(then - before) for before, then in itertools.pairwise(times)]
        assert waits == [10, 20, 40, 80, 160, 320, 600, 600, 600, 600]


async def test_other_rooms_go_on_while_moves_are_loaded(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start with many rooms that were ever moved does not stand still for them."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, _ = await shared(old, new)
        move = signed(ana, moving(ana, relay_of(new), old.now())).envelope
        rooms = [RoomId(number.to_bytes(32, "big")) for number in range(200)]
        rows = [KeptMoves(room, 0, (move,), frozenset({HUBS[0]})) for room in rooms]
        federation = known(old)
        telling, seen = federation._telling, set[int]()
        monkeypatch.setattr(telling._store, "moves", lambda: rows)
        monkeypatch.setattr(Moves, "read", lambda *_: SimpleNamespace(hub=HUBS[0]))
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                while len(telling._moves) < len(rows):
                    seen.add(len(telling._moves))
                    await trio.lowlevel.checkpoint()

            nursery.start_soon(watch)
            await federation._recall_moves()
        assert len(seen) > 100
