"""Rules of the control log that nothing else needs: each found untested by `make mutation`."""

from __future__ import annotations

from ofcd.protocol.codes import Code
from ofcd.protocol.ids import sha256
from ofcd.protocol.records import Admit, Cap, Grant, Handover, RekeyBoxed, Role
from tests.protocol.test_room import full_room, mid, refused


def test_an_invite_names_only_who_may_admit() -> None:
    """A member named as admitter could answer the invite as soon as it got the right to admit."""
    chain = full_room()
    with refused(Code.FORBIDDEN):
        chain.invite(n=99, admitters=(mid("root"), mid("member")))
    chain.do(Grant, "root", member=mid("member"), role=Role.MEMBER, caps=(Cap.ADMIT,))
    chain.invite(n=99, admitters=(mid("root"), mid("member")))


def test_a_member_is_not_admitted_once_more() -> None:
    """It would get the role, the keys and the history of another invite."""
    chain = full_room()
    invite_id = chain.invite(n=99)
    with refused(Code.ALREADY_MEMBER):
        chain.do(Admit, "root", **chain.admission("member", invite_id))
    chain.do(Admit, "root", **chain.admission("newcomer", invite_id))


def test_an_admit_is_for_the_epoch_that_is_open() -> None:
    """A newcomer who holds another epoch's key would be a member who can read nothing."""
    chain = full_room()
    invite_id, epoch = chain.invite(n=99), chain.state.epoch
    for wrong in (epoch - 1, epoch + 1):
        with refused(Code.EPOCH_STALE):
            chain.do(Admit, "root", **chain.admission("newcomer", invite_id, epoch=wrong))


def test_a_newcomers_history_does_not_begin_after_it_came() -> None:
    """`history_from` lies in the log, up to the ADMIT itself."""
    chain = full_room()
    invite_id = chain.invite(n=99)
    late = chain.state.seq + 2
    with refused(Code.FORBIDDEN):
        chain.do(Admit, "root", **chain.admission("newcomer", invite_id, history_from=late))


def test_24_a_boxed_rekey_lists_nobody_twice() -> None:
    """Two boxes for one member could hold two keys."""
    chain = full_room()
    boxes = (*chain.boxes(), (mid("member"), sha256(b"another box")))
    with refused(Code.BOX_LIST_MISMATCH):
        chain.do(RekeyBoxed, "root", epoch=1, key_commitment=sha256(b"k"), boxes=boxes)


def test_root_hands_over_to_somebody_else() -> None:
    """A handover to oneself would change nothing, and block routine REKEYs."""
    chain = full_room()
    with refused(Code.FORBIDDEN):
        chain.do(Handover, "root", to=mid("root"), accept=b"accepted")
