"""Messages that go out: signed, tried again for two days across restarts, then given up aloud.

A letter is kept in the room's memory until it is taken. Its timer sends it, and again after longer
and longer; the answer comes back through the bot's inbox. Only what people say goes out: never the
bot's own words (hooks' among them) nor another bot's, so nothing goes in circles.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Final

from attrs import define, evolve, field, frozen

from bots import (
    Bot,
    Context,
    Group,
    Inbound,
    InboundFailed,
    Inbox,
    Key,
    Message,
    NotServed,
    Rest,
    Tick,
    owners,
)
from bots.log import get_log
from bots.shelf.webhook.settings import WebhookSettings, secret_of
from bots.shelf.webhook.signing import sign
from bots.web import Errands, Guard, Web, WebError, retry_after
from ofcd.client import Client
from ofcd.protocol.ids import EventId, RoomId

__all__ = ["DELAYS", "LETTERS", "Letter", "Sender", "group"]

MINUTE: Final = 60_000
HOUR: Final = 60 * MINUTE
DELAYS: Final = (
    5_000, MINUTE, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 16 * HOUR,
)  # fmt: skip
"""Milliseconds from one try to the next, give or take a fifth."""
WAITING: Final = 200
"""Letters of one room that wait, or were given up."""
_GONE: Final = 410

group = Group()


@frozen
class Letter:
    """A message on its way out."""

    rule: str
    body: str = field(repr=False)
    message: str
    """The id of its event, as hex."""
    tries: int = 0
    not_before: int = 0
    """Milliseconds since 1970: what the other side asked for."""
    timer: str = ""
    dead: bool = False


LETTERS: Final = Key("letter", Letter, Letter("", "", ""))
ON: Final = Key("out", str, "")
"""What a room has agreed to, by rule: `Rule.terms`. Where those are others now, it is off."""


@define(eq=False)
class Sender:
    """Posts letters, beside the rooms."""

    settings: WebhookSettings
    web: Web
    errands: Errands
    inbox: Inbox
    client: Client
    secrets: Mapping[str, bytes] = field(repr=False)

    def start(self, room: RoomId, letter_id: str, letter: Letter) -> None:
        """Begin to post one."""
        self.errands.start(letter_id, partial(self._post, room, letter_id, letter))

    async def _post(self, room: RoomId, letter_id: str, letter: Letter) -> None:
        rule = self.settings.out[letter.rule]
        now, body = self.client.now(), letter.body.encode()
        seconds = now // 1000
        headers = {
            "content-type": "application/json",
            "webhook-id": letter_id,
            "webhook-timestamp": str(seconds),
            "webhook-signature": sign(self.secrets[letter.rule], letter_id, seconds, body),
        }
        try:
            answer = await self.web.fetch(
                rule.url, method="POST", headers=headers, content=body, redirects=0
            )
            outcome = {
                "status": answer.status,
                "wait": retry_after(answer.headers, self.client.now()),
            }
        except WebError as error:
            self.errands.log.info("a letter did not arrive", rule=letter.rule, code=error.code)
            outcome = {"status": 0, "wait": 0}
        try:
            await self.inbox.deliver(
                posted,
                f"{letter_id}/{letter.tries}/{now}",
                json.dumps([letter_id, outcome]),
                room=room,
            )
        except (NotServed, InboundFailed):
            return  # its timer comes again


@group.resource
async def errands(bot: Bot) -> AsyncIterator[Errands]:
    """What is under way beside the rooms."""
    async with Errands.open(get_log(bot.name)) as made:
        yield made


@group.resource
def web(settings: WebhookSettings) -> Web:
    """How this bot goes out; tests override it."""
    return Web(Guard(settings.allow_networks), limit=64 * 1024)


@group.resource
def sender(
    settings: WebhookSettings, web: Web, errands: Errands, inbox: Inbox, client: Client
) -> Sender:
    """What posts."""
    secrets = {name: secret_of(rule.secret_file) for name, rule in settings.out.items()}
    return Sender(settings, web, errands, inbox, client, secrets)


# -- into letters ----------------------------------------------------------------------------------


@group.on(Message, name="matching")
async def matching(ctx: Context, message: Message, settings: WebhookSettings) -> None:
    """A message that a rule is for."""
    for name, rule in settings.out.items():
        agreed = rule.pattern and _is_on(ctx, name, settings)
        if agreed and re.search(rule.pattern, message.text):
            await _write(ctx, name, message.text)


@group.command("send")
async def send(ctx: Context, settings: WebhookSettings, name: str, text: Rest) -> None:
    """Hand something to the outside: `!send tickets the door is broken`."""
    if not _is_on(ctx, name, settings):
        await ctx.reply("Nothing of that name is on in this room.")
        return
    await _write(ctx, name, text)


def _is_on(ctx: Context, name: str, settings: WebhookSettings) -> bool:
    """Whether this room has agreed to the rule as the settings have it now."""
    return name in settings.out and ctx.memory.room[ON.sub(name)] == settings.out[name].terms


async def _write(ctx: Context, name: str, text: str) -> None:
    message = ctx.message
    if sum(1 for _ in ctx.memory.room.under(LETTERS)) >= WAITING:
        await ctx.react("⚠️")
        return
    data = {"id": message.id.hex(), "room": ctx.room.name, "from": message.sender.name}
    body = {
        "type": "message",
        "timestamp": datetime.fromtimestamp(message.ts / 1000, UTC).isoformat(),
        "data": {**data, "member": message.sender.mid.hex(), "text": text},
    }
    letter_id = f"{name}-{message.id.hex()[:32]}"
    key = LETTERS.sub(letter_id)
    letter = Letter(name, json.dumps(body), message.id.hex())
    ctx.memory.room[key] = evolve(letter, timer=ctx.once(push, ctx.now + 1, letter_id))


# -- out, and what comes of it ---------------------------------------------------------------------


@group.timer(overdue="run-once")
async def push(ctx: Context, tick: Tick, sender: Sender) -> None:
    """Post a letter, and come again unless it is taken."""
    key = LETTERS.sub(tick.payload)
    letter = ctx.memory.room[key]
    if key not in ctx.memory.room or letter.dead:
        return
    if not _is_on(ctx, letter.rule, sender.settings):
        why = "is not what this room has agreed to any more, so a message was not sent"
        await _give_up(ctx, key, letter, why)
        return
    if letter.tries > len(DELAYS):
        await _give_up(ctx, key, letter, _not_taken(letter))
        return
    if ctx.now < letter.not_before:
        timer = ctx.once(push, letter.not_before, tick.payload)
        ctx.memory.room[key] = evolve(letter, timer=timer)
        return
    delay = DELAYS[min(letter.tries, len(DELAYS) - 1)]
    again = int(delay * random.uniform(0.8, 1.2))  # noqa: S311 - so that not all come at once
    timer = ctx.once(push, ctx.now + again, tick.payload)
    letter = evolve(letter, tries=letter.tries + 1, timer=timer)
    ctx.memory.room[key] = letter
    sender.start(ctx.room.id, tick.payload, letter)


@group.inbound(name="posted")
async def posted(ctx: Context, inbound: Inbound) -> None:
    """What came of posting a letter."""
    letter_id, outcome = json.loads(inbound.payload)
    key = LETTERS.sub(letter_id)
    letter = ctx.memory.room[key]
    if key not in ctx.memory.room or letter.dead:
        return
    if 200 <= outcome["status"] < 300:
        ctx.cancel(push, letter.timer)
        del ctx.memory.room[key]
    elif outcome["status"] == _GONE or letter.tries > len(DELAYS):
        ctx.cancel(push, letter.timer)
        await _give_up(ctx, key, letter, _not_taken(letter))
    else:
        ctx.log.info("a letter was not taken", rule=letter.rule, **outcome)
        ctx.memory.room[key] = evolve(letter, not_before=ctx.now + outcome["wait"])


def _not_taken(letter: Letter) -> str:
    return f"took a message in none of {letter.tries} tries"


async def _give_up(ctx: Context, key: Key[Letter], letter: Letter, why: str) -> None:
    ctx.memory.room[key] = evolve(letter, dead=True)
    await ctx.react("⚠️", target=EventId(bytes.fromhex(letter.message)))
    await ctx.send(
        f"{letter.rule} {why}; I keep it. An owner can say {ctx.prefix}out retry {letter.rule}, "
        f"or {ctx.prefix}out drop {letter.rule}.",
        markdown=False,
    )


# -- what owners say -------------------------------------------------------------------------------


@group.command("out on", allow=owners)
async def out_on(ctx: Context, settings: WebhookSettings, name: str) -> None:
    """Have this room's messages handed to the outside."""
    if name not in settings.out:
        known = ", ".join(sorted(settings.out)) or "none"
        await ctx.reply(f"My settings have no such rule; they have: {known}.", markdown=False)
        return
    rule = settings.out[name]
    ctx.memory.room[ON.sub(name)] = rule.terms
    what = f"messages that match {rule.pattern}, and those" if rule.pattern else "messages"
    await ctx.reply(
        f"On. From now on {what} written with !send {name} LEAVE this room, with their sender's "
        f"name: they go to {rule.host}, outside, readable there. `!out off` ends it.",
        markdown=False,
    )


@group.command("out off", allow=owners)
async def out_off(ctx: Context, name: str, sender: Sender) -> None:
    """Hand nothing to the outside any more; what is being posted is broken off."""
    del ctx.memory.room[ON.sub(name)]
    for letter_id, _ in _letters(ctx, name):
        sender.errands.cancel(letter_id)
        del ctx.memory.room[LETTERS.sub(letter_id)]
    await ctx.reply("Off: nothing of this room goes there any more.")


@group.command("out retry", allow=owners)
async def out_retry(ctx: Context, name: str, settings: WebhookSettings) -> None:
    """Send again what was given up."""
    if not _is_on(ctx, name, settings):
        await ctx.reply("Nothing of that name is on in this room.")
        return
    dead = [(letter_id, letter) for letter_id, letter in _letters(ctx, name) if letter.dead]
    for letter_id, letter in dead:
        timer = ctx.once(push, ctx.now + 1, letter_id)
        again = evolve(letter, dead=False, tries=0, not_before=0, timer=timer)
        ctx.memory.room[LETTERS.sub(letter_id)] = again
    await ctx.reply(f"{len(dead)} are sent again.")


@group.command("out drop", allow=owners)
async def out_drop(ctx: Context, name: str) -> None:
    """Forget what was given up."""
    dead = [letter_id for letter_id, letter in _letters(ctx, name) if letter.dead]
    for letter_id in dead:
        del ctx.memory.room[LETTERS.sub(letter_id)]
    await ctx.reply(f"{len(dead)} are forgotten.")


def _letters(ctx: Context, name: str) -> Iterator[tuple[str, Letter]]:
    return ((key, one) for key, one in ctx.memory.room.under(LETTERS) if one.rule == name)
