"""A bot whose room is moved by force: no handler runs twice for what is said again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from attrs import evolve

from bots import SUMMARISE, Bot, Context, Edit, Key, Member, Message, Reaction, Tables
from bots.backlog import Backlog
from bots.engine import open_engine
from bots.shelf.log_lines import METADATA, Archive
from bots.tables.database import Database
from ofcd.client import Room
from ofcd.protocol.ids import EventId, MemberId, RoomId
from tests.federation.double import local
from tests.federation.test_force import force
from tests.federation.test_force_again import Scene, opened
from tests.world.scene import settle, texts, until

COUNT = Key("count", int, 0)
ROOM = RoomId(bytes(32))


@asynccontextmanager
async def running(bot: Bot, room: Room) -> AsyncIterator[None]:
    async with open_engine(bot, room._client, grace=0.1):
        yield


async def cut(scene: Scene) -> None:
    await scene.old.stop_relay()
    await force(scene.ana, scene.new)
    await settle(scene.rooms)


async def test_a_bot_takes_what_is_said_again_for_what_it_has_had(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Its answer is there once; what is done to that message later has the id that it kept."""
    bot = Bot("counting")
    ran: list[tuple[str, EventId]] = []
    changed: list[bytes | None] = []

    @bot.on(Message)
    async def count(ctx: Context, message: Message) -> None:
        ctx.memory.room[COUNT] += 1
        ran.append((message.text, message.id))
        await message.reply(f"that was {ctx.memory.room[COUNT]}")

    @bot.on(Edit)
    async def edited(ctx: Context, edit: Edit) -> None:
        changed.append(edit.target)

    @bot.on(Reaction)
    async def reacted(ctx: Context, reaction: Reaction) -> None:
        changed.append(reaction.target)
        changed.append(reaction.target_sid)

    async with opened(tmp_path) as scene, running(bot, scene.cai):
        await scene.is_cut_off()
        await scene.ana.send("one")
        await settle([scene.ana, scene.cai])
        await until(lambda: texts(scene.ana) == ["one", "that was 1"])
        await cut(scene)
        await scene.ana.send("two")
        await settle(scene.rooms)
        said = ["one", "that was 1", "two", "that was 2"]
        assert sorted(texts(scene.bo)) == sorted(said)
        assert [text for text, _ in ran] == ["one", "two"]
        now = {message.text: message for message in scene.bo.messages(since=0)}
        assert now["one"].event_id != ran[0][1]
        await scene.ana.edit(now["one"].event_id, "one, edited")
        await scene.bo.react(now["that was 1"].event_id, "👍")
        await settle(scene.rooms)
        await trio.sleep(5)
        kept = {m.text: m for m in scene.cai.messages(since=0)}
        assert changed == [ran[0][1], kept["that was 1"].first_id, kept["that was 1"].sid]


async def test_a_handler_under_way_while_the_log_is_cut_has_done_nothing(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """It runs once more when that is said again, and says the same under the same ids."""
    bot, gate = Bot("slow"), trio.Event()
    ran: list[EventId] = []

    @bot.on(Message, timeout=3600)
    async def slow(ctx: Context, message: Message) -> None:
        ran.append(message.id)
        ctx.memory.room[COUNT] += 1
        await ctx.at_once(f"begun {ctx.memory.room[COUNT]}")
        await gate.wait()
        await message.reply(f"done {ctx.memory.room[COUNT]}")

    async with opened(tmp_path) as scene, running(bot, scene.cai):
        await scene.is_cut_off()
        await scene.ana.send("one")
        await scene.ana.send("two")
        await settle([scene.ana, scene.cai])
        await until(lambda: len(ran) == 1)
        await cut(scene)
        gate.set()
        await settle(scene.rooms)
        await trio.sleep(5)
        await settle(scene.rooms)
        assert sorted(texts(scene.bo)) == ["begun 1", "begun 2", "done 1", "done 2", "one", "two"]
        assert len(ran) == 3
        assert ran[0] == ran[1] != ran[2]
        assert scene.cai.cursor("bot") <= scene.cai.head


async def test_what_was_kept_for_later_is_handed_over_once_it_is_said_again(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """By its id: its place in the log is another one's now. What nobody says again is not."""
    bot = Bot("late")
    missed: list[str] = []

    @bot.on(Message, missed=SUMMARISE)
    async def late(ctx: Context) -> None:
        missed.extend(message.text for message in ctx.missed)

    async with opened(tmp_path) as scene:
        ana, _, cai = scene.rooms
        dan = await local(scene.old, ana, "dan")
        await scene.is_cut_off()
        void, kept = await dan.send("void"), await ana.send("kept")
        await settle([ana, cai])
        await scene.old.stop_client("dan")
        with cai._client.transaction() as tx:
            for sent in (void, kept):
                event = evolve(line(sent.seq, "late"), id=sent.event_id)
                Backlog(tx, cai.id).keep(tx, "late", event)
            cai.set_cursor(tx, cai.head, "bot")
        await cut(scene)
        async with running(bot, cai):
            await until(lambda: missed)
            await trio.sleep(5)
        assert missed == ["kept"]


def test_a_log_bot_keeps_what_comes_to_a_place_that_was_another_ones() -> None:
    """Lines go to where they stand now; what stands nowhere is not found before it does again."""
    database = Database(1)
    METADATA.create_all(database.connection)
    archive = Archive(Tables(database), ROOM)
    for seq, text in ((5, "void"), (6, "moves to 7"), (7, "moves to 9")):
        archive.record(line(seq, text))
    places = {ident("moves to 7"): 7, ident("moves to 9"): 9}
    archive.record(line(6, "new at 6"), places.get)
    archive.record(line(5, "new at 5"), places.get)
    found = [(one.seq, one.text) for one in archive.all()]
    assert found == [(5, "new at 5"), (6, "new at 6"), (7, "moves to 7"), (9, "moves to 9")]
    assert archive.search(["void"]) == []
    places[ident("void")] = 8
    archive.bring_back(places.get)
    assert [(one.seq, one.text) for one in archive.search(["void"])] == [(8, "void")]
    database.close()


def test_a_log_bot_moves_as_many_lines_as_there_are() -> None:
    """All that one speaker said stands one place further on, and nothing of it is lost."""
    database, count = Database(1), 1000
    METADATA.create_all(database.connection)
    archive = Archive(Tables(database), ROOM)
    for seq in range(count):
        archive.record(line(seq, f"line {seq}"))
    places = {ident(f"line {seq}"): seq + 1 for seq in range(count)}
    archive.record(line(0, "new"), places.get)
    found = [(one.seq, one.text) for one in archive.all()]
    assert found == [(0, "new"), *((seq + 1, f"line {seq}") for seq in range(count))]
    database.close()


def ident(text: str) -> EventId:
    return EventId(text.encode().ljust(32))


def line(seq: int, text: str) -> Message:
    sender = Member(MemberId(bytes(32)), "ana", None)
    return Message(room=ROOM, seq=seq, id=ident(text), sender=sender, ts=seq, text=text)
