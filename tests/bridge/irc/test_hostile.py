"""Servers, people and members that mean harm: nothing ends the bridge or speaks for it."""

from __future__ import annotations

import random
from base64 import b64encode
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from attrs import evolve
from structlog.testing import capture_logs
from trio.testing import MockClock, memory_stream_pair

from bridge.core import inbound
from bridge.core.errors import NetworkError
from bridge.core.formatting import plain_document
from bridge.core.network import PlaceInfo
from bridge.irc import presence as presences
from bridge.irc.checking import check
from bridge.irc.connection import Connection, Lost
from bridge.irc.dialing import Dialer, credentials_of
from bridge.irc.history import History
from bridge.irc.login import Credentials, Login
from bridge.irc.presence import Presence
from bridge.irc.rendering import edit_words
from bridge.irc.settings import IrcPlace, IrcSettings
from bridge.irc.wire import Framer, Line, encode, fold, number_of, said_there, time_of
from tests.bridge.irc.scene import CHANNEL, IrcScene, irc_scene, portal, until
from tests.bridge.irc.scripted import ALL_CAPS, Guest, Scripted
from tests.bridge.irc.test_login import begun, line, said

MODERN = [one for one in ALL_CAPS if "relaymsg" not in one]
BASE = IrcSettings(
    name="irc", server="irc.example", nick="ofc", line_seconds=0.01, burst=100, puppet_seconds=0.5
)
PUPPETS = portal(options=IrcPlace(mode="puppets"), out_burst=1000, out_per_second=1000.0)
_COMMANDS = (
    *("PRIVMSG", "NOTICE", "JOIN", "PART", "KICK", "QUIT", "NICK", "TOPIC", "MODE", "BATCH"),
    *("TAGMSG", "REDACT", "FAIL", "WARN", "CAP", "PING", "PONG", "CHGHOST", "AWAY", "ACCOUNT"),
    *("SETNAME", "INVITE", "ACK", "AUTHENTICATE", "001", "005", "332", "353", "366", "396", "401"),
    *("403", "404", "417", "433", "437", "442", "471", "474", "477", "482", "730", "731", "900"),
    *("903", "904", "908"),
)
_WORDS = (
    "", "*", CHANNEL, "#other", "ofc", "Ana[o]", "kim", "+b1", "-b1", "LS", "ACK", "NEW", "DEL",
    "chathistory", "draft/multiline", "CHATHISTORY", "sasl=PLAIN sts=port=1", "\1DCC SEND x\1",
    "\1ACTION\1", "\1", "a.example b.example", "\x03", "\x03999,999 \x02\x04zz", "x" * 400, "=",
    "NICKLEN=" + "9" * 5000, "CHATHISTORY=0", "CASEMAPPING=", "é\u202e\u0301", "-" * 30,
)  # fmt: skip
_TAGS = (
    "", "@batch=b1 ", "@label=l1 ", "@time=2026-11-28T23:00:00.000Z ", "@time=never ",
    "@time=0001-01-01T00:00:00+23:59 ", "@time=9999-12-31T23:59:59Z;msgid=x ", "@+draft/reply=id1 ",
    "@+draft/react=\\n\\:;+draft/reply=id1 ", "@+ofcd/origin=,,,a,b,c,d ", "@;;=;a ", "@account=* ",
    "@draft/relaymsg=ofc;batch=b1 ", "@draft/multiline-concat;batch=b1 ",
)  # fmt: skip
_SOURCES = (
    *("", ":kim!k@there.example ", ":ofc!ofc@host ", ":Ana[o]!ana@host ", ":irc.example "),
    *(":! ", ":@ "),
)


def _rubbish(chance: random.Random) -> bytes:
    """A line such as no server says, or some in a bad hour."""
    words = [chance.choice(_WORDS) for _ in range(chance.randrange(4))]
    middle = "".join(f" {one}" for one in words if one and " " not in one and one[0] != ":")
    last = f" :{chance.choice(_WORDS)}" if chance.random() < 0.6 else ""
    head = chance.choice(_TAGS) + chance.choice(_SOURCES) + chance.choice(_COMMANDS)
    return (head + middle + last).encode() + b"\r\n"


# -- servers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_no_server_makes_a_login_raise_anything_else(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(300):
        one = Login(
            Credentials("ofc", "ofc", "b", account="ofc", password="p", sasl_required=False)
        )
        try:
            for _ in range(20):
                for each in Framer().feed(_rubbish(chance)):
                    one.take(each)
                    [encode(command, words) for command, *words in said(one)]
        except NetworkError:
            continue


async def test_no_line_ends_the_bridge_or_a_puppet(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Three thousand lines of rubbish on both connections; then words cross as before."""
    chance = random.Random(5)
    async with irc_scene(tmp_path, PUPPETS, caps=MODERN, settings=BASE) as scene:
        with capture_logs() as logs:
            async with scene.running():
                await _with_puppet(scene)
                for number in range(1500):
                    for guest in list(scene.server.guests):
                        with trio.move_on_after(1):
                            async with guest.sending:
                                await guest.stream.send_all(_rubbish(chance))
                    if number % 50 == 0:
                        await trio.sleep(1)
                await trio.sleep(5)
                # What it was told of itself was nonsense: it begins anew.
                for guest in list(scene.server.guests):
                    await scene.server.drop(guest, "enough")
                await trio.sleep(5)
                await scene.up()
                await scene.server.say("kim", CHANNEL, "still there?")
                await until(lambda: any(one.endswith("still there?") for one in scene.bridged()))
                await scene.room.send("yes, still")
                await until(lambda: any(one.endswith("yes, still") for one in scene.heard()), 900)
        assert not [one for one in logs if "could not be taken" in one["event"]]
        assert all("\n" not in str(one) and "\x03" not in str(one) for one in logs)


async def _with_puppet(scene: IrcScene, nick: str = "Ana[o]") -> Guest:
    await scene.up()
    await scene.room.send("first")
    await until(lambda: any(g.nick == nick and CHANNEL in g.channels for g in scene.server.guests))
    await trio.sleep(3)
    return scene.guest(nick)


@pytest.mark.parametrize("count", ["1", "4095", "500001", "2147483647", "9" * 5000, "x", ""])
def test_scram_neither_gives_the_password_away_nor_stands_still(count: str) -> None:
    """Few iterations make guessing cheap, and many would hold all networks up for an hour."""
    one = begun("SCRAM-SHA-256", account="ana", password="pencil")
    one.take(line("AUTHENTICATE", "+"))
    nonce = one._scram.c_nonce if one._scram is not None else ""
    first = b64encode(f"r={nonce}x,s=c2FsdHNhbHQ=,i={count}".encode()).decode()
    said(one)
    with pytest.raises(NetworkError, match="iterations"):
        _challenge(one, first)


def _challenge(one: Login, coded: str) -> None:
    for at in range(0, len(coded) + 1, 400):
        one.take(line("AUTHENTICATE", coded[at : at + 400] or "+"))


async def test_what_a_server_says_of_itself_is_bounded() -> None:
    one = begun("PLAIN", account="ana", password="pencil")
    with pytest.raises(NetworkError, match="no end"):
        _challenge(one, "A" * 100_000)
    other = Login(Credentials("ofc", "ofc", "bridge"))
    for number in range(2000):
        other.take(line("CAP", "*", "LS", "*", f"cap{number}"))
        other.take(line("CAP", "*", "ACK", f"cap{number} \x1b[31m{number}"))
    assert len(other.offered) == 500
    assert not other.caps, "what was not asked for is not agreed"
    link = Connection(BASE, memory_stream_pair()[0], other)
    history = History(link)
    for number in range(2000):
        link._learn(line("005", "ofc", f"TOKEN{number}=1", "are supported"))
        link._fences.take(
            Line("BATCH", (f"+{number}", "labeled-response"), tags={"label": f"l{number}"})
        )
        history.batch(line("BATCH", f"+{number}", "chathistory", CHANNEL))
    assert len(link.isupport) <= 200
    assert not link._fences._batches
    assert len(history._open) <= 100


def test_numbers_and_times_that_can_not_be_right_are_none() -> None:
    assert [number_of(one) for one in ("30", "", "0", "-1", "٣", "9" * 5000)] == [30, 0, 0, 0, 0, 0]
    at = [
        time_of(Line("PRIVMSG", tags={"time": one}))
        for one in (
            "0001-01-01T00:00:00+23:59",
            "9999-12-31T23:59:59Z",
            "never",
            "1970-01-01T00:00",
        )
    ]
    assert at == [None, None, None, 0]


async def test_a_password_that_the_server_says_again_is_in_no_log(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    for name in ("server", "webirc"):
        (tmp_path / name).write_text(f"sesame-{name}")
    settings = evolve(
        BASE,
        password_file=str(tmp_path / "server"),
        webirc_password_file=str(tmp_path / "webirc"),
    )
    async with irc_scene(tmp_path / "x", PUPPETS, settings=settings) as scene:
        with capture_logs() as logs:
            async with scene.running():
                guest = await _with_puppet(scene)
                await scene.server.to(guest, "", "ERROR", "bad word sesame-webirc, Killed\x1b[2J")
                await scene.server.to(
                    scene.guest("ofc"), "", "ERROR", "you said PASS sesame-server"
                )
                scene.server.turn_away = lambda _: "no: sesame-server, sesame-webirc"
                await trio.sleep(30)
        reasons = [str(one.get("reason")) for one in logs if "reason" in one]
        assert any("***" in one for one in reasons)
        assert "sesame" not in str(logs) + "".join(scene.notices())
        assert "\x1b" not in "".join(reasons)
        assert any("sesame-webirc" in str(one.said("WEBIRC")) for one in scene.server.everybody)


async def test_a_password_in_a_refusal_is_told_to_nobody(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Of a channel, and of a message: the room, and whoever asks for what failed, hear the rest."""
    (tmp_path / "server").write_text("sesame-server")
    settings = evolve(BASE, password_file=str(tmp_path / "server"))
    async with irc_scene(tmp_path / "x", settings=settings) as scene:
        scene.server.refusal = "you said PASS sesame-server"
        scene.server.refuse["ofc", "JOIN"] = "474"
        with capture_logs() as logs:
            async with scene.running():
                await until(lambda: any("I can not get into" in x for x in scene.notices()))
                del scene.server.refuse["ofc", "JOIN"]
                await scene.up()
                scene.server.refuse["ofc", "PRIVMSG"] = "404"
                await scene.room.send("hello")
                await until(lambda: any("Not delivered" in one for one in scene.notices()))
        assert sum("you said PASS ***" in one for one in scene.notices()) == 2
        assert "sesame" not in str(logs) + "".join(scene.notices())


async def test_a_puppet_does_not_show_the_bridges_certificate(tmp_path: Path) -> None:
    """Services know who that is: a member would be logged in as the bridge."""
    (tmp_path / "cert.pem").write_text("x")
    settings = evolve(BASE, client_cert_file=str(tmp_path / "cert.pem"))
    shown = []

    async def open_(settings: IrcSettings, *, tls: bool, port: int) -> trio.abc.Stream:
        shown.append(bool(settings.client_cert_file))
        raise Lost("enough")

    dialer = Dialer(settings, open_=open_)
    who = credentials_of(settings)
    for one in (who, evolve(who, has_certificate=False)):
        with pytest.raises(NetworkError):
            await dialer.connect(one)
    assert shown == [True, False]


async def test_a_server_that_takes_nothing_is_given_up_though_it_talks(
    autojump_clock: MockClock,
) -> None:
    """And the end waits for nobody who is in the midst of saying something."""
    ours, theirs = memory_stream_pair()
    link = Connection(BASE, ours, Login(Credentials("ofc", "ofc", "bridge")))

    async def stuck() -> None:
        await trio.sleep_forever()

    ours.send_stream.send_all_hook = stuck
    ended = []

    async def say() -> None:
        with pytest.raises(Lost):
            await link.send("PRIVMSG", CHANNEL, "hello")

    async def talk() -> None:
        with suppress(trio.BrokenResourceError):  # it ends at the moment in which this speaks
            while not link.lost:
                await theirs.send_all(b":kim!k@h PRIVMSG #books :hi\r\n")
                await trio.sleep(10)

    async def run() -> None:
        async def take(_: Line) -> None:
            pass

        ended.append(await link.run(take))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        nursery.start_soon(talk)
        nursery.start_soon(say)
        await until(lambda: ended, 2 * BASE.ping_seconds + 20)

    async with trio.open_nursery() as nursery:
        ours, theirs = memory_stream_pair()
        link = Connection(BASE, ours, Login(Credentials("ofc", "ofc", "bridge")))
        ours.send_stream.send_all_hook = stuck
        nursery.start_soon(say)
        await trio.sleep(1)
        with trio.fail_after(5):
            await link.aclose()


async def test_check_survives_a_server_that_joins_it_elsewhere(
    autojump_clock: MockClock,
) -> None:
    made: list[str] = []
    server = Scripted()

    def swallow(guest: Guest, one: Line) -> str:
        if one.command == "JOIN":
            said_before.start_soon(_odd_answers, server, guest)
        return ""

    server.swallow = swallow
    info = PlaceInfo(CHANNEL, IrcPlace(), sends=True, takes=True)
    async with trio.open_nursery() as said_before:
        await said_before.start(server.run)
        await check(BASE, {CHANNEL: info}, server.open, lambda one: made.append(one.text))
        said_before.cancel_scope.cancel()
    assert f"{CHANNEL}: joined" in made


@pytest.mark.parametrize(("fate", "good"), [("", True), ("lost", False)])
async def test_check_tells_of_a_server_that_passes_over_webirc(
    tmp_path: Path, autojump_clock: MockClock, fate: str, good: bool
) -> None:
    """Members would all have the bridge's own address, and be banned together."""
    (tmp_path / "webirc").write_text("sesame")
    made: dict[str, bool] = {}
    server = Scripted()
    server.swallow = lambda _guest, one: fate if one.command == "WEBIRC" else ""
    info = PlaceInfo(CHANNEL, IrcPlace(mode="puppets"), sends=True, takes=True)
    settings = evolve(BASE, webirc_password_file=str(tmp_path / "webirc"))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        places = {CHANNEL: info}
        await check(settings, places, server.open, lambda x: made.update({x.text: x.good}))
        nursery.cancel_scope.cancel()
    [told] = [text for text in made if "address" in text]
    assert made[told] is good
    assert made[f"{CHANNEL}: joined as ofc[o]"]


async def _odd_answers(server: Scripted, guest: Guest) -> None:
    await server.to(guest, guest.mask, "JOIN", "#elsewhere")
    await server.to(guest, "x", "474")
    await server.to(guest, "x", "474", "ofc", "#no", "\x1bno")


async def test_a_channel_that_throws_the_bridge_out_sees_it_less_and_less(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """And what an operator there says is quoted, on one line, and not the bridge's own word."""
    async with irc_scene(tmp_path, settings=BASE) as scene, scene.running():
        await scene.up()
        began = trio.current_time()
        words = "go away\x02 " + "x" * 300
        while trio.current_time() < began + 950:
            for guest in scene.server.guests:
                if CHANNEL in guest.channels:
                    guest.channels.discard(CHANNEL)
                    await scene.server.to(guest, "op!o@h", "KICK", CHANNEL, "ofc", words)
            await trio.sleep(30)
        joins = len(scene.guest("ofc").said("JOIN"))
        assert 4 <= joins <= 6, joins
        told = [one for one in scene.notices() if "op kicked the bridge out" in one]
        assert told
        assert all("“go away xxx" in one and "x" * 201 not in one for one in told)
    async with irc_scene(tmp_path / "ban", settings=BASE) as scene, scene.running():
        scene.server.refuse["*", "JOIN"] = "474"
        await trio.sleep(450)
        assert 3 <= len(scene.guest("ofc").said("JOIN")) <= 4
        assert sum("I can not get into" in one for one in scene.notices()) == 1


async def test_a_server_that_was_flooded_is_spared(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with irc_scene(tmp_path, settings=evolve(BASE, burst=4, line_seconds=1.0)) as scene:
        async with scene.running():
            await scene.up()
            took = [await _time_of_twenty(scene)]
            await scene.server.to(scene.guest("ofc"), "", "ERROR", "Closing Link: (Excess Flood)")
            await scene.server.drop(scene.guest("ofc"), "Excess Flood")
            await trio.sleep(30)
            await scene.up()
            took.append(await _time_of_twenty(scene))
        assert took[1] > 1.7 * took[0]


async def _time_of_twenty(scene: IrcScene) -> float:
    began, before = trio.current_time(), len(scene.heard())
    for number in range(20):
        await scene.room.send(f"line {number}")
    await until(lambda: len(scene.heard()) == before + 20)
    return trio.current_time() - began


# -- people there ----------------------------------------------------------------------------------


async def test_what_is_played_back_without_a_batch_is_not_new(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Its time tells: it is marked late; from before the bridge came, it is not taken at all."""
    async with irc_scene(tmp_path, caps=MODERN, settings=BASE) as scene, scene.running():
        await scene.up()
        await scene.server.say("kim", CHANNEL, "ancient", time="2001-01-01T00:00:00.000Z")
        await trio.sleep(30)
        earlier = scene.server._stamp()["time"]
        await trio.sleep(310)
        await scene.server.say("kim", CHANNEL, "earlier", time=earlier)
        await scene.server.say("kim", CHANNEL, "now")
        await until(lambda: len(scene.bridged()) == 2)
        await trio.sleep(5)
        assert [one.endswith("UTC) earlier") for one in scene.bridged()] == [True, False]
        assert scene.bridged()[1] == "kim: now"


async def test_what_is_played_back_floods_no_room(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that calls all it says history is bounded too, and the room learns of the rest."""
    monkeypatch.setattr(inbound, "_LATE_BURST", 20)
    there = portal(in_per_second=0.01, in_burst=10)
    async with irc_scene(tmp_path, there, caps=MODERN, settings=BASE) as scene, scene.running():
        await scene.up()
        guest = scene.guest("ofc")
        await scene.server.to(guest, "irc.example", "BATCH", "+p", "chathistory", CHANNEL)
        for number in range(60):
            words = (CHANNEL, f"line {number}")
            await scene.server.to(
                guest, "kim!k@h", "PRIVMSG", *words, batch="p", msgid=f"x{number}"
            )
        await until(lambda: len(scene.bridged()) >= 20)
        await until(lambda: any("40 messages were left out" in one for one in scene.notices()))
        assert len(scene.bridged()) == 20


async def test_nobody_calls_members_up_without_end(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with irc_scene(tmp_path, PUPPETS, caps=MODERN, settings=BASE) as scene, scene.running():
        await _with_puppet(scene)
        lines = [
            "Ana: hi",
            "hi @Ana!",
            "so Ana[o] said",
            "Anabel: hi",
            "ban@Anabel",
            "an Ana",
            "Ana2",
        ]
        for one in lines:
            await scene.server.say("kim", CHANNEL, one)
        await until(lambda: len(scene.bridged()) == len(lines))
        called = [bool(m.mentions) for m in scene.messages() if m.via is not None]
        assert called == [True, True, True, False, False, False, False]
        for number in range(20):
            await scene.server.say(f"kim{number}", CHANNEL, f"@Ana {number}")
        await until(lambda: len(scene.bridged()) == len(lines) + 20)
        called = [bool(m.mentions) for m in scene.messages() if m.via is not None][len(lines) :]
        assert sum(called) <= 16, "whatever nick they take"


async def test_ctcp_is_answered_now_and_then_and_dcc_never(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with irc_scene(tmp_path, caps=MODERN, settings=BASE) as scene, scene.running():
        await scene.up()
        guest = scene.guest("ofc")
        for words in ("DCC SEND x 1 2 3", "DCC CHAT chat 1 2", "CLIENTINFO", "FINGER", "SOURCE"):
            for to in ("ofc", CHANNEL):
                await scene.server.to(guest, "kim!k@h", "PRIVMSG", to, f"\1{words}\1")
        await trio.sleep(5)
        assert guest.said("NOTICE") == []
        for number in range(100):
            kind = ("VERSION", "PING \r\nQUIT", "TIME")[number % 3]
            await scene.server.to(guest, f"kim{number}!k@h", "PRIVMSG", "ofc", f"\1{kind}\1")
            await trio.sleep(0.3)
        answers = guest.said("NOTICE")
        assert 3 <= len(answers) <= 4, "one in ten seconds, to all together"
        assert answers[0][1].startswith("\1VERSION")
        assert scene.bridged() == []


def test_who_comes_and_goes_fills_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only of channels that are bridged; splits, names and notes are bounded."""
    monkeypatch.setattr(presences, "_MEMBERS", 500)
    presence = Presence()

    def place_of(channel: str) -> str | None:
        return "#c" if channel == "#c" else None

    for number in range(1000):
        nick = f"n{number}" + "y" * 3000
        for channel in ("#c", f"#{number}"):
            presence.take(Line("JOIN", (channel,), nick, "u", "h"), fold, place_of, 0.0)
        presence.take(Line("QUIT", ("a.example b.example",), nick, "u", "h"), fold, place_of, 0.0)
    assert set(presence.members) == {"#c"}
    notes = presence.due(6.0)
    assert sum(len(one.text) for one in notes) < 50_000
    assert "800 more came or went" in {one.text for one in notes}
    assert len(presence._split) <= 500


# -- members ---------------------------------------------------------------------------------------


def test_nothing_in_a_tag_or_a_word_ends_a_line() -> None:
    raw = encode("TAGMSG", ["#c\r\nQUIT"], {"+draft/react": "a\r\nQUIT :x\0;b c"})
    assert raw == rb"@+draft/react=aQUIT\s:x\:b\sc TAGMSG #cQUIT" + b"\r\n"
    assert encode("NOTICE", ["\0", "words"]) == b"NOTICE * words\r\n", (
        "no word takes another's place"
    )


def test_a_long_edit_holds_nothing_up() -> None:
    """Compared word by word, this would take minutes in which nothing else is done."""
    before, after = plain_document("a b " * 20_000), plain_document("b a " * 20_000 + "c")
    assert edit_words(before, after).startswith("[edit] b a b a")


async def test_a_topic_fits(tmp_path: Path, autojump_clock: MockClock) -> None:
    there = portal(topic=True)
    async with irc_scene(tmp_path, there, settings=BASE) as scene, scene.running():
        await scene.up()
        await scene.room.rename("books", "ä" * 900)
        await until(lambda: scene.guest("ofc").said("TOPIC"))
        [(_, topic)] = scene.guest("ofc").said("TOPIC")
        assert set(topic) == {"ä"}
        assert 300 < len(topic.encode()) < 480


async def test_who_renames_all_the_time_does_not_on_irc(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with irc_scene(tmp_path, PUPPETS, settings=BASE) as scene, scene.running():
        guest = await _with_puppet(scene)
        for number in range(12):
            await scene.room.set_name(f"Name{number}")
            await scene.room.send(f"word {number}")
            await trio.sleep(2)
        await until(lambda: len(scene.heard()) == 13)
        await trio.sleep(70)
        changes = [one[0] for one in guest.said("NICK")][1:]
        assert 1 <= len(changes) <= 3, changes
        assert changes[-1] == "Name11[o]"


async def test_a_channel_with_brackets_is_the_one_that_was_named(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Where names compare as ASCII, {} and [] are two."""
    there = portal(place="#a{b")
    isupport = "NICKLEN=30 CASEMAPPING=ascii"
    async with (
        irc_scene(tmp_path, there, settings=BASE, isupport=isupport) as scene,
        scene.running() as network,
    ):
        assert network.same_place("#A{b") == "#a{b"
        await until(lambda: "#a{b" in {x for g in scene.server.guests for x in g.channels})
        await trio.sleep(2)
        await scene.server.say("kim", "#a{b", "hello")
        await until(lambda: scene.bridged() == ["kim: hello"])


def test_words_of_a_server_are_one_bounded_line() -> None:
    assert said_there("a\r\nb\x1b[2J\u202e c") == "a b [2J c"
    assert len(said_there("x" * 1000)) == 201
