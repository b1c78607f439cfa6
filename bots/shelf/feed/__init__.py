"""`feed`: RSS and Atom into rooms: `!feed add https://example.org/feed`.

A feed's timer only begins a poll; it happens beside the room, and its outcome comes back through
the bot's inbox. What is new is said in the commit that remembers it as seen.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from typing import Final, Literal

import trio
from attrs import define, evolve, field, frozen
from cattrs.preconf.json import make_converter

from bots import (
    Bot,
    Context,
    File,
    Inbound,
    InboundFailed,
    Inbox,
    Key,
    Message,
    NotServed,
    Tick,
    per_room,
)
from bots.log import get_log
from bots.options import Duration, read_options
from bots.shelf.feed.opml import NoOpml, read_opml
from bots.shelf.feed.parsing import Item, Parsed, parse
from bots.shelf.feed.state import FEEDS, Feed, failed, news, taken, wait_after
from bots.shelf.words import quoted
from bots.web import (
    BadUrl,
    Errands,
    Fetched,
    Guard,
    Unanswered,
    Web,
    WebError,
    checked_url,
    retry_after,
)
from ofcd.client import BadAttachment
from ofcd.protocol.ids import RoomId

__all__ = ["FeedSettings", "bot"]

MINUTE: Final = 60_000
PARSE_SECONDS: Final = 20.0
PARSERS: Final = 2
OPML_BYTES: Final = 256 * 1024
"""Of a list to be taken over: parsed in place, in some milliseconds."""
_GONE: Final = 410
_converter: Final = make_converter()

bot = Bot("feed")


@frozen
class FeedSettings:
    """[bot.options]."""

    every: Duration = field(factory=lambda: Duration("15m"))
    """From one poll of a feed to the next, give or take a tenth."""
    who: Literal["owners", "anyone"] = "owners"
    """Who may add and remove feeds."""
    allow_networks: list[str] = field(factory=list)
    """Networks that are not public and yet may be fetched from: ["10.1.0.0/16"]."""

    def __attrs_post_init__(self) -> None:
        if self.every.ms < MINUTE:
            raise ValueError("`every` is at least 1m: servers shut out who comes more often")


@bot.resource
def settings(bot: Bot) -> FeedSettings:
    """The bot's options."""
    return read_options(bot.options, FeedSettings)


@bot.resource
def web(settings: FeedSettings) -> Web:
    """How this bot goes out; tests override it."""
    return Web(Guard(settings.allow_networks))


@bot.resource
async def errands(bot: Bot) -> AsyncIterator[Errands]:
    """Polls under way."""
    async with Errands.open(get_log(bot.name)) as made:
        yield made


@frozen
class Outcome:
    """What a poll has brought back."""

    feed: Feed
    items: list[Item] = field(factory=list, repr=False)
    wait: int = 0
    """Milliseconds that the server wants to be left alone."""


class Parser:
    """Reads feeds in threads, a few at once: a large one takes seconds.

    Measured on one core: 17 s of it for a hostile feed of 1 MiB, in proportion to its size.
    """

    def __init__(self) -> None:
        self._threads = trio.CapacityLimiter(PARSERS)

    async def parsed(self, answer: Fetched) -> Parsed:
        """The feed in an answer. Raises `NoFeed`, `Unanswered`."""
        content_type = answer.headers.get("content-type", "")
        with trio.move_on_after(PARSE_SECONDS):
            return await trio.to_thread.run_sync(
                parse,
                answer.body,
                content_type,
                answer.url,
                abandon_on_cancel=True,
                limiter=self._threads,
            )
        raise Unanswered(f"it takes over {PARSE_SECONDS:g} s to read")


@bot.resource
def parser() -> Parser:
    """What reads feeds; tests override it."""
    return Parser()


@define(eq=False)
class Reader:
    """Polls feeds."""

    web: Web
    inbox: Inbox
    errands: Errands
    parser: Parser

    async def read(self, feed: Feed, now: int) -> Outcome:
        """Fetch a feed as it is now; an answer of no use is an outcome, too."""
        headers = {"accept": "application/atom+xml, application/rss+xml, application/xml;q=0.9"}
        if feed.etag:
            headers["if-none-match"] = feed.etag
        if feed.modified:
            headers["if-modified-since"] = feed.modified
        try:
            answer = await self.web.fetch(feed.url, headers=headers)
            return await self._outcome(feed, answer, now)
        except WebError as error:
            return Outcome(failed(feed, str(error)))

    async def _outcome(self, feed: Feed, answer: Fetched, now: int) -> Outcome:
        if answer.status == 304:
            return Outcome(taken(feed, answer, None)[0])
        if answer.status == _GONE:
            return Outcome(evolve(feed, stopped="it is gone for good, its server says"))
        if answer.status != 200:
            why = f"its server answers {answer.status}"
            return Outcome(failed(feed, why), wait=retry_after(answer.headers, now))
        parsed = await self.parser.parsed(answer)
        return Outcome(*taken(feed, answer, parsed))

    def start(self, room: RoomId, feed_id: str, feed: Feed, now: int) -> None:
        """Begin a poll beside the room."""
        self.errands.start(f"{room.hex()}/{feed_id}", partial(self._poll, room, feed_id, feed, now))

    async def _poll(self, room: RoomId, feed_id: str, feed: Feed, now: int) -> None:
        outcome = _converter.unstructure(await self.read(feed, now))
        payload = json.dumps([feed_id, outcome])
        # An id of its own for each poll: what was seen before is told by the feed's own record.
        outside_id = f"{feed_id}/{feed.polls}/{now}"
        try:
            await self.inbox.deliver(polled, outside_id, payload, room=room)
        except (NotServed, InboundFailed):
            return  # its timer comes again


@bot.resource
def reader(web: Web, inbox: Inbox, errands: Errands, parser: Parser) -> Reader:
    """What polls."""
    return Reader(web, inbox, errands, parser)


KNOWN: Final = Key("feed", Feed, Feed(""))
"""A room's feeds, each under a hash of the URL that it was added with."""


def _id_of(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:32]


# -- what members say ------------------------------------------------------------------------------


@bot.command("feed add", cooldown=per_room(10, "1m"), timeout=60, tries=1)
async def add(ctx: Context, settings: FeedSettings, reader: Reader, url: str) -> None:
    """Have a feed's news said in this room."""
    refusal = _refusal(ctx, settings, url)
    if refusal:
        await ctx.reply(refusal, markdown=False)
        return
    ctx.typing()
    outcome = await reader.read(Feed(str(checked_url(url))), ctx.now)
    if outcome.feed.error or outcome.feed.stopped:
        why = outcome.feed.stopped or outcome.feed.error
        await ctx.reply(f"I can not take that: {why}.", markdown=False)
        return
    await ctx.reply(f"Added **{quoted(outcome.feed.title, 80)}**, read every {settings.every}.")
    await _keep(ctx, _id_of(url), outcome, settings)


def _refusal(ctx: Context, settings: FeedSettings, url: str) -> str:
    if not _may(ctx, settings):
        return "Only owners add and remove feeds here."
    try:
        wanted = str(checked_url(url))
    except BadUrl as error:
        return f"I can not take that: {error}."
    feeds = dict(ctx.memory.room.under(KNOWN))
    if _id_of(url) in feeds or wanted in {feed.url for feed in feeds.values()}:
        return "That feed is here already."
    full = len(feeds) >= FEEDS
    return f"A room has at most {FEEDS} feeds: remove one first." if full else ""


def _may(ctx: Context, settings: FeedSettings) -> bool:
    return settings.who == "anyone" or ctx.sender.is_owner


@bot.command("feed import", cooldown=per_room(3, "10m"), timeout=60, tries=1)
async def import_answered(ctx: Context, message: Message, settings: FeedSettings) -> None:
    """Take over the feeds of an OPML file: say this as an answer to it, or as its caption."""
    answered = ctx.room.message(message.reply_to) if message.reply_to else None
    if answered is None or answered.file is None:
        await ctx.reply("Send me an OPML file, and say this as its caption or as an answer to it.")
        return
    await _import(ctx, settings, answered.seq)


@bot.on(File, timeout=60, tries=1)
async def import_sent(ctx: Context, file: File, settings: FeedSettings) -> None:
    """A file whose caption says that it is meant for the bot."""
    if file.text.split() == f"{ctx.prefix}feed import".split():
        await _import(ctx, settings, file.seq)


async def _import(ctx: Context, settings: FeedSettings, seq: int) -> None:
    if not _may(ctx, settings):
        await ctx.reply("Only owners add and remove feeds here.")
        return
    try:
        outlines = read_opml(await ctx.room.read_file(seq, limit=OPML_BYTES))
    except NoOpml as error:
        await ctx.reply(f"I can not take that: {error}.")
        return
    except BadAttachment:
        await ctx.reply(f"I can not take that: it is over {OPML_BYTES // 1024} KiB, or damaged.")
        return
    refused: Counter[str] = Counter()
    for outline in outlines:
        why = _refusal(ctx, settings, outline.url)
        if why:
            refused[why.rstrip(".").removeprefix("I can not take that: ")] += 1
            continue
        feed = Feed(str(checked_url(outline.url)), outline.title, quiet=True)
        feed_id = _id_of(outline.url)
        # One after the other, and each is told of only once it has something new.
        timer = ctx.once(poll, ctx.now + (len(outlines) - refused.total()) * 1_000, feed_id)
        ctx.memory.room[KNOWN.sub(feed_id)] = evolve(feed, timer=timer)
    lines = [f"{count} left out: {why}." for why, count in refused.items()]
    taken = f"Took over {len(outlines) - refused.total()} of {len(outlines)} feeds."
    await ctx.reply("\n".join([taken, *lines]), markdown=False)


@bot.command("feed list")
async def show(ctx: Context) -> None:
    """Say which feeds this room has."""
    lines = [_shown(number, feed) for number, feed in enumerate(_feeds(ctx), start=1)]
    await ctx.reply("\n".join(lines) or "No feeds here: `!feed add https://example.org/feed`.")


def _feeds(ctx: Context) -> list[Feed]:
    return [feed for _, feed in ctx.memory.room.under(KNOWN)]


def _shown(number: int, feed: Feed) -> str:
    state = f" ({feed.stopped or feed.error})" if feed.stopped or feed.error else ""
    return f"{number}. **{quoted(feed.title, 80)}** {feed.url}{quoted(state)}"


@bot.command("feed remove", aliases=("rm",))
async def remove(ctx: Context, settings: FeedSettings, which: str) -> None:
    """Read a feed no more: by its URL, or its number in `!feed list`."""
    if not _may(ctx, settings):
        await ctx.reply("Only owners add and remove feeds here.")
        return
    for number, (feed_id, feed) in enumerate(ctx.memory.room.under(KNOWN), start=1):
        if which in (str(number), feed.url) or _id_of(which) == feed_id:
            ctx.cancel(poll, feed.timer)
            del ctx.memory.room[KNOWN.sub(feed_id)]
            await ctx.reply(f"Removed **{quoted(feed.title, 80)}**.")
            return
    await ctx.reply("There is no such feed here: see `!feed list`.")


# -- polling ---------------------------------------------------------------------------------------


@bot.timer(overdue="run-once")
async def poll(ctx: Context, tick: Tick, settings: FeedSettings, reader: Reader) -> None:
    """Begin a poll, and set the next."""
    key = KNOWN.sub(tick.payload)
    feed = ctx.memory.room[key]
    if key not in ctx.memory.room or feed.stopped:
        return
    feed = evolve(feed, polls=feed.polls + 1, timer=_next(ctx, tick.payload, feed, settings, 0))
    ctx.memory.room[key] = feed
    reader.start(ctx.room.id, tick.payload, feed, ctx.now)


def _next(ctx: Context, feed_id: str, feed: Feed, settings: FeedSettings, wait: int) -> str:
    chance = random.random()  # noqa: S311 - so that not all come at once
    return ctx.once(poll, ctx.now + wait_after(feed, settings.every.ms, wait, chance), feed_id)


@bot.inbound(name="polled")
async def polled(ctx: Context, inbound: Inbound, settings: FeedSettings) -> None:
    """What a poll has brought."""
    feed_id, raw = json.loads(inbound.payload)
    outcome = _converter.structure(raw, Outcome)
    now = ctx.memory.room[KNOWN.sub(feed_id)]
    if outcome.feed.polls != now.polls or now.stopped or not now.url:
        return  # removed meanwhile, or polled again
    ctx.cancel(poll, now.timer)
    await _keep(ctx, feed_id, outcome, settings)


async def _keep(ctx: Context, feed_id: str, outcome: Outcome, settings: FeedSettings) -> None:
    feed = outcome.feed
    if feed.stopped:
        await ctx.send(f"I read **{quoted(feed.title, 80)}** no more: {quoted(feed.stopped)}.")
    else:
        timer = _next(ctx, feed_id, feed, settings, outcome.wait)
        feed = evolve(feed, timer=timer)
    ctx.memory.room[KNOWN.sub(feed_id)] = feed
    if outcome.items:
        await ctx.send(news(feed.title, outcome.items))
