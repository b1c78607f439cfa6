"""SMTP, LMTP and IMAP without a socket: what is said, what is refused, whatever the pieces."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.email.imap import ImapError, ImapReader, quoted
from bridge.email.lmtp import Arrived, LmtpServer
from bridge.email.smtp import Letter, SmtpClient, SmtpError, Tls, stuffed

MAIL = Letter("bounce+t@bridge.example", "ana@example.org", b"Subject: x\r\n\r\n.dot\r\nend\r\n")


def ready(**more: object) -> SmtpClient:
    client = SmtpClient("bridge.example", **{"tls": Tls.NONE, **more})  # type: ignore[arg-type]
    client.receive(b"220 mx ready\r\n")
    assert client.to_send() == b"EHLO bridge.example\r\n"
    return client


def is_committed(client: SmtpClient) -> bool:
    return client.committed


def test_a_mail_is_submitted() -> None:
    client = ready()
    client.receive(b"250-mx\r\n250-SIZE 1000\r\n250 8BITMIME\r\n")
    client.start(MAIL)
    assert client.to_send() == b"MAIL FROM:<bounce+t@bridge.example> SIZE=%d\r\n" % len(
        MAIL.content
    )
    client.receive(b"250 ok\r\n")
    assert client.to_send() == b"RCPT TO:<ana@example.org>\r\n"
    client.receive(b"250 ok\r\n")
    assert client.to_send() == b"DATA\r\n"
    assert not is_committed(client)
    client.receive(b"354 go\r\n")
    assert client.to_send() == b"Subject: x\r\n\r\n..dot\r\nend\r\n.\r\n"
    assert is_committed(client)
    client.receive(b"250 2.0.0 taken\r\n")
    assert client.outcome is not None
    assert client.outcome.accepted
    assert client.ready


@pytest.mark.parametrize(
    ("replies", "code", "at_recipient", "for_now"),
    [
        (["554 5.7.1 relay denied"], 554, False, False),
        (["250 ok", "550 5.1.1 no such user"], 550, True, False),
        (["250 ok", "450 4.2.1 busy"], 450, True, True),
        (["250 ok", "250 ok", "451 later"], 451, False, True),
        (["250 ok", "250 ok", "354 go", "550 5.7.1 spam"], 550, False, False),
        (["250 ok", "250 ok", "354 go", "452 4.3.1 full"], 452, False, True),
    ],
)
def test_a_refusal_is_told_apart_by_where_and_for_how_long(
    replies: list[str], code: int, at_recipient: bool, for_now: bool
) -> None:
    client = ready()
    client.receive(b"250 mx\r\n")
    client.start(MAIL)
    for one in replies:
        client.receive(one.encode() + b"\r\n")
    assert client.outcome is not None
    found = (client.outcome.code, client.outcome.at_recipient, client.outcome.for_now)
    assert found == (code, at_recipient, for_now)
    if client.to_send().endswith(b"RSET\r\n"):
        client.receive(b"250 ok\r\n")
    assert client.ready, "the next mail can go over the same link"


def test_starttls_comes_before_the_password_and_forgets_what_was_said_before() -> None:
    client = SmtpClient("b", user="u", password="p")
    client.receive(b"220 mx\r\n")
    client.receive(b"250-mx\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n")
    assert client.to_send().endswith(b"STARTTLS\r\n")
    client.receive(b"220 go\r\n")
    assert client.wants_tls
    client.secured()
    assert client.to_send() == b"EHLO b\r\n"
    client.receive(b"250-mx\r\n250 AUTH PLAIN LOGIN\r\n")
    secret = base64.b64encode(b"\0u\0p")
    assert client.to_send() == b"AUTH PLAIN " + secret + b"\r\n"
    client.receive(b"235 ok\r\n")
    assert client.ready
    assert "p" not in repr(client).replace("password", "")[-1:]


@pytest.mark.parametrize(
    ("reply", "words"),
    [(b"535 5.7.8 no", "refuses the user name or password"), (b"454 4.7.0 busy", "not check pass")],
)
def test_a_wrong_password_is_told_from_a_server_that_can_not_tell(reply: bytes, words: str) -> None:
    client = ready(user="u", password="p")
    client.receive(b"250-mx\r\n250 AUTH PLAIN\r\n")
    with pytest.raises(SmtpError, match=words):
        client.receive(reply + b"\r\n")


def test_a_login_that_the_server_says_again_is_told_to_nobody() -> None:
    """Why no mail goes out stands in a log, and in the status that a room is shown."""
    client = ready(user="u", password="hunter2")
    client.receive(b"250-mx\r\n250 AUTH PLAIN\r\n")
    said = client.to_send().split()[-1]
    with pytest.raises(SmtpError) as raised:
        client.receive(b"454 4.7.0 not now " + said + b" hunter2\r\n")
    assert str(raised.value).endswith("454 4.7.0 not now … …")


@pytest.mark.parametrize("question", ["abcde", "é", "=", "VXNlcm5hbWU6"])
def test_a_server_that_asks_what_it_may_not_ends_the_link_and_no_more(question: str) -> None:
    """What comes out is what the submitter catches; and nobody is asked without end."""
    client = ready(user="u", password="p")
    client.receive(b"250-mx\r\n250 AUTH LOGIN\r\n")
    with pytest.raises(SmtpError, match="the server asks for"):
        client.receive(f"334 {question}\r\n".encode() * 3)


def test_no_password_is_said_in_clear() -> None:
    """A server (or who stands before it) that hides STARTTLS gets nothing."""
    client = SmtpClient("b", user="u", password="p")
    client.receive(b"220 mx\r\n")
    with pytest.raises(SmtpError, match="nothing was sent in clear"):
        client.receive(b"250-mx\r\n250 AUTH PLAIN\r\n")
    assert b"AUTH" not in client.to_send()


def test_what_is_injected_before_tls_is_an_attack() -> None:
    client = SmtpClient("b")
    client.receive(b"220 mx\r\n")
    client.receive(b"250-mx\r\n250 STARTTLS\r\n")
    with pytest.raises(SmtpError, match="attack"):
        client.receive(b"220 go\r\n250 injected\r\n")


@pytest.mark.parametrize("raw", [b"HTTP/1.1 200 OK\r\n", b"x" * 5000, b"220-\r\n" * 101, b"\xff\n"])
def test_what_is_no_smtp_ends_the_link(raw: bytes) -> None:
    with pytest.raises(SmtpError):
        SmtpClient("b").receive(raw)


def test_an_address_can_not_carry_a_command() -> None:
    client = ready()
    client.receive(b"250 mx\r\n")
    with pytest.raises(SmtpError, match="address"):
        client.start(Letter("a@b", "x@y>\r\nRCPT TO:<z@w", b""))


@given(st.binary(max_size=300))
def test_what_is_stuffed_is_what_arrives(content: bytes) -> None:
    """Our client's DATA through our server's: the same lines, never an end before the end."""
    [arrived] = _through_lmtp(stuffed(content), chunk=7)
    text = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    if not text[-1]:
        text.pop()
    assert arrived.content == b"".join(line + b"\r\n" for line in text) or not content.strip()


def _through_lmtp(data: bytes, chunk: int) -> list[Arrived]:
    server = LmtpServer("b", lambda _: True)
    script = b"LHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<r@b>\r\nDATA\r\n" + data
    found = []
    for at in range(0, len(script), chunk):
        found += server.receive(script[at : at + chunk])
    return found


def talk(server: LmtpServer, raw: bytes) -> tuple[list[Arrived], str]:
    return server.receive(raw), server.to_send().decode()


def test_each_recipient_has_a_reply_once_theirs_is_committed() -> None:
    """M1: one that fails does not bring the mail to the other again."""
    server = LmtpServer("b", lambda address: "no" not in address)
    script = b"LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<one@b>\r\nRCPT TO:<no@b>\r\nRCPT TO:<two@b>\r\n"
    script += b"DATA\r\n"
    _, said = talk(server, script)
    assert said.count("250 2.1.5") == 2
    assert "550 5.1.1" in said
    [arrived], said = talk(server, b"Subject: x\r\n\r\nhi\r\n.\r\nQUIT\r\n")
    assert (arrived.sender, arrived.recipients) == ("", ("one@b", "two@b"))
    assert said == ""
    server.answer(0, 250, "ok")
    assert server.to_send() == b"", "nothing is said before all are known"
    server.answer(1, 451, "later")
    assert server.to_send() == b"250 ok\r\n451 later\r\n221 2.0.0 Bye\r\n"
    assert server.closing


def test_of_ten_thousand_recipients_the_first_are_taken_at_once() -> None:
    """The others come in mails of their own (RFC 5321, 4.5.3.1.10)."""
    server = LmtpServer("b", lambda _: True)
    script = b"".join(b"RCPT TO:<r%d@b>\r\n" % n for n in range(10_000))
    _, said = talk(server, b"LHLO x\r\nMAIL FROM:<a@b>\r\n" + script + b"DATA\r\n")
    assert (said.count("250 2.1.5"), said.count("452 4.5.3")) == (1000, 9000)
    [arrived], _ = talk(server, b"x\r\n.\r\n")
    assert arrived.recipients == tuple(f"r{n}@b" for n in range(1000))


def test_smtp_gets_one_reply_the_worst() -> None:
    server = LmtpServer("b", lambda _: True)
    talk(
        server, b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<o@b>\r\nRCPT TO:<t@b>\r\nDATA\r\nx\r\n.\r\n"
    )
    server.answer(0, 250, "ok")
    server.answer(1, 451, "later")
    assert server.to_send() == b"451 later\r\n"


def test_a_mail_that_is_too_large_is_refused_and_not_kept() -> None:
    server = LmtpServer("b", lambda _: True, max_bytes=10_000)
    _, said = talk(server, b"LHLO x\r\nMAIL FROM:<a@b> SIZE=10001\r\n")
    assert "552 5.3.4" in said
    talk(server, b"MAIL FROM:<a@b>\r\nRCPT TO:<o@b>\r\nRCPT TO:<p@b>\r\nDATA\r\n")
    for _ in range(200):
        assert server.receive(b"x" * 1000) == []
        assert len(server._data or b"") < 20_000
    arrived, said = talk(server, b"\r\n.\r\nNOOP\r\n")
    assert arrived == []
    assert said.count("552 5.3.4") == 2
    assert said.endswith("250 2.0.0 Ok\r\n")


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"MAIL FROM:<a@b>", "503"),
        (b"LHLO x\r\nRCPT TO:<a@b>", "503"),
        (b"LHLO x\r\nDATA", "503"),
        (b"LHLO x\r\nMAIL FROM:a@b", "501"),
        (b"LHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<>", "501"),
        (b"BLAH", "500"),
        (b"x" * 3000, "500"),
    ],
)
def test_what_is_out_of_turn_is_refused(line: bytes, code: str) -> None:
    assert talk(LmtpServer("b", lambda _: True), line + b"\r\n")[1].split("\r\n")[-2][:3] == code


def test_who_makes_only_mistakes_is_shown_out() -> None:
    server = LmtpServer("b", lambda _: True)
    talk(server, b"X\r\n" * 30)
    assert server.closing


@pytest.mark.parametrize(("hello", "most"), [(b"EHLO", 21), (b"LHLO", 60)])
def test_who_guesses_addresses_is_shown_out_and_our_own_server_is_not(
    hello: bytes, most: int
) -> None:
    """It asks for strangers, over one link; and who has mail for us is no guesser."""
    server = LmtpServer("b", lambda address: address == "books@b")
    start, guesses = b"%s x\r\nMAIL FROM:<a@b>\r\n" % hello, b"RCPT TO:<no@b>\r\n"
    talk(server, start + guesses * 20 + b"RCPT TO:<books@b>\r\nDATA\r\nx\r\n.\r\n")
    server.answer(0, 250, "ok")
    server.to_send()
    _, said = talk(server, start + guesses * 60)
    assert said.count("550 5.1.1 No room has this address") == most
    assert server.closing == ("421 4.7.0" in said) == (hello == b"EHLO")


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_no_bytes_make_the_server_raise(pieces: list[bytes]) -> None:
    server = LmtpServer("b", lambda _: True)
    for piece in pieces:
        for arrived in server.receive(piece):
            for index in range(len(arrived.recipients)):
                server.answer(index, 250, "ok")


# -- IMAP ------------------------------------------------------------------------------------------


@given(st.integers(1, 50))
def test_literals_are_taken_out_however_they_are_cut(chunk: int) -> None:
    raw = b"* 1 FETCH (UID 5 BODY[] {12}\r\nab\r\n* 2 x\r\n\0)\r\n* 12 EXISTS\r\nA1 OK done\r\n"
    reader = ImapReader()
    found = []
    for at in range(0, len(raw), chunk):
        found += reader.receive(raw[at : at + chunk])
    fetch, exists, done = found
    assert fetch.literals == (b"ab\r\n* 2 x\r\n\0",)
    assert fetch.item(b"UID") == 5
    assert exists.number(b"EXISTS") == 12
    assert (done.tag, done.is_ok) == (b"A1", True)


def test_a_server_that_sends_more_than_was_asked_for_is_left() -> None:
    with pytest.raises(ImapError):
        ImapReader(max_literal=100).receive(b"* 1 FETCH (BODY[] {101}\r\n")
    with pytest.raises(ImapError):
        ImapReader(max_literal=100).receive((b"{60}\r\n" + b"x" * 60) * 2)
    with pytest.raises(ImapError):
        ImapReader().receive(b"{0}\r\n" * 200)
    with pytest.raises(ImapError):
        ImapReader().receive(b"x" * 2_000_000)


def test_a_string_can_not_carry_a_command() -> None:
    assert quoted('a"b\\c') == '"a\\"b\\\\c"'
    with pytest.raises(ImapError):
        quoted('x"\r\nA2 DELETE INBOX')
