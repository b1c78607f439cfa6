"""Mails handed to the server (trio): one link at a time, again by RFC 5321, reports acted upon."""

from __future__ import annotations

import random
import re
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import trio
from attrs import evolve, frozen

from bridge.core.model import Receipt, State
from bridge.core.network import Host
from bridge.core.secrets import read_secret
from bridge.email.addressing import without_tokens
from bridge.email.limits import KIB
from bridge.email.links import connect, receive_some, secure, why_ended
from bridge.email.reports import Failure, failure_of, status_of_refusal
from bridge.email.schedule import HOUR_MS, retry_at
from bridge.email.settings import EmailSettings
from bridge.email.smtp import Letter, Outcome, SmtpClient, SmtpError
from bridge.email.store import Posted, Store, Subscriber
from bridge.email.telling import Hourly
from ofcd.client import VaultUnwritable
from ofcd.errors import ConfigError

__all__ = ["NOT_REACHED", "Link", "Submitter", "masked"]

NOT_REACHED: Final = "the mail server could not be reached"
SOFT_LIMIT: Final = 5
"""Days on which a mail was not delivered: then the address gets none any more (M5). A day is one
however many mails failed on it (a mailbox is full, a server is away), and what is a week back
counts no more: of a mail that arrives nobody tells."""
_DAY_MS: Final = 24 * HOUR_MS
_WEEK_MS: Final = 7 * _DAY_MS
_LINK_MAILS: Final = 100
_BACK_OFF: Final = (1.0, 5.0, 15.0, 60.0, 300.0)
_IDLE_SECONDS: Final = 5.0
_OPEN_SECONDS: Final = 600.0
"""From the connection until a mail may be sent."""
_BLOCK: Final = 64 * KIB
_BLOCK_SECONDS: Final = 180.0
"""For each part of a mail (RFC 5321, 4.5.3.2.5)."""
_MAIL_SECONDS: Final = 900.0
_SLOWEST: Final = 32 * KIB
"""A whole mail has `_MAIL_SECONDS`, and a second for each of so many bytes: the others wait."""
_DISK_SECONDS: Final = 15.0
"""Until a disk that took nothing is tried again."""
_ENDED: Final = (SmtpError, OSError, trio.TooSlowError, trio.BrokenResourceError)
"""What ends a link."""
_BROKEN_IN_A_ROW: Final = 3
"""Mails that ended their link with none between that did not: then it is the server, not they."""
_DOMAIN_FAILURES: Final = 3
"""People of one domain whose mail was not taken for now, in a row: then its others wait too."""
_DOMAINS: Final = 1000


class Link:
    """One link to the server, made ready for mails."""

    def __init__(self, stream: trio.abc.Stream, client: SmtpClient) -> None:
        self._stream = stream
        self.client = client

    @classmethod
    async def open(cls, settings: EmailSettings, password: str) -> Link:
        """Connect, secure, log in; raises `SmtpError`, `OSError`, `trio.TooSlowError`."""
        smtp = settings.smtp
        server = smtp.server
        client = SmtpClient(settings.domain, tls=server.tls, user=smtp.user, password=password)
        link = cls(await connect(server), client)
        try:
            with trio.fail_after(_OPEN_SECONDS):
                while not client.ready:
                    await link._exchange()
                    if client.wants_tls:
                        link._stream = await secure(link._stream, server)
                        client.secured()
        except BaseException:
            await trio.aclose_forcefully(link._stream)
            raise
        return link

    async def _exchange(self) -> None:
        """Send what there is, and read until the server has answered it, in however many bits."""
        raw = memoryview(self.client.to_send())
        for start in range(0, len(raw), _BLOCK):
            with trio.fail_after(_BLOCK_SECONDS):
                await self._stream.send_all(raw[start : start + _BLOCK])
        before = self.client.replies
        with trio.fail_after(self.client.patience):
            while self.client.replies == before:
                if not (received := await receive_some(self._stream)):
                    raise SmtpError("the server closed the link")
                self.client.receive(received)

    async def send(self, letter: Letter) -> Outcome:
        """Hand over one mail."""
        return await self._start(letter, dry=False)

    async def try_out(self, letter: Letter) -> Outcome:
        """Whether the server would take a mail from there for this recipient; none is sent."""
        return await self._start(letter, dry=True)

    async def _start(self, letter: Letter, *, dry: bool) -> Outcome:
        self.client.start(letter, dry=dry)
        try:
            with trio.fail_after(_MAIL_SECONDS + len(letter.content) / _SLOWEST):
                while self.client.outcome is None or not self.client.ready:
                    await self._exchange()
        except _ENDED:
            if self.client.outcome is None:
                raise
            # it said what it had to say, and went
        return self.client.outcome

    async def close(self) -> None:
        """Say goodbye, if that is quick."""
        with (
            trio.move_on_after(2.0) as scope,
            suppress(OSError, SmtpError, trio.BrokenResourceError),
        ):
            scope.shield = True
            self.client.quit()
            await self._stream.send_all(self.client.to_send())
        await trio.aclose_forcefully(self._stream)


@frozen
class _Domain:
    """Where mail was not taken for now."""

    failed: frozenset[str] = frozenset()
    """For whom, with none taken there since."""
    rests: int = 0
    """How often in a row it was left alone."""
    until: int = 0


class Submitter:
    """Sends what is posted, until cancelled."""

    def __init__(self, host: Host, store: Store, settings: EmailSettings, hourly: Hourly) -> None:
        self._host = host
        self._hourly = hourly
        self._store = store
        self._settings = settings
        self._failures = 0
        self._domains: OrderedDict[str, _Domain] = OrderedDict()
        self.why = "not connected yet"
        """Why no mail goes out; "" while it does."""
        self.changed = trio.Event()
        self.on_done: Callable[[str], None] = lambda _: None
        """Told the address of each mail that is done with."""

    @property
    def is_failing(self) -> bool:
        """Whether the server could not be reached the last time."""
        return self._failures > 0

    def stir(self) -> None:
        """Something was posted."""
        self.changed.set()
        self.changed = trio.Event()

    async def run(self) -> None:
        """Send what is due; after a crash, what was begun is sent again, and counted."""
        while True:
            try:
                self._recover()
                await self._serve()
            except VaultUnwritable as error:
                # What was begun then is as after a crash: each is noted before it is sent.
                self._hourly.disk(error)
                await trio.sleep(_DISK_SECONDS)

    async def _serve(self) -> None:
        while True:
            changed = self.changed
            batch = self._due()
            if not batch:
                with trio.move_on_after(self._until_due()):
                    await changed.wait()
                continue
            try:
                await self._send(batch)
                self._failures, self.why = 0, ""
            except _ENDED as error:
                self.why = without_tokens(why_ended(error))
                pause = _BACK_OFF[min(self._failures, len(_BACK_OFF) - 1)]
                if self._failures == 0:
                    self._host.operator("the mail server takes no mail", why=self.why)
                self._failures += 1
                self._give_up_old()
                await trio.sleep(pause * (0.75 + 0.5 * random.random()))  # noqa: S311 - jitter

    def _recover(self) -> None:
        with self._host.transaction() as tx:
            begun = [(n, one) for n, one in self._store.posted(tx) if one.sending]
            for number, one in begun:
                self._store.keep_posted(tx, number, evolve(one, sending=False))
        if begun:
            self._host.operator("mails may have gone out twice, under one id", count=len(begun))

    def _due(self) -> list[tuple[int, Posted]]:
        """What is due, in order; nobody's mail overtakes an earlier one of theirs."""
        now = self._host.now()
        found: list[tuple[int, Posted]] = []
        behind: set[str] = set()
        for number, one in self._store.posted(self._host.vault):
            if self._due_at(one) <= now and one.to not in behind:
                found.append((number, one))
                if len(found) == _LINK_MAILS:
                    break
            else:
                behind.add(one.to)
        # Who made a link end, by being slow perhaps, has the others wait as little as can be.
        broke = {one.to for _, one in found if one.broken}
        return sorted(found, key=lambda item: item[1].to in broke)

    def _due_at(self, one: Posted) -> int:
        """When it may go, by itself and by its domain."""
        return max(one.due, self._domains.get(_domain(one), _Domain()).until)

    def _until_due(self) -> float:
        first: dict[str, int] = {}
        for _, one in self._store.posted(self._host.vault):
            first.setdefault(one.to, self._due_at(one))
        if not first:
            return _IDLE_SECONDS
        wait = (min(first.values()) - self._host.now()) / 1000
        return min(_IDLE_SECONDS, max(0.001, wait))

    async def _send(self, batch: list[tuple[int, Posted]]) -> None:
        """Each of these; one that ends the link is put off, and the others go over a new one."""
        link: Link | None = None
        behind: set[str] = set()
        broken = 0
        try:
            for number, one in batch:
                if one.to in behind or self._due_at(one) > self._host.now():
                    behind.add(one.to)
                    continue
                link = link or await self._open()
                try:
                    outcome = await self._one(link, number, one)
                except _ENDED as error:
                    await link.close()
                    link = None
                    behind.add(one.to)
                    self._put_off(number, one, error)
                    broken += 1
                    if broken == _BROKEN_IN_A_ROW:
                        raise
                    continue
                broken = 0
                if not self._settle(number, one, outcome):
                    behind.add(one.to)
                if not link.client.ready:
                    await link.close()
                    link = None
        finally:
            if link is not None:
                await link.close()

    async def _open(self) -> Link:
        """With the password that stands in its file now. Raises `OSError`, as for no link."""
        try:
            password = read_secret(self._settings.smtp.password_file)
        except ConfigError as error:
            if self._failures == 0:
                self._host.operator("a file of the settings can not be read", why=str(error))
            raise OSError("the file of its password can not be read") from None  # rooms see this
        return await Link.open(self._settings, password)

    async def _one(self, link: Link, number: int, one: Posted) -> Outcome:
        content = self._store.raw(self._host.vault, number)
        with self._host.transaction() as tx:
            self._store.keep_posted(tx, number, evolve(one, sending=True))
        sender = f"{self._settings.bounce}+{one.bounce}@{self._settings.domain}"
        try:
            return await link.send(Letter(sender, one.to, content))
        except _ENDED:
            # Before the mail's end was sent the server can not have taken it.
            if link.client.committed:
                self._host.operator("a link ended inside a mail: it may arrive twice", count=1)
            raise

    def _put_off(self, number: int, one: Posted, error: BaseException) -> None:
        """The link ended in the midst of this mail: it may be why, so others go before it."""
        why = without_tokens(why_ended(error))
        now = self._host.now()
        if self._is_old(one, now):
            self._drop(number, one, why)
            return
        broken = one.broken + 1
        due = retry_at(broken, now, random.random(), soon=True)  # noqa: S311 - jitter
        with self._host.transaction() as tx:
            later = evolve(one, broken=broken, due=due, sending=False)
            self._store.keep_posted(tx, number, later)
        self._host.log.info("a mail ended its link: it is put off", why=why, tries=broken)
        self._note_domain(one, taken=False)

    def _drop(self, number: int, one: Posted, why: str) -> None:
        with self._host.transaction() as tx:
            self._store.keep_posted(tx, number, None)
        self.on_done(one.to)
        self.fail_events(one.place, one.to, why, one.events)

    def _note_domain(self, one: Posted, *, taken: bool) -> None:
        """What became of a mail to somebody there; it rests once several got none."""
        known = self._domains.pop(_domain(one), _Domain())
        if taken:
            return
        failed = known.failed | {one.to}
        if len(failed) < _DOMAIN_FAILURES:
            known = evolve(known, failed=failed)
        else:
            rests = known.rests + 1
            until = retry_at(rests, self._host.now(), random.random())  # noqa: S311 - jitter
            known = _Domain(rests=rests, until=until)
        self._domains[_domain(one)] = known
        if len(self._domains) > _DOMAINS:
            self._domains.popitem(last=False)

    def _settle(self, number: int, one: Posted, outcome: Outcome) -> bool:
        """Whether it is done with: taken, or refused for good."""
        now = self._host.now()
        if outcome.for_now and not outcome.accepted and not self._is_old(one, now):
            attempts = one.attempts + 1
            due = retry_at(attempts, now, random.random())  # noqa: S311 - jitter
            with self._host.transaction() as tx:
                later = evolve(one, attempts=attempts, due=due, sending=False)
                self._store.keep_posted(tx, number, later)
            if outcome.at_recipient:
                self._note_domain(one, taken=False)
            return False
        self._note_domain(one, taken=True)
        with self._host.transaction() as tx:
            self._store.keep_posted(tx, number, None)
        self.on_done(one.to)
        if not outcome.accepted:
            failure = Failure.SOFT
            if outcome.at_recipient:
                status = status_of_refusal(outcome.code, outcome.status, outcome.text)
                failure = failure_of("failed", status)
            self.failed(one.place, one.to, failure, outcome.text, one.events)
        return True

    def _is_old(self, one: Posted, now: int) -> bool:
        return now - one.born > self._settings.give_up_hours * 3_600_000

    def _give_up_old(self) -> None:
        """What waited too long is not sent any more, and its originals say so (G2)."""
        now = self._host.now()
        old = [(n, p) for n, p in self._store.posted(self._host.vault) if self._is_old(p, now)]
        for number, one in old:
            self._drop(number, one, NOT_REACHED)

    # -- reports ---------------------------------------------------------------------------------

    def failed(
        self,
        place: str,
        address: str,
        failure: Failure,
        why: str,
        events: tuple[tuple[bytes, int], ...],
    ) -> None:
        """A mail was not delivered: its originals say so; the address may get no more."""
        if failure is Failure.DELAYED:
            return
        reason = ""
        with self._host.transaction() as tx:
            one = self._store.subscriber(tx, place, address)
            if one is not None and one.on and not one.suspended:
                one = _counted(one, self._host.now())
                if failure is Failure.HARD:
                    reason = "there is no such mailbox"
                elif one.soft >= SOFT_LIMIT:
                    reason = f"on {one.soft} days mails were not delivered"
                self._store.keep_subscriber(tx, place, evolve(one, suspended=reason))
        if reason:
            self._host.notice(
                place,
                f"{masked(address)} gets no more mail: {reason}. "
                f"!bridge {self._settings.name} add ADDRESS begins anew.",
                key=f"suspended/{address}",
            )
            self._host.operator("an address is suspended", reason=reason)
        self.fail_events(place, address, why, events)

    def delivered(self, place: str, address: str) -> None:
        """Somebody answers: what was not delivered before no longer counts."""
        with self._host.transaction() as tx:
            one = self._store.subscriber(tx, place, address)
            if one is not None and one.soft:
                self._store.keep_subscriber(tx, place, evolve(one, soft=0))

    def fail_events(
        self, place: str, address: str, why: str, events: tuple[tuple[bytes, int], ...]
    ) -> None:
        """The originals say that they did not reach somebody."""
        for event, number in events:
            with self._host.transaction() as tx:
                # `!bridge resend` sends it again to these, and not to who has it.
                self._store.keep_failed(tx, place, event, address, self._host.now())
            told = re.sub(re.escape(address), masked(address), why, flags=re.IGNORECASE)
            reason = f"not delivered to {masked(address)}: {without_tokens(told)}"
            receipt = Receipt(number, State.FAILED, reason=reason)
            self._host.settle(place, event, receipt)  # type: ignore[arg-type]


def _counted(one: Subscriber, now: int) -> Subscriber:
    """Somebody to whom a mail was not delivered now."""
    since = now - one.soft_at
    if one.soft and since < _DAY_MS:
        return one
    return evolve(one, soft=one.soft + 1 if since < _WEEK_MS else 1, soft_at=now)


def _domain(one: Posted) -> str:
    return one.to.rpartition("@")[2]


def masked(address: str) -> str:
    """An address as a whole room may see it."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}…@{domain}"
