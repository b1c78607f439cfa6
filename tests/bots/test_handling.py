"""What sets off which handler, and what becomes of those that are late, loop, fail or hang."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from bots import (
    SUMMARISE,
    Bot,
    Context,
    Edit,
    Event,
    File,
    Join,
    Key,
    Leave,
    Member,
    Memory,
    Message,
    Next,
    Reaction,
    SetupError,
    owners,
    skip_older_than,
)
from bots.table import build
from bots.testing import BotWorld
from ofcd.client import FileRef
from ofcd.protocol.ids import BlobId, Hash32
from ofcd.protocol.records import Cap
from ofcd.protocol.room import Member as StateMember

NOTED = Key("noted", int, 0)


async def test_every_kind_of_event_reaches_its_handler(
    world: BotWorld, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Patterns, joins, files, edits, reactions and leaves each go to who asked for them."""
    autojump_clock.autojump_threshold = 0.02  # files are read in threads: give them time
    bot = Bot("ears")

    @bot.on(r"(?i)\bhello\b")
    async def greeted(ctx: Context, message: Message) -> None:
        await message.reply(f"hello {message.sender.name}")

    @bot.on(Join)
    async def joined(ctx: Context, event: Join) -> None:
        await ctx.send(f"welcome, {event.member.role}")

    @bot.on(File)
    async def filed(ctx: Context, file: File) -> None:
        path = await file.fetch(tmp_path)
        await ctx.reply(f"{file.info.name}: {path.read_text()}")

    @bot.on(Edit)
    async def edited(ctx: Context, edit: Edit) -> None:
        await ctx.reply(f"now {edit.text}")

    @bot.on(Reaction, emoji="👍", to_own=True)
    async def liked(ctx: Context) -> None:
        await ctx.send("thanks")

    @bot.on(Leave)
    async def left(ctx: Context, event: Leave) -> None:
        await ctx.send(f"{event.names[0]} is gone")

    alice, bo = await world.member("alice"), await world.member("bo")
    room = await world.room(alice, bot)
    said = await alice.say("oh, Hello there")
    hello = await room.next_from(bot)
    assert (hello.text, hello.reply_to) == ("hello alice", said)
    await room.add(bo)
    assert (await room.next_from(bot)).text == "welcome, member"
    (tmp_path / "a.txt").write_text("words")
    await alice.send_file(tmp_path / "a.txt")
    assert (await room.next_from(bot)).text == "a.txt: words"
    await alice.edit(said, "Goodbye")
    assert (await room.next_from(bot)).text == "now Goodbye"
    await alice.react(said, "👍")
    await alice.react(hello.event_id, "🙁")
    await alice.react(hello.event_id, "👍")
    assert (await room.next_from(bot)).text == "thanks"
    await bo.here.leave()
    assert (await room.next_from(bot)).text == "bo is gone"
    await room.quiet()
    assert room.count_from(bot) == 6


async def test_rights_decide_who_may_and_who_sees_it(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """A member is refused an owners' command and does not see it in help; an owner may."""
    bot = Bot("guard")

    @bot.command(allow=owners)
    async def purge(ctx: Context) -> None:
        """Remove everything."""
        await ctx.reply("purged")

    alice, bo = await world.member("alice"), await world.member("bo")
    room = await world.room(alice, bo, bot)
    await bo.say("!purge")
    assert (await room.next_from(bot)).text == "You may not do that here."
    await bo.say("!help")
    assert "purge" not in (await room.next_from(bot)).text
    await alice.say("guard: help")
    assert "!purge" in (await room.next_from(bot)).text
    await alice.say("!purge")
    assert (await room.next_from(bot)).text == "purged"
    await alice.say("!prge")
    assert "!purge" in (await room.next_from(bot)).text


async def test_two_bots_do_not_answer_each_other_and_hops_end_a_loop(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """B6: by default not at all; where both ask for it, the fourth hop is the last."""
    bots = [Bot("ping"), Bot("pong")]
    for bot in bots:

        @bot.on(Message, name="any", from_bots=True)
        async def again(ctx: Context) -> None:
            await ctx.reply("again")

    quiet = Bot("quiet")

    @quiet.on(Message)
    async def answered(ctx: Context) -> None:
        await ctx.reply("only people")

    alice = await world.member("alice")
    room = await world.room(alice, *bots, quiet)
    await alice.say("start")
    await room.quiet(20)
    assert room.count_from(quiet) == 1
    said = [m for bot in bots for m in room.from_(bot)]
    assert max(message.hops for message in said) == 4
    assert len(said) < 40
    await world.pass_time(3_600)
    assert [m for bot in bots for m in room.from_(bot)] == said, "it has ended"


async def test_a_poison_message_is_given_up_and_others_go_on(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """B3: tried three times, then a dead letter, an apology with its id, and the next message."""
    bot = Bot("brittle")
    tried: list[str] = []

    @bot.command()
    async def crack(ctx: Context, word: str) -> None:
        """Break."""
        tried.append(word)
        await ctx.reply("never said")
        raise ValueError(f"secret words: {word}")

    @bot.command()
    async def fine(ctx: Context) -> None:
        """Work."""
        await ctx.reply("fine")

    alice = await world.member("alice")
    room = await world.room(alice, bot)
    with capture_logs() as logs:
        await alice.say("!crack confidential")
        apology = await room.next_from(bot)
        await alice.say("!fine")
        assert (await room.next_from(bot)).text == "fine"
    [letter] = world.dead_letters(bot)
    assert str(letter["id"]) in apology.text
    assert room.mid_of(alice) in apology.mentions, "its owner is told"
    assert tried == ["confidential"] * 3
    given_up = [log for log in logs if log["event"] == "handler given up"]
    assert [log["id"] for log in given_up] == [letter["id"]]
    assert "confidential" not in str(letter) + apology.text


async def test_what_was_said_at_once_takes_no_reply_with_it(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """Run again, a handler that says nothing at once this time is still heard."""
    bot = Bot("hasty")
    runs: list[int] = []

    @bot.command()
    async def work(ctx: Context) -> None:
        """Fail at first, after a word."""
        runs.append(len(runs))
        if len(runs) == 1:
            await ctx.at_once("working")
            raise ValueError
        await ctx.reply("no")

    alice = await world.member("alice")
    room = await world.room(alice, bot)
    await alice.say("!work")
    await room.quiet()
    assert room.texts_from(bot) == ["working", "no"]


async def test_a_handler_that_wants_to_exit_does_not_end_the_bot(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """`sys.exit` in a handler is a failure of that handler."""
    bot = Bot("leaver")

    @bot.command(tries=1)
    async def leave(ctx: Context) -> None:
        """Exit."""
        raise SystemExit(1)

    @bot.command()
    async def fine(ctx: Context) -> None:
        """Work."""
        await ctx.reply("fine")

    alice = await world.member("alice")
    room = await world.room(alice, bot)
    await alice.say("!leave")
    assert "went wrong" in (await room.next_from(bot)).text
    await alice.say("!fine")
    assert (await room.next_from(bot)).text == "fine"


async def test_dead_letters_are_bounded(
    world: BotWorld, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest are kept, in order, and survive a restart; the oldest make room."""
    monkeypatch.setattr("bots.runs._DEAD_LETTERS", 3)
    bot = Bot("brittle")

    @bot.command(tries=1)
    async def crack(ctx: Context, number: int) -> None:
        """Break."""
        raise ValueError

    alice = await world.member("alice")
    room = await world.room(alice, bot)
    for number in range(3):
        await alice.say(f"!crack {number}")
    await room.quiet()
    await world.crash_and_restart(bot)
    last = [await alice.say(f"!crack {number}") for number in range(3, 5)]
    await room.quiet()
    letters = world.dead_letters(bot)
    assert [letter["number"] for letter in letters] == [2, 3, 4]
    positions = [one.seq for one in room.room.messages(since=0) if one.event_id in last]
    assert [letter["seq"] for letter in letters[1:]] == positions


async def test_a_handler_that_hangs_is_cancelled_and_holds_up_no_other_room(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """One room's handler hangs to its limit of 20 s; the other room is answered at once."""
    bot = Bot("slow")

    @bot.command(timeout=20)
    async def wait(ctx: Context) -> None:
        """Hang."""
        await trio.sleep_forever()

    @bot.command()
    async def quick(ctx: Context) -> None:
        """Answer."""
        await ctx.reply("here")

    alice, bo = await world.member("alice"), await world.member("bo")
    one, two = await world.room(alice, bot), await world.room(bo, bot)
    await alice.say("!wait")
    started = trio.current_time()
    await alice.say("!quick")
    await bo.say("!quick")
    assert (await two.next_from(bot)).text == "here"
    assert trio.current_time() - started < 5
    assert "error" in (await one.next_from(bot)).text
    assert 19 < trio.current_time() - started < 25
    assert (await one.next_from(bot)).text == "here"


async def test_malformed_events_are_skipped_and_counted(
    world: BotWorld, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member's client seals what fails a check: the next one is handled, and nobody is told."""
    bot = Bot("steady")
    heard: list[str] = []

    @bot.on(Event)
    async def hear(ctx: Context, event: Event) -> None:
        heard.append(getattr(event, "text", type(event).__name__))

    alice, mallory = await world.member("alice"), await world.member("mallory")
    room = await world.room(alice)
    await room.add(mallory, caps=(Cap.NO_FILES,))
    await room.add(bot)
    await room.quiet()
    heard.clear()
    with monkeypatch.context() as hostile:
        hostile.setattr(StateMember, "may_attach", True)  # a client that does not care
        ref = FileRef(BlobId(bytes(16)), bytes(32), 5, Hash32(bytes(32)), (Hash32(bytes(32)),))
        await mallory.here.send_body(ref)
        await alice.say("good")
        await room.quiet(30)
    assert heard == ["good"]
    assert b'bot_malformed_total{bot="steady"} 1.0' in world.metrics.render()
    assert room.texts_from(bot) == []


async def test_what_a_handler_skips_for_its_age_is_counted(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """Never silently (B2): by `skip_older_than` on what is no command, too."""
    bot = Bot("late")
    heard: list[str] = []

    @bot.on(Message, missed=skip_older_than("10m"))
    async def hear(ctx: Context, message: Message) -> None:
        heard.append(message.text)

    alice = await world.member("alice")
    room = await world.room(alice, bot)
    await world.stop(bot)
    await alice.say("old")
    await world.pass_time(1_200)
    await alice.say("new")
    await world.start(bot)
    await room.quiet(30)
    assert heard == ["new"]
    assert b'bot_dropped_total{bot="late",reason="age"} 1.0' in world.metrics.render()


async def test_old_commands_are_not_run_but_named(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """B2: after an hour away old commands are not carried out, and one note says which."""
    bot = Bot("away")
    ran: list[str] = []
    summed: list[int] = []

    @bot.command()
    async def do(ctx: Context, what: str) -> None:
        """Do something."""
        ran.append(what)

    @bot.on(Message, missed=SUMMARISE)
    async def read(ctx: Context) -> None:
        if ctx.missed:
            summed.append(len(ctx.missed))

    alice = await world.member("alice")
    room = await world.room(alice, bot)
    await world.stop(bot)
    for what in ("one", "two"):
        await alice.say(f"!do {what}")
        await alice.say(f"about {what}")
    await world.pass_time(3_600)
    await alice.say("!do three")
    await world.start(bot)
    note = await room.next_from(bot)
    assert "!do, !do" in note.text
    await room.quiet(30)
    assert ran == ["three"]
    assert summed == [2]
    assert room.count_from(bot) == 1
    await world.crash_and_restart(bot)
    await room.quiet(30)
    assert (ran, summed, room.count_from(bot)) == (["three"], [2], 1)


async def test_it_follows_rotations_and_reads_what_it_missed_in_order(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """B4: keys that change before, during and after its absence cost it no message."""
    bot = Bot("reader")
    heard: list[str] = []

    @bot.on(Message)
    async def hear(ctx: Context, message: Message) -> None:
        heard.append(message.text)

    alice = await world.member("alice")
    room = await world.room(alice, bot)
    said = []
    for number in range(9):
        if number == 3:
            await world.stop(bot)
        if number == 6:
            await world.start(bot)
        await world.rotate(room, boxed=number % 2 == 0)
        said.append(str(number))
        await alice.say(said[-1])
    await room.quiet()
    assert heard == said


async def test_an_evicted_bot_says_so_and_stops(world: BotWorld, autojump_clock: MockClock) -> None:
    """Its log says it was evicted; started again, it says so once more and tries nothing."""
    bot = Bot("gone")
    alice = await world.member("alice")
    room = await world.room(alice, bot)
    with capture_logs() as logs:
        await room.room.evict(room.mid_of(bot))
        await world.pass_time(60)
        await world.stop(bot)
        await world.start(bot)
        await world.pass_time(600)
    said = [log["event"] for log in logs if "evicted" in log["event"]]
    assert len(said) == 2


async def test_middleware_resources_and_memory(world: BotWorld, autojump_clock: MockClock) -> None:
    """Layers run outside in, resources come by type, memory is by member and outlives the bot."""
    bot = Bot("notes")
    order: list[str] = []

    class Store:
        def __init__(self) -> None:
            self.name = "real"

    globals()["Store"] = Store  # where its annotation is looked up

    @bot.resource
    async def make() -> Store:
        return Store()

    @bot.middleware
    async def outer(ctx: Context, call_next: Next) -> None:
        order.append("outer")
        await call_next(ctx)

    @bot.middleware
    async def inner(ctx: Context, call_next: Next) -> None:
        order.append("inner")
        await call_next(ctx)

    @bot.command()
    async def note(ctx: Context, store: Store, memory: Memory, sender: Member) -> None:
        """Count your notes."""
        memory.member[NOTED] += 1
        await ctx.reply(f"{sender.name} {memory.member[NOTED]} {store.name}")

    alice, bo = await world.member("alice"), await world.member("bo")
    room = await world.room(alice, bo, bot)
    await alice.say("!note")
    assert (await room.next_from(bot)).text == "alice 1 real"
    await world.stop(bot)
    fake = Store()
    fake.name = "fake"
    bot.override(Store, fake)
    await world.start(bot)
    await bo.say("!note")
    assert (await room.next_from(bot)).text == "bo 1 fake"
    await alice.say("!note")
    assert (await room.next_from(bot)).text == "alice 2 fake"
    assert order == ["outer", "inner"] * 3


def test_a_bot_that_contradicts_itself_is_refused_with_the_fix() -> None:
    """Unknown parameters, two handlers of one name, a plain function: each before it runs."""
    bot = Bot("wrong")

    @bot.on(Message)
    async def lost(ctx: Context, what: int) -> None: ...

    with pytest.raises(SetupError, match="lost asks for what"):
        build(bot)
    with pytest.raises(SetupError, match="async def plain"):

        @bot.command()  # type: ignore[type-var]
        def plain() -> None: ...
