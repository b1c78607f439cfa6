"""feed: what is new is said once, and no feed can hurt the bot or send it inwards."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from bots import SetupError
from bots.options import read_options
from bots.shelf import feed as shelf
from bots.shelf.feed import FeedSettings, Parser
from bots.shelf.feed.opml import NoOpml, read_opml
from bots.shelf.feed.parsing import ITEMS, Item, NoFeed, Parsed, parse
from bots.shelf.feed.state import (
    FEEDS,
    GIVE_UP,
    LONGEST,
    MINUTE,
    SEEN,
    Feed,
    failed,
    news,
    taken,
    wait_after,
)
from bots.testing import BotWorld, Person, TestRoom
from bots.web import Fetched, Web
from tests.bots.shelf.asking import asked
from tests.bots.shelf.internet import Asked, Internet, Reply

bot = shelf.bot
URL = "http://news.example/rss"


def rss(*titles: str, extra: str = "") -> bytes:
    """A feed of these items, newest first."""
    items = "".join(
        f"<item><title>{title}</title><guid>{title}</guid>"
        f"<link>https://news.example/{number}</link></item>"
        for number, title in enumerate(titles)
    )
    return (
        f'<?xml version="1.0"?>{extra}<rss version="2.0"><channel><title>The *News*</title>'
        f"{items}</channel></rss>"
    ).encode()


ATOM = b"""<?xml version="1.0" encoding="utf-8"?><feed xmlns="http://www.w3.org/2005/Atom">
<title>Atom</title><id>x</id>
<entry><title>old</title><id>1</id><updated>2020-01-01T00:00:00Z</updated>
<link href="/one"/></entry>
<entry><title>new</title><id>2</id><updated>2021-01-01T00:00:00Z</updated>
<link href="javascript:alert(1)"/></entry></feed>"""


# -- reading ---------------------------------------------------------------------------------------


def test_rss_and_atom_are_read() -> None:
    """Titles, links made whole, newest first where the items have dates."""
    found = parse(rss("b", "a"), "application/rss+xml", URL)
    assert (found.title, [item.title for item in found.items]) == ("The *News*", ["b", "a"])
    atom = parse(ATOM, "", "http://news.example/atom")
    assert [(item.title, item.link) for item in atom.items] == [
        ("new", ""),
        ("old", "http://news.example/one"),
    ]


BILLION = '<!DOCTYPE x [<!ENTITY a "ha">' + "".join(
    f'<!ENTITY {new} "{f"&{old};" * 10}">' for old, new in zip("abcdefgh", "bcdefghi", strict=True)
) + "]>"  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\x00" * 1_000, b"<html><body>Not found</body></html>", b"{}", b"<rss", b"\xff\xfe<",
        rss("&i;", extra=BILLION),
        rss("&i;", extra=BILLION).decode().encode("utf-16"),
        rss("&a;", extra='<!DOCTYPE x [<!ENTITY a "' + "x" * 50_000 + '">]>'),
        rss("&a;", extra='<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'),
    ],
)  # fmt: skip
def test_what_is_no_feed_or_hostile(body: bytes) -> None:
    """Garbage is said to be none; entities are refused, or mean nothing: nothing grows."""
    try:
        found = parse(body, "application/xml", URL)
    except NoFeed:
        return
    assert sum(len(item.title) for item in found.items) < 1_000
    assert "root:" not in repr([item.title for item in found.items])


@given(st.binary(max_size=300))
def test_any_bytes_are_a_feed_or_none(noise: bytes) -> None:
    """In the middle of a feed, or alone: nothing else is raised."""
    for body in (noise, rss("a").replace(b"<item>", b"<item>" + noise)):
        try:
            parse(body, "", URL)
        except NoFeed:
            continue


def test_titles_can_not_play_tricks() -> None:
    """Markup, lines, hidden and reordering characters in a title are shown for what they are."""
    found = parse(
        rss("&lt;b&gt;x&lt;/b&gt;", "a\nb\u202ec", "**!** [y](http://z.example)"), "", URL
    )
    text = news(found.title, found.items)
    assert "\u202e" not in text
    assert r"\*\*!\*\* \[y\]" in text
    assert len(text.splitlines()) == 4
    assert text.startswith(r"**The \*News\***, 3 new:")


def test_huge_feeds_are_cut() -> None:
    """Two thousand items: the first two hundred count."""
    assert len(parse(rss(*map(str, range(2_000))), "", URL).items) == ITEMS


# -- what is new -----------------------------------------------------------------------------------


def answer(**headers: str) -> Fetched:
    """A good one."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Fetched(200, httpx.Headers(named), b"", URL)


def parsed(*keys: str) -> Parsed:
    """A feed of these."""
    return Parsed("News", [Item(key, key) for key in keys])


@given(st.lists(st.lists(st.sampled_from("abcdefghij"), unique=True, max_size=10), max_size=20))
def test_each_item_is_news_once(polls: list[list[str]]) -> None:
    """However a feed shuffles, drops and repeats its items; at first it is the newest only."""
    feed, told = Feed(URL), []
    for keys in polls:
        first = not feed.seen
        feed, items = taken(feed, answer(), parsed(*keys))
        told += [item.key for item in items]
        assert not first or len(items) <= 1
    assert len(told) == len(set(told))


def test_what_a_feed_still_shows_is_never_forgotten() -> None:
    """Memory is bounded, and what was forgotten is not in the feed."""
    feed = Feed(URL)
    for number in range(SEEN + 50):
        feed, items = taken(feed, answer(), parsed(str(number), "sticky"))
        assert [item.key for item in items] == [str(number)]
    assert len(feed.seen) == SEEN


@given(st.integers(0, 100), st.floats(0, 0.999), st.integers(0, LONGEST))
def test_waits_grow_and_are_bounded(failures: int, chance: float, asked_for: int) -> None:
    """Doubling up to a day, never sooner than the server asks."""
    wait = wait_after(Feed(URL, failures=failures), 15 * MINUTE, asked_for, chance)
    assert max(13 * MINUTE, asked_for) <= wait <= LONGEST * 1.1


def test_a_feed_that_only_fails_is_left_alone() -> None:
    """After so many failures in a row it is stopped, with the reason."""
    feed = Feed(URL)
    for _ in range(GIVE_UP):
        assert not feed.stopped
        feed = failed(feed, "no answer")
    assert feed.stopped.startswith("no answer")


@pytest.mark.parametrize("options", [{"every": "10s"}, {"who": "all"}, {"evry": "1h"}])
def test_slips_in_the_settings_are_named(options: dict[str, Any]) -> None:
    """Before the bot starts."""
    with pytest.raises(SetupError, match=next(iter(options))):
        read_options(options, FeedSettings)


# -- in a room -------------------------------------------------------------------------------------


class Inline(Parser):
    """Reads in place: a virtual clock must not run on meanwhile."""

    async def parsed(self, answer: Fetched) -> Parsed:
        """The feed."""
        await trio.lowlevel.checkpoint()
        return parse(answer.body, answer.headers.get("content-type", ""), answer.url)


class News:
    """A site whose feed a test changes."""

    def __init__(self) -> None:
        self.titles = ["one"]
        self.reply: Reply | None = None
        self.asked: list[Asked] = []

    def __call__(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        if self.reply is not None:
            return self.reply
        etag = f'"{len(self.titles)}"'
        if asked.headers.get("if-none-match") == etag:
            return Reply(304)
        return Reply(200, rss(*reversed(self.titles)), {"etag": etag})


@pytest.fixture
def site() -> News:
    """news.example."""
    return News()


@pytest.fixture
def net(site: News, nursery: trio.Nursery) -> Iterator[Internet]:
    """The net that the bot goes out to."""
    made = Internet(nursery)
    made.site("news.example", site)
    bot.override(Web, Web(network=made))
    bot.override(Parser, Inline())
    yield made
    bot.overrides.clear()
    bot.options.clear()


async def added(world: BotWorld) -> tuple[Person, TestRoom]:
    """A room with the feed."""
    alice = await world.member("alice")
    room = await world.room(alice, bot)
    assert "Added" in await asked(room, bot, alice, f"!feed add {URL}")
    return alice, room


async def test_news_is_said_as_it_comes(
    world: BotWorld, autojump_clock: MockClock, site: News, net: Internet
) -> None:
    """At first the newest item alone, then what is new; an unchanged feed costs a 304."""
    site.titles = ["zero", "one"]
    _, room = await added(world)
    assert "one https://news.example/0" in (await room.next_from(bot)).text
    await world.pass_time(20 * 60)
    site.titles += ["two"]
    await world.pass_time(20 * 60)
    site.titles += [f"n{n}" for n in range(8)]
    await world.pass_time(20 * 60)
    texts = room.texts_from(bot)[2:]
    assert [text.splitlines()[0] for text in texts] == [
        r"**The \*News\***: two https://news.example/0",
        r"**The \*News\***, 8 new:",
    ]
    assert "(and 3 older ones)" in texts[1]
    assert texts[1].endswith("n7 https://news.example/0")
    assert [one.headers.get("if-none-match") for one in site.asked][:3] == [None, '"2"', '"2"']


@pytest.mark.slow
async def test_a_crash_loses_and_doubles_nothing(
    world: BotWorld, autojump_clock: MockClock, site: News, net: Internet
) -> None:
    """The bot dies again and again, at any step of its polls: each item is said once."""
    _, room = await added(world)
    chance = random.Random(7)
    for number in range(12):
        site.titles.append(f"n{number}.")
        await world.stop(bot)
        await world.start(bot, die_after=chance.randrange(5, 250))
        if await world.died(bot, within=1_100):
            await world.crash_and_restart(bot)
        await world.pass_time(200 * (number % 6))
    await world.pass_time(2_000)
    text = "\n".join(room.texts_from(bot))
    assert [text.count(f"n{number}.") for number in range(12)] == [1] * 12


async def test_what_moved_is_followed(
    world: BotWorld, autojump_clock: MockClock, site: News, net: Internet
) -> None:
    """Moved for good, the feed is asked at its new place from then on; the old one no more."""
    alice, room = await added(world)
    new = News()
    net.site("new.example", new)
    site.reply = Reply(301, headers={"location": "http://new.example/feed"})
    await world.pass_time(40 * 60)
    before = len(site.asked)
    assert len(new.asked) >= 1
    await world.pass_time(40 * 60)
    assert len(site.asked) == before
    assert "http://new.example/feed" in await asked(room, bot, alice, "!feed list")


async def test_what_is_gone_is_said_and_left_alone(
    world: BotWorld, autojump_clock: MockClock, site: News, net: Internet
) -> None:
    """410: the room is told, and the server asked no more; `!feed remove` clears it away."""
    alice, room = await added(world)
    site.reply = Reply(410)
    await world.pass_time(20 * 60)
    count = len(site.asked)
    assert "no more" in room.texts_from(bot)[-1]
    await world.pass_time(60 * 60)
    assert len(site.asked) == count
    assert "gone for good" in await asked(room, bot, alice, "!feed list")
    assert "Removed" in await asked(room, bot, alice, "!feed remove 1")
    assert "No feeds" in await asked(room, bot, alice, "!feed list")


async def test_a_server_in_trouble_is_spared(
    world: BotWorld, autojump_clock: MockClock, site: News, net: Internet
) -> None:
    """Its Retry-After is kept to, and its next good answer is taken as ever."""
    _, room = await added(world)
    site.reply = Reply(503, headers={"retry-after": "7200"})
    await world.pass_time(20 * 60)
    assert len(site.asked) == 2
    site.reply, site.titles = None, ["one", "two"]
    await world.pass_time(6_000)
    assert len(site.asked) == 2
    await world.pass_time(1_500)
    assert len(site.asked) >= 3
    assert "two" in room.texts_from(bot)[-1]


async def test_names_that_turn_inwards_later_are_refused(
    world: BotWorld, autojump_clock: MockClock, site: News, net: Internet
) -> None:
    """A feed whose name leads to a private address after it was added is not fetched there."""
    alice, room = await added(world)
    net.names["news.example"] = [["169.254.169.254"]]
    await world.pass_time(20 * 60)
    assert "169.254.169.254" not in net.connected
    assert "not public" in await asked(room, bot, alice, "!feed list")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://127.0.0.1/", "not public"),
        ("http://localhost:8080/x", "not public"),
        ("http://[::ffff:10.0.0.1]/", "not public"),
        ("file:///etc/passwd", "no URL of the web"),
        ("http://me:secret@news.example/", "password"),
        ("http://page.example/", "no RSS or Atom"),
        ("http://nowhere.example/", "no connection"),
    ],
)
async def test_what_can_not_be_added(
    url: str, why: str, world: BotWorld, autojump_clock: MockClock, net: Internet
) -> None:
    """Each with its reason, in the room, and nothing kept."""
    net.site("page.example", lambda _: Reply(body=b"<html>hello</html>"))
    net.names["localhost"] = [["127.0.0.1", "::1"]]
    alice = await world.member("alice")
    room = await world.room(alice, bot)
    assert why in await asked(room, bot, alice, f"!feed add {url}")
    assert "No feeds" in await asked(room, bot, alice, "!feed list")


async def test_who_may_add_and_how_many(
    world: BotWorld, autojump_clock: MockClock, net: Internet
) -> None:
    """Owners, unless the settings say anyone; each feed once; twenty to a room."""
    alice, room = await added(world)
    bo = await world.member("bo")
    await room.add(bo)
    assert "Only owners" in await asked(room, bot, bo, f"!feed add {URL}x")
    assert "Only owners" in await asked(room, bot, bo, "!feed remove 1")
    assert "already" in await asked(room, bot, alice, f"!feed add {URL}")
    for number in range(FEEDS - 1):
        await world.pass_time(10)
        assert "Added" in await asked(room, bot, alice, f"!feed add {URL}{number}")
    assert "at most" in await asked(room, bot, alice, f"!feed add {URL}x")


# -- lists of feeds --------------------------------------------------------------------------------

OPML = b"""<?xml version="1.0" encoding="utf-8"?>
<opml version="2.0"><head><title>mine</title></head><body>
<outline text="Folder"><outline type="rss" text="News" title="The &lt;News&gt;" xmlUrl="%s"/>
<outline type="rss" text="again" xmlUrl="%s"/></outline>
<outline text="a page" htmlUrl="https://page.example/"/>
<outline text="bad" xmlUrl="javascript:alert(1)"/>
<outline text="other" xmlUrl="http://other.example/atom"/>
</body></opml>""" % (URL.encode(), URL.encode())


def test_a_list_of_feeds_is_read_out_of_its_folders() -> None:
    """Each feed once, in order, by its title; pages are no feeds."""
    found = [(one.url, one.title) for one in read_opml(OPML)]
    assert found == [
        (URL, "The <News>"),
        ("javascript:alert(1)", "bad"),
        ("http://other.example/atom", "other"),
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no xml",
        b"<rss/>",
        b"<opml>",
        b'<?xml version="1.0"?><!DOCTYPE o [<!ENTITY a "b">]><opml><body/></opml>',
        b'<?xml version="1.0" encoding="nope"?><opml/>',
        b"\xff\xfe\x00",
    ],
)
def test_what_is_no_list_of_feeds(data: bytes) -> None:
    """Said to be none, never a crash; entities are not even declared."""
    with pytest.raises(NoOpml):
        read_opml(data)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_list_or_none(data: bytes) -> None:
    """Nothing else is raised, and what is found is bounded."""
    with suppress(NoOpml):
        assert len(read_opml(OPML[:60] + data)) <= 200


@pytest.mark.parametrize("how", ["caption", "answer"])
async def test_a_list_is_taken_over(
    how: str,
    world: BotWorld,
    autojump_clock: MockClock,
    site: News,
    net: Internet,
) -> None:
    """Its feeds are read, quietly at first; what can not be taken is counted, with the reason."""
    other = News()
    net.site("other.example", other)
    alice, room = await added(world)
    if how == "caption":
        await alice.send_file(OPML, "!feed import", name="mine.opml")
    else:
        sent = await alice.send_file(OPML, name="mine.opml")
        await alice.here.send("!feed import", reply_to=sent)
    await room.quiet()
    assert room.texts_from(bot)[-1].splitlines() == [
        "Took over 1 of 3 feeds.",
        "1 left out: That feed is here already.",
        "1 left out: that is no URL of the web: write https://example.org/feed.",
    ]
    await world.pass_time(60)
    said = room.count_from(bot)
    assert len(other.asked) == 1
    other.titles += ["two"]
    await world.pass_time(20 * 60)
    assert room.count_from(bot) == said + 1
    assert "two" in room.texts_from(bot)[-1]
    assert "other.example" in await asked(room, bot, alice, "!feed list")


async def test_only_those_who_may_add_feeds_import_them(
    world: BotWorld, autojump_clock: MockClock, site: News, net: Internet
) -> None:
    """A member is refused, an answer to no file is explained, and no OPML is said to be none."""
    alice, room = await added(world)
    bo = await world.member("bo")
    await room.add(bo)
    await bo.send_file(OPML, "!feed import")
    await room.quiet()
    assert room.texts_from(bot)[-1] == "Only owners add and remove feeds here."
    assert "Send me an OPML file" in await asked(room, bot, alice, "!feed import")
    await alice.send_file(b"<rss/>", "!feed import")
    await room.quiet()
    assert room.texts_from(bot)[-1] == "I can not take that: that file is no OPML."
    await alice.send_file(OPML + b" " * 300_000, "!feed import")
    await room.quiet()
    assert "over 256 KiB" in room.texts_from(bot)[-1]
