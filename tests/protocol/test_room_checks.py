"""Rights in a room that nothing else needs: each found untested by `make mutation`."""

from __future__ import annotations

from ofcd.protocol.codes import Code
from ofcd.protocol.ids import sha256
from ofcd.protocol.records import Admit, Cap, Grant, InviteClose, InviteOpen, Role
from tests.protocol.test_room import full_room, mid, refused


def test_a_plain_member_invites_nobody_in_an_owners_name() -> None:
    """To open an invite takes the right to admit, whoever is to answer it."""
    chain = full_room()
    with refused(Code.FORBIDDEN):
        chain.invite("member", n=99, admitters=(mid("root"),))


def test_an_invite_id_is_used_once() -> None:
    """A second invite of the same id would take the first one's place."""
    chain = full_room()
    invite_id = chain.invite(n=99)
    with refused(Code.SID_CONFLICT):
        chain.do(
            InviteOpen,
            "co",
            invite_id=invite_id,
            commit=sha256(b"another"),
            expires=9,
            admitters=(mid("co"),),
            role=Role.MEMBER,
        )


def test_who_made_an_invite_may_close_it() -> None:
    """A doorkeeper closes its own invite, and no one else's."""
    chain = full_room()
    own, other = chain.invite("door", n=98), chain.invite("root", n=99)
    chain.do(InviteClose, "door", invite_id=own)
    with refused(Code.FORBIDDEN):
        chain.do(InviteClose, "door", invite_id=other)


def test_an_admitter_who_lost_the_right_admits_no_more() -> None:
    """Also where the invite stays open, since another admitter is left to answer it."""
    chain = full_room()
    invite_id = chain.invite(n=99, admitters=(mid("root"), mid("door")))
    chain.do(Grant, "root", member=mid("door"), role=Role.MEMBER, caps=())
    assert invite_id in chain.state.invites
    with refused(Code.FORBIDDEN):
        chain.do(Admit, "door", **chain.admission("newcomer", invite_id))
    chain.do(Admit, "root", **chain.admission("newcomer", invite_id))


def test_a_co_owner_admits_no_co_owner_by_roots_invite() -> None:
    """What role a newcomer may get depends on who admits, not only on who invited."""
    chain = full_room()
    admitters = (mid("root"), mid("co"))
    invite_id = chain.invite(n=99, role=Role.CO_OWNER, admitters=admitters)
    admission = chain.admission("newcomer", invite_id, role=Role.CO_OWNER)
    with refused(Code.FORBIDDEN):
        chain.do(Admit, "co", **admission)
    doorkeeper = chain.invite(n=98, caps=(Cap.ADMIT,), admitters=admitters)
    with refused(Code.FORBIDDEN):
        chain.do(Admit, "co", **chain.admission("door2", doorkeeper, caps=(Cap.ADMIT,)))
    chain.do(Admit, "root", **admission)
