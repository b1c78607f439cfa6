"""A relay core with a store in memory, and people who sign for real and may do anything."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from typing import Any, TypeVar

from ofcd.protocol import frames, records
from ofcd.protocol.codes import ProtocolError
from ofcd.protocol.ids import (
    BlobId,
    EventId,
    Hash32,
    InviteId,
    MemberId,
    PublicKey,
    RoomId,
    Sid,
    invite_commitment,
    invite_proof,
    member_id_of,
    relay_id_of,
    room_id_of,
    sha256,
    tagged_hash,
)
from ofcd.relay import (
    Appended,
    Asked,
    Backlog,
    Close,
    Decision,
    Effect,
    Examined,
    FindEvent,
    FindSid,
    FindUpload,
    HubMoved,
    LinkId,
    Push,
    ReadBlob,
    ReadChain,
    Redacted,
    Relay,
    RelayPolicy,
    Reply,
    Rewound,
    RoomLog,
    Stir,
    Subscribe,
    Unsubscribe,
)
from ofcd.relay.facts import BlobDropped, ChainRecord, Fact
from ofcd.themis import KeyPair, generate_keypair
from ofcd.themis.signed import SignedRecord, peek, sign_record
from tests.relay.fact_store import FactStore

T = TypeVar("T")
NOW = 1_700_000_000_000
DAY = 24 * 3600 * 1000


@cache
def keypair(name: str) -> KeyPair:
    """The key pair of this name, the same for the whole run."""
    return generate_keypair()


def digest(name: str) -> Hash32:
    return tagged_hash("test", name.encode())


_NO_ANSWERS = (Push, Appended, Redacted, Backlog, Unsubscribe, Close, Stir, HubMoved, Rewound)


class World:
    """The core, driven as the hub drives it: examine, verify, decide, commit, perform."""

    def __init__(
        self, policy: RelayPolicy | None = None, rooms: int = 0, *, verify: bool = True
    ) -> None:
        """`verify=False` takes signatures for granted: they are right by construction."""
        self.relay_id = relay_id_of(PublicKey(keypair("relay").public))
        self.relay = Relay(self.relay_id, policy or RelayPolicy(federated=True), rooms=rooms)
        self.store = FactStore()
        self.now = NOW
        self.facts: list[Fact] = []
        self.closed: dict[LinkId, frames.Failure] = {}
        self.inbox: dict[LinkId, list[frames.RelayFrame]] = defaultdict(list)
        self.feeds: dict[tuple[LinkId, RoomId], MemberId] = {}
        self.uploaded: dict[FindUpload, frames.RelayFrame] = {}
        self._links = 0
        self._verify = verify

    # -- links -----------------------------------------------------------------------------------

    def open_link(self, name: str = "transport") -> LinkId:
        self._links += 1
        link = LinkId(self._links)
        self.relay.open_link(link, transport_key(name), challenge(link), self.now)
        return link

    def close_link(self, link: LinkId) -> None:
        self.relay.close_link(link)
        for key in [key for key in self.feeds if key[0] == link]:
            del self.feeds[key]

    # -- requests --------------------------------------------------------------------------------

    def send(self, link: LinkId, frame: frames.ClientFrame) -> frames.RelayFrame | None:
        """The answer to one frame, with everything it entails done; None where there is none."""
        decision = self.decide(link, frame)
        self.commit(decision)
        return self.answer_in(decision.effects, link, frame)

    def decide(self, link: LinkId, frame: frames.ClientFrame) -> Decision:
        """What the core decides; a refusal while examining is a decision too."""
        try:
            examined = self.examine(link, frame)
            if self._verify:
                examined.verify()
        except ProtocolError as error:
            failure = self.relay.failure(frame, error)
            return Decision(effects=(Reply(link, failure),) if failure.rid else ())
        self.load(examined)
        return self.relay.decide(link, examined, self.now)

    def examine(self, link: LinkId, frame: frames.ClientFrame) -> Examined:
        """The cheap checks; raises `ProtocolError`."""
        asked = self.relay.read(link, frame, self.now)
        self.load(asked)
        return self.relay.examine(link, asked, self.now)

    def load(self, asked: Asked | Examined) -> None:
        while (room := self.relay.needs(asked)) is not None:
            self.relay.load(room, self.store.load(room))

    def commit(self, decision: Decision) -> None:
        freed = self.store.commit(decision.facts)
        dropped = (fact for fact in decision.facts if isinstance(fact, BlobDropped))
        for fact, size in zip(dropped, freed, strict=True):
            self.relay.freed(fact.room, fact.mid, size)
        self.facts += decision.facts
        self._perform(decision.effects)

    def answer_in(
        self, effects: Iterable[Effect], link: LinkId, frame: frames.ClientFrame
    ) -> frames.RelayFrame | None:
        """The one answer to `frame`."""
        answers = [e for e in effects if not isinstance(e, _NO_ANSWERS)]
        assert len(answers) == (1 if getattr(frame, "rid", 0) else 0), effects
        assert all(answer.link == link for answer in answers)
        return self._frame_of(answers[0]) if answers else None

    def refused(self, link: LinkId, frame: frames.ClientFrame) -> frames.Failure:
        """The refusal of `frame`, which must change nothing."""
        before = self.snapshot()
        decision = self.decide(link, frame)
        assert not decision.facts
        assert self.snapshot() == before
        answer = self.answer_in(decision.effects, link, frame)
        assert isinstance(answer, frames.Failure), answer
        self.commit(decision)
        return answer

    def code(self, link: LinkId, frame: frames.ClientFrame) -> str:
        """The code of the refusal."""
        return self.refused(link, frame).code

    def expect(self, kind: type[T], link: LinkId, frame: frames.ClientFrame) -> T:
        """The answer, which must be of this kind."""
        answer = self.send(link, frame)
        assert isinstance(answer, kind), answer
        return answer

    def room(self, room: RoomId) -> RoomLog:
        """The room as the core has it in memory."""
        self.relay.load(room, self.store.load(room))
        return self.relay._core.rooms[room]

    def snapshot(self) -> object:
        """All state a refusal may not change."""
        core = self.relay._core
        rooms = {
            room: RoomLog.from_snapshot(s)
            for room in self.store.rooms
            if (s := self.store.load(room))
        }
        for room_id, room in core.rooms.items():
            assert rooms[room_id] == room
        links = {i: (dict(link.rooms), list(link.joins)) for i, link in core.links._links.items()}
        return rooms, links, core.room_count

    # -- effects ---------------------------------------------------------------------------------

    def _perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Appended():
                    self._fan_out(effect)
                case Unsubscribe():
                    self.feeds.pop((effect.link, effect.room), None)
                case Close():
                    self.closed[effect.link] = effect.failure
                case Redacted():
                    pass
                case Backlog():
                    waiting = self.relay.backlog(effect.link, effect.room, effect.mid, self.now)
                    self.inbox[effect.link] += waiting
                case Stir() | HubMoved() | Rewound():
                    pass  # for the way to other relays
                case _:
                    self.inbox[effect.link].append(self._frame_of(effect))
                    if isinstance(effect, Subscribe):
                        self._subscribe(effect)

    def _fan_out(self, effect: Appended) -> None:
        for (link, room), mid in self.feeds.items():
            if room == effect.room:
                if mid in effect.boxes:
                    self.inbox[link].append(frames.Box(room, effect.seq, effect.boxes[mid]))
                self.inbox[link].append(effect.delivery)

    def _subscribe(self, effect: Subscribe) -> None:
        if not isinstance(self._frame_of(effect), frames.Synced):
            return
        stored = self.store.rooms[effect.room]
        for seq in range(effect.start, len(stored.log)):
            entry = stored.log[seq]
            box = stored.boxes.get((seq, effect.mid))
            if box:
                self.inbox[effect.link].append(frames.Box(effect.room, seq, box))
            delivery = frames.Delivery(effect.room, seq, entry.record, entry.cell)
            self.inbox[effect.link].append(delivery)
        self.feeds[effect.link, effect.room] = effect.mid

    def _frame_of(self, effect: Effect) -> frames.RelayFrame:
        match effect:
            case Reply() | Push():
                return effect.frame
            case FindSid():
                return effect.found(self.store.find_sid(effect.room, effect.mid, effect.sid))
            case FindEvent():
                return effect.found(self.store.find_event(effect.room, effect.event_id))
            case ReadChain():
                chain = [
                    ChainRecord(e.seq, e.event_id, e.record)
                    for e in self.store.rooms[effect.room].log.values()
                    if e.control and e.seq >= effect.start
                ]
                page = chain[: effect.max_records]
                return effect.page(page, len(page) < len(chain))
            case FindUpload():
                if effect not in self.uploaded:  # once: it changes what the core remembers
                    stored = self.store.rooms[effect.room].blobs.items()
                    owners = [(b.mid, b.count) for (blob, _), b in stored if blob == effect.blob]
                    owner = owners[0] if owners else None
                    self.uploaded[effect] = self.relay.uploaded(effect, owner)
                return self.uploaded[effect]
            case ReadBlob():
                blob = self.store.rooms[effect.room].blobs.get((effect.blob, effect.index))
                return effect.found(blob.count, blob.chunk) if blob else effect.missing()
            case Subscribe():
                return effect.synced(0, self.store.log_before(effect.room, effect.start))
        raise AssertionError(effect)

    def received(self, link: LinkId, kind: type[T]) -> list[T]:
        """Frames of this kind that the link got."""
        return [frame for frame in self.inbox[link] if isinstance(frame, kind)]


def transport_key(name: str = "transport") -> PublicKey:
    return PublicKey(keypair(name).public)


def challenge(link: LinkId) -> Hash32:
    return digest(f"challenge {link}")


class Person:
    """Keys of one person in one room, and every frame they may send, right or wrong.

    Each method makes the frame that is right at this moment; keyword arguments make it wrong.
    """

    def __init__(self, world: World, name: str, room: RoomId | None = None) -> None:
        self.world = world
        self.name = name
        self.sign = keypair(f"{name} sign")
        self.enc = keypair(f"{name} enc")
        self.mid = member_id_of(PublicKey(self.sign.public))
        self.link = world.open_link(name)
        self._room = room
        self._numbers = 0

    @property
    def room(self) -> RoomId:
        assert self._room is not None
        return self._room

    @property
    def log(self) -> RoomLog:
        return self.world.room(self.room)

    def number(self) -> int:
        self._numbers += 1
        return self._numbers

    def signed(self, record: records.Record) -> SignedRecord:
        return sign_record(self.sign.private, record)

    # -- the room --------------------------------------------------------------------------------

    def genesis(self, **fields: Any) -> records.Genesis:
        values: dict[str, Any] = {
            "v": 1,
            "nonce": digest(f"{self.name} nonce"),
            "sign_key": self.sign.public,
            "enc_key": self.enc.public,
            "relay_id": self.world.relay_id,
            "policy": records.Policy(),
            "key_commitment": digest("kc 0"),
            "ts": self.world.now,
        }
        return records.Genesis(**(values | fields))

    def create(self, *, token: str = "", **fields: Any) -> frames.Create:
        signed = self.signed(self.genesis(**fields))
        self._room = room_id_of(signed.payload)
        return frames.Create(self.number(), token=token, record=signed.envelope)

    def attach(self, link: LinkId | None = None, **fields: Any) -> frames.Attach:
        link = link or self.link
        values: dict[str, Any] = {
            "v": 1,
            "room": self.room,
            "mid": self.mid,
            "transport_key": transport_key(self.name),
            "relay_id": self.world.relay_id,
            "challenge": challenge(link),
            "ts": self.world.now,
        }
        record = self.signed(records.Attach(**(values | fields)))
        return frames.Attach(self.number(), record.envelope)

    def come(self) -> None:
        """Attach and sync from the start."""
        self.world.expect(frames.Attached, self.link, self.attach())
        self.world.expect(frames.Synced, self.link, self.sync())

    def sync(self, start: int = 0, log: Hash32 | None = None) -> frames.Sync:
        return frames.Sync(self.number(), self.room, start, log)

    # -- events ----------------------------------------------------------------------------------

    def seen(self) -> records.Seen:
        return records.Seen(self.log.seq, self.log.log)

    def event(self, cell: bytes = b"sealed", **fields: Any) -> records.Event:
        log = self.log
        last = log.sender(self.mid)
        values: dict[str, Any] = {
            "v": 1,
            "room": self.room,
            "epoch": log.state.epoch,
            "mid": self.mid,
            "counter": last.counter + 1,
            "prev": last.last or EventId(digest("one that only its sender knows")),
            "seen": self.seen(),
            "ctl": log.state.ctl,
            "kind": records.EventKind.MESSAGE,
            "sid": Sid(digest(f"{self.name} sid {self.number()}")[:16]),
            "cell_hash": sha256(cell),
            "ts": self.world.now,
        }
        return records.Event(**(values | fields))

    def post(self, cell: bytes = b"sealed", **fields: Any) -> frames.Post:
        record = self.signed(self.event(cell, **fields))
        return frames.Post(self.number(), self.room, record.envelope, cell)

    def redact(self, target: EventId, **fields: Any) -> frames.Post:
        return self.post(b"", kind=records.EventKind.REDACT, target=target, **fields)

    def say(self, cell: bytes = b"sealed") -> frames.Ack:
        return self.world.expect(frames.Ack, self.link, self.post(cell))

    # -- control ---------------------------------------------------------------------------------

    def control(
        self, kind: type[Any], *, sent: tuple[bytes, ...] = (), **fields: Any
    ) -> frames.Control:
        values: dict[str, Any] = {
            "v": 1,
            "room": self.room,
            "mid": self.mid,
            "prev": self.log.state.ctl,
            "seen": self.seen(),
            "ts": self.world.now,
        }
        record = self.signed(kind(**(values | fields)))
        return frames.Control(self.number(), self.room, record.envelope, sent)

    def invite(self, invite_id: InviteId, /, **fields: Any) -> frames.Control:
        values: dict[str, Any] = {
            "invite_id": invite_id,
            "commit": invite_commitment(self.room, invite_id, proof_of(invite_id)),
            "expires": self.world.now + DAY,
            "admitters": (self.mid,),
            "role": records.Role.MEMBER,
        }
        return self.control(records.InviteOpen, **(values | fields))

    def rekey(self, **fields: Any) -> frames.Control:
        epoch = self.log.state.epoch + 1
        values: dict[str, Any] = {
            "epoch": epoch,
            "key_commitment": digest(f"kc {epoch}"),
            "cell": b"sealed key",
        }
        return self.control(records.RekeyRoutine, **(values | fields))

    def rekey_boxed(self, *removed: MemberId, **fields: Any) -> frames.Control:
        state = self.log.state
        staying = [mid for mid in state.members if mid not in removed]
        boxes = tuple(b"box of " + mid for mid in staying)
        values: dict[str, Any] = {
            "boxes": tuple((mid, sha256(box)) for mid, box in zip(staying, boxes, strict=True)),
            "epoch": state.epoch + 1,
            "key_commitment": digest(f"kc {state.epoch + 1}"),
            "removed": removed,
        }
        return self.control(records.RekeyBoxed, **({"sent": boxes} | values | fields))

    def grant(self, member: MemberId, role: records.Role, **fields: Any) -> frames.Control:
        return self.control(records.Grant, member=member, role=role, **fields)

    def leave(self, **fields: Any) -> frames.Control:
        return self.control(records.Leave, **fields)

    def handover(self, to: Person, /, **fields: Any) -> frames.Control:
        ctl = self.log.state.ctl
        accept = records.HandoverAccept(1, self.room, self.mid, to.mid, ctl, self.world.now)
        values: dict[str, Any] = {"to": to.mid, "accept": to.signed(accept).envelope}
        return self.control(records.Handover, **(values | fields))

    def do(self, frame: frames.Control) -> frames.Ack:
        return self.world.expect(frames.Ack, self.link, frame)

    # -- joining ---------------------------------------------------------------------------------

    def lookup(self, invite_id: InviteId, **fields: Any) -> frames.Lookup:
        values: dict[str, Any] = {
            "room": self.room,
            "invite_id": invite_id,
            "proof": proof_of(invite_id),
        }
        return frames.Lookup(self.number(), **(values | fields))

    def join_request(self, invite_id: InviteId, **fields: Any) -> SignedRecord:
        room: RoomId = fields.get("room", self.room)
        invite = self.world.room(room).state.invites.get(invite_id) if room == self.room else None
        admitters = invite.admitters if invite else (MemberId(digest("someone")),)
        values: dict[str, Any] = {
            "v": 1,
            "room": room,
            "invite_id": invite_id,
            "proof": proof_of(invite_id),
            "sign_key": self.sign.public,
            "enc_key": self.enc.public,
            "nonce": digest(f"{self.name} join nonce"),
            "home": self.world.relay_id,
            "boxes": tuple((mid, b"jbox") for mid in admitters),
        }
        return self.signed(records.JoinRequest(**(values | fields)))

    def join(self, invite_id: InviteId, **fields: Any) -> frames.Join:
        return frames.Join(self.number(), self.join_request(invite_id, **fields).envelope)

    def answer(self, join: frames.Join, **fields: Any) -> frames.JoinAnswer:
        asked = peek(join.record)
        assert isinstance(asked.record, records.JoinRequest)
        values: dict[str, Any] = {
            "v": 1,
            "room": self.room,
            "invite_id": asked.record.invite_id,
            "request_hash": asked.hash,
            "mid": self.mid,
            "to": member_id_of(asked.record.sign_key),
            "cell": b"the room key, sealed",
        }
        record = self.signed(records.JoinResponse(**(values | fields)))
        return frames.JoinAnswer(self.number(), self.room, record.envelope)

    def confirm(
        self, join: frames.Join, answer: frames.JoinAnswer, **fields: Any
    ) -> frames.JoinConfirm:
        asked = peek(join.record)
        assert isinstance(asked.record, records.JoinRequest)
        values: dict[str, Any] = {
            "v": 1,
            "room": self.room,
            "invite_id": asked.record.invite_id,
            "request_hash": asked.hash,
            "response_hash": peek(answer.record).hash,
            "mid": self.mid,
            "epoch": self.log.state.epoch,
            "cell": b"sealed confirmation",
        }
        record = self.signed(records.JoinConfirm(**(values | fields)))
        return frames.JoinConfirm(self.number(), self.room, record.envelope)

    def admit(
        self, joiner: Person, join: frames.Join, confirm: frames.JoinConfirm, **fields: Any
    ) -> frames.Control:
        asked = peek(join.record).record
        assert isinstance(asked, records.JoinRequest)
        state = self.log.state
        invite = state.invites.get(asked.invite_id)
        values: dict[str, Any] = {
            "invite_id": asked.invite_id,
            "sign_key": joiner.sign.public,
            "enc_key": joiner.enc.public,
            "role": invite.role if invite else records.Role.MEMBER,
            "caps": tuple(invite.caps) if invite else (),
            "confirm_hash": peek(confirm.record).hash,
            "epoch": state.epoch,
            "history_from": state.epoch_seq + 1,
            "home": self.world.relay_id,
        }
        return self.control(records.Admit, **(values | fields))

    # -- keys, signals, attachments --------------------------------------------------------------

    def key_request(self, **fields: Any) -> frames.KeyRequest:
        values: dict[str, Any] = {
            "v": 1,
            "room": self.room,
            "mid": self.mid,
            "epoch": self.log.state.epoch,
            "nonce": digest(f"{self.name} key nonce"),
            "ts": self.world.now,
        }
        record = self.signed(records.KeyRequest(**(values | fields)))
        return frames.KeyRequest(self.number(), self.room, record.envelope)

    def key_answer(
        self, asked: frames.KeyRequest, to: Person, box: bytes = b"key box", /, **fields: Any
    ) -> frames.KeyAnswer:
        values: dict[str, Any] = {
            "v": 1,
            "room": self.room,
            "mid": self.mid,
            "to": to.mid,
            "epoch": self.log.state.epoch,
            "request_hash": peek(asked.record).hash,
            "box_hash": sha256(box),
        }
        record = self.signed(records.KeyAnswer(**(values | fields)))
        return frames.KeyAnswer(self.number(), self.room, record.envelope, box)

    def signal(self, **fields: Any) -> frames.Signal:
        values: dict[str, Any] = {
            "room": self.room,
            "epoch": self.log.state.epoch,
            "cell": b"typing",
        }
        return frames.Signal(**(values | fields))

    def blob_put(self, blob: BlobId, index: int = 0, **fields: Any) -> frames.BlobPut:
        values: dict[str, Any] = {"room": self.room, "count": 2, "chunk": b"chunk"}
        return frames.BlobPut(rid=self.number(), blob=blob, index=index, **(values | fields))

    def blob_get(self, blob: BlobId, index: int = 0, **fields: Any) -> frames.BlobGet:
        values: dict[str, Any] = {"room": self.room}
        return frames.BlobGet(rid=self.number(), blob=blob, index=index, **(values | fields))

    def blob_drop(self, blob: BlobId, **fields: Any) -> frames.BlobDrop:
        values: dict[str, Any] = {"room": self.room, "uploader": self.mid}
        return frames.BlobDrop(rid=self.number(), blob=blob, **(values | fields))


def invite_named(name: str) -> InviteId:
    return InviteId(digest(name)[:16])


def blob_named(name: str) -> BlobId:
    return BlobId(digest(name)[:16])


def proof_of(invite_id: InviteId) -> Hash32:
    """P, of the token that these tests use for this invite."""
    return invite_proof(tagged_hash("token", invite_id))


def found_room(world: World, name: str = "ana", **policy: Any) -> Person:
    """The founder of a new room, attached and synced."""
    founder = Person(world, name)
    frame = founder.create(policy=records.Policy(**policy))
    world.expect(frames.Ack, founder.link, frame)
    founder.come()
    return founder


def admit_to(
    owner: Person, name: str, role: records.Role = records.Role.MEMBER, **invite: Any
) -> Person:
    """A new member, by the whole way of invite, request, answer, confirmation and admission."""
    world = owner.world
    joiner = Person(world, name, owner.room)
    invite_id = invite_named(f"{name} {owner.log.seq}")
    owner.do(owner.invite(invite_id, role=role, **invite))
    join = joiner.join(invite_id)
    world.expect(frames.JoinStatus, joiner.link, join)
    answer = owner.answer(join)
    world.expect(frames.Done, owner.link, answer)
    confirm = joiner.confirm(join, answer)
    world.expect(frames.JoinStatus, joiner.link, confirm)
    owner.do(owner.admit(joiner, join, confirm))
    joiner.come()
    return joiner
