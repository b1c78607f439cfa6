"""`ofc-bridge check`: each mistake is one sentence that says what to do; what is right says so."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import dns.message
import dns.resolver
import dns.rrset
import pytest
import trio
from attrs import evolve

from bridge.core.network import PlaceInfo
from bridge.email import checking
from bridge.email.checking import Check
from bridge.email.settings import EmailPlace, EmailSettings, Lmtp, Server, Smtp, Unsubscribe
from bridge.email.smtp import Outcome, Tls
from tests.bridge.email.scene import email_settings, imap_settings
from tests.bridge.email.servers import MailServers, free_port, needs_servers

ZONE = {
    ("bridge.test.", "MX"): ["10 mx.test."],
    ("bridge.test.", "TXT"): ['"v=spf1 a:mx.test -all"', '"something else"'],
    ("_dmarc.bridge.test.", "TXT"): ['"v=DMARC1; p=none"'],
    ("s._domainkey.bridge.test.", "TXT"): ['"v=DKIM1; k=rsa; " "p=MIIB"'],
}
BASE = EmailSettings(domain="bridge.test", authserv_id="mx.test", lmtp=Lmtp(port=1))


@pytest.fixture
def resolver() -> Iterator[Callable[..., dns.resolver.Resolver]]:
    """A name server on the loopback, with a zone of the test's own."""
    stops: list[Callable[[], None]] = []

    def start(zone: dict[tuple[str, str], list[str]]) -> dns.resolver.Resolver:
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                raw, who = server.recvfrom(4096)
                if raw == b"stop":
                    return
                query = dns.message.from_wire(raw)
                answer = dns.message.make_response(query)
                [question] = query.question
                kind = dns.rdatatype.to_text(question.rdtype)
                name = question.name.to_text()
                if texts := zone.get((name, kind)):
                    answer.answer.append(dns.rrset.from_text(name, 60, "IN", kind, *texts))
                elif not any(one == name for one, _ in zone):
                    answer.set_rcode(dns.rcode.NXDOMAIN)
                server.sendto(answer.to_wire(), who)

        thread = threading.Thread(target=serve)
        thread.start()

        def stop() -> None:
            with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as one:
                one.sendto(b"stop", server.getsockname())
            thread.join()
            server.close()

        stops.append(stop)
        made = dns.resolver.Resolver(configure=False)
        made.nameservers, made.port = ["127.0.0.1"], server.getsockname()[1]
        return made

    yield start
    for one in stops:
        one()


def no_resolver() -> dns.resolver.Resolver:
    made = dns.resolver.Resolver(configure=False)
    made.nameservers, made.port = ["127.0.0.1"], free_port()
    return made


async def found(
    settings: EmailSettings,
    resolver: dns.resolver.Resolver | None = None,
    places: dict[str, EmailPlace] | None = None,
) -> tuple[list[str], list[str]]:
    """What is well, and what is not."""
    infos = {
        name: PlaceInfo(name, options, True, True)
        for name, options in (places or {"books": EmailPlace()}).items()
    }
    findings: list[Any] = []
    await Check(settings, infos, findings.append, resolver or no_resolver()).run()
    return [one.text for one in findings if one.good], [
        one.text for one in findings if not one.good
    ]


@needs_servers
@pytest.mark.live
@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_against_real_servers(
    servers: MailServers, resolver: Callable[..., dns.resolver.Resolver], tmp_path: Path
) -> None:
    """What is right, then one mistake after another, each found by what the servers say."""
    settings = email_settings(servers, imap=imap_settings(servers), dkim_selector="s")
    (servers.root / "password").chmod(0o600)
    zone = resolver(ZONE)
    people = {"books": EmailPlace(subscribers=("cal@people.test",))}
    good, bad = await found(settings, zone, people)
    assert bad == []
    for part in ("takes mail from bounce+", "INBOX at localhost", "can listen at", "SPF record",
                 "DKIM key at s._domainkey", "DMARC record", "mail server: mx.test"):  # fmt: skip
        assert any(part in one for one in good), part

    wrong = tmp_path / "wrong"
    wrong.write_text("battery-staple")
    wrong.chmod(0o600)
    smtp = settings.smtp
    plain = servers.ports["smtp"]
    mistakes: dict[str, dict[str, Any]] = {
        "its certificate is not good for localhost": {"ca_file": ""},
        "refuses the user name or password: 535: correct user and password_file of [email.smtp]": {
            "password_file": str(wrong)
        },
        "nothing listens there": {"port": free_port()},
        "does not speak TLS at port": {"tls": "tls", "port": plain},
        'set tls = "tls" and port = 465': {"port": plain},
    }
    for words, change in mistakes.items():
        _, bad = await found(evolve(settings, smtp=evolve(smtp, **change)), zone)
        assert any(words in one for one in bad), (words, bad)
    mistakes = {
        "its certificate is not good for localhost": {"ca_file": ""},
        "correct user and password_file of [email.imap]": {"password_file": str(wrong)},
        "correct mailbox of [email.imap]": {"mailbox": "Nowhere"},
        "nothing listens there": {"port": free_port()},
    }
    for words, change in mistakes.items():
        _, bad = await found(evolve(settings, imap=evolve(settings.imap, **change)), zone)
        assert any(words in one for one in bad), (words, bad)
    good, _ = await found(evolve(settings, imap=evolve(settings.imap, failed="Failed")), zone)
    assert any("Failed is not there yet" in one for one in good)

    _, bad = await found(settings, zone, {"nobody": EmailPlace()})
    assert [one for one in bad if "does not take mail to nobody@bridge.test" in one]
    assert [one for one in bad if "recipient_delimiter" in one]
    _, bad = await found(settings, zone, {"books": EmailPlace(("nobody@people.test",))})
    assert any("takes no mail to nobody@people.test" in one for one in bad)
    assert await trio.to_thread.run_sync(servers.mailbox, "cal") == [], "nothing was sent"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({("bridge.test.", "MX"): []}, "has no MX record"),
        ({("bridge.test.", "TXT"): ['"x"']}, "has no SPF record"),
        ({("bridge.test.", "TXT"): ['"v=spf1 -all"', '"v=spf1 a -all"']}, "has 2 SPF records"),
        ({("bridge.test.", "TXT"): ['"v=spf1 +all"']}, "lets everybody send"),
        ({("_dmarc.bridge.test.", "TXT"): []}, "has no DMARC record"),
        ({("s._domainkey.bridge.test.", "TXT"): []}, "there is no DKIM key at s._domainkey"),
        ({("s._domainkey.bridge.test.", "TXT"): ['"v=DKIM1; p="']}, "it was withdrawn"),
    ],
)
async def test_what_the_world_sees_of_the_domain(
    resolver: Callable[..., dns.resolver.Resolver], change: dict[Any, Any], words: str
) -> None:
    settings = evolve(BASE, dkim_selector="s", smtp=Smtp(port=free_port()))
    _, bad = await found(settings, resolver({**ZONE, **change}))
    assert len([one for one in bad if words in one]) == 1
    assert len(bad) == 2, "that, and that no server listens"


async def test_without_a_resolver_it_says_that_it_did_not_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bridge.email.zone._SECONDS", 0.2)
    good, bad = await found(evolve(BASE, smtp=Smtp(port=free_port())))
    assert any("MX, SPF, DKIM and DMARC of bridge.test were not looked at" in one for one in good)
    assert len(bad) == 1


async def test_mistakes_in_the_file(
    resolver: Callable[..., dns.resolver.Resolver], tmp_path: Path
) -> None:
    zone = resolver(ZONE)
    secret = tmp_path / "password"
    secret.write_text("x")
    secret.chmod(0o644)
    empty = tmp_path / "empty"
    empty.touch()
    smtp = Smtp(port=free_port())
    far = Smtp(host="192.0.2.1", port=free_port(), tls="none", password_file=str(tmp_path / "no"))

    def with_smtp(one: Smtp) -> EmailSettings:
        return evolve(BASE, smtp=one)

    anywhere = Lmtp("0.0.0.0", free_port())  # noqa: S104
    no_port, no_url = Unsubscribe("https://x.test/u"), Unsubscribe(port=1)
    readable = evolve(smtp, password_file=str(secret))
    nothing = evolve(smtp, password_file=str(empty))
    cases: list[tuple[str, EmailSettings, dict[str, EmailPlace] | None]] = [
        ("nothing can show who sent a mail", evolve(BASE, authserv_id="", dkim=False), None),
        ("is the bridge's own address", BASE, {"books": EmailPlace(("x@bridge.test",))}),
        ("lets everybody in the world", BASE, {"books": EmailPlace(allow=("*",))}),
        ("others can read the password", with_smtp(readable), None),
        ("is empty: write the password", with_smtp(nothing), None),
        ("can not be read (No such file", with_smtp(far), None),
        ("would be spoken to without encryption", with_smtp(far), None),
        ("who can reach it can write as anybody", evolve(BASE, lmtp=anywhere), None),
        ("has a url and no port", evolve(BASE, unsubscribe=no_port), None),
        ("has a port and no url", evolve(BASE, unsubscribe=no_url), None),
    ]
    for words, settings, places in cases:
        if settings.smtp == Smtp():
            settings = evolve(settings, smtp=smtp)
        _, bad = await found(settings, zone, places)
        assert any(words in one for one in bad), (words, bad)
        assert not any("correct-horse" in one for one in bad)


async def test_a_port_that_is_taken_by_another_or_by_the_bridge_itself(
    resolver: Callable[..., dns.resolver.Resolver],
) -> None:
    zone = resolver(ZONE)
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    settings = evolve(BASE, lmtp=Lmtp(port=port), smtp=Smtp(port=free_port()))
    for greeting, mine in (
        (b"220 other.test LMTP\r\n", False),
        (b"220 bridge.test LMTP\r\n", True),
    ):

        async def greet(stream: trio.SocketStream, said: bytes = greeting) -> None:
            await stream.send_all(said)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, greet, [listener])
            good, bad = await found(settings, zone)
            nursery.cancel_scope.cancel()
        assert any("a bridge listens" in one for one in good) is mine
        assert any("can not listen at" in one for one in bad) is not mine
        [listener] = await trio.open_tcp_listeners(port, host="127.0.0.1")
    await listener.aclose()


def test_an_envelope_that_is_refused_names_what_to_change() -> None:
    said: list[Any] = []
    check = Check(BASE, {}, said.append)
    refused = Outcome(553, "5.7.1", "Sender address rejected: not owned by user", False)
    check._outward(refused, "mx.test:587", "bounce+x@bridge.test", "bo@people.test")
    relay = Outcome(554, "5.7.1", "Relay access denied", True)
    check._outward(relay, "mx.test:587", "bounce+x@bridge.test", "bo@people.test")
    later = Outcome(450, "4.2.0", "Greylisted", True)
    check._outward(later, "mx.test:587", "bounce+x@bridge.test", "bo@people.test")
    assert [one.good for one in said] == [False, False, True]
    assert "smtpd_sender_login_maps" in said[0].text
    assert "permit_sasl_authenticated" in said[1].text


def test_a_name_that_is_none_is_told_from_a_silence() -> None:
    server = Server("mx.nowhere", 587, Tls.STARTTLS)
    unknown = OSError("all attempts to connect failed")
    unknown.__cause__ = ExceptionGroup("", [socket.gaierror(-2, "Name or service not known")])
    assert "there is no mx.nowhere" in checking._explained(unknown, server, "email.smtp")
    assert "firewall" in checking._explained(trio.TooSlowError(), server, "email.smtp")
