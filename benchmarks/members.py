"""Raw members of a room, for load: real links, real signatures, no vault, no checks of what comes.

A benchmark measures the relay, so its members do as little as the protocol allows.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, ClassVar, TypeVar

from attrs import define, field

from ofcd.protocol import frames, ids
from ofcd.protocol import records as rec
from ofcd.session import BulkReader, ClientSession, SessionState
from ofcd.themis import KeyPair, generate_key, generate_keypair, seal
from ofcd.themis.signed import SignedRecord, sign_record
from ofcd.wire import MessageStream, dial

F = TypeVar("F", bound=frames.RelayFrame)
ROOM_KEY = bytes(range(32))


def now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class SharedBulk(BulkReader):
    """Opens each bulk once for all links of this process: the relay is measured, not its load."""

    opened: ClassVar[dict[bytes, list[frames.Delivery]]] = {}

    def _open(self, bulk: frames.Bulk, part: bytes) -> list[frames.Delivery]:
        if bulk.hash not in self.opened:
            if len(self.opened) > 64:
                self.opened.clear()
            self.opened[bulk.hash] = super()._open(bulk, part)
        return self.opened[bulk.hash]


@define
class Link:
    """One link to a relay, open."""

    stream: MessageStream
    session: ClientSession
    keys: KeyPair
    rid: int = 0
    _waiting: list[frames.RelayFrame] = field(factory=list)

    async def send(self, *sent: frames.ClientFrame) -> None:
        """Send frames in one message."""
        await self.stream.send(self.session.send(sent))

    async def receive(self) -> Sequence[frames.RelayFrame]:
        """The frames that `want` left over, else those of the next message."""
        if self._waiting:
            left, self._waiting = self._waiting, []
            return left
        return self.session.receive(await self.stream.receive()).frames

    async def want(self, kind: type[F]) -> F:
        """The next frame of this kind; others are passed over, a failure raises."""
        while True:
            while not self._waiting:
                self._waiting = list(await self.receive())
            frame = self._waiting.pop(0)
            if isinstance(frame, frames.Failure):
                raise RuntimeError(f"the relay refused: {frame}")
            if isinstance(frame, kind):
                return frame

    def next_rid(self) -> int:
        """A number for a request."""
        self.rid += 1
        return self.rid


@asynccontextmanager
async def open_link(url: str) -> AsyncIterator[Link]:
    """A link that is past Hello."""
    async with dial(url) as stream:
        keys = generate_keypair()
        session = ClientSession(keys, None)
        session._bulk = SharedBulk()
        await stream.send(session.connect())
        while session.state is not SessionState.OPEN:
            for reply in session.receive(await stream.receive()).replies:
                await stream.send(reply)
        yield Link(stream, session, keys)


@define
class Member:
    """A member of the room, attached on a link of its own."""

    link: Link
    sign: KeyPair
    room: ids.RoomId
    ctl: ids.EventId
    seen: rec.Seen
    prev: ids.EventId
    counter: int = 0

    @property
    def mid(self) -> ids.MemberId:
        """The member's id."""
        return ids.member_id_of(ids.PublicKey(self.sign.public))

    async def attach(self) -> frames.Attached:
        """Prove to be this member on this link."""
        welcome = self.link.session.welcome
        assert welcome is not None
        record = rec.Attach(
            v=1,
            room=self.room,
            mid=self.mid,
            transport_key=ids.PublicKey(self.link.keys.public),
            relay_id=self.link.session.relay_id,
            challenge=welcome.challenge,
            ts=now(),
        )
        signed = sign_record(self.sign.private, record)
        await self.link.send(frames.Attach(self.link.next_rid(), signed.envelope))
        attached = await self.link.want(frames.Attached)
        self.seen = rec.Seen(attached.seq, attached.log)
        return attached

    async def sync(self, start: int) -> frames.Synced:
        """Subscribe from `start`."""
        await self.link.send(frames.Sync(self.link.next_rid(), self.room, start))
        return await self.link.want(frames.Synced)

    def make_post(self, size: int = 200) -> frames.Post:
        """The next event of this member, sealed and signed."""
        self.counter += 1
        sid = ids.Sid(os.urandom(16))
        context = ids.tagged_hash("msg", self.room, 0, self.mid, self.counter, sid, b"msg")
        cell = seal(ROOM_KEY, bytes(size), context)
        record = rec.Event(
            v=1,
            room=self.room,
            epoch=0,
            mid=self.mid,
            counter=self.counter,
            prev=self.prev,
            seen=self.seen,
            ctl=self.ctl,
            kind=rec.EventKind.MESSAGE,
            sid=sid,
            cell_hash=ids.sha256(cell),
            ts=now(),
        )
        signed = sign_record(self.sign.private, record)
        self.prev = signed.event_id
        return frames.Post(self.link.next_rid(), self.room, signed.envelope, cell)


@define
class Founder:
    """Makes a room and lets others in, one control record after the other."""

    member: Member
    genesis: SignedRecord

    def _control(self, cls: type[Any], **fields: Any) -> SignedRecord:
        member = self.member
        record = cls(
            v=1,
            room=member.room,
            mid=member.mid,
            prev=member.ctl,
            seen=member.seen,
            ts=now(),
            **fields,
        )
        return sign_record(member.sign.private, record)

    async def _commit(self, signed: SignedRecord) -> None:
        link = self.member.link
        await link.send(frames.Control(link.next_rid(), self.member.room, signed.envelope))
        ack = await link.want(frames.Ack)
        self.member.ctl = ack.event_id
        self.member.seen = rec.Seen(ack.seq, ack.log)

    async def admit(self, link: Link) -> Member:
        """Invite, answer, confirm and admit a newcomer who needs no secrets to be counted."""
        room, me = self.member.room, self.member
        sign, box = generate_keypair(), generate_keypair()
        newcomer = Member(link, sign, room, me.ctl, me.seen, ids.EventId(room))
        proof = ids.invite_proof(generate_key())
        invite_id = ids.InviteId(os.urandom(16))
        await self._commit(
            self._control(
                rec.InviteOpen,
                invite_id=invite_id,
                commit=ids.invite_commitment(room, invite_id, proof),
                expires=now() + 3_600_000,
                admitters=(me.mid,),
                role=rec.Role.MEMBER,
            )
        )
        request = sign_record(
            sign.private,
            rec.JoinRequest(
                v=1,
                room=room,
                invite_id=invite_id,
                proof=proof,
                sign_key=ids.PublicKey(sign.public),
                enc_key=ids.PublicKey(box.public),
                nonce=ids.Hash32(generate_key()),
                home=me.link.session.relay_id,
                boxes=((me.mid, bytes(100)),),
            ),
        )
        await link.send(frames.Join(link.next_rid(), request.envelope))
        await link.want(frames.JoinStatus)
        answer = rec.JoinResponse(
            1, room, invite_id, request.hash, me.mid, newcomer.mid, bytes(100)
        )
        response = sign_record(me.sign.private, answer)
        await me.link.send(frames.JoinAnswer(me.link.next_rid(), room, response.envelope))
        await me.link.want(frames.Done)
        word = rec.JoinConfirm(
            1, room, invite_id, request.hash, response.hash, newcomer.mid, 0, bytes(100)
        )
        confirm = sign_record(sign.private, word)
        await link.send(frames.JoinConfirm(link.next_rid(), room, confirm.envelope))
        await link.want(frames.JoinStatus)
        await self._commit(
            self._control(
                rec.Admit,
                invite_id=invite_id,
                sign_key=ids.PublicKey(sign.public),
                enc_key=ids.PublicKey(box.public),
                role=rec.Role.MEMBER,
                confirm_hash=confirm.hash,
                epoch=0,
                history_from=1,
                home=me.link.session.relay_id,
            )
        )
        return newcomer


async def found_room(link: Link) -> Founder:
    """A new room, and its founder attached."""
    sign, box = generate_keypair(), generate_keypair()
    nonce = ids.Hash32(generate_key())
    genesis = rec.Genesis(
        v=1,
        nonce=nonce,
        sign_key=ids.PublicKey(sign.public),
        enc_key=ids.PublicKey(box.public),
        relay_id=link.session.relay_id,
        policy=rec.Policy(rotate_after=100_000),
        key_commitment=ids.tagged_hash("kc", nonce, 0, ROOM_KEY),
        ts=now(),
    )
    signed = sign_record(sign.private, genesis)
    await link.send(frames.Create(link.next_rid(), record=signed.envelope))
    await link.want(frames.Ack)
    room = ids.room_id_of(signed.payload)
    seen = rec.Seen(0, ids.Hash32(room))
    member = Member(link, sign, room, signed.event_id, seen, ids.EventId(room))
    await member.attach()
    return Founder(member, signed)


@asynccontextmanager
async def full_room(url: str, size: int) -> AsyncIterator[list[Member]]:
    """A room of `size` members, all attached and subscribed to what comes from now on."""
    async with AsyncExitStack() as stack:
        founder = await found_room(await stack.enter_async_context(open_link(url)))
        members = [founder.member]
        for _ in range(size - 1):
            link = await stack.enter_async_context(open_link(url))
            members.append(await founder.admit(link))
        for member in members:
            attached = await member.attach()
            member.ctl = founder.member.ctl
            await member.sync(attached.seq + 1)
        yield members
