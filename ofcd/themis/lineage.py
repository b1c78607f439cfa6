"""A relay's keys, from its first to the one it has now (docs/protocol.md, A relay's keys).

A relay's id is the hash of its first key, for good. Each later key is vouched for by a SUCCESSION,
signed by the key before and by itself. So who knows the id, and nothing else, can prove whom a key
is of, from the statements alone, whoever shows them. **Here, and nowhere else, it is decided which
relay a key speaks for.**
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import field, frozen

from ofcd.protocol import limits
from ofcd.protocol.codes import Code, Malformed, Refused
from ofcd.protocol.ids import PublicKey, RelayId, relay_id_of
from ofcd.protocol.records import Succession, SuccessionAccept
from ofcd.protocol.versions import VERSION
from ofcd.themis.keys import KeyPair
from ofcd.themis.signed import SignedRecord, open_signed, peek, sign_record

__all__ = ["Lineage", "TwoSuccessors", "succeed"]

_UNPROVEN: Final = (
    "another relay answered than the one that is known, and nothing that the known one has signed "
    "says that this is its new key"
)
_SUPERSEDED: Final = (
    "the relay shows a key that it has replaced: it was put back to an old relay.key, or somebody "
    "has that key; its operator must put the newest relay.key back"
)
_TWO: Final = (
    "the relay's key was passed on to two different ones: somebody else has it, or it was replaced "
    "twice; the one that was known first stays, and the other is not talked to"
)


class TwoSuccessors(Refused):
    """Proof that a relay's key has signed for two that follow it."""

    def __init__(self, relay_id: RelayId, branch: Sequence[bytes]) -> None:
        """`branch`: statements from the first one on; the last is against the one known there."""
        super().__init__(Code.WRONG_RELAY, _TWO)
        self.relay_id = relay_id
        self.branch = tuple(branch)


@frozen
class Lineage:
    """What is known of one relay's keys. Without a statement: its first key, by its hash."""

    relay_id: RelayId
    statements: tuple[bytes, ...] = field(default=(), repr=False)
    """The signed SUCCESSIONs, the oldest first; verified."""
    keys: tuple[PublicKey, ...] = ()
    """All of its keys, the oldest first; none where no statement is known."""

    @staticmethod
    def recalled(relay_id: RelayId, statements: Sequence[bytes]) -> Lineage:
        """One that was verified before it was kept."""
        records = [_statement(peek(raw)) for raw in statements]
        keys = [records[0].key] if records else []
        return Lineage(relay_id, tuple(statements), (*keys, *(one.next_key for one in records)))

    @staticmethod
    def first_seen(key: PublicKey, offered: Sequence[bytes]) -> Lineage:
        """Of a relay of which nothing is known: the id follows from what it shows.

        Raises `ProtocolError` where that does not lead to the key that it has proven to hold.
        """
        first = _statement(peek(offered[0])).key if offered else key
        return Lineage(relay_id_of(first)).proven(key, offered)

    @property
    def count(self) -> int:
        """How often the relay's key was replaced, as far as is known."""
        return len(self.statements)

    @property
    def times(self) -> tuple[int, ...]:
        """When its key was replaced, in milliseconds since 1970, by its own word."""
        return tuple(_statement(peek(raw)).ts for raw in self.statements)

    def is_current(self, key: PublicKey) -> bool:
        """Whether this is the key that the relay has now."""
        return key == self.keys[-1] if self.keys else relay_id_of(key) == self.relay_id

    def had(self, key: PublicKey) -> bool:
        """Whether this is, or was, a key of the relay's."""
        return key in self.keys or relay_id_of(key) == self.relay_id

    def departs(self, offered: Sequence[bytes]) -> bool:
        """Whether they claim another successor of a key than is known, which costs nothing to see.

        Raises `ProtocolError` for what is no statement. Nothing is verified.
        """
        known = zip(offered, range(1, self.count + 1), strict=False)
        return any(not self._is_known(raw, number) for raw, number in known)

    def followed(self, offered: Sequence[bytes]) -> Lineage:
        """With what these statements add to it; fewer than are known change nothing.

        Raises `ProtocolError` if one does not verify, `TwoSuccessors` if they part from the known.
        """
        if len(offered) > limits.SUCCESSIONS:
            raise Malformed(Code.TOO_LARGE, "a relay's key can not be replaced so often")
        keys = list(self.keys[:1])
        for number, raw in enumerate(offered, start=1):
            is_known = number <= self.count
            if not is_known or not self._is_known(raw, number):
                record = self._verified(raw, number, keys[-1] if keys else None)
                if is_known and record.next_key != self.keys[number]:
                    raise TwoSuccessors(self.relay_id, offered[:number])
                keys += [record.next_key] if keys else [record.key, record.next_key]
                if record.next_key in keys[:-1]:  # what was given up does not come back
                    raise Refused(Code.WRONG_RELAY, _UNPROVEN)
            else:
                keys.append(self.keys[number])
        if len(offered) <= self.count:
            return self
        return Lineage(self.relay_id, (*self.statements, *offered[self.count :]), tuple(keys))

    def proven(self, key: PublicKey, offered: Sequence[bytes]) -> Lineage:
        """The same relay, which has proven to hold `key`, and shows these statements.

        Raises `Refused` (wrong_relay) unless that is the key it has now; as `followed` does.
        """
        longer = self.followed(offered)
        if not longer.is_current(key):
            raise Refused(Code.WRONG_RELAY, _SUPERSEDED if longer.had(key) else _UNPROVEN)
        return longer

    def merged(self, other: Lineage) -> Lineage:
        """This with what `other`, verified apart from it and shown on a link or a page, adds to it.

        What is known can have grown since `other` was begun from it, or `other` was taken for the
        first seen. Raises `TwoSuccessors` if they part, `Refused` (wrong_relay) if it is behind.
        """
        for number, (ours, theirs) in enumerate(zip(self.keys, other.keys, strict=False)):
            if ours != theirs:
                raise TwoSuccessors(self.relay_id, other.statements[:number])
        if other.count < self.count:
            raise Refused(Code.WRONG_RELAY, _SUPERSEDED)
        return other if other.count > self.count else self

    def opened(self, key: PublicKey | None, envelope: bytes) -> SignedRecord:
        """A record that the relay has signed, by any of its keys. Raises as `open_signed` does.

        `key` is the one that it is said to be by: it is what counts where no statement is known,
        and if it hashes to the relay's id.
        """
        newest = list(reversed(self.keys))
        if not newest and key is not None and self.had(key):
            newest = [key]
        for candidate in newest:
            try:
                return open_signed(candidate, envelope)
            except Refused:
                continue
        raise Refused(Code.BAD_SIGNATURE)

    def _is_known(self, raw: bytes, number: int) -> bool:
        """Whether it says what is known already: said anew, it costs no verification."""
        return (
            raw == self.statements[number - 1]
            or _statement(peek(raw)).next_key == self.keys[number]
        )

    def _verified(self, raw: bytes, number: int, before: PublicKey | None) -> Succession:
        """The statement, by the key before it and the one after it. Raises `ProtocolError`."""
        if len(raw) > limits.SUCCESSION_BYTES:
            raise Malformed(Code.TOO_LARGE)
        claimed = _statement(peek(raw))
        if before is None and relay_id_of(claimed.key) == self.relay_id:
            before = claimed.key
        if before is None or claimed.key != before or claimed.next_key == before:
            raise Refused(Code.WRONG_RELAY, _UNPROVEN)
        record = _statement(open_signed(before, raw))
        accept = open_signed(record.next_key, record.accept).record
        wanted = SuccessionAccept(record.v, self.relay_id, number, before)
        if (record.relay_id, record.number, accept) != (self.relay_id, number, wanted):
            raise Refused(Code.WRONG_RELAY, _UNPROVEN)
        return record


def succeed(lineage: Lineage, old: KeyPair, new: KeyPair, now: int) -> Lineage:
    """The relay goes on with `new`: `lineage`, whose current key is `old`, and one statement more.

    Raises `Refused` (quota) where it has been replaced as often as it can be.
    """
    if lineage.count >= limits.SUCCESSIONS:
        raise Refused(Code.QUOTA, f"a relay's key can be replaced {limits.SUCCESSIONS} times")
    number, key = lineage.count + 1, PublicKey(old.public)
    accept = SuccessionAccept(VERSION, lineage.relay_id, number, key)
    record = Succession(
        v=VERSION,
        relay_id=lineage.relay_id,
        number=number,
        key=key,
        next_key=PublicKey(new.public),
        ts=now,
        accept=sign_record(new.private, accept).envelope,
    )
    signed = sign_record(old.private, record)
    return lineage.followed((*lineage.statements, signed.envelope))


def _statement(signed: SignedRecord) -> Succession:
    if not isinstance(signed.record, Succession):
        raise Malformed(Code.BAD_RECORD, "this is no statement of a relay's about its key")
    return signed.record
