"""What strangers, and people who may write, try on each other by mail: in memory, no waiting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve
from trio.testing import MockClock

from bridge.email.addressing import token_text
from bridge.email.identity import Proof, proof_by_dkim
from bridge.email.parsing import Mail, parse
from bridge.email.settings import EmailPlace
from ofcd.testing import open_world
from tests.bridge.email.corpus import mail
from tests.bridge.email.post import (
    PROOF,
    SETTINGS,
    Post,
    bring,
    by_bo,
    scene_of,
    secret,
    with_file,
)
from tests.bridge.email.scene import open_scene

EVE = "eve@example.org"
PEOPLE = ("bo@example.org", EVE, "leo@example.org")


def by_eve(text: str, number: str, **fields: str | None) -> bytes:
    return mail(f"{text}\n", From=f"Eve <{EVE}>", Message_ID=f"<{number}>", **fields)


async def test_who_takes_the_id_of_somebody_elses_mail_does_not_silence_it(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    async with scene_of(tmp_path, subscribers=PEOPLE) as scene:
        assert await bring(scene, by_eve("first", "1@example.org"), secret(scene, EVE), EVE) == 250
        assert await bring(scene, by_bo("what Bo says")) == 250
        assert await bring(scene, by_bo("what Bo says")) == 250
        await trio.sleep(5)
        assert [text.rpartition("\n")[2] for text in scene.texts()] == ["first", "what Bo says"]


async def test_who_takes_the_id_of_a_file_does_not_silence_it(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    async with scene_of(tmp_path, subscribers=PEOPLE) as scene:
        raw = by_eve("first", "1@example.org#0")
        assert await bring(scene, raw, secret(scene, EVE), EVE) == 250
        assert await bring(scene, with_file("see", 1)) == 250
        await trio.sleep(5)
        assert scene.texts()[-1] == "Bo: <a.txt>"


async def test_no_words_go_to_the_others_that_the_room_has_not(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    async with scene_of(tmp_path, subscribers=PEOPLE) as scene:
        await scene.do("full", "on")
        await scene.room.send("by Ana")
        await trio.sleep(5)
        ours = post.mails[0][1].message_id
        await bring(scene, by_bo("by Bo"))
        await trio.sleep(5)
        to = secret(scene, EVE)
        for number in (ours, "1@example.org"):
            await bring(scene, by_eve("behind the room's back", number), to, EVE)
        await bring(scene, by_bo("other words, same id"))
        await trio.sleep(60)
        said = "\n".join(scene.texts())
        for to, _, raw in post.mails:
            for words in ("behind the room's back", "other words, same id"):
                assert (words in raw.decode()) <= (words in said), (to, words)


async def test_mail_that_waits_is_not_taken_for_somebody_elses(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    async with scene_of(tmp_path, subscribers=PEOPLE) as scene:
        await scene.world.stop_relay()
        assert await bring(scene, with_file("first", 5)) == 250
        assert await bring(scene, by_eve("mine", "1@example.org"), secret(scene, EVE), EVE) == 250
        assert await bring(scene, by_bo("what Bo says")) == 250
        await scene.world.start_relay()
        await trio.sleep(400)
        assert any("what Bo says" in one for one in scene.texts()), scene.texts()


@pytest.mark.parametrize(
    "address", ["\u212aim@example.org", "\u202emoc@example.org", "b\u200bo@example.org"]
)
def test_an_address_that_reads_as_another_is_nobodys(address: str) -> None:
    assert parse(mail(From=f"Kim <{address}>")).senders == ()


async def test_a_storm_of_answers_tells_the_room_a_few_times(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    async with scene_of(tmp_path) as scene:
        for n in range(50):
            await bring(scene, by_bo(f"I am away {n}", n))
            await trio.sleep(60)
        told = [one for one in scene.notices() if "Over 20 mails" in one]
        assert len(told) == 1


async def test_a_flood_out_tells_the_room_a_few_times(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    async with scene_of(tmp_path) as scene:
        await scene.do("full", "on")
        for n in range(50):
            await scene.room.send(f"word {n}")
            await trio.sleep(60)
        told = [one for one in scene.notices() if "Over 20 mails" in one]
        assert len(told) == 1


async def test_a_report_counts_for_the_mail_whose_return_address_it_came_to_and_no_other(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    """M5: whatever it says of whom; only the servers on that mail's way know that address."""
    async with scene_of(tmp_path, subscribers=PEOPLE) as scene:
        await scene.do("full", "on")
        await scene.room.send("one")
        await trio.sleep(5)
        report = (
            "--b\n\nSorry.\n--b\nContent-Type: message/delivery-status\n\n"
            "Reporting-MTA: dns; mx.example\n\n"
            "Final-Recipient: rfc822; leo@example.org\nAction: delayed\nStatus: 4.4.1\n\n"
            "Final-Recipient: rfc822; bo@example.org\nAction: failed\nStatus: 5.1.1\n--b--\n"
        )
        kind = "multipart/report; report-type=delivery-status; boundary=b"
        forged = mail(report, From="MAILER-DAEMON@mx.example", Content_Type=kind)
        guesses = ["bounce@", "bounce+" + "a" * 24 + "@", "books@"]
        for to in [*(one + "bridge.example" for one in guesses), secret(scene)]:
            assert await bring(scene, forged, to, "") == 250
        await trio.sleep(5)
        assert not any("gets no more mail" in one for one in scene.notices())
        table = scene.network.host.table("sent", large=True)
        sent = {
            found.to: token.decode()
            for token, _ in scene.bridge.vault.items(table)
            if (found := scene.network.store.sent(scene.bridge.vault, token.decode()))
        }
        to = f"bounce+{sent[EVE]}@bridge.example"
        assert await bring(scene, forged, to, "") == 250
        await trio.sleep(5)
        told = [one for one in scene.notices() if "gets no more mail" in one]
        assert [one.partition(" ")[0] for one in told] == ["e…@example.org"], "the worst it says"


async def test_one_mail_for_many_of_our_addresses_is_read_once(
    tmp_path: Path, post: Post, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0

    def counted(raw: bytes) -> Mail:
        nonlocal reads
        reads += 1
        return parse(raw)

    async with scene_of(tmp_path) as scene:
        monkeypatch.setattr("bridge.email.incoming.parse", counted)
        raw = PROOF + by_bo("to many")
        for n in range(40):
            to = "books+" + token_text(bytes([n] * 15)) + "@bridge.example"
            assert (await scene.network.incoming.take(raw, "bo@example.org", to))[0] == 250
        assert reads == 1
        assert (await scene.do("held")).count("not the sender's") == 1


@pytest.mark.parametrize("kind", ["text/plain", "text/html"])
def test_the_text_of_many_parts_is_bounded_as_that_of_one_is(kind: str) -> None:
    part = f"--b\nContent-Type: {kind}\n\n" + "word " * 60_000 + "\n"
    read = parse(mail(part * 60 + "--b--\n", Content_Type="multipart/mixed; boundary=b"))
    assert sum(len(one.plain) for one in read.lines) <= 1024 * 1024
    assert "its text is too long to be read whole" in read.defects


@pytest.mark.parametrize(
    "address", ["b\u00f6@example.org", "bo@ex\u00e4mple.org", "b o@x.org", "bo"]
)
async def test_nobody_is_to_get_mail_at_an_address_that_none_can_go_to(
    tmp_path: Path, post: Post, autojump_clock: MockClock, address: str
) -> None:
    with pytest.raises(ValueError, match="no address that mail can go to"):
        EmailPlace(subscribers=(address,))
    async with scene_of(tmp_path) as scene:
        assert await scene.do("add", address) == "That is no address that mail can go to."


async def test_strangers_whose_name_server_is_slow_do_not_hold_up_who_may_write(
    tmp_path: Path, post: Post, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M3, by our own look at signatures: each has resolvers of their own."""
    used: list[trio.CapacityLimiter] = []

    async def run_sync(work: Any, *_args: Any, limiter: Any = None, **_more: Any) -> Any:
        await trio.lowlevel.checkpoint()
        if getattr(work, "func", None) is proof_by_dkim:
            used.append(limiter)
            return Proof.NONE
        return work()

    settings = evolve(SETTINGS, dkim=True)
    async with scene_of(tmp_path, settings, allow=("*@far.example",)) as scene:
        monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)
        for who in ("a@far.example", "eve@else.example", "b@far.example"):
            raw = mail("x\n", From=who, Message_ID=f"<{who}>", DKIM_Signature="v=1")
            await scene.network.incoming.take(raw, who, "books@bridge.example")
        assert used[0] is used[2]
        assert used[1] is not used[0]


async def test_each_thing_that_lets_somebody_write_is_needed(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    """M3: the secret address of this place, the sender whose it is (or the list), and a proof."""
    async with (
        open_world(tmp_path / "world") as world,
        open_scene(
            world, SETTINGS, EmailPlace(("bo@example.org",), ("cal@example.org",)), films=True
        ) as scene,
    ):
        mine, plain = secret(scene), "books@bridge.example"
        one = scene.network.store.subscriber(scene.bridge.vault, "films", "bo@example.org")
        assert one is not None
        of_films = f"books+{one.token}@bridge.example"
        tries = [
            (PROOF, "bo@example.org", mine, 250),
            (b"", "bo@example.org", mine, 250),
            (PROOF, "bo@example.org", plain, 550),
            (PROOF, "bo@example.org", of_films, 250),
            (PROOF, EVE, mine, 250),
            (PROOF, "cal@example.org", plain, 250),
            (b"", "cal@example.org", plain, 250),
            (PROOF, EVE, plain, 550),
            (b"", EVE, plain, 250),
        ]
        for number, (proof, sender, to, wanted) in enumerate(tries):
            raw = proof + mail(f"try {number}\n", From=sender, Message_ID=f"<{number}@x>")
            assert (await scene.network.incoming.take(raw, sender, to))[0] == wanted, number
        await trio.sleep(5)
        assert [text.rpartition("\n")[2] for text in scene.texts()] == ["try 0", "try 5"]
        assert [
            (one.sender[:3], one.why)
            for _, one in scene.network.store.held(scene.bridge.vault, "books")
        ] == [
            ("bo@", "nothing shows who sent it"),
            ("bo@", "the address it was sent to is not the sender's"),
            ("eve", "the address it was sent to is not the sender's"),
            ("cal", "nothing shows who sent it"),
            ("eve", "its sender is not on the list"),
        ]
        # An owner lets one in: it is said, and in nobody's name who has proven theirs.
        answer = await scene.network.command(scene.room.id, ["mail", "let", "0"])
        assert answer == "It is in the room."
        await trio.sleep(5)
        said = [m.via for m in scene.messages() if m.via is not None]
        assert said[-1].remote_id == "unverified:bo@example.org"
        assert "(unverified)" in said[-1].name
