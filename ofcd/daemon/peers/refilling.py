"""Giving a hub back what it lost: a follower's copy of the end of a room (`hub_behind`).

A hub that was restored from an old backup stands behind its followers. It takes entries back only
where its own signature shows that it had them: a LOG_HEAD beyond its end, to which the ids of
what it lost have to add up; or root's, by the HUB_MOVE that makes it the hub. Each entry is
verified as it was the first time. What came after that, a second's worth at most, is taken on its
members' signatures. It comes in parts; between two of them nobody says anything in the room, which
would come in between.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from ofcd.daemon.hub import Hub
from ofcd.daemon.identity import Identity
from ofcd.daemon.peers.hublink import HubLink
from ofcd.daemon.workers import Workers
from ofcd.protocol.codes import Code, Malformed, ProtocolError, Refused
from ofcd.protocol.frames import Refill
from ofcd.protocol.ids import EventId, MemberId, RelayId, log_hash
from ofcd.protocol.records import HubMove, LogHead, Seen
from ofcd.relay import Entry, HubLied, Relay, RoomLog, verify_entries
from ofcd.store import Store
from ofcd.themis.moves import seen_of
from ofcd.themis.signed import peek

__all__ = ["refill_room", "take_refill"]

_NOBODY: Final = MemberId(bytes(32))
_EVENTS: Final = 256
_BYTES: Final = 256 * 1024
_IDS: Final = 16_000
"""Entries that a hub may have lost, at most: half a frame of ids."""
_ID_BYTES: Final = 32
_UNSIGNED: Final = 256
"""Entries after the last LOG_HEAD: one is signed each second."""


async def refill_room(
    store: Store, workers: Workers, link: HubLink, copy: RoomLog, head: int, rid: int
) -> None:
    """Send the hub what stands in the copy after its entry `head`: a part of it, in one frame."""
    page = await workers.run(
        partial(
            store.read_log,
            copy.room,
            head + 1,
            mid=_NOBODY,
            max_events=_EVENTS,
            max_bytes=_BYTES,
        )
    )
    ids = await workers.run(partial(store.event_ids, copy.room, head + 1, _IDS))
    parts: list[bytes] = []
    for row in page.rows:
        parts += [row.record, row.cell]
    link.tell(Refill(rid, copy.room, head + 1, copy.head, b"".join(ids), tuple(parts)))
    link.pump()


async def take_refill(
    hub: Hub, relay: Relay, workers: Workers, identity: Identity, peer: RelayId, frame: Refill
) -> None:
    """Take entries back, from a relay that may follow the room. Raises `ProtocolError`."""
    room = await hub.room(frame.room)
    if room is None or room.hub != identity.relay_id or not relay.homed(frame.room, peer):
        raise Refused(Code.NOT_FOUND)
    if not room.lost and hub.milliseconds() < room.refill_after.get(peer, 0):
        raise Refused(Code.TRY_AGAIN, "it took too long, and the room goes on without it now")
    if not frame.entries or len(frame.entries) % 2:
        raise Malformed(Code.BAD_FRAME, "the entries do not follow the log")
    ids = room.lost  # of a refill that is under way, what is still to come
    if frame.start != room.seq + 1 or frame.start not in ids:
        try:
            head = await workers.run(partial(_signed_end, room, identity, frame.head))
        except ProtocolError:
            proven = _end_by_root(room, frame)
            if proven is None:
                raise
            head = proven
        ids = _proven(room, head, frame)
    pairs = list(zip(frame.entries[::2], frame.entries[1::2], strict=True))
    entries = [
        Entry(seq, record, cell) for seq, (record, cell) in enumerate(pairs, start=frame.start)
    ]
    try:
        verified = await workers.run(partial(verify_entries, room, entries))
    except HubLied as lied:
        raise Refused(Code.FORBIDDEN, f"this was never in the log: {lied}") from None
    if any(ids.get(one.entry.seq) != one.signed.event_id for one in verified):
        raise Refused(Code.FORBIDDEN, "these are not the entries that were lost")
    now = hub.milliseconds()
    await hub.do(lambda: relay.refill(frame.room, peer, verified, ids, now), frame.room)
    hub.deliver_soon()


def _signed_end(room: RoomLog, identity: Identity, envelope: bytes) -> Seen:
    """How long the log was here, by a LOG_HEAD of this relay. Raises `ProtocolError`.

    What this relay signed in an earlier term may be void by now.
    """
    head = identity.relay.opened(identity.public, envelope).record
    if not isinstance(head, LogHead) or head.room != room.room or head.seq <= room.seq:
        raise Refused(Code.FORBIDDEN, "no LOG_HEAD of this relay says that it has lost anything")
    told = peek(room.told[-1]).record if room.told else None
    if head.term < (told.term if isinstance(told, HubMove) else room.state.term):
        raise Refused(Code.FORBIDDEN, "this relay signed that before the room was moved")
    return Seen(head.seq, head.log)


def _end_by_root(room: RoomLog, frame: Refill) -> Seen | None:
    """The HUB_MOVE that makes this relay the hub, as it was told: root signed what is before it.

    None: there is none, or what is given back does not go up to there.
    """
    move = room.last_told
    if move is None:
        return None
    seen = seen_of(move)
    end = Seen(seen.seq + 1, log_hash(seen.log, seen.seq + 1, move.event_id))
    return end if end.seq < frame.start + len(frame.ids) // _ID_BYTES else None


def _proven(room: RoomLog, head: Seen, frame: Refill) -> dict[int, EventId]:
    """The ids of what was lost, by seq, up to `head` at least: a signature says that they are."""
    count, rest = divmod(len(frame.ids), _ID_BYTES)
    last = frame.start + count - 1
    if rest or frame.start != room.seq + 1 or not head.seq <= last <= head.seq + _UNSIGNED:
        raise Malformed(Code.BAD_FRAME, "the ids are not those of what was lost")
    ids = {
        frame.start + n: EventId(frame.ids[n * _ID_BYTES : (n + 1) * _ID_BYTES])
        for n in range(count)
    }
    log = room.log
    for seq in range(frame.start, head.seq + 1):
        log = log_hash(log, seq, ids[seq])
    if log != head.log:
        raise Refused(Code.FORK, "this is not the log that was signed")
    return ids
