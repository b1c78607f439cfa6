"""A hostile hub: the kit orders a room of which the relay under test has a member."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Final

from attrs import frozen

from ofcd.compliance.beside import beside
from ofcd.compliance.check import check as group
from ofcd.compliance.check import require
from ofcd.compliance.errors import LinkEnded, NotKept
from ofcd.compliance.lab import Lab
from ofcd.compliance.people import Entry, Person, random_hash
from ofcd.compliance.relays import FalseHub, open_relay
from ofcd.protocol import frames
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import PublicKey, log_hash
from ofcd.protocol.records import HubMove, LogHead, Seen
from ofcd.themis import generate_keypair, sign
from ofcd.themis.signed import SignedRecord, open_signed

check = group("hub")

_FLOOD: Final = 2000
_SECONDS: Final = 1.0


@frozen
class Scene:
    """The kit's hub, and a member of its room at the relay under test."""

    hub: FalseHub
    bo: Person

    async def sent(self, *given: frames.PeerFrame) -> None:
        """Send these; the relay under test may have hung up already."""
        with suppress(LinkEnded):
            await self.hub.end.send(*given)

    async def shown(self, seconds: float = _SECONDS) -> list[int]:
        """The seqs of what Bo's relay delivers to him in a while."""
        came = await self.bo.peer.quiet(seconds)
        self.bo.peer.inbox = [f for f in came if not isinstance(f, frames.Delivery)]
        return [f.seq for f in came if isinstance(f, frames.Delivery)]

    def proves(self, evidence: frames.Evidence) -> None:
        """A member can verify by themselves that the hub signed two logs."""
        key = PublicKey(self.hub.end.keys.public)
        require(evidence.key == key, "the evidence does not name the hub's key")
        heads = [open_signed(key, record).record for record in evidence.records]
        logs = {head.log for head in heads if isinstance(head, LogHead)}
        require(len(logs) > 1, "what the evidence holds proves nothing")

    async def stands_at(self, entry: Entry, what: str) -> None:
        """Bo's relay has the room up to this entry, and not a step further."""
        attached = await self.bo.peer.expect(frames.Attached, self.bo.attach())
        require(
            (attached.seq, attached.log) == (entry.seq, entry.log),
            f"{what}: the copy stands at entry {attached.seq}, not at {entry.seq}",
        )


async def scene(lab: Lab) -> Scene:
    """A room at the kit's hub, Bo in it, three things said and heard."""
    end = await open_relay(lab)
    hub = FalseHub(end)
    bo = Person(await lab.link())
    async with hub.serving():
        await hub.admit(bo)
        last = [hub.says(b"%d" % n) for n in range(3)][-1]
        await hub.deliver_from(last.seq - 2)
        await bo.deliveries(last.seq)
        await hub.until(
            lambda: hub.cursor >= last.seq, "the follower never said that it has stored the room"
        )
    bo.peer.inbox.clear()
    return Scene(hub, bo)


@check("followed", "19", "What a hub delivers comes to its followers' members, as it was signed.")
async def followed(lab: Lab) -> None:
    """The control: an honest hub, read and posted to across relays."""
    there = await scene(lab)
    entry = there.hub.says(b"and on")
    async with there.hub.serving():
        await there.hub.deliver_from(entry.seq)
        got = await there.bo.deliveries(entry.seq)
        require(got[-1].record == entry.record, "it came as something else")
        signed = there.bo.event(b"from afar")
        answer = await there.bo.peer.ask(there.bo.post_of(signed, b"from afar"))
        require(isinstance(answer, frames.Queued), "what a member says is not kept for the hub")
        await there.hub.until(
            lambda: bool(there.hub.posted), "what a member said did not come to the hub"
        )
        post = there.hub.posted[0]
        require(post.record == signed.envelope, "it came to the hub as something else")
        await there.hub.deliver_from(there.hub.append(signed, b"from afar").seq)
        await there.bo.deliveries(there.hub.room.head.seq)


@check("returned", "19", "What a hub refuses goes back to its sender, for its own reason alone.")
async def returned(lab: Lab) -> None:
    """A repeat that is refused as sid_conflict says nothing of the messages behind it."""
    there = await scene(lab)
    bo, room = there.bo, there.hub.room
    entry = room.head
    code = Code.SID_CONFLICT.value
    there.hub.refusal = frames.Failure(0, code, "refused", entry.seq, entry.event_id)
    batch: list[SignedRecord] = []
    counter, prev = room.sender(bo.mid)
    for n in range(1, 4):
        batch.append(bo.event(b"%d" % n, counter=counter + n, prev=prev))
        prev = batch[-1].event_id
    await bo.peer.send(*(bo.post_of(one, b"%d" % n) for n, one in enumerate(batch, start=1)))
    async with there.hub.serving():
        said = [await bo.peer.next(frames.Returned) for _ in batch]
    require([s.event_id for s in said] == [b.event_id for b in batch], "not in their order")
    codes = [s.code for s in said]
    require(codes == [code, Code.COUNTER_GAP, Code.COUNTER_GAP], f"they came back as {codes}")
    require(said[1].last is None, "a message came back with another one's entry")


@check("forged", "19", "A hub can not make a follower store what no member signed: test 29.")
async def forged(lab: Lab) -> None:
    """An event in the owner's name by another key."""
    there = await scene(lab)
    true = there.hub.room.head
    good = there.hub.owner.event(b"forged")
    forgery = sign(generate_keypair().private, good.payload)
    await there.sent(frames.Delivery(there.hub.room_id, true.seq + 1, forgery, b"forged"))
    require(await there.shown() == [], "a forged event was delivered")
    await there.stands_at(true, "a forged event")


@check("strangers", "19", "A hub can not speak for who is no member.")
async def strangers(lab: Lab) -> None:
    """Well signed, by a key that nobody admitted."""
    there = await scene(lab)
    true = there.hub.room.head
    eve = Person(there.hub.end, there.hub.room, home=there.hub.end.own_id)
    event = eve.event(b"hello")
    await there.sent(frames.Delivery(there.hub.room_id, true.seq + 1, event.envelope, b"hello"))
    require(await there.shown() == [], "a stranger's event was delivered")
    await there.stands_at(true, "a stranger's event")


@check("replayed", "19", "An old entry under a new number is no entry.")
async def replayed(lab: Lab) -> None:
    """The owner's first words once more."""
    there = await scene(lab)
    true = there.hub.room.head
    old = there.hub.room.log[true.seq - 2]
    await there.sent(there.hub.delivery(old, seq=true.seq + 1))
    require(await there.shown() == [], "a replayed event was delivered")
    await there.stands_at(true, "a replayed event")


@check("reordered", "19", "Two entries that changed places are not taken.")
async def reordered(lab: Lab) -> None:
    """Renumbered, so that no number is missing."""
    there = await scene(lab)
    true = there.hub.room.head
    one, two = there.hub.says(b"one"), there.hub.says(b"two")
    await there.sent(there.hub.delivery(two, seq=one.seq), there.hub.delivery(one, seq=two.seq))
    require(await there.shown() == [], "reordered events were delivered")
    await there.stands_at(true, "reordered events")


@check("gap", "19", "A missing entry is asked for again, and nothing after it is shown before.")
async def gap(lab: Lab) -> None:
    """A hub that lost a message on the way, and has it still."""
    there = await scene(lab)
    one, two = there.hub.says(b"one"), there.hub.says(b"two")
    asked = there.hub.follows
    async with there.hub.serving():
        await there.sent(there.hub.delivery(two))
        got = await there.bo.deliveries(two.seq)
        require([g.seq for g in got] == [one.seq, two.seq], "the gap was not filled first")
    require(there.hub.follows > asked, "the missing entry was not asked for")


@check("dropped", "19", "An entry left out for good is found out by the next one that has seen it.")
async def dropped(lab: Lab) -> None:
    """Renumbered; its sender's next event gives it away: test 18, at a follower."""
    there = await scene(lab)
    true = there.hub.room.head
    there.hub.says(b"left out")
    after = there.hub.says(b"after it")
    await there.sent(there.hub.delivery(after, seq=true.seq + 1))
    require(await there.shown() == [], "an event was delivered without the one before it")
    await there.stands_at(true, "an entry left out")


@check(
    "equivocates", "19", "Two signed heads of one seq are proof: the room stands still: test 29."
)
async def equivocates(lab: Lab) -> None:
    """The evidence is kept, and shown to members: those who come later, too."""
    there = await scene(lab)
    true = there.hub.room.head
    await there.sent(there.hub.head())
    await there.sent(there.hub.head(log=random_hash()))
    evidence = await there.bo.peer.next(frames.Evidence)
    require(evidence.code == Code.FORK, f"the evidence is of {evidence.code}")
    there.proves(evidence)
    there.bo.peer = await lab.link()
    await there.bo.peer.expect(frames.Attached, there.bo.attach())
    there.proves(await there.bo.peer.next(frames.Evidence))
    more = there.hub.says(b"as if nothing had been")
    await there.sent(there.hub.delivery(more))
    require(await there.shown() == [], "a frozen room goes on")
    refused = await there.bo.peer.ask(there.bo.post(seen=Seen(true.seq, true.log)))
    require(isinstance(refused, frames.Failure), "a frozen room takes messages")


@check("takes_over", "19", "A room that is moved here is ordered here, in the next term.")
async def takes_over(lab: Lab) -> None:
    """Nothing more is taken from the hub of before, which may follow."""
    there = await scene(lab)
    hub, bo = there.hub, there.bo
    there_is = {"hub": hub.end.relay_id, "urls": (lab.target.url,), "term": 1}
    moved = hub.append(hub.owner.control(HubMove, **there_is))
    late = hub.owner.event(b"too late")
    await there.sent(
        hub.delivery(moved),
        frames.Delivery(hub.room_id, moved.seq + 1, late.envelope, b"too late"),
    )
    await bo.deliveries(moved.seq)
    require(await there.shown() == [], "the hub of before goes on")
    hub.end.inbox.clear()
    rid = hub.end.number()
    await hub.end.send(frames.Follow(rid, hub.room_id, moved.seq + 1, moved.log))
    synced = await hub.end.answer(rid)
    require(isinstance(synced, frames.Synced), "the hub of before, with a member, may not follow")
    said = await bo.say(b"at home at the hub")
    head = open_signed(hub.end.relay_key, (await bo.peer.next(frames.Head)).record).record
    require(isinstance(head, LogHead) and head.term == 1, "its heads are not of the next term")
    got = await hub.owner.deliveries(said.seq)
    require(got[-1].record == said.record, "what is said does not come to the hub of before")


@check("usurped", "19", "A room is moved by its root alone: who else says so has moved nothing.")
async def usurped(lab: Lab) -> None:
    """A member's record, and root's own by another key, to the relay under test itself."""
    for name in ("a member's", "root's, by another key"):
        there = await scene(lab)
        true = there.hub.room.head
        by = there.bo if name == "a member's" else there.hub.owner
        told = {"hub": there.hub.end.relay_id, "urls": (lab.target.url,), "term": 1}
        signed = by.control(HubMove, **told)
        forgery = sign(generate_keypair().private, signed.payload)
        record = signed.envelope if by is there.bo else forgery
        await there.sent(frames.Delivery(there.hub.room_id, true.seq + 1, record))
        require(await there.shown() == [], f"{name} HUB_MOVE was delivered")
        await there.stands_at(true, f"{name} HUB_MOVE")


@check("rights", "19", "A hub can not change a room: rights are checked at the follower too.")
async def rights(lab: Lab) -> None:
    """A rotation by a member who is no owner; an ADMIT by nobody's right."""
    for name in ("a member's rotation", "a rotation of another key"):
        there = await scene(lab)
        true = there.hub.room.head
        rekey = there.bo.rekey()
        other = there.hub.owner.rekey()
        forgery = sign(generate_keypair().private, other.payload)
        made = {
            "a member's rotation": rekey.envelope,
            "a rotation of another key": forgery,
        }
        await there.sent(frames.Delivery(there.hub.room_id, true.seq + 1, made[name]))
        require(await there.shown() == [], f"{name} was delivered")
        await there.stands_at(true, name)


@check("boxes", "19", "A key box that is not the one that was signed is not handed on: test 29.")
async def boxes(lab: Lab) -> None:
    """A hub that puts in its own."""
    there = await scene(lab)
    true = there.hub.room.head
    signed, _ = there.hub.owner.boxed()
    room = there.hub.room_id
    await there.sent(
        frames.PeerBox(room, true.seq + 1, there.bo.mid, b"a box of the hub's own"),
        frames.Delivery(room, true.seq + 1, signed.envelope),
    )
    await there.shown()
    handed = [f for f in there.bo.peer.inbox if isinstance(f, frames.Box)]
    require(not handed, "a box that nobody signed for was handed on")


@check("cells", "19", "A cell that is not the signed one is not stored.")
async def cells(lab: Lab) -> None:
    """Else a hub could spoil what its followers keep."""
    there = await scene(lab)
    true = there.hub.room.head
    event = there.hub.owner.event(b"the true cell")
    await there.sent(
        frames.Delivery(there.hub.room_id, true.seq + 1, event.envelope, b"another cell")
    )
    require(await there.shown() == [], "an event with another cell was delivered")
    await there.stands_at(true, "another cell")


@check("history", "19", "A hub that no longer has the log it gave before is found out.")
async def history(lab: Lab) -> None:
    """On the next link it says fork; the copy keeps what it had."""
    there = await scene(lab)
    true = there.hub.room.head
    false = log_hash(random_hash(), true.seq, true.event_id)
    await there.sent(there.hub.head(log=false))
    evidence = await there.bo.peer.next(frames.Evidence)
    require(evidence.code == Code.FORK, f"the evidence is of {evidence.code}")
    await there.stands_at(true, "a head of another log")


@check("flood", "19", "A hub that floods its followers does not keep their people from talking.")
async def flood(lab: Lab) -> None:
    """Deliveries and heads without end, all false."""
    ana, bo = await lab.pair()
    there = await scene(lab)
    good = there.hub.owner.event(b"cell")
    junk = sign(generate_keypair().private, good.payload)
    await beside(ana, bo, partial(_flood, there, junk))


async def _flood(there: Scene, junk: bytes) -> None:
    room, seq = there.hub.room_id, there.hub.room.head.seq
    try:
        for n in range(_FLOOD):
            delivery = frames.Delivery(room, seq + 1 + n % 3, junk, b"cell")
            await there.hub.end.send(*[delivery] * 20, there.hub.head(log=random_hash()))
    except (LinkEnded, NotKept):
        return
