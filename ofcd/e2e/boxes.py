r"""Boxes: a secret from one member to another (Themis Secure Message, encrypted).

Such a box has no direction and no context: what Ana boxed for Bo also opens, at Ana's, as if Bo
had sent it (E5). So the payload says what it is for, in which room, from whom and to whom, and
`open_box` checks all four:

    OFC1:box:<purpose>\n{"room":…,"from":…,"to":…, …}
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeVar

from attrs import field, frozen
from attrs.validators import max_len, min_len

from ofcd.e2e.errors import BoxRejected
from ofcd.e2e.keys import MemberKeys
from ofcd.protocol import limits
from ofcd.protocol.codec import build, dump_json, parse_json, unbuild
from ofcd.protocol.codes import Code, Malformed, Refused
from ofcd.protocol.ids import EventId, Hash32, InviteId, MemberId, PublicKey, RoomId, b64encode
from ofcd.protocol.room import RoomState
from ofcd.themis import KEY_BYTES, CannotOpen, box, unbox

__all__ = [
    "AnswerBox",
    "Content",
    "JoinBox",
    "KeyBox",
    "Party",
    "Purpose",
    "TokenBox",
    "check_own",
    "open_box",
    "seal_box",
]

Purpose = Literal["key", "answer", "inv", "join"]
_PREFIX: Final = "OFC1:box:"
_NAME_PADDED: Final = 512
_key_bytes: Any = [min_len(KEY_BYTES), max_len(KEY_BYTES)]


@frozen
class Party:
    """One end of a box."""

    mid: MemberId
    enc_key: PublicKey


@frozen
class KeyBox:
    """Purpose `key`: the room key of a boxed REKEY."""

    epoch: int
    key_commitment: Hash32
    prev: EventId
    key: bytes = field(repr=False, validator=_key_bytes)


@frozen
class AnswerBox:
    """Purpose `answer`: the current room key, for a member who asked by KEY_REQ."""

    epoch: int
    key_commitment: Hash32
    request_hash: Hash32
    key: bytes = field(repr=False, validator=_key_bytes)


@frozen
class TokenBox:
    """Purpose `inv`: an invite's token, for another admitter."""

    invite_id: InviteId
    token: bytes = field(repr=False, validator=_key_bytes)


@frozen
class JoinBox:
    """Purpose `join`: the joiner's J, and its proof to hold the token for the keys it shows."""

    invite_id: InviteId
    key: bytes = field(repr=False, validator=_key_bytes)
    nonce: Hash32
    proof: bytes = field(repr=False, validator=max_len(256))
    name: str = field(default="", validator=max_len(_NAME_PADDED))
    """What the joiner wants to be called, padded with spaces: a hint for who decides."""


Content = KeyBox | AnswerBox | TokenBox | JoinBox
C = TypeVar("C", KeyBox, AnswerBox, TokenBox, JoinBox)
_PURPOSES: Final[dict[type[Content], Purpose]] = {
    KeyBox: "key",
    AnswerBox: "answer",
    TokenBox: "inv",
    JoinBox: "join",
}


def check_own(state: RoomState, mine: MemberKeys) -> None:
    """My boxes open for others, who take my key from the room's state; else `Refused` (bad_key).

    A vault put back from a backup may not hold the key that was made after it.
    """
    if state.member(mine.mid).enc_key != mine.enc_key:
        raise Refused(Code.BAD_KEY, "this member's encryption key is not here: it is renewed first")


def seal_box(mine: MemberKeys, to: Party, room: RoomId, content: Content) -> bytes:
    """`content` for `to` alone."""
    fields = {
        "room": b64encode(room),
        "from": b64encode(mine.mid),
        "to": b64encode(to.mid),
        **unbuild(content),
    }
    return box(mine.encrypt.private, to.enc_key, _head(type(content)) + dump_json(fields))


def open_box(mine: MemberKeys, sender: Party, room: RoomId, cls: type[C], boxed: bytes) -> C:
    """What `sender` boxed for me; raises `BoxRejected`.

    Refuses a box made for another purpose or room, a box of mine that came back to me, and one
    that names another sender or addressee. Tries every pair held: a box may have been made for a
    key just before it was replaced.
    """
    payload = _unboxed(mine, sender, boxed)
    head = _head(cls)
    if not payload.startswith(head):
        raise BoxRejected("the box was made for another purpose")
    try:
        fields = parse_json(payload[len(head) :], max_bytes=limits.BOX_BYTES)
        content = build(cls, fields)
    except Malformed:
        raise BoxRejected("the box does not hold what it should") from None
    if fields.get("room") != b64encode(room):
        raise BoxRejected("the box was made for another room")
    if fields.get("from") != b64encode(sender.mid):
        raise BoxRejected("the box names another sender")
    if fields.get("to") != b64encode(mine.mid):
        raise BoxRejected("the box was made for someone else")
    return content


def _unboxed(mine: MemberKeys, sender: Party, boxed: bytes) -> bytes:
    for pair in mine.held:
        try:
            return unbox(pair.private, sender.enc_key, boxed)
        except CannotOpen:
            continue
    raise BoxRejected("the box does not open")


def _head(cls: type[Content]) -> bytes:
    return f"{_PREFIX}{_PURPOSES[cls]}\n".encode("ascii")
