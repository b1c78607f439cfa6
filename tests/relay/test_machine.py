"""The core against a small model: honest and hostile members, races, failed commits, restarts.

The model knows the order of what was acknowledged, who is in, and which epoch it is. All else
(hashes, feeds, the store) is recomputed from what the core said, and compared.
"""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from ofcd.protocol import frames, limits, records
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import EventId, Hash32, MemberId, PublicKey, Sid, log_hash
from ofcd.relay import Appended, RoomLog
from ofcd.relay.facts import LogAppended
from ofcd.themis import generate_keypair
from ofcd.themis.signed import peek
from tests.relay.world import Person, World, admit_to, digest, found_room

Role = records.Role
NEWCOMERS = [f"person {n}" for n in range(7)]
OUT = {Code.NOT_FOUND, Code.NOT_ATTACHED}
"""What those who are out are told; the second once their attachment was let go."""
PICK = st.integers(0, 99)
LIES: list[dict[str, Any]] = [
    {"counter": 999},
    {"epoch": 999},
    {"prev": EventId(digest("lie"))},
    {"ctl": EventId(digest("lie"))},
    {"seen": records.Seen(0, digest("lie"))},
    {"seen": records.Seen(9999, digest("lie"))},
    {"mid": MemberId(digest("lie"))},
    {"cell_hash": digest("lie")},
]


class RelayMachine(RuleBasedStateMachine):
    """One room from its founding on."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(verify=False)
        self.ana = found_room(self.world)
        self.people: list[Person] = [self.ana]
        self.waiting = list(NEWCOMERS)
        self.gone: dict[Person, int] = {}
        """Who is out, and how many frames their link had got by then."""
        self.acked: list[EventId] = [peek(self.stored(0).record).event_id]
        self.sids: dict[tuple[MemberId, Sid], EventId] = {}
        self.epoch = 0
        self.boxed_due = False
        self.renewals: dict[Person, int] = {}
        self.enc_keys: dict[MemberId, PublicKey] = {}
        """Of those who have renewed theirs."""
        self.sent: list[tuple[Person, frames.Post, frames.Ack]] = []
        self.changes: list[tuple[Person, frames.Control, frames.Ack]] = []
        self.old_posts: list[tuple[Person, frames.Post]] = []

    def stored(self, seq: int) -> LogAppended:
        return self.world.store.rooms[self.ana.room].log[seq]

    # -- the model -------------------------------------------------------------------------------

    def pick(self, number: int) -> Person:
        self.world.now += 10_000
        return self.people[number % len(self.people)]

    def owner(self, number: int) -> Person:
        self.world.now += 10_000
        owners = [p for p in self.people if self.ana.log.state.members[p.mid].is_owner]
        return owners[number % len(owners)]

    def accept(self, answer: object) -> frames.Ack:
        """An acknowledged entry is the next one of the log."""
        assert isinstance(answer, frames.Ack), answer
        assert answer.seq == len(self.acked)
        self.acked.append(answer.event_id)
        return answer

    def refuse(self, person: Person, frame: frames.ClientFrame) -> str:
        return self.world.code(person.link, frame)

    def leave_room(self, person: Person) -> None:
        self.people.remove(person)
        assert isinstance(self.world.inbox[person.link][-1], frames.Removed)
        self.gone[person] = len(self.world.inbox[person.link])

    def change(self, person: Person, frame: frames.Control) -> frames.Ack:
        ack = self.accept(self.world.send(person.link, frame))
        self.changes.append((person, frame, ack))
        return ack

    # -- honest ----------------------------------------------------------------------------------

    @initialize()
    def two_more(self) -> None:
        self.join(0, Role.CO_OWNER)
        self.join(0, Role.MEMBER)

    @rule(number=PICK, cell=st.binary(min_size=1, max_size=8))
    def post(self, number: int, cell: bytes) -> None:
        person = self.pick(number)
        frame = person.post(cell)
        ack = self.accept(self.world.send(person.link, frame))
        assert ack.sid is not None
        self.sids[person.mid, ack.sid] = ack.event_id
        self.sent.append((person, frame, ack))

    @precondition(lambda self: self.waiting)
    @rule(number=PICK, role=st.sampled_from([Role.CO_OWNER, Role.MEMBER]))
    def join(self, number: int, role: Role) -> None:
        """The whole way in, with an INVITE_OPEN and an ADMIT on the log."""
        inviter = self.ana if role is Role.CO_OWNER else self.owner(number)
        if inviter not in self.people:
            return
        self.world.now += 10_000
        newcomer = admit_to(inviter, self.waiting.pop(), role)
        self.acked += [peek(self.stored(len(self.acked) + n).record).event_id for n in (0, 1)]
        self.people.append(newcomer)

    @rule(number=PICK)
    def rotate(self, number: int) -> None:
        person = self.owner(number)
        frame = person.rekey()
        if self.boxed_due or person.log.state.routine_rekeys + 1 >= 10:
            assert self.refuse(person, frame) == Code.BOXED_REQUIRED
        else:
            self.change(person, frame)
            self.epoch += 1

    @rule(number=PICK)
    def rotate_boxed(self, number: int) -> None:
        person = self.owner(number)
        ack = self.change(person, person.rekey_boxed())
        self.epoch += 1
        self.boxed_due = False
        self.renewals.clear()
        for member in self.people:
            box, delivery = self.world.inbox[member.link][-2:]
            assert box == frames.Box(member.room, ack.seq, b"box of " + member.mid)
            assert isinstance(delivery, frames.Delivery)

    @rule(number=PICK)
    def race(self, number: int) -> None:
        """Two owners rotate at one head: one wins, the other gets `conflict`."""
        first, second = self.owner(number), self.owner(number + 1)
        frames_sent = [(p, p.rekey_boxed()) for p in (first, second)]
        examined = [(p, self.world.examine(p.link, f)) for p, f in frames_sent]
        decisions = [self.world.relay.decide(p.link, e, self.world.now) for p, e in examined]
        for decision in decisions:
            self.world.commit(decision)
        self.accept(self.world.answer_in(decisions[0].effects, first.link, frames_sent[0][1]))
        self.epoch += 1
        self.boxed_due = False
        self.renewals.clear()
        loser = self.world.answer_in(decisions[1].effects, second.link, frames_sent[1][1])
        if first is second and isinstance(loser, frames.Ack):
            assert loser.event_id == self.acked[-1]
        else:
            assert isinstance(loser, frames.Failure)
            assert loser.code == Code.CONFLICT

    @precondition(lambda self: len(self.people) > 2)
    @rule(number=PICK)
    def evict(self, number: int) -> None:
        target = self.people[1 + number % (len(self.people) - 1)]
        self.world.now += 10_000
        self.change(self.ana, self.ana.rekey_boxed(target.mid))
        self.epoch += 1
        self.boxed_due = False
        self.renewals.clear()
        self.leave_room(target)

    @precondition(lambda self: len(self.people) > 2)
    @rule(number=PICK)
    def leave(self, number: int) -> None:
        person = self.people[1 + number % (len(self.people) - 1)]
        self.world.now += 10_000
        self.change(person, person.leave())
        self.boxed_due = True
        self.leave_room(person)

    @rule(number=PICK, borrow=st.booleans())
    def renew_key(self, number: int, borrow: bool) -> None:
        """A member replaces its encryption key, so often and by no key that is another's."""
        person, state = self.pick(number), self.ana.log.state
        made = PublicKey(generate_keypair().public)
        enc_key = state.members[self.ana.mid].enc_key if borrow else made
        frame = person.control(records.UpdateKey, enc_key=enc_key)
        if self.renewals.get(person, 0) >= limits.KEY_RENEWALS + (person is self.ana):
            assert self.refuse(person, frame) == Code.QUOTA
        elif borrow:
            assert self.refuse(person, frame) == Code.BAD_KEY
        else:
            self.change(person, frame)
            self.renewals[person] = self.renewals.get(person, 0) + 1
            self.enc_keys[person.mid] = made

    @rule(number=PICK, behind=st.integers(0, 3))
    def move_cursor(self, number: int, behind: int) -> None:
        person = self.pick(number)
        seq = max(0, person.log.seq - behind)
        before = person.log.cursors.get(person.mid, 0)
        assert self.world.send(person.link, frames.Cursor(person.room, seq)) is None
        assert person.log.cursors.get(person.mid, 0) == max(before, seq)

    @rule(number=PICK, other=PICK)
    def ask_for_key(self, number: int, other: int) -> None:
        person, owner = self.pick(number), self.owner(other)
        asked = person.key_request(nonce=digest(f"{number} {self.world.now}"))
        self.world.expect(frames.Done, person.link, asked)
        if other % 2:
            self.world.expect(frames.Done, owner.link, owner.key_answer(asked, person))

    # -- again, late, false ------------------------------------------------------------------------

    @precondition(lambda self: self.sent)
    @rule(number=PICK)
    def repeat(self, number: int) -> None:
        """An acknowledged event again: the same Ack, or not a member any more; never twice."""
        person, frame, ack = self.sent[number % len(self.sent)]
        self.world.now += 10_000
        if person in self.gone:
            assert self.refuse(person, frame) in OUT
        else:
            assert self.world.send(person.link, frame) == ack

    @precondition(lambda self: self.changes)
    @rule(number=PICK)
    def repeat_change(self, number: int) -> None:
        person, frame, ack = self.changes[number % len(self.changes)]
        self.world.now += 10_000
        if person in self.gone:
            assert self.refuse(person, frame) in OUT
        else:
            assert self.world.send(person.link, frame) == ack

    @rule(number=PICK)
    def keep_for_later(self, number: int) -> None:
        person = self.pick(number)
        self.old_posts.append((person, person.post(b"late")))

    @precondition(lambda self: self.old_posts)
    @rule(number=PICK)
    def send_late(self, number: int) -> None:
        """Made earlier, sent now: taken if it is still the sender's next one, else refused."""
        person, frame = self.old_posts.pop(number % len(self.old_posts))
        self.world.now += 10_000
        event = peek(frame.record).record
        assert isinstance(event, records.Event)
        log = person.log
        fits = (
            person not in self.gone
            and event.epoch == log.state.epoch
            and event.ctl == log.state.ctl
            and event.prev == log.sender(person.mid).last
        )
        if fits:
            ack = self.accept(self.world.send(person.link, frame))
            self.sids[person.mid, event.sid] = ack.event_id
        else:
            self.refuse(person, frame)

    @rule(number=PICK, lie=st.sampled_from(LIES))
    def lie(self, number: int, lie: dict[str, Any]) -> None:
        person = self.pick(number)
        self.refuse(person, person.post(**lie))

    @precondition(lambda self: self.sids)
    @rule(number=PICK)
    def reuse_a_sid(self, number: int) -> None:
        (mid, sid), event_id = list(self.sids.items())[number % len(self.sids)]
        self.world.now += 10_000
        person = next((p for p in self.people if p.mid == mid), None)
        if person is not None:
            failure = self.world.refused(person.link, person.post(b"other", sid=sid))
            assert (failure.code, failure.event_id) == (Code.SID_CONFLICT, event_id)

    @precondition(lambda self: self.gone)
    @rule(number=PICK)
    def come_back(self, number: int) -> None:
        """Who is out may try anything: nothing is found."""
        person = sorted(self.gone, key=lambda p: p.name)[number % len(self.gone)]
        self.world.now += 10_000
        tries: list[frames.ClientFrame] = [
            person.post(),
            person.sync(),
            person.rekey(),
            person.key_request(),
        ]
        assert {self.refuse(person, frame) for frame in tries} <= OUT
        self.gone[person] = len(self.world.inbox[person.link])

    # -- failures --------------------------------------------------------------------------------

    @rule(number=PICK, evict=st.booleans())
    def fail_to_commit(self, number: int, evict: bool) -> None:
        """Decided, not committed, forgotten: as if it had never been asked."""
        person = self.pick(number)
        frame: frames.ClientFrame = person.post(b"lost")
        if evict and len(self.people) > 2:
            person, frame = self.ana, self.ana.rekey_boxed(self.people[-1].mid)
        decision = self.world.decide(person.link, frame)
        assert any(isinstance(effect, Appended) for effect in decision.effects)
        self.world.relay.forget([self.ana.room])

    @rule()
    def restart(self) -> None:
        """What the store gives back is what was in memory."""
        before = self.ana.log
        self.world.relay.forget([self.ana.room])
        assert self.ana.log == before
        assert self.ana.log is not before

    @rule()
    def tick(self) -> None:
        self.world.now += 120_000
        self.world.commit(self.world.relay.tick(self.world.now))

    # -- what always holds -------------------------------------------------------------------------

    @invariant()
    def the_log_is_what_was_acknowledged(self) -> None:
        """Seqs without gaps, each event once, the running hash right."""
        stored = self.world.store.rooms[self.ana.room].log
        assert list(stored) == list(range(len(self.acked)))
        assert [entry.event_id for entry in stored.values()] == self.acked
        assert len(set(self.acked)) == len(self.acked)
        log = Hash32(self.ana.room)
        for seq, event_id in enumerate(self.acked):
            log = log_hash(log, seq, event_id) if seq else log
            assert stored[seq].log == log

    @invariant()
    def every_sid_is_stored_once(self) -> None:
        stored = self.world.store.rooms[self.ana.room].log.values()
        sids = [(entry.mid, entry.sid) for entry in stored if entry.sid is not None]
        assert sorted(sids) == sorted(self.sids)

    @invariant()
    def members_and_epoch_are_the_models(self) -> None:
        state = self.ana.log.state
        assert set(state.members) == {person.mid for person in self.people}
        assert (state.epoch, state.boxed_due) == (self.epoch, self.boxed_due)
        renewed = {m.mid: m.enc_key for m in state.members.values() if m.has_renewed}
        assert renewed == {m: k for m, k in self.enc_keys.items() if m in state.members}

    @invariant()
    def members_are_fed_the_log(self) -> None:
        """Each from the first entry it may read to the head, in order, without a gap."""
        for person in self.people:
            start = self.ana.log.state.members[person.mid].history_from
            got = [d.seq for d in self.world.received(person.link, frames.Delivery)]
            assert got == list(range(start, len(self.acked)))

    @invariant()
    def who_is_out_gets_nothing(self) -> None:
        for person, had in self.gone.items():
            later = self.world.inbox[person.link][had:]
            assert all(isinstance(frame, frames.Failure) for frame in later)

    def teardown(self) -> None:
        """At the end the store alone makes the same room."""
        snapshot = self.world.store.load(self.ana.room)
        assert snapshot is not None
        assert RoomLog.from_snapshot(snapshot) == self.ana.log
        assert attrs.asdict(self.ana.log.state) == attrs.asdict(
            RoomLog.from_snapshot(snapshot).state
        )


TestRelayMachine = pytest.mark.slow(RelayMachine.TestCase)
TestRelayMachine.settings = settings(
    max_examples=settings().max_examples // 2, stateful_step_count=30, deadline=None
)
