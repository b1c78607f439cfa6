"""Keys that only members hold: their own pairs, and the room key of each epoch."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve, field, frozen

from ofcd.e2e.errors import KeyFault, KeyMissing, KeyRejected
from ofcd.protocol.ids import (
    BlobId,
    Hash32,
    InviteId,
    MemberId,
    PublicKey,
    Sid,
    member_id_of,
    tagged_hash,
)
from ofcd.themis import KeyPair, generate_key, generate_keypair

__all__ = [
    "EpochKeys",
    "MemberKeys",
    "key_commitment",
    "new_blob_id",
    "new_invite_id",
    "new_nonce",
    "new_sid",
]

_SHORT_ID_BYTES = 16


@frozen
class MemberKeys:
    """One member's two pairs for one room: `sign` makes its identity, `encrypt` opens its boxes."""

    sign: KeyPair = field(repr=False)
    encrypt: KeyPair = field(repr=False)
    others: tuple[KeyPair, ...] = field(default=(), repr=False)
    """Pairs that boxes may still come for: former ones, and one that is to be the next."""

    @classmethod
    def generate(cls) -> MemberKeys:
        """New pairs, for one room only."""
        return cls(sign=generate_keypair(), encrypt=generate_keypair())

    @property
    def sign_key(self) -> PublicKey:
        """The public signing key."""
        return PublicKey(self.sign.public)

    @property
    def enc_key(self) -> PublicKey:
        """The public key that boxes are made for."""
        return PublicKey(self.encrypt.public)

    @property
    def held(self) -> tuple[KeyPair, ...]:
        """All pairs that open boxes, the current one first."""
        return (self.encrypt, *self.others)

    def turned_to(self, enc_key: PublicKey) -> MemberKeys:
        """With the pair of this public key as the current one; unchanged, if it is not held."""
        pair = next((pair for pair in self.others if pair.public == enc_key), None)
        if pair is None:
            return self
        rest = tuple(other for other in self.held if other is not pair)
        return evolve(self, encrypt=pair, others=rest)

    def holding(self, pair: KeyPair) -> MemberKeys:
        """With one pair more."""
        return evolve(self, others=(pair, *self.others))

    def current_only(self) -> MemberKeys:
        """With the current pair alone."""
        return evolve(self, others=())

    @property
    def mid(self) -> MemberId:
        """The member id these keys make."""
        return member_id_of(self.sign_key)


@frozen
class EpochKeys:
    """The room keys held, by epoch; every one of them matched the commitment the log signs."""

    nonce: Hash32
    """The GENESIS nonce, which every commitment is bound to."""
    keys: Mapping[int, bytes] = field(factory=dict, repr=False)

    def __contains__(self, epoch: int) -> bool:
        return epoch in self.keys

    def get(self, epoch: int) -> bytes:
        """The 32-byte key of `epoch`; raises `KeyMissing`."""
        key = self.keys.get(epoch)
        if key is None:
            raise KeyMissing(epoch)
        return key

    def adopt(self, epoch: int, key: bytes, commitment: Hash32) -> EpochKeys:
        """With `key` for `epoch`; raises `KeyRejected` unless it is the one committed to."""
        if key_commitment(self.nonce, epoch, key) != commitment:
            raise KeyRejected(KeyFault.COMMITMENT)
        return evolve(self, keys={**self.keys, epoch: key})

    def forget_before(self, epoch: int) -> EpochKeys:
        """Without the keys of epochs before `epoch`."""
        return evolve(self, keys={e: key for e, key in self.keys.items() if e >= epoch})


def key_commitment(nonce: Hash32, epoch: int, key: bytes) -> Hash32:
    """`kc`: what the control log signs for a room key (protocol.md §2.1).

    Bound to the GENESIS nonce, not to the room id: GENESIS carries the first one, and the room id
    is a hash of GENESIS.
    """
    return tagged_hash("kc", nonce, epoch, key)


def new_nonce() -> Hash32:
    """32 random bytes."""
    return Hash32(generate_key())


def new_sid() -> Sid:
    """A random id for a new message."""
    return Sid(generate_key()[:_SHORT_ID_BYTES])


def new_invite_id() -> InviteId:
    """A random id for a new invite."""
    return InviteId(generate_key()[:_SHORT_ID_BYTES])


def new_blob_id() -> BlobId:
    """A random id for a new attachment."""
    return BlobId(generate_key()[:_SHORT_ID_BYTES])
