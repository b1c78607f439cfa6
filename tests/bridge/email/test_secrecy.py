"""No secret address is read in a room, however a mail program writes it (M3, M6)."""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from email import message_from_bytes
from email.header import Header
from email.message import EmailMessage, Message
from email.policy import default
from html import unescape
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.email.parsing import Attachment, parse
from bridge.email.secrecy import Secrets
from bridge.email.showing import shown_of
from bridge.email.tnef import rich_texts
from tests.bridge.email.corpus import mail

TOKEN = "cdqdtzy5iwynuisqmb5lg34m"
OTHER = "rqqkrhzdfqrnwkvjdsdimkep"
ADDRESS = f"books+{TOKEN}@bridge.example"
SECRETS = Secrets(frozenset({TOKEN}), frozenset({OTHER}))
KEPT = "The Dispossessed"


def shows(raw: bytes, token: str = TOKEN) -> bool:
    """Read by the standard library, every part and field, as a member's program would."""
    texts = [raw.decode("utf-8", "replace"), *_texts(message_from_bytes(raw, policy=default))]
    between = r"</?(?:wbr|b)>|[\s>=\u00ad\u200b]"
    return any(token in re.sub(between, "", text).lower() for text in texts)


def _texts(message: Message[Any, Any]) -> list[str]:
    found = [str(value) for value in message.values()]
    for part in message.walk():
        found += [str(value) for value in part.values()]
        content = part.get_payload(decode=True)
        if isinstance(content, bytes):
            charset = part.get_content_charset("utf-8")
            text = content.decode(charset if charset != "x-unknown" else "utf-8", "replace")
            found += [text, unescape(text), unquote(text), unquote(unescape(text))]
            if b"MIME-Version" in content or content[:5] == b"From:":
                found += _texts(message_from_bytes(content, policy=default))
    return found


def folded(text: str, at: int) -> str:
    return f"{text[:at]}\r\n\t{text[at:]}"


FIELDS = {
    "To": f"Book club <{ADDRESS}>",
    "Cc": f'"{ADDRESS}" <{ADDRESS}>',
    "Delivered-To": ADDRESS,
    "X-Original-To": ADDRESS.upper(),
    "Received": f"from a by b (Postfix)\r\n\tfor <{ADDRESS}>; Sat, 28 Nov 2026 20:00:00 +0000",
    "X-Envelope": folded(ADDRESS, 12),
    "Subject": f"=?utf-8?b?{base64.b64encode(ADDRESS.encode()).decode()}?=",
    "Comments": Header(f"é {ADDRESS}", "utf-8", maxlinelen=40).encode(linesep="\r\n"),
    "X-Q": "=?utf-8?q?" + "".join(f"={ord(one):02X}" for one in ADDRESS) + "?=",
    "List-Unsubscribe": f"<https://bridge.example/u/{TOKEN}>",
    "X-Link": quote(f"mailto:{ADDRESS}?subject=x", safe=""),
    "References": f"<one@x> <{TOKEN}@bridge.example>",
}


@pytest.mark.parametrize("name", FIELDS)
def test_no_field_of_the_original_shows_it(name: str) -> None:
    raw = mail(f"{KEPT}\n", **{name.replace("-", "_"): FIELDS[name]})
    assert shows(raw) or name in ("X-Link", "X-Q"), "else this tests nothing"
    made = SECRETS.mail(raw)
    assert made is not None, "what is usual is redacted, and not left out"
    assert not shows(made)
    assert KEPT in made.decode()
    assert b"ana@example.org" in made, "the rest is as it was"


def quoted_printable(text: str, at: int) -> bytes:
    """With a soft break inside the token."""
    written = binascii.b2a_qp(text.encode()).replace(b"=\n", b"")
    found = written.find(TOKEN.encode())
    return written[: found + at] + b"=\r\n" + written[found + at :]


def in_html(text: str) -> str:
    return "".join(f"&#{ord(one)};" for one in text)


def in_percent(text: str) -> str:
    return "".join(f"%{ord(one):02X}" for one in text)


def rich(text: str) -> bytes:
    """winmail.dat's rich text, shortened as Outlook does: what was said before is referred to."""
    raw, at, items = text.encode(), 0, list[bytes]()
    while at < len(raw):
        found = next(
            ((n, where) for n in (4, 3, 2) if (where := raw[:at].rfind(raw[at : at + n])) >= 0),
            None,
        )
        if found is None or at + found[0] > len(raw):
            items.append(raw[at : at + 1])
            at += 1
        else:
            items.append(((found[1] + 207) << 4 | found[0] - 2).to_bytes(2, "big"))
            at += found[0]
    body = b""
    for start in range(0, len(items), 8):
        group = items[start : start + 8]
        flags = sum(1 << bit for bit, one in enumerate(group) if len(one) == 2)
        body += bytes([flags]) + b"".join(group)
    head = (len(body) + 12).to_bytes(4, "little") + len(raw).to_bytes(4, "little")
    return b"\x78\x9f\x3e\x22" + head + b"LZFu" + zlib.crc32(body).to_bytes(4, "little") + body


QUOTE = f"{KEPT}\r\n\r\n> No more of them: write to {ADDRESS}\r\n"
PAIRS = " ".join(TOKEN[at : at + 2] for at in range(22, -2, -2)).replace(" ", "88")
IN_TAGS = ADDRESS.replace("tzy", "t<wbr>z<b></b>y")
PARTS: dict[str, tuple[str, str, bytes]] = {
    "plain": ("text/plain", "7bit", QUOTE.encode()),
    "broken by the width": (
        "text/plain; format=flowed",
        "7bit",
        QUOTE.replace("iwynu", "iwy\r\n> nu").encode(),
    ),
    "quoted-printable": ("text/plain", "quoted-printable", quoted_printable(QUOTE, 9)),
    "base64": ("text/plain", "base64", base64.encodebytes(QUOTE.encode())),
    "utf-16": ("text/plain; charset=utf-16", "base64", base64.encodebytes(QUOTE.encode("utf-16"))),
    "html": ("text/html", "7bit", f'<a href="mailto:{ADDRESS}">{KEPT}</a>'.encode()),
    "entities": ("text/html", "7bit", f"<p>{KEPT} {in_html(ADDRESS)}</p>".encode()),
    "percent": (
        "text/html",
        "7bit",
        f'<a href="mailto:{in_percent(ADDRESS)}">{KEPT}</a>'.encode(),
    ),
    "broken by a tag": ("text/html", "7bit", f"<p>{KEPT} {IN_TAGS}</p>".encode()),
    "broken by a tag, in base64": (
        "text/html",
        "base64",
        base64.encodebytes(f"{'<p>x</p>' * 500}<p>{KEPT} {IN_TAGS}</p>".encode()),
    ),
    "in a link": ("text/html", "7bit", f'<a href="https://b.example/u/{TOKEN}">x</a>'.encode()),
    "forwarded": ("message/rfc822", "7bit", mail(QUOTE, To=ADDRESS)),
    "forwarded in base64": (
        "application/octet-stream; name=old.eml",
        "base64",
        base64.encodebytes(mail(QUOTE, To=ADDRESS)),
    ),
    "an odd encoding": ("text/plain", "x-strange", QUOTE.encode()),
    "winmail.dat": ("application/ms-tnef", "base64", base64.encodebytes(rich(PAIRS + QUOTE))),
}


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("name", PARTS)
def test_no_part_of_the_original_shows_it(name: str, alone: bool) -> None:
    kind, encoding, content = PARTS[name]
    if alone:
        raw = mail(content, Content_Type=kind, Content_Transfer_Encoding=encoding)
    else:
        part = f"Content-Type: {kind}\nContent-Transfer-Encoding: {encoding}\n\n".encode()
        body = b"--b\n\nother words\n--b\n" + part + content.replace(b"\r\n", b"\n") + b"\n--b--\n"
        raw = mail(body, Content_Type='multipart/mixed; boundary="b"')
    made = SECRETS.mail(raw)
    assert made is not None
    assert not shows(made)
    assert not SECRETS.stand_in(made)
    assert alone or b"other words" in made


def test_what_shows_none_is_as_it_came() -> None:
    raw = mail("Hello.\n", To="books@bridge.example", X="a" * 24)
    assert SECRETS.mail(raw) is raw


def test_what_can_not_be_taken_apart_is_left_out() -> None:
    """Rather no original than one that shows it."""
    body = "".join("--b\n\npart\n" for _ in range(2000)) + f"--b\n\n{ADDRESS}\n--b--\n"
    assert SECRETS.mail(mail(body, Content_Type="multipart/mixed; boundary=b")) is None
    shown = shown_of(
        parse(mail(body, Content_Type="multipart/mixed; boundary=b")),
        mail(body, Content_Type="multipart/mixed; boundary=b"),
        SECRETS,
        titled=False,
    )
    assert shown.files == ()
    assert "left out" in shown.text


def test_another_members_secret_is_not_shown_either() -> None:
    """Forwarded by somebody who got it: where it stands whole it is known."""
    for text in (
        f"books+{OTHER}@bridge.example",
        f"https://b.example/u/{OTHER}",
        "books+" + "z" * 24 + "@x",
    ):
        made = SECRETS.mail(mail(f"{KEPT}\n{text}\n"))
        assert made is not None
        assert OTHER not in made.decode()
        assert "z" * 24 not in made.decode()


def test_another_members_secret_is_found_in_any_charset() -> None:
    text = base64.encodebytes(f"books+{OTHER}@bridge.example".encode("utf-16"))
    raw = mail(text, Content_Type="text/plain; charset=utf-16", Content_Transfer_Encoding="base64")
    made = SECRETS.mail(raw)
    assert made is not None
    content = message_from_bytes(made).get_payload(decode=True)
    assert isinstance(content, bytes)
    assert OTHER.encode("utf-16-le") not in content


def test_what_stands_where_nothing_can_be_changed_is_left_out() -> None:
    """The look after the work finds what the work has missed."""
    assert SECRETS.mail(mail("x\n", **{f"X-{TOKEN}": "y"})) is None


@pytest.mark.parametrize("name", PARTS)
def test_neither_words_nor_files_nor_names_show_it(name: str) -> None:
    kind, encoding, content = PARTS[name]
    part = f"Content-Type: {kind}\nContent-Transfer-Encoding: {encoding}\n"
    part += f'Content-Disposition: attachment; filename="{TOKEN}.x"\n\n'
    body = f"--b\n\n{KEPT}\n{ADDRESS[:20]}\n{ADDRESS[20:]}\n--b\n{part}".encode()
    body += content.replace(b"\r\n", b"\n") + b"\n--b--\n"
    raw = mail(body, Content_Type='multipart/mixed; boundary="b"', Subject=f"to {ADDRESS}")
    shown = shown_of(parse(raw), raw, SECRETS, titled=True)
    assert KEPT in shown.text
    for text in (shown.text, shown.subject, *(one.name for one in shown.files)):
        assert not shows(text.encode())
    for one in shown.files:
        assert not SECRETS.stand_in(one.content)
        assert not shows(one.content)


def test_a_picture_is_as_it_came() -> None:
    picture = Attachment("a.png", "image/png", bytes(range(256)) * 100)
    assert SECRETS.file(picture) == picture


def test_winmail_dat_is_a_file_unless_it_holds_an_answer_to_us() -> None:
    packed = rich(PAIRS + QUOTE)
    assert TOKEN.encode() not in packed
    assert SECRETS.file(Attachment("winmail.dat", "application/ms-tnef", packed)) is None
    harmless = Attachment("winmail.dat", "application/ms-tnef", rich(PAIRS + KEPT))
    assert SECRETS.file(harmless) == harmless


def test_outlooks_packed_text_is_read() -> None:
    """The example of [MS-OXRTFCP], which refers to what it said before."""
    raw = bytes.fromhex(
        "2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af32068656c09002062"
        "7705b06c647d0a800fa0"
    )
    assert list(rich_texts(raw)) == [b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n"]
    assert list(rich_texts(b"x" * 8 + b"LZFu")) == [b""]


@given(st.binary(max_size=200))
def test_no_bytes_make_the_look_fail(raw: bytes) -> None:
    list(rich_texts(b"\xff\xff\0\0" + raw[:4] + b"LZFu" + raw))
    SECRETS.stand_in(raw)
    SECRETS.mail(raw)


_WORD = st.text(st.characters(categories=("L", "N", "Z", "P"), max_codepoint=0x2FFF), max_size=40)


_SECRET = st.sampled_from([ADDRESS, TOKEN, ADDRESS.upper(), ""])
_WITH_IT = st.tuples(_WORD, _SECRET, _WORD).map(" ".join)
_PLANS = st.fixed_dictionaries(
    {
        "to": st.sampled_from([ADDRESS, f'"x" <{ADDRESS}>', "books@bridge.example"]),
        "words": st.tuples(*[_WITH_IT] * 5),
        "encoding": st.sampled_from(["quoted-printable", "base64", "8bit"]),
        "charset": st.sampled_from(["utf-8", "utf-16"]),
        "html": st.booleans(),
        "forwarded": st.sampled_from(["", "mail", "a.eml", "b.bin"]),
        "end": st.sampled_from([b"\n", b"\r\n"]),
    }
)


def written(plan: dict[str, Any]) -> bytes:
    """A mail as a program makes it, with the address in some of its places."""
    encoding = plan["encoding"]
    message = EmailMessage(policy=default)
    message["From"], message["To"] = "ana@example.org", plan["to"]
    message["Subject"], message["X-A"] = (" ".join(one.split()) for one in plan["words"][:2])
    charset = plan["charset"] if encoding == "base64" else "utf-8"
    message.set_content(f"{plan['words'][2]}\n{KEPT}", charset=charset, cte=encoding)
    if plan["html"]:
        message.add_alternative(f"<p>{plan['words'][3]}</p>", subtype="html", cte=encoding)
    if plan["forwarded"]:
        inner = EmailMessage(policy=default)
        inner["From"], inner["Reply-To"] = "books@bridge.example", ADDRESS
        inner.set_content(plan["words"][4], cte="base64")
        if plan["forwarded"] == "mail":
            message.add_attachment(inner)
        else:
            name = plan["forwarded"]
            message.add_attachment(
                inner.as_bytes(), maintype="application", subtype="octet-stream", filename=name
            )
    raw: bytes = message.as_bytes().replace(b"\r\n", b"\n")
    return raw.replace(b"\n", plan["end"])


@settings(max_examples=90, deadline=None)
@given(_PLANS)
def test_whatever_a_program_makes_of_it_nothing_shows_it(plan: dict[str, Any]) -> None:
    raw = written(plan)
    made = SECRETS.mail(raw)
    if made is not None:
        assert not shows(made)
        assert shows(raw) or made is raw
    shown = shown_of(parse(raw), raw, SECRETS, titled=True)
    assert not shows(shown.text.encode())
    assert not any(shows(one.content) for one in shown.files)
