"""Reading: who gets what, from where, after a break: tests 26 and 27."""

from __future__ import annotations

import trio

from ofcd.compliance.check import check as group
from ofcd.compliance.check import require
from ofcd.compliance.lab import Lab
from ofcd.compliance.people import Person, random_hash
from ofcd.protocol import frames, limits, records
from ofcd.protocol.codes import Code

check = group("history")


@check("resume", "10", "A client that lost its link goes on from the seq it names, without a gap.")
async def resume(lab: Lab) -> None:
    """And with L, so that both know they mean the same log."""
    ana, bo = await lab.pair()
    for _ in range(3):
        await ana.say()
    seen = ana.room.head
    await bo.deliveries(seen.seq)
    later = [await ana.say() for _ in range(3)]
    bo.peer = await lab.link()
    await bo.peer.expect(frames.Attached, bo.attach())
    synced = await bo.peer.expect(frames.Synced, bo.sync(seen.seq + 1, seen.log))
    require(synced.start == seen.seq + 1, f"it goes on from {synced.start}")
    require(synced.log == seen.log, "it names another L")
    require(synced.head == later[-1].seq, "it names another head")
    got = await bo.deliveries(later[-1].seq)
    require([g.seq for g in got] == [e.seq for e in later], "with a gap, or twice")
    live = await ana.say()
    require((await bo.deliveries(live.seq))[0].record == live.record, "what came after is not live")


@check("fork", "5", "A sync with another L is fork; one past the end is hub_behind.")
async def fork(lab: Lab) -> None:
    """Two logs of one room are found out at once."""
    ana = await lab.founder()
    entry = await ana.say()
    wrong = ana.sync(entry.seq + 1, random_hash())
    await ana.peer.refused(wrong, Code.FORK, what="a sync with a foreign L")
    future = ana.sync(entry.seq + 2)
    await ana.peer.refused(future, Code.HUB_BEHIND, what="a sync past the end")
    await ana.peer.expect(frames.Synced, ana.sync(entry.seq + 1, entry.log))


@check("newcomer", "10", "A newcomer reads from its history_from on, and nothing before.")
async def newcomer(lab: Lab) -> None:
    """Whatever it asks for."""
    ana = await lab.founder()
    await ana.say(b"before the rotation")
    await ana.do(ana.rekey())
    first = await ana.say(b"since the rotation")
    bo = Person(await lab.link())
    await bo.enter(ana)
    synced = await bo.come(0)
    require(synced.start == first.seq, f"its history begins at {synced.start}, not {first.seq}")
    before = ana.room.log[first.seq - 1]
    require(synced.log == before.log, "it names another L before its history")
    got = await bo.deliveries(ana.room.head.seq)
    require(got[0].seq == first.seq, f"it was given entry {got[0].seq}")


@check("from_join", "10", "Where history is `join`, a newcomer reads from its admission on.")
async def from_join(lab: Lab) -> None:
    """By the invite's word or the room's."""
    ana = await lab.founder()
    old = await ana.say(b"before")
    joiner = Person(await lab.link())
    invite = await ana.open_invite(history=records.History.JOIN)
    joining = await joiner.ask_in(ana, invite)
    early = ana.admit(joining.request, joining.confirm, history_from=old.seq)
    await ana.refused(early, Code.FORBIDDEN, what="an ADMIT with more history than the invite has")
    start = ana.room.head.seq + 1
    await ana.do(ana.admit(joining.request, joining.confirm, history_from=start))
    joiner.comes_to(ana.room)
    synced = await joiner.come(0)
    require(synced.start == start, f"its history begins at {synced.start}, not {start}")


@check("cursor", "10", "A cursor is kept, and never moves back, nor past the end.")
async def cursor(lab: Lab) -> None:
    """What a member has on its disk."""
    ana = await lab.founder()
    for _ in range(3):
        entry = await ana.say()
    await ana.peer.send(frames.Cursor(ana.room.id, entry.seq))
    await ana.peer.send(frames.Cursor(ana.room.id, 1), frames.Cursor(ana.room.id, entry.seq + 50))
    attached = await ana.peer.expect(frames.Attached, ana.attach())
    require(attached.cursor == entry.seq, f"the cursor is {attached.cursor}, not {entry.seq}")
    counter, last = ana.room.sender(ana.mid)
    require((attached.counter, attached.last) == (counter, last), "not the member's last event")


@check("redacted", "8", "A redaction takes the cell away, and leaves the signed header.")
async def redacted(lab: Lab) -> None:
    """For everyone who reads it from then on."""
    ana, bo = await lab.pair()
    entry = await bo.say(b"to be taken back")
    signed = bo.redact(entry.event_id)
    ack = await bo.peer.expect(frames.Ack, signed)
    require(ack.seq == entry.seq + 1, "a redaction is not the next entry")
    fresh = await lab.link()
    ana.peer = fresh
    await ana.peer.expect(frames.Attached, ana.attach())
    await ana.peer.expect(frames.Synced, ana.sync(entry.seq))
    [first, *_] = await ana.deliveries(entry.seq)
    require(first.record == entry.record, "the header is gone, or another")
    require(first.cell == b"", "the cell of a redacted message is still given out")


@check("redacting", "8", "One redacts one's own; owners anyone's.")
async def redacting(lab: Lab) -> None:
    """Never another member's, nor a control record."""
    ana, bo = await lab.pair()
    mine = await ana.say()
    await bo.peer.refused(bo.redact(mine.event_id), Code.FORBIDDEN, what="redacting another's")
    genesis = ana.room.log[0].event_id
    await ana.peer.refused(ana.redact(genesis), Code.FORBIDDEN, what="redacting GENESIS")
    his = await bo.say()
    signed = ana.event(b"", kind=records.EventKind.REDACT, target=his.event_id)
    ack = await ana.peer.expect(frames.Ack, ana.post_of(signed, b""))
    ana.room.take(signed, b"", ack)


@check("chain", "3", "Members get the control log, in order, as it was signed.")
async def chain(lab: Lab) -> None:
    """Page by page."""
    ana, bo = await lab.pair()
    await ana.say()
    await ana.do(ana.rekey())
    control = [entry for entry in ana.room.log if entry.cell == b""]
    got: list[tuple[int, bytes]] = []
    start, more = 0, True
    while more:
        ask = frames.ChainGet(bo.peer.number(), ana.room.id, start)
        page = await bo.peer.expect(frames.ChainPage, ask)
        got += zip(page.seqs, page.records, strict=True)
        require(bool(page.seqs) or not page.more, "an empty page, and more behind it")
        more, start = page.more, (got[-1][0] + 1 if got else 0)
    require(got == [(e.seq, e.record) for e in control], "it is not the control log")


@check("live", "3", "After `detach` nothing of the room is sent any more.")
async def live(lab: Lab) -> None:
    """A second sync replaces the first."""
    ana, bo = await lab.pair()
    await bo.peer.expect(frames.Synced, bo.sync(len(bo.room.log)))
    entry = await ana.say()
    first = await bo.peer.next(frames.Delivery)
    more = [f.seq for f in await bo.peer.quiet(1.0) if isinstance(f, frames.Delivery)]
    got = [first.seq, *more]
    require(got == [entry.seq], f"after two syncs, entry {entry.seq} was delivered as {got}")
    await bo.peer.expect(frames.Done, frames.Detach(bo.peer.number(), bo.room.id))
    await ana.say()
    got = [f.seq for f in await bo.peer.quiet(1.0) if isinstance(f, frames.Delivery)]
    require(not got, "entries were delivered after detach")


@check("signals", "12", "A signal goes to the others, is not answered, and is never stored.")
async def signals(lab: Lab) -> None:
    """Nor taken from readonly members or for another epoch."""
    ana, bo = await lab.pair()
    cy = await lab.member(ana, role=records.Role.READONLY)
    await ana.peer.quiet(0.2)
    marker = random_hash() * (limits.SIGNAL_BYTES // 32)  # a receipt is nearly as long as may be
    await bo.peer.send(bo.signal(marker))
    got = await ana.peer.next(frames.Signalled)
    require((got.mid, got.cell) == (bo.mid, marker), "another signal, or another's name")
    await cy.peer.send(cy.signal(random_hash()))
    await bo.peer.send(frames.Signal(bo.room.id, bo.room.state.epoch + 1, random_hash()))
    for person in (ana, bo):
        heard = await person.peer.quiet(0.5)
        wrong = [f for f in heard if isinstance(f, frames.Signalled)]
        require(not wrong, "a signal went to its sender, or one was passed on that must not be")
    late = await lab.link()
    ana.peer = late
    await ana.come(0)
    heard = await late.quiet(1.0)
    stored = [
        f for f in heard if isinstance(f, frames.Signalled) or marker == getattr(f, "cell", b"")
    ]
    require(not stored, "a signal was stored")
    await trio.lowlevel.checkpoint()
