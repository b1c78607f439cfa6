"""Giving a hub back what it lost: a follower's copy of the end of a room (`hub_behind`).

A hub that was restored from an old backup stands behind its followers. It takes entries back only
where its own signature shows that it had them: a LOG_HEAD beyond its end. Each entry is verified as
it was the first time, and the running hash has to come out as that LOG_HEAD says.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from ofcd.daemon.hub import Hub
from ofcd.daemon.identity import Identity
from ofcd.daemon.peers.following import HubLink
from ofcd.daemon.workers import Workers
from ofcd.protocol.codes import Code, Malformed, Refused
from ofcd.protocol.frames import Refill
from ofcd.protocol.ids import MemberId
from ofcd.protocol.records import LogHead
from ofcd.relay import Entry, HubLied, Relay, RoomLog, verify_entries
from ofcd.store import Store
from ofcd.themis.signed import open_signed

__all__ = ["refill_room", "take_refill"]

_NOBODY: Final = MemberId(bytes(32))
_EVENTS: Final = 256
_BYTES: Final = 512 * 1024


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
    parts: list[bytes] = []
    for row in page.rows:
        parts += [row.record, row.cell]
    link.tell(Refill(rid, copy.room, head + 1, copy.head, tuple(parts)))
    link.pump()


async def take_refill(
    hub: Hub, relay: Relay, workers: Workers, identity: Identity, frame: Refill
) -> None:
    """Take entries back that this relay once ordered. Raises `ProtocolError`."""
    room = await hub.room(frame.room)
    if room is None or room.hub != identity.relay_id:
        raise Refused(Code.NOT_FOUND)
    if len(frame.entries) % 2 or frame.start > room.seq + 1:
        raise Malformed(Code.BAD_FRAME, "the entries do not follow the log")
    head = (await workers.run(partial(open_signed, identity.public, frame.head))).record
    if not isinstance(head, LogHead) or head.room != room.room or head.seq <= room.seq:
        raise Refused(Code.FORBIDDEN, "no LOG_HEAD of this relay says that it has lost anything")
    pairs = list(zip(frame.entries[::2], frame.entries[1::2], strict=True))
    entries = [
        Entry(seq, record, cell)
        for seq, (record, cell) in enumerate(pairs, start=frame.start)
        if seq > room.seq
    ]
    try:
        verified = await workers.run(partial(verify_entries, room, entries))
    except HubLied as lied:
        raise Refused(Code.FORBIDDEN, f"this was never in the log: {lied}") from None
    at_head = next((one for one in verified if one.entry.seq == head.seq), None)
    if at_head is not None and at_head.log != head.log:
        raise Refused(Code.FORK, "this is not the log that this relay signed")
    await hub.do(lambda: relay.replicate(frame.room, verified, hub.milliseconds()), frame.room)
    hub.deliver_soon()
