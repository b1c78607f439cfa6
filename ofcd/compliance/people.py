"""The people of a check: keys, and every frame they may send, right or wrong.

Each method makes the frame that is right at this moment; keyword arguments make it wrong. What the
relay answers to a right one is compared with what the kit computes by itself: seq, L, event id.
Cells and boxes hold any bytes: a relay can not tell, so the kit needs no room key.
"""

from __future__ import annotations

import secrets
from typing import Any, TypeVar

from attrs import define, field, frozen

from ofcd.compliance.errors import NotKept
from ofcd.compliance.peer import Peer
from ofcd.protocol import frames, records
from ofcd.protocol.codes import Code, ProtocolError
from ofcd.protocol.frames import RelayFrame
from ofcd.protocol.ids import (
    BlobId,
    EventId,
    Hash32,
    InviteId,
    MemberId,
    PublicKey,
    RelayId,
    RoomId,
    Sid,
    invite_commitment,
    invite_proof,
    log_hash,
    member_id_of,
    room_id_of,
    sha256,
)
from ofcd.protocol.room import RoomState, found
from ofcd.themis import KeyPair, generate_keypair
from ofcd.themis.signed import SignedRecord, check_handover, open_signed, sign_record

__all__ = ["Entry", "Invite", "Joining", "Person", "Room", "random_hash"]

R = TypeVar("R", bound=records.Record)
_INVITE_LIFE_MS = 3_600_000


def random_hash() -> Hash32:
    """32 random bytes."""
    return Hash32(secrets.token_bytes(32))


@frozen
class Entry:
    """One entry of the room log, as the kit knows it."""

    seq: int
    event_id: EventId
    log: Hash32
    record: bytes
    cell: bytes = b""


@frozen
class Invite:
    """An invite, and the token that only its bearer has."""

    room: RoomId
    invite_id: InviteId
    proof: Hash32
    """P, of the token: what a relay is shown."""
    admitters: tuple[MemberId, ...] = ()


@define
class Room:
    """One room as everybody in a check sees it: the kit plays them all."""

    state: RoomState
    genesis: SignedRecord
    log: list[Entry] = field(factory=list)
    senders: dict[MemberId, tuple[int, EventId]] = field(factory=dict)
    """By member, number and id of the last event."""

    @property
    def id(self) -> RoomId:
        """Its id."""
        return self.state.room

    @property
    def head(self) -> Entry:
        """The last entry."""
        return self.log[-1]

    @property
    def seen(self) -> records.Seen:
        """What a sender who has everything names."""
        return records.Seen(self.head.seq, self.head.log)

    def sender(self, mid: MemberId) -> tuple[int, EventId]:
        """Number and id of the last event of `mid`."""
        return self.senders.get(mid, (0, EventId(self.id)))

    def take(self, signed: SignedRecord, cell: bytes, ack: frames.Ack) -> Entry:
        """What was acknowledged is the next entry, and nothing else. Raises `NotKept`."""
        entry = self.append(signed, cell)
        if (ack.event_id, ack.seq, ack.log) != (entry.event_id, entry.seq, entry.log):
            raise NotKept("an ack names another id, seq or running hash than the log has")
        return entry

    def append(self, signed: SignedRecord, cell: bytes = b"") -> Entry:
        """The next entry. Raises `NotKept` for a control record that the rules refuse."""
        seq = len(self.log)
        log = log_hash(self.head.log, seq, signed.event_id)
        entry = Entry(seq, signed.event_id, log, signed.envelope, cell)
        record = signed.record
        if isinstance(record, records.Event):
            self.senders[record.mid] = (record.counter, signed.event_id)
        elif isinstance(record, records.CONTROL_TYPES):
            self._apply(signed, seq)
        self.log.append(entry)
        return entry

    def _apply(self, signed: SignedRecord, seq: int) -> None:
        record: Any = signed.record
        try:
            open_signed(self.state.key_of(record), signed.envelope)
            if isinstance(record, records.Handover):
                check_handover(self.state, record)
            self.state = self.state.apply(record, signed.event_id, seq)
        except ProtocolError as error:
            raise NotKept(f"a control record was taken that the rules refuse: {error}") from None


@frozen
class Joining:
    """A join under way."""

    request: SignedRecord
    answer: SignedRecord
    confirm: SignedRecord


class Person:
    """One person in one room, at one link."""

    def __init__(
        self, peer: Peer, room: Room | None = None, *, home: RelayId | None = None
    ) -> None:
        """`home`: the relay this person uses, where that is not the one at the link's end."""
        self.peer = peer
        self._home = home
        self.sign: KeyPair = generate_keypair()
        self.enc: KeyPair = generate_keypair()
        self._room = room

    @property
    def mid(self) -> MemberId:
        """This member."""
        return member_id_of(PublicKey(self.sign.public))

    @property
    def relay_id(self) -> RelayId:
        """The relay this person uses."""
        return self._home or self.peer.relay_id

    @property
    def room(self) -> Room:
        """The room. Raises `NotKept` before there is one."""
        if self._room is None:
            raise NotKept("there is no room yet")
        return self._room

    def comes_to(self, room: Room) -> None:
        """From now on this is the room that this person's frames are about."""
        self._room = room

    def now(self) -> int:
        """The relay's clock when the link was opened: good enough for every `ts`."""
        return self.peer.greeting.ts

    def signed(self, record: records.Record) -> SignedRecord:
        """`record`, signed by this person."""
        return sign_record(self.sign.private, record)

    # -- the room --------------------------------------------------------------------------------

    def genesis(self, **fields: Any) -> SignedRecord:
        """GENESIS of a room of this person's."""
        values: dict[str, Any] = {
            "v": 1,
            "nonce": random_hash(),
            "sign_key": self.sign.public,
            "enc_key": self.enc.public,
            "relay_id": self.relay_id,
            "policy": records.Policy(),
            "key_commitment": random_hash(),
            "ts": self.now(),
        }
        return self.signed(records.Genesis(**(values | fields)))

    def create(self, signed: SignedRecord, token: str = "") -> frames.Create:
        """Found the room of this GENESIS."""
        return frames.Create(self.peer.number(), token=token, record=signed.envelope)

    def founded(self, signed: SignedRecord) -> None:
        """The room stands: from here on this person is its root."""
        room, record = room_id_of(signed.payload), signed.record
        if not isinstance(record, records.Genesis):
            raise NotKept("a room begins with GENESIS")
        first = Entry(0, signed.event_id, Hash32(room), signed.envelope)
        self._room = Room(found(record, signed.payload), signed)
        self._room.log.append(first)

    def attach(self, **fields: Any) -> frames.Attach:
        """ATTACH for this link."""
        values: dict[str, Any] = {
            "v": 1,
            "room": self.room.id,
            "mid": self.mid,
            "transport_key": self.peer.transport_key,
            "relay_id": self.relay_id,
            "challenge": self.peer.greeting.challenge,
            "ts": self.now(),
        }
        record = self.signed(records.Attach(**(values | fields)))
        return frames.Attach(self.peer.number(), record.envelope)

    def sync(self, start: int = 0, log: Hash32 | None = None) -> frames.Sync:
        """SYNC."""
        return frames.Sync(self.peer.number(), self.room.id, start, log)

    async def come(self, start: int | None = None) -> frames.Synced:
        """Attach and sync from `start`, by default from the end of the log."""
        await self.peer.expect(frames.Attached, self.attach())
        start = len(self.room.log) if start is None else start
        return await self.peer.expect(frames.Synced, self.sync(start))

    async def move(self, peer: Peer) -> None:
        """Go on from another link."""
        self.peer = peer
        await peer.expect(frames.Attached, self.attach())

    async def deliveries(self, upto: int) -> list[frames.Delivery]:
        """What is delivered up to entry `upto`; each must be what its sender sent."""
        got: list[frames.Delivery] = []
        while not got or got[-1].seq < upto:
            delivery = await self.peer.next(frames.Delivery)
            if delivery.room != self.room.id:
                raise NotKept("an entry of a room was delivered that was not asked for")
            got.append(delivery)
        return got

    # -- events ----------------------------------------------------------------------------------

    def event(self, cell: bytes, **fields: Any) -> SignedRecord:
        """EVENT for this cell."""
        room, (counter, last) = self.room, self.room.sender(self.mid)
        values: dict[str, Any] = {
            "v": 1,
            "room": room.id,
            "epoch": room.state.epoch,
            "mid": self.mid,
            "counter": counter + 1,
            "prev": last,
            "seen": room.seen,
            "ctl": room.state.ctl,
            "kind": records.EventKind.MESSAGE,
            "sid": Sid(secrets.token_bytes(16)),
            "cell_hash": sha256(cell),
            "ts": self.now(),
        }
        return self.signed(records.Event(**(values | fields)))

    def post(self, cell: bytes = b"a sealed text", **fields: Any) -> frames.Post:
        """POST of an event."""
        return self.post_of(self.event(cell, **fields), cell)

    def post_of(self, signed: SignedRecord, cell: bytes) -> frames.Post:
        """POST of this very event."""
        return frames.Post(self.peer.number(), self.room.id, signed.envelope, cell)

    def redact(self, target: EventId, **fields: Any) -> frames.Post:
        """POST of a redaction."""
        return self.post(b"", kind=records.EventKind.REDACT, target=target, **fields)

    async def say(self, cell: bytes = b"a sealed text", **fields: Any) -> Entry:
        """Send an event that is right."""
        signed = self.event(cell, **fields)
        ack = await self.peer.expect(frames.Ack, self.post_of(signed, cell))
        return self.room.take(signed, cell, ack)

    async def say_many(self, count: int) -> None:
        """Send so many events that are right, all at once. Raises `NotKept` if one is not taken."""
        refused = await self.try_many(count)
        if refused is not None:
            raise NotKept(f"of {count} events sent in order, one was not taken")

    async def try_many(self, count: int) -> tuple[frames.Post, SignedRecord, RelayFrame] | None:
        """Send so many events that are right, all at once; the first that was not taken, if any.

        None after that one may be taken: each names the one before it. Raises `NotKept`.
        """
        batch = self._in_order(count)
        answers = await self.peer.ask_all([post for post, _ in batch])
        refused: tuple[frames.Post, SignedRecord, RelayFrame] | None = None
        for (post, signed), answer in zip(batch, answers, strict=True):
            if not isinstance(answer, frames.Ack):
                refused = refused or (post, signed, answer)
            elif refused:
                raise NotKept("an event was taken though the one before it was not")
            else:
                self.room.take(signed, post.cell, answer)
        return refused

    def _in_order(self, count: int) -> list[tuple[frames.Post, SignedRecord]]:
        """So many events, each naming the one before it."""
        counter, prev = self.room.sender(self.mid)
        batch: list[tuple[frames.Post, SignedRecord]] = []
        for n in range(1, count + 1):
            cell = b"cell %d" % n
            signed = self.event(cell, counter=counter + n, prev=prev)
            batch.append((self.post_of(signed, cell), signed))
            prev = signed.event_id
        return batch

    # -- control ---------------------------------------------------------------------------------

    def control(self, kind: type[Any], **fields: Any) -> SignedRecord:
        """A control record."""
        room = self.room
        values: dict[str, Any] = {
            "v": 1,
            "room": room.id,
            "mid": self.mid,
            "prev": room.state.ctl,
            "seen": room.seen,
            "ts": self.now(),
        }
        return self.signed(kind(**(values | fields)))

    def carry(self, signed: SignedRecord, boxes: tuple[bytes, ...] = ()) -> frames.Control:
        """CONTROL with this record."""
        return frames.Control(self.peer.number(), self.room.id, signed.envelope, boxes)

    async def do(self, signed: SignedRecord, boxes: tuple[bytes, ...] = ()) -> Entry:
        """Send a control record that is right."""
        ack = await self.peer.expect(frames.Ack, self.carry(signed, boxes))
        return self.room.take(signed, b"", ack)

    async def refused(self, signed: SignedRecord, *codes: Code, what: str = "") -> frames.Failure:
        """Send a control record that is wrong."""
        return await self.peer.refused(self.carry(signed), *codes, what=what)

    def rekey(self, **fields: Any) -> SignedRecord:
        """REKEY, routine."""
        values: dict[str, Any] = {
            "epoch": self.room.state.epoch + 1,
            "key_commitment": random_hash(),
            "cell": secrets.token_bytes(76),
        }
        return self.control(records.RekeyRoutine, **(values | fields))

    def boxed(self, *removed: MemberId, **fields: Any) -> tuple[SignedRecord, tuple[bytes, ...]]:
        """REKEY, boxed, and its boxes."""
        state = self.room.state
        staying = [mid for mid in state.members if mid not in removed]
        boxes = tuple(b"box of " + mid for mid in staying)
        values: dict[str, Any] = {
            "boxes": tuple((mid, sha256(box)) for mid, box in zip(staying, boxes, strict=True)),
            "epoch": state.epoch + 1,
            "key_commitment": random_hash(),
            "removed": removed,
        }
        return self.control(records.RekeyBoxed, **(values | fields)), boxes

    # -- joining ---------------------------------------------------------------------------------

    def invite(self, **fields: Any) -> tuple[Invite, SignedRecord]:
        """INVITE_OPEN, and what its bearer gets."""
        invite_id = InviteId(secrets.token_bytes(16))
        proof = invite_proof(secrets.token_bytes(32))
        values: dict[str, Any] = {
            "invite_id": invite_id,
            "commit": invite_commitment(self.room.id, invite_id, proof),
            "expires": self.now() + _INVITE_LIFE_MS,
            "admitters": (self.mid,),
            "role": records.Role.MEMBER,
        } | fields
        record = self.control(records.InviteOpen, **values)
        return Invite(self.room.id, invite_id, proof, values["admitters"]), record

    async def open_invite(self, **fields: Any) -> Invite:
        """An invite that stands."""
        invite, record = self.invite(**fields)
        await self.do(record)
        return invite

    def lookup(self, invite: Invite, **fields: Any) -> frames.Lookup:
        """LOOKUP by this invite."""
        values: dict[str, Any] = {
            "room": invite.room,
            "invite_id": invite.invite_id,
            "proof": invite.proof,
        }
        return frames.Lookup(self.peer.number(), **(values | fields))

    def join_request(self, invite: Invite, **fields: Any) -> SignedRecord:
        """JOIN_REQ by this invite."""
        values: dict[str, Any] = {
            "v": 1,
            "room": invite.room,
            "invite_id": invite.invite_id,
            "proof": invite.proof,
            "sign_key": self.sign.public,
            "enc_key": self.enc.public,
            "nonce": random_hash(),
            "home": self.relay_id,
            "boxes": tuple((mid, b"a join box") for mid in invite.admitters),
        }
        return self.signed(records.JoinRequest(**(values | fields)))

    def join(self, signed: SignedRecord) -> frames.Join:
        """JOIN with this request."""
        return frames.Join(self.peer.number(), signed.envelope)

    def join_answer(self, request: SignedRecord, **fields: Any) -> SignedRecord:
        """JOIN_RESP to this request."""
        asked: Any = request.record
        values: dict[str, Any] = {
            "v": 1,
            "room": self.room.id,
            "invite_id": asked.invite_id,
            "request_hash": request.hash,
            "mid": self.mid,
            "to": member_id_of(asked.sign_key),
            "cell": b"the room key, sealed",
        }
        return self.signed(records.JoinResponse(**(values | fields)))

    def answer_with(self, signed: SignedRecord) -> frames.JoinAnswer:
        """JOIN_ANSWER with this record."""
        return frames.JoinAnswer(self.peer.number(), self.room.id, signed.envelope)

    def join_confirm(
        self, room: Room, request: SignedRecord, answer: SignedRecord, **fields: Any
    ) -> SignedRecord:
        """JOIN_CONFIRM of this answer."""
        asked: Any = request.record
        values: dict[str, Any] = {
            "v": 1,
            "room": room.id,
            "invite_id": asked.invite_id,
            "request_hash": request.hash,
            "response_hash": answer.hash,
            "mid": self.mid,
            "epoch": room.state.epoch,
            "cell": b"a sealed confirmation",
        }
        return self.signed(records.JoinConfirm(**(values | fields)))

    def confirm_with(self, room: Room, signed: SignedRecord) -> frames.JoinConfirm:
        """JOIN_CONFIRM frame with this record."""
        return frames.JoinConfirm(self.peer.number(), room.id, signed.envelope)

    def admit(self, request: SignedRecord, confirm: SignedRecord, **fields: Any) -> SignedRecord:
        """ADMIT of who made this request."""
        asked: Any = request.record
        state = self.room.state
        invite = state.invites.get(asked.invite_id)
        values: dict[str, Any] = {
            "invite_id": asked.invite_id,
            "sign_key": asked.sign_key,
            "enc_key": asked.enc_key,
            "role": invite.role if invite else records.Role.MEMBER,
            "caps": tuple(invite.caps) if invite else (),
            "confirm_hash": confirm.hash,
            "epoch": state.epoch,
            "history_from": state.epoch_seq + 1,
            "home": asked.home,
        }
        return self.control(records.Admit, **(values | fields))

    async def ask_in(self, owner: Person, invite: Invite) -> Joining:
        """Join as far as the confirmation; `owner` answers."""
        request = self.join_request(invite)
        await self.peer.expect(frames.JoinStatus, self.join(request))
        answer = owner.join_answer(request)
        await owner.peer.expect(frames.Done, owner.answer_with(answer))
        confirm = self.join_confirm(owner.room, request, answer)
        await self.peer.expect(frames.JoinStatus, self.confirm_with(owner.room, confirm))
        return Joining(request, answer, confirm)

    async def enter(self, owner: Person, **invite: Any) -> None:
        """Become a member of the owner's room, by the whole way."""
        joining = await self.ask_in(owner, await owner.open_invite(**invite))
        await owner.do(owner.admit(joining.request, joining.confirm))
        self._room = owner.room

    # -- keys, signals, attachments --------------------------------------------------------------

    def key_request(self, **fields: Any) -> SignedRecord:
        """KEY_REQ."""
        values: dict[str, Any] = {
            "v": 1,
            "room": self.room.id,
            "mid": self.mid,
            "epoch": self.room.state.epoch,
            "nonce": random_hash(),
            "ts": self.now(),
        }
        return self.signed(records.KeyRequest(**(values | fields)))

    def key_answer(
        self, asked: SignedRecord, to: MemberId, box: bytes, **fields: Any
    ) -> frames.KeyAnswer:
        """An answer to a KEY_REQ."""
        values: dict[str, Any] = {
            "v": 1,
            "room": self.room.id,
            "mid": self.mid,
            "to": to,
            "epoch": self.room.state.epoch,
            "request_hash": asked.hash,
            "box_hash": sha256(box),
        }
        record = self.signed(records.KeyAnswer(**(values | fields)))
        return frames.KeyAnswer(self.peer.number(), self.room.id, record.envelope, box)

    def signal(self, cell: bytes) -> frames.Signal:
        """A signal."""
        return frames.Signal(self.room.id, self.room.state.epoch, cell)

    def put(self, blob: BlobId, index: int = 0, **fields: Any) -> frames.BlobPut:
        """BLOB_PUT of one chunk of two."""
        values: dict[str, Any] = {"room": self.room.id, "count": 2, "chunk": b"a sealed chunk"}
        return frames.BlobPut(rid=self.peer.number(), blob=blob, index=index, **(values | fields))

    def get(self, blob: BlobId, index: int = 0) -> frames.BlobGet:
        """BLOB_GET of one chunk."""
        return frames.BlobGet(self.peer.number(), self.room.id, blob, index)
