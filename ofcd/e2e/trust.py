"""Trust between people, and the hub's word checked (protocol.md §2.2, §2.5).

A number is the same on both sides exactly if both sides have the same keys: read it to each other
over a channel that the relay does not carry.

It is made of the signing key and the encryption key a member came with. The latter has another
member's word alone, so it is compared; each that replaced it (UPDATE_E) is signed by the key that
was compared. So a number stays the same when somebody renews a key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from attrs import field, frozen

from ofcd.e2e.errors import Fault, LogBroken
from ofcd.protocol.codes import Malformed, Refused
from ofcd.protocol.ids import Hash32, PublicKey, RelayId, tagged_hash
from ofcd.protocol.records import LogHead
from ofcd.protocol.room import Member, RoomState
from ofcd.themis.lineage import Lineage
from ofcd.themis.signed import peek

__all__ = [
    "SignedHead",
    "check_agreement",
    "check_log_head",
    "fingerprint",
    "relay_fingerprint",
    "room_safety_number",
    "safety_number",
    "short_code",
]

_GROUPS: Final = 12
_GROUP_BYTES: Final = 5
_GROUP_DIGITS: Final = 5
_SHORT_GROUPS: Final = 4
_FINGERPRINT_BYTES: Final = 20


# -- people --------------------------------------------------------------------------------------


def safety_number(state: RoomState, one: Member, other: Member) -> str:
    """60 digits, in groups, that two members compare: the keys both came with, in this room."""
    return _digits("sn-pair", (state.room, *_keys_in_order(one, other)), _GROUPS)


def short_code(state: RoomState, one: Member, other: Member) -> str:
    """The first 20 digits of `safety_number`: about 66 bits, to read out loud."""
    return " ".join(safety_number(state, one, other).split()[:_SHORT_GROUPS])


def room_safety_number(state: RoomState) -> str:
    """60 digits of the whole control log: equal for all who see the same members and keys."""
    return _digits("sn", (state.room, state.ctl), _GROUPS)


def fingerprint(member: Member) -> str:
    """40 hex digits, in groups of four, of the two public keys a member came with."""
    return _hex(tagged_hash("fp", member.sign_key, member.first_enc_key))


def relay_fingerprint(relay_id: RelayId) -> str:
    """40 hex digits, in groups of four, of a relay's id."""
    return _hex(Hash32(relay_id))


def _keys_in_order(one: Member, other: Member) -> Iterable[PublicKey]:
    for member in sorted((one, other), key=lambda member: member.mid):
        yield member.sign_key
        yield member.first_enc_key


def _digits(tag: str, fields: tuple[bytes, ...], groups: int) -> str:
    """Groups of five digits, each from five bytes of H(tag, round, fields…)."""
    raw = b"".join(tagged_hash(tag, round_, *fields) for round_ in range(2))
    chunks = (raw[i * _GROUP_BYTES : (i + 1) * _GROUP_BYTES] for i in range(groups))
    numbers = (int.from_bytes(chunk, "big") % 10**_GROUP_DIGITS for chunk in chunks)
    return " ".join(f"{number:0{_GROUP_DIGITS}}" for number in numbers)


def _hex(digest: Hash32) -> str:
    text = digest[:_FINGERPRINT_BYTES].hex()
    return " ".join(text[i : i + 4] for i in range(0, len(text), 4))


# -- the hub -------------------------------------------------------------------------------------


@frozen
class SignedHead:
    """A LOG_HEAD whose signature was verified, and the envelope to keep as evidence."""

    head: LogHead
    envelope: bytes = field(repr=False)


def check_log_head(
    state: RoomState,
    relay_key: PublicKey,
    envelope: bytes,
    known: Callable[[RelayId], Lineage] = Lineage,
) -> SignedHead:
    """The hub's signed word for the room log; raises `LogBroken` (bad_head).

    It must be by a key of the relay that the room names for that entry, and the term its: a hub of
    before has nothing to say of what came after it. `relay_key` is the one it is said to be by;
    `known` tells of a relay's keys: those that it has replaced count as the one it has.
    Compare the head with one's own log by `RoomLog.check_head`, and with an earlier head by
    `check_agreement`.
    """
    try:
        head = peek(envelope).record
        if not isinstance(head, LogHead) or head.room != state.room:
            raise LogBroken(Fault.BAD_HEAD, 0, (envelope,))
        hub = state.hub_at(head.seq)
        known(hub.relay_id).opened(relay_key, envelope)
    except (Malformed, Refused):
        raise LogBroken(Fault.BAD_HEAD, 0, (envelope,)) from None
    if hub.term != head.term:
        raise LogBroken(Fault.BAD_HEAD, head.seq, (envelope,))
    return SignedHead(head, envelope)


def check_agreement(one: SignedHead, other: SignedHead) -> None:
    """Raises `LogBroken` (equivocation), both words as evidence, if the hub said two things."""
    a, b = one.head, other.head
    if (a.room, a.term, a.seq) == (b.room, b.term, b.seq) and a.log != b.log:
        raise LogBroken(Fault.EQUIVOCATION, a.seq, (one.envelope, other.envelope))
