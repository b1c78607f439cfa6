"""Logging in (I4): what is agreed, by which mechanism, and that nothing goes on without it."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest
from scramp import ScramMechanism

from bridge.core.errors import NetworkError
from bridge.irc.login import Credentials, Login
from bridge.irc.wire import Line


def line(command: str, *params: str) -> Line:
    return Line(command, params, "irc.test.example")


def login(**more: object) -> Login:
    fields = {"nick": "ofc", "username": "ofc", "realname": "bridge", **more}
    return Login(Credentials(**fields))  # type: ignore[arg-type]


def said(one: Login) -> list[tuple[str, ...]]:
    out, one.out = one.out, []
    return out


def begun(mechanisms: str, **more: object) -> Login:
    """Up to where the server waits for AUTHENTICATE."""
    one = login(**more)
    said(one)
    one.take(line("CAP", "*", "LS", f"sasl={mechanisms} server-time"))
    one.take(line("CAP", "ofc", "ACK", "sasl server-time"))
    return one


def test_a_bare_server_is_enough() -> None:
    one = login()
    assert said(one) == [
        ("CAP", "LS", "302"),
        ("NICK", "ofc"),
        ("USER", "ofc", "0", "*", "bridge"),
    ]
    one.take(line("421", "*", "CAP", "Unknown command"))
    one.take(line("001", "ofc", "Welcome"))
    assert one.done


def test_only_what_is_known_and_offered_is_asked_for_on_several_lines() -> None:
    one = login()
    said(one)
    one.take(line("CAP", "*", "LS", "*", "batch server-time"))
    assert said(one) == []
    one.take(line("CAP", "*", "LS", "echo-message x-unknown sts=port=6697"))
    assert said(one) == [("CAP", "REQ", "batch echo-message server-time")]
    one.take(line("CAP", "ofc", "ACK", "batch echo-message server-time"))
    assert said(one)[0] == ("CAP", "END")
    assert one.caps == {"batch", "echo-message", "server-time"}


def test_plain_is_last_and_nobody_is_named_before_it() -> None:
    one = begun("PLAIN", account="books", password="sesame")
    assert said(one)[-1] == ("AUTHENTICATE", "PLAIN")
    one.take(line("AUTHENTICATE", "+"))
    [(_, coded)] = said(one)
    assert b64decode(coded) == b"books\0books\0sesame"
    one.take(line("903", "ofc", "ok"))
    assert [words[0] for words in said(one)] == ["CAP", "NICK", "USER"]


def test_scram_is_preferred_and_proves_the_server_too() -> None:
    mechanism = ScramMechanism("SCRAM-SHA-256")
    salt, stored, server_key, rounds = mechanism.make_auth_info("sesame")
    server = mechanism.make_server(lambda _: (salt, stored, server_key, rounds))
    one = begun("PLAIN,SCRAM-SHA-256", account="books", password="sesame")
    assert said(one)[-1] == ("AUTHENTICATE", "SCRAM-SHA-256")
    one.take(line("AUTHENTICATE", "+"))
    server.set_client_first(b64decode(said(one)[0][1]).decode())
    one.take(line("AUTHENTICATE", b64encode(server.get_server_first().encode()).decode()))
    server.set_client_final(b64decode(said(one)[0][1]).decode())
    final = server.get_server_final()
    one.take(line("AUTHENTICATE", b64encode(final.encode()).decode()))
    assert said(one) == [("AUTHENTICATE", "+")]
    one.take(line("903", "ofc", "ok"))
    assert said(one)[0] == ("CAP", "END")


def test_a_server_that_does_not_know_the_password_is_not_believed() -> None:
    mechanism = ScramMechanism("SCRAM-SHA-256")
    made = mechanism.make_auth_info("another password")
    server = mechanism.make_server(lambda _: made)
    one = begun("SCRAM-SHA-256", account="books", password="sesame")
    said(one)
    one.take(line("AUTHENTICATE", "+"))
    server.set_client_first(b64decode(said(one)[0][1]).decode())
    one.take(line("AUTHENTICATE", b64encode(server.get_server_first().encode()).decode()))
    said(one)
    one.take(line("AUTHENTICATE", b64encode(b"v=" + b64encode(bytes(32))).decode()))
    assert said(one) == [("AUTHENTICATE", "*")]
    with pytest.raises(NetworkError, match="SASL is required"):
        one.take(line("904", "ofc", "aborted"))


def test_a_server_that_skips_its_own_proof_is_not_believed() -> None:
    one = begun("SCRAM-SHA-256", account="books", password="sesame")
    one.take(line("AUTHENTICATE", "+"))
    with pytest.raises(NetworkError, match="did not prove"):
        one.take(line("903", "ofc", "ok"))


@pytest.mark.parametrize(
    "lines",
    [
        [line("CAP", "*", "LS", "server-time")],
        [line("421", "*", "CAP", "Unknown command")],
        [line("CAP", "*", "LS", "sasl=GSSAPI"), line("CAP", "ofc", "ACK", "sasl")],
        [line("CAP", "*", "LS", "sasl"), line("CAP", "ofc", "NAK", "sasl")],
        [line("001", "ofc", "Welcome all the same")],
    ],
)
def test_required_and_refused_ends_it(lines: list[Line]) -> None:
    one = login(account="books", password="sesame")
    assert said(one) == [("CAP", "LS", "302")], "nothing else is said before"
    for each in lines[:-1]:
        one.take(each)
    with pytest.raises(NetworkError):
        one.take(lines[-1])
    assert "sesame" not in repr(one.who)


def test_wanted_and_refused_goes_on() -> None:
    one = begun("PLAIN", account="books", password="x", sasl_required=False)
    one.take(line("AUTHENTICATE", "+"))
    one.take(line("904", "ofc", "no"))
    assert ("CAP", "END") in said(one)


def test_external_comes_first() -> None:
    one = begun("PLAIN,EXTERNAL", account="books", password="x", has_certificate=True)
    assert said(one)[-1] == ("AUTHENTICATE", "EXTERNAL")
    one.take(line("AUTHENTICATE", "+"))
    assert said(one) == [("AUTHENTICATE", "+")]


@pytest.mark.parametrize("refusal", ["432", "433", "436", "437"])
def test_a_taken_nick_is_changed_and_not_for_ever(refusal: str) -> None:
    one = login()
    said(one)
    one.take(line(refusal, "*", "ofc", "in use"))
    assert said(one) == [("NICK", "ofc_")]
    for _ in range(7):
        one.take(line(refusal, "*", "x", "in use"))
    with pytest.raises(NetworkError, match="no nick like ofc is free"):
        one.take(line(refusal, "*", "x", "in use"))


def test_the_nick_is_the_one_that_the_server_says() -> None:
    """It may cut it off, or give one of its own (a UID)."""
    one = login(nick="averylongnick")
    one.take(line("001", "averylong", "Welcome"))
    assert one.nick == "averylong"
