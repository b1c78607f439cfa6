"""ATTACH: who says to be a member proves it, on this very link: test 3."""

from __future__ import annotations

from typing import Final

import trio

from ofcd.compliance.check import check as group
from ofcd.compliance.check import require
from ofcd.compliance.errors import NotKept, Skipped
from ofcd.compliance.lab import Lab
from ofcd.compliance.peer import Peer
from ofcd.compliance.people import Person, random_hash
from ofcd.protocol import frames, records
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import BlobId, EventId, Hash32, InviteId, MemberId, RelayId, RoomId
from ofcd.themis.signed import sign_record

check = group("attach")

_GUESSES: Final = 400
_MINUTE: Final = 60.0


@check("anothers", "2", "Nobody attaches in another member's name, and the victim stays online.")
async def anothers(lab: Lab) -> None:
    """Named, but not signed for: the hole of the seed, B3."""
    ana, bo = await lab.pair()
    eve = Person(await lab.link(), ana.room)
    wrong = eve.attach(mid=bo.mid)
    await eve.peer.refused(wrong, Code.NOT_FOUND, Code.BAD_SIGNATURE, what="another's ATTACH")
    await eve.peer.refused(eve.sync(), Code.NOT_ATTACHED, Code.NOT_FOUND)
    entry = await ana.say()
    got = await bo.deliveries(entry.seq)
    require(got[-1].record == entry.record, "the victim was cut off")


@check("replayed", "2", "An ATTACH that was made for another link is refused.")
async def replayed(lab: Lab) -> None:
    """Its challenge, its transport key, its relay."""
    ana = await lab.founder()
    heard = ana.attach()
    thief = await lab.link()
    stolen = frames.Attach(thief.number(), heard.record)
    await thief.refused(
        stolen, Code.STALE_CHALLENGE, Code.WRONG_TRANSPORT_KEY, what="an ATTACH heard elsewhere"
    )
    await ana.peer.refused(
        ana.attach(challenge=random_hash()), Code.STALE_CHALLENGE, what="a stale challenge"
    )
    await ana.peer.refused(
        ana.attach(transport_key=thief.transport_key),
        Code.WRONG_TRANSPORT_KEY,
        what="the transport key of another session",
    )
    await ana.peer.refused(
        ana.attach(relay_id=RelayId(bytes(32))), Code.WRONG_RELAY, what="another relay's ATTACH"
    )
    await ana.say()


@check("strangers", "10", "No room, no member, evicted: one answer, in the same words: test 26.")
async def strangers(lab: Lab) -> None:
    """Who guesses learns nothing."""
    ana, bo = await lab.pair()
    eve = Person(await lab.link(), ana.room)
    said = {await _not_found(eve, eve.attach(room=RoomId(random_hash())), "an unknown room")}
    said.add(await _not_found(eve, eve.attach(), "a stranger's ATTACH"))
    await ana.do(*ana.boxed(bo.mid))
    fresh = await lab.link()
    bo.peer = fresh
    said.add(await _not_found(bo, bo.attach(), "an evicted member's ATTACH"))
    require(len(said) == 1, f"the refusals differ: {sorted(said)}")


async def _not_found(person: Person, frame: frames.Attach, what: str) -> str:
    return (await person.peer.refused(frame, Code.NOT_FOUND, what=what)).text


@check("first", "8", "Whoever is not attached is given, and does, nothing in a room.")
async def first(lab: Lab) -> None:
    """Every request that is for members."""
    ana = await lab.founder()
    eve = Person(await lab.link(), ana.room)
    blob, room = BlobId(bytes(16)), ana.room.id
    key_request = frames.KeyRequest(eve.peer.number(), room, eve.key_request().envelope)
    leave = eve.control(records.Leave)
    for frame in (
        eve.sync(),
        eve.post(),
        eve.carry(leave),
        frames.ChainGet(eve.peer.number(), room, 0),
        key_request,
        eve.put(blob),
        eve.get(blob),
        frames.BlobDrop(eve.peer.number(), room, blob, MemberId(bytes(32))),
    ):
        await eve.peer.refused(frame, Code.NOT_ATTACHED, Code.NOT_FOUND)
    heard = await eve.peer.quiet(0.3)
    require(heard == [], "someone who is not attached was sent something")


@check("one_member", "3", "A link is in a room as one member; after detach as another one.")
async def one_member(lab: Lab) -> None:
    """Two members on one link would be told apart by nothing."""
    ana, bo = await lab.pair()
    both = Person(ana.peer, ana.room)
    both.sign, both.enc = bo.sign, bo.enc
    await ana.peer.refused(both.attach(), Code.FORBIDDEN, what="a second member on one link")
    await ana.peer.expect(frames.Done, frames.Detach(ana.peer.number(), ana.room.id))
    await ana.peer.refused(ana.post(), Code.NOT_ATTACHED, what="a post after detach")
    await ana.peer.expect(frames.Attached, both.attach())


@check("crossed", "2", "A signature of one kind of record is of no use as another.")
async def crossed(lab: Lab) -> None:
    """An ATTACH sent where another record belongs, and the other way round."""
    ana = await lab.founder()
    attach, event = ana.attach(), ana.event(b"cell")
    bad = (Code.BAD_RECORD, Code.BAD_FRAME)
    number = ana.peer.number
    await ana.peer.refused(frames.Attach(number(), event.envelope), *bad, Code.TOO_LARGE)
    await ana.peer.refused(frames.Post(number(), ana.room.id, attach.record, b"cell"), *bad)
    await ana.peer.refused(frames.Control(number(), ana.room.id, attach.record), *bad)
    await ana.peer.refused(frames.Create(number(), record=attach.record), *bad)
    accept = records.HandoverAccept(
        1, ana.room.id, ana.mid, ana.mid, EventId(ana.room.state.ctl), ana.now()
    )
    signed = sign_record(ana.sign.private, accept)
    await ana.peer.refused(frames.Control(number(), ana.room.id, signed.envelope), *bad)


@check("guesses", "14", "Rooms and invites that are guessed are soon not looked at any more.")
async def guesses(lab: Lab) -> None:
    """At most so many a minute."""
    peer = await lab.link()
    began = trio.current_time()
    for _ in range(_GUESSES // peer.at_once):
        for answer in await peer.ask_all([_guess(peer) for _ in range(peer.at_once)]):
            if not isinstance(answer, frames.Failure):
                raise NotKept("a guessed invite was found")
            if answer.code == Code.RATE_LIMITED:
                require((answer.retry_after or 0) > 0, "rate_limited without a time to wait")
                return
            require(answer.code == Code.INVITE_UNKNOWN, f"a guess was answered by {answer.code}")
    seconds = trio.current_time() - began
    if seconds > _MINUTE:
        raise Skipped(f"it took {seconds:.0f} s to guess what is too much in a minute")
    raise NotKept(f"{_GUESSES} guesses in a row were all looked at")


def _guess(peer: Peer) -> frames.Lookup:
    room, proof = RoomId(random_hash()), Hash32(bytes(32))
    return frames.Lookup(peer.number(), room, InviteId(bytes(16)), proof)
