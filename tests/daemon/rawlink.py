"""A client that is nothing but its link: it sends the frames it likes, and reads when it likes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

import trio

from ofcd.protocol import frames, records
from ofcd.protocol.ids import (
    EventId,
    Hash32,
    MemberId,
    PublicKey,
    RoomId,
    Sid,
    member_id_of,
    room_id_of,
    sha256,
)
from ofcd.session import ClientSession, SessionState
from ofcd.testing import World
from ofcd.testing.line import Line
from ofcd.themis import generate_keypair
from ofcd.themis.signed import sign_record
from ofcd.wire import MessageStream

__all__ = ["Founder", "RawLink", "open_raw"]

T = TypeVar("T")


class RawLink:
    """One open link. Frames that are not waited for are kept in `got`."""

    def __init__(self, stream: MessageStream, session: ClientSession, key: PublicKey) -> None:
        self.stream = stream
        self.transport_key = key
        self.session = session
        self.got: list[frames.RelayFrame] = []
        self._rid = 0

    def rid(self) -> int:
        self._rid += 1
        return self._rid

    async def send(self, *sent: frames.ClientFrame) -> None:
        await self.stream.send(self.session.send(sent))

    async def receive(self) -> None:
        """Take one message more."""
        self.got += self.session.receive(await self.stream.receive()).frames

    async def expect(self, kind: type[T], count: int = 1) -> list[T]:
        """The first frames of this kind, in order."""
        with trio.fail_after(600):
            while len(found := [frame for frame in self.got if isinstance(frame, kind)]) < count:
                await self.receive()
        self.got = [frame for frame in self.got if not isinstance(frame, kind)]
        return list(found)


@asynccontextmanager
async def open_raw(world: World, line: Line | None = None) -> AsyncIterator[RawLink]:
    """A link to the world's relay, its handshake done."""
    keys = generate_keypair()
    session = ClientSession(keys, None)
    async with world._dial(line or Line(), world.url) as stream:
        stream.max_message_bytes = 1 << 22
        await stream.send(session.connect())
        while session.state is not SessionState.OPEN:
            for reply in session.receive(await stream.receive()).replies:
                await stream.send(reply)
        yield RawLink(stream, session, PublicKey(keys.public))


class Founder:
    """The keys of one person, alone in a room of her own."""

    def __init__(self, world: World) -> None:
        assert world.daemon is not None
        self.relay_id = world.daemon.identity.relay_id
        self.keys, self.box_keys = generate_keypair(), generate_keypair()
        self.mid: MemberId = member_id_of(PublicKey(self.keys.public))
        genesis = records.Genesis(
            v=1,
            nonce=Hash32(bytes(32)),
            sign_key=PublicKey(self.keys.public),
            enc_key=PublicKey(self.box_keys.public),
            relay_id=self.relay_id,
            policy=records.Policy(),
            key_commitment=Hash32(bytes(32)),
            ts=world.now(),
        )
        self.genesis = sign_record(self.keys.private, genesis)
        self.room: RoomId = room_id_of(self.genesis.payload)
        self.last = EventId(self.room)
        self.seen = records.Seen(0, Hash32(self.room))
        self.counter = 0

    async def come(self, link: RawLink) -> None:
        """Found the room, if it is not there yet, and attach."""
        await link.send(frames.Create(link.rid(), record=self.genesis.envelope))
        await link.expect(frames.Ack)
        await link.send(self.attach(link))
        await link.expect(frames.Attached)

    def attach(self, link: RawLink) -> frames.Attach:
        """ATTACH for this link."""
        assert link.session.welcome is not None
        attach = records.Attach(
            v=1,
            room=self.room,
            mid=self.mid,
            transport_key=link.transport_key,
            relay_id=self.relay_id,
            challenge=link.session.welcome.challenge,
            ts=0,
        )
        return frames.Attach(link.rid(), sign_record(self.keys.private, attach).envelope)

    async def post(self, link: RawLink, cell: bytes = b"sealed") -> frames.Ack:
        """Send an event that is right, and wait for its Ack."""
        self.counter += 1
        event = records.Event(
            v=1,
            room=self.room,
            epoch=0,
            mid=self.mid,
            counter=self.counter,
            prev=self.last,
            seen=self.seen,
            ctl=self.genesis.event_id,
            kind=records.EventKind.MESSAGE,
            sid=Sid(self.counter.to_bytes(16, "big")),
            cell_hash=sha256(cell),
            ts=0,
        )
        signed = sign_record(self.keys.private, event)
        await link.send(frames.Post(link.rid(), self.room, signed.envelope, cell))
        (ack,) = await link.expect(frames.Ack)
        self.last, self.seen = ack.event_id, records.Seen(ack.seq, ack.log)
        return ack
