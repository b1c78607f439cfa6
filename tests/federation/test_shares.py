"""What members of one relay share on the way to a hub: each has a part, and nobody all of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import trio
from attrs import evolve

from ofcd.client import Stage
from ofcd.daemon.peers.outgoing import Outgoing
from ofcd.e2e.genesis import make_genesis
from ofcd.e2e.keys import MemberKeys
from ofcd.protocol import frames
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import BlobId, EventId, Hash32, MemberId, RelayId, RoomId, Sid
from ofcd.protocol.records import Seen
from ofcd.relay import RoomLog
from ofcd.relay.facts import OutboxRow
from ofcd.testing import open_net
from ofcd.testing.line import Line
from ofcd.themis.signed import sign_record
from tests.daemon.rawlink import open_raw
from tests.federation.double import (
    dialling,
    given,
    identity,
    quickly,
    say,
    shared,
    shared_by_three,
)
from tests.federation.test_blame import attach, event_of
from tests.federation.test_strangers import known
from tests.world.scene import agree, settle, stored, until


async def test_what_claims_to_have_seen_more_than_the_copy_is_refused_and_not_kept(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """No hub could ever take it; nor what claims to have seen another log."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        ana, bo = await shared(hub, home)
        core = bo._client._core(bo.id)
        await home.stop_client("bo")
        here = core.log.seen
        async with open_raw(home) as raw:
            await attach(raw, core, identity(home).relay_id)
            for seen, code in (
                (Seen(here.seq + 1, here.log), Code.HUB_BEHIND),
                (Seen(here.seq, Hash32(bytes(32))), Code.FORK),
            ):
                event = evolve(event_of(core, home.now()), counter=1000, seen=seen)
                envelope = sign_record(core.mine.sign.private, event).envelope
                await raw.send(frames.Post(raw.rid(), bo.id, envelope, b"cell"))
                [refused] = await raw.expect(frames.Failure)
                assert (refused.code, refused.seq) == (code, here.seq)
        assert stored(home).replicas()[0].waiting == 0
        await ana.send("and on")


async def test_no_member_fills_the_outbox_for_the_others(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Whoever waits for a hub that is away leaves as much space as it takes."""

    async with open_net(tmp_path, "hub", "home", change=given(outbox_events_per_room=6)) as (
        hub,
        home,
    ):
        ana, bo, cai = await shared_by_three(hub, home, home)
        await hub.stop_relay()
        words = [f"word {number}" for number in range(8)]
        await say(bo, *words)
        await until(lambda: stored(home).replicas()[0].waiting == 3)
        await say(cai, "mine too")
        await until(lambda: [item.stage for item in cai.outbox()] == [Stage.HELD])
        await hub.start_relay()
        await settle([ana, bo, cai])
        agree([ana, bo, cai], [*words, "mine too"])


class SilentHub:
    """Takes all that is asked, and answers when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[MemberId, frames.ClientFrame, Answered]] = []
        self.later_work: list[Callable[[], None]] = []

    def ask(
        self, room: RoomId, mid: MemberId, frame: frames.ClientFrame, answered: Answered
    ) -> None:
        self.asked.append((mid, frame, answered))

    async def has_come_to(
        self, room: RoomId, mid: MemberId, counter: int, event_id: EventId
    ) -> None:
        raise AssertionError("nothing here is missing")

    async def give_back(
        self, room: RoomId, mid: MemberId, counter: int, why: frames.Failure
    ) -> None:
        raise AssertionError("nothing was refused for good")

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        self.later_work.append(work)

    def of(self, mid: MemberId) -> int:
        return sum(one == mid for one, _, _ in self.asked)


Answered = Callable[[frames.RelayFrame], Awaitable[None]]
MALLORY, BO = MemberId(b"\x01" * 32), MemberId(b"\x02" * 32)


def copy_with(waiting: dict[MemberId, int]) -> RoomLog:
    """A copy in which so many events of each wait, one member's after the other's."""
    made = make_genesis(MemberKeys.generate(), RelayId(bytes(32)), now=0)
    room = RoomLog.founded(made.signed)
    for mid, count in waiting.items():
        for number in range(count):
            sid = Sid(number.to_bytes(16, "big"))
            event_id = EventId(mid[:16] + sid)
            room.put_waiting(OutboxRow(room.room, mid, sid, number, event_id, 0, b"r", b"c"))
    return room


async def test_senders_take_turns_and_who_is_put_off_holds_up_nobody() -> None:
    """A thousand events of one stand before the one of another: it goes out at once."""
    hub = SilentHub()
    outgoing = Outgoing(hub)
    room = copy_with({MALLORY: 1000, BO: 1})
    outgoing.pump(room)
    assert (hub.of(MALLORY), hub.of(BO)) == (16, 1)
    behind = frames.Failure(0, Code.HUB_BEHIND.value, "")
    for mid, _, answered in list(hub.asked):
        if mid == MALLORY:
            await answered(behind)
    assert hub.of(MALLORY) == 16  # all of it waits for its turn, once
    assert len(hub.later_work) == 1
    another = OutboxRow(room.room, BO, Sid(b"\x09" * 16), 2, EventId(bytes(32)), 0, b"r", b"c")
    room.put_waiting(another)
    outgoing.pump(room)
    assert hub.of(BO) == 2
    hub.later_work[0]()
    assert hub.of(MALLORY) == 32


async def test_what_the_hub_has_and_does_not_deliver_is_not_sent_without_end() -> None:
    """Acked, and not in the copy: no more than a few hundred of one sender at a time."""
    hub = SilentHub()
    outgoing = Outgoing(hub)
    room = copy_with({BO: 600})
    outgoing.pump(room)
    done = 0
    while done < len(hub.asked):
        _, _, answered = hub.asked[done]
        done += 1
        await answered(frames.Done(1))
    assert hub.of(BO) == 256
    for number in range(100):
        room.drop_waiting(BO, Sid(number.to_bytes(16, "big")))
    outgoing.pump(room)
    assert hub.of(BO) == 272


async def test_one_noisy_lane_holds_up_no_other_and_what_it_may_ask_is_bounded(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """A relay that reads nothing and asks much: so many jobs wait as there may, and no more."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        ana, bo, cai = await shared_by_three(hub, home, home)
        keys, double_id = identity(home).keys, identity(home).relay_id
        await home.stop_relay()
        line = Line()
        async with dialling(hub, keys, line=line) as double:
            assert await double.enter(1, ana.id, bo.me) is None
            assert await double.enter(2, ana.id, cai.me) is None
            line.hold()
            rids = [double.rid() for _ in range(300)]
            asks = [frames.ChainGet(rid, ana.id, 0) for rid in rids]
            for number, ask in enumerate(asks):
                await double.send(
                    frames.LaneAsk(1, frames.encode_frame(ask)),
                    frames.LaneOpen(1, ana.id, bo.me),
                    frames.Follow(double.rid(), ana.id, 0),
                )
                if number % 50 == 0:
                    await trio.sleep(1)
            last = frames.ChainGet(double.rid(), ana.id, 0)
            await double.send(frames.LaneAsk(2, frames.encode_frame(last)))
            await trio.sleep(10)
            link = known(hub).roster.peers[double_id].link
            assert link is not None
            assert len(link._jobs) < 50
            line.release()
            await double.expect(frames.LaneTell, lambda told: told.lane == 2)
            answers: list[frames.RelayFrame] = []
            for _ in rids:
                told = await double.expect(frames.LaneTell, lambda told: told.lane == 1)
                answers.append(frames.decode_relay_frame(told.frame))
        pages = [answer for answer in answers if isinstance(answer, frames.ChainPage)]
        refused = [answer for answer in answers if isinstance(answer, frames.Failure)]
        assert {answer.code for answer in refused} == {"rate_limited"}
        assert len(pages) >= 32
        assert len(pages) + len(refused) == len(rids)


async def test_who_asks_much_at_once_is_served_in_turns_by_its_own_relay(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """More than fits into a lane waits at home: the hub has nothing to refuse."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        _, bo = await shared(hub, home)
        core = bo._client._core(bo.id)
        await home.stop_client("bo")
        async with open_raw(home) as raw:
            await attach(raw, core, identity(home).relay_id)
            blob, line = BlobId(bytes(16)), home.to_relays[hub.url]
            line.hold()  # no answer comes back
            await raw.send(*[frames.BlobGet(raw.rid(), bo.id, blob, n) for n in range(60)])
            await trio.sleep(10)
            line.release()
            answers = await raw.expect(frames.Failure, 60)
            assert {answer.code for answer in answers} == {"blob_gone"}
