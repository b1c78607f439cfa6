"""An answer stays in its thread, whatever the ids in it look like (M2, M7)."""

from __future__ import annotations

import pytest

from bridge.email.composing import Item, Letter, compose
from bridge.email.parsing import parse

EXCHANGE = "AM0PR04MB1234ABCDEF0123456789ABCDEF0123456{}@AM0PR04MB1234.eurprd04.prod.outlook.com"


def _letter(*references: str) -> bytes:
    item = Item(author="Ana", ts=0, plain="hi", html="<p>hi</p>")
    return compose(
        Letter(
            place="books",
            domain="bridge.example",
            room="Book club",
            to="bo@example.org",
            message_id="x@bridge.example",
            date=0,
            items=(item,),
            sender="Ana",
            subject="hi",
            reply_token="a" * 24,
            references=references,
        )
    )


@pytest.mark.parametrize(
    "one",
    [
        "short@example.org",
        EXCHANGE.format(1),
        *(f"{'x' * size}@mail.example" for size in (62, 65, 110, 230)),
        "a=?utf-8?q?b?=@example.org",
    ],
)
def test_an_id_goes_out_as_it_came(one: str) -> None:
    raw = _letter("first@example.org", one)
    mail = parse(raw)
    assert mail.in_reply_to == (one,)
    assert mail.references == ("first@example.org", one)
    assert f"\r\nIn-Reply-To: <{one}>\r\n".encode() in raw


def test_twenty_long_ids_fit_the_lines() -> None:
    many = tuple(EXCHANGE.format(number) for number in range(25))
    raw = _letter(*many)
    assert parse(raw).references == many[-20:]
    assert max(map(len, raw.split(b"\r\n"))) <= 998


@pytest.mark.parametrize("bad", ["é@example.org", "x" * 901, "a b@example.org", "a\r\nBcc: x@y"])
def test_what_is_no_id_that_can_be_written_is_left_out(bad: str) -> None:
    raw = _letter("first@example.org", bad)
    mail = parse(raw)
    assert (mail.in_reply_to, mail.references) == ((), ("first@example.org",))
    assert "bcc" not in mail.headers
    assert b"In-Reply-To" not in raw
    assert b"References" not in _letter(bad)
