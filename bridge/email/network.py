"""The email network: places are addresses of one domain, subscribers get what rooms say (trio)."""

from __future__ import annotations

import re
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import ClassVar, Final

import trio
from attrs import evolve

from bridge.core.metrics import Metrics
from bridge.core.model import Outgoing, Receipt
from bridge.core.network import Finding, Host, Network
from bridge.core.secrets import read_secret
from bridge.email.addressing import TOKEN_BYTES, token_text
from bridge.email.checking import Check
from bridge.email.commanding import Commands
from bridge.email.incoming import Incoming
from bridge.email.listening import LINKS, serve_link
from bridge.email.mailbox import MailboxReader
from bridge.email.postman import Postman
from bridge.email.settings import EmailPlace, EmailSettings
from bridge.email.spooling import Spooler
from bridge.email.store import Store, Subscriber
from bridge.email.submitting import Submitter
from bridge.email.telling import Hourly
from bridge.email.unsubscribing import LIMITS, answer_page
from ofcd.client import VaultUnwritable
from ofcd.client.webserver import listen
from ofcd.protocol.ids import RoomId

__all__ = ["EmailNetwork"]

_PLACE: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,40}")
_BACK_OFF: Final = (1.0, 5.0, 15.0, 60.0, 300.0)
_PRUNE_SECONDS: Final = 600.0
_LINKS_WAITING: Final = 200


class EmailNetwork(Network[EmailSettings, EmailPlace]):
    """One domain."""

    kind: ClassVar[str] = "email"
    Settings = EmailSettings
    PlaceSettings = EmailPlace
    holds_edits: ClassVar[bool] = False
    max_age: ClassVar[int] = 24 * 3600

    _is_prepared = False

    def same_place(self, place: str) -> str:
        """The local part alone, in small letters."""
        local, _, domain = place.lower().partition("@")
        if domain not in ("", self.settings.domain):
            raise ValueError(f"is not at {self.settings.domain}")
        if not _PLACE.fullmatch(local) or local == self.settings.bounce:
            raise ValueError("has to be letters and digits before the @, and not the bounce's")
        return local

    def describe(self, place: str) -> str:
        """As people write to it."""
        return f"{place}@{self.settings.domain} by mail"

    # -- running ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled."""
        self._prepare()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.submitter.run)
            nursery.start_soon(self.postman.run)
            nursery.start_soon(self.incoming.inbox.run)
            nursery.start_soon(self._keep_house)
            if self.settings.lmtp.port:
                nursery.start_soon(self._listen)
            if self.settings.imap.host:
                nursery.start_soon(self.mailbox.run)
            if self.settings.unsubscribe.port:
                nursery.start_soon(self._serve_page)
            for place in self.places:
                self.host.ready(place, True)

    def _prepare(self) -> None:
        host: Host = self.host
        self.store = Store(host)
        self.hourly = Hourly(host)
        read_secret(self.settings.smtp.password_file)  # a slip in the settings ends the start
        self.submitter = Submitter(host, self.store, self.settings, self.hourly)
        self.postman = Postman(self, host, self.store, self.submitter)
        self.submitter.on_done = self.postman.note_done
        self.incoming = Incoming(self, host, self.store, self.submitter)
        self._measured = Counter[str]()  # what was measured of the counts of mails before
        self.mailbox = MailboxReader(self, host, self.store, self.incoming)
        self.spooler = Spooler(self, host, self.store)
        self.commands = Commands(self, host, self.store, self.submitter, self.incoming)
        for place, info in self.places.items():
            self._people_of_file(place, info.options.subscribers)
        self._is_prepared = True

    def _people_of_file(self, place: str, named: Sequence[str]) -> None:
        """Who is named in the settings gets mail; who was, and is not any more, gets none."""
        with self.host.transaction() as tx:
            for address in named:
                one = self.store.subscriber(tx, place, address)
                if one is None:
                    one = Subscriber(address=address, token=self.new_token())
                # Who left by themselves has left, whatever the file says.
                on = one.on or one.file == "out"
                self.store.keep_subscriber(tx, place, evolve(one, on=on, file="in"))
            for one in self.store.subscribers(tx, place):
                if one.file == "in" and one.address not in named:
                    gone = evolve(one, on=False, file="out" if one.on else "")
                    self.store.keep_subscriber(tx, place, gone)
                    for key, _ in self.store.items(tx, place, one.address):
                        self.store.replace_item(tx, key, None)
                    self.host.log.info("one is not named as a subscriber any more", place=place)

    def new_token(self) -> str:
        """A token that nobody can guess."""
        return token_text(secrets.token_bytes(TOKEN_BYTES))

    def new_id(self) -> str:
        """A Message-ID that nobody can guess, and that says nothing of what it is about."""
        return f"{self.new_token()}@{self.settings.domain}"

    async def _keep_house(self) -> None:
        while True:
            more = 0
            try:
                with self.host.transaction() as tx:
                    more = self.store.prune(tx, self.host.now())
            except VaultUnwritable as error:
                self.hourly.disk(error)
            await trio.sleep(1.0 if more else _PRUNE_SECONDS)

    async def _listen(self) -> None:
        lmtp = self.settings.lmtp
        handler = partial(
            serve_link,
            name=self.settings.domain,
            knows=self.incoming.knows,
            max_bytes=self.settings.max_mail_bytes,
            take=self.incoming.take,
        )
        limiter = trio.CapacityLimiter(LINKS)

        async def serve(stream: trio.SocketStream) -> None:
            if limiter.statistics().tasks_waiting >= _LINKS_WAITING:
                await trio.aclose_forcefully(stream)
                return
            async with limiter:
                await handler(stream)

        listening = partial(trio.serve_tcp, serve, lmtp.port, host=lmtp.address)
        await self._keep_listening(f"{lmtp.address}:{lmtp.port}", listening)

    async def _serve_page(self) -> None:
        page = self.settings.unsubscribe
        app = partial(answer_page, unsubscribe=self.incoming.unsubscribe)
        listening = partial(
            listen, app, self.host.log, address=page.address, port=page.port, limits=LIMITS
        )
        await self._keep_listening(f"{page.address}:{page.port}", listening)

    async def _keep_listening(self, where: str, listening: Callable[[], Awaitable[object]]) -> None:
        failures = 0
        while True:
            try:
                await listening()
            except OSError as error:
                self.host.operator(f"can not listen at {where}", why=str(error))
            await trio.sleep(_BACK_OFF[min(failures, len(_BACK_OFF) - 1)])
            failures += 1

    # -- what the core asks for ------------------------------------------------------------------

    def is_full(self, room: RoomId) -> bool:
        """Whether an owner let content go out by mail (M7)."""
        return bool(self.store.fact(self.host.vault, f"full/{room.hex()}"))

    async def deliver(self, batch: Sequence[Outgoing]) -> Sequence[Receipt]:
        """Each is on disk for each subscriber when this returns; mails are made of it when due."""
        return await self.spooler.deliver(batch)

    def measure(self, metrics: Metrics) -> None:
        """How much mail waits, for what, and how old the oldest is."""
        if not self._is_prepared:
            return
        vault, posted = self.host.vault, [one for _, one in self.store.posted(self.host.vault)]
        waiting = metrics.posted
        waiting.labels(self.name, "posted").set(len(posted))
        inbox = sum(1 for place in self.places for _ in self.store.inbox(vault, place))
        waiting.labels(self.name, "inbox").set(inbox)
        held = sum(1 for place in self.places for _ in self.store.held(vault, place))
        waiting.labels(self.name, "held").set(held)
        born = min((one.born for one in posted), default=self.host.now())
        for what, count in self.incoming.counts.items():
            metrics.mails.labels(self.name, what).inc(count - self._measured[what])
        self._measured = Counter(self.incoming.counts)
        metrics.oldest.labels(self.name).set((self.host.now() - born) / 1000)

    async def command(self, room: RoomId, words: Sequence[str]) -> str | None:
        """`!bridge <name of the network> ...`."""
        return await self.commands.run(room, words)

    async def check(self, report: Callable[[Finding], None]) -> None:
        """Log in everywhere, ask what would be taken, send nothing."""
        await Check(self.settings, self.places, report).run()
