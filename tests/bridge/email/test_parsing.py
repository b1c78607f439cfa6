"""A mail is read, whatever it is: words, files and defects, never an error, never for long (M6)."""

# ruff: noqa: RUF001 - letters of many scripts are what this is about

from __future__ import annotations

import io
import time
import zipfile
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.email import limits
from bridge.email.body import room_text
from bridge.email.headers import Address, addresses
from bridge.email.markup import html_lines
from bridge.email.parsing import Mail, parse
from tests.bridge.email.corpus import mail, part


def words(raw: bytes) -> str:
    return room_text(parse(raw).lines)[0]


def html(text: str) -> str:
    return room_text(html_lines(text)[0])[0]


def test_a_plain_mail() -> None:
    date = "Wed, 18 Nov 2026 13:37:00 +0100"
    raw = mail("Hello *Bo*.\n", References="<a@x> <b@x>", In_Reply_To="<b@x>", Date=date)
    read = parse(raw)
    assert read.message_id == "one@example.org"
    assert read.senders == (Address("ana@example.org", "Ana Ruiz"),)
    assert (read.in_reply_to, read.references) == (("b@x",), ("a@x", "b@x"))
    assert read.date == 1795005420000
    assert room_text(read.lines)[0] == r"Hello \*Bo\*."
    assert read.defects == ()


@pytest.mark.parametrize(
    ("charset", "raw", "shown"),
    [
        ("iso-8859-1", "Grüße".encode("latin-1"), "Grüße"),
        ("iso-8859-1", "„Grüße“ – €".encode("cp1252"), "„Grüße“ – €"),
        ("us-ascii", "Grüße".encode(), "Grüße"),
        ("utf-8", "Grüße".encode("latin-1"), "Grüße"),
        ("koi8-r", "Привет".encode("koi8-r"), "Привет"),
        ("gb2312", "镕基".encode("gb18030"), "镕基"),
        ("iso-2022-jp", "こんにちは".encode("iso-2022-jp"), "こんにちは"),
        ("x-unknown", "Grüße".encode(), "Grüße"),
        ("unicode_escape", rb"\x41", r"\\x41"),
        ("punycode", b"tda", "tda"),
        ("zlib", b"x\x9c", "xœ"),
        ("utf-16", b"a", "a"),
    ],
)
def test_wrong_and_rare_charsets(charset: str, raw: bytes, shown: str) -> None:
    """What is declared is tried, then UTF-8, then Windows'; a codec that is no charset never is."""
    assert words(mail(raw, Content_Type=f"text/plain; charset={charset}")) == shown


def test_eight_bit_and_encoded_headers() -> None:
    raw = mail(Subject="Grüße =?utf-8?q?an_=C3=BCber?= =?iso-8859-1?b?" + "5PY=" + "?=")
    assert parse(raw).subject == "Grüße an überäö"
    a, b = "=?utf-8?b?w7w=?=", "=?utf-8?b?YmVy?="
    assert parse(mail(Subject=f"{a} {b}")).subject == "über"
    assert parse(mail(Subject="=?utf-8?b?####?= x")).subject.endswith("x")
    assert parse(mail(Subject="a\r\n b")).subject == "a b"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("Ana <ana@Example.ORG>", ["ana@example.org"]),
        ('"Ruiz, Ana" <ana@x.org>, bo@x.org', ["ana@x.org", "bo@x.org"]),
        ('"boss@bank.example" <eve@x.org>', ["eve@x.org"]),
        ("boss@bank.example <eve@x.org>", ["eve@x.org"]),
        ("<boss@bank.example> <eve@x.org>", ["eve@x.org"]),
        ("ana@x.org (Ana)", ["ana@x.org"]),
        ("Friends: ana@x.org, bo@x.org;", ["ana@x.org", "bo@x.org"]),
        ("nobody", []),
        ("", []),
        ("<>", []),
    ],
)
def test_addresses(value: str, found: list[str]) -> None:
    assert [one.address for one in addresses(value)] == found


def test_two_from_fields_name_nobody() -> None:
    """Servers check one of them, and people are shown the other."""
    raw = b"From: a@x.org\r\n" + mail()
    assert parse(raw).senders == ()


def test_nested_multiparts_give_the_plain_text_and_the_files() -> None:
    inner = (
        "Content-Type: multipart/alternative; boundary=in\n\n--in\n"
        + part("text/plain; charset=utf-8", b"plain words")
        + "--in\n"
        + part("text/html", b"<p>html words</p>")
        + "--in--\n"
    )
    body = "--out\n" + inner + "--out\n"
    body += part(
        "image/png", b"\x89PNG", 'Content-Disposition: inline; filename="../../p\u202eng.png"'
    )
    body += "--out\n" + part("application/ms-tnef", b"\x78\x9f", "X-A: b") + "--out--\n"
    read = parse(mail(body, Content_Type="multipart/mixed; boundary=out"))
    assert room_text(read.lines)[0] == "plain words"
    assert [one.name for one in read.attachments] == ["png.png", "winmail.dat"]
    assert read.attachments[1].content == b"\x78\x9f"


def test_a_forwarded_mail_is_a_file() -> None:
    body = "--b\nContent-Type: message/rfc822\n\nSubject: inner\n\nold words\n--b--\n"
    read = parse(mail(body, Content_Type="multipart/mixed; boundary=b"))
    assert [(one.name, one.media_type) for one in read.attachments] == [
        ("message.eml", "message/rfc822")
    ]
    assert b"old words" in read.attachments[0].content


def test_flowed_text_is_made_whole() -> None:
    flowed = "A long \nparagraph.\nNext.\n> quoted \n> words\n-- \nBo\n"
    read = words(mail(flowed, Content_Type="text/plain; format=flowed"))
    assert read == "A long paragraph.\nNext.\n> quoted words\n--\nBo"


def test_html_becomes_the_rooms_format_and_nothing_of_it_runs_or_calls() -> None:
    text = (
        "<html><head><style>p{}</style><script>alert(1)</script></head><body>"
        "<p>Hello <b>Bo</b>, <i>see</i> <a href='https://x.org/a'>this</a>.</p>"
        "<img src='https://spy.example/pixel.gif' alt='a picture'>"
        "<p style='display: none'>hidden</p><ul><li>one<li>two</ul>"
        "<a href='javascript:alert(1)'>click</a><blockquote>old<br>words</blockquote>"
        "<ol start=3><li>three</ol></body></html>"
    )
    assert html(text) == (
        "Hello **Bo**, *see* this <https://x.org/a>.\n\na picture\n\n- one\n- two\n\nclick\n\n"
        "> old\n> words\n\n3. three"
    )


def test_a_link_that_says_one_thing_and_is_another_shows_both() -> None:
    shown = html("<a href='https://evil.example/'>https://bank.example/</a>")
    assert shown == "https://bank.example/ <https://evil.example/>"


def test_markup_of_the_room_can_not_be_smuggled_in() -> None:
    assert html("<p>**not bold** `code` @Ana &gt; x</p>") == r"\*\*not bold\*\* \`code\` \@Ana > x"
    assert html("<p>&gt; not a quote</p>") == r"\> not a quote"
    assert words(mail("- not a list\n")) == r"\- not a list"


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece",
    ["<b>", "<div>", "<!--", "<", "<a x='", "<![CDATA[", "<table>", "&", "<blockquote>", "</p>",
     "<svg>", "<b><p>", "<a href='https://x'>", "<script>", "<ul><li>", "<pre>\n", "<br>"],
)  # fmt: skip
def test_hostile_html_costs_a_bounded_time(piece: str) -> None:
    started = time.process_time()
    lines, _ = html_lines(piece * (limits.TEXT_BYTES // len(piece)))
    room_text(lines)
    assert time.process_time() - started < 15


def test_deep_html_says_that_it_was_cut() -> None:
    body = "<div>" * 5000 + "words"
    read = parse(mail(body, Content_Type="text/html"))
    assert read.defects == ("its text could not be read whole",)


@pytest.mark.slow
def test_ten_thousand_parts_are_not_taken_apart() -> None:
    body = "".join("--b\n\npart\n" for _ in range(10_000)) + "--b--\n"
    started = time.process_time()
    read = parse(mail(body, Content_Type="multipart/mixed; boundary=b"))
    assert time.process_time() - started < 5
    assert read.defects == ("it has too many parts",)
    assert read.senders  # who sent it, and what about, is still known


def test_of_very_many_files_the_first_are_brought() -> None:
    one = part("text/plain", b"data", 'Content-Disposition: attachment; filename="a.txt"')
    read = parse(mail(f"--b\n{one}" * 60 + "--b--\n", Content_Type="multipart/mixed; boundary=b"))
    assert len(read.attachments) == limits.ATTACHMENTS
    assert read.defects == ("it has more files than are brought in one by one",)


@pytest.mark.slow
def test_deep_multiparts_are_not_taken_apart() -> None:
    body = "".join(
        f"--b{n}\nContent-Type: multipart/mixed; boundary=b{n + 1}\n\n" for n in range(5000)
    )
    read = parse(mail(body, Content_Type="multipart/mixed; boundary=b0"))
    assert read.defects == ("too many multiparts are in each other",)


@pytest.mark.slow
def test_ten_thousand_recipients_are_not_read() -> None:
    to = ",\r\n ".join(f"person{n}@example.org" for n in range(10_000))
    read = parse(mail("Hello.\n", Cc=to))
    assert len(read.recipients) <= limits.ADDRESSES
    assert read.defects == ("its header is too large to be read whole",)
    many = (f"Cc: {', '.join(f'p{n}x{i}@e.org' for i in range(40))}\n" for n in range(250))
    read = parse("".join(many).encode() + mail("Hello.\n"))
    assert (len(read.recipients), read.defects) == (limits.ADDRESSES, ())


@pytest.mark.slow
def test_fifty_megabytes_are_not_taken_apart() -> None:
    read = parse(mail(b"x" * 76 + b"\n" * (50 * limits.MIB)))
    assert read.defects == ("it is too large",)
    assert read.lines == ()


def test_a_zip_bomb_stays_packed() -> None:
    """What is attached is handed on as it came; nothing here ever opens it."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", b"\0" * (20 * limits.MIB))
    body = "--b\n" + part("application/zip", packed.getvalue()) + "--b--\n"
    read = parse(mail(body, Content_Type="multipart/mixed; boundary=b"))
    assert read.attachments[0].content == packed.getvalue()
    assert len(read.attachments[0].content) < 100_000


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\r\n",
        b"\r\n\r\n",
        b"no colon at all",
        b"From: a@x.org",
        b":\r\n\r\n",
        b"Content-Type: multipart/mixed\r\n\r\n--x\r\n",
        b"Content-Type: multipart/mixed; boundary=\"\"\r\n\r\n--\r\n",
        b"Content-Type: text/plain; charset*=x'y'%zz\r\n\r\nhello",
        b"Content-Type: ;;;=\r\nContent-Transfer-Encoding: nonsense\r\n\r\nhello",
        b"Content-Transfer-Encoding: base64\r\n\r\n=====A",
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n=ZZ=",
        b"Content-Transfer-Encoding: x-uuencode\r\n\r\nbegin 644 x\r\n#\xff\xff",
        b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!",
        b"Content-Disposition: attachment; filename*0*=a; filename*2=b\r\n\r\nx",
        b"Content-Type: application/x; name=\"=?utf-8?b?####?=\"\r\n\r\nx",
        b"Date: Mon, 99 Foo 9999999999 99:99:99 +9999999\r\nSubject: \xff\xfe\r\n\r\n",
        b"Subject: =?x?q?=?=\r\nFrom: =?=?=@=?=\r\n\r\n",
        b"\x00\x01\x02" * 100,
    ],
)  # fmt: skip
def test_broken_mail_is_read_as_far_as_it_goes(raw: bytes) -> None:
    assert isinstance(parse(raw), Mail)


_PIECES = st.sampled_from(
    [b"Content-Type: ", b"multipart/mixed", b"; boundary=", b"b", b"\r\n", b"\n", b"--b", b"--",
     b"text/html", b"message/rfc822", b"message/delivery-status", b"charset=", b"\"", b"=?", b"?=",
     b"utf-8", b"<p>", b"&#", b"Content-Transfer-Encoding: base64", b"From: ", b"<", b">", b"@",
     b"name*0*=", b"\xff", b"\x00", b":", b" ", b"A" * 70]
)  # fmt: skip


@settings(max_examples=300)
@given(st.lists(_PIECES, max_size=60).map(b"".join) | st.binary(max_size=500))
def test_nothing_makes_it_raise(raw: bytes) -> None:
    read = parse(raw)
    room_text(read.lines)


def _bare(text: str) -> str:
    return "".join(c for c in text if c.isalnum() and c.isascii())


@given(st.text(max_size=300))
def test_every_text_comes_back_as_it_was_written(text: str) -> None:
    """Built by the standard library in UTF-8, read here: the same words."""
    message = EmailMessage()
    message["From"] = "ana@example.org"
    message.set_content(text.encode("utf-8", "replace").decode(), charset="utf-8")
    shown = [line.plain for line in parse(message.as_bytes()).lines if line.plain.strip()]
    wanted = text.encode("utf-8", "replace").decode()
    for one in wanted.splitlines():
        bare = _bare(one)
        assert not bare or any(bare in _bare(s) for s in shown)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ('application/pkcs7-mime; smime-type=signed-data; name="smime.p7m"', ""),
        ("application/x-pkcs7-mime", ""),
        ("multipart/encrypted; boundary=b", "--b\nContent-Type: application/pgp-encrypted\n\n"),
    ],
)
def test_who_writes_what_is_not_read_here_is_told(kind: str, more: str) -> None:
    """S/MIME and OpenPGP: the words are not lost without a word, they are in the file."""
    body = f"{more}Version: 1\n" + ("--b\n\nsealed\n--b--\n" if more else "")
    read = parse(mail(body, Content_Type=kind))
    assert "its words are within S/MIME or OpenPGP, which is not read here" in read.defects


@pytest.mark.parametrize(
    "tag", ["script", "style", "title", "template", "noscript", "svg", "iframe"]
)
def test_what_no_reader_sees_of_html_is_not_said(tag: str) -> None:
    """In the body too: M6."""
    page = f"<body><p>seen</p><{tag}>hidden</{tag}><p>too</p></body>"
    read = parse(mail(page, Content_Type="text/html"))
    assert "hidden" not in "\n".join(one.plain for one in read.lines)
    assert [one.plain for one in read.lines if one.plain] == ["seen", "too"]
