"""Attachments, as the relay sees them: sealed chunks. Test 30, its relay's part."""

from __future__ import annotations

from ofcd.compliance.check import check as group
from ofcd.compliance.check import require
from ofcd.compliance.lab import Lab
from ofcd.compliance.people import Person, random_hash
from ofcd.protocol import frames
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import BlobId
from ofcd.protocol.limits import CHUNK_BYTES
from ofcd.protocol.records import Role

check = group("blobs")


def _new() -> BlobId:
    return BlobId(random_hash()[:16])


async def _chunk(person: Person, blob: BlobId, index: int = 0) -> bytes:
    return (await person.peer.expect(frames.Blob, person.get(blob, index))).chunk


@check("stored", "11", "What one member stores another gets, chunk by chunk, as it was.")
async def stored(lab: Lab) -> None:
    """A whole chunk's worth, and a short last one."""
    ana, bo = await lab.pair()
    blob, long = _new(), random_hash() * (CHUNK_BYTES // 32)
    for index, chunk in enumerate((long, b"the rest")):
        await ana.peer.expect(frames.Done, ana.put(blob, index, chunk=chunk))
    got = await bo.peer.expect(frames.Blob, bo.get(blob))
    require((got.count, got.chunk) == (2, long), "another chunk came back")
    require(await _chunk(bo, blob, 1) == b"the rest", "another chunk came back")
    await bo.peer.refused(bo.get(_new()), Code.BLOB_GONE, what="a blob that is not there")


@check("kept", "11", "A stored chunk is never replaced: a repeat changes nothing.")
async def kept(lab: Lab) -> None:
    """Whoever could, could swap an attachment under its message."""
    ana, bo = await lab.pair()
    blob = _new()
    await ana.peer.expect(frames.Done, ana.put(blob, chunk=b"first"))
    await ana.peer.expect(frames.Done, ana.put(blob, chunk=b"second"))
    require(await _chunk(bo, blob) == b"first", "a stored chunk was replaced")


@check("owner", "11", "A blob is its first uploader's: no other adds to it, or drops it.")
async def owner(lab: Lab) -> None:
    """Owners of the room may drop it."""
    ana, bo = await lab.pair()
    cy = await lab.member(ana)
    blob = _new()
    await bo.peer.expect(frames.Done, bo.put(blob))
    await cy.peer.refused(cy.put(blob, 1), Code.FORBIDDEN, what="adding to another's blob")
    await bo.peer.refused(bo.put(blob, 1, count=3), Code.BAD_FRAME, what="another count")
    drop = frames.BlobDrop(cy.peer.number(), cy.room.id, blob, bo.mid)
    await cy.peer.refused(drop, Code.FORBIDDEN, what="dropping another's blob")
    claim = frames.BlobDrop(cy.peer.number(), cy.room.id, blob, cy.mid)
    await cy.peer.expect(frames.Done, claim)  # takes nothing away: it is not cy's
    require(await _chunk(ana, blob) == b"a sealed chunk", "a blob went by a false claim")
    by_root = frames.BlobDrop(ana.peer.number(), ana.room.id, blob, bo.mid)
    await ana.peer.expect(frames.Done, by_root)
    await bo.peer.refused(bo.get(blob), Code.BLOB_GONE, what="a dropped blob")


@check("bounds", "14", "A chunk past its count, one of nothing, and 10 GiB claimed are refused.")
async def bounds(lab: Lab) -> None:
    """And a readonly member's."""
    ana = await lab.founder()
    bo = await lab.member(ana, role=Role.READONLY)
    bad = (Code.BAD_FRAME, Code.QUOTA, Code.TOO_LARGE)
    await ana.peer.refused(ana.put(_new(), 2, count=2), *bad, what="chunk 3 of 2")
    await ana.peer.refused(ana.put(_new(), chunk=b""), *bad, what="an empty chunk")
    huge = ana.put(_new(), count=10 * 2**30 // CHUNK_BYTES)
    await ana.peer.refused(huge, Code.QUOTA, what="a blob of 10 GiB")
    await bo.peer.refused(bo.put(_new()), Code.FORBIDDEN, what="a readonly member's blob")


@check("rooms", "11", "A blob of one room is not given out in another.")
async def rooms(lab: Lab) -> None:
    """Its random name is no ticket."""
    ana, eve = await lab.founder(), await lab.founder()
    blob = _new()
    await ana.peer.expect(frames.Done, ana.put(blob))
    await eve.peer.refused(eve.get(blob), Code.BLOB_GONE, what="a blob of another room")
