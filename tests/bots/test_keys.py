"""B4: a bot whose keys come late says so, waits, and then handles everything in order."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs
from trio.testing import MockClock

from bots import Bot, Context, Message
from bots.testing import BotWorld
from ofcd.client import Vault
from ofcd.client.model import Tables
from ofcd.protocol.ids import RoomId
from tests.world.renewing import all_renewed, short_days


def listener(heard: list[str]) -> Bot:
    """Writes down what it hears."""
    bot = Bot("listener")

    @bot.on(Message)
    async def hear(ctx: Context, message: Message) -> None:
        heard.append(message.text)

    return bot


def forget_keys(world: BotWorld, room: RoomId) -> None:
    """As if the bot's vault had never got its room keys."""
    path = world.inner.folder / "listener.bot.vault"
    with Vault.open(path, bytes(range(32))) as vault, vault.transaction() as tx:
        table = Tables(room).state
        for key, _ in list(tx.items(table, b"key/", b"key0")):
            tx.delete(table, key)


async def test_what_can_never_be_read_is_told_of_once(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """A key is lost for good: the room hears it once, whatever happens; the bot goes on."""
    heard: list[str] = []
    bot = listener(heard)
    alice = await world.member("alice")
    room = await world.room(alice, bot)
    await room.quiet()
    await world.stop(bot)
    await alice.say("old words")
    await alice.say("more old words")
    await world.rotate(room, boxed=True)
    await alice.say("new words")
    await world.inner.stop_client("alice")
    forget_keys(world, room.room.id)
    await world.start(bot)
    await world.pass_time(100)
    await world.crash_and_restart(bot)
    again = (await world.inner.client("alice")).room(room.room.id)
    await world.pass_time(100)
    assert heard == ["new words"]
    said = [m.text for m in again.messages() if m.name == bot.name]
    assert len(said) == 1
    assert "could not read" in said[0]
    assert b'bot_undecryptable_total{bot="listener"} 2.0' in world.metrics.render()


async def test_without_the_current_key_only_its_log_says_so(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """It can not seal a word either; with the key it handles what waited, and is quiet about it."""
    heard: list[str] = []
    bot = listener(heard)
    alice = await world.member("alice")
    room = await world.room(alice, bot)
    await room.quiet()
    await world.stop(bot)
    await alice.say("words")
    await world.inner.stop_client("alice")
    forget_keys(world, room.room.id)
    with capture_logs() as logs:
        await world.start(bot)
        await world.pass_time(200)
    assert "waiting for a key" in {log["event"] for log in logs}
    again = (await world.inner.client("alice")).room(room.room.id)
    await world.pass_time(60)
    assert heard == ["words"]
    assert [m.text for m in again.messages() if m.name == bot.name] == []


async def test_a_bot_renews_its_own_key(
    world: BotWorld, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As every member does; and what is boxed for the new one it opens, started anew too."""
    short_days(monkeypatch)
    heard: list[str] = []
    bot = listener(heard)
    alice = await world.member("alice")
    room = await world.room(alice, bot)
    await all_renewed(room.room)
    await world.crash_and_restart(bot)
    await world.rotate(room, boxed=True)
    await alice.say("for the new key")
    await room.quiet()
    assert heard == ["for the new key"]
