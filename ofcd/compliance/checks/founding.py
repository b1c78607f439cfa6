"""Founding rooms: GENESIS."""

from __future__ import annotations

from ofcd.compliance.check import check as group
from ofcd.compliance.check import require
from ofcd.compliance.lab import Lab
from ofcd.compliance.p256 import off_curve_key, uncompressed_twin
from ofcd.compliance.people import Person
from ofcd.protocol import frames
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import RelayId, b64encode
from ofcd.themis import generate_keypair, sign
from ofcd.themis.signed import SignedRecord

check = group("founding")


@check("once", "3", "The same GENESIS again is the same room, with the same answer.")
async def once(lab: Lab) -> None:
    """A client that lost the answer asks again."""
    person = await lab.founder()
    genesis = person.room.genesis
    await person.say()
    again = await person.peer.expect(frames.Ack, person.create(genesis, lab.target.token))
    first = person.room.log[0]
    require((again.seq, again.event_id) == (0, first.event_id), "it is another room")
    await person.say()


async def _refused(lab: Lab, what: str, signed: SignedRecord, person: Person, *code: Code) -> None:
    frame = person.create(signed, lab.target.token)
    await person.peer.refused(frame, *code, what=f"a GENESIS {what}")


@check("keys", "1", "A room's keys are canonical, on the curve, and two: test 13.")
async def keys(lab: Lab) -> None:
    """One key in two encodings would be two people."""
    await lab.founder()  # skips where nobody may found rooms
    person = Person(await lab.link())
    good = person.genesis()
    bad = (Code.BAD_KEY, Code.BAD_RECORD)
    enc, sig = b64encode(person.enc.public).encode(), b64encode(person.sign.public).encode()
    for name, old, new in (
        ("with an uncompressed key", enc, uncompressed_twin(person.enc.public)),
        ("with an uncompressed signing key", sig, uncompressed_twin(person.sign.public)),
        ("with a key that is on no curve", enc, off_curve_key()),
        ("with a key of another tag", enc, b"UEC1" + person.enc.public[4:]),
        ("with one key for both", enc, person.sign.public),
    ):
        payload = good.payload.replace(old, b64encode(new).encode())
        made = SignedRecord(good.record, payload, sign(person.sign.private, payload))
        await _refused(lab, name, made, person, *bad)


@check("signed", "4", "GENESIS is signed by the key it names, for this relay.")
async def signed(lab: Lab) -> None:
    """Nobody founds in another's name, or at another relay."""
    await lab.founder()
    person = Person(await lab.link())
    good, other = person.genesis(), generate_keypair()
    forged = SignedRecord(good.record, good.payload, sign(other.private, good.payload))
    await _refused(lab, "that another key signed", forged, person, Code.BAD_SIGNATURE)
    elsewhere = person.genesis(relay_id=RelayId(bytes(32)))
    await _refused(lab, "for another relay", elsewhere, person, Code.WRONG_RELAY)
