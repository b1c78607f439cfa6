"""Who gets mail: by the settings, by name, and under names that are nobody else's (G4, G5, M7)."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from attrs import evolve
from trio.testing import MockClock

from bridge.core import Finding, PlaceInfo
from bridge.email import submitting
from bridge.email.checking import Check
from bridge.email.settings import EmailPlace, EmailSettings, Smtp
from ofcd.testing import open_world
from tests.bridge.email.corpus import mail
from tests.bridge.email.post import SETTINGS, Post, bring, scene_of
from tests.bridge.email.scene import open_scene, running

BOTH = ("bo@example.org", "cy@example.org")


def _place(*people: str, allow: tuple[str, ...] = ()) -> EmailPlace:
    return EmailPlace(subscribers=people, allow=allow, hold=0.0, notice_every=0.0)


async def test_who_is_taken_out_of_the_settings_gets_no_more_mail(
    tmp_path: Path, autojump_clock: MockClock, post: Post
) -> None:
    """And gets it again once they are back there; who left by themselves does not."""
    async with open_world(tmp_path / "world") as world:
        async with open_scene(world, SETTINGS, _place(*BOTH)) as scene:
            await scene.do("full", "on")
            await scene.do("add", "di@example.org")
            ana, room, bridge = scene.ana, scene.room, scene.bridge
        counts = []
        for people in (BOTH[:1], BOTH, BOTH):
            async with running(world, ana, room, bridge, SETTINGS, _place(*people)) as scene:
                await room.send("news")
                await trio.sleep(60)
                who = [to for to, _, _ in post.mails]
                counts.append([who.count(one) for one in (*BOTH, "di@example.org")])
                if len(counts) == 2:
                    one = scene.network.store.subscriber(bridge.vault, "books", BOTH[1])
                    assert one is not None
                    scene.network.incoming.unsubscribe(one.token)
        assert counts == [[1, 0, 1], [2, 1, 2], [3, 1, 3]]


async def test_who_leaves_while_they_are_not_named_stays_away(
    tmp_path: Path, autojump_clock: MockClock, post: Post
) -> None:
    """By the link in an old mail, after they were taken out of the settings."""
    async with open_world(tmp_path / "world") as world:
        async with open_scene(world, SETTINGS, _place(*BOTH)) as scene:
            await scene.do("full", "on")
            ana, room, bridge = scene.ana, scene.room, scene.bridge
        for people in (BOTH[:1], BOTH):
            async with running(world, ana, room, bridge, SETTINGS, _place(*people)) as scene:
                await room.send("news")
                await trio.sleep(60)
                one = scene.network.store.subscriber(bridge.vault, "books", BOTH[1])
                assert one is not None
                assert not one.on
                if people != BOTH:
                    assert scene.network.incoming.unsubscribe(one.token)
        assert [to for to, _, _ in post.mails] == [BOTH[0]] * 2


async def test_owners_can_ask_who_reads_outside(
    tmp_path: Path, autojump_clock: MockClock, post: Post
) -> None:
    async with scene_of(tmp_path, subscribers=BOTH, allow=("*@library.example",)) as scene:
        await scene.do("remove", "cy@example.org")
        await scene.do("add", "di@example.net")
        assert await scene.do("who") == (
            "b…@example.org\nd…@example.net\nwho may write besides: *@library.example"
        )


async def test_no_address_that_may_write_is_said_to_the_whole_room(
    tmp_path: Path, autojump_clock: MockClock, post: Post
) -> None:
    allow = ("*@library.example", *(f"person{number}@school.example" for number in range(30)))
    async with scene_of(tmp_path, subscribers=BOTH, allow=allow) as scene:
        _, _, told = (await scene.do("who")).rpartition("besides: ")
        assert told == "*@library.example" + ", p…@school.example" * 19 + " and 11 more"


async def test_a_member_can_not_be_called_like_who_wrote_by_mail(
    tmp_path: Path, autojump_clock: MockClock, post: Post
) -> None:
    async with scene_of(tmp_path, subscribers=BOTH) as scene:
        await scene.do("full", "on")
        raw = mail("by Bo\n", From="Bo Berg <bo@example.org>", Message_ID="<1@example.org>")
        assert await bring(scene, raw) == 250
        eve = await scene.world.client("eve")
        room = await eve.join(await scene.room.invite(), name="Bo Berg@mail")
        await room.send("by Eve")
        await trio.sleep(100)
        shown = [str(one.headers.get("from")) for to, one, _ in post.mails if to == BOTH[1]]
        assert ["Bo Berg@mail via Book club" in one for one in shown] == [True, False]


async def test_a_password_is_read_anew_and_what_waits_is_measured(
    tmp_path: Path, autojump_clock: MockClock, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "password"
    file.write_text("old")
    used: list[str] = []

    async def refused(_settings: EmailSettings, password: str) -> submitting.Link:
        used.append(password)
        await trio.lowlevel.checkpoint()
        raise OSError("535 no")

    monkeypatch.setattr(submitting.Link, "open", refused)
    settings = evolve(SETTINGS, smtp=Smtp(tls="none", user="u", password_file=str(file)))
    async with scene_of(tmp_path, settings) as scene:
        await scene.room.send("x")
        await trio.sleep(3600)
        file.write_text("new")
        await trio.sleep(900)
        assert (used[0], used[-1]) == ("old", "new")
        page = scene.engine.metrics.render().decode()
        assert 'bridge_mail_waiting{network="mail",where="posted"} 1.0' in page
        age = page.partition('bridge_mail_oldest_seconds{network="mail"} ')[2].split()[0]
        assert 4000 < float(age) < 5000
        file.unlink()
        await trio.sleep(900)
        assert used[-1] == "new", "without a file it is tried again, and ends nothing"


@pytest.mark.parametrize(
    ("allow", "bad"),
    [("*@bridge.example", True), ("*@*.example", False), ("*@library.example", False)],
)
def test_check_warns_of_the_bridges_own_domain_in_allow(allow: str, bad: bool) -> None:
    found: list[Finding] = []
    info = PlaceInfo("books", _place("bo@example.org", allow=(allow,)), sends=True, takes=True)
    check = Check(SETTINGS, {"books": info}, found.append)
    check._place("books", info)
    assert [one.good for one in found] == ([False, True] if bad else [True])
