"""A move by force that is not root's, or that somebody does not want to hear of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve

from ofcd.client import Alarm, AlarmKind, EntriesVoided, Room, RoomStatus
from ofcd.client.moving import relocate
from ofcd.client.voiding import take_moves
from ofcd.daemon.peers.telling import Telling
from ofcd.e2e.controls import header_fields
from ofcd.protocol import frames
from ofcd.protocol.codes import Code, Refused
from ofcd.protocol.frames import Moved
from ofcd.protocol.ids import Hash32, RelayId
from ofcd.protocol.records import HubMove, Role, Seen
from ofcd.testing import World, open_net
from ofcd.themis.signed import SignedRecord, sign_record
from ofcd.wire import Closed
from tests.daemon.rawlink import open_raw
from tests.federation.double import (
    Double,
    dialling,
    federated,
    identity,
    local,
    part,
    quickly,
    shared,
)
from tests.federation.test_blame import attach, forged
from tests.federation.test_force import acquainted, force
from tests.federation.test_home import relay_of
from tests.federation.test_hostile import log_of
from tests.federation.test_lost import backup, put_back
from tests.federation.test_move import hub_of
from tests.world.scene import agree, settle, stored, told, until


def moving(room: Room, hub: RelayId, now: int, **changes: Any) -> HubMove:
    """HUB_MOVE by force, as this member would sign it behind all that it has seen."""
    core = room._client._core(room.id)
    fields = header_fields(core.state, core.mine, core.log.seen, now)
    made = HubMove(**fields, hub=hub, urls=("ws://x.test",), term=core.state.term + 1, force=True)
    return evolve(made, **changes)


def signed(room: Room, move: HubMove) -> SignedRecord:
    return sign_record(room._client._core(room.id).mine.sign.private, move)


async def flood(double: Double, frame: frames.PeerFrame) -> None:
    """More of it than false signatures are taken in a minute."""
    for _ in range(40):
        await double.send(frame)
        await trio.sleep(0.1)


async def test_nobody_but_root_moves_a_room_by_force(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Whoever tells it to the hub: nothing comes of it; who does so all the time is left."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        await ana.grant(bo.me, Role.CO_OWNER)
        await settle([ana, bo])
        core = ana._client._core(ana.id)
        by_bo = signed(bo, moving(bo, relay_of(new), new.now())).envelope
        as_ana = moving(ana, relay_of(new), new.now())
        other_log = moving(
            bo, relay_of(new), new.now(), seen=Seen(core.head.seq, Hash32(bytes(32)))
        )
        before = log_of(old, ana.id)
        lies: Sequence[tuple[bytes, ...]] = (
            (by_bo,),
            (signed(bo, as_ana).envelope,),
            (signed(bo, other_log).envelope,),
            (forged(as_ana),),
        )
        async with dialling(old) as double:
            for lie in lies:
                await double.send(Moved(ana.id, lie))
            await double.send(frames.Ping(1))
            await double.expect(frames.Pong)
            assert log_of(old, ana.id) == before
            assert stored(old).replicas() == []
            assert stored(old).evidence() == []
            with pytest.raises(Closed):
                await flood(double, Moved(ana.id, (forged(as_ana),)))
        await bo.send("nobody minds")
        await settle([ana, bo])
        agree([ana, bo], ["nobody minds"])
        assert hub_of(ana) == (relay_of(old), 0)


async def test_who_has_handed_a_room_over_can_not_take_that_back(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """By a move behind what stood there before: neither at the hub nor at a client."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        before = moving(ana, relay_of(new), new.now(), term=9)
        await ana.hand_over(bo.me)
        await settle([ana, bo])
        await bo.accept_handover()
        await until(lambda: ana._client._core(ana.id).state.root == bo.me)
        await bo.send("mine now")
        await settle([ana, bo])
        told_of = (signed(ana, before).envelope,)
        log = log_of(old, ana.id)
        async with dialling(old) as double:
            await double.send(Moved(ana.id, told_of))
            await double.send(frames.Ping(1))
            await double.expect(frames.Pong)
        assert log_of(old, ana.id) == log
        core = bo._client._core(bo.id)
        with bo._client._turn(bo._client._connection(bo.id)) as turn, pytest.raises(Refused):
            take_moves(turn, core, told_of)
        await settle([ana, bo])
        agree([ana, bo], ["mine now"])
        assert hub_of(bo) == (relay_of(old), 0)


async def test_the_new_hub_takes_it_only_from_root_and_only_at_its_end(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Each of these has its own answer; none changes anything."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        await ana.grant(bo.me, Role.CO_OWNER)
        await ana.send("something")
        await settle([ana, bo])
        core = ana._client._core(ana.id)
        end, hub = core.log.seen, relay_of(new)
        earlier = Seen(end.seq - 1, core.log.hash_at(end.seq - 1) or Hash32(bytes(32)))
        cases: list[tuple[Room, World, dict[str, Any], Code]] = [
            (bo, new, {}, Code.FORBIDDEN),
            (ana, old, {}, Code.WRONG_RELAY),
            (ana, new, {"hub": relay_of(old)}, Code.WRONG_RELAY),
            (ana, new, {"seen": earlier}, Code.SEEN_STALE),
            (ana, new, {"seen": Seen(end.seq + 1, end.log)}, Code.HUB_BEHIND),
            (ana, new, {"seen": Seen(end.seq, Hash32(bytes(32)))}, Code.FORK),
            (ana, new, {"term": 0}, Code.FORBIDDEN),
        ]
        for room, world, changes, code in cases:
            async with open_raw(world) as raw:
                await attach(raw, room._client._core(room.id), relay_of(world))
                move = evolve(moving(room, hub, world.now()), **changes)
                made = signed(room, move)
                await raw.send(frames.Control(raw.rid(), ana.id, made.envelope))
                [answer] = await raw.expect(frames.Failure)
                assert answer.code == code, (changes, answer)
        # What is not a move by force root says through its own relay alone.
        async with open_raw(new) as raw:
            await attach(raw, core, hub)
            plain = signed(ana, moving(ana, hub, new.now(), force=False))
            await raw.send(frames.Control(raw.rid(), ana.id, plain.envelope))
            [answer] = await raw.expect(frames.Failure)
            assert answer.code == Code.WRONG_RELAY
        await ana.send("nobody minds")
        await settle([ana, bo])
        assert hub_of(ana) == (relay_of(old), 0)


def deaf(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    """This relay does not hear of any move."""
    take = Telling.take

    async def heard(self: Telling, *told: Any) -> None:
        if self._own_id != identity(world).relay_id:
            await take(self, *told)

    monkeypatch.setattr(Telling, "take", heard)


async def test_a_hub_that_goes_on_in_the_old_term_keeps_nobody_who_has_heard(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own people go on there, and come over with all that they said, once they hear."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        dan = await local(old, ana, "dan")
        eve = await local(old, ana, "eve")
        await settle([ana, bo, dan, eve])
        deaf(monkeypatch, old)
        await force(ana, new)
        await ana.send("at the new hub")
        await dan.send("dan's, in the old term")
        await eve.send("eve's, in the old term")
        await settle([ana, bo])
        await settle([dan, eve])
        await dan.move_home(new.url)
        await settle([ana, bo, dan])
        agree([ana, bo, dan], ["at the new hub", "dan's, in the old term"])
        assert [m.text for m in dan.voided()] == ["eve's, in the old term"]
        # Whoever has heard, and is led back there, waits, and is not frozen.
        seen = dan.events()
        core = dan._client._core(dan.id)
        with dan._client._turn(dan._client._connection(dan.id)) as turn:
            relocate(turn, core, old.url, relay_of(old))
        await trio.sleep(600)
        assert (dan.status, dan.status_code) == (RoomStatus.WAITING, "fork")
        kinds = {event.kind for event in told(seen) if isinstance(event, Alarm)}
        assert AlarmKind.UNPROVEN in kinds
        await dan.move_home(new.url)
        await eve.move_home(new.url)
        await settle([ana, bo, dan, eve])
        everything = ["at the new hub", "dan's, in the old term", "eve's, in the old term"]
        agree([ana, bo, dan, eve], everything)
        assert dan.voided() == []


async def test_what_was_signed_over_what_is_void_freezes_nobody(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """A relay shows a member's word over another log than one's own: that log is void."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        dan = await local(old, ana, "dan")
        await settle([ana, bo, dan])
        await old.stop_client("ana")
        part(old, new)
        for number in range(6):
            await dan.send(f"void {number}")
        await settle([dan])
        records = [row.record for row in log_of(old, dan.id)[-2:]]
        await old.stop_relay()
        [ana] = (await old.client("ana")).rooms
        await force(ana, new)
        for number in range(8):
            await bo.send(f"{number}")
        await settle([ana, bo])
        assert new.daemon is not None
        seen = bo.events()
        feed = new.daemon.hub._feeds.get(bo.id)
        assert feed is not None
        shown = frames.Evidence(bo.id, "fork", key=identity(new).public, records=tuple(records))
        new.daemon.hub._effects.publish(feed, frames.encode_frame(shown))
        await trio.sleep(120)
        assert bo.status is RoomStatus.ACTIVE
        kinds = [event.kind for event in told(seen) if isinstance(event, Alarm)]
        assert kinds == [AlarmKind.UNPROVEN]
        await bo.send("on we go")
        await settle([ana, bo])


async def test_a_copy_that_is_shown_short_is_found_out_by_who_had_seen_more(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Root signs over what it is shown; what a member there had read is told to be void."""
    async with open_net(tmp_path, "old", "new", "third", change=quickly) as (old, new, third):
        ana, bo = await shared(old, new)
        cai = await federated(old, third, "cai", ana)
        await acquainted(new, third)
        await settle([ana, bo, cai])
        await old.stop_client("ana")
        backup(new, tmp_path / "short.db")
        await cai.send("which nobody shows to root")
        await settle([bo, cai])
        await third.stop_client("cai")
        await third.stop_relay()
        await old.stop_relay()
        await put_back(new, tmp_path / "short.db")
        await new.start_relay()
        [ana] = (await old.client("ana")).rooms
        seen = bo.events()
        await force(ana, new)
        await settle([ana, bo])
        [void] = [event for event in told(seen) if isinstance(event, EntriesVoided)]
        assert [message.text for message in void.messages] == ["which nobody shows to root"]
        assert [message.text for message in bo.voided()] == ["which nobody shows to root"]
        await third.start_relay()
        [cai] = (await third.client("cai")).rooms
        await settle([ana, bo, cai])
        agree([ana, bo, cai], ["which nobody shows to root"])
        await until(lambda: bo.voided() == [])
