"""A room with people in it and a relay that only keeps a list: the e2e layer without any wire."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from attrs import Factory, define, evolve, field, frozen

from ofcd.e2e.bodies import Content, Text
from ofcd.e2e.chain import verify_chain
from ofcd.e2e.controls import make_key_update
from ofcd.e2e.epochs import Rekey, make_boxed_rekey, make_routine_rekey
from ofcd.e2e.events import Outgoing, SealedEvent, seal_event
from ofcd.e2e.genesis import make_genesis
from ofcd.e2e.invites import NewInvite, make_invite
from ofcd.e2e.joining import (
    Answered,
    Joined,
    Joining,
    answer_request,
    check_admitted,
    check_confirm,
    check_response,
    make_admit,
    make_request,
)
from ofcd.e2e.keys import MemberKeys, new_sid
from ofcd.e2e.log import RoomLog
from ofcd.e2e.view import Taken, View
from ofcd.protocol.ids import (
    Hash32,
    MemberId,
    PublicKey,
    RelayId,
    RoomId,
    log_hash,
    relay_id_of,
)
from ofcd.protocol.records import LogHead, Policy, Seen
from ofcd.themis import KeyPair, generate_keypair
from ofcd.themis.signed import SignedRecord, peek, sign_record

NOW = 1_750_000_000_000
DAY = 86_400_000
RELAY = generate_keypair()
RELAY_KEY = PublicKey(RELAY.public)
RELAY_ID = relay_id_of(RELAY_KEY)
RELAY_URL = "wss://relay.example:5103"


@frozen
class Entry:
    """What the relay keeps of one log entry."""

    envelope: bytes
    cell: bytes = b""
    boxes: dict[MemberId, bytes] = Factory(dict)


@define
class Relay:
    """The log, and its running hash as an honest relay would sign it."""

    room: RoomId
    entries: list[Entry]

    @property
    def head(self) -> int:
        return len(self.entries) - 1

    def hash_at(self, seq: int) -> Hash32:
        log = Hash32(self.room)
        for number, entry in enumerate(self.entries[1 : seq + 1], start=1):
            log = log_hash(log, number, peek(entry.envelope).event_id)
        return log

    def chain(self) -> list[tuple[int, bytes]]:
        return [(s, e.envelope) for s, e in enumerate(self.entries) if not e.cell]

    def signed_head(self, seq: int | None = None, **changes: Any) -> bytes:
        at = self.head if seq is None else seq
        head = LogHead(v=1, room=self.room, term=0, seq=at, log=self.hash_at(at), ts=NOW)
        return sign_record(RELAY.private, evolve(head, **changes)).envelope


@define
class Person:
    """A member, with the view of the room that its client would keep."""

    name: str
    view: View
    heard: list[str] = field(factory=list)
    taken: list[Taken] = field(factory=list)

    @property
    def mine(self) -> MemberKeys:
        return self.view.mine

    @property
    def mid(self) -> MemberId:
        return self.view.mine.mid

    def take(self, seq: int, entry: Entry) -> Taken:
        taken = self.view.take(seq, entry.envelope, entry.cell, entry.boxes.get(self.mid))
        self.view = taken.view
        self.taken.append(taken)
        if taken.opened and isinstance(taken.opened.content, Text):
            self.heard.append(taken.opened.content.text)
        return taken

    def catch_up(self, relay: Relay) -> None:
        for seq in range(self.view.log.seq + 1, relay.head + 1):
            self.take(seq, relay.entries[seq])

    def outgoing(self, content: Content | str, **changes: Any) -> Outgoing:
        counter, prev = self.view.next_own()
        body = Text(content) if isinstance(content, str) else content
        made = Outgoing(body, new_sid(), counter, prev, NOW, name=self.name)
        return evolve(made, **changes)

    def seal(self, content: Content | str, **changes: Any) -> SealedEvent:
        return self.seal_outgoing(self.outgoing(content, **changes))

    def seal_outgoing(self, outgoing: Outgoing) -> SealedEvent:
        view = self.view
        return seal_event(view.state, view.mine, view.keys, outgoing, view.seen)


@frozen
class Asked:
    """A join as far as JOIN_REQ."""

    invite: NewInvite
    joining: Joining


@define
class World:
    """One room; `people[0]` founded it. Everyone has caught up after every step."""

    relay: Relay
    people: list[Person]

    @property
    def root(self) -> Person:
        return self.people[0]

    def commit(self, entry: Entry) -> int:
        self.relay.entries.append(entry)
        for person in self.people:
            person.catch_up(self.relay)
        return self.relay.head

    def say(self, person: Person, content: Content | str, **changes: Any) -> SealedEvent:
        sealed = person.seal(content, **changes)
        self.commit(entry_of(sealed))
        return sealed

    def control(self, signed: SignedRecord) -> int:
        return self.commit(Entry(signed.envelope))

    def rotate(self, person: Person) -> Rekey:
        view = person.view
        rekey = make_routine_rekey(view.state, view.mine, view.keys, view.seen, NOW)
        self.commit(rekey_entry(rekey))
        return rekey

    def rotate_boxed(self, person: Person, removed: Collection[MemberId] = ()) -> Rekey:
        view = person.view
        rekey = make_boxed_rekey(view.state, view.mine, view.seen, NOW, removed=removed)
        self.commit(rekey_entry(rekey))
        return rekey

    def evict(self, person: Person, member: Person) -> Rekey:
        return self.rotate_boxed(person, removed=[member.mid])

    def invite(self, person: Person, **changes: Any) -> NewInvite:
        view = person.view
        made = {"relay_url": RELAY_URL, "expires": NOW + DAY, **changes}
        invite = make_invite(view.state, view.mine, view.seen, NOW, **made)
        self.control(invite.signed)
        return invite

    def ask(self, person: Person, mine: MemberKeys | None = None, **changes: Any) -> Asked:
        invite = self.invite(person, **changes)
        home = person.view.state.relay_id
        request = make_request(invite.code, person.view.state, home=home, now=NOW, mine=mine)
        return Asked(invite, request)

    def answer(self, person: Person, asked: Asked, **changes: Any) -> Answered:
        view = person.view
        made = {"token": asked.invite.code.token, "seen": view.seen, "now": NOW, **changes}
        envelope = asked.joining.request.envelope
        return answer_request(view.state, view.mine, view.keys, envelope, **made)

    def respond(self, person: Person, asked: Asked) -> tuple[Answered, Joined]:
        answered = self.answer(person, asked)
        envelope = answered.response.envelope
        return answered, check_response(asked.joining, self.relay.chain(), envelope)

    def admit(self, person: Person, answered: Answered, joined: Joined) -> SignedRecord:
        view = person.view
        confirm = check_confirm(view.state, view.keys, answered, joined.confirm.envelope)
        return make_admit(view.state, view.mine, answered, confirm, view.seen, NOW)

    def join(self, name: str, by: Person | None = None, **changes: Any) -> Person:
        admitter = by or self.root
        return self.finish_join(name, admitter, self.ask(admitter, **changes))

    def finish_join(self, name: str, admitter: Person, asked: Asked) -> Person:
        answered, joined = self.respond(admitter, asked)
        self.control(self.admit(admitter, answered, joined))
        history_from = admitter.view.state.member(asked.joining.keys.mid).history_from
        newcomer = Person(name, self.newcomer_view(asked, joined, history_from))
        newcomer.catch_up(self.relay)
        newcomer.view.log.check_seen(joined.welcome.seq + 1, seen_of(joined), b"")
        check_admitted(newcomer.view.state, newcomer.mine)
        self.people.append(newcomer)
        return newcomer

    def newcomer_view(self, asked: Asked, joined: Joined, history_from: int) -> View:
        room = self.relay.room
        log = RoomLog.resumed(room, history_from - 1, self.relay.hash_at(history_from - 1))
        state = verify_chain(room, self.relay.chain(), before=history_from)
        return View.joined(asked.joining.keys, state, joined.keys, log)


def seen_of(joined: Joined) -> Seen:
    return Seen(joined.welcome.seq, joined.welcome.log)


def renew(world: World, person: Person, *, hold: bool = True) -> KeyPair:
    """The person replaces its encryption key; without `hold`, by one that it has lost."""
    pair, view = generate_keypair(), person.view
    if hold:
        person.view = evolve(view, mine=view.mine.holding(pair))
    enc_key = PublicKey(pair.public)
    world.control(make_key_update(view.state, view.mine, view.seen, NOW, enc_key))
    return pair


def entry_of(sealed: SealedEvent) -> Entry:
    return Entry(sealed.signed.envelope, sealed.cell)


def rekey_entry(rekey: Rekey) -> Entry:
    listed = getattr(rekey.signed.record, "boxes", ())
    boxes = {mid: made for (mid, _), made in zip(listed, rekey.boxes, strict=True)}
    return Entry(rekey.signed.envelope, boxes=boxes)


def found_world(
    policy: Policy | None = None,
    relay_id: RelayId = RELAY_ID,
    mine: MemberKeys | None = None,
) -> World:
    mine = mine or MemberKeys.generate()
    founding = make_genesis(mine, relay_id, NOW, policy)
    root = Person("Root", View.founded(mine, founding))
    relay = Relay(founding.state.room, [Entry(founding.signed.envelope)])
    return World(relay, [root])
