"""A join at the joiner's machine, under a relay made by hand: what it says, and when."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from attrs import evolve

from ofcd.client import AlarmKind, JoinStage, RoomStatus, Vault
from ofcd.client.events import Alarm, AppEvent
from ofcd.client.joins import JoinMachine, PendingJoin, keep_join
from ofcd.client.link import RelayMachine
from ofcd.client.turn import Turn
from ofcd.e2e.chain import apply_verified
from ofcd.e2e.genesis import make_genesis
from ofcd.e2e.invites import make_invite
from ofcd.e2e.joining import Answered, answer_request, check_confirm, make_admit
from ofcd.e2e.keys import MemberKeys
from ofcd.protocol import frames, limits
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import Hash32, PublicKey, relay_id_of
from ofcd.protocol.records import Admit
from ofcd.themis import KeyPair, generate_keypair
from ofcd.themis.signed import SignedRecord, sign_record
from tests.client.world import KEY, URL

NOW = 1_800_000_000_000


class Joiner:
    """Bo's machine with an invite of Ana's, and the relay's part played by hand."""

    def __init__(self, vault: Vault) -> None:
        self.vault = vault
        self.relay: KeyPair = generate_keypair()
        self.ana = MemberKeys.generate()
        founding = make_genesis(self.ana, relay_id_of(PublicKey(self.relay.public)), NOW)
        self.state, self.keys, self.log = founding.state, founding.keys, founding.log
        self.chain = [(0, founding.signed.envelope)]
        invite = make_invite(
            self.state, self.ana, self.log.seen, NOW, relay_url=URL, expires=NOW + 10**9
        )
        self.code = invite.code
        self.commit(invite.signed)
        self.events: list[AppEvent] = []
        self.dropped = ""
        self.machine = RelayMachine(lambda: 0.0)
        self.asked: list[frames.ClientFrame] = []

    def commit(self, signed: SignedRecord) -> frames.Delivery:
        """A control record enters the log."""
        seq = self.log.seq + 1
        self.state, _ = apply_verified(self.state, signed.envelope, seq)
        self.log = self.log.append(seq, signed.envelope)
        self.chain.append((seq, signed.envelope))
        return frames.Delivery(self.code.room, seq, signed.envelope)

    @property
    def join(self) -> JoinMachine:
        [join] = self.machine.joins.values()
        return join

    def turn(self, action: Callable[[Turn], None]) -> list[frames.ClientFrame]:
        with self.vault.transaction() as tx:
            turn = Turn(NOW, tx, lambda: 0.0, self.machine)
            action(turn)
            self.machine.pump(turn)
        self.events += turn.events
        self.dropped = self.dropped or turn.drop
        return turn.frames

    def feed(self, *given: frames.RelayFrame) -> list[frames.ClientFrame]:
        answers: list[frames.ClientFrame] = []
        for frame in given:
            answers += self.turn(partial(self.machine.receive, frame=frame))
        return answers

    def connect(self) -> list[frames.ClientFrame]:
        limits_ = frames.RelayLimits(65536, 1 << 26, 500, 20, 64)
        welcome = frames.Welcome(1, Hash32(bytes(32)), limits_, NOW)
        key, own = PublicKey(self.relay.public), PublicKey(generate_keypair().public)
        return self.turn(
            lambda turn: self.machine.link_up(turn, relay_id_of(key), key, own, welcome)
        )

    def begin(self) -> frames.Join:
        """The join has asked for the control log and, having it, to be let in."""

        def start(turn: Turn) -> None:
            pending = PendingJoin(self.code.text, "Bo", NOW)
            keep_join(turn.records, pending)
            self.machine.add_join(turn, pending)

        self.turn(start)
        [lookup] = self.connect()
        [join] = self.feed(self.page(lookup))
        assert isinstance(join, frames.Join)
        return join

    def page(self, lookup: frames.ClientFrame) -> frames.ChainPage:
        assert isinstance(lookup, frames.Lookup | frames.ChainGet)
        rest = [(seq, raw) for seq, raw in self.chain if seq >= lookup.start]
        seqs, raws = tuple(s for s, _ in rest), tuple(r for _, r in rest)
        return frames.ChainPage(lookup.rid, self.code.room, seqs, False, raws)

    def status(self, rid: int, state: str, record: bytes = b"") -> frames.JoinStatus:
        return frames.JoinStatus(rid, self.code.room, self.code.invite_id, state, record)

    def answer(self, join: frames.Join) -> Answered:
        return answer_request(
            self.state,
            self.ana,
            self.keys,
            join.record,
            token=self.code.token,
            seen=self.log.seen,
            now=NOW,
        )

    def confirm(self) -> tuple[Answered, frames.JoinConfirm]:
        """Answered, and confirmed by Bo."""
        join = self.begin()
        answered = self.answer(join)
        [lookup] = self.feed(self.status(join.rid, "answered", answered.response.envelope))
        [confirm] = self.feed(self.page(lookup))
        assert isinstance(confirm, frames.JoinConfirm)
        return answered, confirm

    def admit(self, answered: Answered, confirm: frames.JoinConfirm) -> SignedRecord:
        checked = check_confirm(self.state, self.keys, answered, confirm.record)
        return make_admit(self.state, self.ana, answered, checked, self.log.seen, NOW)

    @property
    def stage(self) -> JoinStage:
        return self.join.pending.stage


@pytest.fixture
def joiner(tmp_path: Path) -> Iterator[Joiner]:
    with Vault.create(tmp_path / "bo.vault", KEY) as vault:
        yield Joiner(vault)


def test_an_answer_that_comes_twice_is_taken_once(joiner: Joiner) -> None:
    """Pushed, and told again as the answer to a poll that crossed it: one lookup, one join."""
    join = joiner.begin()
    answer = joiner.answer(join).response.envelope
    asked = joiner.feed(
        frames.JoinAnswer(0, joiner.code.room, answer), joiner.status(join.rid, "answered", answer)
    )
    after = joiner.feed(*(joiner.page(lookup) for lookup in asked))
    assert joiner.stage is JoinStage.CONFIRMED
    assert [type(frame) for frame in after] == [frames.JoinConfirm]


@pytest.mark.parametrize("code", ["internal", "not_found", "quota", "bad_record", "never_heard_of"])
def test_a_confirmed_join_is_never_given_up_on_the_relays_word(joiner: Joiner, code: str) -> None:
    """The keys may be a member's by now: whatever the relay answers, they stay."""
    _, confirm = joiner.confirm()
    joiner.feed(frames.Failure(confirm.rid, code, "no"))
    assert joiner.stage is JoinStage.CONFIRMED
    assert joiner.join.deadline() is not None


def test_a_false_answer_after_the_true_one_changes_nothing(joiner: Joiner) -> None:
    """Junk pushed to a joiner who has confirmed: it goes on with what it holds."""
    joiner.confirm()
    for junk in (b"junk", joiner.chain[0][1]):
        for lookup in joiner.feed(frames.JoinAnswer(0, joiner.code.room, junk)):
            joiner.feed(joiner.page(lookup))
    assert joiner.stage is JoinStage.CONFIRMED


def test_a_relay_that_makes_a_mistake_is_asked_again(joiner: Joiner) -> None:
    """`internal` is no answer to a join request."""
    join = joiner.begin()
    joiner.feed(frames.Failure(join.rid, Code.INTERNAL.value, "a mistake"))
    assert joiner.stage is JoinStage.ASKED


def test_a_control_log_without_end_is_not_kept(joiner: Joiner) -> None:
    """Page after page of a log that no room has: the link is dropped, memory stays bounded."""

    def start(turn: Turn) -> None:
        pending = PendingJoin(joiner.code.text, "Bo", NOW)
        keep_join(turn.records, pending)
        joiner.machine.add_join(turn, pending)

    joiner.turn(start)
    [lookup] = joiner.connect()
    filler, seq = bytes(limits.CONTROL_BYTES), 0
    for _ in range(limits.CHAIN_BYTES // (6 * limits.CONTROL_BYTES) + 2):
        seqs = tuple(range(seq, seq + 6))
        seq += 6
        assert isinstance(lookup, frames.Lookup)
        page = frames.ChainPage(lookup.rid, joiner.code.room, seqs, True, (filler,) * 6)
        answers = joiner.feed(page)
        if joiner.dropped or not answers:
            break
        [lookup] = answers
    assert joiner.dropped


def admitted(joiner: Joiner, admit: SignedRecord) -> frames.Attach:
    """The relay has the ADMIT; Bo opens the room."""
    joiner.commit(admit)
    [attach] = joiner.feed(joiner.status(0, "admitted"))
    assert isinstance(attach, frames.Attach)
    return attach


def attach_and_sync(joiner: Joiner, attach: frames.Attach) -> frames.Sync:
    log = joiner.log
    [chain_get] = joiner.feed(frames.Attached(attach.rid, joiner.code.room, log.seq, log.log, 0))
    [sync] = joiner.feed(joiner.page(chain_get))
    assert isinstance(sync, frames.Sync)
    return sync


def test_a_history_that_begins_before_the_room_drops_the_link(joiner: Joiner) -> None:
    """A newcomer's log begins after GENESIS: another claim is an error of this relay's alone."""
    answered, confirm = joiner.confirm()
    sync = attach_and_sync(joiner, admitted(joiner, joiner.admit(answered, confirm)))
    joiner.feed(frames.Synced(sync.rid, joiner.code.room, 0, 0, Hash32(joiner.code.room), 2))
    assert joiner.dropped


@pytest.mark.parametrize("hidden", [False, True])
def test_an_admission_with_another_encryption_key_is_found_out(
    joiner: Joiner, hidden: bool
) -> None:
    """Whoever put it there would read Bo's boxes; also where the relay hides it below its floor."""
    answered, confirm = joiner.confirm()
    true = joiner.admit(answered, confirm)
    assert isinstance(true.record, Admit)
    false = evolve(true.record, enc_key=PublicKey(generate_keypair().public))
    before = joiner.log
    attach = admitted(joiner, sign_record(joiner.ana.sign.private, false))
    log, room = joiner.log, joiner.code.room
    assert joiner.machine.rooms[room].core.head.vouched_by  # a proof, should the log be another
    sync = attach_and_sync(joiner, attach)
    if hidden:
        joiner.feed(frames.Synced(sync.rid, room, 1, log.seq + 1, log.log, log.seq))
    else:
        joiner.feed(
            frames.Synced(sync.rid, room, log.seq, 0, before.log, log.seq),
            frames.Delivery(room, *joiner.chain[-1]),
        )
    machine = joiner.machine.rooms[room]
    assert machine.core.head.status is RoomStatus.FROZEN
    assert not machine.is_live
    assert AlarmKind.KEY_MISMATCH in [e.kind for e in joiner.events if isinstance(e, Alarm)]
