r"""Signed records: what members and relays sign (protocol.md §2.3).

A record is signed as `OFC1:<type>\n` and a JSON object, by Themis Secure Message. What a relay or
a client keeps and forwards is the signed envelope, verbatim; `decode_record` takes the payload
that verification returned, never the envelope (E6).
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any, Final

from attrs import field, frozen
from attrs.validators import deep_iterable, ge, in_, le, max_len, min_len

from ofcd.protocol import limits
from ofcd.protocol.addresses import address
from ofcd.protocol.codec import build, dump_json, parse_json, unbuild
from ofcd.protocol.codes import Code, Malformed
from ofcd.protocol.ids import (
    EventId,
    Hash32,
    InviteId,
    MemberId,
    PublicKey,
    RelayId,
    RoomId,
    Sid,
)
from ofcd.protocol.versions import VERSIONS

__all__ = [
    "CONTROL_TYPES",
    "RECORD_TYPES",
    "Admit",
    "Attach",
    "Cap",
    "Control",
    "Descriptor",
    "Event",
    "EventKind",
    "Genesis",
    "Grant",
    "Handover",
    "HandoverAccept",
    "History",
    "Home",
    "HubMove",
    "InviteClose",
    "InviteOpen",
    "JoinConfirm",
    "JoinRequest",
    "JoinResponse",
    "KeyAnswer",
    "KeyRequest",
    "Leave",
    "LogHead",
    "LoggedRecord",
    "Peer",
    "Policy",
    "Receipt",
    "Record",
    "RekeyBoxed",
    "RekeyRoutine",
    "Role",
    "Seen",
    "Succession",
    "SuccessionAccept",
    "UpdateKey",
    "decode_record",
    "encode_record",
]


class Role(StrEnum):
    """What a member may do: root > co-owner > member > readonly."""

    ROOT = "root"
    CO_OWNER = "co-owner"
    MEMBER = "member"
    READONLY = "readonly"


class Cap(StrEnum):
    """What is shown to every member beside the role: a mark, a right more, or a limit.

    A later version's word is a `Cap` too, of the same value: kept as it stands, and without effect.
    """

    BOT = "bot"
    BRIDGE = "bridge"
    ADMIT = "admit"
    ONLY_ADDRESSED = "only-addressed"
    """A bot that handles only what is addressed to it: its own word, it has the room key."""
    NO_FILES = "no-files"
    """May send no attachments: relay and clients take none."""

    @classmethod
    def _missing_(cls, value: object) -> Cap | None:
        if not isinstance(value, str) or not _CAP_WORD.fullmatch(value):
            return None
        unknown = str.__new__(cls, value)
        unknown._name_ = unknown._value_ = value
        return unknown


class History(StrEnum):
    """What a newcomer may read: since the last rotation, or only from the admission on."""

    ROTATION = "rotation"
    JOIN = "join"


class EventKind(StrEnum):
    """What the relay may know of an event: that it is a message, or a redaction of one."""

    MESSAGE = "msg"
    REDACT = "redact"
    BEAT = "beat"


_CAP_WORD: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
_roles = in_((Role.CO_OWNER, Role.MEMBER, Role.READONLY))
_caps: Any = max_len(limits.CAPS)
_cell: Any = max_len(limits.RECORD_BYTES)


@frozen
class Seen:
    """The last event its sender had verified: fork evidence for everyone else."""

    seq: int
    log: Hash32


@frozen
class Policy:
    """A room's rules, fixed in GENESIS."""

    rotate_after: int = field(default=100, validator=[ge(2), le(100_000)])
    rotate_hours: int = field(default=24, validator=[ge(1), le(24 * 365)])
    boxed_every: int = field(default=10, validator=[ge(1), le(1000)])
    history: History = History.ROTATION
    join_rekey: bool = False
    max_members: int = field(
        default=limits.ROOM_MEMBERS, validator=[ge(1), le(limits.ROOM_MEMBERS)]
    )
    stall_after: int = field(default=0, validator=le(1_000_000))
    """Messages after which, unrotated, the hub refuses posts; 0 for never."""
    beat_minutes: int = field(default=10, validator=le(7 * 24 * 60))
    """Minutes of silence after which a member confirms the end of the log; 0 for never."""
    local_only: bool = False
    """All members are at home at the hub: no other relay ever gets a copy of the room."""


@frozen
class Genesis:
    """GENESIS: founds a room; the room's id is a hash of this payload. Signed by `sign_key`."""

    v: int
    nonce: Hash32
    sign_key: PublicKey
    enc_key: PublicKey
    relay_id: RelayId
    policy: Policy
    key_commitment: Hash32
    ts: int
    recovery_key: PublicKey | None = None
    predecessor: tuple[RoomId, Hash32] | None = None


@frozen
class Attach:
    """ATTACH: proves, on this very session, that its holder is member `mid`."""

    v: int
    room: RoomId
    mid: MemberId
    transport_key: PublicKey
    relay_id: RelayId
    challenge: Hash32
    ts: int


@frozen(kw_only=True)
class _ControlFields:
    v: int
    room: RoomId
    mid: MemberId
    prev: EventId
    seen: Seen
    ts: int


@frozen(kw_only=True)
class InviteOpen(_ControlFields):
    """INVITE_OPEN: publishes the commitment to a one-time token."""

    invite_id: InviteId
    commit: Hash32
    expires: int
    admitters: tuple[MemberId, ...] = field(validator=[min_len(1), max_len(limits.ADMITTERS)])
    role: Role = field(validator=_roles)
    caps: tuple[Cap, ...] = field(default=(), validator=_caps)
    history: History = History.ROTATION
    token_boxes: tuple[tuple[MemberId, bytes], ...] = field(
        default=(), validator=max_len(limits.ADMITTERS)
    )


@frozen(kw_only=True)
class InviteClose(_ControlFields):
    """INVITE_CLOSE: cancels an open invite."""

    invite_id: InviteId
    answered: bool = False
    """Somebody was given the room key under it and is no member: a boxed REKEY must come next."""


@frozen(kw_only=True)
class Admit(_ControlFields):
    """ADMIT: the member certificate; the only thing that makes a member."""

    invite_id: InviteId
    sign_key: PublicKey
    enc_key: PublicKey
    role: Role = field(validator=_roles)
    caps: tuple[Cap, ...] = field(default=(), validator=_caps)
    confirm_hash: Hash32
    epoch: int
    history_from: int
    home: RelayId


@frozen(kw_only=True)
class RekeyRoutine(_ControlFields):
    """REKEY, routine: the next key sealed under the last one; whoever had that one can follow."""

    epoch: int
    key_commitment: Hash32
    cell: bytes = field(validator=max_len(1024))


@frozen(kw_only=True)
class RekeyBoxed(_ControlFields):
    """REKEY, boxed: a fresh key for each listed member; EVICT where `removed` is not empty."""

    epoch: int
    key_commitment: Hash32
    boxes: tuple[tuple[MemberId, Hash32], ...] = field(validator=max_len(limits.ROOM_MEMBERS))
    removed: tuple[MemberId, ...] = field(default=(), validator=max_len(limits.ROOM_MEMBERS))
    reason: str = field(default="", validator=max_len(limits.SHORT_TEXT))


@frozen(kw_only=True)
class Leave(_ControlFields):
    """LEAVE: a member's own departure; a boxed REKEY must come next."""


@frozen(kw_only=True)
class Grant(_ControlFields):
    """GRANT and REVOKE: sets a member's role and capabilities."""

    member: MemberId
    role: Role = field(validator=_roles)
    caps: tuple[Cap, ...] = field(default=(), validator=_caps)


@frozen(kw_only=True)
class Handover(_ControlFields):
    """HANDOVER: root passes to `to`, whose signed HANDOVER_ACCEPT is nested; boxed REKEY next."""

    to: MemberId
    accept: bytes = field(validator=max_len(2048))


@frozen(kw_only=True)
class Home(_ControlFields):
    """HOME: from now on its signer is at home at another relay."""

    home: RelayId


@frozen(kw_only=True)
class UpdateKey(_ControlFields):
    """UPDATE_E: the signer's boxes are made for, and by, this key from here on."""

    enc_key: PublicKey


@frozen(kw_only=True)
class HubMove(_ControlFields):
    """HUB_MOVE: another relay orders the room from now on; said by root.

    It stands exactly behind its `seen`, which so is the design's (at_seq, L_at): whatever else the
    relay before put there is void. The new one must have the log up to there.
    """

    hub: RelayId
    urls: tuple[str, ...] = field(
        validator=[
            min_len(1),
            max_len(limits.RELAY_URLS),
            deep_iterable(address),
        ]
    )
    """Where the new hub is reached."""
    term: int
    """One more than that of the hub before; with `force`, any higher one."""
    force: bool = False
    """The hub so far has no part in it: what it ordered behind `seen` is void."""
    after: EventId | None = None
    """The HUB_MOVE before it in the log; None where there is none, or by an older client."""


@frozen
class HandoverAccept:
    """HANDOVER_ACCEPT: signed by the member who is to be root."""

    v: int
    room: RoomId
    root: MemberId
    mid: MemberId
    ctl: EventId
    """The control head when it was signed: not long before the HANDOVER, and after the last one."""
    ts: int


@frozen
class JoinRequest:
    """JOIN_REQ: a stranger who holds the token asks in. Signed by `sign_key`."""

    v: int
    room: RoomId
    invite_id: InviteId
    proof: Hash32
    sign_key: PublicKey
    enc_key: PublicKey
    nonce: Hash32
    home: RelayId
    boxes: tuple[tuple[MemberId, bytes], ...] = field(
        validator=[min_len(1), max_len(limits.ADMITTERS)]
    )


@frozen
class JoinResponse:
    """JOIN_RESP: an admitter hands the room key to the joiner, sealed under J and the token."""

    v: int
    room: RoomId
    invite_id: InviteId
    request_hash: Hash32
    mid: MemberId
    to: MemberId
    cell: bytes = field(validator=_cell)


@frozen
class JoinConfirm:
    """JOIN_CONFIRM: the joiner shows that it holds the room key and saw the same transcript."""

    v: int
    room: RoomId
    invite_id: InviteId
    request_hash: Hash32
    response_hash: Hash32
    mid: MemberId
    epoch: int
    cell: bytes = field(validator=_cell)


@frozen
class Event:
    """EVENT: the signed header of a message whose sealed cell travels beside it."""

    v: int
    room: RoomId
    epoch: int
    mid: MemberId
    counter: int = field(validator=ge(1))
    prev: EventId
    seen: Seen
    ctl: EventId
    kind: EventKind
    sid: Sid
    cell_hash: Hash32
    ts: int
    target: EventId | None = None


@frozen
class KeyRequest:
    """KEY_REQ: a member who can not read the current epoch asks owners for its key."""

    v: int
    room: RoomId
    mid: MemberId
    epoch: int
    nonce: Hash32
    ts: int


@frozen
class KeyAnswer:
    """Answer to KEY_REQ: the current epoch's key, boxed for the member who asked."""

    v: int
    room: RoomId
    mid: MemberId
    to: MemberId
    epoch: int
    request_hash: Hash32
    box_hash: Hash32


@frozen
class Receipt:
    """RECEIPT: a member's device has verified the room log up to `seen`. Signed by S of `mid`.

    It travels inside a signal, and says no more than the `seen` of any event of its signer's does.
    """

    v: int
    room: RoomId
    mid: MemberId
    seen: Seen
    ts: int


@frozen
class LogHead:
    """BATCH: the hub's signed word for the room log up to `seq` (protocol.md §2.2)."""

    v: int
    room: RoomId
    term: int
    seq: int
    log: Hash32
    ts: int


@frozen
class Peer:
    """PEER: a relay introduces itself to another one, on this very link. Signed by its R."""

    v: int
    relay_id: RelayId
    peer_id: RelayId
    """Whom it takes the other end for: who is somebody else hangs up."""
    challenge: Hash32
    """That of the dialled relay's Welcome; both ends sign the same."""
    ts: int
    url: str = field(default="", validator=max_len(limits.URL_TEXT))
    """Where this relay is reached, if anywhere."""


@frozen
class Descriptor:
    """RELAY: what `/.well-known/ofc/relay.json` says of a relay. Signed by its R."""

    v: int
    relay_id: RelayId
    key: PublicKey
    name: str = field(validator=max_len(limits.DOMAIN_TEXT))
    urls: tuple[str, ...] = field(validator=[min_len(1), max_len(limits.RELAY_URLS)])
    valid_until: int
    counter: int
    """Never goes back: an older descriptor is not taken for a newer one."""


@frozen
class Succession:
    """SUCCESSION: from here on a relay's key is `next_key`. Signed by `key`, the one before."""

    v: int
    relay_id: RelayId
    number: int = field(validator=ge(1))
    """1 for what follows the relay's first key, which its id is the hash of."""
    key: PublicKey
    next_key: PublicKey
    ts: int
    accept: bytes = field(validator=max_len(limits.SUCCESSION_BYTES))
    """The SUCCESSION_ACCEPT, signed by `next_key`."""


@frozen
class SuccessionAccept:
    """SUCCESSION_ACCEPT: its signer takes over from `key`."""

    v: int
    relay_id: RelayId
    number: int
    key: PublicKey


LoggedRecord = (
    InviteOpen
    | InviteClose
    | Admit
    | RekeyRoutine
    | RekeyBoxed
    | Leave
    | Grant
    | Handover
    | Home
    | UpdateKey
    | HubMove
)
"""What may stand on a control log after its GENESIS."""
Control = Genesis | LoggedRecord
"""Everything that stands on the control log; GENESIS is its first record."""
Record = (
    Control
    | Attach
    | HandoverAccept
    | JoinRequest
    | JoinResponse
    | JoinConfirm
    | Event
    | KeyRequest
    | KeyAnswer
    | Receipt
    | LogHead
    | Peer
    | Descriptor
    | Succession
    | SuccessionAccept
)

RECORD_TYPES: Final[dict[str, type[Record]]] = {
    "attach": Attach,
    "genesis": Genesis,
    "invite_open": InviteOpen,
    "invite_close": InviteClose,
    "admit": Admit,
    "rekey": RekeyRoutine,
    "rekey_boxed": RekeyBoxed,
    "leave": Leave,
    "grant": Grant,
    "handover": Handover,
    "home": Home,
    "update_e": UpdateKey,
    "hub_move": HubMove,
    "handover_accept": HandoverAccept,
    "join_req": JoinRequest,
    "join_resp": JoinResponse,
    "join_conf": JoinConfirm,
    "event": Event,
    "key_req": KeyRequest,
    "key_ans": KeyAnswer,
    "receipt": Receipt,
    "log_head": LogHead,
    "peer": Peer,
    "relay": Descriptor,
    "succession": Succession,
    "succession_accept": SuccessionAccept,
}
"""The names that stand in `OFC1:<type>`; reserved for later: recover."""

CONTROL_TYPES: Final = (
    Genesis,
    InviteOpen,
    InviteClose,
    Admit,
    RekeyRoutine,
    RekeyBoxed,
    Leave,
    Grant,
    Handover,
    Home,
    UpdateKey,
    HubMove,
)
_NAMES: Final = {cls: name for name, cls in RECORD_TYPES.items()}
_PREFIX: Final = b"OFC1:"
_LONGEST_NAME: Final = max(map(len, RECORD_TYPES))


def encode_record(record: Record) -> bytes:
    """The payload to sign."""
    name = _NAMES[type(record)].encode("ascii")
    return _PREFIX + name + b"\n" + dump_json(unbuild(record))


def decode_record(payload: bytes) -> Record:
    """The record in a payload; raises `Malformed` for whatever is not exactly one."""
    head, newline, _ = payload[: len(_PREFIX) + _LONGEST_NAME + 1].partition(b"\n")
    cls = RECORD_TYPES.get(head[len(_PREFIX) :].decode("ascii", "replace"))
    if not newline or not head.startswith(_PREFIX) or cls is None:
        raise Malformed(Code.BAD_RECORD, "the record is of no known type")
    fields = parse_json(payload[len(head) + 1 :], max_bytes=limits.CONTROL_BYTES)
    if fields.get("v") not in VERSIONS:
        raise Malformed(Code.UNSUPPORTED_VERSION)
    return build(cls, fields)
