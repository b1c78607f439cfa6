"""What a hub takes back of what it lost: only what its own signature shows it to have had."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any, cast

import pytest
from attrs import evolve, frozen

from ofcd.daemon.hub import Hub
from ofcd.daemon.identity import Identity
from ofcd.daemon.peers.refilling import take_refill
from ofcd.protocol.codes import Code, ProtocolError
from ofcd.protocol.frames import Refill
from ofcd.protocol.ids import Hash32, RelayId, RoomId
from ofcd.protocol.records import Home, LogHead, Peer, Seen
from ofcd.relay import Decision, Relay, RoomLog
from ofcd.testing.world import Inline
from ofcd.themis import generate_keypair
from ofcd.themis.lineage import Lineage
from ofcd.themis.signed import peek, sign_record
from tests.relay.test_forcing import forced
from tests.relay.world import Person, World, admit_to, found_room

PEER = RelayId(b"\x07" * 32)
KEYS = generate_keypair()


@frozen
class Lost:
    """A hub whose room ends before what its follower has."""

    world: World
    room: RoomLog
    """The room with nothing lost."""
    records: list[tuple[bytes, bytes]]
    """What was lost: records and cells."""
    root: Person

    @property
    def relay(self) -> Relay:
        return self.world.relay

    def head(self, **changes: Any) -> bytes:
        fields = {"v": 1, "room": self.room.room, "term": 0, "seq": self.room.seq}
        record = LogHead(**{**fields, "log": self.room.log, "ts": 1, **changes})
        return sign_record(KEYS.private, record).envelope

    def refill(self, **changes: Any) -> Refill:
        ids = b"".join(peek(record).event_id for record, _ in self.records)
        parts = tuple(part for pair in self.records for part in pair)
        start = self.room.seq - len(self.records) + 1
        return evolve(Refill(1, self.room.room, start, self.head(), ids, parts), **changes)

    async def take(self, frame: Refill, peer: RelayId = PEER, own: RelayId | None = None) -> None:
        identity = LikeIdentity(own or self.world.relay_id, KEYS.public)
        await take_refill(
            cast("Hub", HubOf(self)),
            self.relay,
            Inline(),
            cast("Identity", identity),
            peer,
            frame,
        )


@frozen
class LikeIdentity:
    relay_id: RelayId
    public: Any

    @property
    def relay(self) -> Lineage:
        return Identity.of(KEYS).relay


@frozen
class HubOf:
    lost: Lost

    async def room(self, room: RoomId) -> RoomLog | None:
        return self.lost.relay.room(room)

    async def do(self, decide: Callable[[], Decision], *rooms: RoomId) -> None:
        decide()

    def milliseconds(self) -> int:
        return self.lost.world.now

    def deliver_soon(self) -> None:
        pass


@pytest.fixture
def lost() -> Lost:
    ana = found_room(World())
    bo = admit_to(ana, "bo")
    bo.do(bo.control(Home, home=PEER))
    before = deepcopy(ana.log)
    said = [post_of(who) for who in (ana, bo, ana)]
    room = ana.log
    ana.world.relay._core.rooms[ana.room] = before
    return Lost(ana.world, room, said, ana)


def post_of(person: Person) -> tuple[bytes, bytes]:
    frame = person.post()
    person.world.expect(object, person.link, frame)
    return frame.record, frame.cell


async def test_what_was_lost_is_taken_back_once_and_in_parts(lost: Lost) -> None:
    """The rest of what the first part named needs no other proof."""
    await lost.take(lost.refill(entries=lost.refill().entries[:2]))
    held = lost.relay.room(lost.room.room)
    assert held is not None
    assert sorted(held.lost) == [lost.room.seq - 1, lost.room.seq]
    whole = lost.refill()
    rest = lost.refill(
        start=whole.start + 1, ids=whole.ids[32:], entries=whole.entries[2:], head=b""
    )
    await lost.take(rest)
    assert (held.seq, held.log, held.lost) == (lost.room.seq, lost.room.log, {})


async def test_who_is_too_slow_may_not_begin_anew_at_once(lost: Lost) -> None:
    """The room goes on first."""
    await lost.take(lost.refill(entries=lost.refill().entries[:2]))
    world, held = lost.world, lost.relay.room(lost.room.room)
    assert held is not None
    world.now = held.lost_until
    world.relay.tick(world.now)
    left = lost.refill(start=held.seq + 1)
    whole = lost.refill()
    left = evolve(left, ids=whole.ids[32:], entries=whole.entries[2:])
    with pytest.raises(ProtocolError) as refused:
        await lost.take(left)
    assert refused.value.kind is Code.TRY_AGAIN
    world.now = held.refill_after[PEER]
    await lost.take(left)
    assert held.seq == lost.room.seq


async def test_one_that_is_too_slow_keeps_nobody_else_from_it(lost: Lost) -> None:
    """Who did not get to the end waits; whoever else has a copy may begin at once."""
    slow = RelayId(b"\x08" * 32)
    homed = lost.relay.homed
    lost.relay.homed = lambda room, peer: homed(room, PEER)  # type: ignore[method-assign]
    await lost.take(lost.refill(entries=lost.refill().entries[:2]), slow)
    world, held = lost.world, lost.relay.room(lost.room.room)
    assert held is not None
    world.now = held.lost_until
    world.relay.tick(world.now)
    whole = lost.refill()
    left = lost.refill(start=held.seq + 1, ids=whole.ids[32:], entries=whole.entries[2:])
    with pytest.raises(ProtocolError):
        await lost.take(left, slow)
    await lost.take(left)
    assert held.seq == lost.room.seq


async def test_a_word_of_an_earlier_term_gives_nothing_back(lost: Lost) -> None:
    """The room was moved away by force, without that, and came back."""
    root, held = lost.root, lost.relay.room(lost.room.room)
    assert held is not None
    away = forced(root, PEER, seen=Seen(lost.room.seq, lost.room.log))
    last = Seen(lost.room.seq + 1, Hash32(bytes(32)))
    back = forced(root, lost.world.relay_id, force=False, term=2, after=away.event_id, seen=last)
    held.told, held.ahead = (away.envelope, back.envelope), lost.world.relay_id
    for term in (0, 1):
        with pytest.raises(ProtocolError) as refused:
            await lost.take(lost.refill(head=lost.head(term=term)))
        assert refused.value.kind is Code.FORBIDDEN
    await lost.take(lost.refill(head=lost.head(term=2)))
    assert held.seq == lost.room.seq


async def test_root_says_as_well_what_was_there_before_the_room_came(lost: Lost) -> None:
    """It has signed nothing as the hub, or nobody has that: it would wait for ever."""
    root, held = lost.root, lost.relay.room(lost.room.room)
    assert held is not None
    move = forced(root, lost.world.relay_id, seen=Seen(lost.room.seq, lost.room.log))
    held.told, held.ahead = (move.envelope,), lost.world.relay_id
    whole = lost.refill(head=b"")
    with pytest.raises(ProtocolError):
        await lost.take(whole)  # it does not go up to the move
    before = (*whole.entries[2:4], *whole.entries[:2], *whole.entries[4:])
    swapped = whole.ids[32:64] + whole.ids[:32] + whole.ids[64:] + move.event_id
    for ids, entries in ((swapped, before), (whole.ids + bytes(32), whole.entries)):
        with pytest.raises(ProtocolError) as refused:
            await lost.take(evolve(whole, ids=ids, entries=entries))
        assert refused.value.kind is Code.FORK
    await lost.take(evolve(whole, ids=whole.ids + move.event_id))
    assert (held.seq, held.log, [*held.lost]) == (lost.room.seq, lost.room.log, [held.seq + 1])


async def test_nothing_else_is_taken_back(lost: Lost) -> None:
    """Who may not follow, what no signature of ours shows, and what is not what was lost."""
    room, before = lost.room, lost.refill()
    stranger = sign_record(generate_keypair().private, peek(before.head).record).envelope
    event = before.entries[0]
    swapped = (*before.entries[2:4], *before.entries[:2], *before.entries[4:])
    false = b"\x01" * 32
    peer = Peer(1, lost.world.relay_id, PEER, Hash32(false), 1)
    other = sign_record(KEYS.private, peer).envelope
    for frame, code in (
        (evolve(before, room=RoomId(bytes(32))), Code.NOT_FOUND),
        (evolve(before, entries=()), Code.BAD_FRAME),
        (evolve(before, entries=before.entries[:-1]), Code.BAD_FRAME),
        (evolve(before, head=stranger), Code.BAD_SIGNATURE),
        (evolve(before, head=event), Code.BAD_SIGNATURE),
        (evolve(before, head=other), Code.FORBIDDEN),
        (evolve(before, head=lost.head(room=RoomId(bytes(32)))), Code.FORBIDDEN),
        (evolve(before, head=lost.head(seq=before.start - 1)), Code.FORBIDDEN),
        (evolve(before, head=lost.head(log=Hash32(false))), Code.FORK),
        (evolve(before, head=lost.head(seq=room.seq + 1)), Code.BAD_FRAME),
        (evolve(before, ids=before.ids[:-1]), Code.BAD_FRAME),
        (evolve(before, ids=before.ids + b"x"), Code.BAD_FRAME),
        (evolve(before, ids=before.ids[:-32] + false), Code.FORK),
        (evolve(before, start=before.start + 1), Code.BAD_FRAME),
        (evolve(before, ids=before.ids + false * 257), Code.BAD_FRAME),
        (evolve(before, entries=swapped), Code.FORBIDDEN),
    ):
        with pytest.raises(ProtocolError) as refused:
            await lost.take(frame)
        assert refused.value.kind is code
    with pytest.raises(ProtocolError):
        await lost.take(before, peer=RelayId(b"\x08" * 32))
    with pytest.raises(ProtocolError):
        await lost.take(before, own=RelayId(b"\x08" * 32))
    signed = lost.head(seq=room.seq - 1, log=room.log_before(room.seq))
    with pytest.raises(ProtocolError) as refused:
        await lost.take(evolve(before, ids=before.ids[:64] + false, head=signed))
    assert refused.value.kind is Code.FORBIDDEN
