"""A genuine mail that was written to somebody else, or long ago, is not said (M3)."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from bridge.core import journal
from bridge.email import store
from bridge.email.addressed import why_not_here
from bridge.email.parsing import parse
from tests.bridge.email.corpus import mail
from tests.bridge.email.post import SETTINGS, Post, bring, by_bo, scene_of

DAY_MS = 24 * 3_600_000
NOW = 1_800_000_000_000
AL = "Al <al@library.example>"
PROOF = b"Authentication-Results: mx.example; dmarc=pass header.from=library.example\r\n"


def _date(days: float, now: int = NOW) -> str:
    return format_datetime(datetime.fromtimestamp((now + days * DAY_MS) / 1000, UTC))


def _why(*also_to: str, **fields: str | None) -> str:
    raw = mail("hello\n", **{"From": AL, "Date": _date(0), **fields})
    return why_not_here(parse(raw), "books", SETTINGS, also_to, NOW)


async def test_a_mail_to_somebody_else_is_not_said(
    tmp_path: Path, autojump_clock: MockClock, post: Post
) -> None:
    """Whoever has it, and hands it in with our address on the envelope."""
    async with scene_of(tmp_path, allow=("*@library.example",)) as scene:
        now = scene.bridge.now()
        for number, (to, days) in enumerate(
            [("mallory@evil.example", 0), ("books@bridge.example", -31), (None, 0)]
        ):
            fields = {"To": to, "Date": _date(days, now), "Message_ID": f"<{number}@x>"}
            raw = PROOF + mail("for your eyes\n", From=AL, **fields)
            raw = b"Delivered-To: books@bridge.example\r\n" + raw
            code, _ = await scene.network.incoming.take(
                raw, "m@evil.example", "books@bridge.example"
            )
            assert code == 250
        raw = PROOF + mail("to all\n", From=AL, Date=_date(-1, now), Message_ID="<9@x>")
        await scene.network.incoming.take(raw, "al@library.example", "books@bridge.example")
        await trio.sleep(10)
        assert [one.rpartition("\n")[2] for one in scene.texts()] == ["to all"]
        held = await scene.do("held")
        assert held.count("it was not written to this room") == 2
        assert held.count("over 30 days old") == 1


def test_to_and_cc_and_an_alias_name_the_room() -> None:
    assert _why() == ""
    assert _why(To="x@y.example", Cc="Z <z@y.example>, Books <BOOKS@bridge.example>") == ""
    assert _why(To="books+aaaaaaaaaaaaaaaaaaaaaaaa@bridge.example") == ""
    assert _why(To="films@bridge.example") == "it was not written to this room"
    assert _why(To="books@bridge.example.evil.example") == "it was not written to this room"
    alias = "club@school.example"
    assert _why(To=alias) == "it was not written to this room"
    assert _why(alias, To=alias) == ""
    assert _why(Date=None) == ""
    assert _why(Date=_date(-29)) == _why(Date=_date(1)) == ""
    assert "30 days" in _why(Date=_date(-31))
    assert "30 days" in _why(Date=_date(3))


@pytest.mark.parametrize(
    ("covers", "fields", "taken"),
    [
        ("from:to:date", {}, True),
        ("from:date", {}, False),
        ("from:to", {}, False),
        ("from:to", {"Date": None}, False),
        # One that was put in: a second To, a Cc where there was none.
        ("from:to:date", {"To": "m@evil.example\r\nTo: books@bridge.example"}, False),
        ("from:to:date", {"To": "m@evil.example", "Cc": "books@bridge.example"}, False),
        ("from:to:cc:date", {"To": "m@evil.example", "Cc": "books@bridge.example"}, True),
    ],
)
def test_only_what_its_sender_has_signed_counts(
    covers: str, fields: dict[str, str | None], taken: bool
) -> None:
    signed = f"v=1; a=rsa-sha256; d=library.example; s=x;\r\n h={covers}; bh=x; b=x"
    other = "v=1; d=sender.example; h=from; b=x"
    stamps = f"{signed}\r\nDKIM-Signature: {other}"
    assert (_why(DKIM_Signature=stamps, **fields) == "") is taken
    made_up = f"v=1; d=library.example; h=from:to:to:cc:date:date; b=x\r\nDKIM-Signature: {stamps}"
    assert (_why(DKIM_Signature=made_up, **fields) == "") is taken, "another one makes it no better"


def test_where_no_to_is_signed_owners_are_told_what_to_do() -> None:
    """The fields that Microsoft's servers sign."""
    fields = "From:Date:Subject:Message-ID:Content-Type:MIME-Version"
    why = _why(DKIM_Signature=f"v=1; d=library.example; h={fields}; b=x")
    assert "signs no To" in why
    assert "secret address" in why
    other = _why(To="x@y.example", DKIM_Signature="v=1; d=library.example; h=from:to:date; b=x")
    assert other == "it was not written to this room"


@pytest.mark.parametrize(
    ("junk", "why"),
    [
        ("X-Junk: y\r\n" * 1000, "its header is too large to be read whole"),
        ("X-Junk: yyyyyyyyyyyy\r\n " + "y" * 300_000 + "\r\n", "its header is too large"),
        ("DKIM-Signature: v=1; d=evil.example; h=from; b=x\r\n" * 10, "not written to this room"),
    ],
)
def test_no_junk_hides_what_its_sender_has_signed(junk: str, why: str) -> None:
    """Whoever hands a mail in chooses what stands above its signature: the checker reads it all."""
    signature = "DKIM-Signature: v=1; d=library.example; h=from:to:date; b=x\r\n"
    raw = f"From: {AL}\r\nTo: books@bridge.example\r\nDate: {_date(0)}\r\n{junk}{signature}"
    raw += f"To: mallory@evil.example\r\nDate: {_date(-400)}\r\nMessage-ID: <a@x>\r\n\r\nhello\r\n"
    assert why in why_not_here(parse(raw.encode()), "books", SETTINGS, (), NOW)


def test_no_blanks_hide_who_has_signed_it() -> None:
    """The signature's own form knows no difference between one blank and many."""
    signed = f"v=1;{' ' * 17_000}d=library.example; h=from:to:date; b=x"
    assert "too large to be read whole" in _why(
        DKIM_Signature=signed, To="books@bridge.example\r\nTo: mallory@evil.example"
    )


async def test_a_mail_that_comes_again_after_all_was_forgotten_goes_to_nobody_twice(
    tmp_path: Path, autojump_clock: MockClock, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "KEEP_MS", 1_800_000)
    monkeypatch.setattr(journal, "_KEEP_MS", 1_800_000)
    async with scene_of(tmp_path, subscribers=("bo@example.org", "cy@example.org")) as scene:
        await scene.do("full", "on")
        for _ in range(2):
            assert await bring(scene, by_bo("once", 1)) == 250
            await trio.sleep(3 * 3600)
        assert len(scene.texts()) == 1
        assert len(post.words("cy@example.org")) == 1
