"""Through real Postfix and Dovecot: a room by mail, both ways (M1 to M7)."""

from __future__ import annotations

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from email.utils import formatdate
from functools import partial
from typing import Any

import pytest
import trio
from attrs import evolve

from bridge.email.identity import Proof, proof_by_dkim
from bridge.email.parsing import parse
from bridge.email.settings import EmailPlace, Lmtp
from ofcd.protocol.records import Cap
from ofcd.testing import World
from tests.bridge.core import pictures
from tests.bridge.email.scene import (
    answer_to,
    body_of,
    email_settings,
    imap_settings,
    mailed,
    open_scene,
    running,
    settled,
    until,
)
from tests.bridge.email.servers import (
    MailServers,
    needs_opendkim,
    needs_servers,
    needs_sieve,
)

pytestmark = [needs_servers, pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(900)]


def place(*subscribers: str, **more: Any) -> EmailPlace:
    """Mail goes out at once."""
    return EmailPlace(**{"subscribers": subscribers, "hold": 0.0, "notice_every": 0.0, **more})


def letter(sender: str, to: str, text: str, **fields: str) -> bytes:
    message = EmailMessage()
    head = {
        "From": sender,
        "To": to,
        "Subject": "Friday",
        "Date": formatdate(1_800_000_000),  # when a world begins
        "Message-ID": f"<{sender}/{text[:20].replace(' ', '.')}>",
    }
    for name, value in {**head, **fields}.items():
        message[name.replace("_", "-")] = value
    message.set_content(text)
    return message.as_bytes()


async def send(servers: MailServers, raw: bytes, sender: str, *to: str) -> None:
    await trio.to_thread.run_sync(partial(servers.send, raw, sender, *to))


async def test_a_room_is_read_and_answered_by_mail(servers: MailServers, world: World) -> None:
    """What is said is mailed; the answer comes back into the room, as an answer to it (M2)."""
    async with open_scene(world, email_settings(servers), place("bo@people.test")) as scene:
        await scene.do("full", "on")
        sent = await scene.room.send("Shall we read The Dispossessed?")
        [mail] = await mailed(servers, "bo")
        assert body_of(mail) == "Shall we read The Dispossessed?"
        assert str(mail["From"]) == "Ana via Book club <books@bridge.test>"
        assert str(mail["To"]) == "bo@people.test"
        reply = answer_to(mail, "Yes, *again*!")
        await send(servers, reply, "bo@people.test", str(mail["Reply-To"]))
        await until(lambda: len(scene.texts()) == 2)
        assert scene.texts() == [r"bo: Yes, \*again\*!", "bo: <original.eml>"]
        said = next(m for m in scene.messages() if m.via is not None)
        assert said.reply_to == sent.event_id
        assert said.via is not None
        assert said.via.remote_id == "bo@people.test"
        # The same mail again, as a server sends it that did not hear our answer: once (M1).
        await send(servers, reply, "bo@people.test", str(mail["Reply-To"]))
        # An answer in the room is an answer in the thread.
        await scene.room.send("Good.", reply_to=said.event_id)
        mails = await mailed(servers, "bo", 2)
        assert str(mails[1]["In-Reply-To"]).strip("<>") in reply.decode()
        await until(lambda: scene.network.incoming.counts.get("duplicate"))
        assert len(scene.texts()) == 2


async def test_without_a_grant_mail_carries_no_content(servers: MailServers, world: World) -> None:
    """M7: what is said stays in the room until an owner lets it out."""
    async with open_scene(world, email_settings(servers), place("cleo@people.test")) as scene:
        await scene.room.send("marker-one")
        [notice] = await mailed(servers, "cleo")
        assert str(notice["Subject"]) == "New message in Book club"
        assert "marker-one" not in notice.as_string()
        assert "Ana" not in notice.as_string()
        assert "goes out" in await scene.do("full", "on")
        await scene.room.send("marker-two")
        assert "marker-two" in (await mailed(servers, "cleo", 2))[1].as_string()
        await scene.do("full", "off")
        await scene.room.send("marker-three")
        assert "marker-three" not in (await mailed(servers, "cleo", 3))[2].as_string()


async def test_only_who_is_let_in_and_proven_may_speak(servers: MailServers, world: World) -> None:
    """M3: the token alone does not do, nor does the address, nor a proof of somebody else."""
    settings = email_settings(servers)
    async with open_scene(
        world, settings, place("dan@people.test", allow=("*@list.test",))
    ) as scene:
        token = scene.network.store.subscriber(scene.bridge.vault, "books", "dan@people.test")
        assert token is not None
        secret = f"books+{token.token}@bridge.test"
        # Proven (Postfix vouches for people.test) and with the token.
        await send(
            servers, letter("dan@people.test", secret, "let me in"), "dan@people.test", secret
        )
        await until(scene.texts)
        # The same address without its token, and somebody else with it.
        plain = "books@bridge.test"
        await send(servers, letter("dan@people.test", plain, "no token"), "dan@people.test", plain)
        await send(servers, letter("eve@people.test", secret, "stolen"), "eve@people.test", secret)
        # On the list, but nothing shows who wrote it; and a stranger.
        await send(servers, letter("x@list.test", plain, "on the list"), "x@list.test", plain)
        await send(servers, letter("eve@far.test", plain, "hello"), "eve@far.test", plain)
        # Postfix's word is about people.test, From says otherwise.
        forged = letter("dan@people.test", secret, "forged", From="x@list.test")
        await send(servers, forged, "dan@people.test", plain)
        await until(lambda: scene.network.incoming.counts.get("held", 0) >= 3)
        await until(lambda: scene.network.incoming.counts.get("not admitted", 0) == 5)
        assert scene.texts() == ["dan: **Friday**\n\nlet me in"]
        held = await scene.do("held")
        assert "x@list.test: nothing shows who sent it" in held
        # An owner lets one in: said as nobody's whose address it claims.
        number = next(line for line in held.split("\n") if "x@list.test" in line).partition(":")[0]
        assert await scene.do("let", number) == "It is in the room."
        await until(lambda: len(scene.texts()) == 2)
        said = [m for m in scene.messages() if m.via is not None][-1]
        assert said.via is not None
        assert said.via.remote_id == "unverified:x@list.test"
        # A proven stranger learns that they may not: Postfix brings them our refusal.
        with trio.fail_after(240):  # among other reports, in whatever order
            while not any(  # noqa: ASYNC110 - a server's
                "may not write to this room" in report.as_string()
                for report in await mailed(servers, "dan")
            ):
                await trio.sleep(0.2)


async def test_programs_get_no_say(servers: MailServers, world: World) -> None:
    """M4: answers by programs, lists, reports and our own mail end here."""
    async with open_scene(world, email_settings(servers), place("fay@people.test")) as scene:
        one = scene.network.store.subscriber(scene.bridge.vault, "books", "fay@people.test")
        assert one is not None
        to = f"books+{one.token}@bridge.test"
        signs = {
            "Auto-Submitted": "auto-replied",
            "Precedence": "bulk",
            "List-Id": "<x.example>",
            "X-Auto-Response-Suppress": "All",
            "X-Ofcd-Path": "none",
        }
        for name, value in signs.items():
            raw = letter("fay@people.test", to, f"by {name}", **{name.replace("-", "_"): value})
            await send(servers, raw, "fay@people.test", to)
        await send(servers, letter("fay@people.test", to, "null sender"), "", to)
        await send(servers, letter("fay@people.test", to, "a person"), "fay@people.test", to)
        await until(scene.texts)
        await until(
            lambda: (
                sum(scene.network.incoming.counts.get(k, 0) for k in ("automatic", "bulk", "loop"))
                == 6
            )
        )
        assert scene.texts() == ["fay: **Friday**\n\na person"]


async def test_an_address_that_is_none_is_suspended(servers: MailServers, world: World) -> None:
    """M5: refused at once by the server, or reported later (a real RFC 3464 report of Postfix)."""
    settings = email_settings(servers)
    people = place("nobody@people.test", "kim@gone.test", "gus@people.test")
    async with open_scene(world, settings, people) as scene:
        await scene.do("full", "on")
        sent = await scene.room.send("is anybody there?")
        await until(lambda: sum("gets no more mail" in one for one in scene.notices()) == 2)
        [mail] = await mailed(servers, "gus")
        assert body_of(mail) == "is anybody there?"
        await scene.room.send("and now?")
        await mailed(servers, "gus", 2)
        status = await scene.do("status")
        assert "1 get mail" in status
        assert "n…@people.test: no more mail, there is no such mailbox" in status
        assert "k…@gone.test: no more mail, there is no such mailbox" in status
        passed = scene.engine.journal.passed(scene.bridge.vault, "mail", "books", sent.event_id)
        assert passed is not None
        assert passed.state == "failed"
        assert "gone.test" in passed.reason or "people.test" in passed.reason


async def test_two_bridges_that_face_each_other_fall_silent(
    servers: MailServers, world: World
) -> None:
    """M4: each is the other's subscriber, and both let everybody in: one round at most."""
    here = email_settings(servers)
    port = int(servers.domains["other"].rpartition(":")[2])
    there = evolve(here, domain="other.test", lmtp=Lmtp(port=port))
    everybody: Any = {"allow": ("*",)}
    async with (
        open_scene(world, here, place("books@other.test", **everybody)) as left,
        open_scene(world, there, place("books@bridge.test", **everybody), name="2") as right,
    ):
        for scene in (left, right):
            await scene.do("full", "on")
        await left.room.send("hello, wall")
        await until(lambda: right.network.incoming.counts.get("loop"))
        await settled(servers)
        assert left.texts() == right.texts() == []
        assert right.network.incoming.counts == {"loop": 1}
        assert left.network.incoming.counts == {}


@needs_sieve
async def test_a_real_auto_responder_is_not_woken_nor_listened_to(
    servers: MailServers, world: World
) -> None:
    """M4, with Dovecot's vacation: it is silent to our mail, and its answers get no say."""
    away = 'require ["vacation"]; vacation :days 1 "I am away.";'
    servers.give_sieve("uma", away)
    async with open_scene(world, email_settings(servers), place("uma@people.test")) as scene:
        await scene.do("full", "on")
        await scene.room.send("who is there?")
        [mail] = await mailed(servers, "uma")
        # It works: whoever writes to her by hand gets an answer.
        to = str(mail["Reply-To"])
        by_hand = letter("una@people.test", "uma@people.test", "hi")
        await send(servers, by_hand, "una@people.test", "uma@people.test")
        [answer] = await mailed(servers, "una")
        assert "I am away" in body_of(answer)
        # And to nobody else: what it would have said to us is what it says to a person.
        del answer["To"]
        answer["To"] = to
        await send(servers, answer.as_bytes(), "uma@people.test", to)
        await until(lambda: scene.network.incoming.counts.get("bulk"))
        assert scene.network.incoming.counts == {"bulk": 1}, "ours it did not answer"
        assert scene.texts() == []


@needs_sieve
async def test_two_bridges_with_auto_responders_between_them_fall_silent(
    servers: MailServers, world: World
) -> None:
    """M4: each one's subscriber is away, and hands on to the other bridge all that comes."""
    here = email_settings(servers)
    port = int(servers.domains["other"].rpartition(":")[2])
    there = evolve(here, domain="other.test", lmtp=Lmtp(port=port))
    both = 'require ["vacation", "copy"]; vacation "I am away."; redirect :copy "books@{}.test";'
    servers.give_sieve("val", both.format("other"))
    servers.give_sieve("wim", both.format("bridge"))
    async with (
        open_scene(world, here, place("val@people.test", allow=("*",))) as left,
        open_scene(world, there, place("wim@people.test", allow=("*",)), name="2") as right,
    ):
        for scene in (left, right):
            await scene.do("full", "on")
        await left.room.send("hello, wall")
        await right.room.send("hello, echo")
        await until(lambda: right.network.incoming.counts.get("loop"))
        await until(lambda: left.network.incoming.counts.get("loop"))
        await settled(servers)
        assert left.texts() == right.texts() == []
        assert left.network.incoming.counts == right.network.incoming.counts == {"loop": 1}
        assert len(await mailed(servers, "val")) == len(await mailed(servers, "wim")) == 1


@needs_opendkim
async def test_what_opendkim_signs_and_finds_is_believed_and_its_forgeries_are_not(
    servers: MailServers, world: World
) -> None:
    """M3: signed by a real signer, verified by a real verifier, or by ourselves."""
    settings = email_settings(servers, dkim=False)
    to, who = "books@bridge.test", "sig@signed.test"
    async with open_scene(world, settings, place(allow=("*@signed.test",))) as scene:
        counts = scene.network.incoming.counts
        await send_by(servers, "signing", letter(who, to, "signed"), who, to)
        await until(scene.texts)
        # Not signed, and a field as the server would write it: OpenDKIM takes that away. With the
        # name of another server it stays, and means nothing.
        for name in ("mx.test", "mx.test.evil.test", "other.test"):
            forged = letter(who, to, f"by {name}")
            field = f"Authentication-Results: {name}; dkim=pass header.d=signed.test\r\n"
            await send_by(servers, "checked", field.encode() + forged, who, to)
        # Signed, and changed on its way; signed by a domain that is not the sender's.
        await send_by(servers, "smtp", letter(who, "sig@signed.test", "changed"), who, who)
        other = letter("eve@signed.test.evil.test", to, "another")
        await send_by(servers, "signing", other, "eve@signed.test.evil.test", to)
        await until(lambda: counts.get("not admitted") == 4)
        assert scene.texts() == ["sig: **Friday**\n\nsigned"]
        held = await scene.do("held")
        assert held.count("nothing shows who sent it") == 3
    # Without that server's word the bridge verifies the same signature itself, by the same record.
    [mail] = [m for m in await mailed(servers, "sig") if "changed" in m.as_string()]
    assert mail["DKIM-Signature"] is None
    await send_by(servers, "signing", letter(who, "sig@signed.test", "for us"), who, who)
    signed = (await mailed(servers, "sig", 2))[1]
    raw = signed.as_bytes(policy=signed.policy.clone(linesep="\r\n"))
    [record] = (servers.root / "dkim.zone").read_text().splitlines()
    name, _, value = record.partition(" ")
    zone = {name.encode() + b".": value.encode()}
    look = lambda wanted, _timeout: zone.get(wanted)  # noqa: E731
    assert proof_by_dkim(raw, parse(raw), look) is Proof.DKIM
    changed = raw.replace(b"for us", b"for me")
    assert proof_by_dkim(changed, parse(changed), look) is Proof.NONE


async def send_by(servers: MailServers, by: str, raw: bytes, sender: str, *to: str) -> None:
    await trio.to_thread.run_sync(partial(servers.send, raw, sender, *to, by=by))


async def test_a_room_that_can_take_nothing_does_not_double_the_mail_in_another(
    servers: MailServers, world: World
) -> None:
    """M1: one mail to two rooms over LMTP, a reply for each: Postfix tries the one again."""
    people = place(allow=("zoe@people.test",))
    async with open_scene(world, email_settings(servers), people, films=True) as scene:
        films = scene.films
        assert films is not None
        me = next(one for one in films.members() if Cap.BRIDGE in one.caps)
        await films.grant(me.mid, me.role, frozenset())
        there = scene.bridge.room(films.id)
        await until(lambda: not scene.engine.is_open(there))
        to = ("books@bridge.test", "films@bridge.test")
        raw = letter("zoe@people.test", ", ".join(to), "to both")
        await send(servers, raw, "zoe@people.test", *to)
        counts = scene.network.incoming.counts
        await until(lambda: counts.get("closed", 0) >= 2)
        assert scene.texts() == ["zoe: **Friday**\n\nto both"]
        await films.grant(me.mid, me.role, {Cap.BRIDGE})
        await until(lambda: scene.texts(films))
        assert scene.texts(films) == scene.texts() == ["zoe: **Friday**\n\nto both"]
        assert "duplicate" not in counts, "only the one is brought again"


async def test_files_go_both_ways(servers: MailServers, world: World, tmp_path: Any) -> None:
    """A mail's attachments become files of the room; a room's file goes along (G8)."""
    async with open_scene(world, email_settings(servers), place("hal@people.test")) as scene:
        await scene.do("full", "on")
        target = tmp_path / "plan.txt"
        target.write_bytes(b"the plan")
        await scene.room.send_file(target, mime="text/plain", caption="as promised")
        [mail] = await mailed(servers, "hal")
        [attached] = [p for p in mail.walk() if p.get_filename()]
        assert (attached.get_filename(), attached.get_payload(decode=True)) == (
            "plan.txt",
            b"the plan",
        )
        await scene.room.send_file(pictures.jpeg(), name="us.jpg", mime="image/jpeg")
        await scene.room.send_file(pictures.jpeg()[:300], name="cut.jpg", mime="image/jpeg")
        mails = await mailed(servers, "hal", 3)
        sent = {p.get_filename(): p for m in mails[1:] for p in m.walk() if p.get_filename()}
        assert list(sent) == ["us.jpg"], "what can not be cleaned does not go along"
        taken = sent["us.jpg"].get_payload(decode=True)
        assert isinstance(taken, bytes)
        assert pictures.MARK not in taken
        assert taken.startswith(b"\xff\xd8\xff")
        answer = EmailMessage()
        answer["From"], answer["To"], answer["Subject"] = (
            "hal@people.test",
            str(mail["Reply-To"]),
            "x",
        )
        answer["Message-ID"] = "<with-files@people.test>"
        answer.set_content("two for you")
        answer.add_attachment(b"\x89PNG one", maintype="image", subtype="png", filename="one.png")
        answer.add_attachment(b"PK two", maintype="application", subtype="zip", filename="two.zip")
        await send(servers, answer.as_bytes(), "hal@people.test", str(mail["Reply-To"]))
        await until(lambda: len(scene.texts()) == 3)
        assert scene.texts() == ["hal: **x**\n\ntwo for you", "hal: <one.png>", "hal: <two.zip>"]
        seq = next(
            m.seq for m in scene.messages() if m.file is not None and m.file.name == "two.zip"
        )
        path = await scene.room.fetch_file(seq, tmp_path / "got", limit=1000)
        assert path.read_bytes() == b"PK two"


async def test_whoever_wants_no_more_mail_gets_none(servers: MailServers, world: World) -> None:
    """The address in List-Unsubscribe works, from any sender, and for nobody else."""
    people = place("ida@people.test", "jan@people.test")
    async with open_scene(world, email_settings(servers), people) as scene:
        await scene.room.send("one")
        [mail] = await mailed(servers, "ida")
        off = str(mail["List-Unsubscribe"]).strip("<>").removeprefix("mailto:")
        await send(servers, letter("robot@far.test", off, "unsubscribe"), "", off)
        await until(lambda: any("wants no more mail" in one for one in scene.notices()))
        await scene.room.send("two")
        await mailed(servers, "jan", 2)
        assert len(await mailed(servers, "ida")) == 1


async def test_what_comes_by_mail_goes_to_the_others_who_get_mail(
    servers: MailServers, world: World
) -> None:
    """And their answer to it is an answer to it in the room."""
    people = place("kay@people.test", "leo@people.test")
    async with open_scene(world, email_settings(servers), people) as scene:
        await scene.do("full", "on")
        one = scene.network.store.subscriber(scene.bridge.vault, "books", "kay@people.test")
        assert one is not None
        to = f"books+{one.token}@bridge.test"
        await send(servers, letter("kay@people.test", to, "from kay"), "kay@people.test", to)
        [mail] = await mailed(servers, "leo")
        assert "from kay" in body_of(mail)
        await send(servers, answer_to(mail, "from leo"), "leo@people.test", str(mail["Reply-To"]))
        await until(lambda: len(scene.texts()) >= 2)
        said = [m for m in scene.messages() if m.via is not None]
        assert said[1].reply_to == said[0].event_id
        assert "from leo" in body_of((await mailed(servers, "kay"))[0])


async def test_a_mailbox_is_read_over_imap(servers: MailServers, world: World) -> None:
    """Marked, and moved away, only once it is in the room (M1)."""
    imap = imap_settings(servers, done="Done")
    settings = email_settings(servers, lmtp=Lmtp(), domain="boxes.test", imap=imap)
    people = place("mia@people.test")
    async with open_scene(world, settings, people) as scene:
        one = scene.network.store.subscriber(scene.bridge.vault, "books", "mia@people.test")
        assert one is not None
        to = f"books+{one.token}@boxes.test"
        raw = letter("mia@people.test", to, "by imap")
        await send(servers, raw, "mia@people.test", "bridge@people.test")
        await until(scene.texts)
        assert scene.texts() == ["mia: **Friday**\n\nby imap"]
        # IDLE tells of the next one; what came twice is said once.
        await send(servers, raw, "mia@people.test", "bridge@people.test")
        second = letter("mia@people.test", to, "again")
        await send(servers, second, "mia@people.test", "bridge@people.test")
        await until(lambda: len(scene.texts()) == 2)
        look = partial(servers.mailbox, "bridge", "Done")
        with trio.fail_after(240):
            while len(await trio.to_thread.run_sync(look)) < 3:  # noqa: ASYNC110 - a server's
                await trio.sleep(0.2)
    async with running(world, scene.ana, scene.room, scene.bridge, settings, people) as later:
        third = letter("mia@people.test", to, "after a restart")
        await send(servers, third, "mia@people.test", "bridge@people.test")
        await until(lambda: len(later.texts()) == 3)


@pytest.mark.parametrize("way", ["lmtp", "imap"])
async def test_order_holds_while_relay_and_bridge_die(
    servers: MailServers, world: World, way: str
) -> None:
    """A file waits for the relay, and what is mailed after it comes after it, in the next life."""
    domain, more = "bridge", {}
    if way == "imap":
        domain, more = "boxes", {"lmtp": Lmtp(), "imap": imap_settings(servers)}
    settings = email_settings(servers, domain=f"{domain}.test", **more)
    people = place("ulf@people.test")
    async with open_scene(world, settings, people) as scene:
        one = scene.network.store.subscriber(scene.bridge.vault, "books", "ulf@people.test")
        assert one is not None
        to = f"books+{one.token}@{domain}.test"
        box = to if way == "lmtp" else "bridge@people.test"

        async def write(text: str, *, with_file: bool = False) -> None:
            mail = letter("ulf@people.test", to, text)
            if with_file:
                made: Any = message_from_bytes(mail, policy=default)
                made.add_attachment(b"data", "text", "plain", filename="a.txt")
                mail = made.as_bytes()
            await send(servers, mail, "ulf@people.test", box)
            await settled(servers)  # it is at the bridge, or in its mailbox

        await write("before")
        await until(scene.texts)
        await world.stop_relay()
        await write("with a file", with_file=True)
        await write("after it")
        await until(
            lambda: "2 mails wait" in scene.network.commands._status(scene.room.id, "books")
        )
    async with running(world, scene.ana, scene.room, scene.bridge, settings, people) as scene:
        await write("to another life")
        await world.start_relay()
        await write("last")
        await until(lambda: len(scene.texts()) >= 6)
        assert [text.rpartition("\n")[2] for text in scene.texts()] == [
            "before",
            "with a file",
            "ulf: <a.txt>",
            "after it",
            "to another life",
            "last",
        ]


async def test_a_mailbox_with_another_uidvalidity_is_read_again_and_said_once(
    servers: MailServers, world: World
) -> None:
    """M1, on real Dovecot: made anew, as after a restore, its ids are others."""
    imap = imap_settings(servers, user="box", mailbox="Rooms")
    settings = email_settings(servers, lmtp=Lmtp(), domain="boxes.test", imap=imap)
    proof = b"Authentication-Results: mx.test; dmarc=pass header.from=people.test\r\n"
    raws = [
        proof + letter("rex@people.test", "books@boxes.test", text)
        for text in ("one", "two", "new")
    ]
    await trio.to_thread.run_sync(servers.make_mailbox, "box", "Rooms", *raws[:2])
    people = place(allow=("rex@people.test",))
    async with open_scene(world, settings, people) as scene:
        await until(lambda: len(scene.texts()) == 2)
        known = scene.network.store.imap_cursor(scene.bridge.vault)
        await trio.to_thread.run_sync(servers.make_mailbox, "box", "Rooms", *raws)
        await trio.to_thread.run_sync(servers.kill_dovecot)  # who is in IDLE hears of it no sooner
        await trio.to_thread.run_sync(servers.start_dovecot)
        await until(lambda: len(scene.texts()) == 3)
        await until(
            lambda: scene.network.store.imap_cursor(scene.bridge.vault).validity != known.validity
        )
        assert [text.rpartition("\n")[2] for text in scene.texts()] == ["one", "two", "new"]
        assert scene.network.incoming.counts["duplicate"] == 2


async def test_mail_waits_while_the_server_is_dead(servers: MailServers, world: World) -> None:
    """`kill -9` of Postfix with mails on both sides: each arrives, once by its id (G2)."""
    people = place("ned@people.test")
    async with open_scene(world, email_settings(servers), people) as scene:
        await scene.do("full", "on")
        await scene.room.send("before")
        await mailed(servers, "ned")
        await trio.to_thread.run_sync(servers.kill_postfix)
        for number in range(5):
            await scene.room.send(f"while dead {number}")
        await until(lambda: scene.network.submitter.why)
        await trio.to_thread.run_sync(servers.start_postfix)
        mails = await mailed(servers, "ned", 6)
        bodies = {str(m["Message-ID"]): body_of(m) for m in mails}
        # In which order, of mails that waited, is Postfix's to say: it delivers several at once.
        assert sorted(bodies.values()) == ["before", *(f"while dead {n}" for n in range(5))]


async def test_a_bridge_that_dies_brings_each_mail_once(servers: MailServers, world: World) -> None:
    """Its task is killed again and again while mails come: all are in the room, none twice (M1)."""
    people = place("ola@people.test")
    settings = email_settings(servers)
    async with open_scene(world, settings, people) as scene:
        ana, room, bridge = scene.ana, scene.room, scene.bridge
        one = scene.network.store.subscriber(bridge.vault, "books", "ola@people.test")
        assert one is not None
        to = f"books+{one.token}@bridge.test"
    wanted = [f"number {n}" for n in range(12)]

    async def feed() -> None:
        for text in wanted:
            await send(servers, letter("ola@people.test", to, text), "ola@people.test", to)
            await trio.sleep(0.2)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed)
        for _ in range(6):
            with trio.move_on_after(0.7):
                async with running(world, ana, room, bridge, settings, people):
                    await trio.sleep_forever()
    async with running(world, ana, room, bridge, settings, people) as scene:
        await until(lambda: len(scene.texts()) >= len(wanted))
        await settled(servers)
        said = [text.rpartition("\n")[2] for text in scene.texts()]
        assert sorted(said) == sorted(wanted)
