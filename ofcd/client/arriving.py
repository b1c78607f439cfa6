"""The room that a join brings: staged in the vault until its admission, then taken for the room's.

Who was in the room before, and comes back by a new invite, is a new member with new keys. What it
has read stays readable, and what it knows of the control log must go on in what it is shown now.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from attrs import evolve

from ofcd.client.archive import Archive
from ofcd.client.comparing import COMPARE, runs_only
from ofcd.client.model import ROOMS, Head, Identity, Sender, Tables, load, number_key, save
from ofcd.client.outbox import Queued, Stage
from ofcd.client.vault import Reader, Records
from ofcd.e2e.bodies import (
    Beat,
    Compare,
    CompareEnd,
    HandoverAccepted,
    HandoverOffer,
    decode_body,
)
from ofcd.e2e.chain import verify_chain
from ofcd.e2e.joining import Joined, Joining
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import RelayId, RoomId
from ofcd.themis.signed import peek

__all__ = ["continues", "drop_staged", "earlier_identity", "enter", "stage"]

_CARRIED: Final = (b"app/", b"evidence/", b"verified/", b"alias/")
"""What stays true, whoever this client is in the room."""
_OF_THE_MEMBER_BEFORE: Final = (Beat, Compare, CompareEnd, HandoverAccepted, HandoverOffer)
"""Said with its keys, or in its place: a new member has nothing to do with it."""
_SENDER: Final = b"sender/"
_OUT: Final = b"out/"
_UNKNOWN: Final = (
    "this client was out of the room before it heard whether this had been sent: look, and say it "
    "again if it is not there"
)


def earlier_identity(records: Reader, room: RoomId) -> Identity | None:
    """Who this client is, or last was, in the room."""
    raw = records.get(ROOMS, room)
    return None if raw is None else load(Identity, raw)


def continues(records: Reader, joining: Joining, chain: Iterable[tuple[int, bytes]]) -> bool:
    """Whether the control log in `chain` holds all that this vault has of the room's."""
    shown = dict(chain)
    return all(
        seq in shown and peek(shown[seq]).event_id == peek(envelope).event_id
        for seq, envelope in _archive(joining).chain(records)
    )


def stage(
    records: Records,
    joining: Joining,
    joined: Joined,
    answer: bytes,
    chain: Iterable[tuple[int, bytes]],
    my_name: str,
    now: int,
) -> None:
    """Keep the room as the `answer`, read in `joined`, brought it; `chain` is its control log."""
    room, state, welcome = joining.code.room, joined.state, joined.welcome
    table = Tables(room).joining
    archive = _archive(joining)
    for seq, envelope in chain:
        if seq <= state.seq:
            archive.add_control(records, seq, envelope)
    drop_staged(records, room)
    for epoch, key in joined.keys.keys.items():
        records.put(table, number_key(epoch, b"key/"), key)
    for mid, name in welcome.names:
        records.put(table, _SENDER + mid, save(Sender(name=name)))
    head = Head(
        my_name=my_name,
        announced=False,
        ctl_seq=state.seq,
        epoch_since=now,
        room_name=welcome.room_name,
        vouched_seq=welcome.seq,
        vouched_log=welcome.log,
        vouched_by=answer,
    )
    records.put(table, b"head", save(head))


def drop_staged(records: Records, room: RoomId) -> None:
    """The join came to nothing, or its answer is replaced."""
    table = Tables(room).joining
    for key, _ in list(records.items(table)):
        records.delete(table, key)


def enter(records: Records, joining: Joining, home_url: str, home_id: RelayId) -> None:
    """Admitted: what was staged is the room, and this client is the member of the new keys.

    `home_url` and `home_id` are the relay that it was joined through.
    """
    code, tables = joining.code, Tables(joining.code.room)
    before = earlier_identity(records, code.room)
    staged = dict(records.items(tables.joining))
    kept = {} if before is None else _kept_of_before(records, tables, staged)
    for key, _ in list(records.items(tables.state)):
        records.delete(tables.state, key)
    for key, raw in {**staged, **kept}.items():
        records.put(tables.state, key, raw)
    drop_staged(records, code.room)
    nonce = verify_chain(code.room, [next(_archive(joining).chain(records))]).nonce
    identity = Identity.of(code.room, home_url, home_id, joining.keys, nonce)
    if home_url != code.relay_url:
        identity = evolve(identity, hub_url=code.relay_url)
    if before is not None:
        identity = evolve(identity, former=(*before.former, before.mine.mid))
    records.put(ROOMS, code.room, save(identity))


def _kept_of_before(
    records: Reader, tables: Tables, staged: dict[bytes, bytes]
) -> dict[bytes, bytes]:
    kept: dict[bytes, bytes] = {}
    before: Head | None = None
    for key, raw in records.items(tables.state):
        if key == b"head":
            before = load(Head, raw)
        elif key.startswith(_CARRIED):
            kept[key] = raw
        elif key.startswith(COMPARE):
            kept[key] = runs_only(raw)
        elif key.startswith(_OUT):
            item = load(Queued, raw)
            if not isinstance(decode_body(item.body).content, _OF_THE_MEMBER_BEFORE):
                kept[key] = save(_still_to_send(item))
        elif key.startswith(_SENDER) and key not in staged:
            kept[key] = save(Sender(name=load(Sender, raw).name))
    if before is not None:
        head = evolve(
            load(Head, staged[b"head"]),
            read_seq=before.read_seq,
            unread=before.unread,
            hold_joins=before.hold_joins,
            cuts=before.cuts,
            cut_ends=before.cut_ends,
        )
        kept[b"head"] = save(head)
    return kept


def _still_to_send(item: Queued) -> Queued:
    """What was never posted is sent by the new member; of the rest nobody knows here."""
    if item.stage is not Stage.FAILED and not item.record:
        return item
    failed = evolve(item, stage=Stage.FAILED, record=b"", cell=b"", event_id=None, counter=0)
    if item.stage is not Stage.FAILED:
        failed = evolve(failed, code=Code.NOT_FOUND.value, text=_UNKNOWN)
    return failed


def _archive(joining: Joining) -> Archive:
    return Archive(joining.code.room, joining.keys.mid)
