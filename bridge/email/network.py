"""The email network: places are addresses of one domain, subscribers get what rooms say (trio)."""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import ClassVar, Final

import trio
from attrs import evolve

from bridge.core.model import Kind, Outgoing, Receipt, RemoteMessage, State
from bridge.core.names import remote_name
from bridge.core.network import Finding, Host, Network
from bridge.email.addressing import TOKEN_BYTES, token_text
from bridge.email.checking import Check
from bridge.email.commanding import Commands
from bridge.email.fetching import Answer, Cursor, Reading, Taken
from bridge.email.imap import ImapError
from bridge.email.incoming import BROKEN, LATER, TOO_MANY, Incoming
from bridge.email.listening import LINKS, serve_link
from bridge.email.parsing import Mail
from bridge.email.postman import Postman
from bridge.email.reading import Deadly
from bridge.email.rendering import as_html, as_plain
from bridge.email.schedule import HOUR_MS
from bridge.email.settings import EmailPlace, EmailSettings
from bridge.email.store import Store, Subscriber, Waiting
from bridge.email.submitting import Submitter
from bridge.email.unsubscribing import LIMITS, answer_page
from ofcd.client import Offline, lite
from ofcd.client.applog import traceback_of
from ofcd.client.webserver import listen
from ofcd.errors import ConfigError
from ofcd.protocol.ids import RoomId

__all__ = ["EmailNetwork"]

_PLACE: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,40}")
_BACK_OFF: Final = (1.0, 5.0, 15.0, 60.0, 300.0)
_PRUNE_SECONDS: Final = 600.0
_SUBJECT: Final = 80
_LINKS_WAITING: Final = 200


class EmailNetwork(Network[EmailSettings, EmailPlace]):
    """One domain."""

    kind: ClassVar[str] = "email"
    Settings = EmailSettings
    PlaceSettings = EmailPlace
    holds_edits: ClassVar[bool] = False
    max_age: ClassVar[int] = 24 * 3600

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
                nursery.start_soon(self._read_mailbox)
            if self.settings.unsubscribe.port:
                nursery.start_soon(self._serve_page)
            for place in self.places:
                self.host.ready(place, True)

    def _prepare(self) -> None:
        host: Host = self.host
        self._told: dict[str, int] = {}
        self.store = Store(host)
        password = _secret(self.settings.smtp.password_file)
        self.submitter = Submitter(host, self.store, self.settings, password)
        self.postman = Postman(self, host, self.store, self.submitter)
        self.submitter.on_done = self.postman.note_done
        self.incoming = Incoming(self, host, self.store, self.submitter)
        self.commands = Commands(self, host, self.store, self.submitter, self.incoming)
        for place, info in self.places.items():
            for address in info.options.subscribers:
                with host.transaction() as tx:
                    if self.store.subscriber(tx, place, address) is None:
                        one = Subscriber(address=address, token=self.new_token())
                        self.store.keep_subscriber(tx, place, one)

    def new_token(self) -> str:
        """A token that nobody can guess."""
        return token_text(secrets.token_bytes(TOKEN_BYTES))

    def new_id(self) -> str:
        """A Message-ID that nobody can guess, and that says nothing of what it is about."""
        return f"{self.new_token()}@{self.settings.domain}"

    async def _keep_house(self) -> None:
        while True:
            with self.host.transaction() as tx:
                more = self.store.prune(tx, self.host.now())
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

    async def _read_mailbox(self) -> None:
        imap = self.settings.imap
        password = _secret(imap.password_file)
        failures = 0

        def up() -> None:
            nonlocal failures
            failures = 0

        while True:
            reading = Reading(
                settings=imap,
                max_bytes=self.settings.max_mail_bytes,
                now=self.host.now,
                cursor=self.store.imap_cursor(self.host.vault),
                keep=self._keep_cursor,
                take=self._take_from_mailbox,
                too_large=self._too_large,
                aside=self._aside,
                unmarked=self._unmarked,
                up=up,
            )
            try:
                await reading.run(password)
            except (ImapError, OSError, trio.TooSlowError, trio.BrokenResourceError) as error:
                why = str(error) or type(error).__name__
                self.host.operator("the mailbox can not be read", why=why)
            await trio.sleep(_BACK_OFF[min(failures, len(_BACK_OFF) - 1)])
            failures += 1

    def _keep_cursor(self, cursor: Cursor) -> None:
        with self.host.transaction() as tx:
            self.store.keep_imap_cursor(tx, cursor)

    def _aside(self, uid: int, why: str) -> None:
        self.host.operator(
            "a mail in the mailbox was set aside: look at it there", uid=uid, why=why
        )
        self._tell_all("aside", "A mail could not be brought in: it is set aside.")

    def _tell_all(self, what: str, text: str) -> None:
        """The rooms of every place, once an hour: strangers can write as often as they like."""
        now = self.host.now()
        if now - self._told.get(what, -HOUR_MS) >= HOUR_MS:
            self._told[what] = now
            for place in self.places:
                self.host.notice(place, text)

    def _unmarked(self, uid: int, why: str) -> None:
        self.host.operator("a mail was brought in and can not be marked as seen", uid=uid, why=why)

    async def _take_from_mailbox(self, raw: bytes, behind: frozenset[str]) -> Answer:
        """Whether all that a mail says is on disk; who refuses it tells nobody, as mailboxes do."""
        try:
            mail = await self.incoming.read(raw)
            sender = mail.headers.get("return-path").strip("<> ") if _has_path(mail) else None
            recipients = self._recipients(mail)
        except Deadly as error:
            return Answer(Taken.ASIDE, why=str(error))
        except Exception as error:  # whatever it is: one mail must not end what serves all others
            self.host.operator("a mail could not be handled", trace=traceback_of(error))
            return Answer(Taken.BROKEN)
        replies = {
            place: LATER if place in behind else await self.incoming.take(raw, sender, one)
            for place, one in recipients.items()
        }
        if BROKEN in replies.values():
            return Answer(Taken.BROKEN)
        later = [p for p, (code, _) in replies.items() if 400 <= code < 500]
        waits = frozenset(place for place in later if replies[place] != TOO_MANY)
        if waits:
            return Answer(Taken.LATER, waits)
        # Not tried again: strangers' mail would fill all that may wait, and stop everybody's.
        return Answer(Taken.ASIDE if later else Taken.DONE)

    def _recipients(self, mail: Mail) -> dict[str, str]:
        """Which of our addresses a mail in the mailbox is for, one a place."""
        named = [
            value.strip("<> ")
            for name in ("delivered-to", "x-original-to", "envelope-to")
            for value in mail.headers.all(name)
        ]
        named += [one.address for one in mail.recipients]
        known = [one.lower() for one in named if self.incoming.knows(one)]
        places: dict[str, str] = {}
        for one in known:
            own = self.incoming.own(one)
            if own is not None and (own.local not in places or own.token):
                places[own.local] = one
        return places

    async def _too_large(self, uid: int, size: int) -> None:
        self.host.operator("a mail was too large to be read", uid=uid, size=size)
        self._tell_all("size", f"A mail of {size} bytes was too large to be read.")

    # -- from rooms ------------------------------------------------------------------------------

    def is_full(self, room: RoomId) -> bool:
        """Whether an owner let content go out by mail (M7)."""
        return bool(self.store.fact(self.host.vault, f"full/{room.hex()}"))

    async def deliver(self, batch: Sequence[Outgoing]) -> Sequence[Receipt]:
        """Each is on disk for each subscriber when this returns; mails are made of it when due."""
        receipts: list[Receipt] = []
        for one in batch:
            try:
                receipts.append(self._deliver(await self._linked(one)))
            except Offline:
                break  # the relay has the file: this waits for it, and what is behind it too
        self.postman.stir()
        await trio.lowlevel.checkpoint()
        return receipts + [Receipt(one.number, State.QUEUED) for one in batch[len(receipts) :]]

    async def _linked(self, one: Outgoing) -> Outgoing:
        """With a link to a file that is too large to go along. Raises `Offline`."""
        limit = self.places[one.place].options.attachment_bytes
        hidden = one.author is not None and one.author.nick_only
        if one.kind is not Kind.MESSAGE or one.file is None or hidden or one.file.size <= limit:
            return one
        return evolve(one, link=await self.host.link(one)) if self.is_full(one.room) else one

    def _deliver(self, one: Outgoing) -> Receipt:
        if one.kind is Kind.REDACTION:
            return self._take_back(one)
        changed = self._change(one) if one.kind is Kind.EDIT else set[str]()
        if one.kind not in (Kind.MESSAGE, Kind.EDIT, Kind.NOTE):
            return Receipt(one.number, State.DROPPED, reason="mail has no such thing")
        again = self.store.failed(self.host.vault, one.place, one.event_id)
        people = [
            person
            for person in self._people(one.place)
            if person.on and not person.suspended and (not again or person.address in again)
            if person.address not in changed
        ]
        if changed and not people:
            return Receipt(one.number, State.SENT, one.remote_ids)
        if not people:
            return Receipt(one.number, State.DROPPED, reason="nobody gets this room's mail")
        now = self.host.now()
        with self.host.transaction() as tx:
            what = f"event/{one.event_id.hex()}"
            message_id = self.store.message_id(tx, one.place, what, self.new_id(), now)
            before = one.reply_to.remote_ids if one.reply_to is not None else one.remote_ids
            references = self.store.references(tx, before[0]) if before else ()
            item = self._waiting(one, message_id, references, now)
            for person in people:
                self.store.put_item(tx, one.place, person.address, item)
            if again:
                self.store.forget_failed(tx, one.place, one.event_id)
        return Receipt(one.number, State.SENT, (message_id,))

    def _people(self, place: str) -> list[Subscriber]:
        return self.store.subscribers(self.host.vault, place)

    def _waiting(
        self, one: Outgoing, message_id: str, references: tuple[str, ...], now: int
    ) -> Waiting:
        plain, html = as_plain(one.document), as_html(one.document)
        subject = _first_words(one.document)
        if one.author is not None and one.author.nick_only:
            plain = html = subject = "(said something that is not copied)"
        if one.kind is Kind.EDIT:
            plain, html = f"[edit]\n{plain}", f"<p>[edit]</p>{html}"
        file, words = one.file, ""
        if file is not None:
            where = "" if one.link is None else f", {one.link} "
            words = f"[file: {_shown(file.name)}, {file.size} bytes{where}]"
            plain, html = _with_file(plain, html, words)
        author = "" if one.author is None else one.author.name
        return Waiting(
            key=f"{one.kind.value}/{one.event_id.hex()}/{one.number}",
            number=one.number,
            room=one.room,
            event=one.target or one.event_id,
            message_id=message_id,
            author=author,
            ts=one.ts,
            due_from=now,
            plain=plain,
            html=html,
            subject=subject or words,
            references=references,
            path=one.path,
            late=one.late,
            file=None if file is None else (file.name, file.media_type, file.size, file.seq),
            file_words=words,
        )

    def _take_back(self, one: Outgoing) -> Receipt:
        """What waits is taken out; what is a mail already can not be taken back."""
        people = self._people(one.place)
        taken: set[tuple[str, str]] = set()
        with self.host.transaction() as tx:
            for person in people:
                for key, item in self.store.items(tx, one.place, person.address):
                    if item.event == one.target:
                        self.store.replace_item(tx, key, None)
                        if item.key.startswith("message/"):
                            taken.add((person.address, item.key))
            everybody = {(person.address, key) for person in people for _, key in taken}
            if taken and not any(
                self.store.was_put(tx, one.place, *other) for other in everybody - taken
            ):
                return Receipt(one.number, State.CONFIRMED)
        return Receipt(one.number, State.DROPPED, reason="a mail can not be taken back")

    def _change(self, one: Outgoing) -> set[str]:
        """An edit of what still waits: it goes out as it reads now; for whom that is so."""
        changed = set()
        with self.host.transaction() as tx:
            for person in self._people(one.place):
                for key, item in self.store.items(tx, one.place, person.address):
                    if item.event == one.target and item.key.startswith("message/"):
                        words = item.file_words
                        plain, html = as_plain(one.document), as_html(one.document)
                        plain, html = _with_file(plain, html, words)
                        subject = _first_words(one.document) or words
                        new = evolve(item, plain=plain, html=html, subject=subject)
                        self.store.replace_item(tx, key, new)
                        changed.add(person.address)
        return changed

    # -- from mail to the others who get mail ----------------------------------------------------

    def tell_others(self, place: str, mail: Mail, words: RemoteMessage, subject: str) -> None:
        """What came by mail goes to the other subscribers too: the core tells only other places."""
        rooms = self.host.rooms(place)
        others = [
            one
            for one in self._people(place)
            if one.on and not one.suspended and one.address != words.author.id
        ]
        if not rooms or not others or not self.places[place].sends:
            return
        now = self.host.now()
        with self.host.transaction() as tx:
            what = f"mail/{mail.id}"
            message_id = self.store.message_id(tx, place, what, self.new_id(), now)
            self.store.keep_alias(tx, message_id, mail.id, now)
            references = self.store.references(tx, words.reply_to) if words.reply_to else ()
            item = Waiting(
                key=what,
                number=0,
                room=rooms[0],
                event=None,
                message_id=message_id,
                author=f"{_shown(words.author.name)} ({self.settings.name})",
                ts=now,
                due_from=now,
                plain=as_plain(words.document),
                html=as_html(words.document),
                subject=subject[:_SUBJECT],
                references=references,
            )
            for person in others:
                self.store.put_item(tx, place, person.address, item)
        self.postman.stir()

    # -- commands, checks ------------------------------------------------------------------------

    async def command(self, room: RoomId, words: Sequence[str]) -> str | None:
        """`!bridge <name of the network> ...`."""
        return await self.commands.run(room, words)

    async def check(self, report: Callable[[Finding], None]) -> None:
        """Log in everywhere, ask what would be taken, send nothing."""
        await Check(self.settings, self.places, report).run()


def _secret(path: str) -> str:
    if not path:
        return ""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the password in {path} can not be read: {error}") from None


def _has_path(mail: Mail) -> bool:
    return "return-path" in mail.headers


def _with_file(plain: str, html: str, words: str) -> tuple[str, str]:
    """A message's words with what is said of its file, which no edit of them takes away."""
    if not words:
        return plain, html
    return f"{plain}\n{words}".strip(), f"{html}<p>{escape(words)}</p>"


def _first_words(document: lite.Document) -> str:
    line = next((one for one in as_plain(document).split("\n") if one.strip(" >")), "")
    words = " ".join(line.split())
    return words if len(words) <= _SUBJECT else words[: _SUBJECT - 1].rstrip() + "…"


def _shown(name: str) -> str:
    return remote_name(name, "somebody")
