"""Founding a room: everything is in the vault before the relay hears of it."""

from __future__ import annotations

from ofcd.client.archive import Archive, Entry, Kind
from ofcd.client.model import ROOMS, Head, Identity, Tables, number_key, save
from ofcd.client.turn import Turn
from ofcd.e2e.genesis import make_genesis
from ofcd.e2e.keys import MemberKeys
from ofcd.protocol.ids import Hash32, RelayId, RoomId
from ofcd.protocol.records import Policy

__all__ = ["found_room"]


def found_room(
    turn: Turn,
    relay_url: str,
    relay_id: RelayId,
    *,
    my_name: str,
    policy: Policy | None,
    token: str = "",
) -> RoomId:
    """Keep a new room; its machine sends GENESIS as often as it takes, and it stays one room."""
    mine = MemberKeys.generate()
    founding = make_genesis(mine, relay_id, turn.now, policy)
    room, tables = founding.state.room, Tables(founding.state.room)
    records, archive = turn.records, Archive(room, mine.mid)
    identity = Identity.of(room, relay_url, relay_id, mine, founding.state.nonce)
    head = Head(
        my_name=my_name,
        created=False,
        create_token=token,
        announced=False,
        begun=True,
        seq=0,
        log=Hash32(room),
        ctl_seq=0,
        epoch_since=turn.now,
    )
    entry = Entry(
        seq=0,
        event_id=founding.signed.event_id,
        mid=mine.mid,
        ts=turn.now,
        kind=Kind.CONTROL,
        received=turn.now,
    )
    records.put(ROOMS, room, save(identity))
    records.put(tables.state, b"head", save(head))
    for epoch, key in founding.keys.keys.items():
        records.put(tables.state, number_key(epoch, b"key/"), key)
    archive.add_control(records, 0, founding.signed.envelope)
    archive.add_hash(records, 0, Hash32(room))
    archive.add(records, entry)
    return room
