"""Invites and their links."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from ofcd.e2e.boxes import Party, TokenBox, seal_box
from ofcd.e2e.controls import make_grant
from ofcd.e2e.errors import BoxRejected, LinkInvalid
from ofcd.e2e.invites import SCHEME, InviteCode, check_address, open_token_box, parse_link
from ofcd.e2e.keys import MemberKeys
from ofcd.protocol.codes import Code, Refused
from ofcd.protocol.ids import (
    InviteId,
    MemberId,
    RelayId,
    RoomId,
    b64encode,
    invite_commitment,
    invite_proof,
    tagged_hash,
)
from ofcd.protocol.records import Cap, InviteOpen, Role
from tests.e2e.changes import Change, changed, changes
from tests.e2e.world import NOW, RELAY_ID, RELAY_URL, World

CODE = InviteCode(
    relay_url=RELAY_URL,
    relay_id=RelayId(b"R" * 32),
    room=RoomId(b"r" * 32),
    invite_id=InviteId(b"i" * 16),
    token=b"TOKEN!!!" * 4,
    inviter=MemberId(b"m" * 32),
)
_host = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z]{2,8})?", fullmatch=True)
_ids = st.binary(min_size=32, max_size=32)
_codes = st.builds(
    InviteCode,
    relay_url=st.builds(
        lambda scheme, host, port, path: f"{scheme}://{host}{port}{path}",
        st.sampled_from(["ws", "wss"]),
        _host | st.just("[::1]"),
        st.just("") | st.integers(1, 65535).map(lambda port: f":{port}"),
        st.sampled_from(["", "/", "/ofc/ws"]),
    ),
    relay_id=_ids.map(RelayId),
    room=_ids.map(RoomId),
    invite_id=st.binary(min_size=16, max_size=16).map(InviteId),
    token=_ids,
    inviter=_ids.map(MemberId),
)


def payload_of(body: bytes) -> str:
    return SCHEME + b64encode(body + tagged_hash("link", body)[:4])


@given(_codes)
def test_every_code_comes_back_from_both_forms(code: InviteCode) -> None:
    """Link and bare form carry the whole code, also past mail programs' wrapping."""
    link = code.link()
    assert parse_link(code.text) == code
    assert parse_link(link) == code
    assert parse_link(f" <{link[:40]}\r\n {link[40:90]}\n{link[90:]}>\n") == code


@given(_codes)
def test_all_that_is_secret_stands_in_the_fragment(code: InviteCode) -> None:
    """The part before `#`, which a server sees, is the relay's address alone."""
    page, _, fragment = code.link().partition("#")
    assert page.rstrip("/") == code.relay_url.replace("ws", "http", 1).rstrip("/")
    assert fragment == code.text
    assert "?" not in code.link()


def test_a_link_may_lead_to_another_page() -> None:
    """The browser client may live elsewhere: the fragment alone says which relay is meant."""
    link = CODE.link("https://client.example/")
    assert link.startswith("https://client.example/#ofc1:")
    assert parse_link(link) == CODE
    assert parse_link(link.replace("https", "wss", 1)) == CODE


def test_a_link_fits_a_qr_code() -> None:
    """192 characters carry ids and token; the address and the check come on top."""
    address = (len(RELAY_URL) + 4) * 4 // 3 + 1
    assert len(CODE.text) <= len(SCHEME) + 192 + address
    assert len(CODE.link()) < 300


def test_the_token_does_not_show() -> None:
    """A code can be logged without giving the room away."""
    assert "TOKEN" not in repr(CODE)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "no ofc1"),
        ("hello", "no ofc1"),
        ("https://relay.example/", "no ofc1"),
        ("https://relay.example/#", "no ofc1"),
        ("https://relay.example/#room", "no ofc1"),
        ("ftp://relay.example/#" + CODE.text, "begins with"),
        ("javascript:alert(1)#" + CODE.text, "begins with"),
        ("ofc1:", "character"),
        ("ofc1:" + "ä" * 200, "character"),
        ("ofc1:" + "=" * 200, "character"),
        ("ofc1:A", "cut short or mistyped"),
        ("ofc1:" + "A" * 100, "cut short or mistyped"),
        (CODE.text[:-8], "cut short or mistyped"),
        (CODE.text + "AAAA", "cut short or mistyped"),
        ("ofc2:" + CODE.text[5:], "no ofc1"),
        ("x" * 5000, "too long"),
        (payload_of(b"x" * 144), "cut short or mistyped"),
        (payload_of(b"x" * 144 + b"\xff"), "relay address"),
        (payload_of(b"x" * 144 + b"https://relay.example"), "relay address"),
        (payload_of(b"x" * 144 + b"wss://"), "relay address"),
        (payload_of(b"x" * 144 + b"wss://h:99999"), "relay address"),
        (payload_of(b"x" * 144 + b"wss://user@h"), "relay address"),
        (payload_of(b"x" * 144 + b"wss://h\n"), "relay address"),
        (payload_of(b"x" * 144 + b"wss://h/" + b"p" * 200), "relay address"),
    ],
)
def test_what_is_wrong_with_a_link_is_said(text: str, word: str) -> None:
    """Each kind of damage has its own sentence."""
    with pytest.raises(LinkInvalid, match=word):
        parse_link(text)


@pytest.mark.parametrize(
    "address", ["", "relay.example", "http://h", "ws://h:0", "ws://h?x", "ws://h#x", "ws://[::1"]
)
def test_an_address_no_link_can_carry_is_refused(address: str) -> None:
    """A code is not even made for an address that nobody could connect to."""
    with pytest.raises(LinkInvalid):
        check_address(address)
    with pytest.raises(LinkInvalid):
        evolve(CODE, relay_url=address)


@given(changes)
def test_any_mistyped_character_is_found(change: Change) -> None:
    """One changed character anywhere: said to be no link, never another room's."""
    text = changed(CODE.text.encode(), change).decode("latin-1")
    with pytest.raises(LinkInvalid):
        parse_link(text)


@given(st.text() | st.text().map(lambda t: SCHEME + t) | st.binary().map(payload_of))
def test_arbitrary_text_is_only_no_link(text: str) -> None:
    """No text makes the parser raise anything but LinkInvalid."""
    with pytest.raises(LinkInvalid):
        parse_link(text)


# -- INVITE_OPEN ---------------------------------------------------------------------------------


def record_of(invite: Any) -> InviteOpen:
    assert isinstance(invite.signed.record, InviteOpen)
    return invite.signed.record


def test_an_invite_commits_to_its_token(world: World) -> None:
    """The record holds the commitment, the code the token, and the code names this relay."""
    invite = world.invite(world.root)
    record, code = record_of(invite), invite.code
    assert record.commit == invite_commitment(code.room, code.invite_id, invite_proof(code.token))
    assert (code.relay_id, code.relay_url, code.inviter) == (RELAY_ID, RELAY_URL, world.root.mid)
    assert world.root.view.state.invites[code.invite_id].expires > NOW


def test_every_owner_can_answer_an_invite(world: World) -> None:
    """The other admitters find the token in their boxes, and it is the link's."""
    root, ana, bo = world.people
    view = root.view
    world.control(
        make_grant(view.state, root.mine, view.seen, NOW, member=ana.mid, role=Role.CO_OWNER)
    )
    for inviter, other in ((root, ana), (ana, root)):
        invite = world.invite(inviter)
        record = record_of(invite)
        assert set(record.admitters) == {root.mid, ana.mid}
        token = open_token_box(other.view.state, other.mine, record)
        assert token == invite.code.token
        with pytest.raises(BoxRejected):
            open_token_box(bo.view.state, bo.mine, record)
        with pytest.raises(BoxRejected):
            open_token_box(inviter.view.state, inviter.mine, record)


def test_a_token_box_holds_this_invites_token(world: World) -> None:
    """A co-admitter does not take a token that the record does not commit to."""
    root, ana, _ = world.people
    record = record_of(world.invite(root))
    room = root.view.room
    for content in (
        TokenBox(record.invite_id, b"f" * 32),
        TokenBox(InviteId(b"x" * 16), b"f" * 32),
    ):
        box = seal_box(root.mine, Party(ana.mid, ana.mine.enc_key), room, content)
        with pytest.raises(BoxRejected):
            open_token_box(root.view.state, ana.mine, evolve(record, token_boxes=((ana.mid, box),)))


def test_a_token_box_names_its_invite(world: World) -> None:
    """The right token in a box that names another invite is refused as well."""
    root, ana, _ = world.people
    invite = world.invite(root)
    record, room = record_of(invite), root.view.room
    content = TokenBox(InviteId(b"x" * 16), invite.code.token)
    box = seal_box(root.mine, Party(ana.mid, ana.mine.enc_key), room, content)
    with pytest.raises(BoxRejected):
        open_token_box(root.view.state, ana.mine, evolve(record, token_boxes=((ana.mid, box),)))


def test_who_may_invite_whom(world: World) -> None:
    """A plain member invites nobody; `admit` makes plain members; only root makes co-owners."""
    root, ana, _ = world.people
    with pytest.raises(Refused):
        world.invite(ana)
    helper = world.join("Door", caps=[Cap.ADMIT])
    world.invite(helper)
    with pytest.raises(Refused) as caught:
        world.invite(helper, role=Role.CO_OWNER)
    assert caught.value.kind is Code.FORBIDDEN
    world.invite(root, role=Role.CO_OWNER)
    with pytest.raises(Refused):
        world.invite(root, admitters=[ana.mid])
    with pytest.raises(Refused):
        world.invite(root, admitters=[MemberKeys.generate().mid])
