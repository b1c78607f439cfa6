"""Relays that lie, to the right and to the left: each lie is found out, or does nothing.

A hostile hub here has the real hub's key: it is that hub, gone bad. It dials the follower, which
then follows its rooms on that link.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from attrs import evolve, field, frozen

from ofcd.client import Alarm, AlarmKind, Room, RoomFrozen, RoomStatus
from ofcd.config import Settings
from ofcd.e2e.keys import MemberKeys
from ofcd.protocol import frames, limits, records
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import EventId, Hash32, MemberId, PublicKey, RelayId, RoomId
from ofcd.store import LogRow
from ofcd.testing import World, open_net
from ofcd.themis import KeyPair, generate_keypair
from ofcd.themis.signed import peek, sign_record
from tests.federation.double import Double, dialling, identity, local, quickly, shared
from tests.world.scene import settle, stored, texts, told, until

NOBODY = MemberId(bytes(32))


def keys_of(room: Room) -> MemberKeys:
    return room._client._core(room.id).mine


def log_of(world: World, room: RoomId) -> list[LogRow]:
    page = stored(world).read_log(room, 0, mid=NOBODY, max_events=10_000, max_bytes=1 << 24)
    return list(page.rows)


def copy_head(world: World, room: RoomId) -> tuple[int, Hash32]:
    """The end of a relay's log of a room. It is looked at again and again: not by `load_room`."""
    store = stored(world)
    [seq] = [summary.seq for summary in store.rooms() if summary.room == room]
    log = store.log_before(room, seq + 1)
    assert log is not None
    return seq, log


@frozen
class Scene:
    """A hub that is gone, its key in our hands, and its follower."""

    hub: World
    home: World
    ana: Room
    bo: Room
    keys: KeyPair = field(repr=False)
    anas: MemberKeys = field(repr=False)
    rows: list[LogRow] = field(repr=False)
    """What the honest hub ordered after the copy's end: not yet delivered."""

    @property
    def room(self) -> RoomId:
        return self.ana.id

    def state(self) -> tuple[int, Hash32]:
        return copy_head(self.home, self.room)

    async def lying(self, double: Double) -> None:
        """Answer the follower's `Follow` as the hub."""
        asked = await double.expect(frames.Follow, lambda f: f.room == self.room)
        seq, log = self.state()
        assert (asked.start, asked.log) == (seq + 1, log)
        head = seq + len(self.rows)
        synced = frames.Synced(asked.rid, self.room, asked.start, 0, log, head)
        await double.send(synced)

    async def deliver(self, double: Double, *rows: LogRow) -> None:
        await double.send(
            *[frames.Delivery(self.room, row.seq, row.record, row.cell) for row in rows]
        )

    async def head(self, double: Double, seq: int, log: Hash32) -> None:
        head = records.LogHead(1, self.room, 0, seq, log, self.home.now())
        signed = sign_record(self.keys.private, head)
        await double.send(frames.Head(self.room, signed.envelope))

    def quarantined(self) -> str:
        [peer] = [p for p in stored(self.home).peers() if p.state == "quarantined"]
        return peer.detail


@asynccontextmanager
async def hub_gone_bad(tmp_path: Path) -> AsyncIterator[tuple[Scene, Double]]:
    """Bo's relay has the room up to some point; what Ana said after it, the liar may use."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        ana, bo = await shared(hub, home)
        cai = await local(hub, ana, "cai")
        await ana.send("known")
        await settle([ana, bo, cai])
        home.to_relays[hub.url].up = False
        home.cut_links()
        hub.cut_links()
        for number in range(3):
            await ana.send(f"ana {number}")
            await cai.send(f"cai {number}")
            await settle([ana, cai])  # each has seen what the other said before
        await trio.sleep(3)
        seq, _ = copy_head(home, ana.id)
        keys, anas = identity(hub).keys, keys_of(ana)
        rows = [row for row in log_of(hub, ana.id) if row.seq > seq]
        await hub.stop_client("ana")
        await hub.stop_client("cai")
        await hub.stop_relay()
        scene = Scene(hub, home, ana, bo, keys, anas, rows)
        async with dialling(home, keys) as double:
            yield scene, double


async def test_the_honest_log_is_taken_and_confirmed_after_the_commit(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """The control case: the same hands, no lie."""
    async with hub_gone_bad(tmp_path) as (scene, double):
        await scene.lying(double)
        await scene.deliver(double, *scene.rows)
        await double.expect(frames.Cursor, lambda c: c.seq == scene.rows[-1].seq)
        assert scene.state()[0] == scene.rows[-1].seq
        await until(lambda: "cai 2" in texts(scene.bo))


async def test_18_a_dropped_middle_event_is_missed_at_once(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """What follows is not taken, and asked for again, from the end of the copy on."""
    async with hub_gone_bad(tmp_path) as (scene, double):
        await scene.lying(double)
        await scene.deliver(double, scene.rows[0], *scene.rows[2:])
        # The first of them ended in one batch with a hole: nothing after the hole stands here.
        again = await double.expect(frames.Follow, lambda f: f.room == scene.room)
        assert again.start == scene.rows[1].seq
        assert scene.state()[0] == scene.rows[0].seq


async def test_18_a_drop_that_is_renumbered_shows_on_that_very_event(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """The next one's counter, or what it has seen, does not fit the hole."""
    async with hub_gone_bad(tmp_path) as (scene, double):
        await scene.lying(double)
        left = [scene.rows[0], *scene.rows[2:]]
        first = scene.rows[0].seq
        await scene.deliver(double, *[evolve(row, seq=first + n) for n, row in enumerate(left)])
        await until(lambda: stored(scene.home).evidence())
        assert scene.state()[0] == first
        assert stored(scene.home).evidence()[0].records


@pytest.mark.parametrize("how", ["swapped", "replayed"])
async def test_18_two_swapped_events_or_an_old_one_again_are_refused(
    tmp_path: Path, autojump_clock: trio.abc.Clock, how: str
) -> None:
    """Nothing of it stands in the copy; the evidence is kept, and nobody is shown it."""
    async with hub_gone_bad(tmp_path) as (scene, double):
        await scene.lying(double)
        one, two = scene.rows[0], scene.rows[1]
        if how == "swapped":
            await scene.deliver(double, evolve(two, seq=one.seq), evolve(one, seq=two.seq))
        else:
            await scene.deliver(double, one, evolve(one, seq=two.seq))
        await until(lambda: stored(scene.home).evidence())
        before = scene.rows[0].seq - 1
        assert scene.state()[0] == (before if how == "swapped" else before + 1)
        await trio.sleep(5)
        assert not {"cai 0"} & set(texts(scene.bo))
        assert stored(scene.home).evidence()


@pytest.mark.parametrize("how", ["signature", "cell", "author", "stranger"])
async def test_a_hub_can_not_make_a_follower_store_a_forged_event(
    tmp_path: Path, autojump_clock: trio.abc.Clock, how: str
) -> None:
    """Refused, kept as evidence, and the hub in quarantine with a reason an operator sees."""
    async with hub_gone_bad(tmp_path) as (scene, double):
        await scene.lying(double)
        row = scene.rows[0]
        if how == "signature":
            broken = bytearray(row.record)
            broken[-3] ^= 1
            row = evolve(row, record=bytes(broken))
        elif how == "cell":
            row = evolve(row, cell=row.cell[:-1] + bytes([row.cell[-1] ^ 1]))
        else:
            event = peek(row.record).record
            assert isinstance(event, records.Event)
            forger = generate_keypair()
            mid = scene.bo.me if how == "author" else MemberId(bytes(31) + b"\x01")
            forged = evolve(event, mid=mid, counter=event.counter)
            row = evolve(row, record=sign_record(forger.private, forged).envelope)
        await scene.deliver(double, row)
        last = await double.ended()
        assert last is not None
        assert scene.state()[0] == row.seq - 1
        assert stored(scene.home).evidence()
        await trio.sleep(11)
        assert scene.quarantined()
        async with dialling(scene.home, scene.keys) as again:
            assert again.refusal is not None
            assert again.refusal.code == Code.RATE_LIMITED


async def test_9_an_admission_the_relay_made_itself_changes_nothing(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Forged, or replayed from before: the follower refuses it, the members' list stays."""
    async with hub_gone_bad(tmp_path) as (scene, double):
        await scene.lying(double)
        seq, log = scene.state()
        chain = stored(scene.home).read_chain(scene.room, 0, 500).records
        signed = [peek(stood.record) for stood in chain]
        admit = next(one for one in signed if isinstance(one.record, records.Admit))
        before = scene.bo._client._core(scene.bo.id).state
        await scene.deliver(double, LogRow(seq + 1, admit.envelope))  # an old one again
        await double.ended()
        mine = generate_keypair()
        record = admit.record
        assert isinstance(record, records.Admit)
        forged = evolve(
            record,
            sign_key=PublicKey(mine.public),
            prev=before.ctl,
            seen=records.Seen(seq, log),
        )
        await trio.sleep(11 * 60)  # quarantine
        async with dialling(scene.home, scene.keys) as again:
            await scene.lying(again)
            envelope = sign_record(scene.keys.private, forged).envelope
            await scene.deliver(again, LogRow(seq + 1, envelope))
            await again.ended()
        assert scene.state() == (seq, log)
        assert scene.bo._client._core(scene.bo.id).state.members == before.members


async def test_17_and_29_a_hub_that_signs_two_logs_freezes_the_room_with_the_proof(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Its LOG_HEAD is not what it delivered: the room stands still, and clients are told."""
    async with hub_gone_bad(tmp_path) as (scene, double):
        heard = scene.bo._client.events()
        await scene.lying(double)
        await scene.deliver(double, *scene.rows)
        last = scene.rows[-1].seq
        await double.expect(frames.Cursor, lambda c: c.seq == last)
        await scene.head(double, last, scene.state()[1])
        await trio.sleep(1)
        await scene.head(double, last, Hash32(b"\x07" * 32))
        await until(lambda: scene.bo.status is RoomStatus.FROZEN)
        for number in range(5):  # more of the same is no more news
            await scene.head(double, last, Hash32(bytes([number]) * 32))
        await trio.sleep(5)
        alarms = [event for event in told(heard) if isinstance(event, Alarm)]
        assert [alarm.kind for alarm in alarms] == [AlarmKind.FORK]
        [kept] = stored(scene.home).evidence()
        heads = [peek(envelope).record for envelope in kept.records]
        assert [h.seq for h in heads if isinstance(h, records.LogHead)] == [last, last]
        assert len({h.log for h in heads if isinstance(h, records.LogHead)}) == 2
        assert stored(scene.home).replicas()[0].frozen == "fork"
        with pytest.raises(RoomFrozen):
            await scene.bo.send("into a split room")
        await scene.home.restart_relay()  # it stays so
        assert stored(scene.home).replicas()[0].frozen == "fork"


async def test_17_who_was_away_is_shown_the_proof_when_they_come(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Also after a restart of their relay, when the hub is gone for good."""
    async with hub_gone_bad(tmp_path) as (scene, double):
        await scene.lying(double)
        await scene.deliver(double, *scene.rows)
        last = scene.rows[-1].seq
        await double.expect(frames.Cursor, lambda c: c.seq == last)
        await until(lambda: scene.bo.head == last)
        await scene.home.stop_client("bo")
        await scene.head(double, last, scene.state()[1])
        await trio.sleep(1)
        await scene.head(double, last, Hash32(b"\x07" * 32))
        await until(lambda: stored(scene.home).replicas()[0].frozen == "fork")
        await scene.home.restart_relay()
        [bo] = (await scene.home.client("bo")).rooms
        await until(lambda: bo.status is RoomStatus.FROZEN)
        assert len(bo.evidence()) == 2


async def test_17_a_word_that_saw_another_log_freezes_the_room(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """A member who was shown another log says so in what it signs, without knowing."""
    async with hub_gone_bad(tmp_path) as (scene, double):
        await scene.lying(double)
        row = scene.rows[0]
        event = peek(row.record).record
        assert isinstance(event, records.Event)
        elsewhere = evolve(event, seen=records.Seen(event.seen.seq, Hash32(b"\x05" * 32)))
        envelope = sign_record(scene.anas.sign.private, elsewhere).envelope
        await scene.deliver(double, evolve(row, record=envelope))
        await until(lambda: scene.bo.status is RoomStatus.FROZEN)
        [kept] = stored(scene.home).evidence()
        assert envelope in kept.records
        assert scene.state()[0] == row.seq - 1


async def test_a_hub_that_no_longer_has_the_log_it_gave_is_caught_on_the_next_link(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """`fork` in answer to Follow: the room stands still, and members hear that nothing proves it.

    What they say is not taken, and waits, as the room does: no relay's word freezes it.
    """
    async with hub_gone_bad(tmp_path) as (scene, double):
        heard = scene.bo._client.events()
        asked = await double.expect(frames.Follow)
        await double.send(frames.Failure(asked.rid, Code.FORK.value, "another past", 3))
        await until(lambda: stored(scene.home).replicas()[0].frozen == "fork")
        with scene.bo._client.transaction() as tx:
            scene.bo.queue(tx, "does it go on?")
        await trio.sleep(600)
        alarms = [event.kind for event in told(heard) if isinstance(event, Alarm)]
        assert alarms == [AlarmKind.UNPROVEN]
        assert scene.bo.status is RoomStatus.WAITING
        assert len(scene.bo.outbox()) == 1


async def test_what_a_hub_sends_without_end_is_not_kept(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Boxes for one entry that never comes, and where it is in rooms that there are not."""
    async with hub_gone_bad(tmp_path) as (scene, double):
        await scene.lying(double)
        seq, _ = scene.state()
        for number in range(700):
            mid = MemberId(number.to_bytes(32, "big"))
            await double.send(
                frames.PeerBox(scene.room, seq + 1, mid, b"box"),
                frames.Cursor(RoomId(mid), number),
            )
        await double.send(frames.Ping(9))
        await double.expect(frames.Pong, lambda pong: pong.number == 9)
        federation = scene.home.daemon.federation if scene.home.daemon else None
        assert federation is not None
        [peer] = [peer for peer in federation.roster.peers.values() if peer.link is not None]
        assert peer.link is not None
        assert len(peer.following.rooms[scene.room].boxes[seq + 1]) == limits.ROOM_MEMBERS
        assert len(peer.link.acked) <= 1


async def test_a_box_beside_what_is_no_boxed_rekey_is_refused(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Nobody signed for it, so it is not stored."""
    async with hub_gone_bad(tmp_path) as (scene, double):
        await scene.lying(double)
        state = scene.bo._client._core(scene.bo.id).state
        seq, _ = scene.state()
        grant = records.Grant(
            v=1,
            room=scene.room,
            mid=scene.anas.mid,
            prev=state.ctl,
            seen=records.Seen(*scene.state()),
            ts=scene.home.now(),
            member=scene.bo.me,
            role=records.Role.READONLY,
        )
        envelope = sign_record(scene.anas.sign.private, grant).envelope
        await double.send(frames.PeerBox(scene.room, seq + 1, scene.bo.me, b"stray"))
        await scene.deliver(double, LogRow(seq + 1, envelope))
        await double.ended()
        assert scene.state()[0] == seq


# -- a hostile follower ----------------------------------------------------------------------------


async def test_29_who_has_no_member_here_follows_nothing(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Follow and lanes without proof: not_found, as for a room that is not there."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        ana, bo = await shared(hub, home)
        async with dialling(hub) as double:
            answers = [await double.follow(room, 0) for room in (ana.id, RoomId(b"\x09" * 32))]
            assert {getattr(a, "code", None) for a in answers} == {"not_found"}
            assert {getattr(a, "text", None) for a in answers} == {answers[0].text}  # type: ignore[union-attr]
            assert await double.enter(1, ana.id, bo.me) is not None  # at home elsewhere
            assert await double.enter(2, ana.id, ana.me) is not None
            assert not [f for f in double.seen if isinstance(f, frames.Delivery)]
        await ana.send("still well")
        await settle([ana, bo])


async def test_29_a_follower_can_not_speak_for_its_own_members_nor_for_others(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """It has Bo's relay's very key: what it makes up is refused, and it is cut off."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        ana, bo = await shared(hub, home)
        await settle([ana, bo])
        core, bos = ana._client._core(ana.id), bo.me
        keys = identity(home).keys
        await home.stop_client("bo")
        await home.stop_relay()
        before = ana.head
        async with dialling(hub, keys) as double:
            assert await double.enter(1, ana.id, bos) is None
            forger = generate_keypair()

            def event(mid: MemberId, counter: int) -> records.Event:
                return records.Event(
                    v=1,
                    room=ana.id,
                    epoch=core.state.epoch,
                    mid=mid,
                    counter=counter,
                    prev=EventId(bytes(32)),
                    seen=core.log.seen,
                    ctl=core.state.ctl,
                    kind=records.EventKind.MESSAGE,
                    sid=b"\x01" * 16,  # type: ignore[arg-type]
                    cell_hash=Hash32(bytes(32)),
                    ts=hub.now(),
                )

            for mid in (bos, ana.me):
                envelope = sign_record(forger.private, event(mid, 1)).envelope
                answer = await double.ask(1, frames.Post(double.rid(), ana.id, envelope, b"cell"))
                assert isinstance(answer, frames.Failure)
            leave = records.Leave(
                v=1,
                room=ana.id,
                mid=bos,
                prev=core.state.ctl,
                seen=core.log.seen,
                ts=hub.now(),
            )
            for number in range(30):
                envelope = sign_record(forger.private, evolve(leave, ts=number)).envelope
                asked = frames.Control(double.rid(), ana.id, envelope)
                await double.send(frames.LaneAsk(1, frames.encode_frame(asked)))
            last = await double.ended()
            assert last is not None
        await trio.sleep(11)
        [peer] = stored(hub).peers()
        assert (peer.state, "false signatures" in peer.detail) == ("quarantined", True)
        assert ana.head == before
        assert bos in ana._client._core(ana.id).state.members
        assert await said(ana, "undisturbed") > before


async def said(room: Room, words: str) -> int:
    return (await room.send(words)).seq


async def test_29_a_room_that_never_leaves_takes_nobody_from_elsewhere(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """By the room's own policy, checked by hub and members alike."""
    from ofcd.client import JoinFailed
    from ofcd.protocol.records import Policy

    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        client = await hub.client("ana")
        policy = Policy(local_only=True)
        ana = await client.create_room(hub.url, "tea", my_name="ana", policy=policy)
        bo = await home.client("bo")
        with pytest.raises(JoinFailed) as refused:
            await bo.join(await ana.invite(), name="bo", via=home.url)
        assert refused.value.code == "not_federated"
        cai = await local(hub, ana, "cai")
        await cai.send("at home")
        await settle([ana, cai])


async def test_a_relay_that_talks_to_nobody_says_so(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Off, allowlist and deny, by name of the relay and on the link."""
    from ofcd.client import JoinFailed

    def settings(name: str, given: Settings) -> Settings:
        federation = given.federation
        if name != "hub":
            federation = evolve(federation, mode="off" if name == "off" else "allowlist")
        return evolve(given, federation=federation)

    async with open_net(tmp_path, "hub", "off", "closed", change=settings) as (hub, off, closed):
        ana = await (await hub.client("ana")).create_room(hub.url, "tea", my_name="ana")
        for world in (off, closed):
            client = await world.client("bo")
            with pytest.raises(JoinFailed) as refused:
                await client.join(await ana.invite(), name="bo", via=world.url)
            assert refused.value.code == "not_federated"
        async with dialling(closed) as double:
            assert double.refusal is not None
            assert double.refusal.code == "not_federated"


async def test_a_relay_in_the_middle_is_not_talked_to(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """PEER for somebody else, of somebody else, or for another link: refused."""
    async with open_net(tmp_path, "hub") as (hub,):
        for changes, code in (
            ({"peer_id": RelayId(b"\x01" * 32)}, "wrong_relay"),
            ({"relay_id": RelayId(b"\x01" * 32)}, "wrong_relay"),
            ({"challenge": Hash32(bytes(32))}, "stale_challenge"),
        ):
            async with dialling(hub, introduce=False) as double:
                answer = await double.introduce(hub.now(), **changes)
                assert isinstance(answer, frames.Failure)
                assert answer.code == code


async def test_a_flood_costs_its_sender_and_nobody_else(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Two thousand requests are read at the rate that is set; a local room notices nothing."""
    async with open_net(tmp_path, "hub") as (hub,):
        ana = await (await hub.client("ana")).create_room(hub.url, "tea", my_name="ana")
        async with dialling(hub) as double:
            asks = [frames.Follow(double.rid(), ana.id, 0) for _ in range(2000)]

            async def flood() -> None:
                for start in range(0, len(asks), 200):
                    await double.send(*asks[start : start + 200])

            async with trio.open_nursery() as nursery:
                nursery.start_soon(flood)
                await trio.sleep(0.5)
                before = trio.current_time()
                await ana.send("not slower")
                assert trio.current_time() - before < 1
                await double.expect(frames.Failure, lambda f: f.rid == asks[-1].rid, seconds=600)
                nursery.cancel_scope.cancel()
            # 200 a second, twice that at once.
            assert trio.current_time() > (len(asks) - 400) / 200 * 0.9
