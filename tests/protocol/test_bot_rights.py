"""Whose bot a bot is, what limits it has, and caps that this version does not know."""

from __future__ import annotations

import json

import pytest

from ofcd.protocol.codes import Code, Malformed
from ofcd.protocol.records import (
    Admit,
    Cap,
    Grant,
    Leave,
    Role,
    decode_record,
    encode_record,
)
from ofcd.protocol.scopes import Scope, caps_for, scopes_of
from tests.protocol.test_room import Chain, full_room, mid, refused


def test_a_bot_is_whose_key_signed_for_its_keys() -> None:
    """ADMIT by its inviter; it stays so when either is gone."""
    chain = full_room()
    chain.admit("bot", by="co", caps=(Cap.BOT,))
    assert chain.state.sponsors == {mid("bot"): mid("co")}
    chain.rekey(removed=("co",))
    chain.do(Leave, "bot")
    assert chain.state.sponsors == {mid("bot"): mid("co")}


def test_nobody_else_admits_somebodys_bot() -> None:
    """A bot's invite lists its inviter alone: no admitter can plant one in that name."""
    chain = full_room()
    for admitters in ((mid("root"), mid("co")), (mid("co"),)):
        with refused(Code.FORBIDDEN):
            chain.invite("root", n=99, caps=(Cap.BOT,), admitters=admitters)
    invite_id = chain.invite("root", n=99, caps=(Cap.BOT, Cap.NO_FILES))
    admission = chain.admission("bot", invite_id, caps=(Cap.BOT, Cap.NO_FILES))
    with refused(Code.FORBIDDEN):
        chain.do(Admit, "co", **admission)
    chain.do(Admit, "root", **admission)


def test_who_is_made_a_bot_later_is_the_grantors() -> None:
    """GRANT names the member's key by its hash; a second grant changes nothing, undoing it does."""
    chain = full_room()
    chain.do(Grant, "co", member=mid("member"), role=Role.MEMBER, caps=(Cap.BOT,))
    assert chain.state.sponsors == {mid("member"): mid("co")}
    chain.do(Grant, "root", member=mid("member"), role=Role.CO_OWNER, caps=(Cap.BOT,))
    assert chain.state.sponsors == {mid("member"): mid("co")}
    chain.do(Grant, "root", member=mid("member"), role=Role.MEMBER, caps=())
    assert chain.state.sponsors == {}
    chain.do(Grant, "root", member=mid("member"), role=Role.MEMBER, caps=(Cap.BOT,))
    assert chain.state.sponsors == {mid("member"): mid("root")}


def test_a_plain_admitter_makes_no_bot() -> None:
    """Whose bot it is, is an owner: others offer no caps at all."""
    chain = full_room()
    with refused(Code.FORBIDDEN):
        chain.invite("door", n=99, caps=(Cap.BOT,))


def test_who_may_attach() -> None:
    """Whoever may post, but for those whose caps say no."""
    chain = full_room()
    chain.admit("bot", caps=(Cap.BOT, Cap.NO_FILES))
    may = {name: chain.state.member(mid(name)).may_attach for name in ("root", "reader", "bot")}
    assert may == {"root": True, "reader": False, "bot": False}
    assert chain.state.member(mid("bot")).may_post


def later_chain() -> Chain:
    """A room where somebody has a cap of a later version."""
    chain = full_room()
    chain.admit("newer", caps=(Cap("telepathy"),))
    return chain


def test_a_cap_of_a_later_version_is_kept_and_does_nothing() -> None:
    """The control log goes on; ADMIT must repeat it, and it is no right and no mark known here."""
    chain = later_chain()
    member = chain.state.member(mid("newer"))
    assert member.caps == {"telepathy"}
    assert (member.may_admit, member.may_post, member.may_attach) == (False, True, True)
    invite_id = chain.invite(n=98, caps=(Cap("telepathy"),))
    with refused(Code.FORBIDDEN):
        chain.do(Admit, "root", **chain.admission("other", invite_id, caps=(Cap("empathy"),)))
    with refused(Code.FORBIDDEN):
        chain.invite("door", n=97, caps=(Cap("telepathy"),))
    chain.invite("co", n=96, caps=(Cap("telepathy"),))


def test_it_comes_through_the_codec_as_it_stands() -> None:
    """Decoded and encoded again, sorted among those known, and equal to another of its word."""
    record = full_room().make(
        Grant, "root", member=mid("co"), role=Role.MEMBER, caps=(Cap.BOT, Cap("telepathy"))
    )
    payload = encode_record(record)
    again = decode_record(payload)
    assert again == record
    assert encode_record(again) == payload
    assert sorted({Cap("telepathy"), Cap("telepathy"), Cap.BOT}) == ["bot", "telepathy"]
    assert list(Cap) == [Cap.BOT, Cap.BRIDGE, Cap.ADMIT, Cap.ONLY_ADDRESSED, Cap.NO_FILES]


@pytest.mark.parametrize("word", ["", "Bot", "a b", "-x", "x" * 33, "é", 7, None])
def test_what_is_no_word_is_no_cap(word: object) -> None:
    """A cap is shown to people: lower-case letters, digits and dashes, 32 at most."""
    chain = full_room()
    record = chain.make(Grant, "root", member=mid("co"), role=Role.MEMBER, caps=(Cap.BOT,))
    head, _, body = encode_record(record).partition(b"\n")
    fields = json.loads(body) | {"caps": [word]}
    with pytest.raises(Malformed):
        decode_record(head + b"\n" + json.dumps(fields).encode())


def test_scopes_are_read_off_role_and_caps() -> None:
    """And back: what an invite grants is what members are shown."""
    wanted = {Scope.ONLY_ADDRESSED, Scope.WRITE}
    assert caps_for(wanted) == {Cap.BOT, Cap.ONLY_ADDRESSED, Cap.NO_FILES}
    assert set(scopes_of(Role.MEMBER, caps_for(wanted))) == wanted
    everything = [Scope.READ_ALL, Scope.WRITE, Scope.FILES]
    assert scopes_of(Role.MEMBER, caps_for(everything)) == everything
    assert scopes_of(Role.READONLY, caps_for({Scope.READ_ALL})) == [Scope.READ_ALL]


def test_the_rule_of_bots_leaves_other_invites_alone() -> None:
    """A person's or a bridge's invite may be answered by several."""
    chain = full_room()
    for n, caps in enumerate([(), (Cap.BRIDGE,), (Cap.ADMIT,)]):
        chain.invite("root", n=90 + n, caps=caps, admitters=(mid("root"), mid("co")))
    assert len(chain.state.invites) == 3
