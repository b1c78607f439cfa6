"""To whose devices a message has come: proven by signatures, believed of nobody else."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from attrs import evolve
from trio.testing import MockClock

from ofcd.client import Room
from ofcd.client.events import MemberReached
from ofcd.client.receipts import RECEIPT_MEMBERS, ReceiptDuty
from ofcd.client.turn import Turn
from ofcd.e2e.errors import Unreadable
from ofcd.e2e.keys import MemberKeys
from ofcd.e2e.receipts import make_receipt, open_receipt
from ofcd.e2e.signals import Signal, SignalKind, open_signal, seal_signal
from ofcd.protocol import frames
from ofcd.protocol.ids import Hash32, MemberId, RoomId
from ofcd.protocol.limits import SIGNAL_BYTES
from ofcd.protocol.records import Policy, Receipt, Seen
from ofcd.protocol.versions import VERSION
from ofcd.themis.signed import sign_record
from tests.client.liar import NOW, Bo, Scene, say
from tests.client.world import Town, until


def state(room: Room, seq: int) -> str:
    """How far this entry is known to have come, at this client."""
    return room.delivery(seq).state


def signals_of(town: Town, name: str) -> list[frames.Signal]:
    """Every signal that this person's client sends from now on."""
    sent: list[frames.Signal] = []
    [connection] = town.people[name].client._connections
    post = connection.post

    def posting(given: Sequence[frames.ClientFrame]) -> None:
        sent.extend(frame for frame in given if isinstance(frame, frames.Signal))
        post(given)

    connection.post = posting  # type: ignore[assignment, method-assign]
    return sent


# -- who only reads --------------------------------------------------------------------------------


async def test_who_only_reads_proves_it_too(town: Town, autojump_clock: MockClock) -> None:
    """By a receipt: within seconds, in nothing that stands in the log, told once to who spoke."""
    mine, theirs = await town.pair()
    with mine.events() as events:
        sent = await mine.send("has this come?")
        assert state(mine, sent.seq) == "sent"
        assert mine.delivery(sent.seq).awaited == (theirs.me,)
        await until(lambda: state(mine, sent.seq) == "delivered_to_all", seconds=10)
        told = [e for e in iter(events.receive_nowait, None) if isinstance(e, MemberReached)]
    assert told[-1:] == [MemberReached(mine.id, theirs.me, sent.seq)]
    assert mine.delivery(sent.seq).reached == (theirs.me,)
    assert mine.head == sent.seq, "a receipt is no entry"


async def test_an_answer_proves_it_without_a_receipt(town: Town, autojump_clock: MockClock) -> None:
    """What an answer names as seen is enough, and who has answered sends no receipt as well."""
    mine, theirs = await town.pair()
    await trio.sleep(60)
    sent = await mine.send("has this come?")
    await until(lambda: theirs.head == sent.seq)
    receipts = signals_of(town, "bo")
    await theirs.send("yes")
    assert await _reached(mine, sent.seq)
    await trio.sleep(60)
    assert receipts == []


async def _reached(room: Room, seq: int) -> bool:
    await until(lambda: state(room, seq) == "delivered_to_all")
    return True


async def test_many_messages_cost_few_receipts(town: Town, autojump_clock: MockClock) -> None:
    """One for all that came in ten seconds; none where nothing new came."""
    mine, _ = await town.pair()
    await trio.sleep(60)
    receipts = signals_of(town, "bo")
    for number in range(60):
        await mine.send(f"number {number}")
        await trio.sleep(1)
    await until(lambda: state(mine, mine.head) == "delivered_to_all")
    assert 2 <= len(receipts) <= 7
    await trio.sleep(600)
    assert len(receipts) <= 7
    assert len({len(signal.cell) for signal in receipts}) == 1, "all of one length"


async def test_who_was_away_asks(town: Town, autojump_clock: MockClock) -> None:
    """The receipt came while nobody was there to hear it: on the next link it is asked for."""
    mine, theirs = await town.pair()
    sent = await mine.send("read it while I am away")
    await town.stop("ana")
    await until(lambda: theirs.head == sent.seq)
    await trio.sleep(60)
    again = (await town.person("ana")).room
    assert state(again, sent.seq) == "sent"
    await until(lambda: state(again, sent.seq) == "delivered_to_all", seconds=30)


async def test_what_is_proven_outlives_a_restart(town: Town, autojump_clock: MockClock) -> None:
    """It stands in the vault."""
    mine, _ = await town.pair()
    sent = await mine.send("hello")
    assert await _reached(mine, sent.seq)
    await town.stop("bo")
    again = (await town.again("ana")).room
    assert state(again, sent.seq) == "delivered_to_all"


async def test_newcomers_and_readers_are_told_apart(town: Town, autojump_clock: MockClock) -> None:
    """Who may not read an entry is not waited for; of who is away nothing is claimed."""
    mine, theirs = await town.pair(Policy(join_rekey=True))
    bo = theirs.me
    early = await mine.send("before Cy")
    assert await _reached(mine, early.seq)
    await town.stop("bo")
    third = await town.join(mine, "cy")
    late = await mine.send("with Cy")
    await until(lambda: state(mine, late.seq) == "delivered", seconds=30)
    assert mine.delivery(late.seq).reached == (third.me,)
    assert mine.delivery(late.seq).awaited == (bo,)
    assert state(mine, early.seq) == "delivered_to_all"


# -- who lies --------------------------------------------------------------------------------------


@pytest.fixture
def told(scene: Scene, bo: Bo) -> Bo:
    """Bo, attached, who has one message of Ana's."""
    bo.feed(scene.truth[0])
    return bo


def signalled(scene: Scene, signer: MemberKeys, **changes: Any) -> frames.Signalled:
    """A receipt that `signer` makes in Ana's name, changed at will, in a signal of hers."""
    now = changes.pop("now", NOW)
    seen = changes.pop("seen", scene.log.seen)
    whole = Receipt(VERSION, scene.room, scene.ana.mid, seen, now)
    envelope = sign_record(signer.sign.private, evolve(whole, **changes)).envelope
    signal = Signal(SignalKind.SEEN, now, envelope)
    epoch = scene.state.epoch
    cell = seal_signal(scene.room, epoch, scene.keys, scene.ana.mid, signal)
    return frames.Signalled(scene.room, scene.ana.mid, epoch, cell)


def reached(bo: Bo, scene: Scene) -> int:
    """What Bo believes Ana to have."""
    return bo.room.core.reached.get(scene.ana.mid, -1)


def test_a_receipt_is_believed(scene: Scene, told: Bo) -> None:
    """Ana's own, of the log that Bo has; also one that comes an hour late, and twice."""
    core = told.room.core
    before = reached(told, scene)
    assert before < core.log.seq
    for _ in range(2):
        told.feed(signalled(scene, scene.ana, seen=core.log.seen, now=NOW - 3_600_000))
        assert reached(told, scene) == core.log.seq
    told.feed(signalled(scene, scene.ana, seen=scene.log.seen))
    assert reached(told, scene) == core.log.seq, "nothing takes it back"


@pytest.mark.parametrize(
    "changes",
    [
        {"room": RoomId(b"x" * 32)},
        {"mid": MemberId(b"x" * 32)},
        {"seen": Seen(3, Hash32(b"x" * 32))},
    ],
    ids=["another room", "another member", "another log"],
)
def test_a_receipt_that_does_not_fit_is_not(
    scene: Scene, told: Bo, changes: dict[str, Any]
) -> None:
    """Signed by Ana though it is; and nothing else comes of it."""
    before = reached(told, scene)
    log = told.room.core.log
    told.feed(signalled(scene, scene.ana, **{"seen": log.seen, **changes}))
    assert (reached(told, scene), told.alarms, told.dropped) == (before, [], "")


def test_nobody_makes_one_for_another(scene: Scene, told: Bo) -> None:
    """A member who has the room key, or a relay that replays Bo's own, gets nothing believed."""
    before, log = reached(told, scene), told.room.core.log
    told.feed(signalled(scene, scene.bo, seen=log.seen))
    own = make_receipt(scene.room, scene.bo, log.seen, NOW).envelope
    epoch = scene.state.epoch
    for receipt in (own, own[:-1], b"junk", b""):
        signal = Signal(SignalKind.SEEN, NOW, receipt, ask=True)
        cell = seal_signal(scene.room, epoch, scene.keys, scene.ana.mid, signal)
        told.feed(frames.Signalled(scene.room, scene.ana.mid, epoch, cell))
    assert (reached(told, scene), told.dropped) == (before, "")


def test_one_that_is_ahead_counts_once_its_log_is_here(scene: Scene, told: Bo) -> None:
    """And not before, nor if the log comes to be another one."""
    before = reached(told, scene)
    after = told.room.core.log.append(scene.log.seq + 2, scene.truth[1].record)
    told.feed(signalled(scene, scene.ana, seen=after.seen))
    assert reached(told, scene) == before
    told.feed(scene.truth[1])
    assert reached(told, scene) == scene.log.seq + 2
    told.feed(signalled(scene, scene.ana, seen=Seen(scene.log.seq + 3, Hash32(b"x" * 32))))
    told.feed(scene.truth[2])
    assert reached(told, scene) == scene.log.seq + 2


def test_what_an_event_names_as_seen_counts_only_if_it_is_true(scene: Scene, bo: Bo) -> None:
    """A header that names another log is a fork, and proves nothing."""
    before = reached(bo, scene)
    bo.feed(say(scene, "hi", seen=Seen(scene.log.seq, Hash32(b"x" * 32))))
    assert reached(bo, scene) == before
    assert bo.status == "frozen"


# -- what it costs ---------------------------------------------------------------------------------


def test_a_receipt_fits_a_signal(scene: Scene) -> None:
    """With the longest numbers; and it is opened only as what it is."""
    big = Seen(2**53 - 1, scene.log.log)
    envelope = make_receipt(scene.room, scene.ana, big, 2**53 - 1).envelope
    member = scene.state.member(scene.ana.mid)
    assert open_receipt(scene.room, member, envelope).seen == big
    signal = Signal(SignalKind.SEEN, 2**53 - 1, envelope, ask=True)
    cell = seal_signal(scene.room, scene.state.epoch, scene.keys, scene.ana.mid, signal)
    assert len(cell) == 640 + 60 <= SIGNAL_BYTES
    opened = open_signal(scene.room, scene.state.epoch, scene.keys, scene.ana.mid, cell, now=0)
    assert opened == signal
    with pytest.raises(Unreadable):
        open_receipt(scene.room, member, scene.truth[0].record)


@pytest.mark.parametrize(
    ("members", "sends"), [(1, False), (2, True), (RECEIPT_MEMBERS, True), (17, False)]
)
def test_only_small_rooms_have_receipts(scene: Scene, members: int, sends: bool) -> None:
    """Each goes to everybody: in a large room words and beats have to do."""
    me, member = scene.ana.mid, SimpleNamespace(may_post=True, history_from=0)
    people = {MemberId(bytes([n]) * 32): member for n in range(members)}
    people = dict(list(people.items())[1:]) | {me: member}
    core: Any = SimpleNamespace(
        me=me,
        mine=scene.ana,
        room=scene.room,
        keys=scene.keys,
        log=scene.log,
        state=SimpleNamespace(members=people, epoch=scene.state.epoch),
        head=SimpleNamespace(own_seq=-1, others_seq=scene.log.seq),
        reached={},
        note_reached=lambda *_: None,
    )
    records: Any = None
    turn = Turn(NOW, records, lambda: 0.0, records)
    ReceiptDuty(core, lambda: 0.0).pump(turn)
    assert len(turn.frames) == sends
