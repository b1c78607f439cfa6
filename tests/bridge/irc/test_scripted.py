"""What no server of Debian's offers, or does only when it must: against a scripted server."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from attrs import evolve

from bridge.core import State
from bridge.irc import history
from bridge.irc.settings import IrcPlace, IrcSettings
from bridge.irc.wire import Line, time_of
from tests.bridge.irc.scene import CHANNEL, IrcScene, irc_scene, portal, until
from tests.bridge.irc.scripted import ALL_CAPS, Guest

_MODERN = [one for one in ALL_CAPS if "multiline" not in one and "relaymsg" not in one]


async def test_words_cross_both_ways_and_are_confirmed(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with irc_scene(tmp_path, caps=_MODERN) as scene, scene.running():
        await scene.up()
        await scene.server.say("kim", CHANNEL, "hello")
        await until(lambda: scene.bridged() == ["kim: hello"])
        sent = await scene.room.send("hi")
        await until(lambda: scene.heard() == ["ofc: <\x02Ana\x02> hi"])
        assert scene.engine is not None
        journal, vault = scene.engine.journal, scene.bridge.vault
        await until(
            lambda: (
                (p := journal.passed(vault, "irc", CHANNEL, sent.event_id)) is not None
                and p.state is State.CONFIRMED
                and len(p.remote_ids) == 1
            )
        )


async def test_the_prefix_is_what_the_server_shows(tmp_path: Path, autojump_clock: object) -> None:
    """By the own JOIN, a cloak (396), a CHGHOST, and a nick that services gave."""
    async with irc_scene(tmp_path, caps=_MODERN) as scene, scene.running() as net:
        await scene.up()
        assert net._shared is not None
        link, guest = net._shared.connection, scene.guest("ofc")
        assert link is not None

        async def shown(mask: str, source: str, command: str, *params: str) -> None:
            await scene.server.to(guest, source, command, *params)
            await until(lambda: f"{link.nick}!{link.user}@{link.host}" == mask)

        await until(lambda: (link.nick, link.user, link.host) == ("ofc", "ofc", "host.example"))
        await shown("ofc!ofc@cloak.example", "irc.example", "396", "ofc", "cloak.example", "is")
        await shown("ofc!u2@h2", "ofc!ofc@cloak.example", "CHGHOST", "u2", "h2")
        await shown("Guest1!u2@h2", "ofc!u2@h2", "NICK", "Guest1")
        await scene.server.say("Guest1", CHANNEL, "an echo, as it were")
        await scene.server.say("ofc", CHANNEL, "who has the nick now")
        await until(lambda: scene.bridged() == ["ofc: who has the nick now"])


# -- STS (I4) --------------------------------------------------------------------------------------


def _insecure(tmp_path: Path, **more: object) -> IrcSettings:
    (tmp_path / "pass").write_text("sesame")
    (tmp_path / "sasl").write_text("walnut")
    base = IrcSettings(
        name="irc",
        server="irc.example",
        nick="ofc",
        line_seconds=0.01,
        burst=100,
        tls=False,
        port=6667,
        password_file=str(tmp_path / "pass"),
        account="books",
        account_password_file=str(tmp_path / "sasl"),
        sasl="wanted",
    )
    return evolve(base, **more)  # type: ignore[arg-type]


async def test_no_secret_goes_in_clear_where_the_server_wants_tls(
    tmp_path: Path, autojump_clock: object
) -> None:
    """The insecure connection says CAP LS and nothing else; the next is by TLS at that port."""
    caps = ["sts=port=7000,duration=3600", "sasl=PLAIN", "server-time"]
    async with irc_scene(tmp_path, caps=caps, settings=_insecure(tmp_path)) as scene:
        async with scene.running():
            await until(lambda: len(scene.server.everybody) == 2)
            first, second = scene.server.everybody
            await until(lambda: second.said("PASS") and second.said("AUTHENTICATE"))
            await scene.up()
            assert (first.tls, first.port) == (False, 6667)
            assert [one.command for one in first.lines] in (["CAP"], ["CAP", "QUIT"])
            assert (second.tls, second.port) == (True, 7000)
        # The policy is kept: the next life does not even ask without TLS.
        async with scene.running():
            await until(lambda: len(scene.server.everybody) == 3)
            third = scene.server.everybody[2]
            assert (third.tls, third.port) == (True, 7000)


async def test_a_policy_on_a_secure_connection_means_its_own_port_and_ends(
    tmp_path: Path, autojump_clock: object
) -> None:
    """By TLS only `duration` counts; 0 takes the policy back; a kept one runs out."""
    settings = IrcSettings(name="irc", server="irc.example", nick="ofc", port=6697)
    async with irc_scene(tmp_path, settings=settings) as scene:
        scene.server.caps = ["sts=port=9999,duration=100"]
        async with scene.running():
            await scene.up()
        scene.settings = evolve(settings, tls=False, port=6667)
        async with scene.running():
            await scene.up()
            assert (scene.server.everybody[1].tls, scene.server.everybody[1].port) == (True, 6697)
            scene.server.caps = []
        await trio.sleep(101)
        async with scene.running():
            await scene.up()
            assert not scene.server.everybody[2].tls
        scene.server.caps = ["sts=duration=0"]
        scene.settings = settings
        async with scene.running():
            await scene.up()


async def test_a_policy_counts_from_the_end_of_the_connection(
    tmp_path: Path, autojump_clock: object
) -> None:
    """And not from its beginning: a bridge is connected for months."""
    settings = IrcSettings(name="irc", server="irc.example", nick="ofc", port=6697)
    async with irc_scene(tmp_path, settings=settings) as scene:
        scene.server.caps = ["sts=duration=100"]
        async with scene.running():
            await scene.up()
            await trio.sleep(80)
        await trio.sleep(50)
        scene.settings = evolve(settings, tls=False, port=6667)
        async with scene.running():
            await scene.up()
            assert [one.tls for one in scene.server.everybody] == [True, True]


async def test_without_a_policy_the_password_follows_the_question(
    tmp_path: Path, autojump_clock: object
) -> None:
    """A bare server without TLS still gets its PASS, before NICK."""
    settings = _insecure(tmp_path, account="", account_password_file="")
    async with irc_scene(tmp_path, settings=settings) as scene, scene.running():
        await scene.up()
        commands = [one.command for one in scene.server.everybody[0].lines]
        assert commands[:4] == ["CAP", "PASS", "NICK", "USER"]


# -- proof (I7) ------------------------------------------------------------------------------------


async def test_a_broken_link_neither_loses_nor_doubles_where_history_tells(
    tmp_path: Path, autojump_clock: object
) -> None:
    """The same words twice, the link breaking behind the first and before the second."""
    async with irc_scene(tmp_path, caps=_MODERN) as scene, scene.running():
        await scene.up()
        await scene.room.send("ok")
        await until(lambda: len(scene.heard()) == 1)
        fates = ["after", "before"]

        def swallow(_guest: Guest, line: Line) -> str:
            return fates.pop(0) if line.command == "PRIVMSG" and fates else ""

        scene.server.swallow = swallow
        await scene.room.send("ok")  # arrives, and the link breaks: its echo too
        await until(lambda: len(scene.server.everybody) == 2)
        await scene.up()
        await scene.room.send("ok")  # does not arrive
        await until(lambda: len(scene.server.everybody) == 3)
        await scene.up()
        await scene.room.send("last")
        await until(lambda: scene.heard()[-1:] == ["ofc: <\x02Ana\x02> last"])
        assert scene.heard() == [
            "ofc: <\x02Ana\x02> ok",
            "ofc: <\x02Ana\x02> ok",
            "ofc: (again?) <\x02Ana\x02> ok",
            "ofc: <\x02Ana\x02> last",
        ]


async def test_what_came_back_proves_one_message_and_no_other(
    tmp_path: Path, autojump_clock: object
) -> None:
    """The same words again, at once, without ids; the link breaks before they arrive."""
    caps = [one for one in _MODERN if one != "msgid"]
    async with irc_scene(tmp_path, caps=caps) as scene, scene.running():
        await scene.up()
        await scene.room.send("ok")
        await until(lambda: len(scene.heard()) == 1)
        await trio.sleep(0.5)
        fates = ["before"]

        def swallow(_guest: Guest, line: Line) -> str:
            return fates.pop(0) if line.command == "PRIVMSG" and fates else ""

        scene.server.swallow = swallow
        await scene.room.send("ok")
        await until(lambda: len(scene.heard()) == 2)
        await trio.sleep(5)
        assert [one.partition("> ")[2] for one in scene.heard()] == ["ok", "ok"]


async def test_what_came_back_in_part_is_ended_and_not_begun_again(
    tmp_path: Path, autojump_clock: object
) -> None:
    """Of three lines two arrived: the third follows, as it would have."""
    async with irc_scene(tmp_path, caps=_MODERN) as scene, scene.running():
        await scene.up()
        count = [0]

        def swallow(_guest: Guest, line: Line) -> str:
            count[0] += line.command == "PRIVMSG"
            return "after" if line.command == "PRIVMSG" and count[0] == 2 else ""

        scene.server.swallow = swallow
        await scene.room.send("one\ntwo\nthree")
        await until(lambda: len(scene.heard()) == 3)
        await trio.sleep(5)
        assert [one.partition("> ")[2] for one in scene.heard()] == ["one", "two", "three"]


async def test_a_refusal_with_a_label_marks_its_own_message(
    tmp_path: Path, autojump_clock: object
) -> None:
    """Two messages under way, the first not proven by its PING yet, the second refused: the label
    says which."""
    async with irc_scene(tmp_path, caps=_MODERN) as scene, scene.running():
        await scene.up()
        refusing = _refuse_bad(scene)
        with scene.ana.transaction() as tx:
            scene.room.queue(tx, "good")
            scene.room.queue(tx, "bad")
        await until(lambda: any("it is refused" in one for one in scene.notices()))
        by_text = {one.text: one for one in scene.messages()}
        assert by_text["bad"].reactions
        assert not by_text["good"].reactions
        assert refusing == ["lost"], "its PING was not answered"


async def test_a_refusal_without_a_label_marks_the_message_of_that_place(
    tmp_path: Path, autojump_clock: object
) -> None:
    """A plain server, which says no more than which place it is about."""
    async with irc_scene(tmp_path) as scene, scene.running():
        await scene.up()
        for number, refusal in enumerate(("404", "716", "936", "439", "417", "FAIL")):
            scene.server.refuse["ofc", "PRIVMSG"] = refusal
            bad = await scene.room.send(f"bad {number}")
            await until(lambda: (m := scene.room.message(bad.event_id)) and m.reactions)  # noqa: B023
        scene.server.refuse.clear()
        good = await scene.room.send("good")
        await until(lambda: scene.heard())
        await trio.sleep(5)
        message = scene.room.message(good.event_id)
        assert message is not None
        assert not message.reactions


def _refuse_bad(scene: IrcScene) -> list[str]:
    """The server refuses the word "bad", and passes over the first PING behind something said."""
    passed_over: list[str] = []

    def fate(guest: Guest, line: Line) -> str:
        if line.command == "PRIVMSG":
            is_bad = line[1].endswith("bad")
            scene.server.refuse = {("ofc", "PRIVMSG"): "404"} if is_bad else {}
        elif line.command == "PING" and guest.said("PRIVMSG") and not passed_over:
            passed_over.append("lost")
            return "lost"
        return ""

    scene.server.swallow = fate
    return passed_over


async def test_replies_find_their_line_both_ways(tmp_path: Path, autojump_clock: object) -> None:
    """An answer on IRC to what went out is a reply in the room, and the other way round."""
    async with irc_scene(tmp_path, caps=_MODERN) as scene, scene.running():
        await scene.up()
        sent = await scene.room.send("who comes?")
        await until(lambda: scene.heard())
        own = scene.server.history[CHANNEL][0].tags["msgid"]
        await trio.sleep(1)
        theirs = await scene.server.say("kim", CHANNEL, "I do", **{"+draft/reply": own})
        await until(lambda: scene.bridged())
        answer = next(one for one in scene.messages() if one.via is not None)
        assert answer.reply_to == sent.event_id
        await scene.room.send("fine", reply_to=answer.event_id)
        await until(lambda: len(scene.heard()) == 2)
        assert scene.server.history[CHANNEL][-1].tags["+draft/reply"] == theirs


# -- history (I8) ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("page", "requests"), [(1000, 6), (13, 8)])
async def test_a_gap_is_filled_page_by_page_in_order_and_once(
    tmp_path: Path, autojump_clock: object, page: int, requests: int
) -> None:
    """Twenty are asked for at once; a page that is shorter is not the end, one without lines is."""
    async with irc_scene(
        tmp_path,
        portal(in_per_second=10_000.0, in_burst=10_000, in_backlog=10_000),
        caps=_MODERN,
        isupport="NICKLEN=30 CHATHISTORY=20 MSGREFTYPES=msgid,timestamp",
    ) as scene:
        scene.server.page = page
        async with scene.running():
            await scene.up()
            await scene.server.say("kim", CHANNEL, "line 0")
            await until(lambda: scene.bridged())
            await trio.sleep(3)
        for number in range(1, 91):
            await scene.server.say("kim", CHANNEL, f"line {number}")
        await trio.sleep(1)
        async with scene.running():
            await scene.up()
            await until(lambda: len(scene.bridged()) == 91)
            words = [one.rpartition("line ")[2] for one in scene.bridged()]
            assert words == [str(number) for number in range(91)]
            asked = scene.server.everybody[-1].said("CHATHISTORY")
            assert len(asked) == requests, "as many as there are pages, and one"
            assert all(one[0] == "AFTER" for one in asked)


@pytest.mark.parametrize(("limit", "most"), [("_LINES", 50), ("_PAGES", 10)])
async def test_a_gap_that_is_too_large_says_what_is_missing(
    tmp_path: Path,
    autojump_clock: object,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    most: int,
) -> None:
    """Of too many lines, or of too many pages of few."""
    monkeypatch.setattr(history, limit, most)
    async with irc_scene(
        tmp_path,
        portal(in_per_second=10_000.0, in_burst=10_000, in_backlog=10_000),
        caps=_MODERN,
        isupport="NICKLEN=30 CHATHISTORY=5 MSGREFTYPES=msgid,timestamp",
    ) as scene:
        async with scene.running():
            await scene.up()
        await trio.sleep(700)
        for number in range(57):
            await scene.server.say("kim", CHANNEL, f"line {number}")
        await trio.sleep(1)
        async with scene.running():
            await scene.up()
            await until(lambda: any("7 lines are missing here" in one for one in scene.notices()))
            await until(lambda: len(scene.bridged()) == 50)
            await scene.server.say("kim", CHANNEL, "live")
            await until(lambda: scene.bridged()[-1] == "kim: live")
            assert len(scene.bridged()) == 51


async def test_nothing_from_before_the_bridge_came_is_taken(
    tmp_path: Path, autojump_clock: object
) -> None:
    """Neither what it would have to ask for, nor what a server plays back to whoever joins."""
    async with irc_scene(tmp_path, caps=_MODERN) as scene:
        server = scene.server
        await server.say("kim", CHANNEL, "old")
        old = server.history[CHANNEL][0]
        await trio.sleep(5)
        async with scene.running():
            await scene.up()
            guest = scene.guest("ofc")
            await server.to(guest, "irc.example", "BATCH", "+p1", "chathistory", CHANNEL)
            await server.to(guest, old.source, old.command, *old.params, **old.tags, batch="p1")
            await server.to(guest, "irc.example", "BATCH", "-p1")
            await server.say("kim", CHANNEL, "new")
            await until(lambda: scene.bridged())
        async with scene.running():
            await scene.up()
            await trio.sleep(5)
            assert scene.bridged() == ["kim: new"]


async def test_a_gap_begins_where_the_last_line_was(tmp_path: Path, autojump_clock: object) -> None:
    """And not where the bridge came: all that was said since would be asked for, page by page."""
    async with irc_scene(tmp_path, caps=_MODERN) as scene:
        async with scene.running():
            await scene.up()
            await trio.sleep(1000)
            await scene.server.say("kim", CHANNEL, "hello")
            await until(lambda: scene.bridged())
        last = time_of(Line("", tags={"time": scene.server.history[CHANNEL][0].tags["time"]}))
        await trio.sleep(60)
        async with scene.running():
            await scene.up()
            asked = scene.guest("ofc").said("CHATHISTORY")[0][2].removeprefix("timestamp=")
            since = time_of(Line("", tags={"time": asked}))
            assert last is not None
            assert since is not None
            assert 0 <= last - since <= 1000


@pytest.mark.parametrize("ahead", [-3_600_000, 3_600_000])
async def test_a_server_whose_clock_is_wrong_is_heard_as_any(
    tmp_path: Path, autojump_clock: object, ahead: int
) -> None:
    """By an hour: what is said now is not late, nor from before; what was before is not taken."""
    async with irc_scene(tmp_path, caps=_MODERN) as scene:
        server = scene.server
        server.now = lambda: scene.bridge.now() + ahead
        await server.say("kim", CHANNEL, "old")
        old = server.history[CHANNEL][0]
        await trio.sleep(5)
        async with scene.running():
            await scene.up()
            guest = scene.guest("ofc")
            await server.to(guest, "irc.example", "BATCH", "+p1", "chathistory", CHANNEL)
            await server.to(guest, old.source, old.command, *old.params, **old.tags, batch="p1")
            await server.to(guest, "irc.example", "BATCH", "-p1")
            await trio.sleep(3)
            assert scene.bridged() == []
        await server.say("kim", CHANNEL, "missed")
        await trio.sleep(5)
        async with scene.running():
            await scene.up()
            await server.say("kim", CHANNEL, "new")
            await until(lambda: len(scene.bridged()) == 2)
            await trio.sleep(3)
            assert [one.rpartition(" UTC) ")[2] for one in scene.bridged()] == [
                "missed",
                "kim: new",
            ]


# -- RELAYMSG --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caps", "expected"),
    [
        ([one for one in ALL_CAPS if "multiline" not in one], "Ana/ofc: hello"),
        (_MODERN, "ofc: <\x02Ana\x02> hello"),
    ],
)
async def test_relaymsg_speaks_in_members_names_and_does_not_come_back(
    tmp_path: Path, autojump_clock: object, caps: list[str], expected: str
) -> None:
    """Where it is offered; elsewhere the same portal says who speaks, in the line."""
    there = portal(options=IrcPlace(mode="relaymsg"))
    async with irc_scene(tmp_path, there, caps=caps) as scene, scene.running():
        await scene.up()
        sent = await scene.room.send("hello")
        await until(lambda: scene.heard() == [expected])
        await trio.sleep(5)
        assert scene.bridged() == []
        assert scene.engine is not None
        passed = scene.engine.journal.passed(scene.bridge.vault, "irc", CHANNEL, sent.event_id)
        assert passed is not None
        assert (passed.state, len(passed.remote_ids)) == (State.CONFIRMED, 1)


# -- redactions and reactions (G6) -----------------------------------------------------------------


async def test_what_is_taken_back_is_redacted_where_that_is_offered(
    tmp_path: Path, autojump_clock: object
) -> None:
    """Both ways; and what waits still is never said."""
    there = portal(hold=3.0)
    async with irc_scene(tmp_path, there, caps=_MODERN) as scene, scene.running():
        await scene.up()
        sent = await scene.room.send("oops")
        await until(lambda: scene.heard())
        await trio.sleep(1)
        await scene.room.redact(sent.event_id)
        await until(lambda: scene.guest("ofc").said("REDACT"))
        msgid = scene.server.history[CHANNEL][0].tags["msgid"]
        assert scene.guest("ofc").said("REDACT") == [(CHANNEL, msgid)]
        soon = await scene.room.send("never")
        await scene.room.redact(soon.event_id)
        theirs = await scene.server.say("kim", CHANNEL, "mine")
        await until(lambda: scene.bridged())
        await scene.server.act("kim", "REDACT", (CHANNEL, theirs))
        await until(lambda: sum(m.redacted_by is not None for m in scene.messages()) == 3)
        await trio.sleep(10)
        assert len(scene.heard()) == 1


@pytest.mark.parametrize(("choice", "count"), [("off", 1), ("notice", 2)])
async def test_without_redact_a_notice_only_if_wanted(
    tmp_path: Path, autojump_clock: object, choice: str, count: int
) -> None:
    there = portal(options=IrcPlace(redactions=choice))
    async with irc_scene(tmp_path, there) as scene, scene.running():
        await scene.up()
        sent = await scene.room.send("oops")
        await until(lambda: scene.heard())
        await trio.sleep(1)
        await scene.room.redact(sent.event_id)
        await trio.sleep(10)
        assert len(scene.heard()) == count
        assert "oops" not in "".join(scene.heard()[1:])


async def test_reactions_are_tags_where_the_line_has_an_id(
    tmp_path: Path, autojump_clock: object
) -> None:
    there = portal(reactions=True)
    async with irc_scene(tmp_path, there, caps=_MODERN) as scene, scene.running():
        await scene.up()
        theirs = await scene.server.say("kim", CHANNEL, "shall we?")
        await until(lambda: scene.bridged())
        [message] = [one for one in scene.messages() if one.via is not None]
        await scene.room.react(message.event_id, "👍")
        await until(lambda: scene.guest("ofc").said("TAGMSG"))
        [told] = [one for one in scene.guest("ofc").lines if one.command == "TAGMSG"]
        assert told.tags["+draft/react"] == "👍"
        assert told.tags["+draft/reply"] == theirs
        tags = {"+draft/react": "❤", "+draft/reply": theirs}
        await scene.server.act("kim", "TAGMSG", (CHANNEL,), **tags)
        await until(lambda: len(scene.bridged()) == 2)
        assert scene.bridged()[-1] == "kim: ❤"
        assert [one for one in scene.messages() if one.via][-1].reply_to == message.event_id


async def test_elsewhere_reactions_are_told_together_and_hold_nothing_up(
    tmp_path: Path, autojump_clock: object
) -> None:
    """One line for a message's reactions; one that was taken back meanwhile is not told."""
    async with irc_scene(tmp_path, portal(reactions=True)) as scene, scene.running():
        await scene.up()
        bo = await (await scene.world.client("bo")).join(await scene.room.invite(), name="Bo")
        await scene.server.say("kim", CHANNEL, "shall we?")
        await until(lambda: scene.bridged())
        [message] = [one for one in scene.messages() if one.via is not None]
        await until(lambda: bo.message(message.event_id) is not None)
        await scene.room.react(message.event_id, "👍")
        await bo.react(message.event_id, "👍")
        await bo.react(message.event_id, "🎉")
        await bo.react(message.event_id, "🎉", remove=True)
        await scene.room.send("at once")
        await until(lambda: len(scene.heard()) == 2)
        await trio.sleep(20)
        assert scene.heard() == [
            "ofc: <\x02Ana\x02> at once",
            'ofc: to kim, "shall we?": 👍 Ana, Bo',
        ]


async def test_who_comes_and_goes_and_what_it_is_about_is_told_both_ways(
    tmp_path: Path, autojump_clock: object
) -> None:
    """Joins, parts, quits, kicks, nicks, topics, notices; a new host counts in the next line."""
    there = portal(presence=True, topic=True)
    async with irc_scene(tmp_path, there, caps=ALL_CAPS) as scene, scene.running():
        await scene.up()
        server = scene.server
        for nick, command, *words in (
            ("kim", "JOIN", CHANNEL),
            ("kim", "NICK", "kimmy"),
            ("kimmy", "NOTICE", CHANNEL, "beep"),
            ("op", "TOPIC", CHANNEL, "about \x02books\x02"),
            ("op", "KICK", CHANNEL, "kimmy", "enough"),
            ("bo", "JOIN", CHANNEL),
            ("bo", "PART", CHANNEL, "bye"),
            ("cy", "JOIN", CHANNEL),
            ("cy", "QUIT", "Quit: bye"),
        ):
            source = f"{nick}!u@there.example"
            await server.to(scene.guest("ofc"), source, command, *words)
            await trio.sleep(1.5)
        await trio.sleep(5)
        assert scene.bridged() == [
            "kim: *kim joined*",
            "kim: *kim is now kimmy*",
            "kimmy: beep",
            "op: *set the topic to:* about books",
            "kimmy: *kimmy was kicked out by op*",
            "bo: *bo joined*",
            "bo: *bo left*",
            "cy: *cy joined*",
            "cy: *cy quit*",
        ]
        bo = await scene.world.client("bo")
        await bo.join(await scene.room.invite(), name="Bo")
        await scene.room.rename("books", "about more")
        await trio.sleep(5)
        assert scene.guest("ofc").said("TOPIC") == [(CHANNEL, "about more")]
        await trio.sleep(5)
        assert [one.endswith(" joined") for one in scene.heard()] == [True]
        host = "a-very-long-host." * 3 + "example"
        await server.to(scene.guest("ofc"), scene.guest("ofc").mask, "CHGHOST", "ofc", host)
        await scene.room.send("x" * 800)
        await trio.sleep(5)
        assert sum(one.count("x") for one in scene.heard()) == 800
        for one in scene.heard():
            text = one.partition(": ")[2]
            assert len(f":ofc!ofc@{host} PRIVMSG {CHANNEL} :{text}\r\n".encode()) <= 512
