"""What came to nothing with a move by force, and is said again: what applications make of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from attrs import evolve, frozen

from ofcd.client import (
    EventStream,
    LoggedEvent,
    MessageEdited,
    MessageFailed,
    MessageReacted,
    MessageReceived,
    MessageRedacted,
    Reaction,
    Redaction,
    Room,
    RoomRenamed,
    Text,
)
from ofcd.client.model import Head
from ofcd.client.moving import relocate
from ofcd.client.queued import Queued
from ofcd.client.turn import Turn
from ofcd.e2e.bodies import Edit, decode_body, encode_body
from ofcd.ofc.history import void_before
from ofcd.protocol.frames import Delivery
from ofcd.protocol.ids import Sid
from ofcd.protocol.records import Event, Role
from ofcd.store import LogRow
from ofcd.testing import World, open_net
from ofcd.themis.signed import peek, sign_record
from tests.federation.double import federated, local, part, quickly, shared
from tests.federation.test_force import acquainted, force
from tests.federation.test_hostile import log_of
from tests.sweeps import fewer, stride
from tests.world.scene import agree, everything, settle, texts, told, until, waits

APP = "app"


@frozen
class Scene:
    """Root at the hub; Bo at the relay that is to be the hub; Cai at a third one."""

    old: World
    new: World
    third: World
    ana: Room
    bo: Room
    cai: Room

    @property
    def rooms(self) -> tuple[Room, Room, Room]:
        return self.ana, self.bo, self.cai

    async def is_cut_off(self) -> None:
        """From here on the copy of the new relay lacks what is said."""
        await settle(self.rooms)
        part(self.old, self.new)

    async def moves(self) -> None:
        """Root moves the room to that copy."""
        await self.old.stop_relay()
        await force(self.ana, self.new)
        await settle(self.rooms)


@asynccontextmanager
async def opened(tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_net(tmp_path, "old", "new", "third", change=quickly) as (old, new, third):
        ana, bo = await shared(old, new)
        cai = await federated(old, third, "cai", ana)
        await acquainted(new, third)
        await settle([ana, bo, cai])
        yield Scene(old, new, third, ana, bo, cai)


def done_with(room: Room, event: LoggedEvent) -> None:
    """An application has stored what came of this event."""
    with room._client.transaction() as tx:
        room.set_cursor(tx, event.seq, APP, cuts=event.cuts)


async def read_on(room: Room) -> list[LoggedEvent]:
    """What the application has not had yet; it is done with it then."""
    events = await everything(room, room.cursor(APP))
    for event in events:
        done_with(room, event)
    return events


async def test_whatever_is_said_again_is_told_so_and_keeps_its_first_id(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Words, an edit, a reaction, a redaction, a name: no application takes one for a new one."""
    async with opened(tmp_path) as scene:
        ana, bo, cai = scene.rooms
        first = await cai.send("cai's first")
        second = await cai.send("cai's second")
        await scene.is_cut_off()
        void = await cai.send("void")
        await cai.edit(first.event_id, "cai's first, in other words")
        await cai.react(first.event_id, "👍")
        await cai.redact(second.event_id)
        await ana.rename("Tea at five")
        await settle([ana, cai])
        before = await read_on(ana)
        await scene.moves()
        after = await read_on(ana)
        again = [event for event in after if event.again]
        kinds = {MessageReceived, MessageEdited, MessageReacted, MessageRedacted, RoomRenamed}
        assert {type(event) for event in again} == kinds
        were = {event.event_id: event for event in before}
        for event in again:
            assert event.event_id not in were
            assert type(were[event.first_id]) is type(event)
        now = ana.message(void.event_id)
        assert now is not None
        assert now.event_id != void.event_id == now.first_id == ana.first_id(now.event_id)
        # Who has never had them takes them for new, by the ids that they have now.
        assert not any(event.again or event.earlier for event in await everything(bo))
        agree(scene.rooms, ["cai's first, in other words", "", "void"])
        assert [room.name for room in scene.rooms] == ["Tea at five"] * 3


async def test_other_words_under_a_sid_that_is_void_are_another_message(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Nobody hides theirs from applications so, nor takes another's away from what is void."""
    async with opened(tmp_path) as scene:
        ana, bo, cai = scene.rooms
        await scene.is_cut_off()
        anas, cais = await ana.send("ana's"), await cai.send("cai's")
        await settle([ana, cai])
        await read_on(ana)
        await scene.third.stop_client("cai")
        sids = [
            one.sid
            for one in ana.messages(since=0)
            if one.event_id in (anas.event_id, cais.event_id)
        ]
        await scene.old.stop_relay()
        await force(ana, scene.new)
        await settle([ana, bo])
        for sid in sids:
            assert isinstance(sid, bytes)
            await bo.send("bo's, under that sid", sid=Sid(sid))
        await settle([ana, bo])
        told_of = [(e.message.text, e.again) for e in messages(await read_on(ana))]
        assert sorted(told_of) == [("ana's", True), *[("bo's, under that sid", False)] * 2]
        assert [message.text for message in ana.voided()] == ["cai's"]
        events = await everything(ana)
        shown = [[m.text for m in found] for e in events if (found := void_before(ana, e))]
        assert shown == [["cai's"]], "at the entry that moved the room, and at no other"
        [cai] = (await scene.third.client("cai")).rooms
        _reword(cai, sids[1], "cai's, in other words")
        await settle([ana, bo, cai])
        [event] = messages(await read_on(ana))
        assert (event.message.text, event.again) == ("cai's, in other words", False)
        assert [message.text for message in ana.voided()] == ["cai's"]


def messages(events: list[LoggedEvent]) -> list[MessageReceived]:
    return [event for event in events if isinstance(event, MessageReceived)]


def _reword(room: Room, sid: object, text: str) -> None:
    """This client says something else under that sid, once it has heard of the move."""
    outbox = room._client._machine(room.id).outbox
    keep = outbox._keep

    def changed(turn: Turn, item: Queued) -> None:
        if item.sid == sid:
            raw = encode_body(evolve(decode_body(item.body), content=Text(text))).rstrip()
            item = evolve(item, body=raw)
        keep(turn, item)

    outbox._keep = changed  # type: ignore[method-assign]


async def test_a_reader_in_progress_is_not_given_what_came_to_nothing(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """It has a page ready; the log is cut below it; it goes on with what stands there now."""
    async with opened(tmp_path) as scene:
        ana, bo, cai = scene.rooms
        await scene.is_cut_off()
        for number in range(4):
            await cai.send(f"void {number}")
        await settle([ana, cai])
        reader = ana.events_since(bo.head)
        event = await reader.__anext__()
        assert isinstance(event, MessageReceived)
        assert len(reader._ready) == 3
        await scene.moves()
        assert not ana.holds(event)
        done_with(ana, event)
        assert ana.cursor(APP) <= bo.head, "a cursor of before stands behind what came to nothing"
        seen = []
        with trio.move_on_after(5):
            async for one in reader:
                if isinstance(one, MessageReceived):
                    seen.append((one.message.text, one.seq))
                    assert ana.holds(one)
        assert [text for text, _ in seen] == [f"void {number}" for number in range(4)]
        assert [ana._client._core(ana.id).archive.entry(ana._client.vault, s) for _, s in seen]


def test_a_reader_that_slept_over_several_cuts_goes_back_before_the_lowest() -> None:
    """What grew behind a low cut is new to it, though a later cut was higher up."""
    head = Head().after_cut(10).after_cut(18)
    assert [head.holds_since(cuts) for cuts in (0, 1, 2)] == [10, 18, None]
    assert head.after_cut(5).cut_ends == ((3, 5),)
    many = Head()
    for base in range(100):
        many = many.after_cut(base)
    assert len(many.cut_ends) <= 32
    for cuts in range(100):
        held = many.holds_since(cuts)
        assert held is not None
        assert held <= cuts, "further back than it need be, and never too little"
    assert many.holds_since(99) == 99


async def test_what_waits_follows_what_it_is_about(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """An edit of one's own; what is about another's, which is not back, fails with its reason."""
    async with opened(tmp_path) as scene:
        ana, bo, cai = scene.rooms
        await scene.is_cut_off()
        mine, theirs = await ana.send("ana's"), await cai.send("cai's")
        await settle([ana, cai])
        await scene.third.stop_client("cai")
        await scene.old.stop_relay()
        live = ana.events()
        with ana._client.transaction() as tx:
            ana.queue(tx, Reaction(theirs.event_id, "👍"))
            ana.queue(tx, Edit(mine.event_id, "ana's, edited while it waited"))
        await force(ana, scene.new)
        await settle([ana, bo])
        assert texts(bo) == ["ana's, edited while it waited"]
        [failed] = [event for event in told(live) if isinstance(event, MessageFailed)]
        assert failed.code == "void"
        assert "came to nothing" in failed.text
        await scene.third.client("cai")
        await until(lambda: "cai's" in texts(ana))
        # What is said of it from now on names it by the id that all know.
        await ana.react(theirs.event_id, "🎉")
        await settle([ana, bo])
        [there] = [message for message in bo.messages(since=0) if message.text == "cai's"]
        assert [emoji for emoji, _ in there.reactions] == ["🎉"]
        await ana.send("to that", reply_to=theirs.event_id)
        await settle([ana, bo])
        assert bo.messages()[-1].reply_to == there.event_id


async def test_what_an_owner_took_back_is_taken_back_again(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Its author had not seen that, and says it again."""
    async with opened(tmp_path) as scene:
        ana, bo, cai = scene.rooms
        await scene.is_cut_off()
        rude = await cai.send("rude")
        await settle([ana, cai])
        part(scene.old, scene.third)
        await ana.redact(rude.event_id)
        await scene.moves()
        await until(lambda: [(m.text, m.redacted_by) for m in bo.messages()] == [("", ana.me)])
        await settle(scene.rooms)
        assert ana.voided() == cai.voided() == []


async def test_names_and_what_is_unread_are_those_of_before(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Of who does not come again: what they called themselves and the room is void, too."""
    async with opened(tmp_path) as scene:
        ana, bo, cai = scene.rooms
        await ana.grant(cai.me, Role.CO_OWNER)
        await cai.send("read before")
        await scene.is_cut_off()
        await cai.send("read, and void")
        await settle([ana, cai])
        ana.mark_read()
        await cai.send("not read, and void")
        await cai.set_name("Cai the Great")
        await cai.rename("Cai's")
        await settle([ana, cai])
        assert (ana.name, ana.name_of(cai.me), ana.unread) == ("Cai's", "Cai the Great", 1)
        who = cai.me
        await scene.third.stop_client("cai")
        await scene.old.stop_relay()
        await force(ana, scene.new)
        await settle([ana, bo])
        assert (ana.name, ana.name_of(who), ana.unread) == ("tea", "cai", 0)
        await bo.send("bo's")
        await settle([ana, bo])
        [cai] = (await scene.third.client("cai")).rooms
        await settle([ana, bo, cai])
        assert (ana.name, ana.name_of(who), ana.unread) == ("Cai's", "Cai the Great", 2)
        ana.mark_read(0)
        unread = [m.text for m in ana.messages(since=1) if not m.mine]
        assert sorted(unread) == ["bo's", "not read, and void", "read before", "read, and void"]
        assert ana.unread == 3, "what was read before it came to nothing stays read"


async def test_a_client_that_dies_while_its_log_is_cut(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """At any step: with the next start all is as if it had not."""
    async with opened(tmp_path) as scene:
        ana, bo, cai = scene.rooms
        await scene.is_cut_off()
        for number in range(3):
            await cai.send(f"cai {number}")
            await ana.send(f"ana {number}")
        await settle([ana, cai])
        await scene.third.stop_client("cai")
        await scene.old.stop_relay()
        await force(ana, scene.new)
        deaths = 0
        for step in range(3, 60, stride(4)):
            await scene.third.client("cai", die_after=step)
            deaths += await scene.third.client_dies("cai", 60)
        assert deaths >= fewer(11)
        [cai] = (await scene.third.client("cai")).rooms
        await settle([ana, bo, cai])
        said = [f"{who} {number}" for who in ("ana", "cai") for number in range(3)]
        agree([ana, bo, cai], said)
        assert ana.voided() == cai.voided() == []


async def test_what_was_taken_back_is_so_however_often_it_comes_to_nothing(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """The second time before that has come to the log: Dan, who saw neither, says it once more.

    But a relay that only shows again what he said has nobody post anything for it.
    """
    async with opened(tmp_path) as scene:
        ana, _, cai = scene.rooms
        dan = await local(scene.old, ana, "dan")
        await scene.is_cut_off()
        rude = await dan.send("rude")
        await settle([ana, cai, dan])
        await scene.old.stop_client("dan")
        await ana.redact(rude.event_id)
        await scene.moves()
        part(scene.new, scene.third)
        ana._client._machine(ana.id).outbox.pump = lambda turn: None  # type: ignore[method-assign]
        [dan] = (await scene.old.client("dan")).rooms
        with dan._client._turn(dan._client._connection(dan.id)) as turn:
            relocate(turn, dan._client._core(dan.id), scene.new.url, ana.hub_id)
        await until(lambda: texts(ana) == ["rude"])
        await until(lambda: not waits(dan))
        await scene.old.stop_client("dan")
        await scene.new.stop_relay()
        await force(ana, scene.third)
        [dan] = (await scene.old.client("dan")).rooms
        await dan.move_home(scene.third.url)
        await until(lambda: [(m.text, m.redacted_by) for m in cai.messages()] == [("", ana.me)])
        await settle([ana, cai, dan])
        assert ana.voided() == dan.voided() == []
        machine, before = ana._client._machine(ana.id), ana.outbox()
        machine.outbox.pump = lambda turn: None  # type: ignore[method-assign]
        with ana._client._turn(ana._client._connection(ana.id)) as turn:
            said = said_by(dan, log_of(scene.third, ana.id))
            for record in (*said, signed_anew(dan, said[-1])):
                seq = machine.core.head.seq + 1
                machine.receive(turn, Delivery(ana.id, seq, record, b""))
        assert ana.outbox() == before


def said_by(room: Room, rows: list[LogRow]) -> list[bytes]:
    """Their events in a relay's log."""
    events = ((row.record, peek(row.record).record) for row in rows)
    return [raw for raw, event in events if isinstance(event, Event) and event.mid == room.me]


def signed_anew(room: Room, record: bytes) -> bytes:
    """The same message of theirs in another event of the same number."""
    event = peek(record).record
    assert isinstance(event, Event)
    keys = room._client._core(room.id).mine
    return sign_record(keys.sign.private, evolve(event, ts=event.ts + 1)).envelope


async def test_what_waits_to_be_taken_back_does_not_come_back(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """One's own is not said again; another's is taken back when its author says it again."""
    async with opened(tmp_path) as scene:
        ana, bo, cai = scene.rooms
        await scene.is_cut_off()
        mine, theirs = await ana.send("mine"), await cai.send("rude")
        await settle([ana, cai])
        await scene.third.stop_client("cai")
        await scene.old.stop_relay()
        live, failed = bo.events(), ana.events()
        with ana._client.transaction() as tx:
            ana.queue(tx, Redaction(mine.event_id))
            ana.queue(tx, Redaction(theirs.event_id))
        await force(ana, scene.new)
        await settle([ana, bo])
        [cai] = (await scene.third.client("cai")).rooms
        await until(lambda: [m.redacted_by for m in bo.messages(since=0)] == [ana.me])
        await settle([ana, bo, cai])
        heard = [m.message.text for m in messages(logged(live))]
        assert heard == ["rude"], "only what others say again is seen once more"
        assert texts(bo) == texts(ana) == texts(cai) == [""]
        why = [event.text for event in told(failed) if isinstance(event, MessageFailed)]
        assert ["is not said again" in why[0], "it is taken back again" in why[1]] == [True, True]


def logged(live: EventStream) -> list[LoggedEvent]:
    return [event for event in told(live) if isinstance(event, LoggedEvent)]
