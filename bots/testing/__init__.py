"""A world in memory for bots: members say things, replies come out, clocks jump, keys change.

    async def test_the_echo(world, autojump_clock):
        alice = await world.member("alice")
        room = await world.room(alice, bot)
        await alice.say("!echo hello")
        assert (await room.next_from(bot)).text == "hello"

Everything is the real thing but the sockets: relay, links, keys, vaults. Time is virtual: hours
pass at once. `world` is the fixture of `bots.testing.plugin`, or `open_bot_world(folder)`.
"""

from __future__ import annotations

from bots.testing.world import BotWorld, Person, TestRoom, open_bot_world

__all__ = ["BotWorld", "Person", "TestRoom", "open_bot_world"]
