"""Invites: a one-time token, committed to in the control log, carried by a link (protocol.md §2.3).

The link holds everything a newcomer needs, all of it in the part after `#`, which no server is
sent. Its payload is base64url of

    relay id 32 | room 32 | invite id 16 | token 32 | inviter 32 | relay address, UTF-8 | check 4

with the first bytes of H("link", all before) as the check: a link cut short or mistyped is told
apart from one that was used or closed.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final
from urllib.parse import SplitResult, urlsplit, urlunsplit

from attrs import field, frozen

from ofcd.e2e.boxes import Party, TokenBox, check_own, open_box, seal_box
from ofcd.e2e.controls import header_fields, sign_control
from ofcd.e2e.errors import BoxRejected, LinkInvalid
from ofcd.e2e.keys import MemberKeys, new_invite_id
from ofcd.protocol import limits
from ofcd.protocol.codes import Malformed
from ofcd.protocol.ids import (
    Hash32,
    InviteId,
    MemberId,
    RelayId,
    RoomId,
    b64decode,
    b64encode,
    invite_commitment,
    invite_proof,
    tagged_hash,
)
from ofcd.protocol.records import Cap, History, InviteOpen, Role, Seen
from ofcd.protocol.room import RoomState
from ofcd.themis import generate_key
from ofcd.themis.signed import SignedRecord

__all__ = [
    "SCHEME",
    "InviteCode",
    "NewInvite",
    "check_address",
    "make_invite",
    "open_token_box",
    "parse_link",
]

SCHEME: Final = "ofc1:"
_ADDRESS_BYTES: Final = 200
_FOREIGN: Final = frozenset(" ?#@\\<>")
"""What a relay address has no use for, and a link or a mail program would stumble over."""
_CHECK_BYTES: Final = 4
_FIXED: Final = (32, 32, 16, 32, 32)
_PAYLOAD: Final = re.compile(r"[A-Za-z0-9_-]+")
_PAGES: Final = {"ws": "http", "wss": "https"}
_LINK_CHARACTERS: Final = 4096
_DAMAGED: Final = "the invite code is cut short or mistyped: copy the whole link again"


def check_address(relay_url: str) -> None:
    """Raises `LinkInvalid` unless a link can carry this as its relay's address."""
    usable = relay_url.isascii() and relay_url.isprintable() and not _FOREIGN & set(relay_url)
    if not usable or len(relay_url) > _ADDRESS_BYTES:
        raise LinkInvalid("the relay address holds characters that no address has, or too many")
    try:
        parts = urlsplit(relay_url)
        complete = _is_relay_address(parts)
    except ValueError:
        complete = False
    if not complete:
        raise LinkInvalid(
            "the relay address must be wss:// (or ws://, not http), a host and maybe a port"
        )


def _is_relay_address(parts: SplitResult) -> bool:
    return bool(parts.scheme in _PAGES and parts.hostname and parts.port != 0)


def _usable_address(_: object, __: object, relay_url: str) -> None:
    check_address(relay_url)


@frozen
class InviteCode:
    """What an invite link carries. Whoever holds the token can join, once."""

    relay_url: str = field(validator=_usable_address)
    """The relay's WebSocket address: ws:// or wss://."""
    relay_id: RelayId
    room: RoomId
    invite_id: InviteId
    token: bytes = field(repr=False)
    inviter: MemberId

    @property
    def proof(self) -> Hash32:
        """`P`: shows the relay that I hold the token, without showing the token."""
        return invite_proof(self.token)

    @property
    def text(self) -> str:
        """The bare form: `ofc1:` and the payload."""
        parts = (self.relay_id, self.room, self.invite_id, self.token, self.inviter)
        raw = b"".join(parts) + self.relay_url.encode("utf-8")
        return SCHEME + b64encode(raw + _check(raw))

    def link(self, page: str | None = None) -> str:
        """The link form: a page to open, and the bare form as its fragment.

        Without `page`, the page is the relay's own address as http(s).
        """
        if page is None:
            parts = urlsplit(self.relay_url)
            page = urlunsplit(parts._replace(scheme=_PAGES[parts.scheme], path=parts.path or "/"))
        return f"{page}#{self.text}"


@frozen
class NewInvite:
    """INVITE_OPEN to send, and the code to hand over once the relay has taken it."""

    signed: SignedRecord
    code: InviteCode


def make_invite(
    state: RoomState,
    mine: MemberKeys,
    seen: Seen,
    now: int,
    *,
    relay_url: str,
    expires: int,
    role: Role = Role.MEMBER,
    caps: Collection[Cap] = (),
    history: History = History.ROTATION,
    admitters: Collection[MemberId] | None = None,
    invite_id: InviteId | None = None,
    token: bytes | None = None,
) -> NewInvite:
    """A new invite; `expires` in milliseconds since 1970. Id and token are made, if not given.

    `admitters` may answer it: by default I and every owner, eight at most; a bot's, I alone.
    Raises `Refused` for what my role does not allow, `LinkInvalid` for a relay address that no link
    can carry.
    """
    check_address(relay_url)
    invite_id, token = invite_id or new_invite_id(), token or generate_key()
    if admitters is None:
        admitters = (mine.mid,) if Cap.BOT in caps else _admitters(state, mine.mid)
    answering = tuple(admitters)
    others = [state.member(mid) for mid in answering if mid != mine.mid]
    content = TokenBox(invite_id, token)
    check_own(state, mine)
    record = InviteOpen(
        **header_fields(state, mine, seen, now),
        invite_id=invite_id,
        commit=invite_commitment(state.room, invite_id, invite_proof(token)),
        expires=expires,
        admitters=answering,
        role=role,
        caps=tuple(sorted(caps)),
        history=history,
        token_boxes=tuple(
            (m.mid, seal_box(mine, Party(m.mid, m.enc_key), state.room, content)) for m in others
        ),
    )
    signed = sign_control(state, mine, record, seen)
    code = InviteCode(relay_url, state.hub, state.room, invite_id, token, mine.mid)
    return NewInvite(signed, code)


def open_token_box(state: RoomState, mine: MemberKeys, record: InviteOpen) -> bytes:
    """The token of an invite that I may answer too; raises `BoxRejected`.

    `state` is the room's just before or after the (verified) record.
    """
    boxed = dict(record.token_boxes).get(mine.mid)
    if boxed is None:
        raise BoxRejected("the invite holds no box for this member")
    inviter = state.member(record.mid)
    sender = Party(inviter.mid, inviter.enc_key)
    content = open_box(mine, sender, record.room, TokenBox, boxed)
    proof = invite_proof(content.token)
    commit = invite_commitment(record.room, record.invite_id, proof)
    if content.invite_id != record.invite_id or commit != record.commit:
        raise BoxRejected("the box does not hold this invite's token")
    return content.token


def parse_link(text: str) -> InviteCode:
    """The invite in a link or in its bare form; raises `LinkInvalid`, saying what is wrong.

    White space and angle brackets, which mail programs add, are passed over.
    """
    if len(text) > _LINK_CHARACTERS:
        raise LinkInvalid("this is too long for an invite link")
    bare = "".join(text.split()).strip("<>")
    page, hash_sign, fragment = bare.partition("#")
    if not hash_sign:
        fragment = bare
    elif not re.match(r"(https?|wss?)://", page):
        raise LinkInvalid("an invite link begins with https:// or ofc1:")
    if not fragment.startswith(SCHEME):
        raise LinkInvalid("this is not an invite link: it holds no ofc1: code")
    return _parse_payload(fragment[len(SCHEME) :])


def _parse_payload(payload: str) -> InviteCode:
    if not _PAYLOAD.fullmatch(payload):
        raise LinkInvalid("the invite code holds a character that does not belong there")
    try:
        raw = b64decode(payload)
    except Malformed:
        raise LinkInvalid(_DAMAGED) from None
    body, check = raw[:-_CHECK_BYTES], raw[-_CHECK_BYTES:]
    if len(body) <= sum(_FIXED) or check != _check(body):
        raise LinkInvalid(_DAMAGED)
    relay_id, room, invite_id, token, inviter, address = _split(body)
    try:
        relay_url = address.decode("utf-8")
    except UnicodeDecodeError:
        raise LinkInvalid("the invite names no usable relay address") from None
    return InviteCode(
        relay_url=relay_url,
        relay_id=RelayId(relay_id),
        room=RoomId(room),
        invite_id=InviteId(invite_id),
        token=token,
        inviter=MemberId(inviter),
    )


def _split(body: bytes) -> list[bytes]:
    parts, at = [], 0
    for size in _FIXED:
        parts.append(body[at : at + size])
        at += size
    return [*parts, body[at:]]


def _check(body: bytes) -> bytes:
    return tagged_hash("link", body)[:_CHECK_BYTES]


def _admitters(state: RoomState, mine: MemberId) -> tuple[MemberId, ...]:
    owners = [m.mid for m in state.members.values() if m.is_owner and m.mid != mine]
    return (mine, *owners)[: limits.ADMITTERS]
