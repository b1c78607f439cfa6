"""Attachments that the relay is to forget, each of its uploader's."""

from __future__ import annotations

from ofcd.client.blobdrops import keep_drop
from ofcd.client.turn import Turn
from ofcd.protocol import frames
from ofcd.protocol.ids import BlobId, MemberId
from tests.client.liar import Bo

BLOB = BlobId(b"b" * 16)
ANA, BO = MemberId(b"a" * 32), MemberId(b"o" * 32)


def asked(bo: Bo, answers: list[frames.ClientFrame]) -> list[frames.BlobDrop]:
    """All that is asked for, one after the other, each answered."""
    drops: list[frames.BlobDrop] = []
    while found := [frame for frame in answers if isinstance(frame, frames.BlobDrop)]:
        drops += found
        answers = bo.feed(*(frames.Done(frame.rid) for frame in found))
    return drops


def test_of_two_who_stored_one_attachment_each_is_asked_for(bo: Bo) -> None:
    """Who cites another's attachment in a message of their own keeps nobody's file there."""

    def keep(turn: Turn) -> None:
        for uploader in (ANA, BO):
            keep_drop(turn.records, bo.room.core, BLOB, uploader)
        bo.room.drops.look(turn.records)

    bo.connect()
    drops = asked(bo, bo.turn(keep))
    assert [(drop.blob, drop.uploader) for drop in drops] == [(BLOB, ANA), (BLOB, BO)]
    assert not list(bo.vault.items(bo.room.core.tables.state, b"drop/", b"drop0"))


def test_what_an_earlier_version_kept_is_asked_for_as_it_was(bo: Bo) -> None:
    """By the attachment's id alone."""

    def keep(turn: Turn) -> None:
        turn.records.put(bo.room.core.tables.state, b"drop/" + BLOB, ANA)
        bo.room.drops.look(turn.records)

    bo.connect()
    drops = asked(bo, bo.turn(keep))
    assert [(drop.blob, drop.uploader) for drop in drops] == [(BLOB, ANA)]
    assert not list(bo.vault.items(bo.room.core.tables.state, b"drop/", b"drop0"))
