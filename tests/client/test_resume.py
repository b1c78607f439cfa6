"""Links break, relays and clients stop and start: nothing is lost, nothing comes twice."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from ofcd import themis
from ofcd.client import (
    Alarm,
    LinkStateChanged,
    MessageReceived,
    Offline,
    Room,
    RoomStatus,
    Sent,
    Vault,
    VaultError,
    VaultUnwritable,
)
from ofcd.client.controls import ControlDesk
from ofcd.client.link import RelayMachine
from ofcd.client.turn import Turn
from ofcd.protocol import frames
from ofcd.protocol.ids import Sid
from ofcd.protocol.records import Role
from ofcd.testing import open_world
from ofcd.themis.errors import CoreFailed
from tests.client.world import KEY, Town, settled, texts, until


async def test_a_core_that_breaks_off_costs_the_link_and_not_the_client(
    town: Town, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Themis fails in the midst of a turn: nothing of it is kept, and all of it is done again."""
    mine, theirs = await town.pair()
    receive = RelayMachine.receive
    broken: list[frames.Delivery] = []

    def failing(machine: RelayMachine, turn: Turn, frame: frames.RelayFrame) -> None:
        receive(machine, turn, frame)
        if isinstance(frame, frames.Delivery) and not broken:
            broken.append(frame)
            raise CoreFailed("no memory left in the sandbox")

    monkeypatch.setattr(RelayMachine, "receive", failing)
    with suppress(VaultError):  # if it was the sender's turn: queued all the same
        await mine.send("hello")
    await settled(mine, theirs)
    assert broken
    assert await texts(theirs, 1) == ["hello"]


async def test_an_accepted_handover_outlives_the_client_that_should_carry_it_out(
    town: Town, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root's client stops between the heir's acceptance and HANDOVER: it goes on where it was."""
    mine, theirs = await town.pair()
    with monkeypatch.context() as held:
        held.setattr(ControlDesk, "pump", lambda *_: None)
        await mine.hand_over(theirs.me)
        await until(lambda: theirs.head == mine.head)
        await theirs.accept_handover()
        await settled(mine, theirs)
        assert theirs.member(theirs.me).role is Role.MEMBER
        await town.stop("ana")
    ana = await town.person("ana")
    await until(lambda: theirs.member(theirs.me).role is Role.ROOT)
    await settled(ana.room, theirs)
    assert ana.client._core(ana.room.id).head.accepted_seq == -1


async def test_what_is_said_offline_is_sent_later_once_and_in_order(
    town: Town, autojump_clock: MockClock
) -> None:
    """Queued without a relay, through a restart of the client; there once, in order, afterwards."""
    mine, theirs = await town.pair()
    await town.world.stop_relay()
    for text in ("one", "two", "three"):
        with pytest.raises(Offline):
            await mine.send(text)
    ana = await town.again("ana")
    assert len(ana.room.outbox()) == 3
    await town.world.start_relay()
    assert await texts(theirs, 3) == ["one", "two", "three"]
    await settled(ana.room, theirs)


async def test_an_ack_that_was_lost_costs_nothing(
    town: Town, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The link breaks just before the Ack and the delivery: sent again, there once."""
    mine, theirs = await town.pair()
    lose_next(monkeypatch, town, frames.Ack)
    sent = await mine.send("once")
    await settled(mine, theirs)
    assert [(m.text, m.seq) for m in theirs.messages()] == [("once", sent.seq)]


def lose_next(monkeypatch: pytest.MonkeyPatch, town: Town, kind: type[object]) -> None:
    """The next frame of this kind reaches nobody: every link breaks instead."""
    receive = RelayMachine.receive
    armed = [True]

    def losing(machine: RelayMachine, turn: Turn, frame: frames.RelayFrame) -> None:
        if armed[0] and isinstance(frame, kind):
            armed[0] = False
            turn.drop = "lost"
            return
        if armed[0] or not turn.drop:
            receive(machine, turn, frame)

    monkeypatch.setattr(RelayMachine, "receive", losing)


@pytest.mark.parametrize(
    "kind",
    [
        frames.ChainPage,
        frames.JoinStatus,
        frames.JoinAnswer,
        frames.JoinAsked,
        frames.JoinConfirmed,
        frames.Attached,
        frames.Synced,
        frames.Done,
    ],
)
async def test_a_join_survives_the_loss_of_any_answer(
    town: Town,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[object],
) -> None:
    """The link breaks in place of one frame of each kind: one member in the end, who can talk."""
    mine = await town.found()
    code = await mine.invite()
    bo = await town.person("bo")
    lose_next(monkeypatch, town, kind)
    theirs = await bo.client.join(code, name="Bo")
    await theirs.send("in")
    await settled(mine, theirs)
    assert len(mine.members()) == 2
    assert await texts(mine, 1) == ["in"]


@pytest.mark.parametrize("kind", [frames.Ack, frames.Delivery, frames.Box])
async def test_a_rotation_survives_the_loss_of_any_answer(
    town: Town,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[object],
) -> None:
    """Cut while an eviction is under way: it happens once, and everybody has the key."""
    mine, theirs = await town.pair()
    eve = await town.join(mine, "eve")
    await settled(mine, theirs, eve)
    lose_next(monkeypatch, town, kind)
    await mine.evict(eve.me)
    await until(lambda: theirs.epoch == mine.epoch == 1)
    await theirs.send("only us")
    assert await texts(mine, 1) == ["only us"]
    assert len(mine.members()) == 2


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from("snrcRjb"), min_size=3, max_size=10))
def test_any_interruptions_leave_one_log(
    tmp_path_factory: pytest.TempPathFactory, steps: str
) -> None:
    """Sends, rotations, cuts and restarts in any order: both read the same, each message once."""
    folder = tmp_path_factory.mktemp("w")
    trio.run(interrupted, folder, "".join(steps), clock=MockClock(autojump_threshold=0))


async def interrupted(folder: Path, steps: str) -> None:
    async with open_world(folder) as world:
        town = Town(world)
        await town.pair()
        said = await take_steps(town, steps)
        mine, theirs = town.people["ana"].room, town.people["bo"].room
        await settled(mine, theirs)
        for room in (mine, theirs):
            assert sorted(m.text for m in room.messages(limit=100)) == sorted(said)
        assert mine.epoch == theirs.epoch
        assert mine.room_safety_number() == theirs.room_safety_number()


async def take_steps(town: Town, steps: str) -> list[str]:
    said: list[str] = []
    for number, step in enumerate(steps):
        ana, bo = town.people["ana"], town.people["bo"]
        if step in "sn":
            room, text = (ana if step == "s" else bo).room, f"{step}{number}"
            with room._client.transaction() as tx:
                room.queue(tx, text)
            said.append(text)
        elif step == "r":
            await ana.room.rotate()
        elif step == "c":
            town.world.cut_links()
        elif step == "R":
            await town.world.restart_relay()
        else:
            await town.again("ana" if step == "j" else "bo")
    return said


async def test_a_slow_or_long_absence_catches_up_in_order(
    town: Town, autojump_clock: MockClock
) -> None:
    """A hundred messages while away: all, once, in the order of the log."""
    mine, _ = await town.pair()
    await town.stop("bo")
    with mine._client.transaction() as tx:
        for number in range(100):
            mine.queue(tx, f"m{number}")
    await until(lambda: not mine.outbox())
    bo = await town.person("bo")
    assert await texts(bo.room, 100) == [f"m{number}" for number in range(100)]
    await until(lambda: bo.room.is_live)
    assert bo.room.unread == 100


async def test_opening_does_not_open_the_archive(
    town: Town, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many messages are kept, opening a client opens a handful of records."""
    mine, theirs = await town.pair()
    with mine._client.transaction() as tx:
        for number in range(80):
            mine.queue(tx, f"m{number}")
    await settled(mine, theirs)
    await town.stop("ana")
    opened: list[int] = []
    unseal = themis.unseal

    def counting(key: bytes, sealed: bytes, context: bytes) -> bytes:
        opened.append(1)
        return unseal(key, sealed, context)

    monkeypatch.setattr("ofcd.client.vault.unseal", counting)
    ana = await town.person("ana")
    assert ana.room.name == "garden"
    assert len(opened) < 60


# -- relays that lose, forget or change ----------------------------------------------------------


def relay_folder(town: Town) -> Path:
    return town.folder / "relay"


async def test_19_a_relay_restored_from_an_old_backup_is_found_out(
    town: Town, autojump_clock: MockClock
) -> None:
    """`hub_behind`: what is written waits, and the application knows why; it goes on by itself once
    the log is back."""
    mine, theirs = await town.pair()
    await town.world.stop_relay()
    shutil.copytree(relay_folder(town), town.folder / "old")
    await town.world.start_relay()
    await mine.send("acknowledged, then lost")
    await settled(mine, theirs)
    await town.world.stop_relay()
    shutil.move(relay_folder(town), town.folder / "new")
    shutil.move(town.folder / "old", relay_folder(town))
    await town.world.start_relay()
    await until(lambda: mine.status is RoomStatus.WAITING)
    assert mine.status_code == "hub_behind"
    with pytest.raises(Offline, match="the room's relay has lost part of the room log"):
        await mine.wait_live()
    with mine._client.transaction() as tx:
        mine.queue(tx, "written meanwhile")
    await town.world.stop_relay()
    shutil.rmtree(relay_folder(town))
    shutil.move(town.folder / "new", relay_folder(town))
    await town.world.start_relay()
    await until(lambda: mine.status is RoomStatus.ACTIVE and mine.is_live)
    await mine.send("back")
    said = ["acknowledged, then lost", "written meanwhile", "back"]
    assert await texts(theirs, 3) == said


async def test_a_relay_that_shows_two_logs_is_found_out(
    town: Town, autojump_clock: MockClock
) -> None:
    """Bo speaks on a restored log while Ana knows another: `fork`, and an alarm. Nobody has signed
    both, so nothing is frozen; what Ana reads is what she had read."""
    mine, _ = await town.pair()
    await town.world.stop_relay()
    shutil.copytree(relay_folder(town), town.folder / "old")
    await town.stop("bo")
    await town.world.start_relay()
    await until(lambda: mine.is_live)
    await mine.send("log A")
    alarms = mine.events()
    await town.world.stop_relay()
    shutil.rmtree(relay_folder(town))
    shutil.move(town.folder / "old", relay_folder(town))
    await town.stop("ana")
    await town.world.start_relay()
    alarms.close()
    bo = await town.person("bo")
    await until(lambda: bo.room.is_live)
    await bo.room.send("log B")
    ana = await town.person("ana")
    with ana.client.events() as events, trio.fail_after(60):
        async for event in events:
            if isinstance(event, Alarm):
                break
    assert ana.room.status is RoomStatus.WAITING
    assert ana.room.status_code == "fork"
    assert [m.text for m in ana.room.messages()] == ["log A"]


async def test_a_relay_that_forgot_the_room_deletes_nothing_here(
    town: Town, autojump_clock: MockClock
) -> None:
    """`not_found` hides the room; keys and history stay, and it works again when it is back."""
    mine, theirs = await town.pair()
    await mine.send("kept")
    await settled(mine, theirs)
    await town.world.stop_relay()
    databases = [f for f in relay_folder(town).iterdir() if ".db" in f.name or "sqlite" in f.name]
    assert databases
    (town.folder / "aside").mkdir()
    for file in databases:
        shutil.move(file, town.folder / "aside" / file.name)
    await town.world.start_relay()
    await until(lambda: mine.status is RoomStatus.HIDDEN)
    assert [m.text for m in mine.messages()] == ["kept"]
    assert mine._client._core(mine.id).keys.keys
    await town.world.stop_relay()
    for file in (town.folder / "aside").iterdir():
        shutil.copy(file, relay_folder(town) / file.name)
    await town.world.start_relay()
    await until(lambda: mine.status is RoomStatus.ACTIVE and mine.is_live)
    await mine.send("again")
    await until(lambda: theirs.is_live)
    assert await texts(theirs, 2) == ["kept", "again"]


async def test_another_relay_at_the_same_address_is_not_talked_to(
    town: Town, autojump_clock: MockClock
) -> None:
    """The pin holds: no link, and the reason is told."""
    mine, _ = await town.pair()
    await town.world.stop_relay()
    shutil.rmtree(relay_folder(town))
    await town.world.start_relay()
    with mine._client.events() as events, trio.fail_after(60):
        async for event in events:
            if isinstance(event, LinkStateChanged) and event.detail and event.retry_at:
                break
    await trio.sleep(120)
    assert not mine.is_live
    assert mine.status is RoomStatus.ACTIVE
    [relay] = mine._client.relays
    assert not relay.online
    assert relay.detail


# -- applications: cursor, memory and replies in one transaction ---------------------------------


async def test_an_application_reads_each_event_once_and_replies_once(
    town: Town, autojump_clock: MockClock
) -> None:
    """Stopped after any event, it goes on behind its cursor; replies stand once in the room."""
    mine, theirs = await town.pair()
    said = [f"q{number}" for number in range(6)]
    for text in said:
        await mine.send(text)
    await settled(mine, theirs)
    seen: list[str] = []
    for _ in said:
        await answer_one(town, seen)
        await town.again("bo")
    bo = town.people["bo"]
    await settled(mine, bo.room)
    assert seen == said
    answers = [m.text for m in mine.messages(limit=100) if m.mid == bo.room.me]
    assert sorted(answers) == sorted(f"re: {text}" for text in said)


async def answer_one(town: Town, seen: list[str]) -> None:
    """A little bot: handles one question, then is stopped."""
    bo = town.people["bo"]
    room = bo.room
    async for event in room.events_since(room.cursor("bot")):
        is_question = isinstance(event, MessageReceived) and not event.message.mine
        with bo.client.transaction() as tx:
            if isinstance(event, MessageReceived) and is_question:
                seen.append(event.message.text)
                tx.put("app/bot", event.event_id, event.message.text.encode())
                room.queue(tx, f"re: {event.message.text}", sid=Sid(event.event_id[:16]))
            room.set_cursor(tx, event.seq, "bot")
        if is_question:
            return


async def test_a_failed_transaction_leaves_no_reply_and_no_cursor(
    town: Town, autojump_clock: MockClock
) -> None:
    """Memory, cursor and queued reply go together, or not at all."""
    mine, theirs = await town.pair()

    def fails() -> None:
        with theirs._client.transaction() as tx:
            tx.put("app/bot", b"x", b"1")
            theirs.queue(tx, "never")
            theirs.set_cursor(tx, 99, "bot")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    await theirs.send("after")
    assert (theirs.cursor("bot"), theirs._client.vault.get("app/bot", b"x")) == (-1, None)
    assert await texts(mine, 1) == ["after"]


async def test_the_same_sid_is_the_same_message(town: Town, autojump_clock: MockClock) -> None:
    """Queued again, before or after it was accepted, it stands in the room once."""
    mine, theirs = await town.pair()
    sid = Sid(b"deterministic-id")
    first = await theirs.send("once", sid=sid)
    again = await theirs.send("once", sid=sid)
    assert isinstance(again, Sent)
    assert first == again
    bo = await town.again("bo")
    assert await bo.room.send("other words", sid=sid) == first
    assert await texts(mine, 1) == ["once"]


def queue_many(room: Room, count: int) -> None:
    """Each in a transaction of its own."""
    for number in range(count):
        with room._client.transaction() as tx:
            room.queue(tx, f"m{number} " + "x" * 2000)


async def test_a_full_disk_loses_nothing_and_is_told(town: Town, autojump_clock: MockClock) -> None:
    """The vault can not grow: typed error; with space again, everything goes on."""
    mine, theirs = await town.pair()
    db = mine._client.vault._db
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    db.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(VaultUnwritable):
        queue_many(mine, 200)
    sizes = len(mine.outbox())
    await theirs.send("do you hear me?")
    await trio.sleep(30)
    db.execute("PRAGMA max_page_count=1000000")
    await until(lambda: not mine.outbox() and mine.is_live)
    assert len(mine.messages(limit=1000)) == sizes + 1
    await settled(mine, theirs)


async def test_a_vault_restored_from_a_backup_goes_on(
    town: Town, autojump_clock: MockClock
) -> None:
    """A rolled-back vault's counters are behind: own messages are learned back; talk goes on."""
    mine, theirs = await town.pair()
    backup = town.folder / "backup"
    mine._client.vault.backup(backup)
    await mine.send("after the backup")
    await mine.rotate()
    await settled(mine, theirs)
    await town.stop("ana")
    (town.folder / "ana.vault").unlink()
    Vault.restore(backup, town.folder / "ana.vault", KEY).close()
    ana = await town.person("ana")
    await until(lambda: ana.room.is_live)
    await ana.room.send("and now")
    assert await texts(theirs, 2) == ["after the backup", "and now"]
    assert [m.text for m in ana.room.messages()] == ["after the backup", "and now"]
    assert all(m.mine for m in ana.room.messages())
