"""Makes links, knows which are good, and revokes them.

The vault has, for each link: the room's event and the place it is for, the box's id, when it ends;
and the key only while the message is on its way, so that it is told with the same link after a
crash. Once it has been told the key stands in the link alone.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import evolve, field, frozen

from bridge.core.consent import Consent, consent_of
from bridge.core.formatting import one_line, plain_text
from bridge.core.journal import place_tag
from bridge.core.links.pages import Pages
from bridge.core.links.pictures import Unclean, as_it_may_leave
from bridge.core.links.settings import LinksSettings
from bridge.core.links.shelf import Shelf
from bridge.core.model import Outgoing
from ofcd.client import (
    BadAttachment,
    Message,
    NoSuchRoom,
    NotAllowed,
    RelayRefused,
    RoomStatus,
    Transaction,
)
from ofcd.client.boxes import Box, new_box_key
from ofcd.client.model import load, save
from ofcd.errors import ConfigError
from ofcd.protocol.ids import EventId, MemberId, RoomId
from ofcd.protocol.records import Cap

if TYPE_CHECKING:
    from bridge.core.engine import Engine

__all__ = ["LinkDesk", "passphrase_of"]

_TABLE: Final = "app/bridge/links"
_HOUR_MS: Final = 3_600_000
_NAME: Final = 150
_TAG: Final = len(place_tag("", ""))
_OVER: Final = (RoomStatus.LEFT, RoomStatus.EVICTED, RoomStatus.CLOSED)
"""Where the bridge is let in no more; a room that is frozen, or hidden, may come back."""


@frozen
class _Link:
    """One link, as the vault knows it."""

    box: bytes
    expires: int
    size: int
    key: bytes = field(default=b"", repr=False)
    room: bytes = b""
    mid: bytes = b""
    """Whose message it is; b"" for somebody outside, whom a bridge speaks for."""
    text: bool = False
    """It opens a message's words, and not its file."""


class LinkDesk:
    """The links of one process."""

    def __init__(self, engine: Engine, settings: LinksSettings) -> None:
        """Knows what an earlier life made. Raises `ConfigError` for the passphrase's file."""
        self._engine = engine
        self._settings = settings
        self._shelf = Shelf(settings.folder)
        self._good: dict[bytes, _Link] = {}
        """By box: the links that open now."""
        self._passphrase = passphrase_of(settings.passphrase_file)
        linked = [one for one in engine.portals if one.links]
        places = {place_tag(one.network, one.place) for one in linked}
        with engine.client.transaction() as tx:
            for record, raw in list(tx.items(_TABLE)):
                link = load(_Link, raw)
                if record[-_TAG:] in places:
                    self._good[link.box] = evolve(link, key=b"")
                else:
                    tx.delete(_TABLE, record)  # no portal leads there any more
        self._shelf.tidy(frozenset(self._good))
        self.pages = Pages(settings, self._shelf, self._expires_of, engine.log)

    @property
    def is_on(self) -> bool:
        """Whether links are made at all."""
        return bool(self._settings.public_url)

    async def run(self) -> None:
        """Hand out what links open, until cancelled."""
        if self.is_on:
            await self.pages.run()

    def _expires_of(self, box_id: bytes) -> int | None:
        link = self._good.get(box_id)
        now = self._engine.client.now()
        return None if link is None or link.expires <= now else link.expires

    # -- making ----------------------------------------------------------------------------------

    async def link(self, network: str, one: Outgoing) -> str | None:
        """A link to the file of a message, or else to its text; None: there is none to be.

        The same until the message has been told. Raises `Offline`: the relay is away, and it may
        be asked for later.
        """
        options = next(
            (
                portal
                for portal, room in self._engine.portals_at(network, one.place)
                if room.id == one.room
            ),
            None,
        )
        if not self.is_on or options is None or not options.links:
            return None
        key = one.event_id + place_tag(network, one.place)
        known = self._engine.client.vault.get(_TABLE, key)
        if known is not None and (link := load(_Link, known)).key:
            return self._url(link.key)
        message = self._engine.client.room(one.room).message(one.event_id)
        if message is None or (one.file is None and one.again and message.edited):
            return None  # handed over again, it still says what stood there before
        try:
            name, kind, content = await self._content(one, options.file_bytes)
            made = await self._put(name, kind, content)
        except (BadAttachment, NotAllowed, RelayRefused, Unclean, OSError) as error:
            self._refused(network, one, str(error))
            return None
        is_kept = False
        try:
            is_kept = self._keep(key, made, one, message)
        finally:
            if not is_kept:  # also where the disk does not take it: nobody else knows of the box
                self._shelf.drop(made.box)
        if not is_kept:
            return None
        self._engine.metrics.links.labels("made").inc()
        return self._url(made.key)

    async def _content(self, one: Outgoing, limit: int) -> tuple[str, str, bytes]:
        file = one.file
        if file is None:
            who = "" if one.author is None else one.author.name
            when = f"{datetime.fromtimestamp(one.ts / 1000, UTC):%Y-%m-%d %H:%M} UTC"
            text = f"{who}, {when}\n\n{plain_text(one.document)}\n"
            return "message.txt", "text/plain", text.encode("utf-8", "replace")
        if file.size > limit:
            raise Unclean(f"files are linked up to {limit} bytes")
        room = self._engine.client.room(one.room)
        message = room.message(one.event_id)
        if message is None:
            raise NotAllowed("not_found", "there is no such message any more")
        content = await room.read_file(message, limit=limit)
        content, kind = await as_it_may_leave(content, file.media_type)
        return one_line(file.name)[:_NAME] or "file", kind, content

    async def _put(self, name: str, kind: str, content: bytes) -> _Link:
        used = sum(link.size for link in self._good.values())
        if used + len(content) > self._settings.total_bytes:
            raise Unclean("the bridge keeps as much for links as it may")
        now = self._engine.client.now()
        key = new_box_key()
        box = Box(key, now + int(self._settings.expire_hours * _HOUR_MS))
        await self._shelf.keep(box, name, kind, content, self._passphrase)
        return _Link(box.id, box.expires, len(content), key)

    def _keep(self, key: bytes, link: _Link, one: Outgoing, before: Message) -> bool:
        """Whether it is good now: not where something was taken back, or changed, meanwhile."""
        room = self._engine.client.room(one.room)
        with self._engine.client.transaction() as tx:
            message = room.message(one.event_id)
            if message is None or message.redacted_by is not None or message.text != before.text:
                return False
            agreed = message.via is not None or consent_of(tx, room.id, message.mid) is Consent.FULL
            if not agreed or not self._engine.is_open(room):
                return False
            mid = b"" if message.via is not None else message.mid
            link = evolve(link, room=room.id, mid=mid, text=one.file is None)
            earlier = tx.get(_TABLE, key)
            if earlier is not None:
                self._drop(tx, key, load(_Link, earlier))
            tx.put(_TABLE, key, save(link))
            tx.on_commit(lambda: self._good.update({link.box: evolve(link, key=b"")}))
        return True

    def _refused(self, network: str, one: Outgoing, why: str) -> None:
        engine = self._engine
        engine.metrics.links.labels("refused").inc()
        engine.log.warning("no link was made", network=network, reason=why)
        what = "A long message" if one.file is None else one_line(one.file.name)[:_NAME]
        where = engine.networks[network].describe(one.place)
        text = f"{what} has no link at {where}: {why}"
        engine.notice(network, one.place, text, key=f"link/{why}")

    def _url(self, key: bytes) -> str:
        token = urlsafe_b64encode(key).decode("ascii").rstrip("=")
        return f"{self._settings.public_url.rstrip('/')}/{token}"

    # -- ending ----------------------------------------------------------------------------------

    def told(self, tx: Transaction, network: str, place: str, event: EventId) -> None:
        """The message has been told: from now on only who was told has the key."""
        key = event + place_tag(network, place)
        raw = tx.get(_TABLE, key)
        if raw is not None:
            tx.put(_TABLE, key, save(evolve(load(_Link, raw), key=b"")))

    def untold(self, tx: Transaction, network: str, place: str, event: EventId) -> None:
        """The message was not told, and its link is of no use."""
        key = event + place_tag(network, place)
        raw = tx.get(_TABLE, key)
        if raw is not None:
            self._drop(tx, key, load(_Link, raw))

    def revoke(self, tx: Transaction, event: EventId) -> None:
        """The message was taken back: none of its links opens any more."""
        for key, raw in list(tx.items(_TABLE, event, event + b"\xff" * 9)):
            self._drop(tx, key, load(_Link, raw))

    def edited(self, tx: Transaction, message: Message) -> None:
        """The message reads otherwise: its words of before open no more. No edit is of a file."""
        for key, raw in list(tx.items(_TABLE, message.first_id, message.first_id + b"\xff" * 9)):
            link = load(_Link, raw)
            if link.text:
                self._drop(tx, key, link)

    def withdraw(
        self, tx: Transaction, room: RoomId, *, mid: MemberId | None = None, place: bytes = b""
    ) -> None:
        """What was agreed is taken back: by one member, or for a place, or for all of a room."""
        for key, raw in list(tx.items(_TABLE)):
            link = load(_Link, raw)
            hers = mid is None or link.mid == mid
            if link.room == room and hers and (not place or key[-_TAG:] == place):
                self._drop(tx, key, link)

    def keep_house(self) -> None:
        """Remove what has come to its end, and all of a room that takes its grant back (G4)."""
        now = self._engine.client.now()
        rooms = {link.room for link in self._good.values() if link.room}
        over = {room for room in rooms if self._is_over(RoomId(room))}
        if not over and not any(link.expires <= now for link in self._good.values()):
            return
        with self._engine.client.transaction() as tx:
            for key, raw in list(tx.items(_TABLE)):
                link = load(_Link, raw)
                if link.expires <= now or link.room in over:
                    self._drop(tx, key, link)

    def _is_over(self, room: RoomId) -> bool:
        try:
            found = self._engine.client.room(room)
        except NoSuchRoom:
            return True
        if found.status.is_open:
            return Cap.BRIDGE not in found.caps_of(found.me)
        return found.status in _OVER

    def _drop(self, tx: Transaction, key: bytes, link: _Link) -> None:
        tx.delete(_TABLE, key)

        def gone() -> None:
            self._good.pop(link.box, None)
            self._shelf.drop(link.box)

        tx.on_commit(gone)


def passphrase_of(file: str) -> str:
    """What links ask for besides; "" without a file. Raises `ConfigError`."""
    if not file:
        return ""
    try:
        found = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"the passphrase file {file} can not be read") from None
    if not found:
        raise ConfigError(f"the passphrase file {file} is empty")
    return found
