"""KEY_REQ: a member that lost the room key asks an owner."""

from __future__ import annotations

from ofcd.compliance.check import check as group
from ofcd.compliance.check import require
from ofcd.compliance.lab import Lab
from ofcd.compliance.people import Person, random_hash
from ofcd.protocol import frames
from ofcd.protocol.codes import Code
from ofcd.protocol.records import Role
from ofcd.themis.signed import SignedRecord

check = group("keys")


def _asking(person: Person, signed: SignedRecord) -> frames.KeyRequest:
    return frames.KeyRequest(person.peer.number(), person.room.id, signed.envelope)


@check("asked", "9", "A KEY_REQ is kept, shown to owners, and its answer given to who asked.")
async def asked(lab: Lab) -> None:
    """To an owner who comes later, too; to no plain member."""
    ana, bo = await lab.pair()
    cy = await lab.member(ana)
    request = bo.key_request()
    await bo.peer.expect(frames.Done, _asking(bo, request))
    shown = await ana.peer.next(frames.KeyAsked)
    require(shown.record == request.envelope, "the owner was shown another request")
    ana.peer = await lab.link()
    await ana.peer.expect(frames.Attached, ana.attach())
    shown = await ana.peer.next(frames.KeyAsked)
    require(shown.record == request.envelope, "an owner that came later was shown another one")
    heard = await cy.peer.quiet(0.3)
    require(not any(isinstance(f, frames.KeyAsked) for f in heard), "a member was shown it")
    box = b"the key, boxed"
    await ana.peer.expect(frames.Done, ana.key_answer(request, bo.mid, box))
    got = await bo.peer.next(frames.KeyAnswered)
    require(got.box == box, "another box was handed on")
    heard = await cy.peer.quiet(0.3)
    require(not any(isinstance(f, frames.KeyAnswered) for f in heard), "another got it, too")


@check("owners", "9", "Only an owner answers, only who asked, only with the box it signed for.")
async def owners(lab: Lab) -> None:
    """A member hands keys to nobody."""
    ana, bo = await lab.pair()
    cy = await lab.member(ana)
    co = await lab.member(ana, role=Role.CO_OWNER)
    request = bo.key_request()
    await bo.peer.expect(frames.Done, _asking(bo, request))
    by_member = cy.key_answer(request, bo.mid, b"box")
    await cy.peer.refused(by_member, Code.FORBIDDEN, what="a plain member's answer")
    other = co.key_answer(request, bo.mid, b"box", box_hash=random_hash())
    await co.peer.refused(other, Code.CELL_MISMATCH, what="a box that was not signed")
    named = bo.key_request(mid=cy.mid)
    await bo.peer.refused(_asking(bo, named), Code.FORBIDDEN, what="asking in another's name")
