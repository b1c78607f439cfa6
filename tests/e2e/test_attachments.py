"""Test 30: files in sealed chunks, and everything a sender or a relay could do to them."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from ofcd.e2e.attachments import (
    FILE_BYTES,
    FileOpener,
    FileSealer,
    chunk_count,
    open_chunk,
    seal_chunk,
)
from ofcd.e2e.bodies import FileRef
from ofcd.e2e.errors import FileRejected
from ofcd.protocol.ids import Hash32, RoomId, sha256
from ofcd.protocol.limits import CHUNK_BYTES, SEALED_CHUNK_BYTES
from tests.e2e.changes import Change, changed, changes

ROOM = RoomId(b"r" * 32)
GIB = 1024**3


def sealed_file(content: bytes, name: str = "photo.jpg") -> tuple[FileRef, list[bytes]]:
    sealer = FileSealer(ROOM, len(content))
    pieces = [content[i : i + CHUNK_BYTES] for i in range(0, len(content), CHUNK_BYTES)]
    chunks = [sealer.seal(piece).data for piece in pieces]
    return sealer.finish(name, "image/jpeg", "look"), chunks


def opened_file(ref: FileRef, chunks: list[bytes], limit: int = FILE_BYTES) -> bytes:
    opener = FileOpener(ROOM, ref, limit)
    content = b"".join(opener.open(chunk) for chunk in chunks)
    opener.finish()
    return content


CONTENT = bytes(range(256)) * (CHUNK_BYTES // 128) + b"the end"
REF, CHUNKS = sealed_file(CONTENT)
OTHER_REF, OTHER_CHUNKS = sealed_file(CONTENT)


@pytest.mark.parametrize(
    "size", [0, 1, 1000, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES]
)
def test_a_file_comes_back_as_it_went(size: int) -> None:
    """Whatever its size, also none at all, the file opens byte for byte."""
    content = CONTENT[:size]
    ref, chunks = sealed_file(content)
    assert opened_file(ref, chunks) == content
    assert (ref.size, ref.sha256, len(ref.chunks)) == (size, sha256(content), chunk_count(size))
    assert (ref.name, ref.mime, ref.caption) == ("photo.jpg", "image/jpeg", "look")
    assert all(len(chunk) <= SEALED_CHUNK_BYTES for chunk in chunks)


@given(st.binary(max_size=2000))
def test_every_small_file_comes_back(content: bytes) -> None:
    """Any bytes survive, under a key and an id of their own each time."""
    ref, chunks = sealed_file(content)
    assert opened_file(ref, chunks) == content
    again, _ = sealed_file(content)
    assert (again.key, again.blob_id) != (ref.key, ref.blob_id)


def test_chunks_say_where_they_belong() -> None:
    """What is put at the relay carries index and count, and nothing of the content."""
    sealer = FileSealer(ROOM, CHUNK_BYTES + 6)
    first, last = sealer.seal(b"MARKER" + bytes(CHUNK_BYTES - 6)), sealer.seal(b"MARKER")
    assert [(c.index, c.count) for c in (first, last)] == [(0, 2), (1, 2)]
    assert b"MARKER" not in first.data + last.data
    assert "MARKER" not in repr([first, last])


@pytest.mark.parametrize(
    "chunks",
    [
        [CHUNKS[1], CHUNKS[0], CHUNKS[2]],
        [CHUNKS[0], CHUNKS[0], CHUNKS[2]],
        [OTHER_CHUNKS[0], CHUNKS[1], CHUNKS[2]],
        CHUNKS[:-1],
        [],
        [*CHUNKS, CHUNKS[2]],
        [CHUNKS[0][:-1], CHUNKS[1], CHUNKS[2]],
        [CHUNKS[0] + b"x", CHUNKS[1], CHUNKS[2]],
        [b"", CHUNKS[1], CHUNKS[2]],
    ],
    ids=["swapped", "repeated", "other file", "short", "none", "long", "cut", "grown", "empty"],
)
def test_30_pieces_out_of_place_are_refused(chunks: list[bytes]) -> None:
    """Test 30: swapped, truncated, missing, extra or foreign chunks never make a file."""
    with pytest.raises(FileRejected):
        opened_file(REF, chunks)


def relabelled(ref: FileRef, chunks: list[bytes], **fields: Any) -> FileRef:
    """A reference whose hashes fit these chunks: what a malicious sender would write."""
    return evolve(ref, chunks=tuple(sha256(chunk) for chunk in chunks), **fields)


@pytest.mark.parametrize(
    ("ref", "chunks"),
    [
        (relabelled(REF, [CHUNKS[1], CHUNKS[0], CHUNKS[2]]), [CHUNKS[1], CHUNKS[0], CHUNKS[2]]),
        (relabelled(REF, [OTHER_CHUNKS[0], *CHUNKS[1:]]), [OTHER_CHUNKS[0], *CHUNKS[1:]]),
        (relabelled(REF, CHUNKS[:2], size=2 * CHUNK_BYTES), CHUNKS[:2]),
        (evolve(REF, size=REF.size - 1), CHUNKS),
        (evolve(REF, size=REF.size + 1), CHUNKS),
        (evolve(REF, blob_id=OTHER_REF.blob_id), CHUNKS),
        (evolve(REF, key=OTHER_REF.key), CHUNKS),
        (evolve(REF, sha256=Hash32(b"x" * 32)), CHUNKS),
    ],
    ids=["swap", "other file", "truncate", "smaller", "larger", "blob", "key", "hash"],
)
def test_30_a_sender_can_not_vouch_for_another_file(ref: FileRef, chunks: list[bytes]) -> None:
    """Test 30: even with hashes that fit, the seal binds chunk, place, count, size and file."""
    with pytest.raises(FileRejected):
        opened_file(ref, chunks)


def test_30_a_file_is_whole_or_nothing() -> None:
    """Test 30: pieces missing at the end, even where the hash claimed is that of the beginning."""
    ref = evolve(REF, sha256=sha256(CONTENT[: 2 * CHUNK_BYTES]))
    with pytest.raises(FileRejected, match="missing"):
        opened_file(ref, CHUNKS[:2])


def test_30_a_chunk_of_the_wrong_length_is_refused() -> None:
    """Test 30: sealed for the right place, but longer or shorter than its place allows."""
    for wrong in (b"x" * 9, b"x" * 11):
        data = seal_chunk(ROOM, REF.blob_id, REF.key, 10, 0, wrong)
        ref = evolve(REF, size=10, sha256=sha256(wrong), chunks=(sha256(data),))
        with pytest.raises(FileRejected, match="as long"):
            open_chunk(ROOM, ref, 0, data)


def test_30_chunks_belong_to_their_room() -> None:
    """Test 30: a file of room A does not open in room B."""
    with pytest.raises(FileRejected):
        open_chunk(RoomId(b"x" * 32), REF, 0, CHUNKS[0])


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ({"size": 10 * GIB}, FILE_BYTES),
        ({"size": 2**53 - 1}, FILE_BYTES),
        ({"size": FILE_BYTES + 1}, FILE_BYTES),
        ({"size": 0}, FILE_BYTES),
        ({"size": 4 * CHUNK_BYTES}, FILE_BYTES),
        ({}, len(CONTENT) - 1),
    ],
)
def test_30_a_claim_that_can_not_be_is_refused_at_once(fields: dict[str, Any], limit: int) -> None:
    """Test 30: a 10 GiB claim, or a size its pieces can not make: nothing is fetched."""
    with pytest.raises(FileRejected):
        FileOpener(ROOM, evolve(REF, **fields), limit)


@pytest.mark.parametrize("index", [-1, 3, 99])
def test_30_a_place_that_is_not_in_the_file_is_refused(index: int) -> None:
    """Test 30: no chunk opens at an index the file does not have."""
    with pytest.raises(FileRejected):
        open_chunk(ROOM, REF, index, CHUNKS[0])


def test_a_file_that_changes_while_it_is_read_is_refused() -> None:
    """Grown, shrunk or too large at the sender: no reference is made."""
    with pytest.raises(FileRejected):
        FileSealer(ROOM, FILE_BYTES + 1)
    with pytest.raises(FileRejected):
        FileSealer(ROOM, -1)
    with pytest.raises(FileRejected):
        FileSealer(ROOM, 0).seal(b"")
    sealer = FileSealer(ROOM, 10)
    for wrong in (b"x" * 9, b"x" * 11, b""):
        with pytest.raises(FileRejected):
            sealer.seal(wrong)
    with pytest.raises(FileRejected):
        sealer.finish("x")
    sealer.seal(b"x" * 10)
    for more in (b"x", b""):
        with pytest.raises(FileRejected):
            sealer.seal(more)
    assert sealer.finish("../../x").name == "x"


@given(changes)
def test_any_changed_byte_of_a_chunk_fails_closed(change: Change) -> None:
    """One byte changed in a chunk: refused by its hash, and by its seal where the hash fits."""
    ref, chunks = SMALL
    data = changed(chunks[0], change)
    with pytest.raises(FileRejected, match="not the one"):
        open_chunk(ROOM, ref, 0, data)
    with pytest.raises(FileRejected, match="does not open"):
        open_chunk(ROOM, evolve(ref, chunks=(sha256(data),)), 0, data)


SMALL = sealed_file(b"a small file")


@given(st.binary(max_size=300), st.integers())
def test_arbitrary_bytes_are_only_rejected(data: bytes, index: int) -> None:
    """No bytes make a chunk raise anything but FileRejected."""
    ref = evolve(SMALL[0], chunks=(sha256(data),))
    with pytest.raises(FileRejected):
        open_chunk(ROOM, ref, index, data)
    with pytest.raises(FileRejected):
        open_chunk(ROOM, ref, 0, data)
