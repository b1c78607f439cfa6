"""Bots, as people see them: whose they are, and what they were let do."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from ofcd.ofc.console import Shape
from ofcd.ofc.errors import UsageError
from ofcd.ofc.layout import Transcript
from ofcd.protocol.records import Cap, History
from tests.ofc.people import Street


async def test_a_bot_is_shown_as_its_inviters(street: Street, autojump_clock: MockClock) -> None:
    """In the list and beside its words, with its scopes; also once the inviter is gone."""
    ana, bo = await street.pair()
    await ana.ofc("grant", "Club", "Bo", "co-owner")
    made = (await bo.ofc("invite", "Club", "--bot", "--scope", "only-addressed,write")).one(
        Shape.INVITE
    )
    assert (made["role"], made["caps"]) == ("member", ["bot", "no-files", "only-addressed"])
    robo = await street.person("robo")
    await robo.ofc("join", made["link"], "--name", "Robo")
    await robo.ofc("send", "Club", "beep")
    await bo.ofc("leave", "Club")

    robot = {m["name"]: m for m in (await ana.ofc("members", "Club")).of(Shape.MEMBER)}["Robo"]
    assert robot["sponsor"]["name"] == "Bo"
    assert robot["sponsor"]["gone"] == "left"
    assert robot["scopes"] == ["only-addressed", "write"]
    [said] = [e for e in (await ana.ofc("read", "Club")).of(Shape.EVENT) if e["text"] == "beep"]
    assert said["bot"]
    shown = Transcript().lines(said)[-1].plain
    assert "Robo [bot of Bo (left)]  beep" in shown

    await ana.ofc("evict", "Club", "Robo")
    [again] = [e for e in (await ana.ofc("read", "Club")).of(Shape.EVENT) if e["text"] == "beep"]
    assert again["sponsor"]["name"] == "Bo", "what it said stays a bot's"


@pytest.mark.parametrize(
    ("scope", "role", "caps", "history"),
    [
        (None, "member", {Cap.BOT}, History.JOIN),
        ("read-all,write,files", "member", {Cap.BOT}, History.JOIN),
        ("read-all,write,files,history", "member", {Cap.BOT}, History.ROTATION),
        ("write", "member", {Cap.BOT, Cap.NO_FILES}, History.JOIN),
        ("read-all", "readonly", {Cap.BOT, Cap.NO_FILES}, History.JOIN),
        (
            "only-addressed,write,files",
            "member",
            {Cap.BOT, Cap.ONLY_ADDRESSED},
            History.JOIN,
        ),
    ],
)
async def test_scopes_are_what_the_invite_gives(
    street: Street,
    autojump_clock: MockClock,
    scope: str | None,
    role: str,
    caps: set[Cap],
    history: History,
) -> None:
    """As everybody finds it in the room's log."""
    ana = await street.person("ana")
    await ana.ofc("create", "Club", "--name", "Ana", "--relay", street.world.url)
    await ana.ofc("invite", "Club", "--bot", *(["--scope", scope] if scope else []))
    [room] = ana.client.rooms
    [invite] = room.invites()
    assert (invite.role.value, invite.history) == (role, history)
    assert set(invite.caps) == caps
    assert invite.admitters == (room.me,)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--scope", "write"), "--scope is for bots"),
        (("--bot", "--scope", "read-all", "--role", "co-owner"), "leave out --role"),
        (("--bot", "--scope", "read"), "no scope: there is read-all, only-addressed, write"),
        (("--bot", "--scope", "read-all,only-addressed"), "exclude each other"),
        (("--bot", "--scope", "files"), "without write"),
    ],
)
async def test_scopes_that_make_no_sense_are_refused(
    street: Street, autojump_clock: MockClock, words: tuple[str, ...], sentence: str
) -> None:
    """Before anything is asked of the relay, with what to do instead."""
    ana = await street.person("ana")
    await ana.ofc("create", "Club", "--name", "Ana", "--relay", street.world.url)
    with pytest.raises(UsageError, match=sentence):
        await ana.ofc("invite", "Club", *words)
