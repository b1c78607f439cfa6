"""What someone can do who has a member's keys and everything that the relay has."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import product

from ofcd.client import Room
from ofcd.e2e.contexts import message_context, rekey_context
from ofcd.e2e.epochs import open_routine_rekey
from ofcd.e2e.errors import KeyMissing, KeyRejected
from ofcd.e2e.keys import EpochKeys, MemberKeys
from ofcd.protocol.ids import b64decode
from ofcd.protocol.records import Event, RekeyBoxed, RekeyRoutine, UpdateKey
from ofcd.store import LogRow
from ofcd.testing import World
from ofcd.themis import CannotOpen, InvalidInput, unbox, unseal
from ofcd.themis.signed import peek
from tests.world.scene import rows

__all__ = ["followed", "follows", "opened", "opened_later", "recording", "stolen", "unboxes"]


def stolen(room: Room) -> tuple[MemberKeys, EpochKeys]:
    """Everything secret that a member has in a room."""
    core = room._client._core(room.id)
    return core.mine, core.keys


def recording(world: World, *rooms: Room) -> list[LogRow]:
    """All that the relay keeps of the room, with the boxes for each of these members."""
    return [row for room in rooms for row in rows(world, room.id, room.me)]


def opened(recorded: Iterable[LogRow], keys: EpochKeys) -> list[bytes]:
    """Every event's body that one of the keys opens, as whichever epoch's it is tried."""
    return [body for row in recorded for body in _bodies(row, keys)]


def _bodies(row: LogRow, keys: EpochKeys) -> Iterator[bytes]:
    event = peek(row.record).record
    if not isinstance(event, Event) or not row.cell:
        return
    for key in keys.keys.values():
        for epoch in {*keys.keys, event.epoch}:
            context = message_context(
                event.room, epoch, event.mid, event.counter, event.sid, event.kind
            )
            try:
                yield unseal(key, row.cell, context)
            except CannotOpen:
                continue


def followed(recorded: Iterable[LogRow], keys: EpochKeys) -> EpochKeys:
    """`keys`, and those of every rotation that can be followed from them."""
    for row in recorded:
        record = peek(row.record).record
        if isinstance(record, RekeyRoutine):
            try:
                keys = open_routine_rekey(record, keys)
            except (KeyMissing, KeyRejected):
                continue
    return keys


def opened_later(
    recorded: list[LogRow], mine: MemberKeys, keys: EpochKeys, witness: Room
) -> list[bytes]:
    """What someone opens who has a member's keys, and every box that was recorded for anyone.

    Each box is tried with each of the keys, and with every public key that the log has seen: a box
    opens from both of its ends. Room keys that are found are followed on; those that the member
    held at the theft are not used, but for what they lead to.
    """
    core = witness._client._core(witness.id)
    publics = {m.first_enc_key for m in core.state.members.values()} | {mine.enc_key}
    found = EpochKeys(keys.nonce)
    for row in recorded:
        record = peek(row.record).record
        publics |= {record.enc_key} if isinstance(record, UpdateKey) else set()
    for row in recorded:
        record = peek(row.record).record
        if isinstance(record, RekeyBoxed) and row.box:
            for pair, public in product(mine.held, publics):
                try:
                    said = unbox(pair.private, public, row.box)
                    content = json.loads(said.partition(b"\n")[2])
                    key = b64decode(content["key"])
                    found = found.adopt(record.epoch, key, record.key_commitment)
                except (CannotOpen, InvalidInput):
                    continue
    return opened(recorded, followed(recorded, found))


def follows(row: LogRow, keys: EpochKeys) -> bool:
    """Whether one of the keys opens a routine rotation."""
    record = peek(row.record).record
    if not isinstance(record, RekeyRoutine):
        return False
    for key in keys.keys.values():
        context = rekey_context(record.room, record.epoch, record.key_commitment, record.prev)
        try:
            unseal(key, record.cell, context)
        except CannotOpen:
            continue
        return True
    return False


def unboxes(row: LogRow, mine: MemberKeys, owner: Room) -> bool:
    """Whether the member's own key opens somebody's key box."""
    if not row.box:
        return False
    core = owner._client._core(owner.id)
    for sender in (core.mine.enc_key, mine.enc_key):
        try:
            unbox(mine.encrypt.private, sender, row.box)
        except CannotOpen:
            continue
        return True
    return False
