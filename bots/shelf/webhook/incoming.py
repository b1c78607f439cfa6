"""/hook/NAME: signed requests, each said once in the room it is bound to."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping
from typing import Final

import trio
from attrs import define, field

from bots import (
    Bot,
    Context,
    Group,
    Inbound,
    InboundFailed,
    Inbox,
    Key,
    Memory,
    NotServed,
    SetupError,
    owners,
)
from bots.limits import Bucket, Limits, Rate
from bots.log import Log, get_log
from bots.records import Draft
from bots.shelf.webhook.settings import Hook, WebhookSettings, secret_of
from bots.shelf.webhook.signing import BadSignature, check_github, check_standard
from bots.shelf.webhook.texts import NothingToSay, text_of
from bots.web import HttpAnswer, HttpRequest, listen
from ofcd.client import Client
from ofcd.client.webserver import App
from ofcd.protocol.ids import RoomId

__all__ = ["BOUND", "Hooks", "Listener", "group", "said"]

BOUND: Final = Key("bound", str, "")
"""The room of each hook, as hex."""
_PATH: Final = "/hook/"

group = Group()


class Listener:
    """Where requests come from: a socket; tests have another."""

    async def serve(self, app: App, log: Log, settings: WebhookSettings) -> None:
        """Serve until cancelled, where there is a port. Raises `SetupError` if it is not free."""
        if not settings.port:
            return
        try:
            await listen(app, log, address=settings.address, port=settings.port)
        except OSError as error:
            where = f"{settings.address}, port {settings.port}"
            raise SetupError(f"nothing can be taken in on {where}: {error.strerror}") from None


@group.resource
def listener() -> Listener:
    """What this bot listens with; tests override it."""
    return Listener()


@define(eq=False)
class Hooks:
    """Answers the requests."""

    settings: WebhookSettings
    inbox: Inbox
    client: Client
    secrets: Mapping[str, bytes] = field(repr=False)
    limits: Limits = field(factory=Limits)

    async def answer(self, request: HttpRequest) -> HttpAnswer:
        """Check a request, have it said, and answer once that is durable."""
        name = request.path.removeprefix(_PATH)
        hook = self.settings.hooks.get(name) if request.path.startswith(_PATH) else None
        if hook is None:
            return HttpAnswer(404, "there is no such hook")
        if request.method != "POST":
            return HttpAnswer(405, "write POST", (("allow", "POST"),))
        try:
            outside_id = self._check(name, hook, request)
            content_type = request.headers.get("content-type", "application/json")
            text = text_of(hook.template, content_type, request.body)
        except BadSignature as error:
            return HttpAnswer(401, str(error))
        except NothingToSay as error:
            return HttpAnswer(422, str(error))
        return self._limited(name, hook) or await self._say(name, outside_id, text)

    def _check(self, name: str, hook: Hook, request: HttpRequest) -> str:
        secret = self.secrets[name]
        if hook.scheme == "github":
            return check_github(secret, request.headers, request.body)
        now, tolerance = self.client.now(), self.settings.tolerance.ms
        return check_standard(secret, request.headers, request.body, now, tolerance)

    def _limited(self, name: str, hook: Hook) -> HttpAnswer | None:
        bucket = Bucket(name, Rate.parse(hook.rate))
        wait = self.limits.take([bucket], self.client.now())
        if wait is None:
            return None
        seconds = str(math.ceil(wait.wait_ms / 1000))
        return HttpAnswer(429, "that is too much at once", (("retry-after", seconds),))

    async def _say(self, name: str, outside_id: str, text: str) -> HttpAnswer:
        room = Memory(Draft(self.client.vault), None, None).bot[BOUND.sub(name)]
        if not room:
            return HttpAnswer(409, f"no room has asked for this hook: `!hook bind {name}`")
        try:
            fresh = await self.inbox.deliver(
                said, f"{name}:{outside_id}", text, room=RoomId(bytes.fromhex(room))
            )
        except NotServed as error:
            return HttpAnswer(503, str(error), (("retry-after", "30"),))
        except InboundFailed as error:
            return HttpAnswer(500, str(error))
        return HttpAnswer(200, "said" if fresh else "said before")


@group.resource
async def hooks(
    settings: WebhookSettings, listener: Listener, inbox: Inbox, client: Client, bot: Bot
) -> AsyncIterator[Hooks]:
    """The door, open."""
    secrets = {name: secret_of(hook.secret_file) for name, hook in settings.hooks.items()}
    door = Hooks(settings, inbox, client, secrets)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listener.serve, door.answer, get_log(bot.name), settings)
        yield door
        nursery.cancel_scope.cancel()


@group.inbound(name="said")
async def said(ctx: Context, inbound: Inbound) -> None:
    """Say what came."""
    await ctx.send(inbound.payload)


@group.command("hook bind", allow=owners)
async def bind(ctx: Context, settings: WebhookSettings, name: str) -> None:
    """Have what comes to a hook said in this room."""
    if name not in settings.hooks:
        known = ", ".join(sorted(settings.hooks)) or "none"
        await ctx.reply(f"There is no such hook in my settings; there is: {known}.", markdown=False)
        return
    here, bound = ctx.room.id.hex(), ctx.memory.bot[BOUND.sub(name)]
    if bound not in ("", here):
        await ctx.reply("That hook is bound to another room: `!hook unbind` it there first.")
        return
    ctx.memory.bot[BOUND.sub(name)] = here
    await ctx.reply(f"What is posted to /hook/{name} is said here from now on.", markdown=False)


@group.command("hook unbind", allow=owners)
async def unbind(ctx: Context, name: str) -> None:
    """Have a hook said here no more."""
    key = BOUND.sub(name)
    if ctx.memory.bot[key] != ctx.room.id.hex():
        await ctx.reply("No such hook is bound to this room.")
        return
    del ctx.memory.bot[key]
    await ctx.reply(f"/hook/{name} is said here no more.", markdown=False)
