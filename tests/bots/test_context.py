"""What a handler can do: files, edits, redactions, threads, other rooms, groups, limits."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from bots import Bot, Context, File, Group, Key, Message, Reaction, TextTooLong
from bots.records import Draft
from bots.testing import BotWorld
from ofcd.protocol.ids import RoomId


async def test_files_edits_and_redactions(
    world: BotWorld, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """A file arrives whole; the bot changes and takes back what it said."""
    autojump_clock.autojump_threshold = 0.02  # files are read in threads: give them time
    bot = Bot("maker")
    (tmp_path / "report.txt").write_text("figures")

    @bot.command()
    async def report(ctx: Context) -> None:
        """Send the report."""
        await ctx.message.send_file(tmp_path / "report.txt", caption="as asked")

    @bot.command()
    async def change(ctx: Context) -> None:
        """Change my last words."""
        last = [m for m in ctx.room.messages() if m.mine and m.text][-1]
        await ctx.edit(last.event_id, "changed")

    @bot.command()
    async def forget(ctx: Context) -> None:
        """Take my last words back."""
        last = [m for m in ctx.room.messages() if m.mine and m.text][-1]
        await ctx.redact(last.event_id)

    alice = await world.member("alice")
    room = await world.room(alice, bot)
    await alice.say("!report")
    sent = await room.next_from(bot)
    assert sent.file is not None
    assert (sent.file.name, sent.text) == ("report.txt", "as asked")
    got = await alice.here.fetch_file(sent, tmp_path / "got")
    assert got.read_text() == "figures"
    await alice.say("!help report")
    helped = await room.next_from(bot)
    await alice.say("!change")
    await room.quiet()
    assert room.texts_from(bot)[-1] == "changed"
    await alice.say("!forget")
    await room.quiet()
    gone = room.room.message(helped.event_id)
    assert gone is not None
    assert gone.redacted_by == room.mid_of(bot)


async def test_bytes_go_out_and_come_in_without_a_disk(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """No thread and no file: so virtual time needs no care."""
    bot = Bot("mirror")

    @bot.on(File)
    async def back(ctx: Context, file: File) -> None:
        content = await file.read(limit=300_000)
        await file.send_file(content[::-1], name="back.bin", caption="backwards")

    alice = await world.member("alice")
    room = await world.room(alice, bot)
    content = bytes(range(256)) * 1_100  # two chunks
    await alice.send_file(content, name="there.bin")
    sent = await room.next_from(bot)
    assert sent.file is not None
    assert (sent.file.name, sent.text) == ("back.bin", "backwards")
    assert await alice.here.read_file(sent) == content[::-1]
    await alice.send_file(bytes(300_001), name="large.bin")
    assert "went wrong" in (await room.next_from(bot)).text


async def test_an_answer_in_a_thread_stays_there_and_another_room_can_be_told(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """`thread` begins one; `send(room=…)` speaks elsewhere, in the same transaction."""
    bot = Bot("teller")

    @bot.command()
    async def tell(ctx: Context, message: Message) -> None:
        """Tell all rooms."""
        await message.reply("in a thread", thread=message.id)
        for room in ctx.rooms:
            if room != ctx.room:
                await ctx.send("news", room=room)

    alice, bo = await world.member("alice"), await world.member("bo")
    one, two = await world.room(alice, bot), await world.room(bo, bot)
    said = await alice.say("!tell")
    assert (await one.next_from(bot)).thread == said
    assert (await two.next_from(bot)).text == "news"


async def test_a_handler_serves_only_as_many_rooms_at_once_as_it_says(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """`concurrency=1`: two rooms ask at once, the second waits for the first."""
    bot = Bot("single")
    inside: list[int] = []
    most: list[int] = []

    @bot.command(concurrency=1)
    async def work(ctx: Context) -> None:
        """Take ten seconds."""
        inside.append(1)
        most.append(len(inside))
        await trio.sleep(10)
        inside.pop()
        await ctx.reply("done")

    people = [await world.member(name) for name in ("alice", "bo", "cy")]
    rooms = [await world.room(person, bot) for person in people]
    started = trio.current_time()
    for person in people:
        await person.say("!work")
    for room in rooms:
        assert (await room.next_from(bot)).text == "done"
    assert max(most) == 1
    assert trio.current_time() - started >= 30


async def test_a_group_is_included_under_its_word(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """A module's handlers work in any bot, its commands behind a word of their own."""
    group = Group()

    @group.command()
    async def add(ctx: Context, one: int, two: int) -> None:
        """Add two numbers."""
        await ctx.reply(str(one + two))

    bot = Bot("sums")
    bot.include(group, "sum")
    alice = await world.member("alice")
    room = await world.room(alice, bot)
    await alice.say("!sum add 2 3")
    assert (await room.next_from(bot)).text == "5"
    await alice.say("!sum")
    assert "add" in (await room.next_from(bot)).text


async def test_a_text_that_fits_no_message_is_an_error_of_the_handler(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """`TextTooLong` is raised where it is said, so that the handler can do otherwise."""
    bot = Bot("wordy")

    @bot.command()
    async def speak(ctx: Context) -> None:
        """Say much."""
        with pytest.raises(TextTooLong):
            await ctx.reply("x" * 50_000)
        await ctx.reply("in short")

    alice = await world.member("alice")
    room = await world.room(alice, bot)
    await alice.say("!speak")
    assert (await room.next_from(bot)).text == "in short"


async def test_what_can_not_be_sent_stays_unsaid_and_stops_nothing(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """A text that is none, an unknown room: logged, and the next command is handled."""
    bot = Bot("clumsy")

    @bot.command()
    async def nul(ctx: Context) -> None:
        """Say a NUL."""
        await ctx.reply("a\0b")

    @bot.command()
    async def elsewhere(ctx: Context) -> None:
        """Speak in a room that is not there."""
        await ctx.send("hello?", room=RoomId(bytes(32)))

    @bot.command()
    async def fine(ctx: Context) -> None:
        """Work."""
        await ctx.reply("fine")

    alice = await world.member("alice")
    room = await world.room(alice, bot)
    with capture_logs() as logs:
        for word in ("!nul", "!elsewhere", "!fine"):
            await alice.say(word)
        assert (await room.next_from(bot)).text == "fine"
    assert len([log for log in logs if log["event"] == "could not be said"]) == 2


def test_a_draft_reads_its_own_writes_and_leaves_its_base_alone() -> None:
    """Nested drafts: what an inner one writes is seen there, and outside only once written."""

    class Nothing:
        def get(self, table: str, record_id: bytes) -> bytes | None:
            """No record."""
            return None

        def items(self, *_: object):  # type: ignore[no-untyped-def]
            """No records."""
            return iter(())

    outer = Draft(Nothing())
    inner = Draft(outer)
    inner.put("t", b"a", b"1")
    assert list(inner.items("t")) == [(b"a", b"1")]
    assert outer.get("t", b"a") is None
    inner.write(outer)
    assert outer.get("t", b"a") == b"1"
    inner.delete("t", b"a")
    assert list(inner.items("t")) == []


async def test_a_default_is_no_ones_to_change(world: BotWorld, autojump_clock: MockClock) -> None:
    """A list that was changed and not assigned back is in no room, this one or another."""
    bot = Bot("lister")
    names = Key("names", list[str], [])

    @bot.command()
    async def add(ctx: Context, name: str, *, keep: bool = False) -> None:
        """Add a name, and perhaps keep the list."""
        found = ctx.memory.room[names]
        found.append(name)
        if keep:
            ctx.memory.room[names] = found
        await ctx.reply(" ".join(found))

    alice = await world.member("alice")
    one, other = [await world.room(alice, bot, name=name) for name in ("one", "other")]
    for room, text in ((one, "!add a"), (one, "!add b --keep"), (one, "!add c"), (other, "!add d")):
        await room.room.send(text)
        await room.quiet()
    assert one.texts_from(bot) == ["a", "b", "b c"]
    assert other.texts_from(bot) == ["d"]


async def test_a_reaction_says_which_of_the_bots_messages_it_is_on(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """By what `ctx.send` returned for it: so a handler finds what it kept under that."""
    bot = Bot("asker")
    asked = Key("asked", str, "")

    @bot.command()
    async def ask(ctx: Context, what: str) -> None:
        """Ask something."""
        sid = await ctx.send(f"{what}?")
        ctx.memory.room[asked.sub(sid.hex())] = what

    @bot.on(Reaction)
    async def answered(ctx: Context, reaction: Reaction) -> None:
        sid = reaction.target_sid
        about = ctx.memory.room[asked.sub(sid.hex())] if sid else "nothing of mine"
        await ctx.send(f"{reaction.emoji} {about}")

    alice = await world.member("alice")
    room = await world.room(alice, bot)
    said = await alice.say("!ask tea")
    await alice.say("!ask cake")
    await room.quiet()
    tea, cake = room.from_(bot)
    await world.crash_and_restart(bot)
    for target in (cake.event_id, tea.event_id, said):
        await alice.react(target, "👍")
    await room.quiet()
    assert room.texts_from(bot)[2:] == ["👍 cake", "👍 tea", "👍 nothing of mine"]
