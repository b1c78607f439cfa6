"""`ofc-bridge check` for mail: everything that an operator can get wrong, each with what to do.

It logs in everywhere and asks the servers what they would do; no mail is sent, nothing is changed.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import dns.resolver
import trio
from attrs import frozen

from bridge.core.network import Finding, PlaceInfo
from bridge.email.fetching import Mailbox
from bridge.email.identity import servers_named
from bridge.email.imap import ImapError, ImapRefused
from bridge.email.links import connect, receive_some
from bridge.email.parsing import parse
from bridge.email.settings import EmailPlace, EmailSettings, Server
from bridge.email.smtp import Letter, Outcome, SmtpError, Tls
from bridge.email.submitting import Link
from bridge.email.zone import zone_findings

__all__ = ["Check"]

_TOKEN: Final = "a" * 24
_LOOKED_AT: Final = 10
"""Mails of the mailbox in which the receiving server's results are looked for."""
_GREETING_SECONDS: Final = 5.0
_BROKEN: Final = (SmtpError, ImapError, OSError, trio.TooSlowError, trio.BrokenResourceError)

Report = Callable[[Finding], None]


@frozen
class Check:
    """Checks one `[[email]]` and its places."""

    settings: EmailSettings
    places: Mapping[str, PlaceInfo[EmailPlace]]
    report: Report
    resolver: dns.resolver.Resolver | None = None
    """Who is asked for SPF, DKIM, DMARC and MX; None: this machine's own."""

    async def run(self) -> None:
        """All of it, whatever fails."""
        settings = self.settings
        self._proofs()
        for place, info in self.places.items():
            self._place(place, info)
        await self._smtp()
        if settings.imap.host:
            await self._imap()
        if settings.lmtp.port:
            await self._listener("lmtp", settings.lmtp.address, settings.lmtp.port)
        self._unsubscribe()
        for finding in await zone_findings(settings, self.resolver):
            self.report(finding)

    def _good(self, text: str) -> None:
        self.report(Finding(True, text))

    def _bad(self, text: str) -> None:
        self.report(Finding(False, text))

    # -- the file --------------------------------------------------------------------------------

    def _proofs(self) -> None:
        if self.settings.authserv_id:
            self._good(
                f"Authentication-Results of {self.settings.authserv_id} are believed: that server "
                "has to strip those that come from outside in its name"
            )
        elif not self.settings.dkim:
            self._bad(
                "nothing can show who sent a mail, so all of it would be held: set authserv_id to "
                "the name that your server writes into Authentication-Results, or dkim = true"
            )

    def _place(self, place: str, info: PlaceInfo[EmailPlace]) -> None:
        domain = self.settings.domain
        people = info.options.subscribers
        own = [one for one in people if one.rpartition("@")[2] == domain]
        if own:
            self._bad(f"{own[0]} is the bridge's own address: remove it from subscribers")
        loops = [one for one in info.options.allow if one.rpartition("@")[2] == domain]
        if loops and info.takes:
            self._bad(
                f'allow = ["{loops[0]}"] is the bridge\'s own domain, and nobody of it may write '
                "to a room; let people have addresses of another domain"
            )
        everybody = [one for one in info.options.allow if one in ("*", "*@*")]
        if everybody and info.takes:
            self._bad(
                f'allow = ["{everybody[0]}"] lets everybody in the world with a domain write to '
                f'{place}@{domain}: name people, or domains as "*@example.org"'
            )
        self._good(f"{place}@{domain}: {len(people)} subscribers in the file")

    def _password(self, path: str, what: str) -> str | None:
        """The secret in a file; None where there is none, which is told."""
        if not path:
            return ""
        try:
            text = Path(path).read_text(encoding="utf-8").strip()
            open_to_all = Path(path).stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            self._bad(
                f"the password of {what} in {path} can not be read ({why}): write it there, and "
                "nothing else, readable for the bridge's user"
            )
            return None
        if not text:
            self._bad(f"{path} is empty: write the password of {what} into it")
            return None
        if open_to_all:
            self._bad(f"others can read the password in {path}: chmod 600 {path}")
        return text

    def _clear(self, server: Server, better: str) -> None:
        if server.tls is Tls.NONE and not _is_here(server.host):
            self._bad(
                f"{server.host}:{server.port} would be spoken to without encryption: set {better}; "
                '"none" is for 127.0.0.1'
            )

    # -- the way out -----------------------------------------------------------------------------

    async def _smtp(self) -> None:
        smtp = self.settings.smtp
        where = f"{smtp.host}:{smtp.port}"
        self._clear(smtp.server, 'tls = "starttls" (port 587) or "tls" (port 465)')
        password = self._password(smtp.password_file, "[email.smtp]")
        if password is None:
            return
        try:
            link = await Link.open(self.settings, password)
        except _BROKEN as error:
            self._bad(f"{where} takes no mail: {_explained(error, smtp.server, 'email.smtp')}")
            return
        try:
            self._good(f"{where} takes mail")
            await self._envelopes(link, where)
        except _BROKEN as error:
            self._bad(f"{where} ended the link in the midst of it: {_words(error)}; see its log")
        finally:
            await link.close()

    async def _envelopes(self, link: Link, where: str) -> None:
        """Whether it would take our mails, and mails to us: asked, and taken back."""
        domain, bounce = self.settings.domain, self.settings.bounce
        sender = f"{bounce}+{_TOKEN}@{domain}"
        limit = link.client.size_limit
        if limit and limit < self.settings.max_mail_bytes:
            self._good(f"{where} takes mails of up to {limit} bytes: larger ones will fail")
        person = next((p for one in self.places.values() for p in one.options.subscribers), "")
        if person:
            outcome = await link.try_out(Letter(sender, person, b""))
            self._outward(outcome, where, sender, person)
        own = [f"{bounce}+{_TOKEN}@{domain}"]
        for place, info in self.places.items():
            own += [f"{place}@{domain}", f"{place}+{_TOKEN}@{domain}"] if info.takes else []
        for address in own:
            outcome = await link.try_out(Letter(sender, address, b""))
            if not outcome.accepted and not outcome.for_now:
                plus = (
                    ": let it take plus-addresses (Postfix: recipient_delimiter = +)"
                    if "+" in address
                    else ": let it take mail for that domain, and hand it to the bridge"
                )
                self._bad(f"{where} does not take mail to {address} ({outcome.text}){plus}")

    def _outward(self, outcome: Outcome, where: str, sender: str, person: str) -> None:
        user = self.settings.smtp.user or "this machine"
        if outcome.accepted:
            self._good(f"{where} takes mail from {sender} to {person}")
        elif outcome.for_now:
            self._good(f"{where} would have a mail tried again later: {outcome.text}")
        elif outcome.at_recipient:
            self._bad(
                f"{where} takes no mail to {person} ({outcome.text}): correct the address, or let "
                f"{user} send mail out through it (Postfix: permit_sasl_authenticated)"
            )
        else:
            self._bad(
                f"{where} takes no mail from {sender} ({outcome.text}): let {user} send from all "
                f"addresses of {self.settings.domain} (Postfix: smtpd_sender_login_maps)"
            )

    # -- the ways in -----------------------------------------------------------------------------

    async def _imap(self) -> None:
        imap = self.settings.imap
        where = f"{imap.host}:{imap.port}"
        self._clear(imap.server, 'tls = "tls" (port 993)')
        password = self._password(imap.password_file, "[email.imap]")
        if password is None:
            return
        try:
            async with await connect(imap.server) as stream:
                mailbox = Mailbox(stream, imap, self.settings.max_mail_bytes)
                await mailbox.open(password)
                self._good(f"{imap.mailbox} at {where} can be read")
                if not mailbox.can_idle:
                    self._good(
                        f"{where} has no IDLE: it is looked at every {imap.poll:g} seconds "
                        "(poll), and mail comes as late as that"
                    )
                await self._results_in(mailbox)
                for name in filter(None, (imap.done, imap.failed)):
                    if not await _exists(mailbox, name):
                        self._good(f"{name} is not there yet: it is made with the first mail")
        except _BROKEN as error:
            self._bad(f"{where} can not be read: {_explained(error, imap.server, 'email.imap')}")

    async def _results_in(self, mailbox: Mailbox) -> None:
        """Whether the server that is believed has looked at the mail that is there."""
        expected = self.settings.authserv_id
        newest = [uid for uid, _ in await mailbox.news(0)][-_LOOKED_AT:]
        if not expected or not newest:
            return
        heads = [await mailbox.head(uid, "AUTHENTICATION-RESULTS") for uid in newest]
        named = {one for raw in heads for one in servers_named(parse(raw))}
        if expected.lower() in named:
            self._good(f"mail in {self.settings.imap.mailbox} has results of {expected}")
            return
        found = f"there are those of {', '.join(sorted(named)[:5])}" if named else "there are none"
        self._bad(
            f"none of the last {len(newest)} mails in {self.settings.imap.mailbox} has "
            f"Authentication-Results of {expected} ({found}): set authserv_id to the name that "
            "your server writes, or let it check DKIM and DMARC and pass on what it finds "
            "(OpenDKIM, OpenDMARC, Rspamd); else all mail is held"
        )

    async def _listener(self, name: str, address: str, port: int) -> None:
        if not _is_here(address):
            self._bad(
                f"[email.{name}] listens at {address}: who can reach it can write as anybody, for "
                "the server's word is not asked for there; use 127.0.0.1, or keep others out"
            )
        where = f"{address}:{port}"
        try:
            for one in await trio.open_tcp_listeners(port, host=address):
                await one.aclose()
        except OSError as error:
            if await self._is_bridge(address, port):
                self._good(f"a bridge listens at {where} already")
                return
            self._bad(
                f"the bridge can not listen at {where} ({_words(error)}): choose a port over 1023 "
                "that nothing else has, and the same one in the mail server's transport"
            )
            return
        self._good(f"the bridge can listen at {where}: have the mail server hand mail to it")

    async def _is_bridge(self, address: str, port: int) -> bool:
        with trio.move_on_after(_GREETING_SECONDS):
            try:
                async with await trio.open_tcp_stream(address, port) as stream:
                    greeting = await receive_some(stream)
            except (OSError, trio.BrokenResourceError):
                return False
            return greeting == f"220 {self.settings.domain} LMTP\r\n".encode()
        return False

    def _unsubscribe(self) -> None:
        page = self.settings.unsubscribe
        if page.url and not page.port:
            self._bad("[email.unsubscribe] has a url and no port: the bridge serves no page there")
        elif page.port and not page.url:
            self._bad("[email.unsubscribe] has a port and no url: no mail names the page")
        elif not page.url:
            self._good("no [email.unsubscribe]: people leave by mail, and not by one click")


async def _exists(mailbox: Mailbox, name: str) -> bool:
    try:
        await mailbox.has(name)
    except ImapRefused:
        return False
    return True


def _is_here(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# -- what went wrong, in words ---------------------------------------------------------------------


def _causes(error: BaseException) -> Iterator[BaseException]:
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop(0)
        if one is None:
            continue
        yield one
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
        waiting.append(one.__cause__)


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _explained(error: BaseException, server: Server, section: str) -> str:
    """Why a server could not be used, and what to do."""
    for one in _causes(error):
        match one:
            case ssl.SSLCertVerificationError():
                return (
                    f"its certificate is not good for {server.host} ({one.verify_message}): write "
                    "the name that the certificate has as host, or name who vouches for it in "
                    f"ca_file of [{section}]"
                )
            case ssl.SSLError():
                return (
                    f'it does not speak TLS at port {server.port} ({one.reason}): with tls = "tls" '
                    "that is 465 for mail and 993 for a mailbox"
                )
            case socket.gaierror():
                return f"there is no {server.host}: correct host in [{section}], or the DNS"
            case ConnectionRefusedError():
                return "nothing listens there: start the server, or correct host and port"
    if isinstance(error, trio.TooSlowError):
        return "it does not answer: is a firewall between, or another port meant?"
    text = _words(error)
    for part, what in _REMEDIES.items():
        if part in text:
            return f"{text}: {what.format(section=section)}"
    return f"{text}; its log says more"


_REMEDIES: Final = {
    "STARTTLS": 'let it offer STARTTLS, or set tls = "tls" and port = 465',
    "user name or password": "correct user and password_file of [{section}]",
    "neither AUTH": "use the port for submission (587), or leave user empty",
    "LOGIN": "correct user and password_file of [{section}]",
    "AUTHENTICATE": "correct user and password_file of [{section}]",
    "SELECT": "correct mailbox of [{section}]",
    "does not speak SMTP": 'correct the port, or set tls = "tls" if it wants TLS at once',
}
