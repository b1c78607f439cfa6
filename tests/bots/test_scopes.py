"""B5: whose bot it is and what it may do, for all to see, and kept to as far as it can be."""

from __future__ import annotations

from pathlib import Path

import pytest
from trio.testing import MockClock

from bots import Bot, Context, Edit, Join, Message, Reaction, Redacted
from bots.testing import BotWorld
from ofcd.client import FileRef, MessageInvalid, NotAllowed, RelayRefused
from ofcd.client import rooms as client_rooms
from ofcd.protocol.ids import BlobId, Hash32, MemberId
from ofcd.protocol.records import Cap, Role
from ofcd.protocol.room import Member as StateMember


def listener(heard: list[str]) -> Bot:
    """Writes down all it is told of."""
    bot = Bot("listener")

    @bot.command()
    async def ping(ctx: Context) -> None:
        """Answer."""
        heard.append("!ping")
        await ctx.reply("pong")

    @bot.on(Message)
    async def said(ctx: Context, message: Message) -> None:
        heard.append(message.text)

    @bot.on(Edit)
    async def changed(ctx: Context, edit: Edit) -> None:
        heard.append(f"edit: {edit.text}")

    @bot.on(Reaction)
    async def reacted(ctx: Context, reaction: Reaction) -> None:
        heard.append(reaction.emoji)

    @bot.on(Redacted)
    async def gone(ctx: Context) -> None:
        heard.append("redacted")

    @bot.on(Join)
    async def joined(ctx: Context, join: Join) -> None:
        heard.append("join")

    return bot


async def test_only_what_is_addressed_to_it_reaches_its_handlers(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """Commands, mentions, answers and reactions to its words; joins are nobody's words."""
    heard: list[str] = []
    bot = listener(heard)
    alice = await world.member("alice")
    room = await world.room(alice)
    await room.add(bot, caps=(Cap.ONLY_ADDRESSED,))
    me = room.mid_of(bot)
    secret = await alice.say("a secret")
    await alice.edit(secret, "a better secret")
    await alice.react(secret, "🤫")
    await alice.here.redact(secret)
    await alice.say("!ping")
    answer = await room.next_from(bot)
    await alice.react(answer.event_id, "👍")
    mentioned = await alice.say("you there?", mentions=(me,))
    await room.quiet()
    await alice.edit(mentioned, "not you")
    await alice.here.send("an answer", reply_to=answer.event_id)
    await room.add(await world.member("bo"))
    await room.quiet()
    assert heard == ["!ping", "👍", "you there?", "an answer", "join"]
    assert b'bot_dropped_total{bot="listener",reason="scope"} 5.0' in world.metrics.render()


async def test_with_read_all_everything_does(world: BotWorld, autojump_clock: MockClock) -> None:
    """Without the limit, what is said reaches every handler that asks for it."""
    heard: list[str] = []
    bot = listener(heard)
    alice = await world.member("alice")
    room = await world.room(alice, bot)
    said = await alice.say("words")
    await alice.react(said, "👍")
    await room.quiet()
    assert heard == ["words", "👍"]


async def test_a_bot_reads_nothing_from_before_it_joined(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """People may read back to the last rotation; a bot not, unless its invite says so."""
    bot = listener([])
    alice = await world.member("alice")
    room = await world.room(alice)
    await alice.say("before")
    await room.add(bot)
    bo = await world.member("bo")
    await room.add(bo)
    await room.quiet()
    theirs = world.client_of(bot).room(room.room.id)
    assert "before" not in {message.text for message in theirs.messages()}
    assert "before" in {message.text for message in bo.here.messages()}


async def test_a_bot_without_files_sends_none(
    world: BotWorld, autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own client refuses, then the relay; a message that gets through shows as a marker."""
    autojump_clock.autojump_threshold = 0.02
    bot = listener([])
    alice = await world.member("alice")
    room = await world.room(alice)
    await room.add(bot, caps=(Cap.NO_FILES,))
    theirs = world.client_of(bot).room(room.room.id)
    (tmp_path / "file").write_bytes(b"bytes")
    with pytest.raises(NotAllowed):
        await theirs.send_file(tmp_path / "file")
    ref = FileRef(BlobId(bytes(16)), bytes(32), 5, Hash32(bytes(32)), (Hash32(bytes(32)),))
    with pytest.raises(NotAllowed):
        await theirs.send_body(ref)

    monkeypatch.setattr(client_rooms.Room, "may_attach", True)  # a client that does not care
    with pytest.raises(RelayRefused) as refused:
        await theirs.send_file(tmp_path / "file")
    assert refused.value.code == "forbidden"

    monkeypatch.setattr(StateMember, "may_attach", True)
    await theirs.send_body(ref)
    await room.quiet()
    seen = [e async for e in room.room.events_since(0, follow=False)]
    assert [e.reason for e in seen if isinstance(e, MessageInvalid)] == ["may_not_attach"]
    assert [m for m in room.from_(bot) if m.file is not None] == []


async def test_a_bot_is_its_inviters_also_when_they_are_gone(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """All members see whose bot it is; trouble is told to them, and then to root."""
    bot = Bot("helper")
    owners: list[MemberId | None] = []

    @bot.command()
    async def whose(ctx: Context) -> None:
        """Say whose bot I am."""
        owners.append(ctx.owner)
        await ctx.reply("hm")

    alice, bo = await world.member("alice"), await world.member("bo", role=Role.CO_OWNER)
    room = await world.room(alice, bo)
    await world.start(bot)
    await world.client_of(bot).join(await bo.here.invite(caps=(Cap.BOT,)), name=bot.name)
    await alice.say("!whose")
    await room.next_from(bot)
    bo_mid, bot_mid = room.mid_of(bo), room.mid_of(bot)
    sponsor = room.room.member(bot_mid).sponsor
    assert sponsor is not None
    assert (sponsor.mid, sponsor.name, sponsor.gone) == (bo_mid, "bo", "")
    assert room.room.member(bo_mid).sponsor is None

    await bo.here.leave()
    await alice.say("!whose")
    await room.next_from(bot)
    gone = room.room.member(bot_mid).sponsor
    assert gone is not None
    assert (gone.mid, gone.gone) == (bo_mid, "left")
    assert owners == [bo_mid, room.room.me]

    cy = await world.member("cy")
    await room.add(cy)
    assert cy.here.member(bot_mid).sponsor == gone, "who comes later is told the name too"
    await room.room.evict(bot_mid)
    assert room.room.sponsor_of(bot_mid) == gone
