"""What a bad member can make its honest relay send never costs that relay its link."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import trio
from attrs import evolve

from ofcd.client import Room
from ofcd.client.core import Core
from ofcd.daemon.connection import rid_of
from ofcd.daemon.peers import lanes
from ofcd.daemon.peers.link import PeerLink
from ofcd.e2e.controls import accept_handover, header_fields, make_attach
from ofcd.e2e.joining import Joining, make_request
from ofcd.protocol import frames, records
from ofcd.protocol.ids import (
    BlobId,
    EventId,
    Hash32,
    InviteId,
    MemberId,
    PublicKey,
    RelayId,
    RoomId,
    Sid,
    sha256,
)
from ofcd.testing import World, open_net
from ofcd.themis import generate_keypair
from ofcd.themis.signed import peek, sign_record
from ofcd.wire import Closed
from tests.daemon.rawlink import RawLink, open_raw
from tests.federation.double import identity, quickly, shared_by_three
from tests.federation.test_strangers import known
from tests.world.scene import agree, settle, stored

Build = Callable[[int], frames.ClientFrame]
OFTEN = 30
"""More than the false signatures that a relay may pass on in a minute."""
NO_HASH = Hash32(bytes(32))
FORGER = generate_keypair()


def forged(record: records.Record) -> bytes:
    """Signed by somebody else."""
    return sign_record(FORGER.private, record).envelope


def link_of(hub: World, home: World) -> PeerLink:
    link = known(hub).roster.peers[identity(home).relay_id].link
    assert link is not None
    return link


def event_of(core: Core, now: int) -> records.Event:
    """The first event of someone who has said nothing yet."""
    return records.Event(
        v=1,
        room=core.room,
        epoch=core.state.epoch,
        mid=core.me,
        counter=1,
        prev=EventId(core.room),
        seen=core.log.seen,
        ctl=core.state.ctl,
        kind=records.EventKind.MESSAGE,
        sid=Sid(b"\x01" * 16),
        cell_hash=sha256(b"cell"),
        ts=now,
    )


def of_a_member(room: Room) -> Iterator[tuple[str, Build]]:
    """What a root at home elsewhere can have its relay pass on: false, or out of place."""
    core = room._client._core(room.id)
    state, mine, there = core.state, core.mine, room.id
    seen = core.log.seen
    header = header_fields(state, mine, seen, room._client.now())
    heir = next(mid for mid in state.members if mid != mine.mid)

    def own(record: records.Record) -> bytes:
        return sign_record(mine.sign.private, record).envelope

    event = evolve(event_of(core, room._client.now()), counter=1000)
    beyond = evolve(event, seen=records.Seen(seen.seq + 100, NO_HASH))

    def post(envelope: bytes) -> Build:
        return lambda rid: frames.Post(rid, there, envelope, b"cell")

    yield "a false event", post(forged(event))
    yield "an event that does not follow", post(own(event))
    yield "an event that has seen the future", post(own(beyond))

    leave = records.Leave(**header)
    accept = peek(accept_handover(state, mine, room._client.now()).envelope).record
    assert isinstance(accept, records.HandoverAccept)
    accept = evolve(accept, root=mine.mid, mid=heir)
    handover = records.Handover(**header, to=heir, accept=forged(accept))
    handover_to_nobody = evolve(handover, to=MemberId(bytes(32)))

    def control(envelope: bytes) -> Build:
        return lambda rid: frames.Control(rid, there, envelope)

    yield "a false record", control(forged(leave))
    yield "a record out of place", control(own(evolve(leave, prev=EventId(bytes(32)))))
    yield "a handover with a false acceptance", control(own(handover))
    yield "a handover with no acceptance", control(own(evolve(handover, accept=b"nothing")))
    yield "a handover to nobody", control(own(handover_to_nobody))

    response = records.JoinResponse(
        1, there, InviteId(bytes(16)), NO_HASH, mine.mid, heir, b"a cell of some bytes"
    )
    asked = records.KeyRequest(
        v=1, room=there, mid=mine.mid, epoch=state.epoch, nonce=NO_HASH, ts=room._client.now()
    )
    answer = records.KeyAnswer(1, there, mine.mid, heir, state.epoch, NO_HASH, sha256(b"box"))
    for how, sign in (("false", forged), ("stray", own)):
        signed = [sign(record) for record in (response, asked, answer)]
        yield from answers(there, how, *signed)
    blob = BlobId(b"\x02" * 16)
    yield "a signal", lambda rid: frames.Signal(there, state.epoch + 9, b"cell")
    yield "a false part", lambda rid: frames.BlobPut(rid, there, blob, 9, 2, b"part")
    yield "no attachment", lambda rid: frames.BlobGet(rid, there, blob, 0)
    yield "another's attachment", lambda rid: frames.BlobDrop(rid, there, blob, heir)
    yield "no part of the log", lambda rid: frames.ChainGet(rid, there, 1 << 40)


def answers(
    room: RoomId, how: str, response: bytes, asked: bytes, answer: bytes
) -> Iterator[tuple[str, Build]]:
    yield f"a {how} answer", lambda rid: frames.JoinAnswer(rid, room, response)
    yield f"a {how} key request", lambda rid: frames.KeyRequest(rid, room, asked)
    yield f"a {how} key answer", lambda rid: frames.KeyAnswer(rid, room, answer, b"box")


async def ask_often(link: RawLink, build: Build) -> set[str]:
    """The same again and again, as long as one's own relay takes it; the codes of the answers."""
    rids = {link.rid() for _ in range(OFTEN)}
    answers: dict[int, frames.RelayFrame] = {}
    asked = [build(rid) for rid in sorted(rids)]
    try:
        for frame in asked:
            await link.send(frame)
        with trio.move_on_after(1 if isinstance(asked[0], frames.Signal) else 600):
            while answers.keys() != rids:
                await link.receive()
                answers |= {rid_of(f): f for f in link.got if rid_of(f) in rids}
    except Closed:
        pass  # so many false signatures are more than a client may send
    return {a.code if isinstance(a, frames.Failure) else type(a).__name__ for a in answers.values()}


async def attach(link: RawLink, core: Core, home: RelayId) -> None:
    """Come into the room as this member."""
    welcome = link.session.welcome
    assert welcome is not None
    envelope = make_attach(
        core.room,
        core.mine,
        transport_key=link.transport_key,
        relay_id=home,
        challenge=welcome.challenge,
        now=0,
    ).envelope
    await link.send(frames.Attach(link.rid(), envelope))
    await link.expect(frames.Attached)


async def as_a_stranger(
    link: RawLink, host: Room, hub: RelayId, url: str, home: RelayId
) -> list[tuple[str, Build]]:
    """What a guest can have its relay pass on: among it a true join, confirmed falsely."""
    code, core = await host.invite(), host._client._core(host.id)
    joining: Joining = make_request(code, core.state, home=home, now=host._client.now())

    def join(rid: int, envelope: bytes) -> frames.Join:
        return frames.Join(rid, hub=hub, hub_url=url, record=envelope)

    def confirms(rid: int, envelope: bytes) -> frames.JoinConfirm:
        return frames.JoinConfirm(rid, host.id, hub=hub, hub_url=url, record=envelope)

    await link.send(join(link.rid(), joining.request.envelope))
    [answer] = await link.expect(frames.JoinAnswer)
    confirm = records.JoinConfirm(
        v=1,
        room=host.id,
        invite_id=code.invite_id,
        request_hash=joining.request.hash,
        response_hash=peek(answer.record).hash,
        mid=joining.keys.mid,
        epoch=core.state.epoch,
        cell=b"a cell of some bytes",
    )
    request = joining.request.record
    assert isinstance(request, records.JoinRequest)
    mine = generate_keypair()
    guess = evolve(request, sign_key=PublicKey(mine.public), proof=NO_HASH)
    guessed = sign_record(mine.private, guess).envelope
    false = forged(evolve(request, nonce=NO_HASH))
    no_join = forged(evolve(confirm, request_hash=NO_HASH))
    return [
        ("a lookup", lambda rid: frames.Lookup(rid, host.id, code.invite_id, NO_HASH, 0, hub, url)),
        ("a guessed join", lambda rid: join(rid, guessed)),
        ("a false join", lambda rid: join(rid, false)),
        ("a false confirmation", lambda rid: confirms(rid, forged(confirm))),
        ("one of no join", lambda rid: confirms(rid, no_join)),
    ]


async def test_nothing_a_bad_member_or_guest_says_costs_its_relay_the_link(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Every kind of frame that is passed on, false and often: the others at home go on."""
    async with open_net(tmp_path, "hub", "home", change=quickly) as (hub, home):
        ana, bo, cai = await shared_by_three(hub, home, home)
        await ana.hand_over(bo.me)
        await settle([ana, bo, cai])
        await bo.accept_handover()
        await settle([ana, bo, cai])
        link, tried = link_of(hub, home), set()
        hub_id, home_id = identity(hub).relay_id, identity(home).relay_id
        cases = list(of_a_member(bo))
        core = bo._client._core(bo.id)
        await home.stop_client("bo")
        for name, build in cases:
            tried.add(type(build(1)))
            async with open_raw(home) as raw:
                await attach(raw, core, home_id)
                got = await ask_often(raw, build)
            assert got or isinstance(build(1), frames.Signal), name
            assert "Ack" not in got, name
            assert link_of(hub, home) is link, name
        async with open_raw(home) as raw:
            guests = await as_a_stranger(raw, ana, hub_id, hub.url, home_id)
        for name, build in guests:
            tried.add(type(build(1)))
            async with open_raw(home) as raw:
                assert await ask_often(raw, build), name
            assert link_of(hub, home) is link, name
        assert tried == set(lanes._ALLOWED)
        await cai.send("undisturbed")
        await settle([ana, cai])
        agree([ana, cai], ["undisturbed"])
        await trio.sleep(11)
        assert [(p.state, p.quarantined) for p in stored(hub).peers()] == [("up", 0)]
