"""assistant: off until agreed to, streams into one line, and survives every kind of endpoint."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import h11
import pytest
import trio
from trio.testing import MockClock

from bots import SetupError
from bots.options import read_options
from bots.shelf import assistant as shelf
from bots.shelf.assistant import Used, one_more
from bots.shelf.assistant.endpoint import Endpoint, Refused, Turn
from bots.shelf.assistant.settings import AssistantSettings
from bots.testing import BotWorld, Person, TestRoom
from bots.web import Guard, Unanswered, Web, WebError
from ofcd.client import Message
from tests.bots.shelf.asking import asked
from tests.bots.shelf.internet import Asked, Internet, Reply
from tests.sweeps import fewer, stride

bot = shelf.bot
URL = "http://llm.example/v1/chat/completions"
STRIDE = stride(13)
SSE = {"content-type": "text/event-stream"}


def chunk(text: str | None = None, **more: Any) -> bytes:
    """One event of a stream."""
    choice = {"index": 0, "delta": {} if text is None else {"content": text}, **more}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def streamed(*words: str, pause: float = 0.0) -> Reply:
    """A good answer."""
    pieces = [*map(chunk, words), chunk(finish_reason="stop"), DONE]
    return Reply(200, pieces, SSE, pause)


class Model:
    """The endpoint: answers as it is told."""

    def __init__(self) -> None:
        self.reply = streamed("Tea", " is", " hot.")
        self.asked: list[Asked] = []

    def __call__(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        return self.reply

    def turns(self, at: int = -1) -> list[tuple[str, str]]:
        """What it was sent."""
        return [
            (one["role"], one["content"]) for one in json.loads(self.asked[at].body)["messages"]
        ]


@pytest.fixture
def model(nursery: trio.Nursery, tmp_path: Path) -> Iterator[Model]:
    """A bot whose settings allow everything, and its endpoint."""
    made, net = Model(), Internet(nursery)
    net.site("llm.example", made)
    (tmp_path / "key").write_text("sk-secret\n")
    bot.options.update(
        url=URL, allow_http=True, model="m1", rooms=["*"], key_file=str(tmp_path / "key")
    )
    bot.override(Web, Web(network=net, timeout=30))
    yield made
    bot.options.clear()
    bot.overrides.clear()


async def turned_on(world: BotWorld) -> tuple[Person, TestRoom]:
    """A room that has agreed."""
    alice = await world.member("alice")
    room = await world.room(alice, bot)
    assert "LEAVES this room" in await asked(room, bot, alice, "!assistant on")
    return alice, room


async def answer(room: TestRoom, who: Person, text: str, seconds: float = 200) -> Message:
    """The line that answers, when it is done."""
    said = await who.say(text)
    with trio.fail_after(seconds):
        while True:
            lines = [one for one in room.from_(bot) if one.reply_to == said]
            if lines and not lines[-1].text.endswith("…"):
                return lines[-1]
            await trio.sleep(0.25)


# -- consent ---------------------------------------------------------------------------------------


async def test_nothing_leaves_a_room_that_has_not_agreed(
    world: BotWorld, autojump_clock: MockClock, model: Model
) -> None:
    """Off at first, on by an owner's word that all can read, told to newcomers, and off again."""
    alice = await world.member("alice")
    room = await world.room(alice, bot)
    assert "I am off" in await asked(room, bot, alice, "!ask tea?")
    bo = await world.member("bo")
    await room.add(bo)
    assert "may not" in await asked(room, bot, bo, "!assistant on")
    notice = await asked(room, bot, alice, "!assistant on")
    assert "LEAVES this room" in notice
    assert "llm.example" in notice
    cy = await world.member("cy")
    await room.add(cy)
    await room.quiet()
    assert room.texts_from(bot)[-1].startswith("Welcome.")
    assert "LEAVES" in await asked(room, bot, cy, "!assistant")
    await asked(room, bot, alice, "!assistant off")
    assert "I am off" in await asked(room, bot, cy, "!ask tea?")
    assert model.asked == []


@pytest.mark.parametrize("options", [{"rooms": []}, {"rooms": ["ab"]}, {"url": ""}, {"model": ""}])
async def test_settings_have_the_last_word(
    options: dict[str, Any], world: BotWorld, autojump_clock: MockClock, model: Model
) -> None:
    """Without endpoint, model or this room in them, no owner can turn it on; the id is told."""
    bot.options.update(options)
    alice = await world.member("alice")
    room = await world.room(alice, bot)
    assert room.room.id.hex() in await asked(room, bot, alice, "!assistant on")
    assert "I am off" in await asked(room, bot, alice, "!ask tea?")


async def test_only_members_on_the_list_may_ask(
    world: BotWorld, autojump_clock: MockClock, model: Model
) -> None:
    """The others are told so, and nothing is sent."""
    bot.options.update(members=["00"])
    alice, room = await turned_on(world)
    assert "not among those" in await asked(room, bot, alice, "!ask tea?")
    assert model.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "http://other.example/v1/chat/completions",
        "http://llm.example:8080/v1/chat/completions",
        "https://llm.example/v1/chat/completions",
    ],
)
async def test_another_endpoint_is_not_agreed_to(
    url: str, world: BotWorld, autojump_clock: MockClock, model: Model
) -> None:
    """The settings name another host: neither new questions go there, nor one that waited."""
    alice, room = await turned_on(world)
    model.reply = streamed(*["tea "] * 60, pause=1)
    await alice.say("!ask go on?")
    await world.pass_time(0.1)  # its line is said, and nothing is asked yet
    await world.crash(bot)
    assert model.asked == []
    bot.options.update(url=url)
    await world.start(bot)
    await world.pass_time(30)
    assert room.from_(bot)[-1].text == "(I was turned off.)"
    assert "I am off" in await asked(room, bot, alice, "!ask tea?")
    assert model.asked == []
    place = url.split("/")[2] + (" (unencrypted)" if url.startswith("http:") else "")
    assert f"sent to {place}, outside" in await asked(room, bot, alice, "!assistant on")


async def test_off_breaks_off_what_is_under_way(
    world: BotWorld, autojump_clock: MockClock, model: Model
) -> None:
    """An answer that streams ends where it is; a question that waits is not asked."""
    alice, room = await turned_on(world)
    model.reply = streamed(*["tea "] * 60, pause=1)
    said = await alice.say("!ask go on?")
    await world.pass_time(6)
    waiting = await alice.say("!ask and on?")
    await alice.say("!assistant off")
    await world.pass_time(100)
    lines = {one.reply_to: one.text for one in room.from_(bot) if one.reply_to}
    assert lines[said].startswith("tea")
    assert lines[said].endswith("(stopped by alice.)")
    assert lines[waiting] == "(I was turned off.)"
    assert len(model.asked) == 1


@pytest.mark.parametrize("url", ["http://llm.example/v1", "ftp://llm.example/", "llm"])
def test_an_endpoint_is_https_unless_the_operator_says_so(url: str) -> None:
    """Words and key would be read on the way: refused by name before the bot starts."""
    with pytest.raises(SetupError, match=r"url: .*bot\.options"):
        read_options({"url": url}, AssistantSettings)
    assert read_options({"url": "https://a.example/v1"}, AssistantSettings).host == "a.example"


# -- asking ----------------------------------------------------------------------------------------


async def test_an_answer_streams_into_one_line(
    world: BotWorld, autojump_clock: MockClock, model: Model
) -> None:
    """One message in a thread, edited as it grows, and then whole; the key goes along."""
    alice, room = await turned_on(world)
    model.reply = streamed("Tea", " is", " hot", "\u202e.", pause=2)
    said = await alice.say("!ask what is tea?")
    seen: list[str] = []
    while not seen or seen[-1] != "Tea is hot.":
        await trio.sleep(0.5)
        line = room.from_(bot)[-1]
        if line.reply_to == said and line.text not in seen[-1:]:
            seen.append(line.text)
    assert seen == ["…", "Tea …", "Tea is …", "Tea is hot …", "Tea is hot. …", "Tea is hot."]
    assert room.from_(bot)[-1].thread == said
    assert model.asked[0].headers["authorization"] == "Bearer sk-secret"
    assert model.turns()[1:] == [("user", "alice: what is tea?")]


async def test_the_thread_goes_along_and_nothing_else(
    world: BotWorld, autojump_clock: MockClock, model: Model
) -> None:
    """Earlier questions and answers of the thread, in order; not the room's other words."""
    alice, room = await turned_on(world)
    await alice.say("a secret of the room")
    first = await answer(room, alice, "!ask one?")
    assert first.thread is not None
    from ofcd.client import Text

    sent = await alice.here.send_body(Text("!ask two?", thread=first.thread))
    await room.quiet()
    assert model.turns()[1:] == [
        ("user", "alice: one?"),
        ("assistant", "Tea is hot."),
        ("user", "alice: two?"),
    ]
    assert room.from_(bot)[-1].reply_to == sent.event_id


async def test_a_day_has_so_many_questions(
    world: BotWorld, autojump_clock: MockClock, model: Model
) -> None:
    """Those without a word of answer do not count."""
    bot.options.update(per_day=2)
    alice, room = await turned_on(world)
    good, model.reply = model.reply, Reply(500)
    assert "HTTP 500" in (await answer(room, alice, "!ask 0?")).text
    model.reply = good
    for _ in range(2):
        assert (await answer(room, alice, "!ask tea?")).text == "Tea is hot."
    assert "all for today" in await asked(room, bot, alice, "!ask tea?")


def test_tomorrow_is_another_day() -> None:
    """Questions are counted by the day, in UTC."""
    evening = 1_800_057_599_000
    used = one_more(one_more(Used(), evening), evening + 500)
    assert used == Used("2027-01-15", 2)
    assert one_more(used, evening + 1_000) == Used("2027-01-16", 1)


@pytest.mark.parametrize("who", ["alice", "bo"])
async def test_the_asker_or_an_owner_stops_it(
    who: str, world: BotWorld, autojump_clock: MockClock, model: Model
) -> None:
    """By a reaction on the line, in the middle: what was said stays, with who stopped it."""
    alice, room = await turned_on(world)
    bo, cy = await world.member("bo"), await world.member("cy")
    await room.add(bo)
    await room.add(cy)
    model.reply = streamed(*["tea "] * 60, pause=1)
    await bo.say("!ask go on?")
    await world.pass_time(6)
    line = room.from_(bot)[-1]
    await cy.react(line.event_id, "🛑")
    await world.pass_time(4)
    assert room.from_(bot)[-1].text.endswith("…"), "others can not"
    await (alice if who == "alice" else bo).react(line.event_id, "🛑")
    await room.quiet()
    text = room.from_(bot)[-1].text
    assert text.startswith("tea tea")
    assert text.endswith(f"(stopped by {who}.)")


async def test_an_answer_lost_in_a_crash_is_said_to_be(
    world: BotWorld, autojump_clock: MockClock, model: Model
) -> None:
    """Killed in the middle of an answer, the bot says so in its line, and goes on."""
    alice, room = await turned_on(world)
    model.reply = streamed(*["tea "] * 60, pause=1)
    await alice.say("!ask go on?")
    await world.pass_time(5)
    await world.crash_and_restart(bot)
    await world.pass_time(200)
    assert "ask again" in room.from_(bot)[-1].text
    model.reply = streamed("Tea.")
    assert (await answer(room, alice, "!ask tea?")).text == "Tea."


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_no_line_is_left_without_an_end(
    world: BotWorld, autojump_clock: MockClock, model: Model
) -> None:
    """Wherever the bot dies, and is away until the question is too old: no "…" stays."""
    alice, room = await turned_on(world)
    rounds = 0
    while True:
        rounds += 1
        await world.stop(bot)
        await alice.say(f"!ask tea {rounds}?")
        await world.start(bot, die_after=rounds * STRIDE)
        died = await world.died(bot, within=20)
        if died:
            await world.crash(bot)
            await world.pass_time(1_000)
            await world.start(bot)
        await world.pass_time(300)
        open_ones = [one.text for one in room.from_(bot) if one.text.endswith("…")]
        assert open_ones == [], f"after {rounds * STRIDE} steps"
        if not died:
            break
    assert rounds > fewer(5)


# -- every kind of endpoint ------------------------------------------------------------------------

BAD = [
    (Reply(401), "key"),
    (Reply(429), "try again later"),
    (Reply(500, b"<html>secret</html>"), "HTTP 500"),
    (Reply(302, headers={"location": "http://10.0.0.1/"}), "HTTP 302"),
    (Reply(200, b"{}", {"content-type": "application/json"}), "stream"),
    (Reply(200, [chunk("Tea"), b"data: {nonsense\n\n"], SSE), "form that I do not know"),
    (Reply(200, [chunk("Tea"), b'data: {"choices": [{"delta": 7}]}\n\n'], SSE), "do not know"),
    (Reply(200, [b'data: {"error": {"message": "secret"}}\n\n'], SSE), "error of its own"),
    (Reply(200, [chunk("Tea")], SSE), "broke off"),
    (Reply(200, [chunk("Tea")], SSE, cut=True), "broke off"),
    (Reply(200, [chunk("Tea "), *[chunk("x" * 5_000)] * 9], SSE), "longer than I show"),
    (Reply(200, [b"\xff\xfe\x00" * 1_000], SSE), "broke off"),
    (Reply(200, [chunk("Tea"), b""], SSE, pause=31), "in time"),
    (Reply(200, [chunk(" ")] * 200, SSE, pause=5), "not done in 2m"),
    (Reply(200, [DONE], SSE), "said nothing"),
]


@pytest.mark.parametrize(("reply", "words"), BAD)
async def test_an_endpoint_that_fails_is_told_of(
    reply: Reply, words: str, world: BotWorld, autojump_clock: MockClock, model: Model
) -> None:
    """The line ends with what was wrong, keeps what had come, and quotes no error of the other."""
    alice, room = await turned_on(world)
    model.reply = reply
    text = (await answer(room, alice, "!ask tea?")).text
    assert words in text
    assert "secret" not in text
    pieces = reply.body if isinstance(reply.body, list) else []
    assert text.startswith("Tea") == (len(pieces) > 0 and b"Tea" in pieces[0] and reply.pause < 31)


# -- over real sockets -----------------------------------------------------------------------------


async def serve(pieces: list[bytes], stream: trio.SocketStream) -> None:
    """A fake endpoint: one request, and these pieces of an answer."""
    http = h11.Connection(h11.SERVER)
    while not isinstance(event := http.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            http.receive_data(bytes(await stream.receive_some(65_536)))
    headers = [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")]
    await stream.send_all(http.send(h11.Response(status_code=200, headers=headers)) or b"")
    for piece in pieces:
        await stream.send_all(http.send(h11.Data(data=piece)) or b"")
        await trio.lowlevel.checkpoint()
    if pieces[-1] == DONE:
        await stream.send_all(http.send(h11.EndOfMessage()) or b"")
    await stream.aclose()


@pytest.fixture
async def ports(nursery: trio.Nursery) -> AsyncIterator[dict[str, int]]:
    """Real endpoints on this machine, by what they do."""
    kinds = {
        "good": [chunk("Tea "), chunk("is hot."), DONE],
        "split": [chunk("Tea")[:9], chunk("Tea")[9:], DONE],
        "cut": [chunk("Tea")],
    }
    found = {}
    for kind, pieces in kinds.items():
        handler = partial(serve, pieces)
        [listener] = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
        found[kind] = listener.socket.getsockname()[1]
    yield found
    nursery.cancel_scope.cancel()


async def ask_for_real(port: int, guard: Guard) -> list[str]:
    """The pieces of an answer."""
    settings = AssistantSettings(f"http://127.0.0.1:{port}/v1", model="m", allow_http=True)
    pieces: list[str] = []
    with trio.fail_after(2):
        endpoint = Endpoint(settings, Web(guard), "")
        await endpoint.answer([Turn("user", "tea?")], pieces.append)
    return pieces


async def test_real_endpoints(ports: dict[str, int]) -> None:
    """Whole, split at odd places, cut off, absent, and refused where not allowed."""
    here = Guard(["127.0.0.1"])
    assert "".join(await ask_for_real(ports["good"], here)) == "Tea is hot."
    assert "".join(await ask_for_real(ports["split"], here)) == "Tea"
    with pytest.raises(WebError):
        await ask_for_real(ports["cut"], here)
    with pytest.raises(WebError, match="not public"):
        await ask_for_real(ports["good"], Guard())
    with pytest.raises(Unanswered):
        await ask_for_real(1, here)
    assert issubclass(Refused, WebError)
