"""`[[email]]` and `[portal.email]` of bridge.toml."""

from __future__ import annotations

import re
from typing import Any, Final, Literal

from attrs import field, frozen
from attrs.validators import and_, ge, le

from bridge.email.addressing import can_be_written_to
from bridge.email.schedule import PER_HOUR, Delivery, Pace, check_zone, quiet_hours
from bridge.email.smtp import Tls

__all__ = [
    "EmailPlace",
    "EmailSettings",
    "Imap",
    "Lmtp",
    "Server",
    "Smtp",
    "Unsubscribe",
    "Wish",
]

_PORT: Final = and_(ge(0), le(65535))
_DOMAIN: Final = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)*")


@frozen
class Server:
    """A server that the bridge connects to."""

    host: str
    port: int
    tls: Tls
    ca_file: str = ""


@frozen
class Smtp:
    """[email.smtp]: the server that takes our mail."""

    host: str = "127.0.0.1"
    port: int = field(default=587, validator=_PORT)
    tls: Literal["starttls", "tls", "none"] = "starttls"
    """`none` only where nothing of it leaves the machine."""
    user: str = ""
    password_file: str = ""
    ca_file: str = ""
    """Who vouches for the server; "": the machine's own list."""

    @property
    def server(self) -> Server:
        """Where to connect to."""
        return Server(self.host, self.port, Tls(self.tls), self.ca_file)


@frozen
class Lmtp:
    """[email.lmtp]: mail from the local server. It has to be one: nothing is asked of who connects.

    In Postfix: `virtual_transport = lmtp:inet:127.0.0.1:2424`.
    """

    address: str = "127.0.0.1"
    port: int = field(default=0, validator=_PORT)
    """0: not at all."""


@frozen
class Imap:
    """[email.imap]: a mailbox that is read instead."""

    host: str = ""
    """"": none is."""
    port: int = field(default=993, validator=_PORT)
    tls: Literal["tls", "none"] = "tls"
    user: str = ""
    password_file: str = ""
    ca_file: str = ""
    mailbox: str = "INBOX"
    done: str = ""
    """A mailbox that mail is moved to once it is in the room; "": it is marked as seen."""
    failed: str = ""
    """A mailbox that mail is moved to which can not be brought in; "": it stays, and is flagged."""
    poll: float = field(default=60.0, validator=ge(1))
    """Seconds between looks where the server has no IDLE."""

    @property
    def server(self) -> Server:
        """Where to connect to."""
        return Server(self.host, self.port, Tls(self.tls), self.ca_file)


@frozen
class Unsubscribe:
    """[email.unsubscribe]: the page for List-Unsubscribe with one click (RFC 8058)."""

    url: str = ""
    """As the world reaches it, https; "": there is none, and people unsubscribe by mail."""
    address: str = "127.0.0.1"
    port: int = field(default=0, validator=_PORT)
    """Where the bridge listens, behind your web server."""


@frozen
class EmailSettings:
    """One [[email]]: a domain whose mail for some addresses the bridge takes."""

    name: str = "mail"
    domain: str = ""
    """What is behind the `@` of every room's address."""
    bounce: str = "bounce"
    """Reports of mail that was not delivered go to `bounce+<token>@domain`."""
    authserv_id: str = ""
    """Whose `Authentication-Results` are believed: your receiving server, which has to strip those
    that only pretend to be its own."""
    dkim: bool = True
    """Check signatures ourselves where that server says nothing."""
    dkim_selector: str = ""
    """By what name your server signs this domain's mail: only for `ofc-bridge check`."""
    give_up_hours: float = field(default=24.0, validator=ge(0.01))
    """How long a mail is tried again."""
    per_hour: int = field(default=PER_HOUR, validator=ge(1))
    """Mails to (and from) one correspondent an hour, and in one thread: what is more comes
    together, or waits for an owner's word. What stops a loop that nothing else has stopped."""
    max_mail_bytes: int = field(default=25 * 1024 * 1024, validator=and_(ge(1024), le(2**26)))
    smtp: Smtp = field(factory=Smtp)
    lmtp: Lmtp = field(factory=Lmtp)
    imap: Imap = field(factory=Imap)
    unsubscribe: Unsubscribe = field(factory=Unsubscribe)

    def __attrs_post_init__(self) -> None:
        if not _DOMAIN.fullmatch(self.domain):
            raise ValueError('domain has to be one in small letters, as "example.org"')
        if not self.lmtp.port and not self.imap.host:
            raise ValueError("name a way in: [email.lmtp] with a port, or [email.imap] with a host")
        if self.unsubscribe.url and not self.unsubscribe.url.startswith("https://"):
            raise ValueError("unsubscribe.url has to begin with https://")


def _lower(values: Any) -> tuple[str, ...]:
    return tuple(str(one).lower() for one in values)


@frozen
class Wish:
    """How one person wants mail, where that is not as the place says."""

    delivery: Literal["", "each", "digest"] = ""
    every: int = 0
    """Seconds; 0: as the place says."""
    quiet: str | None = None
    """"": at any hour."""
    zone: str = ""


@frozen
class EmailPlace:
    """[portal.email]: an address that a room is joined to."""

    subscribers: tuple[str, ...] = field(default=(), converter=_lower)
    """Who gets mail. More with `!bridge mail add ADDRESS` in the room."""
    allow: tuple[str, ...] = field(default=(), converter=_lower)
    """Who else may write: addresses, or patterns as `*@example.org`."""
    also_to: tuple[str, ...] = field(default=(), converter=_lower)
    """Aliases of yours for this address, or patterns: who is in `allow` has to write to it, or to
    one of these."""
    hold: float = field(default=60.0, validator=ge(0))
    """Seconds that what is said waits, so that edits go out as if it had been written so."""
    delivery: Literal["each", "digest"] = "each"
    every: float = field(default=3600.0, validator=ge(1))
    """Seconds that a digest collects."""
    count: int = field(default=50, validator=ge(1))
    """Messages that make a digest full."""
    quiet: str = ""
    """Hours without mail, as "22:00-07:00"."""
    zone: str = "UTC"
    """Whose clock that is, as "Europe/Berlin"."""
    notice_every: float = field(default=900.0, validator=ge(0))
    """Seconds in which there is one notice at most, where mail carries no content."""
    attachment_bytes: int = field(default=5 * 1024 * 1024, validator=ge(0))
    """Files up to this size go along, where mail carries content."""

    def __attrs_post_init__(self) -> None:
        quiet_hours(self.quiet)
        check_zone(self.zone)
        for one in self.subscribers:
            if not can_be_written_to(one):
                raise ValueError(
                    f"{one} is no address that mail can go to (of a domain with other letters than "
                    "a to z, write the name that begins with xn--)"
                )

    def delivery_to(self, wish: Wish) -> Delivery:
        """How somebody gets what is said."""
        return Delivery(wish.delivery or self.delivery)

    def pace(self, wish: Wish, *, full: bool) -> Pace:
        """When mail goes out to somebody; without content, notices are gathered."""
        quiet = quiet_hours(wish.quiet if wish.quiet is not None else self.quiet)
        zone = wish.zone or self.zone
        delivery = self.delivery_to(wish)
        every: float = wish.every or self.every
        if not full:
            every = every if delivery is Delivery.DIGEST else self.notice_every
            return Pace(Delivery.DIGEST, self.hold, every, 10**6, quiet, zone)
        return Pace(delivery, self.hold, every, self.count, quiet, zone)
