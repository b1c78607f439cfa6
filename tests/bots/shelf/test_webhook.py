"""webhook: what is signed is said once; what goes out is signed, tried again, given up aloud."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from bots import SetupError
from bots.log import Log, get_log
from bots.options import read_options
from bots.shelf import webhook
from bots.shelf.webhook import incoming
from bots.shelf.webhook.settings import WebhookSettings
from bots.shelf.webhook.signing import BadSignature, check_github, check_standard, read_secret, sign
from bots.shelf.webhook.texts import NothingToSay, fields_of, text_of
from bots.testing import BotWorld, Person, TestRoom
from bots.web import HttpAnswer, HttpRequest, Web
from ofcd.client.webserver import App
from tests.bots.shelf.asking import asked, reactions
from tests.bots.shelf.internet import PUBLIC, Asked, Internet, Reply

bot = webhook.bot
SECRET = b"0123456789abcdef-secret"
HOUR = 3_600


class Door(incoming.Listener):
    """Keeps what would be served."""

    app: App | None = None

    async def serve(self, app: App, log: Log, settings: WebhookSettings) -> None:
        """No socket."""
        self.app = app
        try:
            await trio.sleep_forever()
        finally:
            self.app = None

    async def post(
        self, world: BotWorld, body: bytes, message_id: str = "m1", *, path: str = "/hook/ci",
        secret: bytes = SECRET, method: str = "POST", late: int = 0, **headers: str,
    ) -> HttpAnswer:  # fmt: skip
        """A request, signed by Standard Webhooks."""
        seconds = world.inner.now() // 1000 - late
        signed = {
            "webhook-id": message_id,
            "webhook-timestamp": str(seconds),
            "webhook-signature": "v1,bad " + sign(secret, message_id, seconds, body),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        assert self.app is not None
        return await self.app(HttpRequest(method, path, signed, body))


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    """The bot with a hook of each kind and a rule, and no socket."""
    (tmp_path / "secret").write_bytes(SECRET + b"\n")
    file = str(tmp_path / "secret")
    bot.options.update(
        hooks={
            "ci": {"secret_file": file, "template": "$repo_name: $state"},
            "hub": {"secret_file": file, "scheme": "github", "template": "$action"},
            "note": {"secret_file": file, "rate": "2/1m"},
        },
        out={
            "tickets": {
                "url": "http://t.example/in",
                "allow_http": True,
                "secret_file": file,
                "pattern": "(?i)bug",
            }
        },
    )
    made = Door()
    bot.override(incoming.Listener, made)
    yield made
    bot.options.clear()
    bot.overrides.clear()


def body_of(state: str = "green") -> bytes:
    """What a hook posts."""
    return json.dumps({"repo": {"name": "*tea*\u202e"}, "state": state}).encode()


# -- signing ---------------------------------------------------------------------------------------


def test_githubs_own_example_is_taken() -> None:
    """The example of GitHub's documentation ("Validating webhook deliveries")."""
    secret, body = b"It's a Secret to Everybody", b"Hello, World!"
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    known = check_github(secret, {"x-hub-signature-256": signature}, body)
    assert known == f"body:{hashlib.sha256(body).hexdigest()}"
    for bad in ("", signature[:-1], signature.upper(), "sha1=" + signature[7:], "é"):
        with pytest.raises(BadSignature):
            check_github(secret, {"x-hub-signature-256": bad}, body)


@given(st.binary(max_size=50), st.integers(0, 70), st.integers(0, 7))
def test_any_changed_bit_is_noticed(body: bytes, at: int, bit: int) -> None:
    """Of body, id or time: the signature fits what was signed, and nothing else."""
    now = 1_800_000_000_000
    secret = read_secret("whsec_" + base64.b64encode(SECRET).decode())
    headers = {"webhook-id": "m", "webhook-timestamp": str(now // 1000)}
    headers["webhook-signature"] = sign(secret, "m", now // 1000, body)
    assert check_standard(secret, headers, body, now, 1_000) == "id:m"
    wrong = bytearray(body or b"\0")
    wrong[at % len(wrong)] ^= 1 << bit
    for changed, content in (
        (headers, bytes(wrong)),
        ({**headers, "webhook-id": "n"}, body),
        ({**headers, "webhook-timestamp": str(now // 1000 + 1)}, body),
        ({**headers, "webhook-timestamp": "٣"}, body),
        ({**headers, "webhook-timestamp": "9" * 5_000}, body),
    ):
        with pytest.raises(BadSignature):
            check_standard(secret, changed, content, now, 1_000)


def test_a_signature_is_what_the_specification_says() -> None:
    """HMAC-SHA256 over `id.timestamp.body`, in base64."""
    mac = hmac.new(SECRET, b"msg_1.1614265330.{}", hashlib.sha256).digest()
    assert sign(SECRET, "msg_1", 1614265330, b"{}") == "v1," + base64.b64encode(mac).decode()


# -- words -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "body", "text"),
    [
        ("$a_b_0 and ${c}!", {"a": {"b": ["x", "y"]}, "c": 1}, "x and 1!"),
        ("$a$missing", {"a": True}, "true"),
        ("$a", {"a": "**b**\nc"}, r"\*\*b\*\* c"),
        ("$$5 $a", {"a": "{0.__class__}"}, r"$5 {0.\_\_class\_\_}"),
    ],
)
def test_words_of_a_template(template: str, body: Any, text: str) -> None:
    """Fields by name; what is missing is left out; markup and lines in values mean nothing."""
    assert text_of(template, "application/json", json.dumps(body).encode()) == text


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b'{"b": "x"}', b"[]", b"1"])
def test_nothing_to_say(body: bytes) -> None:
    """No JSON, or none of the fields: said to be so, never a crash."""
    with pytest.raises(NothingToSay):
        text_of("$a", "application/json", body)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    )
)
def test_any_json_has_bounded_fields(value: Any) -> None:
    """Whatever comes: at most 500 fields, each on one line."""
    fields = fields_of("application/json", json.dumps(value).encode())
    assert len(fields) <= 500
    assert all("\n" not in text for text in fields.values())


@pytest.mark.parametrize(
    ("options", "slip"),
    [
        ({"hooks": {"A b": {"secret_file": "x"}}}, "name"),
        ({"hooks": {"a": {"secret_file": "x", "template": "$"}}}, "$$"),
        ({"hooks": {"a": {"secret_file": "x", "rate": "often"}}}, "rate"),
        ({"hooks": {"a": {"secret_file": "x", "scheme": "none"}}}, "scheme"),
        ({"out": {"a": {"url": "https://x/", "secret_file": "x", "pattern": "("}}}, "pattern"),
        ({"out": {"a": {"url": "http://x/", "secret_file": "x"}}}, "out.a.url: write https"),
        ({"out": {"a": {"url": "ftp://x/", "secret_file": "x"}}}, "out.a.url"),
        ({"prot": 1}, "prot"),
    ],
)
def test_slips_in_the_settings_are_named(options: dict[str, Any], slip: str) -> None:
    """Before the bot starts."""
    with pytest.raises(SetupError, match=slip.replace("$", r"\$")):
        read_options(options, WebhookSettings)


# -- in --------------------------------------------------------------------------------------------


async def bound(world: BotWorld, *names: str) -> tuple[Person, TestRoom]:
    """A room that hooks are bound to."""
    alice = await world.member("alice")
    room = await world.room(alice, bot)
    for name in names:
        assert "from now on" in await asked(room, bot, alice, f"!hook bind {name}")
    return alice, room


async def test_what_is_signed_is_said_once(
    world: BotWorld, autojump_clock: MockClock, door: Door
) -> None:
    """Said when 200 comes back; the same id again is known, after a crash, too."""
    _, room = await bound(world, "ci")
    assert (await door.post(world, body_of())).status == 200
    assert (await room.next_from(bot)).text.endswith(r"\*tea\*: green")
    assert (await door.post(world, body_of("red"))).text == "said before"
    await world.crash_and_restart(bot)
    assert (await door.post(world, body_of())).text == "said before"
    assert (await door.post(world, body_of(), "m2")).text == "said"
    await room.quiet()
    assert room.count_from(bot) == 3


async def test_githubs_deliveries_are_known_by_their_body(
    world: BotWorld, autojump_clock: MockClock, door: Door
) -> None:
    """Its id is not signed: replayed under another one, a delivery is still known."""
    _, room = await bound(world, "hub")
    body = b'{"action": "opened"}'
    signature = "sha256=" + hmac.digest(SECRET, body, hashlib.sha256).hex()
    assert door.app is not None
    for number, said in enumerate(("said", "said before")):
        headers = {"x-hub-signature-256": signature, "x-github-delivery": str(number)}
        answer = await door.app(HttpRequest("POST", "/hook/hub", headers, body))
        assert (answer.status, answer.text) == (200, said)
    await room.quiet()
    assert room.texts_from(bot)[1:] == ["opened"]


@pytest.mark.parametrize(
    ("status", "how"),
    [
        (404, {"path": "/hook/nope"}),
        (404, {"path": "/"}),
        (405, {"method": "GET"}),
        (401, {"secret": b"another secret, not ours"}),
        (401, {"late": 301}),
        (401, {"late": -302}),
        (401, {"webhook_signature": ""}),
        (401, {"webhook_id": ""}),
        (401, {"message_id": "m.1"}),  # signed, and yet: "m.1" + "." + time could be split anew
        (422, {"body": b"no json"}),
        (422, {"body": b"{}"}),
        (409, {"path": "/hook/note", "body": b'{"text": "x"}'}),
    ],
)
async def test_bad_requests_are_the_senders_fault(
    status: int, how: dict[str, Any], world: BotWorld, autojump_clock: MockClock, door: Door
) -> None:
    """Each gets the 4xx that says what is wrong, and nothing is said in the room."""
    _, room = await bound(world, "ci")
    body = how.pop("body", body_of())
    assert (await door.post(world, body, **how)).status == status
    await room.quiet()
    assert room.count_from(bot) == 1


async def test_too_many_are_asked_to_wait(
    world: BotWorld, autojump_clock: MockClock, door: Door
) -> None:
    """429 with Retry-After; when that is over, the same request is taken."""
    await bound(world, "note")
    answers = [
        await door.post(world, b"hi", f"m{n}", path="/hook/note", content_type="text/plain")
        for n in range(3)
    ]
    assert [answer.status for answer in answers] == [200, 200, 429]
    await world.pass_time(int(dict(answers[2].headers)["retry-after"]))
    again = await door.post(world, b"hi", "m2", path="/hook/note", content_type="text/plain")
    assert again.status == 200


async def test_a_hook_speaks_in_one_room_and_only_owners_say_which(
    world: BotWorld, autojump_clock: MockClock, door: Door
) -> None:
    """Bound once; unbound where it is bound; by owners."""
    alice, room = await bound(world, "ci")
    other = await world.room(alice, bot)
    assert "another room" in await asked(other, bot, alice, "!hook bind ci")
    bo = await world.member("bo")
    await room.add(bo)
    assert "may not" in await asked(room, bot, bo, "!hook unbind ci")
    assert "no such hook" in await asked(other, bot, alice, "!hook bind nope")


async def test_a_bot_that_stops_sends_the_sender_away(
    world: BotWorld, autojump_clock: MockClock, door: Door
) -> None:
    """503 where the room is not served now: whoever posts comes again."""
    _, room = await bound(world, "ci")
    await room.room.evict(room.mid_of(bot))
    await room.quiet()
    assert (await door.post(world, body_of())).status == 503


async def test_a_port_that_is_taken_is_named() -> None:
    """A slip in the settings, told in a sentence, over real sockets."""
    taken = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    port = taken.socket.getsockname()[1]
    settings = WebhookSettings(port=port)

    async def app(_: HttpRequest) -> HttpAnswer:
        raise AssertionError("nobody asks")

    with pytest.raises(SetupError, match=str(port)):
        await incoming.Listener().serve(app, get_log("t"), settings)
    await taken.aclose()


# -- out -------------------------------------------------------------------------------------------


class Tickets:
    """The other side: answers as it is told, the last answer for ever."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.taken: list[Asked] = []

    def __call__(self, asked: Asked) -> Reply:
        self.taken.append(asked)
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


async def sending(
    world: BotWorld, nursery: trio.Nursery, tickets: Tickets, *addresses: list[str]
) -> tuple[Person, TestRoom]:
    """A room whose messages go out."""
    net = Internet(nursery)
    net.site("t.example", tickets, *addresses)
    bot.override(Web, Web(network=net))
    alice = await world.member("alice")
    room = await world.room(alice, bot)
    assert "LEAVE this room" in await asked(room, bot, alice, "!out on tickets")
    return alice, room


async def test_what_matches_goes_out_signed(
    world: BotWorld, autojump_clock: MockClock, nursery: trio.Nursery, door: Door
) -> None:
    """A message that the rule is for, and what `!send` is given: signed as others check it."""
    tickets = Tickets(Reply(204))
    alice, room = await sending(world, nursery, tickets)
    await alice.say("nothing to see")
    said = await alice.say("a BUG in the tea")
    await alice.say("!send tickets and cake")
    await room.quiet()
    texts = [json.loads(one.body)["data"]["text"] for one in tickets.taken]
    assert sorted(texts) == ["a BUG in the tea", "and cake"]
    first = tickets.taken[texts.index("a BUG in the tea")]
    known = check_standard(SECRET, first.headers, first.body, world.inner.now(), 60_000)
    assert known == f"id:tickets-{said.hex()[:32]}"
    await alice.say("!out off tickets")
    await alice.say("another bug")
    await room.quiet()
    assert len(tickets.taken) == 2


async def test_it_is_tried_again_until_it_is_taken(
    world: BotWorld, autojump_clock: MockClock, nursery: trio.Nursery, door: Door
) -> None:
    """Through errors and a crash, later each time, under one id; then no more."""
    tickets = Tickets(Reply(500), Reply(503, headers={"retry-after": "600"}), Reply(200))
    alice, _ = await sending(world, nursery, tickets)
    await alice.say("bug")
    await world.pass_time(4)
    assert len(tickets.taken) == 1
    await world.crash_and_restart(bot)
    await world.pass_time(300)
    assert len(tickets.taken) == 2, "and then it was asked to wait for ten minutes"
    await world.pass_time(600)
    assert len(tickets.taken) == 3
    await world.pass_time(2 * HOUR)
    assert len(tickets.taken) == 3
    assert len({one.headers["webhook-id"] for one in tickets.taken}) == 1


async def test_what_is_never_taken_is_given_up_aloud(
    world: BotWorld, autojump_clock: MockClock, nursery: trio.Nursery, door: Door
) -> None:
    """410 ends it at once: marked on the message and said; an owner may have it sent again."""
    tickets = Tickets(Reply(410), Reply(200))
    alice, room = await sending(world, nursery, tickets)
    said = await alice.say("bug")
    assert "!out retry tickets" in (await room.next_from(bot)).text
    assert await reactions(room, said) == {"⚠️": 1}
    assert await asked(room, bot, alice, "!out retry tickets") == "1 are sent again."
    await room.quiet()
    assert len(tickets.taken) == 2
    assert await asked(room, bot, alice, "!out retry tickets") == "0 are sent again."


async def test_nothing_goes_to_private_addresses_nor_in_circles(
    world: BotWorld, autojump_clock: MockClock, nursery: trio.Nursery, door: Door
) -> None:
    """A name that leads inwards is not posted to; what a hook said never goes out."""
    tickets = Tickets(Reply(200))
    alice, room = await sending(world, nursery, tickets, ["10.0.0.1"], [PUBLIC])
    await alice.say("bug")
    await world.pass_time(2)
    assert tickets.taken == []
    await world.pass_time(60)
    assert len(tickets.taken) == 1
    await asked(room, bot, alice, "!hook bind ci")
    assert (await door.post(world, body_of("bug"))).status == 200
    await room.quiet()
    assert len(tickets.taken) == 1


# -- consent ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"url": "http://other.example/in"},
        {"url": "http://t.example:8080/in"},
        {"url": "https://t.example/in"},
        {"pattern": "."},
    ],
)
async def test_a_room_that_agreed_to_something_else_sends_nothing(
    change: dict[str, str],
    world: BotWorld,
    autojump_clock: MockClock,
    nursery: trio.Nursery,
    door: Door,
) -> None:
    """Another place or pattern in the settings: what waits is held, and owners are asked anew."""
    tickets = Tickets(Reply(500), Reply(200))
    alice, room = await sending(world, nursery, tickets)
    await alice.say("bug one")
    await world.pass_time(3)
    assert len(tickets.taken) == 1
    await world.stop(bot)
    rule = {**bot.options["out"]["tickets"], **change}
    bot.options["out"] = {"tickets": rule}
    net = Internet(nursery)
    for host in ("t.example", "other.example"):
        net.site(host, tickets)
    bot.override(Web, Web(network=net))
    await world.start(bot)
    await alice.say("bug two")
    await world.pass_time(HOUR)
    assert "not what this room has agreed to any more" in room.texts_from(bot)[-1]
    assert "on in this room" in await asked(room, bot, alice, "!out retry tickets")
    assert (len(tickets.taken), net.connected) == (1, [])
    assert "LEAVE this room" in await asked(room, bot, alice, "!out on tickets")
    if "https" not in rule["url"]:
        assert "(unencrypted)" in room.texts_from(bot)[-1]
        await alice.say("!out retry tickets")
        await world.pass_time(60)
        assert [json.loads(one.body)["data"]["text"] for one in tickets.taken][1:] == ["bug one"]


async def test_off_breaks_off_what_is_being_posted(
    world: BotWorld, autojump_clock: MockClock, nursery: trio.Nursery, door: Door
) -> None:
    """The other side is slow: it gets no second try, and nothing that waited in the room."""
    tickets = Tickets(Reply(500, [b"slow"], pause=10))
    alice, room = await sending(world, nursery, tickets)
    await alice.say("bug one")
    await world.pass_time(3)
    assert len(tickets.taken) == 1
    await alice.say("bug two")
    await asked(room, bot, alice, "!out off tickets")
    sent = len(tickets.taken)
    await world.crash_and_restart(bot)
    await world.pass_time(24 * HOUR)
    assert len(tickets.taken) == sent
    await asked(room, bot, alice, "!out on tickets")
    assert await asked(room, bot, alice, "!out retry tickets") == "0 are sent again."
