"""A mailbox that is read in place of LMTP (trio): kept open, and what becomes of each mail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from bridge.core.network import Host
from bridge.core.secrets import read_secret
from bridge.email.fetching import Answer, Cursor, Reading, Taken
from bridge.email.imap import ImapError
from bridge.email.incoming import BROKEN, LATER, NO_SPACE, TOO_LARGE, TOO_MANY, Incoming
from bridge.email.links import why_ended
from bridge.email.parsing import Mail
from bridge.email.reading import Deadly
from bridge.email.settings import EmailSettings
from bridge.email.store import Store
from ofcd.client import VaultUnwritable
from ofcd.client.applog import traceback_of
from ofcd.errors import ConfigError

if TYPE_CHECKING:
    from bridge.email.network import EmailNetwork

__all__ = ["MailboxReader"]

_BACK_OFF: Final = (1.0, 5.0, 15.0, 60.0, 300.0)
_NOBODYS: Final = "it is for no room's address"
"""Of which no room has to know."""
_UNFIT: Final = (552, 554)
"""Replies to what is too large to wait for a word, or can not be shown: for nobody's fault."""


class MailboxReader:
    """Of one network."""

    def __init__(
        self,
        network: EmailNetwork,
        host: Host,
        store: Store,
        incoming: Incoming,
    ) -> None:
        self._host = host
        self._store = store
        self._settings: EmailSettings = network.settings
        self._network = network
        self._incoming = incoming

    async def run(self) -> None:
        """Read it, over a new link whenever one ends, until cancelled."""
        imap = self._settings.imap
        read_secret(imap.password_file)  # a slip in the settings ends the start
        failures = 0

        def up() -> None:
            nonlocal failures
            failures = 0

        while True:
            reading = Reading(
                settings=imap,
                max_bytes=self._settings.max_mail_bytes,
                now=self._host.now,
                cursor=self._store.imap_cursor(self._host.vault),
                keep=self._keep_cursor,
                take=self.take,
                too_large=self.too_large,
                aside=self.set_aside,
                unmarked=self._unmarked,
                up=up,
            )
            try:
                # Anew each time: it may have been changed.
                await reading.run(read_secret(imap.password_file))
            except VaultUnwritable as error:
                # It is read on where it is once there is space: nothing was marked.
                self._network.hourly.disk(error)
            except (
                ImapError,
                ConfigError,
                OSError,
                trio.TooSlowError,
                trio.BrokenResourceError,
            ) as error:
                self._host.operator("the mailbox can not be read", why=why_ended(error))
            await trio.sleep(_BACK_OFF[min(failures, len(_BACK_OFF) - 1)])
            failures += 1

    def _keep_cursor(self, cursor: Cursor) -> None:
        with self._host.transaction() as tx:
            self._store.keep_imap_cursor(tx, cursor)

    def set_aside(self, uid: int, why: str, places: frozenset[str]) -> None:
        """One is left for a person to look at; `places` it was for, none: it may be for any."""
        self._incoming.count("set aside")
        # Anybody can have as many set aside as they like: all are flagged, and one is told of.
        self._network.hourly.operator(
            f"aside/{why}",
            "a mail in the mailbox was set aside: look at it there",
            uid=uid,
            why=why,
        )
        if not why.startswith(_NOBODYS):
            for place in places or self._network.places:
                text = "A mail could not be brought in: it is set aside."
                self._network.hourly.notice(place, "aside", text)

    def _unmarked(self, uid: int, why: str) -> None:
        self._host.operator("a mail was brought in and can not be marked as seen", uid=uid, why=why)

    async def take(self, raw: bytes, behind: frozenset[str]) -> Answer:
        """Whether all that a mail says is on disk; who refuses it tells nobody, as mailboxes do."""
        try:
            mail = await self._incoming.read(raw)
            sender = mail.headers.get("return-path").strip("<> ") if _has_path(mail) else None
            recipients = self._recipients(mail)
        except Deadly as error:
            return Answer(Taken.ASIDE, why=str(error))
        except VaultUnwritable:
            raise
        except Exception as error:  # whatever it is: one mail must not end what serves all others
            self._host.operator("a mail could not be handled", trace=traceback_of(error))
            return Answer(Taken.BROKEN)
        replies = {
            place: LATER if place in behind else await self._incoming.take(raw, sender, one)
            for place, one in recipients.items()
        }
        if NO_SPACE in replies.values():
            raise VaultUnwritable("no mail can be kept")
        if not replies:
            self._incoming.count("no such address")
            return Answer(Taken.ASIDE, why=_NOBODYS)
        if BROKEN in replies.values():
            return Answer(Taken.BROKEN)
        later = [p for p, (code, _) in replies.items() if 400 <= code < 500]
        waits = frozenset(place for place in later if replies[place] != TOO_MANY)
        if waits:
            return Answer(Taken.LATER, waits)
        if later:
            # Not tried again: strangers' mail would fill all that may wait, and stop everybody's.
            return Answer(Taken.ASIDE, frozenset(later))
        unfit = {p: r[1] for p, r in replies.items() if r[0] in _UNFIT or r == TOO_LARGE}
        if unfit:
            return Answer(Taken.ASIDE, frozenset(unfit), next(iter(unfit.values())))
        return Answer(Taken.DONE)

    def _recipients(self, mail: Mail) -> dict[str, str]:
        """Which of our addresses a mail in the mailbox is for, one a place."""
        named = [
            value.strip("<> ")
            for name in ("delivered-to", "x-original-to", "envelope-to")
            for value in mail.headers.all(name)
        ]
        named += [one.address for one in mail.recipients]
        known = [one.lower() for one in named if self._incoming.own(one)]
        places: dict[str, str] = {}
        for one in known:
            own = self._incoming.own(one)
            if own is not None and (own.local not in places or own.token):
                places[own.local] = one
        return places

    async def too_large(self, uid: int, size: int) -> None:
        """One is over what is read: nobody else would tell of it."""
        hourly = self._network.hourly
        hourly.operator("size", "a mail was too large to be read", uid=uid, size=size)
        for place in self._network.places:
            hourly.notice(place, "size", f"A mail of {size} bytes was too large to be read.")


def _has_path(mail: Mail) -> bool:
    return "return-path" in mail.headers
