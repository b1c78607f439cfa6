"""The control log: rights, rotations, evictions, races."""

from __future__ import annotations

from typing import Any

from ofcd.compliance.check import check as group
from ofcd.compliance.check import require
from ofcd.compliance.lab import Lab
from ofcd.compliance.p256 import off_curve_key
from ofcd.compliance.people import Person, random_hash
from ofcd.protocol import frames, limits, records
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import EventId, PublicKey, RoomId, sha256
from ofcd.protocol.records import Cap, Role
from ofcd.themis import generate_keypair, sign
from ofcd.themis.signed import SignedRecord, sign_record

check = group("control")
_RENEWALS = limits.KEY_RENEWALS


@check("owners", "6", "Only owners rotate, invite, grant, evict and close.")
async def owners(lab: Lab) -> None:
    """A plain member may leave, and no more."""
    ana, bo = await lab.pair()
    invite = await ana.open_invite()
    await bo.refused(bo.rekey(), Code.FORBIDDEN, what="a member's rotation")
    signed, boxes = bo.boxed()
    await bo.peer.refused(bo.carry(signed, boxes), Code.FORBIDDEN, what="a member's boxed one")
    evict, boxes = bo.boxed(ana.mid)
    await bo.peer.refused(bo.carry(evict, boxes), Code.FORBIDDEN, what="evicting the root")
    _, record = bo.invite()
    await bo.refused(record, Code.FORBIDDEN, what="a member's invite")
    close = bo.control(records.InviteClose, invite_id=invite.invite_id)
    await bo.refused(close, Code.FORBIDDEN, what="closing another's invite")
    for target, role in ((bo, Role.CO_OWNER), (ana, Role.READONLY)):
        grant = bo.control(records.Grant, member=target.mid, role=role)
        await bo.refused(grant, Code.FORBIDDEN, what="a member's grant")
    await ana.do(ana.rekey())


@check("co_owners", "6", "Co-owners touch neither root nor each other, and give no rights away.")
async def co_owners(lab: Lab) -> None:
    """Root may all of it."""
    ana = await lab.founder()
    bo = await lab.member(ana, role=Role.CO_OWNER)
    cy = await lab.member(ana, role=Role.CO_OWNER)
    for victim in (ana, cy):
        evict, boxes = bo.boxed(victim.mid)
        await bo.peer.refused(bo.carry(evict, boxes), Code.FORBIDDEN, what="evicting an owner")
        grant = bo.control(records.Grant, member=victim.mid, role=Role.MEMBER)
        await bo.refused(grant, Code.FORBIDDEN, what="a co-owner's grant to an owner")
    for offered in ({"role": Role.CO_OWNER}, {"caps": (Cap.ADMIT,)}):
        _, record = bo.invite(**offered)
        await bo.refused(record, Code.FORBIDDEN, what="a co-owner's too generous invite")
    await bo.do(bo.rekey())
    grant = ana.control(records.Grant, member=cy.mid, role=Role.MEMBER)
    await ana.do(grant)
    await bo.do(*bo.boxed(cy.mid))


@check("chain", "5", "A control record that does not follow the head is conflict: one wins.")
async def chain(lab: Lab) -> None:
    """Two owners rotate at once: test 21, seen from outside."""
    ana = await lab.founder()
    bo = await lab.member(ana, role=Role.CO_OWNER)
    mine, his = ana.rekey(), bo.rekey()
    await ana.do(mine)
    failure = await bo.peer.refused(bo.carry(his), Code.CONFLICT, what="the second rotation")
    require(failure.event_id == ana.room.state.ctl, "conflict does not name the control head")
    again = await ana.peer.expect(frames.Ack, ana.carry(mine))
    require(again.seq == ana.room.head.seq, "the same rotation again was another entry")
    unknown = ana.rekey(prev=EventId(random_hash()))
    await ana.refused(unknown, Code.CONFLICT, what="a record that follows nothing")
    await bo.do(bo.rekey())


@check("epochs", "9", "Epochs follow each other by one.")
async def epochs(lab: Lab) -> None:
    """No key is skipped, none comes back."""
    ana = await lab.founder()
    await ana.do(ana.rekey())
    for number in (0, 1, 3):
        await ana.refused(ana.rekey(epoch=number), Code.EPOCH_STALE, what=f"epoch {number}")
    await ana.do(ana.rekey(epoch=2))


@check("signed", "8", "A control record is signed by its member, and of the room it is sent to.")
async def signed(lab: Lab) -> None:
    """A relay that took others could make members."""
    ana, bo = await lab.pair()
    good = ana.rekey()
    forged = SignedRecord(good.record, good.payload, sign(generate_keypair().private, good.payload))
    await ana.refused(forged, Code.BAD_SIGNATURE, what="a rotation another key signed")
    await ana.refused(ana.rekey(mid=bo.mid), Code.FORBIDDEN, what="in another's name")
    await bo.refused(good, Code.FORBIDDEN, what="another's record")
    elsewhere = ana.rekey(room=RoomId(random_hash()))
    await ana.refused(elsewhere, Code.BAD_RECORD, what="a record of another room")
    genesis = ana.genesis()
    await ana.refused(genesis, Code.BAD_RECORD, what="a second GENESIS")
    foreign = ana.rekey(seen=records.Seen(ana.room.head.seq, random_hash()))
    await ana.refused(foreign, Code.FORK, what="a record with a foreign L")
    await ana.do(good)


@check("boxes", "9", "A boxed rotation lists exactly who stays, and brings those very boxes.")
async def boxes(lab: Lab) -> None:
    """Else an owner could part the room by its key: test 24."""
    ana, bo = await lab.pair()
    right, sent = ana.boxed()
    for name, listed in (
        ("that leaves one out", ((ana.mid, sha256(b"a")),)),
        ("that lists a stranger", ((ana.mid, sha256(b"a")), (generate_mid(), sha256(b"b")))),
        ("that lists one twice", ((ana.mid, sha256(b"a")), (ana.mid, sha256(b"b")))),
    ):
        wrong, _ = ana.boxed(boxes=listed)
        frame = ana.carry(wrong, (b"a", b"b")[: len(listed)])
        await ana.peer.refused(frame, Code.BOX_LIST_MISMATCH, what=f"a rotation {name}")
    few = ana.carry(right, sent[:1])
    await ana.peer.refused(few, Code.BOX_LIST_MISMATCH, what="a box too few")
    other = ana.carry(right, (sent[0], b"another box"))
    await ana.peer.refused(other, Code.CELL_MISMATCH, what="a box that was not signed")
    plain = ana.carry(ana.rekey(), (b"a box",))
    await ana.peer.refused(plain, Code.BOX_LIST_MISMATCH, what="a box with a routine rotation")
    await ana.do(right, sent)
    await bo.say()


def generate_mid() -> Any:
    """A member that is none."""
    return random_hash()


@check("addressee", "9", "Each box of a rotation goes to its addressee, and to nobody else.")
async def addressee(lab: Lab) -> None:
    """Live, and from history."""
    ana, bo = await lab.pair()
    signed, sent = ana.boxed()
    await ana.do(signed, sent)
    seq = ana.room.head.seq
    staying = [mid for mid, _ in _listed(signed)]
    for person in (ana, bo):
        mine = sent[staying.index(person.mid)]
        got = await person.peer.next(frames.Box)
        require((got.seq, got.box) == (seq, mine), "a member was given another one's box")
        await person.deliveries(seq)
        require(not any(isinstance(f, frames.Box) for f in person.peer.inbox), "a box too many")
    late = await lab.link()
    bo.peer = late
    await bo.come(seq)
    got = await late.next(frames.Box)
    require(got.box == sent[staying.index(bo.mid)], "history gave another one's box")


def _listed(signed: SignedRecord) -> tuple[tuple[Any, Any], ...]:
    record = signed.record
    return record.boxes if isinstance(record, records.RekeyBoxed) else ()


@check("leaving", "6", "After a departure only a boxed rotation is taken; root can not just go.")
async def leaving(lab: Lab) -> None:
    """Who left still holds the key."""
    ana, bo = await lab.pair()
    await ana.refused(ana.control(records.Leave), Code.ROOT_MUST_HAND_OVER)
    await bo.do(bo.control(records.Leave))
    gone = await bo.peer.next(frames.Removed)
    require(gone.code == Code.LEFT, f"who left was told {gone.code}")
    await ana.refused(ana.rekey(), Code.BOXED_REQUIRED, what="a routine rotation")
    await bo.peer.refused(bo.post(), Code.NOT_FOUND, Code.NOT_ATTACHED, what="who left: a post")
    await ana.do(*ana.boxed())
    await ana.do(ana.rekey())


@check("every_tenth", "9", "Where the policy asks for a boxed rotation, a routine one is refused.")
async def every_tenth(lab: Lab) -> None:
    """`boxed_every` of GENESIS."""
    ana = await lab.founder(boxed_every=2)
    await ana.do(ana.rekey())
    await ana.refused(ana.rekey(), Code.BOXED_REQUIRED, what="the second rotation of two")
    await ana.do(*ana.boxed())
    await ana.do(ana.rekey())


@check("handover", "9", "Root passes on only with the heir's own, fresh consent.")
async def handover(lab: Lab) -> None:
    """Signed by the heir, for this root, this room, this moment."""
    ana, bo = await lab.pair()
    refused = (Code.FORBIDDEN, Code.BAD_RECORD, Code.BAD_SIGNATURE)

    def accepted(by: Person, **fields: Any) -> bytes:
        values: dict[str, Any] = {
            "v": 1,
            "room": ana.room.id,
            "root": ana.mid,
            "mid": bo.mid,
            "ctl": ana.room.state.ctl,
            "ts": ana.now(),
        }
        record = records.HandoverAccept(**(values | fields))
        return sign_record(by.sign.private, record).envelope

    for name, accept in (
        ("that root signed itself", accepted(ana)),
        ("of another room", accepted(bo, room=RoomId(random_hash()))),
        ("to another root", accepted(bo, root=bo.mid)),
        ("of an unknown moment", accepted(bo, ctl=EventId(random_hash()))),
        ("that is none", b"no consent at all"),
    ):
        record = ana.control(records.Handover, to=bo.mid, accept=accept)
        await ana.refused(record, *refused, what=f"a handover with a consent {name}")
    grab = bo.control(records.Handover, to=bo.mid, accept=accepted(bo))
    await bo.refused(grab, Code.FORBIDDEN, what="a member that makes itself root")
    await ana.do(ana.control(records.Handover, to=bo.mid, accept=accepted(bo)))
    await bo.do(*bo.boxed())
    await ana.refused(ana.control(records.Grant, member=bo.mid, role=Role.MEMBER), Code.FORBIDDEN)


@check(
    "renewing", "9", "A member renews its own encryption key alone, by a new one, and not often."
)
async def renewing(lab: Lab) -> None:
    """UPDATE_E: in no other's name, to no key that is in use, three times between boxed REKEYs."""
    ana, bo = await lab.pair()

    def renewed(enc_key: bytes | None = None, **fields: Any) -> SignedRecord:
        made = generate_keypair().public if enc_key is None else enc_key
        return bo.control(records.UpdateKey, enc_key=PublicKey(made), **fields)

    for key, what in (
        (ana.enc.public, "another member's key"),
        (bo.sign.public, "a signing key"),
        (bo.enc.public, "the key there is"),
        (off_curve_key(), "a key that is off the curve"),
    ):
        await bo.refused(renewed(key), Code.BAD_KEY, what=what)
    other = renewed(mid=ana.mid)
    await bo.refused(other, Code.BAD_SIGNATURE, Code.FORBIDDEN, what="a key in another's name")
    await bo.do(renewed())
    await bo.refused(renewed(bo.enc.public), Code.BAD_KEY, what="the key that it came with")
    for _ in range(_RENEWALS - 1):
        await bo.do(renewed())
    await bo.refused(renewed(), Code.QUOTA, what="one renewal more")
    await ana.do(*ana.boxed())
    await bo.do(renewed())
    evict, boxes = ana.boxed(bo.mid)
    late = renewed(prev=evict.event_id)
    await ana.do(evict, boxes)
    codes = (Code.NOT_FOUND, Code.NOT_ATTACHED)
    await bo.peer.refused(bo.carry(late), *codes, what="a renewal by the evicted")


@check("evicted", "9", "An eviction ends delivery and posting for the evicted, at once.")
async def evicted(lab: Lab) -> None:
    """In one record, on every link of theirs."""
    ana, bo = await lab.pair()
    second = Person(await lab.link(), bo.room)
    second.sign, second.enc = bo.sign, bo.enc
    await second.come()
    early = bo.post(b"just before")
    evict, sent = ana.boxed(bo.mid)
    await ana.do(evict, sent)
    for person in (bo, second):
        told = await person.peer.next(frames.Removed)
        require(told.code == Code.EVICTED, f"the evicted was told {told.code}")
        require(told.record == evict.envelope, "it was not shown the record that says so")
        person.peer.inbox.clear()
    entry = await ana.say(b"not for the evicted")
    gone = (Code.NOT_FOUND, Code.NOT_ATTACHED, Code.EVICTED)
    await bo.peer.refused(early, *gone, what="the evicted one's message")
    await bo.peer.refused(bo.sync(), *gone, what="the evicted one's sync")
    await bo.peer.refused(bo.attach(), Code.NOT_FOUND, what="the evicted one's ATTACH")
    heard = [*await bo.peer.quiet(0.3), *await second.peer.quiet(0.3)]
    late = [f.seq for f in heard if isinstance(f, frames.Delivery)]
    require(not late, f"entries {late} went to the evicted; the eviction was {entry.seq - 1}")


@check("closed", "6", "When the last one leaves, the room is closed for good.")
async def closed(lab: Lab) -> None:
    """Nobody is in it, and nobody comes."""
    ana = await lab.founder()
    invite = await ana.open_invite()
    await ana.do(ana.control(records.Leave))
    joiner = Person(await lab.link())
    refused = (Code.INVITE_UNKNOWN, Code.ROOM_CLOSED, Code.INVITE_USED)
    await joiner.peer.refused(joiner.lookup(invite), *refused, what="an invite of a closed room")
    ana.peer = joiner.peer
    await ana.peer.refused(ana.attach(), Code.NOT_FOUND, Code.ROOM_CLOSED)


@check("invites", "6", "An invite lists who may admit, once each, with a box for each other one.")
async def invites(lab: Lab) -> None:
    """INVITE_OPEN, one thing wrong at a time."""
    ana, bo = await lab.pair()
    co = await lab.member(ana, role=Role.CO_OWNER)
    box = ((co.mid, b"the token, boxed"),)
    for name, codes, fields in (
        ("with an admitter who may not", (Code.FORBIDDEN,), {"admitters": (ana.mid, bo.mid)}),
        ("with a stranger for admitter", (Code.NOT_FOUND,), {"admitters": (generate_mid(),)}),
        ("without a box", (Code.BAD_RECORD,), {"admitters": (ana.mid, co.mid)}),
        ("with an admitter twice", (Code.BAD_RECORD,), {"admitters": (ana.mid, ana.mid)}),
        ("with a box for nobody", (Code.BAD_RECORD,), {"token_boxes": box}),
    ):
        _, record = ana.invite(**fields)
        await ana.refused(record, *codes, what=f"an invite {name}")
    standing, record = ana.invite(admitters=(ana.mid, co.mid), token_boxes=box)
    await ana.do(record)
    _, twice = ana.invite(invite_id=standing.invite_id)
    await ana.refused(twice, Code.SID_CONFLICT, Code.BAD_RECORD, what="an invite id used before")
