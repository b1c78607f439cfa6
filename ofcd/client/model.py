"""What a client keeps of its rooms: plain data, and where it stands in the vault.

rooms            room            -> Identity: anew with another relay or encryption key of ours
joins            room+invite     -> a join of ours that is under way (joining.py)
relays           relay url       -> the relay's pinned id
lineages         relay id        -> how it came to the key it has (lineages.py)
joining/<hex>    as room/<hex>   what an answered join brought, until it is admitted (arriving.py)
room/<hex>       head            -> Head, rewritten with every batch
                 key/<epoch>     -> a room key
                 sender/<mid>    -> Sender
                 out/<number>    -> Queued (outbox.py)
                 token/<invite>  -> the token of an open invite
                 code/<invite>   -> an invite made under an id of the application's (inviting.py)
                 admit/<invite>  -> an admission under way (admitting.py)
                 compare/<mid>   -> comparisons begun with a member (comparing.py)
                 offer/<mid>     -> a member's first step of one, that waits for the person here
                 verified/<mid>  -> keys that a comparison has shown to be genuine
                 enc/<public>    -> OwnPair: a former or a next encryption key of ours (ownkeys.py)
                 alias/<mid>     -> whom a member says to be the same person as (aliases.py)
                 drop/<blob><mid> -> whose attachment the relay is to forget (blobdrops.py)
                 app/<name>      -> an application's cursor
                 proof/<n>, evidence/<n>, unproven/<n>
                                 -> what can not be true, by what it shows (proofs.py)
archive/<hex>/log     seq      -> Entry (archive.py)
archive/<hex>/ids     event id -> seq
archive/<hex>/chain   seq      -> control record's envelope, verbatim
archive/<hex>/parked  seq      -> nothing: entries that wait for a key
archive/<hex>/titles  seq      -> nothing: entries that give the room its name and topic
archive/<hex>/named   blob+mid -> how many messages of that member name this file (blobdrops.py)
archive/<hex>/sids    sid      -> Sent, of own messages
archive/<hex>/void    mid+sid+event id -> Entry that stood in the log and came to nothing
                                  (voiding.py); of a control record, by its event id alone
archive/<hex>/taken    mid+sid  -> nothing: what this member took back, and is void with that
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

from attrs import evolve, field, frozen

from ofcd.client.errors import VaultDamaged
from ofcd.client.events import RoomStatus
from ofcd.e2e.keys import MemberKeys
from ofcd.protocol.codec import build, dump_json, parse_json, unbuild
from ofcd.protocol.codes import Malformed
from ofcd.protocol.ids import EventId, Hash32, MemberId, PublicKey, RelayId, RoomId, Sid
from ofcd.themis import KeyPair

__all__ = [
    "JOINS",
    "LINEAGES",
    "RELAYS",
    "ROOMS",
    "Head",
    "Identity",
    "Sender",
    "Sent",
    "Tables",
    "load",
    "number_key",
    "save",
]

ROOMS: Final = "rooms"
JOINS: Final = "joins"
RELAYS: Final = "relays"
LINEAGES: Final = "lineages"
_RECORD_BYTES: Final = 16 * 1024 * 1024
_CUTS_KEPT: Final = 32

T = TypeVar("T")


@frozen
class Identity:
    """Who this client is in one room, and where the room lives."""

    room: RoomId
    relay_url: str
    relay_id: RelayId
    sign_private: bytes = field(repr=False)
    sign_public: PublicKey
    enc_private: bytes = field(repr=False)
    enc_public: PublicKey
    nonce: Hash32
    """The room's GENESIS nonce."""
    former: tuple[MemberId, ...] = ()
    """The members this client was there before it came back by a new invite."""
    hub_url: str = ""
    """Where the room's own relay is reached, if the room was joined through another one."""

    @property
    def invite_url(self) -> str:
        """The address that invites name."""
        return self.hub_url or self.relay_url

    @classmethod
    def of(
        cls, room: RoomId, url: str, relay_id: RelayId, mine: MemberKeys, nonce: Hash32
    ) -> Identity:
        """The identity made of these keys."""
        return cls(
            room=room,
            relay_url=url,
            relay_id=relay_id,
            sign_private=mine.sign.private,
            sign_public=mine.sign_key,
            enc_private=mine.encrypt.private,
            enc_public=mine.enc_key,
            nonce=nonce,
        )

    @property
    def mine(self) -> MemberKeys:
        """The key pairs."""
        return MemberKeys(
            sign=KeyPair(self.sign_private, self.sign_public),
            encrypt=KeyPair(self.enc_private, self.enc_public),
        )


@frozen
class Head:
    """Where this client stands in a room."""

    my_name: str = ""
    status: RoomStatus = RoomStatus.ACTIVE
    code: str = ""
    """Why the status is not `active`."""
    created: bool = True
    """The relay has GENESIS; False until it has acknowledged it to the founder."""
    create_token: str = field(default="", repr=False)
    announced: bool = True
    """The others have been told `my_name`."""
    begun: bool = False
    """The log has a known beginning here; else control log first, then `Sync`."""
    start: int = 0
    """First entry that this client could verify in place."""
    seq: int = -1
    log: Hash32 | None = None
    ctl_seq: int = -1
    epoch_since: int = 0
    counter: int = 0
    """Own last accepted event, and its id; 0 before the first."""
    last: EventId | None = None
    recounts: bool = False
    """A gap with own events in it became void, or part of it: the relay knows how many are left."""
    voided: tuple[tuple[int, EventId], ...] = ()
    """Own events that came to nothing, and whose counters other events take or will take."""
    room_name: str = ""
    topic: str = ""
    read_seq: int = -1
    unread: int = 0
    vouched_seq: int = -1
    """The log position that an admitter, or the relay by an Ack, vouched for, and its running hash;
    checked once the log has come there."""
    vouched_log: Hash32 | None = None
    vouched_by: bytes = field(default=b"", repr=False)
    """The admitter's JOIN_RESP; the relay has signed nothing."""
    said_seq: int = -1
    """The last entry that is more than a beat (beats.py); -1 where none was taken yet."""
    unconfirmed: int = -1
    """The last entry of others that nobody, this client included, has confirmed to have seen."""
    unconfirmed_since: int = 0
    """When it came here."""
    own_seq: int = -1
    """This client's own last message in the log (receipts.py)."""
    others_seq: int = -1
    """The last message of others."""
    key_request: bytes = b""
    """Our pending KEY_REQ."""
    key_asked: int = 0
    offered_to: MemberId | None = None
    """Whom we asked to become root."""
    accepted_seq: int = -1
    """Where their acceptance stands, until HANDOVER is in the log; -1: nobody's."""
    heir: MemberId | None = None
    """Whose acceptance that is."""
    moving: tuple[str, RelayId] | None = None
    """Where this client asked to be at home from now on: address and id (moving.py)."""
    back_to: tuple[str, RelayId] | None = None
    """Where this client reaches the room again once a try at another relay is over (moving.py)."""
    signed_term: int = 0
    """The highest term of a HUB_MOVE that this client ever signed, or saw its signature under."""
    forced_term: int = 0
    """The same of those by force."""
    may_return: bool = False
    """Evicted, and told a move by force that may have made that void: so it is if one is let in."""
    cuts: int = 0
    """How often the end of the log came to nothing (voiding.py)."""
    cut_ends: tuple[tuple[int, int], ...] = ()
    """Which of these times, and the last entry that was left: see `after_cut`."""
    hold_joins: bool = False
    """The application decides who is let in: requests wait for its word."""

    def after_cut(self, base: int) -> Head:
        """With one more cut, which left nothing behind entry `base`.

        Of the cuts before it only those that went further back say anything that this one does
        not; of too many, the oldest two are taken for one.
        """
        ends = [(number, end) for number, end in self.cut_ends if end < base]
        if len(ends) >= _CUTS_KEPT:
            (_, lowest), (number, _), *rest = ends
            ends = [(number, lowest), *rest]
        number = self.cuts + 1
        return evolve(self, cuts=number, cut_ends=(*ends, (number, base)))

    def holds_since(self, cuts: int) -> int | None:
        """Up to where the log is what it was when it had lost its end so often; None: all of it."""
        return min((end for number, end in self.cut_ends if number > cuts), default=None)


@frozen
class Sender:
    """What is known of a member who spoke."""

    name: str = ""
    counter: int = 0
    last: EventId | None = None
    sid: Sid | None = None
    voided: tuple[EventId, ...] = ()
    certain: bool = True
    """Nothing of theirs was missed since."""
    reached: int = -1
    """The last entry that this member's own signature proves its device to have."""


@frozen
class Sent:
    """Where an own message stands in the room's log."""

    event_id: EventId
    seq: int


@frozen
class Tables:
    """The names of one room's tables."""

    room: RoomId

    @property
    def state(self) -> str:
        """Everything that changes; pinned."""
        return f"room/{self.room.hex()}"

    @property
    def joining(self) -> str:
        """What becomes `state` when this client is admitted; pinned."""
        return f"joining/{self.room.hex()}"

    def archive(self, name: str) -> str:
        """A table of history: log, ids, chain, parked, hashes, sids, named."""
        return f"archive/{self.room.hex()}/{name}"


def number_key(number: int, prefix: bytes = b"") -> bytes:
    """A record id that sorts like the number."""
    return prefix + number.to_bytes(8, "big")


def save(value: Any) -> bytes:
    """A record's bytes."""
    return dump_json(unbuild(value))


def load(cls: type[T], raw: bytes) -> T:
    """The value in a record; raises `VaultDamaged` for one that another version wrote."""
    try:
        return build(cls, parse_json(raw, max_bytes=_RECORD_BYTES))
    except Malformed as error:
        raise VaultDamaged(
            f"the vault holds a {cls.__name__} that this version can not read ({error}): "
            "update this program"
        ) from error
