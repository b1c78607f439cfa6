"""Joining: invites, JOIN_REQ, JOIN_RESP, JOIN_CONFIRM and ADMIT: tests 4, 6, 7, 9, 13."""

from __future__ import annotations

from typing import Final

import trio

from ofcd.compliance.check import check as group
from ofcd.compliance.check import require
from ofcd.compliance.errors import NotKept, Skipped
from ofcd.compliance.lab import Lab
from ofcd.compliance.p256 import uncompressed_twin
from ofcd.compliance.people import Invite, Person, random_hash
from ofcd.protocol import frames, records
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import InviteId, RelayId, RoomId, b64encode
from ofcd.protocol.limits import JOIN_TRIES
from ofcd.themis import generate_keypair, sign
from ofcd.themis.signed import SignedRecord

check = group("join")

_LIVES: Final = (3, 30, 100)
"""Seconds that an invite lives: the next, where it was over before it could be looked at."""


async def _dead_invites(owner: Person) -> dict[str, Invite]:
    """Invites that do not stand, by what is wrong with them."""
    good = await owner.open_invite()
    closed = await owner.open_invite()
    await owner.do(owner.control(records.InviteClose, invite_id=closed.invite_id))
    room = Invite(RoomId(random_hash()), good.invite_id, good.proof, good.admitters)
    unknown = Invite(good.room, InviteId(random_hash()[:16]), good.proof, good.admitters)
    guessed = Invite(good.room, good.invite_id, random_hash(), good.admitters)
    return {
        "of an unknown room": room,
        "of an unknown id": unknown,
        "with a wrong proof": guessed,
        "that is closed": closed,
    }


@check("unknown", "7", "Without the proof of an open invite nothing is shown or taken: test 4.")
async def unknown(lab: Lab) -> None:
    """One answer, in the same words, whatever is wrong."""
    owner = await lab.founder()
    stranger = Person(await lab.link())
    said: set[str] = set()
    for name, invite in (await _dead_invites(owner)).items():
        for frame in (stranger.lookup(invite), stranger.join(stranger.join_request(invite))):
            failure = await stranger.peer.refused(
                frame, Code.INVITE_UNKNOWN, what=f"{type(frame).__name__} of an invite {name}"
            )
            said.add(failure.text)
    require(len(said) == 1, f"the refusals differ: {sorted(said)}")
    asked = [f for f in await owner.peer.quiet(0.3) if isinstance(f, frames.JoinAsked)]
    require(not asked, "an admitter was shown a request without an invite")


@check("expired", "7", "An invite ends at the time its record names.")
async def expired(lab: Lab) -> None:
    """By the relay's clock."""
    owner = await lab.founder()
    for life in _LIVES:
        began = trio.current_time()
        stranger = Person(await lab.link())
        until = stranger.peer.greeting.ts + life * 1000
        try:
            invite = await owner.open_invite(expires=until)
            await stranger.peer.expect(frames.ChainPage, stranger.lookup(invite))
            break
        except NotKept:
            if trio.current_time() - began < life:
                raise
    else:
        raise Skipped(f"the relay needs more than {life} s to show what an invite opens")
    await trio.sleep(life + 0.5)
    await stranger.peer.refused(
        stranger.lookup(invite), Code.INVITE_UNKNOWN, what="a lookup by an expired invite"
    )
    request = stranger.join_request(invite)
    await stranger.peer.refused(
        stranger.join(request), Code.INVITE_UNKNOWN, what="a request by an expired invite"
    )


@check("life", "4", "An invite may live 30 days, not longer, and not in the past.")
async def life(lab: Lab) -> None:
    """What INVITE_OPEN says, the relay checks."""
    owner = await lab.founder()
    for name, expires in (
        ("of 31 days", owner.now() + 31 * 24 * 3600 * 1000),
        ("that is over", owner.now() - 1000),
    ):
        _, record = owner.invite(expires=expires)
        await owner.refused(record, Code.QUOTA, what=f"an invite {name}")


@check("lookup", "7", "Who holds an invite is shown the whole control log, and nothing else.")
async def lookup(lab: Lab) -> None:
    """So that it can verify the inviter's right before it says a word."""
    owner = await lab.founder()
    await owner.say()
    invite = await owner.open_invite()
    stranger = Person(await lab.link())
    page = await stranger.peer.expect(frames.ChainPage, stranger.lookup(invite))
    control = [entry for entry in owner.room.log if entry.cell == b""]
    require(tuple(page.seqs) == tuple(e.seq for e in control), "not the control log's seqs")
    require(tuple(page.records) == tuple(e.record for e in control), "not as it was signed")
    require(page.more is False, "there is more of a log that was shown whole")
    unread = stranger.sync
    stranger.comes_to(owner.room)
    await stranger.peer.refused(unread(), Code.NOT_ATTACHED, Code.NOT_FOUND)


@check("admitted", "7", "A join goes from pending to admitted, and only then is there a member.")
async def admitted(lab: Lab) -> None:
    """The way that is right, each step told to whom it concerns."""
    owner = await lab.founder()
    joiner = Person(await lab.link())
    invite = await owner.open_invite()
    request = joiner.join_request(invite)
    status = await joiner.peer.expect(frames.JoinStatus, joiner.join(request))
    require(status.state == frames.JoinState.PENDING, f"a new request is {status.state}")
    asked = await owner.peer.next(frames.JoinAsked)
    require(asked.record == request.envelope, "the admitter was shown another request")
    joiner.comes_to(owner.room)
    await joiner.peer.refused(joiner.attach(), Code.NOT_FOUND, what="an early ATTACH")
    answer = owner.join_answer(request)
    await owner.peer.expect(frames.Done, owner.answer_with(answer))
    handed = await joiner.peer.next(frames.JoinAnswer)
    require(handed.record == answer.envelope, "the joiner was handed another answer")
    await joiner.peer.refused(joiner.attach(), Code.NOT_FOUND, what="an ATTACH before admission")
    confirm = joiner.join_confirm(owner.room, request, answer)
    await joiner.peer.expect(frames.JoinStatus, joiner.confirm_with(owner.room, confirm))
    told = await owner.peer.next(frames.JoinConfirmed)
    require(told.record == confirm.envelope, "the admitter was shown another confirmation")
    await joiner.peer.refused(joiner.attach(), Code.NOT_FOUND, what="an ATTACH before admission")
    await owner.do(owner.admit(request, confirm))
    status = await joiner.peer.next(frames.JoinStatus)
    require(status.state == frames.JoinState.ADMITTED, "the joiner was not told of its admission")
    await joiner.come()
    await joiner.say()


@check("used", "7", "An invite is used up by one admission; who comes later is told so: test 6.")
async def used(lab: Lab) -> None:
    """Looked up with the right P it is `invite_used`, with a wrong one as unknown as any."""
    owner = await lab.founder()
    invite = await owner.open_invite()
    joiner, late = Person(await lab.link()), Person(await lab.link())
    joining = await joiner.ask_in(owner, invite)
    admit = owner.admit(joining.request, joining.confirm)
    await owner.do(admit)
    await late.peer.refused(late.lookup(invite), Code.INVITE_USED, what="a used invite")
    await late.peer.refused(late.join(late.join_request(invite)), Code.INVITE_USED)
    guess = Invite(invite.room, invite.invite_id, random_hash())
    await late.peer.refused(late.lookup(guess), Code.INVITE_UNKNOWN)
    again = await owner.peer.expect(frames.Ack, owner.carry(admit))
    require(again.seq == owner.room.head.seq, "the same ADMIT was taken twice")
    anew = owner.admit(joining.request, joining.confirm)
    refused = (Code.ALREADY_MEMBER, Code.INVITE_UNKNOWN, Code.INVITE_USED, Code.JOIN_NOT_READY)
    await owner.refused(anew, *refused, what="a second ADMIT of one join")


@check("two", "7", "Two who use one invite at once: one is answered, the owner is warned: test 6.")
async def two(lab: Lab) -> None:
    """The first request answered is the one."""
    owner = await lab.founder()
    invite = await owner.open_invite()
    one, other = Person(await lab.link()), Person(await lab.link())
    first, second = one.join_request(invite), other.join_request(invite)
    await one.peer.expect(frames.JoinStatus, one.join(first))
    await other.peer.expect(frames.JoinStatus, other.join(second))
    answer = owner.join_answer(first)
    await owner.peer.expect(frames.Done, owner.answer_with(answer))
    late = owner.answer_with(owner.join_answer(second))
    await owner.peer.refused(late, Code.INVITE_USED, what="an answer to a second joiner")
    await owner.peer.quiet(0.2)
    third = Person(await lab.link())
    await third.peer.refused(third.join(third.join_request(invite)), Code.INVITE_USED)
    warned = await owner.peer.next(frames.JoinAsked)
    require(warned.record != first.envelope, "the owner was not warned of another request")
    confirm = one.join_confirm(owner.room, first, answer)
    await one.peer.expect(frames.JoinStatus, one.confirm_with(owner.room, confirm))
    await owner.do(owner.admit(first, confirm))
    require(len(owner.room.state.members) == 2, "not two members")


@check("again", "7", "The same request again learns how far it is, byte for byte: test 7.")
async def again(lab: Lab) -> None:
    """Ten times, on new links too."""
    owner = await lab.founder()
    invite = await owner.open_invite()
    joiner = Person(await lab.link())
    request = joiner.join_request(invite)
    await joiner.peer.expect(frames.JoinStatus, joiner.join(request))
    answer = owner.join_answer(request)
    await owner.peer.expect(frames.Done, owner.answer_with(answer))
    for turn in range(10):
        if turn == 5:
            joiner.peer = await lab.link()
        status = await joiner.peer.expect(frames.JoinStatus, joiner.join(request))
        require(status.state == frames.JoinState.ANSWERED, f"it is {status.state}, not answered")
        require(status.record == answer.envelope, "it was handed another answer")


@check("tries", "14", "One invite sees at most three different requests.")
async def tries(lab: Lab) -> None:
    """JOIN_TRIES."""
    owner = await lab.founder()
    invite = await owner.open_invite()
    peer = await lab.link()
    for _ in range(JOIN_TRIES):
        joiner = Person(peer)
        await peer.expect(frames.JoinStatus, joiner.join(joiner.join_request(invite)))
    last = Person(peer)
    await peer.refused(last.join(last.join_request(invite)), Code.QUOTA, what="one request more")


@check("request", "7", "JOIN_REQ: its signature, keys, relay and boxes are checked: test 13.")
async def request(lab: Lab) -> None:
    """One thing wrong at a time."""
    owner, bo = await lab.pair()
    invite = await owner.open_invite()
    joiner = Person(await lab.link())
    ask = joiner.peer.refused
    good = joiner.join_request(invite)
    stranger = generate_keypair()
    forged = SignedRecord(good.record, good.payload, sign(stranger.private, good.payload))
    await ask(joiner.join(forged), Code.BAD_SIGNATURE, what="a request another key signed")
    twin = b64encode(uncompressed_twin(joiner.sign.public)).encode()
    payload = good.payload.replace(b64encode(joiner.sign.public).encode(), twin)
    twice = SignedRecord(good.record, payload, sign(joiner.sign.private, payload))
    await ask(joiner.join(twice), Code.BAD_KEY, Code.BAD_RECORD, what="an uncompressed key")
    for name, code, fields in (
        ("for another relay", Code.WRONG_RELAY, {"home": RelayId(bytes(32))}),
        ("with one key for both", Code.BAD_KEY, {"enc_key": joiner.sign.public}),
        ("with a box for nobody", Code.BOX_LIST_MISMATCH, {"boxes": ((bo.mid, b"box"),)}),
        ("with two boxes for one", Code.BOX_LIST_MISMATCH, {"boxes": ((owner.mid, b"b"),) * 2}),
        ("with a box of 5 kB", Code.TOO_LARGE, {"boxes": ((owner.mid, bytes(5000)),)}),
    ):
        wrong = joiner.join(joiner.join_request(invite, **fields))
        await ask(wrong, code, what=f"a request {name}")
    member = Person(joiner.peer)
    member.sign, member.enc = bo.sign, bo.enc
    taken = member.join(member.join_request(invite))
    await ask(taken, Code.ALREADY_MEMBER, what="a member's own key")
    await joiner.peer.expect(frames.JoinStatus, joiner.join(good))  # the invite stayed open


@check("answer", "7", "Only an admitter that the invite lists answers, and only what was asked.")
async def answer(lab: Lab) -> None:
    """A member is no admitter."""
    owner, bo = await lab.pair()
    invite = await owner.open_invite()
    joiner = Person(await lab.link())
    request = joiner.join_request(invite)
    await joiner.peer.expect(frames.JoinStatus, joiner.join(request))
    by_bo = bo.answer_with(bo.join_answer(request))
    await bo.peer.refused(by_bo, Code.FORBIDDEN, what="a plain member's answer")
    ask = owner.peer.refused
    unasked = owner.join_answer(request, request_hash=random_hash())
    await ask(owner.answer_with(unasked), Code.INVITE_UNKNOWN, what="an answer to no request")
    other = owner.join_answer(request, to=bo.mid)
    await ask(owner.answer_with(other), Code.BAD_RECORD, what="an answer to somebody else")
    named = owner.answer_with(owner.join_answer(request, mid=bo.mid))
    await ask(named, Code.FORBIDDEN, what="an answer in another's name")
    right = owner.join_answer(request)
    forged = SignedRecord(right.record, right.payload, sign(bo.sign.private, right.payload))
    await ask(owner.answer_with(forged), Code.BAD_SIGNATURE, what="an answer another key signed")
    await owner.peer.expect(frames.Done, owner.answer_with(right))


@check("confirm", "7", "JOIN_CONFIRM confirms the answer that is stored, by the joiner's own key.")
async def confirm(lab: Lab) -> None:
    """Not before there is one, not another one, not for another."""
    owner = await lab.founder()
    invite = await owner.open_invite()
    joiner = Person(await lab.link())
    request = joiner.join_request(invite)
    await joiner.peer.expect(frames.JoinStatus, joiner.join(request))
    right = owner.join_answer(request)
    ask = joiner.peer.refused
    early = joiner.confirm_with(owner.room, joiner.join_confirm(owner.room, request, right))
    await ask(early, Code.JOIN_NOT_READY, what="a confirmation of nothing")
    await owner.peer.expect(frames.Done, owner.answer_with(right))
    for name, codes, fields in (
        ("of another answer", (Code.JOIN_NOT_READY,), {"response_hash": random_hash()}),
        ("of another request", (Code.INVITE_UNKNOWN,), {"request_hash": random_hash()}),
        ("for another", (Code.BAD_RECORD, Code.FORBIDDEN), {"mid": owner.mid}),
    ):
        wrong = joiner.join_confirm(owner.room, request, right, **fields)
        await ask(joiner.confirm_with(owner.room, wrong), *codes, what=f"a confirmation {name}")
    good = joiner.join_confirm(owner.room, request, right)
    forged = SignedRecord(good.record, good.payload, sign(owner.sign.private, good.payload))
    await ask(joiner.confirm_with(owner.room, forged), Code.BAD_SIGNATURE)


@check("admit", "7", "ADMIT certifies the confirmed join, its keys, role and epoch: test 9.")
async def admit(lab: Lab) -> None:
    """Everything else makes no member."""
    owner, bo = await lab.pair()
    joiner = Person(await lab.link())
    invite = await owner.open_invite()
    request = joiner.join_request(invite)
    await joiner.peer.expect(frames.JoinStatus, joiner.join(request))
    answer = owner.join_answer(request)
    confirm = joiner.join_confirm(owner.room, request, answer)
    early = owner.admit(request, confirm)
    await owner.refused(early, Code.JOIN_NOT_READY, what="an ADMIT before any answer")
    await owner.peer.expect(frames.Done, owner.answer_with(answer))
    await owner.refused(early, Code.JOIN_NOT_READY, what="an ADMIT before the confirmation")
    await joiner.peer.expect(frames.JoinStatus, joiner.confirm_with(owner.room, confirm))
    keys = generate_keypair()
    not_ready = (Code.JOIN_NOT_READY, Code.FORBIDDEN, Code.ALREADY_MEMBER)
    for name, codes, fields in (
        ("with another signing key", not_ready, {"sign_key": keys.public}),
        ("with another encryption key", (Code.FORBIDDEN,), {"enc_key": keys.public}),
        ("with another home", (Code.FORBIDDEN,), {"home": RelayId(bytes(32))}),
        ("with another confirmation", (Code.JOIN_NOT_READY,), {"confirm_hash": random_hash()}),
        ("for another epoch", (Code.EPOCH_STALE,), {"epoch": 5}),
        ("with a higher role", (Code.FORBIDDEN,), {"role": records.Role.CO_OWNER}),
        ("with a cap", (Code.FORBIDDEN,), {"caps": (records.Cap.ADMIT,)}),
        ("with all history", (Code.FORBIDDEN,), {"history_from": 0}),
    ):
        await owner.refused(owner.admit(request, confirm, **fields), *codes, what=f"ADMIT {name}")
    await bo.refused(bo.admit(request, confirm), Code.FORBIDDEN, what="a plain member's ADMIT")
    require(len(owner.room.state.members) == 2, "not two members")
    await owner.do(owner.admit(request, confirm))


@check("epoch", "7", "A confirmation of an epoch that is over admits nobody; a new one does.")
async def epoch(lab: Lab) -> None:
    """A rotation came between."""
    owner = await lab.founder()
    joiner = Person(await lab.link())
    joining = await joiner.ask_in(owner, await owner.open_invite())
    await owner.do(owner.rekey())
    stale = owner.admit(joining.request, joining.confirm)
    await owner.refused(stale, Code.EPOCH_STALE, what="an ADMIT for the epoch before")
    answer = owner.join_answer(joining.request, cell=b"the new room key, sealed")
    await owner.peer.expect(frames.Done, owner.answer_with(answer))
    confirm = joiner.join_confirm(owner.room, joining.request, answer)
    await joiner.peer.expect(frames.JoinStatus, joiner.confirm_with(owner.room, confirm))
    await owner.do(owner.admit(joining.request, confirm))


@check("replayed_admit", "7", "The ADMIT of who was evicted does not bring it back: test 9.")
async def replayed_admit(lab: Lab) -> None:
    """Nor does its key, by a new invite."""
    owner = await lab.founder()
    joiner = Person(await lab.link())
    invite = await owner.open_invite()
    joining = await joiner.ask_in(owner, invite)
    admit = owner.admit(joining.request, joining.confirm)
    await owner.do(admit)
    joiner.comes_to(owner.room)
    await owner.do(*owner.boxed(joiner.mid))
    answer = await owner.peer.ask(owner.carry(admit))
    old = isinstance(answer, frames.Ack) and answer.seq < owner.room.head.seq
    require(old or isinstance(answer, frames.Failure), "an old ADMIT was taken again")
    await joiner.peer.refused(joiner.attach(), Code.NOT_FOUND, what="the evicted one's ATTACH")
    anew = await owner.open_invite()
    request = joiner.join_request(anew)
    await joiner.peer.refused(joiner.join(request), Code.ALREADY_MEMBER, what="its old key")
