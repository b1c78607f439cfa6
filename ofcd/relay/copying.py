"""A copy of another relay's room begins: from the control log that its hub shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ofcd.protocol.codes import Code, Malformed, ProtocolError, Refused
from ofcd.protocol.ids import Hash32, MemberId, RelayId, RoomId, member_id_of
from ofcd.protocol.records import CONTROL_TYPES, Genesis, HubMove
from ofcd.protocol.room import found
from ofcd.relay.facts import ChainCopied, ChainRecord, Fact, ReplicaFounded, RoomFounded
from ofcd.relay.room_log import RoomLog, chain_size
from ofcd.relay.verifying import HubLied, check_nested
from ofcd.themis.signed import open_signed, peek

__all__ = ["copy_floor", "found_copy"]


def copy_floor(chain: Sequence[ChainRecord], room: RoomId, home: RelayId) -> int:
    """Where a copy has to begin: whoever is, or comes to be, at home here reads nothing before it.

    Raises `HubLied`.
    """
    whole, _ = found_copy(chain, room, chain[-1].seq + 1, Hash32(bytes(32)), 0)
    state = whole.state
    starts = [member.history_from for member in state.members.values() if member.home == home]
    return max(1, min([state.epoch_seq + 1, *starts]))


def found_copy(
    chain: Sequence[ChainRecord], room: RoomId, floor: int, log: Hash32, now: int
) -> tuple[RoomLog, list[Fact]]:
    """A copy that begins at `floor`, from the control log before it. Raises `HubLied`.

    `log` is the running hash before `floor`: the hub's word, which its members check by what
    their admitters told them.
    """
    try:
        first, *rest = [peek(stored.record) for stored in chain if stored.seq < floor]
        genesis = first.record
        if not isinstance(genesis, Genesis):
            raise Malformed(Code.BAD_RECORD)
        open_signed(genesis.sign_key, first.envelope)
        state = found(genesis, first.payload)
        if state.room != room:
            raise Refused(Code.NOT_FOUND)
        copy = RoomLog.founded(first)
        now_hub = _hub_of(chain)
        copy.chain[first.event_id] = 0
        copy.chain_bytes = sum(chain_size(one.record) for one in chain if one.seq < floor)
        for stored, signed in zip(chain[1:], rest, strict=False):
            record = signed.record
            if not isinstance(record, CONTROL_TYPES):
                raise Malformed(Code.BAD_RECORD)
            open_signed(copy.state.key_of(record), signed.envelope)
            check_nested(copy.state, record)
            copy.advance(signed, copy.state.apply(record, signed.event_id, stored.seq))
    except (ProtocolError, ValueError) as error:
        text = f"the hub shows a false control log: {error}"
        raise HubLied(Code.BAD_RECORD, text) from error
    copy.seq, copy.log, copy.floor = floor - 1, log, floor
    copy.ahead = now_hub if now_hub != copy.state.hub else None
    copy.touched = now
    facts: list[Fact] = [
        RoomFounded(room, copy.state.root, now, floor, log),
        ReplicaFounded(room, copy.hub),
    ]
    for stored in chain:
        if stored.seq < floor:
            mid = _author(stored)
            facts.append(ChainCopied(room, stored.seq, stored.event_id, mid, stored.record, now))
    return copy, facts


def _hub_of(chain: Sequence[ChainRecord]) -> RelayId | None:
    """The hub that a control log names at its end; what of it is true, shows when it is applied."""
    records = (peek(stored.record).record for stored in reversed(chain))
    for record in records:
        if isinstance(record, HubMove):
            return record.hub
        if isinstance(record, Genesis):
            return record.relay_id
    return None


def _author(stored: ChainRecord) -> MemberId:
    record: Any = peek(stored.record).record
    return member_id_of(record.sign_key) if isinstance(record, Genesis) else record.mid
