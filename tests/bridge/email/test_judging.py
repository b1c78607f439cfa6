"""Who wrote a mail, who may speak, what a report means, when mail goes out. Pure."""

from __future__ import annotations

from base64 import b64encode
from datetime import time
from email import message_from_bytes
from email.policy import default
from typing import Any

import dkim
import pytest
from dkim import crypto
from hypothesis import given
from hypothesis import strategies as st

from bridge.email.addressing import Own, Purpose, own_address, token_text
from bridge.email.automatic import Origin, origin, path_of
from bridge.email.composing import Item, Letter, compose
from bridge.email.identity import Proof, admits, is_aligned, proof_by_dkim, proof_by_server
from bridge.email.parsing import Attachment, parse
from bridge.email.rendering import as_html, as_plain
from bridge.email.reports import Bounce, Failure, bounces
from bridge.email.schedule import (
    HOUR_MS,
    PER_HOUR,
    Delivery,
    Pace,
    flush_at,
    may_pass,
    quiet_until,
    retry_at,
)
from ofcd.client import lite
from tests.bridge.email.corpus import mail
from tests.bridge.email.servers import dkim_keys

# -- who wrote it (M4) -----------------------------------------------------------------------------


def is_ours(address: str) -> bool:
    return address == "books@bridge.example"


@pytest.mark.parametrize(
    ("fields", "sender", "found"),
    [
        ({}, "ana@example.org", Origin.PERSON),
        ({"Auto_Submitted": "no"}, "ana@example.org", Origin.PERSON),
        ({}, None, Origin.PERSON),
        ({"Auto_Submitted": "auto-replied"}, "ana@example.org", Origin.AUTOMATIC),
        ({"Auto_Submitted": "Auto-Generated; x=y"}, "ana@example.org", Origin.AUTOMATIC),
        ({}, "", Origin.AUTOMATIC),
        ({"Return_Path": "<>"}, None, Origin.AUTOMATIC),
        ({"X_Autoreply": "yes"}, "ana@example.org", Origin.AUTOMATIC),
        ({"X_Auto_Response_Suppress": "OOF"}, "ana@example.org", Origin.AUTOMATIC),
        ({"From": "MAILER-DAEMON@x.org"}, None, Origin.AUTOMATIC),
        ({"From": "no-reply@x.org"}, None, Origin.AUTOMATIC),
        ({"Precedence": "Bulk"}, "ana@example.org", Origin.BULK),
        ({"Precedence": "junk"}, "ana@example.org", Origin.BULK),
        ({"List_Id": "<a.b>"}, "ana@example.org", Origin.BULK),
        ({"List_Unsubscribe": "<mailto:x>"}, "ana@example.org", Origin.BULK),
        ({"From": "books@bridge.example"}, "x@y.org", Origin.LOOP),
        ({"From": "bo@bridge.example"}, "x@y.org", Origin.PERSON),
        ({"X_Ofcd_Path": "none"}, "ana@example.org", Origin.LOOP),
        ({"Content_Type": "multipart/report; boundary=b"}, "", Origin.REPORT),
    ],
)
def test_programs_are_told_from_people(
    fields: dict[str, str], sender: str | None, found: Origin
) -> None:
    read = parse(mail(**fields))
    assert origin(read, envelope_sender=sender, is_ours=is_ours) is found


@pytest.mark.parametrize(("sender", "found"), [(None, "report"), ("", "report"), ("x@y", "person")])
def test_a_report_is_one_without_its_type_too(sender: str | None, found: str) -> None:
    """As some servers write them; from the null sender, or where that is not known."""
    status = "--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; x\n--b--\n"
    read = parse(mail(status, Content_Type="multipart/mixed; boundary=b"))
    assert origin(read, envelope_sender=sender, is_ours=is_ours) == found


def test_what_we_send_would_be_dropped_by_ourselves_and_by_every_good_auto_responder() -> None:
    raw = compose(letter())
    read = parse(raw)
    assert origin(read, envelope_sender="x@y", is_ours=lambda _: False) is Origin.LOOP
    assert path_of(read) == ("tag1", "tag2")
    assert read.headers.get("auto-submitted") == "auto-generated"


# -- who may speak (M3) ----------------------------------------------------------------------------

PASS = "mx.example; dmarc=pass header.from=example.org"


@pytest.mark.parametrize(
    ("results", "found"),
    [
        ([PASS], Proof.DMARC),
        (["mx.example; dmarc=fail header.from=example.org"], Proof.NONE),
        (["mx.example; dmarc=pass header.from=other.org"], Proof.NONE),
        (["evil.example; dmarc=pass header.from=example.org"], Proof.NONE),
        (["mx.example.evil.example; dmarc=pass header.from=example.org"], Proof.NONE),
        ([PASS, "mx.example; dmarc=fail header.from=example.org"], Proof.NONE),
        (["mx.example; dmarc=pass header.from=other.org", PASS], Proof.NONE),
        (["mx.example; dkim=none", "mx.example; dkim=pass header.d=example.org"], Proof.NONE),
        (
            [
                "mx.example; dkim=fail header.d=example.org",
                "mx.example; dkim=pass header.d=example.org",
            ],
            Proof.NONE,
        ),
        (["mx.example; dkim=fail header.d=x.org; dkim=pass header.d=example.org"], Proof.DKIM),
        (
            [
                "mx.example; spf=pass smtp.mailfrom=x.org",
                "mx.example; dkim=pass header.d=example.org",
            ],
            Proof.DKIM,
        ),
        (["mx.example; dkim=pass header.d=example.org header.d=evil.org"], Proof.NONE),
        ([PASS] * 12, Proof.NONE),
        (["mx.example; dkim=pass header.d=example.org"], Proof.DKIM),
        (["mx.example; dkim=pass header.d=evil.org"], Proof.NONE),
        (["mx.example; dkim=fail header.d=example.org"], Proof.NONE),
        (["mx.example; spf=pass smtp.mailfrom=ana@example.org"], Proof.NONE),
        (["mx.example; none"], Proof.NONE),
        (["mx.example; " + "(" * 5000], Proof.NONE),
        (["mx.example; dmarc=pass (" + "x" * 5000 + ") header.from=example.org"], Proof.NONE),
        ([], Proof.NONE),
    ],
)
def test_only_the_named_server_is_believed_and_only_about_from(
    results: list[str], found: Proof
) -> None:
    """Whoever writes the mail writes such fields too: the topmost is not enough."""
    head = "".join(f"Authentication-Results: {one}\r\n" for one in results).encode()
    read = parse(head + mail())
    assert proof_by_server(read, "mx.example") is found
    assert proof_by_server(read, "") is Proof.NONE


def test_what_came_with_the_mail_is_not_the_servers_word() -> None:
    """Servers write on top: below the Received that is below their own field is somebody else's."""
    own = b"Authentication-Results: mx.example; %s\r\nReceived: from x by mx.example; date\r\n"
    forged = b"Authentication-Results: mx.example; dkim=pass header.d=example.org\r\n"
    for found, proof in (
        (b"spf=none", Proof.NONE),
        (b"dkim=pass header.d=example.org", Proof.DKIM),
    ):
        assert proof_by_server(parse(own % found + forged + mail()), "mx.example") is proof
    below = b"Received: from x by mx.example; date\r\n"
    real = b"Authentication-Results: mx.example; dkim=none\r\n"
    assert proof_by_server(parse(below + real + forged + mail()), "mx.example") is Proof.NONE
    assert proof_by_server(parse(below + forged + mail()), "mx.example") is Proof.DKIM


def test_two_senders_prove_nothing() -> None:
    head = f"Authentication-Results: {PASS}\r\n".encode()
    read = parse(head + mail(From="eve@example.org, ana@example.org"))
    assert proof_by_server(read, "mx.example") is Proof.NONE


@pytest.mark.parametrize(
    ("signer", "domain", "speaks"),
    [
        ("example.org", "example.org", True),
        ("example.org", "mail.example.org", True),
        ("mail.example.org", "example.org", False),
        ("org", "example.org", False),
        ("xample.org", "example.org", False),
        ("evil.org", "example.org", False),
    ],
)
def test_alignment(signer: str, domain: str, speaks: bool) -> None:
    assert is_aligned(signer, domain) is speaks


def test_a_pattern_does_not_reach_further_than_it_says() -> None:
    assert admits(["*@example.org"], "Ana@Example.org")
    assert not admits(["*@example.org"], "ana@example.org.evil.net")
    assert not admits([], "ana@example.org")


@pytest.fixture(scope="module")
def keys() -> tuple[bytes, dict[bytes, bytes]]:
    """An RSA key for DKIM, as every mail domain has one, and its zone."""
    private, shown = dkim_keys()
    record = shown.encode()
    return private, {b"s._domainkey.example.org.": record, b"s._domainkey.evil.org.": record}


def signed(raw: bytes, key: bytes, domain: bytes = b"example.org", **more: Any) -> bytes:
    made: bytes = dkim.sign(raw, b"s", domain, key, **more)
    return made + raw


def test_a_signature_of_the_senders_domain_proves_it(
    keys: tuple[bytes, dict[bytes, bytes]],
) -> None:
    private, zone = keys
    look = lambda name, _timeout: zone.get(name)  # noqa: E731

    def proof(raw: bytes) -> Proof:
        return proof_by_dkim(raw, parse(raw), look)

    good = signed(mail(), private)
    assert proof(good) is Proof.DKIM
    assert proof(mail()) is Proof.NONE
    assert proof(good.replace(b"Hello.", b"Hellx.")) is Proof.NONE
    assert proof(good.replace(b"ana@example.org", b"eve@example.org")) is Proof.NONE
    assert proof(signed(mail(), private, b"evil.org")) is Proof.NONE, "proves somebody else"
    assert proof(signed(mail(), private, length=True) + b"more\r\n") is Proof.NONE, "l= is no end"
    assert proof(signed(mail(), private, include_headers=[b"subject", b"from"])) is Proof.DKIM
    two = b"From: ana@example.org\r\n" + good
    assert proof(two) is Proof.NONE, "one From is signed, another is shown"


def test_a_key_that_would_take_hours_is_none(
    keys: tuple[bytes, dict[bytes, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a sender's zone shows is the sender's: the library would compute, and hold up all."""
    private, zone = keys
    raw = signed(mail(), private)
    computed: list[int] = []
    really = crypto.rsa_encrypt

    def counted(message: bytes, key: Any, length: int) -> Any:
        computed.append(key["modulus"].bit_length())
        return really(message, key, length) if computed[-1] < 4096 else b""

    monkeypatch.setattr(crypto, "rsa_encrypt", counted)
    number = bytes([2, 0x83, 0, 0x30, 0xD5, 0, *b"\xff" * 0x30D4])  # of 100,000 bits
    key = bytes([0x30, 0x83, 0, 0x61, 0xB4]) + 2 * number
    assert crypto.parse_public_key(key)["modulus"].bit_length() == 0x30D4 * 8
    huge = b"v=DKIM1; k=rsa; p=" + b64encode(key)
    assert proof_by_dkim(raw, parse(raw), lambda _name, _timeout: huge) is Proof.NONE
    assert computed == []
    assert proof_by_dkim(raw, parse(raw), lambda name, _timeout: zone.get(name)) is Proof.DKIM
    assert computed == [2048]


@pytest.mark.parametrize(
    "head",
    [
        b"Authentication-Results: =?utf-8?q?mx.example?=; dmarc=pass header.from=example.org\r\n",
        b"X-A: a\rAuthentication-Results: mx.example; dmarc=pass header.from=example.org\r\n",
        b"Authentication-Results : mx.example; dmarc=pass header.from=example.org\r\n",
        b"Authentication-Results: mx.exam\x00ple; dmarc=pass header.from=example.org\r\n",
        b"Authentication-Results: mx.exam\xe2\x80\x8bple; dmarc=pass header.from=example.org\r\n",
    ],
)
def test_what_a_server_would_not_strip_is_not_believed(head: bytes) -> None:
    """To the server these are not its own fields, so a stranger's pass it."""
    assert proof_by_server(parse(head + mail()), "mx.example") is Proof.NONE


def test_a_signature_is_whose_the_library_says(keys: tuple[bytes, dict[bytes, bytes]]) -> None:
    """Somebody's own good signature, dressed up so that another reading finds another domain."""
    private, zone = keys
    look = lambda name, _timeout: zone.get(name)  # noqa: E731

    def proof(raw: bytes) -> Proof:
        return proof_by_dkim(raw, parse(raw), look)

    evil = signed(mail(), private, b"evil.org")
    behind = b"X-A: a\rDKIM-Signature: v=1; d=example.org; h=from\r\n" + evil
    for raw in (behind, dressed(private)):
        assert dkim.verify(raw, dnsfunc=lambda name, timeout=5: zone.get(name)), "it is a good one"
        assert proof(raw) is Proof.NONE


def dressed(private: bytes) -> bytes:
    """Signed by evil.org, with a tag more that decodes (RFC 2047) to `x; d=example.org;`."""

    class Dressing(dkim.DKIM):  # type: ignore[misc]
        def gen_header(self, fields: Any, *rest: Any, **more: Any) -> Any:
            return super().gen_header(
                [(b"n", b"=?utf-8?q?x=3B_d=3Dexample.org=3B?="), *fields], *rest, **more
            )

    raw: bytes = Dressing(mail()).sign(b"s", b"evil.org", private) + mail()
    assert b"=?utf-8?q?" in raw.replace(b"\r\n ", b"")
    return raw


def test_a_name_server_that_fails_proves_nothing(keys: tuple[bytes, dict[bytes, bytes]]) -> None:
    def broken(_name: bytes, _timeout: int) -> bytes | None:
        raise OSError

    raw = signed(mail(), keys[0])
    assert proof_by_dkim(raw, parse(raw), broken) is Proof.NONE
    assert proof_by_dkim(raw, parse(raw), lambda _name, _timeout: None) is Proof.NONE
    assert proof_by_dkim(raw, parse(raw), lambda _name, _timeout: b"\xff;;p=!") is Proof.NONE


# -- reports (M5) ----------------------------------------------------------------------------------


def report(*groups: str) -> bytes:
    status = "Reporting-MTA: dns; mx.example\n\n" + "\n\n".join(groups) + "\n"
    body = (
        "--b\nContent-Type: text/plain\n\nIt failed.\n--b\n"
        f"Content-Type: message/delivery-status\n\n{status}\n--b\n"
        "Content-Type: message/rfc822\n\nMessage-ID: <ours@bridge.example>\n\nold\n--b--\n"
    )
    kind = "multipart/report; report-type=delivery-status; boundary=b"
    return mail(body, Content_Type=kind, From="MAILER-DAEMON@mx.example")


@pytest.mark.parametrize(
    ("group", "failure"),
    [
        ("Final-Recipient: rfc822; ana@x.org\nAction: failed\nStatus: 5.1.1", Failure.HARD),
        ("Final-Recipient: rfc822; ana@x.org\nAction: failed\nStatus: 5.7.1", Failure.SOFT),
        ("Final-Recipient: rfc822; ana@x.org\nAction: failed\nStatus: 4.4.7", Failure.SOFT),
        ("Final-Recipient: rfc822; ana@x.org\nAction: delayed\nStatus: 4.4.1", Failure.DELAYED),
    ],
)
def test_a_report_says_what_became_of_a_mail(group: str, failure: Failure) -> None:
    [found] = bounces(parse(report(group)))
    assert (found.recipient, found.failure) == ("ana@x.org", failure)
    assert found.message_ids == ("ours@bridge.example",)


def test_a_mail_that_is_no_report_reports_nothing() -> None:
    assert bounces(parse(mail("Action: failed\nStatus: 5.1.1\n"))) == ()
    relayed = "Final-Recipient: rfc822; ana@x.org\nAction: relayed\nStatus: 2.0.0"
    assert bounces(parse(report(relayed))) == ()
    many = [f"Final-Recipient: rfc822; p{n}@x.org\nAction: failed\nStatus: 5.1.1" for n in range(3)]
    assert [type(one) for one in bounces(parse(report(*many)))] == [Bounce] * 3


# -- addresses -------------------------------------------------------------------------------------


def test_our_addresses_are_read_and_nobody_elses() -> None:
    token = token_text(bytes(range(15)))

    def own(address: str) -> Own | None:
        return own_address(address, domain="bridge.example", bounce="bounce")

    assert own("Books@Bridge.example") == Own(Purpose.ROOM, "books")
    assert own(f"books+{token.upper()}@bridge.example") == Own(Purpose.ROOM, "books", token)
    assert own(f"books+{token}.off@bridge.example") == Own(Purpose.OFF, "books", token)
    assert own(f"bounce+{token}@bridge.example") == Own(Purpose.BOUNCE, "bounce", token)
    for no in ("books@other.example", "books+short@bridge.example", "a b@bridge.example", ""):
        assert own(no) is None
    assert len({token_text(n.to_bytes(15, "big")) for n in range(1000)}) == 1000


# -- composing (M7) --------------------------------------------------------------------------------


def letter(**more: Any) -> Letter:
    item = Item(author="Ana", ts=0, plain="Hello", html="<p>Hello</p>")
    values: dict[str, Any] = {
        "place": "books", "domain": "bridge.example", "room": "Book club", "to": "bo@example.org",
        "message_id": "id@bridge.example", "date": 1795005420000, "items": (item,),
        "sender": "Ana", "subject": "Hello", "reply_token": "a" * 24, "path": ("tag1", "tag2"),
    }  # fmt: skip
    return Letter(**{**values, **more})


def test_a_mail_has_what_keeps_it_in_threads_and_out_of_loops() -> None:
    made = message_from_bytes(
        compose(letter(references=("one@x", "two@x"), unsubscribe_url="https://b.example/u/aaa")),
        policy=default,
    )
    assert made["From"] == "Ana via Book club <books@bridge.example>"
    assert made["Reply-To"] == f"books+{'a' * 24}@bridge.example"
    assert made["Subject"] == "Re: [Book club] Hello"
    assert made["Message-ID"] == "<id@bridge.example>"
    assert made["In-Reply-To"] == "<two@x>"
    assert made["References"] == "<one@x> <two@x>"
    assert made["List-Id"] == "<books.bridge.example>"
    off = f"<mailto:books+{'a' * 24}.off@bridge.example>"
    assert made["List-Unsubscribe"] == f"<https://b.example/u/aaa>, {off}"
    assert made["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert made["Auto-Submitted"] == "auto-generated"
    assert made["X-Auto-Response-Suppress"] == "All"
    assert made["X-Ofcd-Path"] == "tag1 tag2"
    assert made["Date"] == "Wed, 18 Nov 2026 12:37:00 +0000"
    assert made.get_content_type() == "multipart/alternative"
    assert all(line.isascii() and len(line) < 999 for line in compose(letter()).split(b"\r\n"))


@pytest.mark.parametrize("late", [True, False])
def test_what_comes_late_says_when_it_was_said(late: bool) -> None:
    """G2: alone in its mail too, where else the mail's own date says it."""
    item = Item(author="Ana", ts=1795005420000, plain="Hello", html="<p>Hello</p>", late=late)
    raw = compose(letter(items=(item,)))
    assert raw.count(b"Ana, 2026-11-18 12:37 UTC:") == (2 if late else 0)


def test_a_notice_says_nothing_of_what_was_said() -> None:
    raw = compose(letter(items=(), subject="", sender="", count=3))
    assert b"3 new messages in Book club" in raw
    assert b"Hello" not in raw
    assert b"Ana" not in raw


@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=200))
def test_no_words_break_the_header_or_become_markup(room: str, name: str, words: str) -> None:
    """Injection: what people write is never a header field, an address, or HTML of its own."""
    room, name, words = (one.encode("utf-8", "replace").decode() for one in (room, name, words))
    document = lite.parse(words)
    item = Item(author=name, ts=0, plain=as_plain(document), html=as_html(document))
    raw = compose(letter(room=room, sender=name, subject=words, items=(item,)))
    read = parse(raw)
    assert [one.address for one in read.senders] == ["books@bridge.example"]
    assert [one.address for one in read.recipients] == ["bo@example.org"]
    names = [key for key, _ in read.headers.fields]
    assert len(names) == len(set(names))
    assert "<script" not in item.html.lower()


def test_markup_of_the_room_becomes_html_and_others_markup_does_not() -> None:
    document = lite.parse("**bold** *it* ~~no~~ `code`\n> quote\n\n- one\n- <b>two</b>\n\n1. a")
    assert as_html(document) == (
        "<p><b>bold</b> <i>it</i> <s>no</s> <code>code</code></p>\n<blockquote><p>quote</p>"
        "</blockquote>\n<ul><li><p>one</p></li><li><p>&lt;b&gt;two&lt;/b&gt;</p></li></ul>\n"
        '<ol start="1"><li><p>a</p></li></ol>'
    )


def test_signs_and_scripts_that_need_joiners_keep_them_and_nothing_hides() -> None:
    """A red heart, a family, Persian; no zero-width letters, no change of direction."""
    words = (
        "\u2764\ufe0f \U0001f468\u200d\U0001f469 \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
    )
    document = lite.parse(f"{words} a\u200bb\u202ec")
    assert as_plain(document) == f"{words} abc"
    assert as_html(document) == f"<p>{words} abc</p>"
    code = lite.parse(f"`{words}`\n\n```\n{words}\n```")
    assert as_html(code) == f"<p><code>{words}</code></p>\n<pre>{words}</pre>"


def test_a_file_with_a_strange_type_is_still_a_file() -> None:
    odd = Attachment("a\r\nb: c.txt", 'text/x; evil="1\r\n', b"data")
    made = parse(compose(letter(attachments=(odd,))))
    assert [one.content for one in made.attachments] == [b"data"]


# -- when ------------------------------------------------------------------------------------------


def test_a_digest_waits_for_its_time_or_its_number() -> None:
    pace = Pace(Delivery.DIGEST, every=100.0, count=3)
    assert flush_at(pace, 0, 1, 50_000) == 100_000
    assert flush_at(pace, 0, 3, 50_000) == 50_000
    assert flush_at(Pace(hold=60.0), 0, 1, 10_000) == 60_000


def test_no_mail_in_quiet_hours() -> None:
    night = Pace(quiet=(time(22), time(7)), zone="Europe/Berlin")
    eleven_pm = 1795039200000  # 18 November 2026, 23:00 in Berlin
    assert quiet_until(night, eleven_pm) == eleven_pm + 8 * HOUR_MS
    noon = eleven_pm + 13 * HOUR_MS
    assert quiet_until(night, noon) == noon
    assert flush_at(night, eleven_pm, 1, eleven_pm) == eleven_pm + 8 * HOUR_MS


def test_tries_begin_soon_and_end_at_half_an_hour() -> None:
    waits = [retry_at(n, 0, 0.5) // 1000 for n in range(1, 7)]
    assert waits == [60, 300, 900, 1800, 1800, 1800]
    assert retry_at(9, 0, 0.0) < retry_at(9, 0, 1.0)


def test_twenty_in_an_hour_and_no_more() -> None:
    times: tuple[int, ...] = ()
    for n in range(PER_HOUR):
        good, times = may_pass(times, n * 1000)
        assert good
    assert may_pass(times, 30_000)[0] is False
    assert may_pass(times, HOUR_MS)[0] is True
