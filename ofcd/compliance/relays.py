"""A relay that is hostile: the kit at the other end of a link between relays.

As a *follower* it asks the relay under test for its rooms; as a *hub* it orders a room of which the
relay under test has a member. It keeps to the protocol as far as a check wants it to. The room's
people are the kit's, whichever relay they are at home at: `Person` makes their records.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import trio
from attrs import evolve

from ofcd.compliance.errors import LinkEnded, NotKept, Skipped
from ofcd.compliance.lab import Lab
from ofcd.compliance.peer import PATIENCE, Peer, greet, shake_hands
from ofcd.compliance.people import Entry, Person
from ofcd.protocol import frames, records
from ofcd.protocol.codes import Code, ProtocolError
from ofcd.protocol.frames import decode_client_frame, decode_peer_frame, encode_frame
from ofcd.protocol.ids import (
    Hash32,
    MemberId,
    PublicKey,
    RelayId,
    RoomId,
    relay_id_of,
)
from ofcd.themis import KeyPair, SecureSession, generate_keypair
from ofcd.themis.signed import SignedRecord, open_signed, peek, sign_record
from ofcd.wire import MessageStream

__all__ = ["FalseHub", "RelayEnd", "introduce", "open_relay"]

T = TypeVar("T")
_CLOSED_TO_US: Final = (Code.NOT_FEDERATED, Code.FORBIDDEN, Code.BAD_FRAME)


class RelayEnd(Peer):
    """A link on which the kit is a relay."""

    def __init__(self, stream: MessageStream, keys: KeyPair, session: SecureSession) -> None:
        super().__init__(stream, keys, session)
        self.keys = keys
        self.is_relay = False
        """Both ends have introduced themselves: from here on the frames are those of relays."""
        self._lanes = 0

    @property
    def own_id(self) -> RelayId:
        """This relay, the kit's."""
        return relay_id_of(PublicKey(self.keys.public))

    def decode(self, encoded: Sequence[bytes], trailer: Sequence[bytes]) -> list[Any]:
        """The frames of one message. Raises `Malformed`."""
        if not self.is_relay:
            return super().decode(encoded, trailer)
        return [decode_peer_frame(raw) for raw in encoded]

    def introduction(self, **fields: Any) -> SignedRecord:
        """PEER for this link."""
        values: dict[str, Any] = {
            "v": 1,
            "relay_id": self.own_id,
            "peer_id": self.relay_id,
            "challenge": self.greeting.challenge,
            "ts": self.greeting.ts,
        }
        return sign_record(self.keys.private, records.Peer(**(values | fields)))

    # -- lanes -----------------------------------------------------------------------------------

    async def lane(self, room: RoomId, mid: MemberId) -> int:
        """A new lane in which this member asks."""
        number = self.guest_lane()
        await self.send(frames.LaneOpen(number, room, mid))
        return number

    def guest_lane(self) -> int:
        """The number of a new lane, in which a stranger asks."""
        self._lanes += 1
        return self._lanes

    async def in_lane(self, lane: int, frame: frames.ClientFrame) -> frames.RelayFrame:
        """The answer to a client's frame that is passed on in a lane.

        A lane that the hub closes is a `Failure` with its code.
        """
        await self.send(frames.LaneAsk(lane, encode_frame(frame)))
        rid: int = getattr(frame, "rid", 0)
        while True:
            for at, came in enumerate(self.inbox):
                if isinstance(came, frames.LaneLost) and came.lane == lane:
                    del self.inbox[at]
                    return frames.Failure(rid, came.code, "the lane is lost")
                if isinstance(came, frames.LaneTell) and came.lane == lane:
                    told = _decoded(came.frame)
                    if getattr(told, "rid", 0) == rid:
                        del self.inbox[at]
                        return told
            await self.receive()

    async def refused_in(
        self, lane: int, frame: frames.ClientFrame, *codes: Code, what: str
    ) -> None:
        """What is passed on in a lane must be refused with one of these codes."""
        answer = await self.in_lane(lane, frame)
        if not isinstance(answer, frames.Failure):
            raise NotKept(f"{what} was taken ({type(answer).__name__})")
        if answer.code not in codes:
            raise NotKept(f"{what} was refused with {answer.code}, not {' or '.join(codes)}")

    async def took_in(self, lane: int, frame: frames.ClientFrame, kind: type[T]) -> T:
        """What is passed on in a lane must be answered by this kind of frame."""
        answer = await self.in_lane(lane, frame)
        if not isinstance(answer, kind):
            said = f"{answer.code}" if isinstance(answer, frames.Failure) else type(answer).__name__
            raise NotKept(f"in a lane {type(frame).__name__} was answered by {said}")
        return answer


def _decoded(raw: bytes) -> frames.RelayFrame:
    try:
        return frames.decode_relay_frame(raw)
    except ProtocolError as error:
        raise NotKept(f"the relay put in a lane what is no frame: {error}") from None


async def introduce(end: RelayEnd, record: SignedRecord | None = None) -> frames.RelayFrame:
    """PEER, and the answer to it."""
    signed = record or end.introduction()
    answer = await end.ask(frames.Peer(end.number(), signed.envelope))
    if isinstance(answer, frames.Peered):
        end.is_relay = True
    return answer


async def open_relay(lab: Lab, keys: KeyPair | None = None) -> RelayEnd:
    """A link of a relay nobody knows, both introduced. Raises `Skipped` where none is taken."""
    end = await shaken_relay(lab, keys)
    try:
        answer = await introduce(end)
    except LinkEnded as ended:
        if ended.last_words in _CLOSED_TO_US:
            raise _closed(ended.last_words) from None
        raise
    if isinstance(answer, frames.Failure) and answer.code in _CLOSED_TO_US:
        raise _closed(answer.code)
    if not isinstance(answer, frames.Peered):
        raise NotKept(f"PEER was answered by {type(answer).__name__}")
    theirs = open_signed(end.relay_key, answer.record).record
    wanted = (end.relay_id, end.own_id, end.greeting.challenge)
    if not isinstance(theirs, records.Peer) or wanted != (
        theirs.relay_id,
        theirs.peer_id,
        theirs.challenge,
    ):
        raise NotKept("the relay introduced itself as another one, to another one, or elsewhere")
    return end


def _closed(code: str) -> Skipped:
    return Skipped(
        f"the relay talks to no relay it does not know ({code}): to try this, let it federate "
        "with everybody (docs/compliance.md)"
    )


async def shaken_relay(lab: Lab, keys: KeyPair | None = None) -> RelayEnd:
    """A link whose session id is a relay's key; welcome has come."""
    keys = keys or generate_keypair()
    stream = await lab.message_stream()
    peer = await shake_hands(stream, keys)
    end = RelayEnd(stream, keys, peer.session)
    lab.closes(end)
    await greet(end, pin=lab.target.relay_id)
    return end


class FalseHub:
    """The hub of one room. Its owner is at home there, who else joins at the relay under test."""

    def __init__(self, end: RelayEnd, **policy: Any) -> None:
        """Found a room at this hub."""
        self.end = end
        self.owner = Person(end, home=end.own_id)
        genesis = self.owner.genesis(policy=records.Policy(**policy))
        self.owner.founded(genesis)
        self.follows = 0
        """How often the relay under test asked for the room."""
        self.refusal: frames.Failure | None = None
        """What the first message of a member is refused with."""
        self.posted: list[frames.Post] = []
        """What its members sent."""
        self.cursor = -1
        """How far it says to have stored the room."""
        self._heard = trio.Event()
        self.deliver: Callable[[int], Awaitable[None]] = self.deliver_from
        """What is done when the room is asked for from some seq on."""
        self.log_before: Callable[[int], Hash32] = self._log_before
        self._joiner: Person | None = None
        self._answer: SignedRecord | None = None

    @property
    def room(self) -> Any:
        """The room."""
        return self.owner.room

    @property
    def room_id(self) -> RoomId:
        """Its id."""
        return self.owner.room.id

    def append(self, signed: SignedRecord, cell: bytes = b"") -> Entry:
        """The next entry of the true log."""
        return self.owner.room.append(signed, cell)

    def says(self, cell: bytes = b"a sealed text", **fields: Any) -> Entry:
        """The owner says something: the next entry, not delivered yet."""
        return self.append(self.owner.event(cell, **fields), cell)

    def delivery(self, entry: Entry, **fields: Any) -> frames.Delivery:
        """A delivery of this entry, right or wrong."""
        values: dict[str, Any] = {"seq": entry.seq, "record": entry.record, "cell": entry.cell}
        if entry.seq == 0 or isinstance(_kind(entry), records.CONTROL_TYPES):
            values["cell"] = b""
        return frames.Delivery(self.room_id, **(values | fields))

    async def deliver_from(self, start: int) -> None:
        """Everything from `start` on, as it is."""
        await self.end.send(*(self.delivery(e) for e in self.owner.room.log[start:]))

    def head(self, **fields: Any) -> frames.Head:
        """A LOG_HEAD of the log's end, signed by this hub."""
        last = self.owner.room.head
        values: dict[str, Any] = {
            "v": 1,
            "room": self.room_id,
            "term": 0,
            "seq": last.seq,
            "log": last.log,
            "ts": self.end.greeting.ts,
        }
        record = sign_record(self.end.keys.private, records.LogHead(**(values | fields)))
        return frames.Head(self.room_id, record=record.envelope)

    def _log_before(self, start: int) -> Hash32:
        return self.owner.room.log[start - 1].log if start else Hash32(self.room_id)

    # -- serving ---------------------------------------------------------------------------------

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """In this block what the relay under test asks is answered, as `deliver` has it."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._serve)
            yield
            nursery.cancel_scope.cancel()

    async def _serve(self) -> None:
        while True:
            inbox, self.end.inbox = self.end.inbox, []
            for frame in inbox:
                await self._take(frame)
            self._heard.set()
            self._heard = trio.Event()
            try:
                await self.end.receive(3600)
            except LinkEnded:
                return  # a hub that lies is hung up on

    async def _take(self, frame: Any) -> None:
        match frame:
            case frames.LaneAsk():
                await self._asked(frame.lane, decode_client_frame(frame.frame))
            case frames.Follow():
                self.follows += 1
                synced = frames.Synced(
                    frame.rid,
                    frame.room,
                    frame.start,
                    0,
                    self.log_before(frame.start),
                    self.owner.room.head.seq,
                )
                await self.end.send(synced)
                await self.deliver(frame.start)
            case frames.Cursor():
                self.cursor = max(self.cursor, frame.seq)
            case frames.Ping():
                await self.end.send(frames.Pong(frame.number))

    async def _asked(self, lane: int, frame: frames.ClientFrame) -> None:
        match frame:
            case frames.Lookup() | frames.ChainGet():
                control = [e for e in self.owner.room.log if not _is_event(e)]
                page = frames.ChainPage(
                    frame.rid,
                    frame.room,
                    tuple(e.seq for e in control),
                    False,
                    tuple(e.record for e in control),
                )
                await self._tell(lane, page)
            case frames.Join():
                await self._joins(lane, frame)
            case frames.JoinConfirm():
                await self._confirms(lane, frame)
            case frames.Post():
                self.posted.append(frame)
                if self.refusal is not None:
                    refusal, self.refusal = evolve(self.refusal, rid=frame.rid), None
                    await self._tell(lane, refusal)
            case _:
                rid: int = getattr(frame, "rid", 0)
                if rid:
                    await self._tell(lane, frames.Done(rid))

    async def _tell(self, lane: int, *told: frames.RelayFrame) -> None:
        await self.end.send(*(frames.LaneTell(lane, encode_frame(one)) for one in told))

    async def _joins(self, lane: int, frame: frames.Join) -> None:
        joiner = self._expected()
        request = open_signed(PublicKey(joiner.sign.public), frame.record)
        invite: Any = request.record
        status = frames.JoinState.ANSWERED if self._answer else frames.JoinState.PENDING
        self._request = request
        self._answer = self._answer or self.owner.join_answer(request)
        record = self._answer.envelope if status == frames.JoinState.ANSWERED else b""
        await self._tell(
            lane,
            frames.JoinStatus(frame.rid, self.room_id, invite.invite_id, status, record),
            frames.JoinAnswer(0, self.room_id, self._answer.envelope),
        )

    async def _confirms(self, lane: int, frame: frames.JoinConfirm) -> None:
        joiner = self._expected()
        confirm = open_signed(PublicKey(joiner.sign.public), frame.record)
        said: Any = confirm.record
        confirmed, admitted = frames.JoinState.CONFIRMED, frames.JoinState.ADMITTED
        await self._tell(
            lane, frames.JoinStatus(frame.rid, self.room_id, said.invite_id, confirmed)
        )
        self.append(self.owner.admit(self._request, confirm))
        await self._tell(lane, frames.JoinStatus(0, self.room_id, said.invite_id, admitted))

    def _expected(self) -> Person:
        if self._joiner is None:
            raise NotKept("the relay passed on a join that nobody asked for")
        return self._joiner

    async def until(self, heard: Callable[[], bool], otherwise: str) -> None:
        """Serve until something was heard. Raises `NotKept` with this sentence if it never is."""
        with trio.move_on_after(PATIENCE):
            while not heard():
                await self._heard.wait()
            return
        raise NotKept(otherwise)

    # -- a member at the relay under test ----------------------------------------------------------

    async def admit(self, joiner: Person) -> None:
        """Let somebody in who uses the relay under test, and go on serving."""
        self._joiner, self._answer = joiner, None
        invite, record = self.owner.invite()
        self.append(record)
        hub: dict[str, Any] = {"hub": self.end.own_id}
        await joiner.peer.expect(frames.ChainPage, joiner.lookup(invite, **hub))
        request = joiner.join_request(invite)
        join = frames.Join(joiner.peer.number(), record=request.envelope, **hub)
        await joiner.peer.expect(frames.JoinStatus, join)
        handed = await joiner.peer.next(frames.JoinAnswer)
        answer: Any = self._answer
        if answer is None or handed.record != answer.envelope:
            raise NotKept("the joiner was handed another answer than its admitter's")
        confirm = joiner.join_confirm(self.owner.room, request, answer)
        frame = frames.JoinConfirm(
            joiner.peer.number(), self.room_id, record=confirm.envelope, **hub
        )
        await joiner.peer.expect(frames.JoinStatus, frame)
        while (await joiner.peer.next(frames.JoinStatus)).state != frames.JoinState.ADMITTED:
            pass
        joiner.comes_to(self.owner.room)
        await joiner.peer.expect(frames.Attached, joiner.attach())
        await joiner.peer.expect(frames.Synced, joiner.sync(0))


def _kind(entry: Entry) -> Any:
    return peek(entry.record).record


def _is_event(entry: Entry) -> bool:
    return isinstance(_kind(entry), records.Event)
