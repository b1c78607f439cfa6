"""A mail that may speak, said in its place's rooms (trio): under which id, as whose, what of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

from attrs import evolve

from bridge.core.model import Author, RemoteFile, RemoteMessage, Verdict
from bridge.core.network import Host
from bridge.email.automatic import path_of
from bridge.email.inbox import Said
from bridge.email.parsing import Attachment, Mail, digest_of
from bridge.email.reading import Readers
from bridge.email.secrecy import Secrets
from bridge.email.showing import Shown, shown_of
from bridge.email.store import Store
from bridge.email.submitting import Submitter
from ofcd.client import lite
from ofcd.protocol.ids import RoomId

if TYPE_CHECKING:
    from bridge.email.network import EmailNetwork

__all__ = ["Sayer"]

_IN_ROOM: Final = (Verdict.TAKEN, Verdict.DUPLICATE)
_OF_FILE: Final = re.compile(r"#\d+$")
"""How the ids of a mail's files end."""


class Sayer:
    """For all places of one network."""

    def __init__(
        self,
        network: EmailNetwork,
        host: Host,
        store: Store,
        submitter: Submitter,
        readers: Readers,
        count: Callable[[str], None],
    ) -> None:
        self._network = network
        self._host = host
        self._store = store
        self._submitter = submitter
        self._readers = readers
        self._count = count

    async def say(
        self, place: str, mail: Mail, raw: bytes, rooms: frozenset[RoomId], *, proven: bool
    ) -> Said:
        """In these rooms of a place: words, then files, then the mail itself. Raises `Deadly`.

        Not `proven`: an owner let it in, and nothing shows who wrote it: it is said under another
        id than that of the address it claims.
        """
        sender = mail.senders[0]
        name = sender.name or sender.address.partition("@")[0]
        author = Author(sender.key, name, sender.key)
        if not proven:
            author = Author(f"unverified:{sender.key}", f"{name[:20]} (unverified)")
        mail_id, is_new = self._named(place, mail, author)
        reply_to = self._answered(place, mail)
        secrets = self._secrets(sender.key)
        work = partial(shown_of, mail, raw, secrets, titled=not reply_to)
        shown = await self._readers.read(raw, "show", work)
        words = RemoteMessage(
            place=place,
            id=mail_id,
            author=evolve(author, name=secrets.in_text(author.name)),
            path=path_of(mail),
            document=lite.parse(shown.text),
            reply_to=reply_to,
        )
        said, in_room = await self._take_all(words, shown, rooms)
        if in_room:
            if proven:
                self._submitter.delivered(place, sender.key)
            if is_new:
                self._network.spooler.tell_others(words, shown.subject)
        self._count(said.verdict.value)
        return said

    def _named(self, place: str, mail: Mail, author: Author) -> tuple[str, bool]:
        """What the room calls a mail, and whether it is what that name was first given to.

        Whoever has a mail of somebody else's knows its Message-ID, and may be first with it: then
        that is the name of theirs alone, and the other mail is not taken for it.
        """
        now = self._host.now()
        with self._host.transaction() as tx:
            name = mail.id
            known = self._store.knows(tx, place, name)
            who, what = self._store.said_by(tx, place, name, author.id, mail.digest, now)
            if who != author.id or _OF_FILE.search(name):
                name = f"by.{digest_of(f'{author.id} {mail.id}'.encode())}"
                known = self._store.knows(tx, place, name)
                _, what = self._store.said_by(tx, place, name, author.id, mail.digest, now)
        # Older than what is known of mails, and in the room all the same: the others had it then.
        is_old = not known and self._host.event_of(place, name) is not None
        return name, what == mail.digest and not is_old

    def _secrets(self, sender: str) -> Secrets:
        """What must not be read in the room of a mail from `sender`."""
        own: set[str] = set()
        others: set[str] = set()
        for place in self._network.places:
            for one in self._store.subscribers(self._host.vault, place):
                (own if one.address == sender else others).add(one.token)
        return Secrets(frozenset(own), frozenset(others))

    async def _take_all(
        self, words: RemoteMessage, shown: Shown, rooms: frozenset[RoomId]
    ) -> tuple[Said, bool]:
        """The words, then each file; and whether any of the rooms has all of it.

        A room that takes one of them later gets what is behind it later too. A file that it can not
        take is told of, and no more.
        """
        said: dict[RoomId, Verdict] = {}
        if shown.text:
            said = await self._host.take_in(words, rooms)
        if wordless := _with(said, Verdict.INVALID):
            words = evolve(words, document=lite.parse("*Words that can not be shown here.*"))
            said |= await self._host.take_in(words, wordless)
        refused = 0
        for number, one in enumerate(shown.files):
            # Of a mail without words the first file says which rooms are there, and take it.
            there = _with(said, *_IN_ROOM, Verdict.INVALID) if number or shown.text else rooms
            found = await self._take_file(words, number, one, there, with_words=bool(shown.text))
            bad = _with(found, Verdict.IGNORED, Verdict.ECHO) & said.keys()
            bad |= _with(found, Verdict.INVALID)
            refused += bool(bad)
            said |= {room: one for room, one in found.items() if room not in bad & said.keys()}
        if refused:
            self._count("file not taken")
            what = "A file" if refused == 1 else f"{refused} files"
            self._host.notice(
                words.place,
                f"{what} of a mail could not be brought in here.",
                key=f"file/{words.id}",
            )
        later = frozenset(room for room, verdict in said.items() if verdict.comes_again)
        return Said(Verdict.of_all(said.values()), later), bool(_with(said, *_IN_ROOM))

    async def _take_file(
        self,
        words: RemoteMessage,
        number: int,
        one: Attachment,
        rooms: frozenset[RoomId],
        *,
        with_words: bool,
    ) -> dict[RoomId, Verdict]:
        if not rooms:
            return {}
        remote = evolve(
            words,
            id=f"{words.id}#{number}",
            document=(),
            reply_to=words.id if with_words else words.reply_to,
            file=RemoteFile(one.name, one.media_type, one.content),
        )
        return await self._host.take_in(remote, rooms)

    def _answered(self, place: str, mail: Mail) -> str:
        """The id of what it answers, if that is here: In-Reply-To, then References from the right.

        Never by subject; an id that is not known at this place begins a new thread (M2).
        """
        for one in (*mail.in_reply_to, *reversed(mail.references)):
            known = self._store.alias(self._host.vault, one) or one
            if self._host.event_of(place, known) is not None:
                return known
        return ""


def _with(said: Mapping[RoomId, Verdict], *verdicts: Verdict) -> frozenset[RoomId]:
    return frozenset(room for room, verdict in said.items() if verdict in verdicts)
