"""A bot that uses what there is, as its author would write it: mypy --strict has nothing to say."""

import enum
import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, assert_type
from zoneinfo import ZoneInfo

from attrs import frozen
from sqlalchemy import MetaData

from bots import (
    RUN,
    SUMMARISE,
    BadValue,
    Bot,
    Choice,
    Context,
    Edit,
    Event,
    File,
    Given,
    Group,
    HandoverOffer,
    Inbound,
    Inbox,
    Join,
    JoinRequest,
    Key,
    Leave,
    Length,
    Match,
    Member,
    Memory,
    Message,
    Named,
    Next,
    NoRight,
    Progress,
    Range,
    Reaction,
    Redacted,
    Renamed,
    Rest,
    RoleChange,
    Room,
    Rotation,
    Tables,
    Tick,
    anyone,
    members,
    overall,
    owners,
    per_command,
    per_member,
    per_member_and_room,
    per_room,
    skip_older_than,
)
from ofcd.client import InviteCode, Sent
from ofcd.protocol.ids import EventId, MemberId, Sid
from ofcd.protocol.records import Cap, Role

bot = Bot("typed", prefix="?", timezone="Europe/Berlin", options={"a": 1})
group = Group()
COUNT = Key("count", int, 0)
NAMES = Key("names", list[str], [])


class Env(enum.Enum):
    """Where to."""

    TEST = "test"
    LIVE = "live"


@frozen
class Service:
    """Something of ours."""

    name: str


@frozen
class Shop:
    """A resource."""

    url: str


@bot.converter(Service, "service")
def find_service(word: str, given: Given) -> Service:
    if not word:
        raise BadValue("is no service")
    assert_type(given.get(Room), Room)
    return Service(word)


@bot.resource
def shop(bot: Bot) -> Shop:
    return Shop(str(bot.options["a"]))


@group.resource
async def opened(shop: Shop, inbox: Inbox) -> AsyncIterator[list[Shop]]:
    await inbox.deliver(arrived, "1", "payload")
    yield [shop]


@bot.middleware
async def layer(ctx: Context, call_next: Next) -> None:
    assert_type(await call_next(ctx), None)


@bot.command(
    "deploy now",
    aliases=["d"],
    allow=owners,
    cooldown=[
        per_member(3, "1m"),
        per_room(1, "1h"),
        per_command(5, timedelta(hours=1)),
        overall(9, "1d"),
    ],
    hidden=True,
    missed=skip_older_than("1h"),
    timeout=5,
    tries=1,
    concurrency=2,
    from_bots=True,
)
async def deploy(
    ctx: Context,
    shop: Shop,
    service: Service,
    who: Named,
    count: Annotated[int, Range(1, 9)],
    name: Annotated[str, Length(1, 9), Match("a+")],
    one_of: Annotated[str, Choice("a", "b")],
    when: datetime,
    *,
    to: Env = Env.TEST,
    rest: Rest = "",
    dry: bool = False,
) -> None:
    assert_type(shop.url, str)
    assert_type(await ctx.reply("done", markdown=False, mention=True), Sid)
    assert_type(await ctx.at_once("now"), Sent)
    async with ctx.working("on it") as progress:
        assert_type(progress, Progress)
        await progress.update("half")
        await progress.done("all")
    assert_type(ctx.once(later, ctx.now + 1, "x"), str)
    assert_type(ctx.cancel(later, "x"), bool)
    assert_type(ctx.memory.bot[COUNT], int)
    ctx.memory.member[COUNT] += 1
    assert_type(ctx.memory.room[NAMES], list[str])
    del ctx.memory.of_member(who.mid)[NAMES]
    for key, value in ctx.memory.room.under(COUNT):
        assert_type((key, value), tuple[str, int])
    assert_type(ctx.message.sender.role, Role | None)
    assert_type(ctx.owner, MemberId | None)
    assert_type(ctx.zone, ZoneInfo)
    ctx.log.info("said", count=count)
    ctx.typing()
    assert_type(await ctx.edit(ctx.message.id, "x"), Sid)
    await ctx.react("x", remove=True)
    await ctx.redact(reason="x")
    await ctx.answer(ctx.missed[0], "x", thread=ctx.message.id)
    await ctx.send_file(Path("x"), caption="y")
    for room in ctx.rooms:
        await ctx.send("hello", room=room)
    await ctx.send("hello", room=ctx.room, mentions=[who.mid])


@bot.command(allow=members("ab"), cooldown=per_member_and_room(3, "1m"))
async def rule(ctx: Context, who: Named) -> None:
    try:
        ctx.evict(who, who.mid, reason="x")
        ctx.grant(who, Role.MEMBER, {Cap.ADMIT})
        ctx.revoke(who)
        ctx.rotate(boxed=True)
        ctx.hand_over(who)
        ctx.accept_handover()
        code = await ctx.invite()
        ctx.close_invite(code.invite_id)
        assert_type(await ctx.invite(role=Role.READONLY), InviteCode)
    except NoRight as lacking:
        assert_type(lacking.code, str)


@bot.on(Message, missed=SUMMARISE, where=lambda event: bool(event.text))
async def summed(ctx: Context, message: Message, who: Member, memory: Memory, room: Room) -> None:
    assert_type(ctx.missed, tuple[Message, ...])
    assert_type(await message.react("x"), Sid)
    assert_type(message.to_me, bool)


@bot.on(re.compile("x"), missed=RUN)
@bot.on("y")
async def matched(ctx: Context) -> None: ...


@bot.on(Reaction, emoji="x", to_own=True)
async def reacted(ctx: Context, reaction: Reaction, tables: Tables) -> None:
    assert_type(reaction.target, EventId)


@bot.on(Event, allow=anyone)
async def anything(event: Event) -> None:
    assert_type(event.seq, int)


@bot.on(Edit)
async def edited(event: Edit) -> None: ...


@bot.on(File)
async def filed(event: File) -> None:
    assert_type(await event.fetch("x"), Path)
    assert_type(await event.read(), bytes)
    await event.send_file(b"x", name="x")


@bot.on(Join)
async def joined(event: Join) -> None:
    assert_type(event.member.is_bot, bool)


@bot.on(Leave)
async def left(event: Leave) -> None: ...


@bot.on(Redacted)
async def redacted(event: Redacted) -> None: ...


@bot.on(Renamed)
async def renamed(event: Renamed) -> None: ...


@bot.on(RoleChange)
async def changed(event: RoleChange) -> None: ...


@bot.on(Rotation)
async def rotated(event: Rotation) -> None: ...


@bot.on(HandoverOffer)
async def offered(event: HandoverOffer) -> None: ...


@bot.on_join_request
async def decide(ctx: Context, request: JoinRequest) -> None:
    assert_type(ctx.admit() or ctx.refuse(request.id), bool)


@bot.every("10m", overdue="skip", for_each_room=False)
async def often(ctx: Context, tick: Tick) -> None:
    assert_type(tick.payload, str)


@bot.at("weekdays 09:00", tz="Europe/Berlin")
async def mornings(ctx: Context) -> None: ...


@bot.timer()
async def later(ctx: Context) -> None: ...


@bot.inbound()
async def arrived(ctx: Context, inbound: Inbound) -> None:
    assert_type(inbound.payload, str)


@bot.on_start
async def started(ctx: Context) -> None: ...


@bot.on_stop
async def stopped(ctx: Context) -> None: ...


bot.tables(MetaData())
bot.include(group, prefix="g")
bot.override(Shop, Shop("test"))
assert_type(bot.run("bot.toml"), int)
