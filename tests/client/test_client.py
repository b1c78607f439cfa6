"""The client against the real daemon: rooms, joins, messages, roles, keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TypeVar

import pytest
import trio
from trio.testing import MockClock

from ofcd.client import (
    Alarm,
    AlarmKind,
    AppEvent,
    BadAttachment,
    BadInvite,
    EventStream,
    JoinFailed,
    Message,
    MessageEdited,
    NotAllowed,
    Offline,
    RelayRefused,
    RoomStatus,
    SignalReceived,
    Vault,
)
from ofcd.client.events import HandoverOffered, MemberLeft, MessageReceived, Rotated
from ofcd.client.model import Tables
from ofcd.protocol.ids import BlobId, EventId, MemberId, RoomId, Sid
from ofcd.protocol.records import Cap, History, Policy, Role
from tests.client.world import KEY, URL, Town, settled, texts, until

E = TypeVar("E")


async def first(events: AsyncIterator[object], cls: type[E]) -> E:
    """The next event of this kind."""
    async for event in events:
        if isinstance(event, cls):
            return event
    raise AssertionError("the events ended")


async def test_two_people_talk(town: Town, autojump_clock: MockClock) -> None:
    """A room is made, joined by invite, and both read each other; names come along."""
    mine, theirs = await town.pair()
    sent = await mine.send("hello Bo")
    await theirs.send("hello Ana", reply_to=sent.event_id)
    assert await texts(theirs, 2) == ["hello Bo", "hello Ana"]
    assert await texts(mine, 2) == ["hello Bo", "hello Ana"]
    first, second = theirs.messages()
    assert (first.event_id, first.seq, first.name, first.mine) == (*_of(sent), "Ana", False)
    assert (second.reply_to, second.mine) == (sent.event_id, True)
    assert [m.name for m in mine.members()] == ["Ana", "Bo"]
    assert (mine.name, theirs.name) == ("garden", "garden")


def _of(sent: object) -> tuple[object, object]:
    return (getattr(sent, "event_id", None), getattr(sent, "seq", None))


async def test_a_members_clock_beyond_any_date_breaks_nobody(
    town: Town, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time is shown as the last that a date can name: bots and bridges make dates of it."""
    mine, theirs = await town.pair()
    monkeypatch.setattr(mine._client, "_clock", lambda: 2**53 - 1)
    await mine.send("from far away")
    await texts(theirs, 1)
    [message] = theirs.messages()
    for hours in (-14, 0, 14):
        zone = timezone(timedelta(hours=hours))
        assert datetime.fromtimestamp(message.ts / 1000, zone).year == 9999


async def test_both_compute_the_same_safety_number(town: Town, autojump_clock: MockClock) -> None:
    """60 digits, equal on both sides, and the room's number too."""
    mine, theirs = await town.pair()
    await until(lambda: mine.head == theirs.head)
    number = mine.safety_number(theirs.me)
    assert number == theirs.safety_number(mine.me)
    assert number.startswith(theirs.short_code(mine.me))
    assert mine.room_safety_number() == theirs.room_safety_number()


# -- joining -------------------------------------------------------------------------------------


async def test_a_join_waits_for_an_admitter_who_is_offline(
    town: Town, autojump_clock: MockClock
) -> None:
    """Asked while Ana is away, through a restart of the joiner; in as soon as Ana is back."""
    ana = await town.person("ana")
    room = await ana.client.create_room(URL, "garden", my_name="Ana")
    code = await room.invite()
    await town.stop("ana")
    bo = await town.person("bo")
    with trio.move_on_after(3):
        await bo.client.join(code, name="Bo")
    [pending] = bo.client.pending_joins
    assert (pending.room, pending.stage.value) == (room.id, "asked")
    bo = await town.again("bo")
    assert len(bo.client.pending_joins) == 1
    await town.person("ana")
    await until(lambda: bo.client.rooms and bo.room.is_live)
    await bo.room.send("at last")
    assert bo.client.pending_joins == []


async def test_an_invite_admits_one_person_once(town: Town, autojump_clock: MockClock) -> None:
    """The second bearer is refused for good, and the room has two members."""
    mine, _ = await town.pair()
    code = await mine.invite()
    carl, dora = await town.person("carl"), await town.person("dora")
    await carl.client.join(code, name="Carl")
    with pytest.raises(JoinFailed) as caught:
        await dora.client.join(code, name="Dora")
    assert caught.value.code in ("invite_used", "invite_unknown")
    assert len(mine.members()) == 3


async def test_two_bearers_at_once_end_with_one_member(
    town: Town, autojump_clock: MockClock
) -> None:
    """Whoever is faster is in; the other gets a typed error; nobody is half in."""
    ana = await town.person("ana")
    room = await ana.client.create_room(URL, "garden", my_name="Ana")
    code = await room.invite()
    outcomes: list[str] = []

    async def join(name: str) -> None:
        person = await town.person(name)
        try:
            await person.client.join(code, name=name)
            outcomes.append("in")
        except JoinFailed as error:
            outcomes.append(error.code)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(join, "bo")
        nursery.start_soon(join, "carl")
    assert sorted(outcomes)[0] == "in"
    assert sorted(outcomes)[1] in ("invite_used", "invite_unknown")
    assert len(room.members()) == 2


async def test_an_invite_that_expired_or_was_closed_admits_nobody(
    town: Town, autojump_clock: MockClock
) -> None:
    """Expired: closed by its maker's client by itself. Closed: refused. Both typed."""
    room, bo = await town.found(), await town.person("bo")
    short, closed = await room.invite(expires_in=5_000), await room.invite()
    await room.close_invite(closed.invite_id)
    await until(lambda: not room.invites())
    for code in (short, closed):
        with pytest.raises(JoinFailed) as caught:
            await bo.client.join(code, name="Bo")
        assert caught.value.code == "invite_unknown"


async def test_what_is_no_invite_is_refused_at_once(town: Town, autojump_clock: MockClock) -> None:
    """A sentence, not a timeout."""
    bo = await town.person("bo")
    with pytest.raises(BadInvite):
        await bo.client.join("https://example.org/#nothing", name="Bo")


async def test_a_newcomer_reads_since_the_rotation_and_not_before(
    town: Town, autojump_clock: MockClock
) -> None:
    """History `rotation`: what was said in the current epoch, nothing older."""
    ana = await town.person("ana")
    room = await ana.client.create_room(URL, "garden", my_name="Ana")
    await room.send("old")
    await room.rotate()
    await room.send("new")
    theirs = await town.join(room, "bo")
    assert await texts(theirs, 1) == ["new"]


async def test_a_newcomer_with_history_join_reads_nothing_older(
    town: Town, autojump_clock: MockClock
) -> None:
    """History `join`: only what comes after the admission."""
    room, bo = await town.found(), await town.person("bo")
    await room.send("before")
    theirs = await bo.client.join(await room.invite(history=History.JOIN), name="Bo")
    await room.send("after")
    assert await texts(theirs, 1) == ["after"]


async def test_with_join_rekey_a_newcomer_gets_a_key_without_a_past(
    town: Town, autojump_clock: MockClock
) -> None:
    """The owner rotates before it answers."""
    room, bo = await town.found(Policy(join_rekey=True)), await town.person("bo")
    await room.send("before")
    theirs = await bo.client.join(await room.invite(), name="Bo")
    assert room.epoch >= 1
    assert theirs.messages() == []


# -- messages ------------------------------------------------------------------------------------


async def test_messages_are_edited_redacted_and_reacted_to(
    town: Town, autojump_clock: MockClock
) -> None:
    """The archive shows how each message reads now; only the sender edits; owners may redact."""
    mine, theirs = await town.pair()
    one = await mine.send("helo")
    two = await theirs.send("secret")
    await mine.edit(one.event_id, "hello")
    await theirs.edit(one.event_id, "hacked")
    await theirs.react(one.event_id, "+1")
    await mine.react(one.event_id, "+1")
    await mine.react(one.event_id, "+1", remove=True)
    await mine.redact(two.event_id)
    with pytest.raises(RelayRefused):
        await theirs.redact(one.event_id)
    await theirs.send("sorry")
    await until(lambda: mine.head == theirs.head)
    for room in (mine, theirs):
        first, second, _ = room.messages()
        assert (first.text, first.edited) == ("hello", True)
        assert first.reactions == (("+1", (theirs.me,)),)
        assert (second.text, second.redacted_by) == ("", mine.me)


async def test_a_readonly_member_can_not_post(town: Town, autojump_clock: MockClock) -> None:
    """Refused here, before anything is sent."""
    mine, theirs = await town.pair()
    await mine.grant(theirs.me, Role.READONLY)
    await until(lambda: theirs.member(theirs.me).role is Role.READONLY)
    with pytest.raises(NotAllowed) as caught:
        await theirs.send("hello")
    assert caught.value.code == "forbidden"


async def test_a_message_too_long_is_refused_at_once(town: Town, autojump_clock: MockClock) -> None:
    """The caller learns it; nothing is queued."""
    mine, _ = await town.pair()
    with pytest.raises(Exception, match="fit"):
        await mine.send("x" * 60_000)
    assert mine.outbox() == []
    await mine.send("y")


async def test_unread_messages_are_counted(town: Town, autojump_clock: MockClock) -> None:
    """Others' messages count until they are marked read; one's own do not."""
    mine, theirs = await town.pair()
    for text in ("one", "two", "three"):
        last = await mine.send(text)
    await theirs.send("mine")
    await texts(theirs, 4)
    assert theirs.unread == 3
    theirs.mark_read(last.seq - 1)
    assert theirs.unread == 1
    theirs.mark_read()
    assert theirs.unread == 0


async def test_signals_reach_who_is_there_and_are_not_kept(
    town: Town, autojump_clock: MockClock
) -> None:
    """Typing is told live, and is no entry of the log."""
    mine, theirs = await town.pair()
    await until(lambda: mine.head == theirs.head)
    head = mine.head
    with theirs.events() as events:
        mine.typing()
        with trio.fail_after(10):
            signal = await first(events, SignalReceived)
    assert (signal.mid, signal.kind) == (mine.me, "typing")
    assert theirs.head == head


async def test_files_arrive_whole(town: Town, tmp_path: Path, autojump_clock: MockClock) -> None:
    """Several chunks, a bad name, an empty file: same bytes, a safe name, within the folder."""
    mine, theirs = await town.pair()
    source = tmp_path / "photo.bin"
    source.write_bytes(bytes(range(256)) * 2500)
    steps: list[tuple[int, int]] = []
    await mine.send_file(
        source, name="../../etc/x.bin", caption="look", progress=lambda *s: steps.append(s)
    )
    empty = tmp_path / "empty"
    empty.touch()
    await mine.send_file(empty)
    await texts(theirs, 2)
    first, second = theirs.messages()
    assert (first.text, first.file and first.file.size) == ("look", 640_000)
    folder = tmp_path / "got"
    folder.mkdir()
    got = await theirs.fetch_file(first, folder)
    assert got.parent == folder
    assert got.read_bytes() == source.read_bytes()
    assert (await theirs.fetch_file(second, folder)).read_bytes() == b""
    assert steps == [(1, 3), (2, 3), (3, 3)]
    with pytest.raises(BadAttachment):
        await theirs.fetch_file(first, folder, limit=1000)
    assert len(list(folder.iterdir())) == 2


async def test_files_go_through_memory_alone(town: Town, autojump_clock: MockClock) -> None:
    """Bytes in, bytes out, of any number of chunks; too many are refused."""
    mine, theirs = await town.pair()
    sizes = (0, 1, 256 * 1024, 256 * 1024 + 1, 600_000)
    for size in sizes:
        await mine.send_file(bytes(range(250)) * (size // 250) + b"x" * (size % 250), name="f")
    await texts(theirs, len(sizes))
    for size, message in zip(sizes, theirs.messages(), strict=True):
        got = await theirs.read_file(message)
        assert got == bytes(range(250)) * (size // 250) + b"x" * (size % 250)
    with pytest.raises(BadAttachment):
        await theirs.read_file(theirs.messages()[-1], limit=599_999)


# -- members and roles ---------------------------------------------------------------------------


@pytest.mark.parametrize("by_owner", [False, True])
async def test_a_redacted_file_is_gone_from_the_relay(
    town: Town, tmp_path: Path, autojump_clock: MockClock, by_owner: bool
) -> None:
    """Its sender's redaction, or an owner's, drops the chunks, though the link breaks amid it."""
    mine, theirs = await town.pair()
    path = tmp_path / "file"
    path.write_bytes(bytes(300_000))
    sent = await theirs.send_file(path)
    await settled(mine, theirs)
    blob = mine.attachment(sent.seq).blob_id
    daemon = town.world.daemon
    assert daemon is not None
    assert daemon.store.blob_info(mine.id, blob) is not None
    await (mine if by_owner else theirs).redact(sent.event_id)
    town.world.cut_links()
    await until(lambda: daemon.store.blob_info(mine.id, blob) is None)
    await settled(mine, theirs)
    state = Tables(mine.id).state
    await until(
        lambda: (
            not [
                *mine._client.vault.items(state, b"drop/", b"drop0"),
                *theirs._client.vault.items(state, b"drop/", b"drop0"),
            ]
        )
    )


async def test_a_file_that_another_message_of_its_sender_names_stays(
    town: Town, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A message that was said anew may stand twice: the file goes with the last one."""
    mine, theirs = await town.pair()
    path = tmp_path / "file"
    path.write_bytes(bytes(300_000))
    ref = await theirs.upload(path)
    sent = [await theirs.send_body(ref) for _ in range(2)]
    daemon = town.world.daemon
    assert daemon is not None
    await theirs.redact(sent[0].event_id)
    await theirs.redact(sent[0].event_id)  # once more counts for nothing
    await settled(mine, theirs)
    await trio.sleep(3600)
    assert daemon.store.blob_info(mine.id, ref.blob_id) is not None
    assert await mine.read_file(sent[1].seq) == bytes(300_000)
    await mine.redact(sent[1].event_id)
    await until(lambda: daemon.store.blob_info(mine.id, ref.blob_id) is None)


async def test_a_file_that_no_message_tells_of_is_gone_from_the_relay(
    town: Town, autojump_clock: MockClock
) -> None:
    """Its sender died behind the upload, or gave it up within; what is told of stays."""
    mine, _ = await town.pair()
    daemon = town.world.daemon
    assert daemon is not None
    store = daemon.store
    told = await mine.upload(bytes(300_000), name="told")
    left = await mine.upload(bytes(300_000), name="left")
    await mine.send_body(told)
    assert store.blob_info(mine.id, left.blob_id) is not None
    mine = (await town.again("ana")).room  # whose earlier life left one behind
    await until(lambda: store.blob_info(mine.id, left.blob_id) is None)

    begun: list[BlobId] = []
    given_up = trio.CancelScope()

    def stop(done: int, count: int) -> None:
        state = mine._client.vault.items(Tables(mine.id).state, b"upload/", b"upload0")
        begun.extend(BlobId(blob) for _, blob in state)
        assert store.blob_info(mine.id, begun[0]) is not None
        given_up.cancel()

    with given_up:
        await mine.upload(bytes(300_000), name="half", progress=stop)
    await until(lambda: store.blob_info(mine.id, begun[0]) is None)
    await settled(mine)
    assert store.blob_info(mine.id, told.blob_id) is not None
    rest = mine._client.vault.items(Tables(mine.id).state, b"upload/", b"upload0")
    assert [*rest] == []


async def test_what_was_left_behind_may_still_be_told_of(
    town: Town, autojump_clock: MockClock
) -> None:
    """By who has kept what to say of it: before the relay is asked to forget it."""
    mine, theirs = await town.pair()
    ref = await mine.upload(b"x" * 1000, name="kept")
    ana = await town.again("ana")
    await ana.room.send_body(ref)
    await texts(theirs, 1)
    await trio.sleep(60)
    assert await theirs.read_file(theirs.messages()[-1]) == b"x" * 1000


async def test_the_evicted_are_out_and_the_others_have_a_new_key(
    town: Town, autojump_clock: MockClock
) -> None:
    """Eve learns it, keeps her history, and reads nothing that follows."""
    mine, theirs = await town.pair()
    evil = await town.join(mine, "eve")
    await mine.send("all of us")
    await texts(evil, 1)
    await mine.evict(evil.me, reason="spam")
    await mine.send("without her")
    assert await texts(theirs, 2) == ["all of us", "without her"]
    await until(lambda: evil.status is RoomStatus.EVICTED)
    assert [m.text for m in evil.messages()] == ["all of us"]
    with pytest.raises(NotAllowed):
        await evil.send("let me in")
    left = [e async for e in theirs.events_since(follow=False) if isinstance(e, MemberLeft)]
    assert [(e.members, e.evicted, e.reason) for e in left] == [((evil.me,), True, "spam")]


async def test_who_leaves_is_gone_and_the_owner_renews_the_key(
    town: Town, autojump_clock: MockClock
) -> None:
    """LEAVE is followed by a boxed rotation without anybody asking for it."""
    mine, theirs = await town.pair()
    await theirs.leave()
    assert theirs.status is RoomStatus.LEFT
    await until(lambda: mine.epoch == 1)
    assert [m.mid for m in mine.members()] == [mine.me]
    events = [e async for e in mine.events_since(follow=False)]
    assert any(isinstance(e, Rotated) and e.boxed for e in events)


async def test_root_is_handed_over_when_the_heir_accepts(
    town: Town, autojump_clock: MockClock
) -> None:
    """Offer, acceptance, HANDOVER, boxed rotation; then the old root may leave."""
    mine, theirs = await town.pair()
    with pytest.raises(NotAllowed) as caught:
        await mine.leave()
    assert caught.value.code == "root_must_hand_over"
    await mine.hand_over(theirs.me)
    await first(theirs.events_since(), HandoverOffered)
    await theirs.accept_handover()
    await until(lambda: theirs.member(theirs.me).role is Role.ROOT and theirs.epoch == 1)
    await mine.leave()
    await until(lambda: len(theirs.members()) == 1)


async def test_a_co_owner_admits_while_root_is_away(town: Town, autojump_clock: MockClock) -> None:
    """The invite's token reaches every owner, so any of them answers."""
    mine, theirs = await town.pair()
    await mine.grant(theirs.me, Role.CO_OWNER)
    code = await mine.invite()
    await until(lambda: mine.head == theirs.head)
    await town.stop("ana")
    carl = await town.person("carl")
    room = await carl.client.join(code, name="Carl")
    assert len(room.members()) == 3


async def test_an_owner_closes_the_expired_invites_of_who_is_gone(
    town: Town, autojump_clock: MockClock
) -> None:
    """Else fifty of them would leave the room without an invite for ever."""
    mine, theirs = await town.pair()
    await mine.grant(theirs.me, Role.CO_OWNER)
    await until(lambda: theirs.member(theirs.me).role is Role.CO_OWNER)
    await theirs.invite(expires_in=3_600_000)
    await until(mine.invites)
    await mine.evict(theirs.me)
    assert mine.invites()
    await trio.sleep(3 * 3600)
    assert not mine.invites()


async def test_a_doorkeeper_bot_admits(town: Town, autojump_clock: MockClock) -> None:
    """A plain member with the cap `admit` answers for the owner, and the cap is shown."""
    mine, theirs = await town.pair()
    await mine.grant(theirs.me, Role.MEMBER, {Cap.ADMIT, Cap.BOT})
    code = await mine.invite(admitters=[mine.me, theirs.me])
    await until(lambda: mine.head == theirs.head)
    assert theirs.member(theirs.me).caps == {Cap.ADMIT, Cap.BOT}
    await town.stop("ana")
    carl = await town.person("carl")
    await carl.client.join(code, name="Carl")


async def test_only_owners_rotate_and_evict(town: Town, autojump_clock: MockClock) -> None:
    """Refused with the protocol's code, locally."""
    mine, theirs = await town.pair()
    for attempt in (theirs.rotate, lambda: theirs.evict(mine.me)):
        with pytest.raises(NotAllowed) as caught:
            await attempt()
        assert caught.value.code == "forbidden"


async def test_names_change(town: Town, autojump_clock: MockClock) -> None:
    """A person's and the room's name and topic reach the others."""
    mine, theirs = await town.pair()
    await theirs.set_name("Bob")
    await mine.rename("orchard", "apples")
    await until(lambda: theirs.name == "orchard" and mine.member(theirs.me).name == "Bob")
    assert theirs.topic == "apples"
    with pytest.raises(NotAllowed):
        await theirs.rename("mine")


# -- keys ----------------------------------------------------------------------------------------


async def test_the_key_is_rotated_by_itself_and_nothing_is_lost(
    town: Town, autojump_clock: MockClock
) -> None:
    """Every ten entries; every tenth rotation boxed; all 120 messages read once, in order."""
    mine, theirs = await town.pair(Policy(rotate_after=10, boxed_every=3))
    said = [f"message {n}" for n in range(60)]
    for text in said:
        await mine.send(text)
    assert await texts(theirs, 60) == said
    await until(lambda: mine.head == theirs.head)
    assert mine.epoch >= 5
    rotations = [e async for e in theirs.events_since(follow=False) if isinstance(e, Rotated)]
    assert {e.boxed for e in rotations} == {True, False}


async def test_a_key_too_old_is_told_once_even_in_a_quiet_room(
    town: Town, autojump_clock: MockClock
) -> None:
    """No owner came in twice the time that the policy gives a key: one warning, and it works on."""
    mine, theirs = await town.pair(Policy(rotate_hours=2))
    await settled(mine, theirs)
    await town.stop("ana")
    await theirs.send("anyone there?")
    heard = theirs.events()
    await trio.sleep(3 * 3600)
    assert not alarms(heard)
    await trio.sleep(24 * 3600)
    assert alarms(heard) == [AlarmKind.KEY_OLD]
    await theirs.send("it works on")
    assert not alarms(heard)


def alarms(heard: EventStream) -> list[AlarmKind]:
    """Those that were raised since they were last asked for."""
    events = iter(heard.receive_nowait, None)
    return [event.kind for event in events if isinstance(event, Alarm)]


def test_what_was_said_does_not_show_in_a_repr() -> None:
    """So that it stands in no log of an application."""
    told = Message(RoomId(b"r"), 1, EventId(b"e"), MemberId(b"m"), "Ana", 0, Sid(b"s"), "secret")
    assert "secret" not in repr(told)


async def test_a_member_offline_through_rotations_reads_all(
    town: Town, autojump_clock: MockClock
) -> None:
    """Routine and boxed rotations while away: everything is readable on return."""
    mine, theirs = await town.pair(Policy(boxed_every=2))
    await until(lambda: mine.head == theirs.head)
    await town.stop("bo")
    for n in range(5):
        await mine.rotate()
        await mine.send(f"epoch {n + 1}")
    bo = await town.person("bo")
    assert await texts(bo.room, 5) == [f"epoch {n}" for n in range(1, 6)]


async def test_two_co_owners_rotating_at_once_converge(
    town: Town, autojump_clock: MockClock
) -> None:
    """Both succeed, one after the other; everybody ends in the same epoch and can talk."""
    mine, theirs = await town.pair()
    await mine.grant(theirs.me, Role.CO_OWNER)
    await until(lambda: mine.head == theirs.head)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mine.rotate)
        nursery.start_soon(theirs.rotate)
    await until(lambda: mine.epoch == theirs.epoch == 2)
    await theirs.send("still here")
    assert await texts(mine, 1) == ["still here"]


def forget_keys(folder: Path, name: str, room: bytes) -> None:
    """As if this vault had never got its room keys."""
    with Vault.open(folder / f"{name}.vault", KEY) as vault, vault.transaction() as tx:
        table = Tables(room).state  # type: ignore[arg-type]
        for key, _ in list(tx.items(table, b"key/", b"key0")):
            tx.delete(table, key)


async def test_a_lost_key_is_asked_for_and_what_waited_is_read_in_order(
    town: Town, autojump_clock: MockClock
) -> None:
    """Messages wait, visibly, until an owner is back; then each is told once, in order."""
    mine, theirs = await town.pair()
    await until(lambda: mine.head == theirs.head)
    await town.stop("bo")
    for text in ("one", "two", "three"):
        await mine.send(text)
    await town.stop("ana")
    forget_keys(town.folder, "bo", theirs.id)
    bo = await town.person("bo")
    start = bo.room.cursor()
    await until(lambda: [m.unreadable for m in bo.room.messages()] == ["missing_key"] * 3)
    await town.person("ana")
    got: list[str] = []
    with trio.fail_after(30):
        async for event in bo.room.events_since(start):
            if isinstance(event, MessageReceived):
                got.append(event.message.text)
            if len(got) == 3:
                break
    assert got == ["one", "two", "three"]
    assert bo.room.unread == 3


async def test_what_a_later_key_can_not_open_becomes_a_marker(
    town: Town, autojump_clock: MockClock
) -> None:
    """The key of an epoch that is over is never given out: a marker stands there, talk goes on."""
    mine, theirs = await town.pair()
    await until(lambda: mine.head == theirs.head)
    await town.stop("bo")
    await mine.send("lost")
    await mine.rotate(boxed=True)
    await mine.send("found")
    forget_keys(town.folder, "bo", theirs.id)
    bo = await town.person("bo")
    await until(lambda: len(bo.room.messages()) == 2 and bo.room.is_live)
    lost, found = bo.room.messages()
    assert (lost.unreadable, lost.text) == ("key_lost", "")
    assert found.text == "found"
    await bo.room.send("I am here")


async def test_an_owner_who_lost_the_key_makes_a_new_one(
    town: Town, autojump_clock: MockClock
) -> None:
    """Alone with it, root renews the key by itself after a minute, and the room goes on."""
    mine, theirs = await town.pair()
    await until(lambda: mine.head == theirs.head)
    await town.stop("ana")
    forget_keys(town.folder, "ana", mine.id)
    ana = await town.person("ana")
    await until(lambda: ana.room.epoch == 1, seconds=100)
    await ana.room.send("new key")
    assert await texts(theirs, 1) == ["new key"]


# -- what the application learns -----------------------------------------------------------------


async def test_a_refusal_for_good_is_told_and_the_next_message_goes_on(
    town: Town, autojump_clock: MockClock
) -> None:
    """The relay's code comes typed; the next message takes the counter, and alarms nobody."""
    mine, theirs = await town.pair()
    not_his = await mine.send("mine")
    at_bo, at_ana = theirs.events(), mine.events()
    with pytest.raises(RelayRefused) as caught:
        await theirs.redact(not_his.event_id)
    await theirs.send("sorry")
    await until(lambda: mine.head == theirs.head)
    assert caught.value.code == "forbidden"
    assert not [e for e in (*drain(at_bo), *drain(at_ana)) if isinstance(e, Alarm)]
    [failed] = theirs.outbox()
    assert (failed.stage, failed.code) == ("failed", "forbidden")
    assert theirs.discard(failed.sid)
    assert theirs.outbox() == []
    assert await texts(mine, 2) == ["mine", "sorry"]


def drain(stream: EventStream) -> list[AppEvent]:
    """What is queued for this reader."""
    return list(iter(stream.receive_nowait, None))


async def test_live_events_are_told_to_every_listener(
    town: Town, autojump_clock: MockClock
) -> None:
    """Edits come as MessageEdited with the text as it reads now."""
    mine, theirs = await town.pair()
    with theirs.events() as events:
        sent = await mine.send("a")
        await mine.edit(sent.event_id, "b")
        with trio.fail_after(10):
            edited = await first(events, MessageEdited)
    assert edited.message.text == "b"


async def test_a_request_without_a_link_ends_in_offline(
    town: Town, autojump_clock: MockClock
) -> None:
    """After the client's patience, with the reason; what was queued is still queued."""
    mine, _ = await town.pair()
    town.world.reachable = False
    town.world.cut_links()
    with pytest.raises(Offline):
        await mine.invite()
    with pytest.raises(Offline):
        await mine.send("later")
    assert len(mine.outbox()) == 1
    town.world.reachable = True
    await until(lambda: not mine.outbox(), seconds=200)
