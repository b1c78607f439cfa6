"""What the tests of the shelf share."""

from __future__ import annotations

from bots import Bot
from bots.testing import Person, TestRoom

__all__ = ["asked", "reactions"]


async def asked(room: TestRoom, bot: Bot, who: Person, text: str) -> str:
    """What the bot answers to a command: its next message that answers one."""
    said = await who.say(text)
    while (answer := await room.next_from(bot)).reply_to != said:
        continue
    return answer.text


async def reactions(room: TestRoom, message: bytes) -> dict[str, int]:
    """What stands on a message, once all is quiet."""
    await room.quiet()
    found = next(one for one in room.room.messages(since=0) if one.event_id == message)
    return {emoji: len(who) for emoji, who in found.reactions}
