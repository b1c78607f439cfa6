"""What rooms say, put on the disk for each subscriber (trio): mails are made of it when due.

Edits and redactions reach what still waits; of what is a mail already, an edit is told of.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Final

import trio
from attrs import evolve

from bridge.core.model import Kind, Outgoing, Receipt, RemoteMessage, State
from bridge.core.names import carried_name, remote_name
from bridge.core.network import Host
from bridge.email.rendering import as_html, as_plain
from bridge.email.store import Store, Subscriber, Waiting
from ofcd.client import Offline, lite

if TYPE_CHECKING:
    from bridge.email.network import EmailNetwork

__all__ = ["Spooler"]

_SUBJECT: Final = 80


class Spooler:
    """For all places of one network."""

    def __init__(self, network: EmailNetwork, host: Host, store: Store) -> None:
        self._network = network
        self._host = host
        self._store = store

    async def deliver(self, batch: Sequence[Outgoing]) -> Sequence[Receipt]:
        """Each is on disk for each subscriber when this returns; mails are made of it when due."""
        receipts: list[Receipt] = []
        for one in batch:
            try:
                receipts.append(self._deliver(await self._linked(one)))
            except Offline:
                break  # the relay has the file: this waits for it, and what is behind it too
        self._network.postman.stir()
        await trio.lowlevel.checkpoint()
        return receipts + [Receipt(one.number, State.QUEUED) for one in batch[len(receipts) :]]

    async def _linked(self, one: Outgoing) -> Outgoing:
        """With a link to a file that is too large to go along. Raises `Offline`."""
        limit = self._network.places[one.place].options.attachment_bytes
        hidden = one.author is not None and one.author.nick_only
        if one.kind is not Kind.MESSAGE or one.file is None or hidden or one.file.size <= limit:
            return one
        full = self._network.is_full(one.room)
        return evolve(one, link=await self._host.link(one)) if full else one

    def _deliver(self, one: Outgoing) -> Receipt:
        if one.kind is Kind.REDACTION:
            return self._take_back(one)
        changed = self._change(one) if one.kind is Kind.EDIT else set[str]()
        if one.kind not in (Kind.MESSAGE, Kind.EDIT, Kind.NOTE):
            return Receipt(one.number, State.DROPPED)  # mail has no such thing
        again = self._store.failed(self._host.vault, one.place, one.event_id)
        people = [
            person
            for person in self._people(one.place)
            if person.on and not person.suspended and (not again or person.address in again)
            if person.address not in changed
        ]
        if changed and not people:
            return Receipt(one.number, State.SENT, one.remote_ids)
        if not people:
            return Receipt(one.number, State.DROPPED)  # nobody gets this room's mail
        now = self._host.now()
        with self._host.transaction() as tx:
            what = f"event/{one.event_id.hex()}"
            message_id = self._store.message_id(tx, one.place, what, self._network.new_id(), now)
            before = one.reply_to.remote_ids if one.reply_to is not None else one.remote_ids
            references = self._store.references(tx, before[0]) if before else ()
            item = self._waiting(one, message_id, references, now)
            for person in people:
                self._store.put_item(tx, one.place, person.address, item)
            if again:
                self._store.forget_failed(tx, one.place, one.event_id)
        return Receipt(one.number, State.SENT, (message_id,))

    def _people(self, place: str) -> list[Subscriber]:
        return self._store.subscribers(self._host.vault, place)

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
        with self._host.transaction() as tx:
            for person in people:
                for key, item in self._store.items(tx, one.place, person.address):
                    if item.event == one.target:
                        self._store.replace_item(tx, key, None)
                        if item.key.startswith("message/"):
                            taken.add((person.address, item.key))
            everybody = {(person.address, key) for person in people for _, key in taken}
            if taken and not any(
                self._store.was_put(tx, one.place, *other) for other in everybody - taken
            ):
                return Receipt(one.number, State.CONFIRMED)
        return Receipt(one.number, State.DROPPED, reason="a mail can not be taken back")

    def _change(self, one: Outgoing) -> set[str]:
        """An edit of what still waits: it goes out as it reads now; for whom that is so."""
        changed = set()
        with self._host.transaction() as tx:
            for person in self._people(one.place):
                for key, item in self._store.items(tx, one.place, person.address):
                    if item.event == one.target and item.key.startswith("message/"):
                        words = item.file_words
                        plain, html = as_plain(one.document), as_html(one.document)
                        plain, html = _with_file(plain, html, words)
                        subject = _first_words(one.document) or words
                        new = evolve(item, plain=plain, html=html, subject=subject)
                        self._store.replace_item(tx, key, new)
                        changed.add(person.address)
        return changed

    # -- from mail to the others who get mail ----------------------------------------------------

    def tell_others(self, words: RemoteMessage, subject: str) -> None:
        """What came by mail goes to the other subscribers too: the core tells only other places."""
        place = words.place
        rooms = self._host.rooms(place)
        others = [
            one
            for one in self._people(place)
            if one.on and not one.suspended and one.address != words.author.id
        ]
        if not rooms or not others or not self._network.places[place].sends:
            return
        now = self._host.now()
        with self._host.transaction() as tx:
            what = f"mail/{words.id}"
            message_id = self._store.message_id(tx, place, what, self._network.new_id(), now)
            self._store.keep_alias(tx, message_id, words.id, now)
            references = self._store.references(tx, words.reply_to) if words.reply_to else ()
            item = Waiting(
                key=what,
                number=0,
                room=rooms[0],
                event=None,
                message_id=message_id,
                author=f"{carried_name(words.author.name)}@{self._network.name}",
                ts=now,
                due_from=now,
                plain=as_plain(words.document),
                html=as_html(words.document),
                subject=subject[:_SUBJECT],
                references=references,
            )
            for person in others:
                self._store.put_item(tx, place, person.address, item)
        self._network.postman.stir()


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
